"""The cases behind a number: one page per task and policy with every trial, worst first, down to single requests.

A page lists what was run at each load, seed by seed, beside the reference's cost on the same trace, with a chart of the
pairs. Where a trial's request table was kept it shows how its latencies are distributed and its slowest requests;
where its timeline was, a link. What was not kept comes with the command that makes it.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glia_bench.scoring import group_tables
from glia_bench.scoring.case_requests import request_section
from glia_bench.scoring.chart import Pair, dot_swatch, paired_chart
from glia_bench.scoring.columns import DASH, RATIO_DECIMALS, Column, Columns, Row, Table, TableRow, cost_head, objective
from glia_bench.scoring.figures import Figure
from glia_bench.scoring.kept import kept_file, kept_timelines
from glia_bench.scoring.pages import REPORT_FILE, Context, case_anchor, cases_page, link, task_page
from glia_bench.scoring.score import log_gain
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.tables import flags, rank_band
from glia_bench.scoring.task_section import axis, plural

MAX_PAIRS = 40
"""Rows of the chart of pairs, the worst ones."""
MAX_REQUEST_SECTIONS = 10
"""Cases of a page, the worst ones of those whose requests were kept, that show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """The human expert on one task.

    Attributes:
        policy: Its name.
        costs: (load, seed) to its cost, where it finished.
    """

    policy: str
    costs: Mapping[tuple[float, int], float]

    def cost(self, trial: Row) -> float | None:
        """Return its cost on a trial's case."""
        return self.costs.get((trial["load"], trial["seed"]))

    def gain(self, trial: Row) -> float | None:
        """Return a trial's log-gain over it, as the expert ratio counts it."""
        cost = self.cost(trial)
        return None if cost is None else log_gain(cost, trial["cost"] if trial["status"] == "ok" else None)


def expert_of(rows: Sequence[Row], trials: Sequence[Row]) -> Expert | None:
    """Return a task's human expert, if it was run.

    Args:
        rows: Summary rows of the task.
        trials: Its trials.
    """
    name = next((str(row["expert"]) for row in rows if row.get("expert")), None)
    costs = {(t["load"], t["seed"]): t["cost"] for t in trials if t["policy"] == name and t["status"] == "ok"}
    return Expert(policy=name, costs=costs) if name and costs else None


def cases_context(
    task_id: str,
    policy: str,
    rows: Sequence[Row],
    trials: Sequence[Row],
    expert: Expert | None,
    result_dir: Path,
    *,
    has_task_page: bool,
) -> Context:
    """Return what the page of a policy's cases prints.

    Args:
        task_id: The task.
        policy: The policy.
        rows: Its summary rows on this task.
        trials: Its trials on this task.
        expert: The human expert on this task, if it was run.
        result_dir: Where request tables and timelines lie.
        has_task_page: Whether the task has a page of its own.
    """
    page = cases_page(task_id, policy)
    loads = sorted({trial["load"] for trial in trials})
    ordered = {load: _worst_first([t for t in trials if t["load"] == load], expert) for load in loads}
    with_requests = [t for load in loads for t in ordered[load] if kept_file(result_dir, t, "records")]
    shown = _spread(with_requests, MAX_REQUEST_SECTIONS)
    sections = []
    for load in loads:
        row = next((row for row in rows if row["load"] == load), None)
        requests = [trial for trial in ordered[load] if any(trial is other for other in shown)]
        sections.append(
            {
                "anchor": case_anchor(load),
                "title": f"Load {load:g}",
                "sentence": _sentence(row) if row else "",
                "figure": _pairs_figure(ordered[load], expert, rows),
                "table": _cases_table(ordered[load], row, expert, result_dir, page, requests),
                "groups": group_tables.of_policy(ordered[load]),
                "requests": [request_section(result_dir, trial, page) for trial in requests],
            }
        )
    overall = next((row for row in rows if row["load"] == ALL_LOADS), None)
    first = trials[0]
    return {
        "page": page,
        "title": f"{policy} on {task_id}",
        "task": task_id,
        "policy": policy,
        "home": link(REPORT_FILE, from_page=page),
        "task_href": link(task_page(task_id), from_page=page) if has_task_page else "",
        "facts": _facts(first, trials),
        "source": _source_link(result_dir, first, page),
        "overall": _sentence(overall) if overall and len(loads) > 1 else "",
        "sections": sections,
        "num_hidden": len(with_requests) - len(shown),
        "command": _timeline_command(next(iter(ordered.values()))[0], result_dir),
    }


