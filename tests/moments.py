"""Hand-made and random moments of a cluster, as hooks see them, and both tiers of a policy side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from glia_bench.features import (
    FLOAT_REPLICA_FIELDS,
    HOLD,
    INT_REPLICA_FIELDS,
    Cluster,
    Inflight,
    Memory,
    Perf,
    Queue,
    Replica,
    Replicas,
    Request,
    Window,
    schema,
)
from glia_bench.policy import Policy
from glia_bench.sim.jit import compile_hook

PERF = Perf(fixed_s=0.03, token_s=2.2e-4, context_token_s=3e-7, prefill_pair_s=4e-9, relative_error=0.1)
DEFAULTS = {"ready": 1, "capacity_blocks": 2240, "max_running": 128, "token_budget": 8192, "speed": 1.0}


class Moment(NamedTuple):
    """What `route` receives."""

    request: Request
    replicas: Replicas
    cluster: Cluster
    memory: Memory


def make_request(prompt_tokens: int = 100, u: float = 0.0, **fields: Any) -> Request:
    """Return a request whose other fields are neutral; `u` is the first of its four uniforms."""
    values: dict[str, Any] = dict.fromkeys(Request._fields, 0)
    for name in ("predicted_tokens", "ttft_slo_s", "tpot_slo_s", "arrival_s", "tag"):
        values[name] = float(values[name])
    values |= {"prompt_tokens": prompt_tokens, "session": -1, "max_tokens": 8192, "u": (u, 0.25, 0.5, 0.75)}
    return Request(**(values | fields))


def make_replicas(num: int, **fields: npt.ArrayLike) -> Replicas:
    """Return read-only replica columns: those given, neutral values elsewhere."""
    columns: dict[str, Any] = {}
    for names, dtype in ((INT_REPLICA_FIELDS, np.int64), (FLOAT_REPLICA_FIELDS, np.float64)):
        for name in names:
            columns[name] = np.array(fields.get(name, [DEFAULTS.get(name, 0)] * num), dtype=dtype)
            columns[name].setflags(write=False)
    return Replicas(**columns)


def make_memory(widths: Mapping[str, int], num_replicas: int, slots: int = 64) -> Memory:
    """Return zeroed tables of the declared widths; a table that is not declared has no columns."""
    wide = {name: widths.get(name, 0) for name in ("shared", "replica", "tenant", "session", "request")}
    return Memory(
        shared=np.zeros(wide["shared"]),
        replica=np.zeros((num_replicas, wide["replica"])),
        tenant=np.zeros((1, wide["tenant"])),
        session=np.zeros((1, wide["session"])),
        request=np.zeros((slots, wide["request"])),
        tag=np.zeros(slots),
    )


def make_cluster(num_replicas: int, num_held: int = 1, now_s: float = 1000.0) -> Cluster:
    """Return a cluster with blocks of 16 tokens, fresh metrics, one router and nothing in flight."""
    columns = [np.empty(0, dtype=np.dtype(spec.dtype)) for spec in schema("inflight")]
    for column in columns:
        column.setflags(write=False)
    return Cluster(now_s, num_replicas, num_held, 1, 0, 16, 0.0, PERF, Inflight(*columns))


def make_replica(**fields: Any) -> Replica:
    """Return a replica as its scheduler sees it: 1000 free blocks of 16 tokens, nothing waiting or running."""
    values: dict[str, Any] = dict.fromkeys(Replica._fields, 0)
    values |= {"now_s": 1000.0, "free_blocks": 1000, "capacity_blocks": 1000, "token_budget": 2048}
    values |= {"max_running": 128, "block_size_tokens": 16, "perf": PERF}
    return Replica(**(values | fields))


def make_window(num_pools: int = 1, **fields: npt.ArrayLike) -> Window:
    """Return 600 equal seconds: a number, or one per pool, for each field; elsewhere 0, at most 1000 replicas."""
    columns: dict[str, Any] = {}
    for spec in schema("window"):
        shape = (num_pools,) if "(num_pools,)" in spec.meaning else (600, num_pools)
        value = fields.get(spec.name, 1000 if spec.name == "max_replicas" else 0)
        columns[spec.name] = np.broadcast_to(value, shape).astype(spec.dtype)
        columns[spec.name].setflags(write=False)
    return Window(**columns)


def make_queue(requests: Sequence[Request]) -> Any:
    """Return the columns that `assign` receives for these requests."""
    columns = []
    for name in Request._fields:
        column = np.array([getattr(request, name) for request in requests])
        column.setflags(write=False)
        columns.append(column)
    return Queue(*columns)


def moment(policy: Policy, prompt_tokens: int = 100, u: float = 0.0, **replica_fields: Sequence[float]) -> Moment:
    """Return one moment for a policy, with as many replicas as the given columns have rows."""
    num = len(next(iter(replica_fields.values())))
    return Moment(
        make_request(prompt_tokens, u),
        make_replicas(num, **replica_fields),
        make_cluster(num),
        make_memory(policy.memory, num),
    )


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that is compiled, bounds checked, for the types of its first call and refuses others."""
    hook: Any = None

    def call(*arguments: Any) -> Any:
        nonlocal hook
        if hook is None:
            types = tuple(numba.typeof(argument) for argument in arguments)
            hook = compile_hook(function, types, bounds_checks=True, cached=False)
        return hook(*arguments)

    return call


