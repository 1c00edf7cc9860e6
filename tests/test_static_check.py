"""What is said of a policy's text without running it: refusals with line, rule and way out, and the fields it reads."""

import pytest

from glia_bench.errors import InvalidPolicyError
from glia_bench.features import schema
from glia_bench.policy import HOOKS, TRACKS, Track, hooks_of
from glia_bench.static_check import SourceFacts, fitting_tracks, static_check

ROUTE = "def route(request, replicas, cluster, memory):\n"
GOOD = ROUTE + "    return 0\n"


def check(source: str) -> SourceFacts:
    """Check a routing policy's text."""
    return static_check(source, "routing")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        (ROUTE + "    return int(replicas.wating[0])\n", ["line 2: route reads replicas.wating", "mean 'waiting'?"]),
        (ROUTE + "    return int(request.waiting)\n", ["no such field; did you mean 'replicas.waiting'?"]),
        (ROUTE + "    return int(request.colour)\n", ["request.colour: no such field; request has arrival_s,"]),
        (ROUTE + "    return int(request.output_tokens)\n", ["nobody sees a true output length before"]),
        (ROUTE + "    return int(cluster.perf.fixd_s)\n", ["cluster.perf.fixd_s: no such field", "mean 'fixed_s'?"]),
        (ROUTE + "    p = cluster.perf\n    return int(p.fixd_s)\n", ["line 3: route reads p.fixd_s"]),
        (ROUTE + "    return int(cluster.dispatch_s[0])\n", ["did you mean 'cluster.inflight.dispatch_s'?"]),
        (ROUTE + "    return int(cluster.inflight.replca[0])\n", ["cluster.inflight.replca", "mean 'replica'?"]),
        (ROUTE + "    cluster.inflight.replica[0] = 1\n    return 0\n", ["cluster.inflight.replica[0]", "read-only"]),
        (
            "def load(r, i):\n    return r.runing[i]\n" + ROUTE + "    return load(replicas, 0)\n",
            ["line 2: load reads r.runing: no such field; did you mean 'running'?"],
        ),
        (ROUTE + "    return min(range(4), key=lambda i: replicas.wating[i])\n", ["replicas.wating"]),
        (
            "def assign(queue, replicas, cluster, memory, out):\n    out[0] = queue.promt_tokens[0]\n",
            ["assign reads queue.promt_tokens: no such field; did you mean 'prompt_tokens'?"],
        ),
        (
            GOOD + "def on_finish(request, replica, memory):\n    memory.shared[0] = replica.waiting\n",
            ["on_finish reads replica.waiting", "replica is a replica's index here"],
        ),
        (ROUTE + "    request.tag = 1.0\n    return 0\n", ["route writes request.tag", "read-only", "MEMORY"]),
        (ROUTE + "    replicas.waiting[0] += 1\n    return 0\n", ["route writes replicas.waiting[0]", "read-only"]),
        (
            "count = 0\n" + ROUTE + "    global count\n    count += 1\n    return count % 4\n",
            ["line 3: `global count`", "MEMORY = {'shared': 1}", "memory.shared"],
        ),
        (
            ROUTE + "    n = 0\n    def more():\n        nonlocal n\n        n += 1\n    more()\n    return n\n",
            ["line 4: `nonlocal n`"],
        ),
        (
            GOOD + "def on_finsh(request, replica, memory):\n    pass\n",
            ["line 3: on_finsh is no hook of the routing track", "did you mean 'on_finish'?"],
        ),
        (GOOD + "def on_arrival(request):\n    pass\n", ["on_arrival", "on_dispatch, on_first_token, on_finish"]),
        (
            GOOD + "def scale(window, cluster, memory):\n    return 4\n",
            [
                "line 3: scale is a hook of the autoscaling track; this task is routing",
                "(as a whole, the file fits: cluster); rename it if it is a helper",
            ],
        ),
        (GOOD + "def admit(request, replica, memory):\n    return True\n", ["admit is a hook of the scheduling track"]),
        (
            "def route(request, replicas):\n    return 0\n",
            [
                "route must take 4 parameters by position, def route(request, replicas, cluster, memory)",
                "(found def route(request, replicas))",
            ],
        ),
        ("def route(*args):\n    return 0\n", ["(found def route(*args))"]),
        (GOOD + "def rank(request, cluster, *, memory):\n    return 0.0\n", ["rank must take 3 parameters"]),
        ("async " + GOOD, ["route must be a plain function, not async"]),
        ("route = lambda *a: 0\n", ["route must be a plain function of this file: write def route("]),
        ("from math import floor as route\n", ["route must be a plain function of this file"]),
        (
            "def rout(request, replicas, cluster, memory):\n    return 0\n",
            ["(functions found: rout); did you mean 'route'"],
        ),
        ("", ["a routing policy needs the function route or assign (functions found: none)"]),
        ("def route(:\n", ["policy.py, line 1: not valid Python: invalid syntax"]),
        ("x = 1\0", ["character 5 is a NUL byte"]),
        ("x = '\ud800'\n", ["not valid Python", "surrogates not allowed"]),
        ("x = " + "(" * 5000 + ")" * 5000, ["line 1: not valid Python: too many nested parentheses"]),
        ("x = " + "-" * 60_000 + "1\n", ["nested too deeply"]),
        ("#" * 300_000, ["a policy may have 262144 bytes (got 300000)"]),
    ],
)
def test_refused_unseen(source: str, parts: list[str]) -> None:
    """Each refusal names the file, the line where there is one, the rule, what was found and the way out."""
    with pytest.raises(InvalidPolicyError) as error:
        check(source)
    message = str(error.value)
    assert message.startswith("policy.py")
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (
            GOOD + "def assign(queue, replicas, cluster, memory, out):\n    pass\n",
            "route is never called: assign decides for the whole queue in its place",
        ),
        (GOOD + "def rnk(request):\n    return 0\n", "function rnk is never called; did you mean 'rank'?"),
        ("SKIP_BLOKED = True\n" + GOOD, "constant SKIP_BLOKED is never used; did you mean 'SKIP_BLOCKED'?"),
        (GOOD, None),
        ("def ranks(x):\n    return x\n" + ROUTE + "    return ranks(0)\n", None),
    ],
)
def test_remarks(source: str, note: str | None) -> None:
    """What runs but is probably not meant is a note, not an error."""
    assert check(source).notes == (() if note is None else (note,))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("return int(replicas.waiting[0] + request.u[0])", {"replicas.waiting", "request.u"}),
        ("return int(cluster.perf.fixed_s)", {"cluster.perf", "perf.fixed_s"}),
        ("p = cluster.perf\n    return int(p.token_s)", {"cluster.perf", "perf.token_s"}),
        ("r = replicas\n    return int(r.running[0])", {"replicas.running"}),
        ("w = replicas.waiting\n    return int(w[0])", {"replicas.waiting"}),
        ("return min(range(4), key=lambda i: replicas.running[i])", {"replicas.running"}),
        ("return int(cluster.inflight.replica[0])", {"cluster.inflight", "inflight.replica"}),
        ("f = cluster.inflight\n    return int(f.replica[0])", {"cluster.inflight", "inflight.replica"}),
        ("return len([w for w in replicas.waiting if w > cluster.num_held])", {"replicas.waiting", "cluster.num_held"}),
        ("memory.request[request.slot, 0] += 1.0\n    return 0", {"memory.request", "request.slot"}),
        ("return helper(replicas, request.id)", {"replicas.inflight", "request.id"}),
        ("return helper(i=request.id, r=replicas)", {"replicas.inflight", "request.id"}),
        ("return np.argmin(replicas.waiting) + math.floor(1.5)", {"replicas.waiting"}),
        # not resolvable: every group that has the field counts
        ("x = [0]\n    return x.speed + 1", {"replicas.speed"}),
        ("x = [0]\n    return x.token_budget", {"replicas.token_budget"}),
        ("return 0", set()),
    ],
)
def test_fields_read(body: str, fields: set[str]) -> None:
    """The fields that a text names, through aliases, lambdas and its own functions; not what modules hold."""
    source = "import math\nimport numpy as np\ndef helper(r, i):\n    return r.inflight[i]\n" + ROUTE + f"    {body}\n"
    facts = check(source)
    # a function that nobody is seen to call counts, for every group that has such a field
    unreached = set() if "helper(" in body else {"replicas.inflight", "cluster.inflight"}
    assert facts.fields_read == frozenset(fields | unreached)


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(replicas, 'waiting')[0]",
        "return eval('replicas.waiting[0]')",
        "return sum(request)",
        "return request[5]",
        "return max(x for x in request if x)",
        "return request._asdict()['id']",
        "return len(request._fields)",
        "return len(f'{request}')",
        "a, b = replicas, 0\n    return 0",
        "return helper(*request)",
        "return int(replicas.waiting.base[3, 0])",
        "request = request\n    return request.id",
        "import heapq\n    return heapq.nlargest(1, [3])[0]",
        "return vars()['replicas'].waiting[0]",
        "match request:\n        case (x, *_):\n            return x\n    return 0",
        "return helper(cluster.perf if cluster.num_held else 0)",
        "return len(cluster.inflight)",
    ],
)
def test_fields_that_the_text_cannot_tell(body: str) -> None:
    """Where a whole group goes out of sight, the answer is None rather than too little."""
    assert check("def helper(r):\n    return 0\n" + ROUTE + f"    {body}\n").fields_read is None


