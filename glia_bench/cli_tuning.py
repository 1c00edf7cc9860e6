"""`glia-bench run --tune N`: tune first, say what was found, then run the designs as they are and as tuned."""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError

if TYPE_CHECKING:
    from glia_bench.evaluation.designs import Design
    from glia_bench.evaluation.plan import Plan
    from glia_bench.evaluation.stopping import Stop


def with_tuned_designs(
    asked: Mapping[str, Any], plan: "Plan", options: argparse.Namespace, folder: Path, stop: "Stop"
) -> "Plan":
    """Tune a plan's designs, print what came of it, and return the plan with the tuned ones beside them.

    Args:
        asked: What the plan was made from.
        plan: Whose designs.
        options: Of the command line.
        folder: Results folder.
        stop: Ends the search early.

    Raises:
        GliaBenchError: If there is nothing to tune.
    """
    from glia_bench import terminal, terminal_tuning
    from glia_bench.evaluation.plan import make_plan
    from glia_bench.evaluation.runner import Limits
    from glia_bench.evaluation.tuning import tune

    if options.split != "dev" or options.executor != "local":
        raise GliaBenchError(
            f"--tune goes with development seeds on this machine (got --split {options.split}, --executor "
            f"{options.executor}); tune first, then run NAME@HASH"
        )
    folder.mkdir(parents=True, exist_ok=True)
    limits = Limits(jobs=options.jobs, timeout_s=options.timeout)
    with terminal.Progress(0, is_quiet=options.json) as progress, stop.on_signals(terminal_tuning.note):
        found = tune(plan, options.tune, limits, folder=folder, say=progress.say, stop=stop)
    if not options.json:
        terminal_tuning.print_tuned(found)
    also: dict[str, list[Design]] = defaultdict(list)
    for tuned in found:
        also[tuned.task].append(tuned.design)
    return make_plan(**asked, also=also)
