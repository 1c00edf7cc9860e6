"""What a designer is told of a task: the system, the goal, the interface. Made from the same tables as everything else.

Every designer gets this text and no more: no reference design and none of its constants, no seed, no workload's name,
nothing that only an oracle knows. What requests are like is for the designer to find out, by asking for tables.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from glia_bench.declarations import MEMORY_LIMITS
from glia_bench.evaluation.listing import task_facts
from glia_bench.features import schema
from glia_bench.policy import CONSTANTS, HOOKS, Track, constants_of, hooks_of
from glia_bench.scoring.score import is_paper
from glia_bench.tasks.task import Task

SHOWN_GROUPS: Mapping[Track, tuple[str, ...]] = {
    "routing": ("request", "replicas", "cluster", "perf", "inflight", "memory"),
    "scheduling": ("request", "replica", "perf", "memory"),
    "autoscaling": ("window", "cluster", "replica", "memory"),
    "cluster": ("request", "replicas", "cluster", "perf", "inflight", "replica", "window", "memory"),
}
NOT_SHOWN = ("TUNABLE", "WEIGHTS")

ROUTER_RULES = """\
- An arrival enters the router's held queue, ordered by `rank` (evaluated once, on arrival; ties by arrival; without
  `rank`, in order of arrival). The queue is then scanned from its head: `route` answers for one request at a time. The
  index of a ready replica dispatches it; HOLD (-1) ends the scan (or skips this request, with SKIP_BLOCKED = True) and
  the request stays for the next scan; REJECT (-2) drops it for good, and it is charged as if it never finished.
  `replicas` follows each dispatch within a scan. Scans happen on the triggers named below while requests are held.
- A design with `assign` answers for the whole queue at each scan instead; then rank and route are not asked.
- Holding everything for 60 s while the cluster is idle ends the run as a failure. At least one path must dispatch."""
ENGINE_RULES = """\
- Engines batch continuously: an iteration holds one token for each running (decoding) request and chunks of prefills,
  up to its token budget. A running request holds KV blocks for its prompt and for every token generated so far. When a
  block is short, one running request is preempted: it loses its blocks, goes back to the waiting queue, and its prompt
  and its generated tokens must be computed again."""
SCHEDULER_RULES = """\
- Hooks are asked at scheduling points: at the start of an iteration before which a request arrived, finished, was
  preempted, or blocks ran short. Waiting requests are ordered by the schedule rank (asked once, on arrival, unless
  DYNAMIC_RANK = True asks anew at each point). Running requests keep their place unless PREEMPTIVE = True, which lets a
  waiting request of lower rank take the place of the running one of highest rank when there is no room.
- `admit` is asked for the head of the waiting queue when there is room: False ends admission at this point. `tokens`
  returns how many tokens a request gets in this iteration (0 pauses it). `evict_rank` picks who is preempted when
  blocks are short. `plan` returns (token_budget, max_running), each from 1 to the engine's own.
- A replica that has requests and gives none of them a token for 60 s ends the run as a failure."""
AUTOSCALER_RULES = """\
- `scale` is asked every INTERVAL_S seconds and returns the number of replicas of the one pool (or a tuple, one per
  pool), within window.min_replicas and window.max_replicas; anything else is a failure. GPU time is billed from request
  to gone: a new replica is paid for while it starts, a draining one while it finishes what it has.
- `window` has 600 rows, one per second, the newest last (index -1), and one column per pool."""
COMMON_RULES = """\
- Only `request.u` is random; no other randomness, no clocks but the fields. State lives in `memory` alone: zeroed
  float64 tables of the widths that MEMORY declares, written in place. No globals, no classes, no imports but
  `from glia_bench import HOLD, REJECT`, numpy and math.
- Hooks are compiled with Numba (nopython): plain loops over arrays, numbers, no lists of mixed types, no dicts, no
  strings, no try. Integers stay integers on every path: wrap with int(...). A return value of the wrong type, NaN, an
  index out of range or an absent replica is a failure of the design, which counts as the worst possible result.
- Put every number that could be chosen otherwise into a constant in capitals at the top of the file, on one line.
- No hook knows a request's true output length before it has finished, a future arrival, or the end of the run."""


def objective_text(task: Task) -> str:
    """Return what is to be made small, in a few lines."""
    facts = task_facts(task)
    lines = [
        f"Minimise {facts['objective']['meaning']}.",
        "Requests that are rejected or unfinished at the end are charged as if they finished then.",
        "Costs are geometric means over development seeds and loads. Scores: 0 is a plain policy, 1 is the level of a "
        "tuned human expert, more is better than that; the scale is logarithmic in cost.",
        "A design under which some group of requests (a decile of prompt lengths, a tenant, a class) is more than 1.25 "
        "times slower than under a plain policy is marked as starving and cannot be chosen.",
    ]
    if is_paper(task.id):
        lines.pop()
    return "\n".join(lines)