class Played(NamedTuple):
    """What a policy did in a walk: its answers, its ranks, and the bits of its memory at the end."""

    answers: list[int]
    ranks: list[float]
    memory: list[bytes]


def play_scheduler(policy: Policy, *, compile_hooks: bool, seed: int, moments: int) -> list[float]:
    """Ask every hook of a scheduler at random moments of one replica; return its answers and its memory's bits."""
    rng, memory = np.random.default_rng(seed), make_memory(policy.memory, 1)
    hooks = {name: compiled(hook) if compile_hooks else hook for name, hook in policy.scheduling.items()}
    answers: list[float] = []
    for number in range(moments):
        free, running = int(rng.integers(0, 200)), int(rng.integers(0, 20))
        replica = make_replica(
            now_s=number * 0.13,
            free_blocks=free,
            capacity_blocks=200,
            running=running,
            waiting=int(rng.integers(0, 10)),
            decode_tokens=int(rng.integers(0, running + 1)),
            context_tokens=300 * running,
        )
        prompt = random_request(rng, number, number % 64)
        request = prompt._replace(
            generated_tokens=int(rng.integers(0, 300)),
            computed_tokens=int(rng.integers(0, 2)) * prompt.prompt_tokens,
            cached_tokens=16 * int(rng.integers(0, 2)),
            max_tokens=300 + int(rng.integers(0, 600)),
            predicted_tokens=float(rng.integers(0, 300)),
            slo_class=int(rng.integers(0, 2)),
            ttft_slo_s=float(rng.integers(1, 9)) / 4,
            tpot_slo_s=float(rng.integers(1, 9)) / 50,
            arrival_s=(number - int(rng.integers(0, 20))) * 0.13,
        )
        if "on_step" in hooks:
            hooks["on_step"](replica, memory)
        answers += [float(x) for x in hooks["plan"](replica, memory)] if "plan" in hooks else []
        for name in ("rank", "tokens", "admit", "evict_rank"):
            if name in hooks:
                left = (int(rng.integers(1, 512)),) if name == "tokens" else ()
                answers.append(float(hooks[name](request, replica, *left, memory)))
    return [*answers, *(float(x) for table in memory for x in table.ravel())]