def _worst_first(trials: Sequence[Row], expert: Expert | None) -> list[Row]:
    """Order trials: failed ones, then by cost over the expert's, or by cost where there is none."""

    def key(trial: Row) -> tuple[bool, float, float, int, str]:
        gain = expert.gain(trial) if expert else None
        seed = str(trial["seed"])
        return (trial["status"] == "ok", gain or 0.0, -(trial.get("cost") or 0.0), len(seed), seed)

    return sorted(trials, key=key)


def _spread(trials: Sequence[Row], limit: int) -> list[Row]:
    """Return at most so many trials, the first ones of each load in turn."""
    turn: dict[float, int] = {}
    numbered = []
    for trial in trials:
        turn[trial["load"]] = turn.get(trial["load"], -1) + 1
        numbered.append((turn[trial["load"]], trial))
    return [trial for _, trial in sorted(numbered, key=lambda pair: pair[0])[:limit]]


def _pairs_figure(trials: Sequence[Row], expert: Expert | None, rows: Sequence[Row]) -> Figure | None:
    """Return the chart of pairs at one load; None if no trial has a cost."""
    if all(trial.get("cost") is None for trial in trials):
        return None
    policy, title, shown = str(trials[0]["policy"]), axis(rows), trials[:MAX_PAIRS]
    beside = expert if expert and expert.policy != policy else None
    pairs = [
        Pair(name=f"seed {t['seed']}", value=t.get("cost"), reference=beside.cost(t) if beside else None) for t in shown
    ]
    rest = f" The worst {len(shown)} of {len(trials)} cases." if len(trials) > len(shown) else ""
    read = f"One row a seed, worst first; further left is better.{rest}"
    legend = [(dot_swatch(is_hollow=False), policy)]
    label = f"{title} of {policy} by seed"
    if beside:
        legend.append((dot_swatch(is_hollow=True), beside.policy))
        label += f", beside {beside.policy} on the same trace"
        read += f" A dashed orange line leads to the right: {policy} costs more than {beside.policy} on that trace."
    return Figure(
        title=f"{title[:1].upper()}{title[1:]}, by seed",
        svg=paired_chart(pairs, label, title),
        how_to_read=read,
        legend=tuple(legend),
    )


def _cases_table(
    trials: Sequence[Row],
    row: Row | None,
    expert: Expert | None,
    result_dir: Path,
    page: str,
    with_requests: Sequence[Row],
) -> Table:
    """Return one row per case, and what the summary makes of them at the foot."""
    head = cost_head([row] if row else [])
    # The summary's row goes through the same columns as the cases, so that the foot is rounded as they are.
    foot = {**row, "cost": row.get("cost_mean")} if row else {}
    rows: list[Row] = [*trials, foot]
    columns = Columns(len(rows))
    tables = [kept_file(result_dir, trial, "records") for trial in trials]
    timelines = [kept_timelines(result_dir, trial) for trial in trials]
    texts = [_requests_text(t, file, with_requests) for t, file in zip(trials, tables, strict=True)]
    columns.texts("status", [str(trial["status"]) for trial in trials] + [""], term="status")
    columns.texts("requests", [*texts, ""])
    columns.texts("timeline", ["timeline" if files else DASH for files in timelines] + [""])
    columns.numbers(head, [r.get("cost") for r in rows], term="cost", style="num lead")
    if expert and expert.policy != trials[0]["policy"]:
        costs = [expert.cost(trial) for trial in trials]
        known = [cost for cost in costs if cost is not None]
        mean = math.fsum(known) / len(known) if known and len(known) == len(costs) else None
        columns.numbers(f"cost of {expert.policy}", [*costs, mean])
        each = [None if (gain := expert.gain(trial)) is None else math.exp(gain) for trial in trials]
        ratio = row.get("expert_ratio") if row else None
        columns.numbers("expert ratio", [*each, ratio], term="expert-ratio", places=RATIO_DECIMALS)
    columns.metrics(rows, is_latency=head.startswith("mean E2E"))
    if any(trial.get("message") for trial in trials):
        columns.texts("reason", [str(t.get("message") or "") for t in trials] + [""], style="text")
    num_unlinked = len(columns.heads) - 3

    def case_row(index: int, trial: Row) -> TableRow:
        anchor = case_anchor(trial["load"], trial["seed"])
        file, pages = tables[index], timelines[index]
        inside = any(trial is other for other in with_requests)
        to_requests = f"#requests-{anchor}" if inside else link(file, from_page=page) if file else ""
        hrefs = ("", to_requests, link(pages[0], from_page=page) if pages else "", *("",) * num_unlinked)
        style = "failed" if trial["status"] != "ok" else ""
        return TableRow(name=str(trial["seed"]), cells=columns.row(index), hrefs=hrefs, anchor=anchor, style=style)

    return Table(
        caption=f"{plural(len(trials), 'case')}, worst first",
        columns=(Column(title="seed"), *columns.heads),
        rows=tuple(case_row(index, trial) for index, trial in enumerate(trials)),
        foot=TableRow(name="mean", cells=columns.row(len(trials)))
        if row and row.get("cost_mean") is not None
        else None,
    )


