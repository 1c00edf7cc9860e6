"""The kernels' bodies are plain Python too: with JIT off (NUMBA_DISABLE_JIT=1) they do the same. Small traces only."""

import numpy as np
import pytest

from glia_bench.case import Case, Trace
from glia_bench.cluster import affine_table, uniform_cluster
from glia_bench.loading import policy_from_source
from glia_bench.sim import engine, reference
from glia_bench.sim.modes import MODES
from glia_bench.sim.modes import engine as engine_of

pytestmark = [
    pytest.mark.nojit,
    # 64-bit hashes wrap around; NumPy's scalars say so where compiled code does not
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
]

HOLD_BY_BLOCKS = """
from glia_bench import HOLD

MEMORY = {"shared": 1, "request": 1}

def rank(request, cluster, memory):
    return float(request.prompt_tokens)

def route(request, replicas, cluster, memory):
    memory.request[request.slot, 0] += 1.0
    for r in range(cluster.num_replicas):
        if replicas.allocated_blocks[r] + replicas.waiting_blocks[r] + 4 <= replicas.capacity_blocks[r]:
            return r
    return HOLD

def on_finish(request, replica, memory):
    memory.shared[0] += memory.request[request.slot, 0] + request.u[0]
"""
ASSIGN = """
def assign(queue, replicas, cluster, memory, out):
    for k in range(len(queue.id)):
        out[k] = queue.prompt_tokens[k] % cluster.num_replicas
"""


@pytest.mark.parametrize("source", [HOLD_BY_BLOCKS, ASSIGN], ids=["hold", "assign"])
@pytest.mark.parametrize("mode", MODES)
def test_the_kernel_equals_the_reference(mode: str, source: str) -> None:
    """40 requests on 2 small replicas, seed 5: records, decisions and samples agree, with preemptions on the way."""
    rng = np.random.default_rng(5)
    budget = 32 if MODES[mode]["chunked_prefill"] else 128
    token_ps = 10**9 + 10**7 * np.arange(budget + 1)
    latency = affine_table(name="test", token_ps=token_ps, context_ps=10**4, pair_ps=10**3)
    spec = engine_of(mode, token_budget=budget, max_running=6, num_blocks=24, block_size_tokens=4)
    case = Case(
        cluster=uniform_cluster(num_replicas=2, engine=spec, latency=latency),
        trace=Trace(
            arrival_ps=np.sort(rng.integers(0, 3 * 10**11, 40)),
            prompt_tokens=rng.integers(1, 40, 40),
            output_tokens=rng.integers(1, 40, 40),
            max_tokens=np.full(40, 50),
        ),
        drain_s=100.0,
        policy_seed=3,
    )
    policy = policy_from_source(source, name="p", path=f"<{mode}>", track="routing")
    fast = engine.simulate(case, policy, tier="compiled", sample_interval_s=0.1)
    slow = reference.simulate(case, policy, sample_interval_s=0.1)
    assert fast.status == slow.status == "ok"
    assert fast.records.sha256 == slow.records.sha256
    assert (fast.num_decisions, fast.decision_hash, fast.end_ps) == (
        slow.num_decisions,
        slow.decision_hash,
        slow.end_ps,
    )
    assert fast.samples is not None
    assert slow.samples is not None
    assert np.array_equal(fast.samples.allocated_blocks, slow.samples.allocated_blocks)
    assert (int(slow.records.restarts.sum()) > 0) != MODES[mode]["reserve_output"]