def test_queue_columns_are_request_fields() -> None:
    """`assign` reads the same fields, as columns."""
    source = "def assign(queue, replicas, cluster, memory, out):\n    out[0] = queue.prompt_tokens[0] % 4\n"
    assert check(source).fields_read == frozenset({"request.prompt_tokens"})


@pytest.mark.parametrize(("hook", "name"), [(hook, name) for track in TRACKS for name, hook in hooks_of(track).items()])
def test_every_field_of_the_schema_is_known(hook: tuple[Track, str], name: str) -> None:
    """Every hook may read each declared field of its groups, and it is counted; arguments without fields have none."""
    track = hook[0] if name == hook[1] else "cluster"
    parameters = HOOKS[hook].parameters
    nested = ("perf", "inflight")
    groups = [p for p in parameters if p not in ("out", "left") and not (p == "replica" and track == "routing")]
    reads, expected = "", set()
    for group in groups:
        for spec in schema("request" if group == "queue" else group):
            inner = f".{schema(spec.name)[0].name}" if spec.name in nested and group in ("cluster", "replica") else ""
            reads += f"    {group}.{spec.name}{inner}\n"
            expected.add(f"{'request' if group == 'queue' else group}.{spec.name}")
            expected |= {f"{spec.name}{inner}"} if inner else set()
    filler = {"routing": ROUTE, "autoscaling": "def scale(window, cluster, memory):\n"}.get(track, "")
    filler = filler + "    return 0\n" if filler and f"def {name}(" not in filler else ""
    facts = static_check(f"def {name}({', '.join(parameters)}):\n{reads}    return 0\n{filler}", track)
    assert facts.fields_read == frozenset(expected)


