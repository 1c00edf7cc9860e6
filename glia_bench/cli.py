"""`glia-bench`: parse, call the library, print; no logic.

Everything heavy is imported inside the verb that needs it, so that `--help` answers at once. What a user can mend is
one line on stderr, never a traceback. Exit codes: 0 all well; 1 something given is invalid, or a design failed; 2 wrong
usage; 3 the benchmark's own machinery failed.
"""

import argparse
import errno
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from glia_bench import __version__, cli_design, cli_records, cli_setup, cli_tuning, doctor
from glia_bench.errors import EvaluationFailure, GliaBenchError

OK, INVALID, USAGE, INFRASTRUCTURE = 0, 1, 2, 3

_EPILOG = """\
examples:
  glia-bench run                                        well-known policies on the quick suite
  glia-bench run --policy my_policy.py --policy llq     your policy beside the plain reference
  glia-bench info routing/paper-v0                      what a task is and why it is hard

exit codes: 0 all well, 1 invalid input or a failed design, 2 wrong usage, 3 our own machinery failed
"""

Number = TypeVar("Number", int, float)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: Arguments without the program's name; default those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by whoever started this: the next file opened would get its number
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        options = _parser().parse_args(arguments)
        options.command = shlex.join(["glia-bench", *arguments])
        code: int = options.verb(options)
        sys.stdout.flush()
        return code
    except GliaBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return INVALID
    except EvaluationFailure as error:
        print(f"failure of the benchmark itself, not of a design: {error}", file=sys.stderr)
        return INFRASTRUCTURE
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INVALID
    except BrokenPipeError:  # the reader of a pipe left: not an error, and nobody to tell
        _give_up_stdout()
        return OK
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            return _our_fault()
        _give_up_stdout()
        print(f"failure of the benchmark itself: its output cannot be written ({error.strerror})", file=sys.stderr)
        return INFRASTRUCTURE
    except Exception:
        return _our_fault()


def _our_fault() -> int:
    traceback.print_exc()
    print("failure of the benchmark itself; please report the lines above", file=sys.stderr)
    return INFRASTRUCTURE