def _requests_text(trial: Row, file: str | None, shown: Sequence[Row]) -> str:
    if file is None:
        return DASH
    return "requests" if any(trial is other for other in shown) else "table (Parquet)"


def _sentence(row: Row) -> str:
    """Return what the summary says of a row, in words."""
    if row.get("cost_mean") is None:
        ratio = "" if row.get("expert_ratio") is None else f" The expert ratio, {row['expert_ratio']:.3f}, counts them."
        return f"No mean: {plural(int(row.get('num_failed', 0)), 'trial')} failed ({row.get('status')}).{ratio}"
    name, unit = objective([row])
    parts = [f"{name} {row['cost_mean']:.4g} {unit}".rstrip() + _interval(row, "cost")]
    if row.get("expert_ratio") is not None:
        parts.append(f"expert ratio {row['expert_ratio']:.3f}" + _interval(row, "expert_ratio"))
    if row.get("score") is not None:
        parts.append(f"score {row['score']:.1f}")
    if row.get("rank_low") is not None:
        parts.append(f"rank {rank_band(row)}")
    parts += flags(row)
    starved = [str(group).replace("_", " ") for group in row.get("starves") or ()]
    parts += [f"starved: {', '.join(starved)}"] if len(starved) > 1 else []
    return f"{'; '.join(parts)}; {plural(int(row.get('num_seeds', 0)), 'seed')}."


def _interval(row: Row, name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"


def _facts(first: Row, trials: Sequence[Row]) -> list[tuple[str, str]]:
    num_ok = sum(trial["status"] == "ok" for trial in trials)
    return [
        ("kind", str(first.get("kind") or DASH)),
        ("ran as", ", ".join(sorted({str(trial.get("tier") or DASH) for trial in trials}))),
        ("cases", f"{len(trials)}, {num_ok} ok"),
        ("source SHA-256", str(first.get("policy_sha256") or DASH)),
    ]


def _source_link(result_dir: Path, first: Row, page: str) -> str:
    """Return where the text of a policy from a file lies, or ""."""
    file = kept_file(result_dir, {"source": f"policies/{first['policy']}.py"}, "source")
    return link(file, from_page=page) if file else ""


def _timeline_command(worst: Row, result_dir: Path) -> str:
    """Return the command that draws the timeline of the worst case; "" if it was kept, or its seed is sealed."""
    if kept_timelines(result_dir, worst) or not isinstance(worst["seed"], int):
        return ""
    file = kept_file(result_dir, {"source": f"policies/{worst['policy']}.py"}, "source")
    policy = file or worst["policy"]  # relative, so that pages do not depend on where the folder lies
    parts = ["glia-bench", "run", "--task", worst["task"], "--policy", policy, "--loads", f"{worst['load']:g}"]
    return shlex.join([*parts, "--seeds", str(worst["seed"] + 1), "--timeline"])