RANK = "def rank(request, replica, memory):\n    return request.prompt_tokens - replica.free_blocks\n"
SCALE = "def scale(window, cluster, memory):\n    return int(window.desired[0])\n"


@pytest.mark.parametrize(
    ("track", "source", "hooks", "fields"),
    [
        ("scheduling", RANK, ("rank",), {"request.prompt_tokens", "replica.free_blocks"}),
        ("scheduling", "ENGINE_MODE = 'vllm_v1'\n", (), set()),
        (
            "scheduling",
            "def plan(replica, memory):\n    return int(replica.perf.token_s), replica.max_running\n",
            ("plan",),
            {"replica.perf", "perf.token_s", "replica.max_running"},
        ),
        ("autoscaling", SCALE, ("scale",), {"window.desired"}),
        (
            "cluster",
            GOOD + RANK.replace("rank", "schedule_rank", 1) + SCALE,
            ("route", "schedule_rank", "scale"),
            {"request.prompt_tokens", "replica.free_blocks", "window.desired"},
        ),
        (
            "cluster",
            "def rank(request, cluster, memory):\n    return request.tag + cluster.now_s\n",
            ("rank",),
            {"request.tag", "cluster.now_s"},
        ),
    ],
)
def test_designs_of_every_track(track: Track, source: str, hooks: tuple[str, ...], fields: set[str]) -> None:
    """Each track has its hooks; a cluster design writes the scheduler's rank as schedule_rank."""
    facts = static_check(source, track)
    assert (facts.hooks, facts.fields_read, facts.notes) == (hooks, frozenset(fields), ())


