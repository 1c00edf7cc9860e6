"""The verbs of `glia-bench` about engines and machines: `calibrate` and `precompile`.

Parse, call the library, print; everything heavy is imported inside the verb that needs it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from glia_bench.cli_records import OK, AddVerb
from glia_bench.errors import GliaBenchError


def add_verbs(verb: AddVerb) -> None:
    """Add the verbs of this module.

    Args:
        verb: Takes a name, what runs it, and a line of help; returns the verb's own parser.
    """
    calibrate = verb("calibrate", _calibrate, "fit an iteration-time model to the iteration log of an engine")
    calibrate.add_argument("log", metavar="CSV", type=Path, help="measured iterations, one a row")
    calibrate.add_argument("--out", metavar="FILE", type=Path, help="write the fitted preset with its errors as JSON")
    verb(
        "precompile",
        _precompile,
        "compile the simulator and the shipped policies once, so that later runs start at once",
    )


def _calibrate(options: argparse.Namespace) -> int:
    from glia_bench.calibrate import calibrate_file

    report = calibrate_file(options.log)
    if options.out is not None:
        try:
            report.write(options.out)
        except OSError as error:
            raise GliaBenchError(f"{options.out} cannot be written ({error.strerror}); give another --out") from None
    if options.json:
        _print_json(report.to_dict())
    else:
        print("\n".join(report.lines()))
    return OK


def _precompile(options: argparse.Namespace) -> int:
    from glia_bench import terminal
    from glia_bench.evaluation.trial import precompile

    with terminal.Progress(0, is_quiet=options.json) as progress:
        progress.say("compiling the simulator and the shipped policies")
        names = precompile()
    if options.json:
        _print_json({"policies": names})
    else:
        print(f"compiled: the simulator and {len(names)} policies ({', '.join(names)})")
    return OK


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))