def _give_up_stdout() -> None:
    """Drop what is still to be printed, so that the interpreter does not fail over it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="glia-bench",
        description="Compare designs for running an LLM-inference cluster, in simulation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"glia-bench {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(verb=run)
        sub.add_argument("--json", action="store_true", help="print JSON, and nothing else, on stdout")
        return sub

    verb("list", _list, "list tasks, suites, policies and designers")
    info = verb("info", _info, "say what a task is and why it is hard")
    info.add_argument("task", metavar="TASK", help="task id, such as routing/paper-v0")
    info.add_argument("--plot", action="store_true", help="draw the workload: rate, lengths, prefixes, shares")
    info.add_argument("--out", metavar="FILE", type=Path, help="where to: an .svg or .png (default: TASK.svg here)")
    info.add_argument("--trace", metavar="FILE", type=Path, help="recorded requests in place of the task's own")
    info.add_argument("--skip-unfit", action="store_true", help="leave out recorded requests that no replica can hold")
    _add_run_options(verb("run", _run, "run policies on tasks; print a table, write a result and a report"))
    report = verb("report", _report, "print a result's table again and write its HTML report, or compare design runs")
    report.add_argument("folder", metavar="DIR", type=Path, help="folder of a result, or of design runs to compare")
    formats = ("html", "latex", "markdown")
    report.add_argument("--format", choices=formats, default="html", help="tables for a paper go to stdout instead")
    report.add_argument(
        "--robustness", action="store_true", help="simulate the best designs again on variants of each cluster"
    )
    cli_design.add_verbs(verb)
    cli_setup.add_verbs(verb)
    cli_records.add_verbs(verb)
    doctor.add_verb(verb)
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    what = run.add_mutually_exclusive_group()
    what.add_argument("--suite", metavar="S", help="suite of tasks (default: quick)")
    what.add_argument("--task", metavar="T", action="append", default=[], help="task instead of a suite; repeatable")
    run.add_argument(
        "--policy",
        metavar="NAME|FILE.py",
        action="append",
        default=[],
        help="shipped policy or your own file, beside the task's references; repeatable (default: all; quick: a few)",
    )
    run.add_argument(
        "--loads",
        metavar="A,B",
        type=_loads,
        default=(),
        help="loads, as fractions of the task's reference rate (default: the task's own)",
    )
    run.add_argument("--seeds", metavar="N", type=_positive(int), help="seeds 0 to N-1 (default: as the suite says)")
    run.add_argument("--jobs", metavar="N", type=_positive(int), default=1, help="trials at a time (default: 1)")
    run.add_argument(
        "--executor", choices=("local", "dask"), default="local", help="processes of this machine, or a Dask cluster"
    )
    run.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler (default: a cluster of --jobs processes on this machine)"
    )
    run.add_argument("--lengths", metavar="FILE", type=Path, help="lengths file, for tasks that need one")
    run.add_argument(
        "--trace", metavar="FILE", type=Path, help="recorded requests to run on the task's cluster: docs/traces.md"
    )
    run.add_argument("--skip-unfit", action="store_true", help="leave out recorded requests that no replica can hold")
    run.add_argument(
        "--timeout",
        metavar="S",
        type=_positive(float),
        default=60.0,
        help="longest that one trial may take in a process of its own, in seconds (default: 60)",
    )
    run.add_argument(
        "--records", action="store_true", help="keep the table of requests of every seed, not the first only"
    )
    run.add_argument(
        "--timeline", action="store_true", help="keep what every replica computed, of every trial, and draw it"
    )
    run.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="results folder; what an earlier run into it settled is not run again (default: a new one below results/)",
    )
    cli_records.add_run_options(run)
    run.add_argument(
        "--tune", metavar="N", type=_positive(int), help="first tune designs' TUNABLE constants, N simulations each"
    )
    run.add_argument(
        "--tuned", action="store_true", help="beside each shipped policy, run it with its constants tuned for the task"
    )
    run.add_argument("--no-report", action="store_true", help="do not write the HTML report")


def _positive(kind: type[Number]) -> Callable[[str], Number]:
    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < float("inf"):
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"must be a positive {what} (got {text!r})")
        return value

    return parse


def _loads(text: str) -> tuple[float, ...]:
    parse = _positive(float)
    return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))


def _list(options: argparse.Namespace) -> int:
    from glia_bench.designer.catalog import designers
    from glia_bench.evaluation import listing

    found = {**listing.everything(), "designers": designers()}
    if options.json:
        _print_json(found)
    else:
        from glia_bench import terminal_info

        terminal_info.print_listing(found)
    return OK


def _info(options: argparse.Namespace) -> int:
    from glia_bench.evaluation import listing

    task = listing.task_to_show(options.task, options.trace, skip_unfit=options.skip_unfit)
    facts = listing.task_facts(task)
    picture = None
    if options.plot or options.out:
        from glia_bench.scoring.workload_figure import write_workload_figure

        default = Path(task.id.replace("/", "-").replace(":", "-") + ".svg")
        picture = write_workload_figure(task, options.out or default)
    if options.json:
        _print_json({**facts, **({"plot": str(picture)} if picture else {})})
    else:
        from glia_bench import terminal_info

        terminal_info.print_task(facts)
        if picture:
            print(f"Plot    {picture}")
    return OK


def _run(options: argparse.Namespace) -> int:
    from glia_bench import terminal
    from glia_bench.evaluation.plan import check_folder, make_plan, new_folder
    from glia_bench.evaluation.resume import Reuse
    from glia_bench.evaluation.stopping import Stop
    from glia_bench.scoring.signature import read_private_key

    if options.scheduler and options.executor != "dask":
        raise GliaBenchError(f"--scheduler {options.scheduler} must come with --executor dask (got local); add that")
    folder: Path = options.out or new_folder(
        options.suite, [f"trace-{options.trace.stem}"] if options.trace else options.task
    )
    asked: dict[str, Any] = dict(
        suite=options.suite,
        task_ids=options.task,
        policies=options.policy,
        loads=options.loads,
        num_seeds=options.seeds,
        lengths=options.lengths,
        trace=options.trace,
        skip_unfit=options.skip_unfit,
        folder=folder,
        keeps_all_requests=options.records,
        keeps_timelines=options.timeline,
        split=options.split,
        keeps_decisions=options.decisions,
        adds_references=True,
        adds_tuned=options.tuned,
    )
    plan = make_plan(**asked)
    key = read_private_key(options.sign) if options.sign else None
    check_folder(folder)
    for remark in plan.skipped:
        _note(remark)
    stop = Stop()
    if options.tune:
        plan = cli_tuning.with_tuned_designs(asked, plan, options, folder, stop)
    with terminal.Progress(len(plan.trials), is_quiet=options.json) as progress, stop.on_signals(_note):
        progress.say("loading the simulator (compiled once, on its first use)")
        from glia_bench.evaluation.results import Executor, run_plan
        from glia_bench.evaluation.runner import Limits

        def say_reuse(reuse: Reuse) -> None:
            progress.start_at(len(reuse.entries))
            if reuse.note:
                _note(reuse.note)

        report = run_plan(
            plan,
            Limits(jobs=options.jobs, timeout_s=options.timeout),
            folder=folder,
            command=options.command,
            executor=Executor(name=options.executor, scheduler=options.scheduler),
            watcher=progress.watch,
            on_reuse=say_reuse,
            stop=stop,
            key=key,
        )

    if report.record is not None:
        if options.json:
            _print_json(report.record)
        else:
            terminal.print_result(report.record)
            cli_records.print_gaps(report.record)
    for refusal in report.refusals:
        print(f"error: {refusal.message}", file=sys.stderr)
    if num_broken := sum(t["status"] == "infra_error" for t in report.record["trials"]) if report.record else 0:
        print(
            f"failure of the benchmark itself, not of a design: {num_broken} trials; see {folder}/logs", file=sys.stderr
        )
    if report.failure:
        print(f"failure of the benchmark itself, not of a design: {report.failure}", file=sys.stderr)
    if report.is_interrupted:
        done = len(report.record["trials"]) if report.record else 0
        print(f"interrupted after {done} of {len(plan.trials)} trials", file=sys.stderr)
    if report.record is not None:
        is_whole = not (report.is_interrupted or options.no_report)
        page = None
        if is_whole:
            try:
                page = _write_report(folder, is_quiet=options.json)
            except KeyboardInterrupt:
                print("interrupted while the report was written; the result stands", file=sys.stderr)
        if not options.json:
            terminal.print_places(folder, report.record, page)
    return report.exit_code


def _report(options: argparse.Namespace) -> int:
    from glia_bench.scoring.record import read_record

    if runs := cli_design.runs_in(options.folder):
        return cli_design.report(runs, options)
    record = read_record(options.folder)
    if options.format != "html":
        from glia_bench.scoring.export import FORMATS

        tables = FORMATS[options.format](record)
        _print_json({options.format: tables}) if options.json else print(tables, end="")
        return OK
    robustness = cli_records.robustness(options.folder, record, is_quiet=options.json) if options.robustness else None
    page = _write_report(options.folder, is_quiet=options.json)
    if options.json:
        ids = {name: record[name] for name in ("id", "results_id")}
        _print_json({"report": str(page), **ids, **({} if robustness is None else {"robustness": robustness})})
    else:
        from glia_bench import terminal

        terminal.print_result(record)
        if robustness is not None:
            terminal.print_robustness(robustness)
        terminal.print_places(options.folder, record, page)
    return OK


def _write_report(folder: Path, *, is_quiet: bool) -> Path:
    from glia_bench import terminal

    with terminal.Progress(0, is_quiet=is_quiet) as progress:
        progress.say("writing the report")
        from glia_bench.scoring.report import write_report

        return write_report(folder)


if __name__ == "__main__":
    sys.exit(main())
