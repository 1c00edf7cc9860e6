"""What `glia-bench list` and `glia-bench info` show: tasks, suites and policies, and one task in full.

Everything here is layout; the facts come from `evaluation.listing`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from glia_bench.terminal_columns import kind_of, number


def print_listing(listing: Mapping[str, Any]) -> None:
    """Print tasks, suites, policies and designers."""
    console = Console(highlight=False)
    _print_table(
        console,
        "Tasks",
        ("id", "track", "title"),
        [(task["id"], task["track"], task["title"]) for task in listing["tasks"]],
    )
    _print_table(
        console,
        "Suites",
        ("name", "seeds", "tasks"),
        [(suite["name"], str(suite["num_seeds"]), ", ".join(suite["tasks"])) for suite in listing["suites"]],
    )
    _print_table(
        console,
        "Policies",
        ("name", "track", "kind", "idea"),
        [(policy["name"], policy["track"], kind_of(policy), policy["idea"]) for policy in listing["policies"]],
    )
    _print_table(
        console,
        "Designers",
        ("name", "kind", "needs a model", "idea"),
        [(d["name"], d["kind"], "yes" if d["needs_lm"] else "no", d["idea"]) for d in listing["designers"]],
    )
    console.print(Text("More on a task: glia-bench info TASK. Your own policy: glia-bench run --policy FILE.py"))


def print_task(facts: Mapping[str, Any]) -> None:
    """Print one task."""
    console = Console(highlight=False)
    console.print(Text.assemble("\n", (facts["id"], "bold"), f"  {facts['title']}\n"))
    console.print(Padding(Text(facts["why_hard"]), (0, 4, 1, 0)))
    cluster = facts["cluster"]
    for pool in cluster["pools"]:
        _print_pairs(console, "Cluster" if len(cluster["pools"]) == 1 else f"Pool {pool['name']}", _pool_pairs(pool))
    _print_pairs(console, "Router", _router_pairs(cluster))
    loads = ", ".join(f"{load:g}" for load in facts["loads"])
    pairs = [("reference rate", f"{facts['reference_rate_rps']:g} requests/s: {facts['rate_basis']}"), ("loads", loads)]
    if workload := facts["workload"]:
        prompts, outputs = workload["prompt_tokens"], workload["output_tokens"]
        sessions = f" of {workload['num_sessions']:,} sessions" if workload["num_sessions"] else ""
        pairs += [
            (
                "seed 0",
                f"{workload['num_requests']:,} requests{sessions} in {workload['last_arrival_s']:,.0f} s, "
                f"gap CV {number(workload['gap_cv'], 2)}",
            ),
            ("prompt tokens", _spread(prompts)),
            ("output tokens", _spread(outputs)),
        ]
    else:
        pairs.append(("lengths", f"{facts['lengths_hint']}; pass --lengths FILE"))
    _print_pairs(console, "Workload", pairs)
    goals = [
        ("objective", f"{facts['objective']['name']}: {facts['objective']['meaning']}; lower is better"),
        *(("SLO", _slo(slo)) for slo in facts["slo_classes"]),
        *((("length predictor", _predictor(facts["predictor"])),) if facts["predictor"]["kind"] != "none" else ()),
        ("run ends", f"when drained, or {facts['drain_s']:,.0f} s after the last arrival"),
        ("references", f"naive {facts['naive']}, plain {facts['reference']}, human expert {facts['expert']}"),
        *((("tuned", _constants(facts)),) if facts["expert_constants"] else ()),
        ("seeds", f"{facts['dev_seeds'][0]} to {facts['dev_seeds'][-1]}"),
        ("suites", ", ".join(facts["suites"]) or "none"),
    ]
    _print_pairs(console, "Goal", goals)
    if published := facts["published_mean_e2e_s"]:
        _print_pairs(console, "Published mean E2E", [(name, f"{value:g} s") for name, value in published.items()])
    console.print(Padding(Text.assemble(("Source  ", "bold"), facts["source"]), (0, 4, 1, 0)))
    console.print(Text.assemble(("Run     ", "bold"), facts["command"]), soft_wrap=True)


def _constants(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in facts["expert_constants"].items())


def _pool_pairs(pool: Mapping[str, Any]) -> list[tuple[str, str]]:
    low, start, high = pool["min_replicas"], pool["num_replicas"], pool["max_replicas"]
    start_s = pool["cold_start"]["provision_s"] + pool["cold_start"]["load_s"]
    fleet = [] if low == high else [("fleet", f"{start} at first, {low} to {high}; a new one takes {start_s:g} s")]
    prefill = "chunked prefill" if pool["chunked_prefill"] else "whole prompts"
    cache = ", prefix cache" if pool["prefix_caching"] else ""
    tokens = pool["num_blocks"] * pool["block_size_tokens"]
    return [
        ("replicas", f"{high}, {pool['latency']}"),
        *fleet,
        ("engine", f"{pool['engine_mode']}, continuous batching with {prefill}{cache}"),
        ("batch", f"{pool['token_budget']} tokens an iteration, {pool['max_running']} running requests"),
        (
            "KV cache",
            f"{tokens:,} tokens a replica: {pool['num_blocks']} blocks of {pool['block_size_tokens']}, "
            f"{pool['watermark_blocks']} kept free on admission",
        ),
    ]


def _router_pairs(cluster: Mapping[str, Any]) -> list[tuple[str, str]]:
    interval_s = cluster["metrics_interval_s"]
    views = [("prefix views", ", ".join(cluster["prefix_views"]))] if cluster["prefix_views"] else []
    return [
        ("acts on", ", ".join(cluster["triggers"])),
        ("metrics", f"every {1000 * interval_s:g} ms" if interval_s else "always fresh"),
        *views,
        *([("routers", str(cluster["num_routers"]))] if cluster["num_routers"] > 1 else []),
    ]


def _slo(slo: Mapping[str, Any]) -> str:
    parts = []
    if slo["ttft_s"] is not None:
        per_token = f" + {1000 * slo['ttft_per_prompt_token_s']:g} ms a prompt token"
        parts.append(f"TTFT {slo['ttft_s']:g} s" + (per_token if slo["ttft_per_prompt_token_s"] else ""))
    if slo["tpot_s"] is not None:
        parts.append(f"TPOT {1000 * slo['tpot_s']:g} ms")
    if slo["patience_s"] is not None:
        parts.append(f"clients give up after {slo['patience_s']:g} s")
    return f"{slo['name']}: {', '.join(parts)}" if parts else "none"


def _predictor(predictor: Mapping[str, Any]) -> str:
    sigma = f", lognormal error of sigma {predictor['sigma_percent'] / 100:g}" if predictor["sigma_percent"] else ""
    return f"{predictor['kind']}{sigma}"


def _spread(tokens: Mapping[str, float]) -> str:
    return f"mean {tokens['mean']:.0f}, median {tokens['p50']}, p99 {tokens['p99']}, largest {tokens['max']}"


def _print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(Text(heading), no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _print_pairs(console: Console, title: str, pairs: Sequence[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    console.print(Text(title, style="bold"))
    console.print(Padding(table, (0, 0, 1, 2)))
