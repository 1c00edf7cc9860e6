"""`glia-bench design` and `export-task`: parse, call the designers, print."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError

if TYPE_CHECKING:
    from glia_bench.designer.drive import Outcome
    from glia_bench.designer.lm import Voice
    from glia_bench.designer.run import DesignRun, Settings

REPORT = "report"
"""Folder of a comparison, inside that of the runs."""
RECORDINGS = Path("submissions")
"""Where a checkout keeps recorded runs: submissions/glia-TRACK-NAME/journal.jsonl."""


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    design = verb("design", _design, "let a designer design a policy for a task, within a budget")
    design.add_argument("designer", metavar="DESIGNER", help="glia, oneshot, search_neutral ...: glia-bench list")
    design.add_argument("--task", metavar="T", required=True, help="task id")
    design.add_argument("--budget", metavar="B", help="such as 20, or simulations=20,usd=5,wall_s=7200 (default: 20)")
    design.add_argument(
        "--lm",
        metavar="M",
        default="",
        help="replay[:FILE], mailbox, scripted:FILE, or a model's name (default: GLIA_LM_MODEL)",
    )
    design.add_argument("--contexts", metavar="N", type=int, help="contexts that share the budget (default: 1)")
    design.add_argument("--mode", choices=("parallel", "sequential"), help="how several contexts work")
    design.add_argument(
        "--without", metavar="A,B", help="glia: leave out supervisor, analyst, or details (scores only)"
    )
    design.add_argument("--sampler", choices=("tpe", "random", "qmc"), help="search_*: how it proposes")
    design.add_argument("--seeds", metavar="N", type=int, help="development seeds of a simulation (default: 5)")
    design.add_argument("--seed", metavar="N", type=int, help="of the designer's own draws (default: 0)")
    design.add_argument("--jobs", metavar="N", type=int, default=1, help="runs at a time (default: 1)")
    design.add_argument("--policy", metavar="FILE.py", type=Path, action="append", default=[], help="human: hand in")
    design.add_argument("--out", metavar="DIR", type=Path, help="folder of the run (default: a new one below designs/)")
    design.add_argument("--resume", action="store_true", help="go on with the run in --out")
    design.add_argument("--show-prompts", action="store_true", help="print what every role is told, and end")
    export = verb("export-task", _export, "write a task for another designer's own command line")
    export.add_argument("task", metavar="TASK", help="task id")
    export.add_argument("--format", choices=("openevolve", "gepa", "shinka", "harbor"), required=True, help="whose")
    export.add_argument("--budget", metavar="B", help="what the exported evaluator may spend (default: 20)")
    export.add_argument("--out", metavar="DIR", type=Path, required=True, help="where to")


def _design(options: argparse.Namespace) -> int:
    from glia_bench.designer.catalog import get_designer
    from glia_bench.designer.drive import drive
    from glia_bench.designer.run import TRIAL_TIMEOUT_S, DesignRun
    from glia_bench.evaluation.folder_lock import locked
    from glia_bench.evaluation.runner import Limits
    from glia_bench.evaluation.stopping import Stop

    if options.designer == "exported":
        raise GliaBenchError("exported tasks are run by the tools that they were exported for: their README says how")
    designer = get_designer(options.designer)
    if options.show_prompts:
        return _show_prompts(options)
    recording = _recording(options)
    settings = _settings(options, recording)
    folder = _folder(options, settings)
    say = (lambda text: None) if options.json else (lambda text: print(text, file=sys.stderr, flush=True))
    voice = _voice(options, settings, folder, recording) if designer.needs_lm else None
    stop = Stop()
    limits = Limits(jobs=options.jobs, timeout_s=TRIAL_TIMEOUT_S)
    with locked(folder), stop.on_signals(say):
        try:
            run = DesignRun(settings, folder, limits=limits, say=say, stop=stop)
        except KeyboardInterrupt:
            print(f"interrupted before anything was paid for; go on with --out {folder} --resume", file=sys.stderr)
            return 1
        if not designer.entry:
            from glia_bench.designer.person import hand_in

            outcome = hand_in(run, options.policy)
        else:
            outcome = drive(run, voice)
    _print(outcome, run, options, recording)
    return 0 if outcome.best is not None and outcome.status == "done" else 1


def runs_in(folder: Path) -> list[Path]:
    """Return the design runs in a folder that is no result."""
    from glia_bench.scoring.record import RESULT_FILE

    if not folder.is_dir() or (folder / RESULT_FILE).exists():
        return []
    from glia_bench.designer.curves import designs_below

    return designs_below(folder)


def report(runs: Sequence[Path], options: argparse.Namespace) -> int:
    """Score what design runs have found on cases that no designer has met, and compare them.

    Raises:
        GliaBenchError: If other tables or variants are asked for, which design runs have not.
    """
    from glia_bench.designer.designs_page import report_designs
    from glia_bench.evaluation.stopping import Stop

    if options.format != "html" or options.robustness:
        raise GliaBenchError(
            "design runs have an HTML page, a table.md and a curves.json; leave --format and --robustness out"
        )
    out = options.folder / REPORT
    stop = Stop()
    say = (lambda text: None) if options.json else (lambda text: print(text, file=sys.stderr, flush=True))
    with stop.on_signals(say), stop.gently():
        page = report_designs(runs, out, say=say, stop=stop)
    content = json.loads((out / "curves.json").read_text())
    if options.json:
        print(json.dumps(content))
        return 0
    from glia_bench.terminal_designs import print_designs

    print_designs(content)
    print(f"\nreport  {page}")
    return 0


def _settings(options: argparse.Namespace, recording: Path | None) -> "Settings":
    """Return the settings that the command line asks for: those of the run to go on with, or to replay, by default."""
    from glia_bench.designer.budget import Budget
    from glia_bench.designer.catalog import get_designer
    from glia_bench.designer.journal import JOURNAL, Journal
    from glia_bench.designer.run import DEV_SEEDS, Settings
    from glia_bench.tasks.catalog import get_task

    get_task(options.task)
    known: dict[str, Any] = {
        "task": options.task,
        "designer": options.designer,
        "budget": dict(Budget.parse("").limits),
        "seeds": list(DEV_SEEDS),
        "contexts": 1,
        "seed": 0,
        "options": dict(get_designer(options.designer).options),
    }
    own = options.out / JOURNAL if options.out else None
    if own and own.exists() and not options.resume:
        raise GliaBenchError(f"{options.out} holds a design run already; go on with --resume, or give another --out")
    if options.resume and not (own and own.exists()):
        raise GliaBenchError(f"--resume needs --out with the folder of a design run (got {options.out})")
    earlier = own if own and own.exists() else recording
    if earlier is not None:
        start = next((entry for entry in Journal(earlier).entries if entry["event"] == "start"), None)
        if start is None:
            raise GliaBenchError(f"{earlier} holds no start of a design run")
        if (start["settings"]["task"], start["settings"]["designer"]) != (options.task, options.designer):
            was = f"{start['settings']['designer']} on {start['settings']['task']}"
            raise GliaBenchError(f"{earlier} is of {was}, not of {options.designer} on {options.task}")
        known = start["settings"]
    if options.budget is not None:
        known["budget"] = dict(Budget.parse(options.budget).limits)
    if options.seeds is not None:
        known["seeds"] = list(range(_positive(options.seeds, "--seeds")))
    if options.contexts is not None:
        known["contexts"] = _positive(options.contexts, "--contexts")
    if options.seed is not None:
        known["seed"] = options.seed
    for name, value in (("mode", options.mode), ("without", options.without), ("sampler", options.sampler)):
        if value is not None:
            if name not in known["options"]:
                raise GliaBenchError(f"--{name} is not for {options.designer}")
            known["options"][name] = _parts(value) if name == "without" else value
    return Settings.from_json(known)


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [part for part in parts if part not in ("supervisor", "analyst", "details")]:
        raise GliaBenchError(f"--without takes supervisor, analyst, details (got {unknown[0]!r})")
    return parts


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise GliaBenchError(f"{name} must be at least 1 (got {number})")
    return number


def _recording(options: argparse.Namespace) -> Path | None:
    """Return the journal that --lm replay answers from."""
    name, _, path = options.lm.partition(":")
    if name != "replay":
        return None
    file = Path(path) if path else RECORDINGS / f"{options.designer}-{options.task.replace('/', '-')}" / "journal.jsonl"
    if file.is_dir():
        file /= "journal.jsonl"
    if not file.exists():
        raise GliaBenchError(f"no recording at {file}; run in a checkout of the project, or give --lm replay:FILE")
    return file


def _voice(options: argparse.Namespace, settings: "Settings", folder: Path, recording: Path | None) -> "Voice":
    from glia_bench.designer.lm import make_voice
    from glia_bench.designer.run import versions_of

    spec = "replay" if recording else options.lm
    return make_voice(spec, folder=folder, versions=versions_of(settings.task), recording=recording)


def _folder(options: argparse.Namespace, settings: "Settings") -> Path:
    if options.out:
        return Path(options.out)
    stem = f"{settings.designer}-{settings.task.replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, count = Path("designs") / stem, 1
    while folder.exists():
        count += 1
        folder = Path("designs") / f"{stem}-{count}"
    return folder


def _show_prompts(options: argparse.Namespace) -> int:
    from glia_bench.designer.bundle import TaskBundle

    bundle = TaskBundle.of(options.task)
    found: dict[str, str] = {}
    if options.designer == "glia":
        from glia_bench.designer.roles import prompts

        found = prompts()
    elif options.designer in ("oneshot", "best_of_n"):
        from glia_bench.designer.sampling import SYSTEM, prompt

        found = {"designer": f"--- system\n{SYSTEM}\n\n--- user\n{prompt(bundle)}"}
    found |= {"objective": bundle.objective_md, "background": bundle.background_md}
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, text in found.items():
            print(f"=== {name}\n{text}\n")
    return 0


def _print(outcome: "Outcome", run: "DesignRun", options: argparse.Namespace, recording: Path | None) -> None:
    from glia_bench.designer.evaluation import digits

    same = _same_as(recording, run) if recording else None
    if options.json:
        print(json.dumps({**outcome.to_json(), "same_as_recording": same}, indent=1))
        return
    print(f"{run.settings.designer} on {run.settings.task}: {outcome.message}")
    spent = outcome.spent
    tokens = f", {spent['tokens_in'] + spent['tokens_out']:.0f} tokens" if spent["tokens_in"] else ""
    print(
        f"spent {spent['simulations']:.3g} simulations, {spent['proposals']:.0f} proposals, {spent['lm_calls']:.0f} "
        f"calls of a model{tokens}, {spent['wall_s']:.0f} s ({spent['sim_s']:.0f} s simulating, {spent['lm_s']:.0f} s "
        f"waiting for a model)"
    )
    if outcome.best is None:
        print(f"no design: nothing that was proposed could run and was fair to all; see {run.journal.path}")
    else:
        evaluation = outcome.best.evaluation
        print(f"best: proposal {outcome.best.number}, cost {digits(evaluation.cost)}, score {digits(evaluation.score)}")
        print(f"design: {outcome.folder}")
    if same is not None:
        print(f"replay: {'the same designs and costs as recorded' if same else 'DIFFERENT from what was recorded'}")


def _same_as(recording: Path, run: "DesignRun") -> bool:
    """Return whether a replay simulated the same sources at the same costs."""
    from glia_bench.designer.journal import Journal

    def simulated(journal: Journal) -> list[tuple[str, Any]]:
        return [(e["what"]["sha256"], e["evaluation"]["runs"]) for e in journal.all("simulation")]

    return simulated(Journal(recording)) == simulated(run.journal)


def _export(options: argparse.Namespace) -> int:
    from glia_bench.designer.export import export_task

    written = export_task(options.task, options.format, options.out, **_budget(options))
    if options.json:
        print(json.dumps({"folder": str(options.out), "files": [str(path) for path in written]}))
    else:
        print(f"wrote {len(written)} files to {options.out}; begin with its README")
    return 0


def _budget(options: argparse.Namespace) -> dict[str, str]:
    return {"budget": options.budget} if options.budget else {}
