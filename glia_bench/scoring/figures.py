"""What the report's figures show: request tables and samples of one task and load, reduced to what `plots.py` draws.

Each function returns a `Figure`: drawing, title, legend and two sentences on how to read it. Which policies get a
colour is decided here too: few enough to tell apart, the rest thin and grey. Requests and samples are those of one
seed; means and intervals over seeds come from the summary. Nothing is read from disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from glia_bench.scoring import plots
from glia_bench.scoring.plots import Curve, Dot, Floats, PanelAxes, Spot, State
from glia_bench.scoring.svg import PUBLISHED_SWATCH, Style

if TYPE_CHECKING:
    import pandas as pd

Row: TypeAlias = Mapping[str, Any]

MAX_HIGHLIGHTED = 6
MAX_USER_POLICIES = 3
MAX_CDF_POINTS = 400
MAX_TIME_BINS = 240
DECILES = 10
OFF_SCALE = 8.0
"""Times the median cost at which a policy leaves the figures for the table alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the report.

    Attributes:
        title: What it shows.
        svg: Markup, safe to embed.
        how_to_read: Two sentences.
        legend: (swatch markup, policy name) in drawing order.
        others: Policies that share the thin grey lines.
    """

    title: str
    svg: str
    how_to_read: str
    legend: tuple[tuple[str, str], ...] = field(default=())
    others: tuple[str, ...] = field(default=())


def highlighted(rows: Sequence[Row], *, naive: str | None, expert: str | None) -> list[str]:
    """Choose the policies that get a colour: references, the best published AI design, the user's own, the best.

    What room is left goes to the best other human design, then to policies with a published value, then by rank.

    Args:
        rows: Summary rows of one task at one load, cheapest first.
        naive: The task's naive reference, if known.
        expert: The task's human expert, if known.

    Returns:
        At most `MAX_HIGHLIGHTED` names without repetition; a place in this list is a style.
    """
    ranked = [row for row in rows if row.get("cost_mean") is not None]
    names = [str(row["policy"]) for row in ranked]
    plain = next((str(row["plain"]) for row in ranked if row.get("plain")), None)
    references = (naive, expert, plain)
    by_kind = {
        kind: [str(row["policy"]) for row in ranked if row.get("kind") == kind and row["policy"] not in references]
        for kind in ("user", "published_ai", "human")
    }
    published = [str(row["policy"]) for row in ranked if row.get("published_s") is not None]
    roles = [expert, plain, *by_kind["published_ai"][:1], naive, *by_kind["user"][:MAX_USER_POLICIES], *names[:1]]
    wanted = [*roles, *by_kind["human"][:1], *published, *names]
    return list(dict.fromkeys(name for name in wanted if name in names))[:MAX_HIGHLIGHTED]


def off_scale(rows: Sequence[Row]) -> list[str]:
    """Return the policies whose mean cost is so far above the median one that it would flatten every figure."""
    costs = [row["cost_mean"] for row in rows if row.get("cost_mean") is not None]
    limit = OFF_SCALE * float(np.median(costs)) if costs else 0.0
    return [str(row["policy"]) for row in rows if (row.get("cost_mean") or 0.0) > limit]


def mean_figure(key: str, rows: Sequence[Row], styles: Mapping[str, Style], axis_label: str) -> Figure | None:
    """Return the dot plot of mean costs with intervals and published values; None if no policy has a mean."""
    dots = [
        Dot(
            name=row["policy"],
            style=styles.get(row["policy"]),
            mean=row["cost_mean"],
            low=row.get("cost_low"),
            high=row.get("cost_high"),
            published=row.get("published_s"),
        )
        for row in rows
        if row.get("cost_mean") is not None
    ]
    if not dots:
        return None
    label = f"Dot plot of {axis_label} with 95 % intervals. " + "; ".join(f"{d.name} {d.mean:.4g}" for d in dots)
    read = (
        "Each dot is a mean over seeds, its bar the 95 % t interval (none with a single seed); further left is better. "
        "All policies meet the same traces, so bars that overlap can still differ clearly: the ratio in the table, "
        "which is paired by seed, is the comparison to quote."
    )
    has_published = any(dot.published is not None for dot in dots)
    svg = plots.mean_dot_plot(f"{key}-mean", label, dots, axis_label)
    return Figure(
        title=f"{axis_label[0].upper()}{axis_label[1:]}",
        svg=svg,
        how_to_read=read,
        legend=((PUBLISHED_SWATCH, "published value"),) if has_published else (),
    )


def cdf_figure(key: str, frames: Mapping[str, "pd.DataFrame"], styles: Mapping[str, Style]) -> Figure | None:
    """Return the cumulative distribution of end-to-end latency over the requests of one seed."""
    curves, medians = [], []
    for name, frame in frames.items():
        latency = np.sort(frame["e2e_s"].to_numpy(dtype=np.float64))
        if not len(latency):
            continue
        rank = np.unique(np.linspace(0, len(latency) - 1, MAX_CDF_POINTS).round().astype(np.int64))
        curves.append(Curve(style=styles.get(name), x=latency[rank], y=100.0 * (rank + 1) / len(latency)))
        medians.append(f"{name} {latency[(len(latency) - 1) // 2]:.3g} s")
    if not curves:
        return None
    return Figure(
        title="Response-time distribution",
        svg=plots.response_time_cdf(
            f"{key}-cdf", "Cumulative distribution of end-to-end latency. Medians: " + "; ".join(medians), curves
        ),
        how_to_read=(
            "A point (x, y) says that y % of the requests were answered within x seconds; a curve further left and "
            "higher is better. Unfinished and rejected requests count with the time until the run ended; curves that "
            "cross mean that one policy serves the bulk faster and the tail slower."
        ),
        **_legend(list(frames), styles),
    )


def restarts_figure(key: str, frames: Mapping[str, "pd.DataFrame"], styles: Mapping[str, Style]) -> Figure | None:
    """Return the share of restarted requests per prompt-length decile over the requests of one seed."""
    curves: list[Curve] = []
    totals = []
    edges: list[int] = []
    for name, frame in frames.items():
        if not len(frame):
            continue
        prompts = frame["prompt_tokens"].to_numpy(dtype=np.int64)
        if not edges:
            levels = np.arange(1, DECILES + 1) / DECILES
            edges = [int(edge) for edge in np.unique(np.quantile(prompts, levels, method="inverted_cdf"))]
        group = np.searchsorted(edges, prompts).clip(0, len(edges) - 1)
        is_restarted = frame["restarts"].to_numpy() > 0
        counts = np.bincount(group, minlength=len(edges))
        shares = 100.0 * np.bincount(group, weights=is_restarted, minlength=len(edges)) / np.maximum(counts, 1)
        curves.append(Curve(style=styles.get(name), x=np.arange(len(edges), dtype=np.float64), y=shares))
        totals.append(f"{name} {100.0 * is_restarted.mean():.3g} %")
    if not curves:
        return None
    return Figure(
        title="Restarts by prompt length",
        svg=plots.restarts_by_prompt_length(
            f"{key}-restarts",
            "Restarted requests by prompt-length decile. Overall: " + "; ".join(totals),
            curves,
            edges,
        ),
        how_to_read=(
            "Requests are grouped into tenths by prompt length; a point is the share of its group that was preempted "
            "at least once and had to recompute its KV cache. A line that rises or falls shows which prompts pay for "
            "memory pressure; lower is better."
        ),
        **_legend(list(frames), styles),
    )


def load_figure(
    key: str, rows: Sequence[Row], policies: Sequence[str], styles: Mapping[str, Style], axis_label: str
) -> Figure | None:
    """Return cost against load, one line per policy that was run at two loads or more."""
    curves = _against_load(rows, policies, styles, ("cost_mean", "cost_low", "cost_high"))
    if not curves:
        return None
    return Figure(
        title=f"{axis_label[0].upper()}{axis_label[1:]} against load",
        svg=plots.cost_against_load(
            f"{key}-load", f"{axis_label} against load. {_at_top(curves)}", list(curves.values()), axis_label
        ),
        how_to_read=(
            "Load is the arrival rate as a share of the task's reference rate; each point is a mean over seeds with "
            "its 95 % interval. Look for where a line turns upwards: a good policy moves that knee to the right, and "
            "order at one load does not imply the same order at another."
        ),
        **_legend(list(curves), styles),
    )


def ratio_figure(key: str, rows: Sequence[Row], policies: Sequence[str], styles: Mapping[str, Style]) -> Figure | None:
    """Return `expert_ratio` against load; None where the expert was not run."""
    fields = ("expert_ratio", "expert_ratio_low", "expert_ratio_high")
    curves = _against_load(rows, policies, styles, fields)
    if not curves:
        return None
    axis_label = "expert ratio"
    return Figure(
        title="Expert ratio against load",
        svg=plots.cost_against_load(
            f"{key}-ratio", f"{axis_label} against load. {_at_top(curves)}", list(curves.values()), axis_label
        ),
        how_to_read=(
            "Each point is the human expert's cost over the policy's on the same traces, with its 95 % interval; above "
            "1 is better than the expert. What makes a trace hard for all cancels here, so differences show that the "
            "means hide."
        ),
        **_legend(list(curves), styles),
    )


def front_figure(key: str, rows: Sequence[Row], styles: Mapping[str, Style]) -> Figure | None:
    """Return GPU hours against SLO attainment; None where the fleet cannot change."""
    spots = []
    for row in rows:
        known = row.get("metrics") or {}
        if None not in (known.get("replicas_started"), known.get("gpu_hours"), known.get("slo_attainment")):
            attained = 100.0 * known["slo_attainment"]
            spots.append(Spot(name=row["policy"], style=styles.get(row["policy"]), x=known["gpu_hours"], y=attained))
    if not spots:
        return None
    label = "GPU hours and SLO attainment: " + "; ".join(f"{s.name} {s.x:.4g} h, {s.y:.3g} %" for s in spots)
    return Figure(
        title="GPU hours and SLO attainment",
        svg=plots.front(f"{key}-front", label, spots),
        how_to_read=(
            "Further left is cheaper, further up serves more requests within their SLO. The line joins the policies "
            "that no other beats in both: which of them is best depends on the price of a missed SLO."
        ),
        **_legend([spot.name for spot in spots], styles),
    )


def _against_load(
    rows: Sequence[Row], policies: Sequence[str], styles: Mapping[str, Style], fields: tuple[str, str, str]
) -> dict[str, Curve]:
    """Return policy to its curve over load, for those with two points or more; `fields` are value, low, high."""
    curves = {}
    for name in policies:
        points = [row for row in rows if row["policy"] == name and row.get(fields[0]) is not None]
        points.sort(key=lambda row: float(row["load"]))
        if len(points) < 2:
            continue
        y, low, high = (np.array([row.get(field) for row in points], dtype=np.float64) for field in fields)
        has_interval = bool(np.isfinite(low).all() and np.isfinite(high).all())
        curves[name] = Curve(
            style=styles.get(name),
            x=np.array([row["load"] for row in points], dtype=np.float64),
            y=y,
            low=low if has_interval else None,
            high=high if has_interval else None,
        )
    return curves


def _at_top(curves: Mapping[str, Curve]) -> str:
    return "At the highest load: " + "; ".join(f"{name} {curve.y[-1]:.3g}" for name, curve in curves.items())


def time_panels(
    key: str,
    samples: Mapping[str, "Samples"],
    styles: Mapping[str, Style],
    capacity_blocks: int | None,
) -> list[Figure]:
    """Return queue and KV occupancy over time: one small figure per highlighted policy, all on the same axes.

    Args:
        key: Prefix of ids.
        samples: Policy to its samples.
        styles: Policy to style; one for each of them.
        capacity_blocks: KV blocks of one replica; None draws blocks rather than per cent.
    """
    scale, unit = (100.0 / capacity_blocks, "%") if capacity_blocks else (1.0, "blocks")
    states = {name: _state(sampled, scale) for name, sampled in samples.items() if len(sampled.time_s)}
    if not states:
        return []
    axes = PanelAxes(
        time_s=max(float(state.time_s[-1]) for state in states.values()) or 1.0,
        queue=max(float((state.held + state.waiting).max()) for state in states.values()) or 1.0,
        kv=100.0 if capacity_blocks else max(float(state.kv_high.max()) for state in states.values()) or 1.0,
        kv_unit=unit,
    )
    figures = []
    for index, (name, state) in enumerate(states.items()):
        queue = state.held + state.waiting
        label = (
            f"{name} over time: queue mean {queue.mean():.3g}, peak {queue.max():.3g} requests; "
            f"KV occupancy mean {state.kv_mean.mean():.3g} {unit}"
        )
        svg = plots.state_over_time(f"{key}-time{index}", label, styles[name], state, axes)
        figures.append(Figure(title=name, svg=svg, how_to_read="", legend=((styles[name].swatch, name),)))
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """State of the cluster on a time grid, as read back from a result.

    Attributes:
        time_s: Shape (num_samples,).
        held: Requests in the held queue, shape (num_samples,).
        waiting: Requests waiting on replicas, summed, shape (num_samples,).
        allocated: KV blocks, shape (num_samples, num_replicas).
    """

    time_s: Floats
    held: Floats
    waiting: Floats
    allocated: Floats


def _state(samples: Samples, scale: float) -> State:
    """Average neighbouring samples until at most `MAX_TIME_BINS` are left; a rest at the end makes a shorter bin.

    Args:
        samples: At least one.
        scale: Factor on blocks.
    """
    count = len(samples.time_s)
    starts = np.arange(0, count, -(-count // MAX_TIME_BINS))
    sizes = np.diff(np.append(starts, count)).astype(np.float64)

    def average(values: Floats) -> Floats:
        totals: Floats = np.add.reduceat(values, starts, axis=0)
        return totals / (sizes if values.ndim == 1 else sizes[:, None])

    occupancy = average(samples.allocated) * scale
    return State(
        time_s=average(samples.time_s),
        held=average(samples.held),
        waiting=average(samples.waiting),
        kv_low=occupancy.min(axis=1),
        kv_mean=occupancy.mean(axis=1),
        kv_high=occupancy.max(axis=1),
    )


def _legend(policies: Sequence[str], styles: Mapping[str, Style]) -> dict[str, Any]:
    """Return the legend arguments of a `Figure`: styled policies one by one, the rest together."""
    return {
        "legend": tuple((styles[name].swatch, name) for name in policies if name in styles),
        "others": tuple(name for name in policies if name not in styles),
    }