@pytest.mark.parametrize(
    ("track", "source", "parts"),
    [
        (
            "scheduling",
            GOOD,
            [
                "line 1: route is a hook of the routing track; this task is scheduling",
                "the file fits: routing and cluster",
            ],
        ),
        (
            "routing",
            GOOD + RANK.replace("rank", "schedule_rank", 1),
            ["schedule_rank is what cluster designs call the hook rank; this task is routing", "fits: cluster"],
        ),
        ("scheduling", "def schedule_rank(r, s, m):\n    return 0\n", ["schedule_rank is what cluster designs call"]),
        (
            "scheduling",
            "x = 1\n",
            ["a scheduling policy needs at least one of the functions rank, admit", "ENGINE_MODE"],
        ),
        ("autoscaling", "def drain_rank(r, m):\n    return 0\n", ["an autoscaling policy needs the function scale"]),
        ("cluster", "INTERVAL_S = 3\n", ["a cluster policy needs at least one of the functions route, rank, assign"]),
        ("autoscaling", SCALE + "def on_scale(w):\n    pass\n", ["kept for hooks: this track has none"]),
        (
            "routing",
            GOOD + "INTERVAL_S = 3\n",
            ["line 3: INTERVAL_S is a constant of the autoscaling track; this task is"],
        ),
        (
            "scheduling",
            RANK + "TICK_S = 3\n",
            ["TICK_S is a constant of the routing track", "if it is a parameter of yours"],
        ),
        (
            "scheduling",
            "def rank(request, cluster, memory):\n    return cluster.num_held\n",
            ["num_held: no such field"],
        ),
        ("scheduling", RANK + "def admit(r, s, m):\n    s.waiting = 1\n", ["admit writes s.waiting", "read-only"]),
        ("scheduling", "def tokens(r, s, m):\n    return 1\n", ["def tokens(request, replica, left, memory)"]),
        ("scheduling", RANK + "import time\n", ["(it uses time); use replica.now_s"]),
        ("autoscaling", SCALE + "import random\n", ["(it uses random); an autoscaler has no dice"]),
        ("autoscaling", "def scale(w, c, m):\n    return w.desired_size[0]\n", ["scale reads w.desired_size"]),
        ("autoscaling", "def scale(w, c, m):\n    w.ready[-1, 0] = 1\n    return 3\n", ["scale writes w.ready[-1, 0]"]),
        (
            "cluster",
            GOOD + "def on_finish(request, replica, memory):\n    memory.shared[0] = replica.waiting\n",
            ["on_finish reads replica.waiting", "replica is a replica's index here"],
        ),
        (
            "cluster",
            RANK,
            [
                "line 1: def rank(request, cluster, memory) is what rank is in",
                "write def schedule_rank(request, replica, memory)",
            ],
        ),
        ("rooting", GOOD, ["track must be one of routing, scheduling,", "(got 'rooting'); did you mean 'routing'?"]),
    ],
)
def test_refused_in_other_tracks(track: Track, source: str, parts: list[str]) -> None:
    """A file is told which track its hooks and constants belong to, and which track it would fit as a whole."""
    with pytest.raises(InvalidPolicyError) as error:
        static_check(source, track)
    assert all(part in str(error.value) for part in parts), str(error.value)


@pytest.mark.parametrize(
    ("track", "source", "notes"),
    [
        ("scheduling", "PREEMPTIVE = True\n", ("PREEMPTIVE has no effect without rank",)),
        ("scheduling", "PREEMPTIVE = False\n", ()),
        ("cluster", GOOD + "DYNAMIC_RANK = True\n", ("DYNAMIC_RANK has no effect without schedule_rank",)),
        ("cluster", GOOD + "INTERVAL_S = 5\n", ("INTERVAL_S has no effect without scale",)),
        ("cluster", GOOD + "def drain_rank(r, m):\n    return 0\n", ("drain_rank has no effect without scale",)),
        (
            "scheduling",
            RANK + "def evict(r, s):\n    return 0\n",
            ("function evict is never called; did you mean 'evict_rank'?",),
        ),
        ("scheduling", RANK + "PREMPTIVE = True\n", ("constant PREMPTIVE is never used; did you mean 'PREEMPTIVE'?",)),
    ],
)
def test_remarks_in_other_tracks(track: Track, source: str, notes: tuple[str, ...]) -> None:
    """What has no effect for want of something else is a note."""
    assert static_check(source, track).notes == notes


@pytest.mark.parametrize(
    ("source", "tracks"),
    [
        (GOOD, ("routing", "cluster")),
        (RANK, ("scheduling", "cluster")),
        (SCALE, ("autoscaling", "cluster")),
        (GOOD + SCALE, ("cluster",)),
        ("PREEMPTIVE = False\n", ("scheduling",)),
        ("x = 1\n", ()),
    ],
)
def test_fitting_tracks(source: str, tracks: tuple[Track, ...]) -> None:
    """A file's tracks follow from its names; the narrowest comes first."""
    assert fitting_tracks(source) == tracks


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import random\n", "random"),
        ("from random import random\n", "random"),
        ("import numpy as np\nX = np.random.rand()\n", "numpy.random"),
        ("from numpy import random as dice\n", "numpy.random"),
        ("import numpy.random as dice\n", "numpy.random"),
        ("from numpy.random import default_rng\n", "numpy.random"),
        ("def helper():\n    import time\n    return time.time()\n", "time"),
    ],
)
def test_dice_and_clocks_are_refused(source: str, found: str) -> None:
    """A policy's only randomness is request.u and its only clock cluster.now_s."""
    with pytest.raises(
        InvalidPolicyError, match=rf"line \d: .* the same in every run \(it uses {found}\); (draw|use) "
    ):
        check(source + ROUTE + "    return 0\n")
