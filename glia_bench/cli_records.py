"""The verbs of `glia-bench` about results as such (verify, compare, cite), and `run`'s options for splits and keys.

Parse, call the library, print; everything heavy is imported inside the verb that needs it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

OK, INVALID = 0, 1

AddVerb: TypeAlias = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_verbs(verb: AddVerb) -> None:
    """Add the verbs of this module.

    Args:
        verb: Takes a name, what runs it, and a line of help; returns the verb's own parser.
    """
    verify = verb("verify", _verify, "check a result's hashes and signature, run it again and compare bit for bit")
    verify.add_argument("result", metavar="RESULT", type=Path, help="folder or file of a result")
    verify.add_argument("--key", metavar="PUB", type=Path, help="public key, in PEM, that must have signed it")
    verify.add_argument("--jobs", metavar="N", type=_count, default=1, help="trials at a time (default: 1)")
    verify.add_argument("--lengths", metavar="FILE", type=Path, help="lengths file, if the run had one")
    verify.add_argument("--trace", metavar="FILE", type=Path, help="file of recorded requests, if the run had one")
    verify.add_argument(
        "--replay", action="store_true", help="run the decisions that were kept (run --decisions), and no design's code"
    )
    compare = verb("compare", _compare, "compare two results, paired by task, policy, load and seed")
    compare.add_argument("first", metavar="A", type=Path, help="folder or file of a result")
    compare.add_argument("second", metavar="B", type=Path, help="another; ratios are B over A")
    cite = verb("cite", _cite, "print a result as a BibTeX entry")
    cite.add_argument("result", metavar="RESULT", type=Path, help="folder or file of a result")


def add_run_options(run: argparse.ArgumentParser) -> None:
    """Add to `run` the choice of a split and the signing of the result."""
    run.add_argument(
        "--split",
        choices=("dev", "sealed", "both"),
        default="dev",
        help="development seeds (default), the sealed cases of the season in GLIA_BENCH_SEALED, or both",
    )
    run.add_argument(
        "--decisions",
        action="store_true",
        help="keep what every design decided on development seeds, for `verify --replay`; each trial is run twice",
    )
    run.add_argument("--sign", metavar="KEY", type=Path, help="sign the result with this ed25519 private key in PEM")


def print_gaps(record: dict[str, Any]) -> None:
    """Print what designs lose on sealed seeds, if the result says so."""
    if record.get("gaps"):
        from glia_bench import terminal_records

        terminal_records.print_gaps(record["gaps"])


def robustness(folder: Path, record: dict[str, Any], *, is_quiet: bool) -> list[dict[str, Any]]:
    """Simulate a result's best designs on variants of each cluster, write the table into its folder and return it."""
    from glia_bench import terminal

    with terminal.Progress(0, is_quiet=is_quiet) as progress:
        progress.say("loading the simulator (compiled once, on its first use)")
        from glia_bench.evaluation.resimulate import write_robustness
        from glia_bench.evaluation.runner import Limits

        return write_robustness(record, folder, Limits(), progress.watch)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number (got {text!r})")
    return int(text)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))


def _verify(options: argparse.Namespace) -> int:
    from glia_bench import terminal
    from glia_bench.evaluation.reruns import Files
    from glia_bench.evaluation.verify import verify_record
    from glia_bench.scoring.record import read_record
    from glia_bench.scoring.signature import read_public_key

    record = read_record(options.result)
    folder = options.result if options.result.is_dir() else options.result.parent
    key = read_public_key(options.key) if options.key else None
    with terminal.Progress(len(record["trials"]), is_quiet=options.json) as progress:
        progress.say("loading the simulator (compiled once, on its first use)")
        outcome = verify_record(
            record,
            jobs=options.jobs,
            key=key,
            files=Files(lengths=options.lengths, trace=options.trace, folder=folder),
            replay=options.replay,
            watcher=progress.watch,
        )
    if options.json:
        _print_json(outcome.to_json())
    else:
        from glia_bench import terminal_records

        print("\n".join(terminal_records.verification_lines(outcome)))
    return OK if outcome.is_verified else INVALID


def _compare(options: argparse.Namespace) -> int:
    from glia_bench.scoring.compare import compare_records
    from glia_bench.scoring.record import read_record

    comparison = compare_records(read_record(options.first), read_record(options.second))
    if options.json:
        _print_json(comparison.to_json())
    else:
        from glia_bench import terminal_records

        terminal_records.print_comparison(comparison)
    return OK


def _cite(options: argparse.Namespace) -> int:
    from glia_bench.scoring.citation import bibtex
    from glia_bench.scoring.record import read_record

    record = read_record(options.result)
    entry = bibtex(record)
    if options.json:
        _print_json({"bibtex": entry, "id": record["id"], "results_id": record["results_id"]})
    else:
        print(entry)
    return OK