def play_autoscaler(policy: Policy, *, compile_hooks: bool, seed: int, moments: int) -> list[int]:
    """Ask an autoscaler of one pool for its size again and again, each answer obeyed; return the answers."""
    rng, memory = np.random.default_rng(seed), make_memory(policy.memory, 8)
    hook = policy.autoscaling["scale"]
    scale = compiled(hook) if compile_hooks else hook
    sizes = [4]
    for number in range(moments):
        loading = min(sizes[-1], int(rng.integers(0, 3)))
        window = make_window(
            desired=sizes[-1],
            ready=sizes[-1] - loading,
            loading=loading,
            kv_utilisation=0.4 + 0.4 * np.sin(number / 20) + 0.2 * rng.random(),
            arrivals=np.floor(8 * (1 + np.sin(number / 60))),
            arrival_tokens=300 * np.floor(8 * (1 + np.sin(number / 60))),
            finished=4.0,
            generated_tokens=800.0,
            running=np.floor(60 * (1 + np.sin(number / 60))),
            waiting=np.floor(15 * (1 + np.sin(number / 60))),
            cold_start_s=45.0,
            min_replicas=1,
            max_replicas=8,
        )
        sizes.append(scale(window, make_cluster(8, now_s=1000.0 + 15.0 * number), memory))
    return sizes


def play(policy: Policy, *, compile_hooks: bool, seed: int, moments: int) -> Played:
    """Run a policy through random moments of five replicas with its memory carried along.

    Small numbers make ties frequent; blocks are drawn around the thresholds of the admission rules.
    """
    rng, num = np.random.default_rng(seed), 5
    hooks = {name: compiled(hook) if compile_hooks else hook for name, hook in policy.routing.items()}
    memory = make_memory(policy.memory, num)
    played = Played([], [], [])
    free, live = list(range(64)), []
    for number in range(moments):
        replicas, cluster = random_replicas(rng, num), make_cluster(num, 1, 1e5 + number * 0.13)
        batch = [random_request(rng, number, free.pop()) for _ in range(1 if "route" in hooks else rng.integers(1, 6))]
        for request in batch:
            memory.request[request.slot] = 0.0
            if "rank" in hooks:
                played.ranks.append(hooks["rank"](request, cluster, memory))
        answers = np.full(len(batch), HOLD)
        if "assign" in hooks:
            hooks["assign"](make_queue(batch), replicas, cluster, memory, answers)
        else:
            answers[0] = hooks["route"](batch[0], replicas, cluster, memory)
        played.answers.extend(answers.tolist())
        for request, answer in zip(batch, answers.tolist(), strict=True):
            if answer >= 0:
                call(hooks, "on_dispatch", request, answer, memory)
                call(hooks, "on_first_token", request, answer, memory)
                live.append((request, answer))
            else:
                free.append(request.slot)
        while len(live) > 40 or (live and rng.random() < 0.4):
            request, replica = live.pop(int(rng.integers(len(live))))
            call(hooks, "on_finish", request._replace(generated_tokens=int(rng.integers(1, 900))), replica, memory)
            free.append(request.slot)
    played.memory.extend(table.tobytes() for table in memory)
    return played


def call(hooks: Mapping[str, Callable[..., Any]], name: str, *arguments: Any) -> None:
    """Call an event hook if the policy has it."""
    if name in hooks:
        hooks[name](*arguments)


def random_request(rng: np.random.Generator, number: int, slot: int) -> Request:
    """Return a request with a prompt of 1 to 4096 tokens, most of them short."""
    prompt = int(min(4096, 1 + rng.exponential(300)))
    return make_request(prompt, float(rng.random()), id=number, slot=slot)


def random_replicas(rng: np.random.Generator, num: int) -> Replicas:
    """Return replicas of 200 blocks, a fifth of them not ready, with small counts and nearly full memory."""
    tokens = rng.integers(0, 400, num)
    return make_replicas(
        num,
        ready=(rng.random(num) < 0.8).astype(np.int64),
        capacity_blocks=np.full(num, 200),
        waiting=rng.integers(0, 3, num),
        running=rng.integers(0, 3, num),
        inflight=rng.integers(0, 3, num),
        waiting_tokens=tokens,
        waiting_blocks=(tokens + 15) // 16,
        allocated_blocks=rng.integers(100, 201, num),
        inflight_tokens=rng.integers(3000, 9000, num),
        inflight_prompt_tokens=rng.integers(0, 3000, num),
    )