def background_text(task: Task) -> str:
    """Return the system, the rules and the interface, as Markdown."""
    facts = task_facts(task)
    track = task.track
    parts = [
        "## The system",
        *_system(facts),
        "",
        "## The rules",
        *(_rules(track)),
        "",
        f"## The interface: a Python file for the {track} track",
        *_hooks(track),
        "",
        "Constants that the file may declare:",
        *_constants(track),
        "",
        "Fields, read-only but for `memory` (freshness: fixed before the run, exact at this instant, engine = as the "
        "replica last reported it, granted = a service of this task, neutral where it is not granted):",
        *_fields(SHOWN_GROUPS[track]),
    ]
    return "\n".join(parts)


def _system(facts: Mapping[str, Any]) -> list[str]:
    cluster = facts["cluster"]
    lines = []
    for pool in cluster["pools"]:
        low, high = pool["min_replicas"], pool["max_replicas"]
        count = f"{high} replicas" if low == high else f"{low} to {high} replicas, {pool['num_replicas']} at first"
        start_s = pool["cold_start"]["provision_s"] + pool["cold_start"]["load_s"]
        lines.append(
            f"- Pool {pool['name']}: {count} of {pool['latency']}; engine {pool['engine_mode']}, "
            f"{'chunked prefill' if pool['chunked_prefill'] else 'whole prompts'}"
            f"{', prefix cache' if pool['prefix_caching'] else ''}; at most {pool['token_budget']} tokens an iteration "
            f"and {pool['max_running']} running requests; {pool['num_blocks']} KV blocks of "
            f"{pool['block_size_tokens']} tokens each replica"
            + (f"; a new replica takes about {start_s:g} s to start" if low != high else "")
            + "."
        )
    interval_s = cluster["metrics_interval_s"]
    lines += [
        f"- The router acts on: {', '.join(cluster['triggers'])}. Engine metrics are "
        + (f"published every {interval_s:g} s by each replica, at its own phase." if interval_s else "always fresh."),
    ]
    if cluster["num_routers"] > 1:
        lines.append(
            f"- {cluster['num_routers']} routers share the arrivals; each has its own queue, ledger and memory."
        )
    if cluster["prefix_views"]:
        lines.append(f"- Prefix views that a design may declare: {', '.join(cluster['prefix_views'])}.")
    if cluster["num_tenants"] > 1:
        lines.append(f"- {cluster['num_tenants']} tenants.")
    if cluster["is_elastic"]:
        lines.append(f"- The newest row of the window is {cluster['window_lag_s']} s old.")
    if facts["predictor"]["kind"] != "none":
        sigma = facts["predictor"]["sigma_percent"] / 100
        lines.append(f"- A length predictor is granted: request.predicted_tokens, lognormal error of sigma {sigma:g}.")
    for slo in facts["slo_classes"]:
        if slo["ttft_s"] is not None or slo["tpot_s"] is not None:
            lines.append(f"- SLO of class {slo['name']}: {_slo(slo)}.")
    lines.append(f"- A run ends when everything has finished, or {facts['drain_s']:g} s after the last arrival.")
    return lines


def _slo(slo: Mapping[str, Any]) -> str:
    parts = []
    if slo["ttft_s"] is not None:
        per_token = 1000 * slo["ttft_per_prompt_token_s"]
        parts.append(f"TTFT {slo['ttft_s']:g} s" + (f" + {per_token:g} ms a prompt token" if per_token else ""))
    if slo["tpot_s"] is not None:
        parts.append(f"TPOT {1000 * slo['tpot_s']:g} ms")
    if slo["patience_s"] is not None:
        parts.append(f"clients give up after {slo['patience_s']:g} s without being admitted")
    return ", ".join(parts)


def _rules(track: Track) -> Iterable[str]:
    if track in ("routing", "cluster"):
        yield ROUTER_RULES
    yield ENGINE_RULES
    if track in ("scheduling", "cluster"):
        yield SCHEDULER_RULES
    if track in ("autoscaling", "cluster"):
        yield AUTOSCALER_RULES
    yield COMMON_RULES


def _hooks(track: Track) -> Iterable[str]:
    for name, key in hooks_of(track).items():
        hook = HOOKS[key]
        index = " Here `replica` is the replica's index." if name.startswith("on_") and key[0] == "routing" else ""
        yield f"- `{name}({', '.join(hook.parameters)})` returns {hook.returns}. {hook.meaning}{index}"
    required = {"routing": "`route` or `assign`", "autoscaling": "`scale`"}.get(track, "at least one of them")
    yield f"Required: {required}; what is left out is done as usual (least outstanding requests; in order of arrival;"
    yield "a fixed fleet)."


def _constants(track: Track) -> Iterable[str]:
    for name in constants_of(track):
        if name not in NOT_SHOWN:
            constant = CONSTANTS[name]
            yield f"- `{name}` (default {constant.default}): {constant.meaning}"
    widths = ", ".join(f"{table} up to {limit}" for table, limit in MEMORY_LIMITS.items())
    yield f"Widths in MEMORY: {widths}. The row of a request is memory.request[request.slot]."


def _fields(groups: Collection[str]) -> Iterable[str]:
    for group in groups:
        yield f"\n`{group}`:"
        for field in schema(group):
            kind = "the group below" if field.name in groups else ("array of " if field.is_array else "") + field.dtype
            unit = "" if field.unit == "-" else f" [{field.unit}]"
            yield f"- {field.name}: {kind}{unit}, {field.freshness}. {field.meaning}"
