"""Cases of the three paper tasks: frozen traces, paired loads, independent streams, and clear refusals."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glia_bench.case import Fault, Trace
from glia_bench.cluster import PS_PER_S
from glia_bench.errors import InvalidSpecError, InvalidTraceError
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.routing import paper_exact_v0, paper_sweep_v0, paper_v0
from glia_bench.tasks.task import CLOCK_OFFSET_LIMIT_S, Task
from glia_bench.workloads.faults import FaultRate, draw_faults
from glia_bench.workloads.lengths_file import Lengths, read_lengths
from glia_bench.workloads.predictor import LengthPredictor

FRESH = (paper_v0.TASK, paper_sweep_v0.TASK)
EXACT = paper_exact_v0.TASK

# A change here is a new task version: new id, re-scoring, a CHANGELOG line.
GOLDEN = {
    ("routing/paper-v0", 1.0, 0): "967c2f16a07f5c65872c5e1c73ac04144bd4395821f41a164fe4674b7ad9c1c4",
    ("routing/paper-v0", 1.0, 1): "60f42f725264d6ad49a9b4d73736495eabd23a3a398bc31f42e7de66e8f48791",
    ("routing/paper-v0", 1.0, 2): "3f639ab59da86ecaf1ed6ceba7bbf084c721e4f45ff737db067ede5f4e50cfde",
    ("routing/paper-sweep-v0", 0.9, 0): "83d41c0e85f78d4efdcd336a4f03f344eebcdd17bf972760dd93d068ea504b7c",
    ("routing/paper-sweep-v0", 0.9, 1): "35bb24887d8fe95fbc4200106cd28242652f1f5c19695ca07a984170a5a3f0a6",
    ("routing/paper-sweep-v0", 0.9, 2): "c51dcc90aa7ff68c22dbaf8af4ea427adcf203775e256b2083eda56312dd79d0",
    ("routing/sessions-v0", 0.7, 0): "94ec4df44872a4c224cc9289d492f148ac7911e146d7b44199304d1a9e68b727",
    ("routing/hetero-v0", 0.7, 0): "69d0d4684d381e7f89c30419132f575defafbd7a66fb9a903a8b0dde9438518f",
    ("routing/stale-v0", 0.7, 0): "3419db5b5257b6d940f73a059c255ae15793322aec6b1891f807dacaca52706d",
    ("routing/stale-routers-v0", 0.7, 0): "09cd5cc14304e84668001c1d58dc4451b1a99a4052adf604e651fa71bc452aea",
    ("routing/failures-v0", 0.7, 0): "e7d991bc13a1f76259897215f34e88e591d8ab9a951962cf0c3d270047ad1c6b",
    ("routing/stragglers-v0", 0.5, 0): "bd51295665879da7e9dfd2abc1bbc3d34f8a6de7d1cc48086774f0346818abcc",
    ("routing/shift-v0", 0.7, 0): "fda92afe5518f11bef087369743120ea4ac1b79e086ffe55dfe10c3432671522",
    ("routing/tenants-v0", 0.9, 0): "d71cf81f7cdf227871858fc0916a09d9f00477c586432ac8dcedc65d74c61ad9",
    ("routing/heavy-tail-v0", 0.7, 0): "85e59cca3c2357ea1a7d83812a0481f17bd19da15c1cfd254049b60576cdb64a",
    ("routing/agents-v0", 0.7, 0): "6a8c34bfb8f2c3810ede42ea11ed0d352295c13313ffa5d6c919867730901f34",
    ("routing/tools-v0", 0.7, 0): "39a3ab40dfb1f14e477b6da9d3e4400849dd2cfcb9b918e5f4bf45ac31e76dc4",
    ("scheduling/chat-v0", 1.0, 0): "07bdc0ecce4ba73bb9e869d1aca11754bdacd33568855293cd89c0b08b2c0d35",
    ("scheduling/tenants-v0", 0.9, 0): "37b67260e927bb08fb00fe7c88160cc5b8914c996e150b39a11dd02d6d5571b4",
    ("scheduling/reasoning-v0", 0.9, 0): "37ea40a3f1b0929f7dc54e129fe39d9ef81df6ac50a47b46cd527902d958e46a",
    ("scheduling/heavy-tail-v0", 1.0, 0): "f1d3ada68733c8187a306786470aea887515a686b7c2fa102efa17208daec6c5",
    ("scheduling/code-v0", 0.5, 0): "0b21a87f55f3b5c0ef6300fca201debc17a9b45563b673b3b363ea5241912a3a",
    ("scheduling/memory-v0", 0.9, 0): "ecfc21dab1822357763d615228aefcfdc5e75c306837d5a52d4398f1f8e00970",
    ("autoscaling/burst-v0", 0.5, 0): "4d1e05dfaacd810ab43fa1d4a73bdb90ea6eb7999ecbb345c2bbfb156d008594",
    ("autoscaling/crowd-v0", 0.5, 0): "3d6b2635f19a81f9005c052319b30aaba9057e02e98e5478c40c06a27ec1d1c2",
    ("autoscaling/diurnal-90x-v0", 0.5, 0): "1c451d1c2271509afa46a32e9e9032efec327cf8a15faeed9385630234f6acf0",
    ("autoscaling/shift-v0", 0.5, 0): "11b19a282f7829d871c699431308eee599ec374995849ca8dabc5cbfeea60ff4",
    ("autoscaling/code-v0", 0.5, 0): "8dc80cfcca3f986c7adac70316f9f6e9eb48f70457f9fa1bf2f24b3e22aa57ca",
    ("cluster/sessions-v0", 0.5, 0): "48b41bb5390d5c9ea40f3bb7b26f4914f776e6049afceeb384a929816f54b165",
    ("cluster/tenants-v0", 0.5, 0): "66e868a322ad2cd89d0932127558249f498ced5dc0528a23da2914702995875c",
}
GOLDEN_SMALL_KNOWN = (
    "3968fe39a8c5ed3462ae530416fd57557e60270d6285f941b9805ec7e86c2199",
    "c89bc9b417d8cbef7c7593b93f5654d5b4f1965e1f50e6572e65302119adecc1",
    "192c3e78080b165f73de0eecbd46245d562f99fdd188f00f438be7b3e26de6be",
)
GOLDEN_AUTHORS = (
    "e2dda783852d4c82d22ff1f7b87b7670b5138950b59e47956061f60a9417052d",
    "6cd8b8363be364ab591ab42fc0533b32940c9bd97c6ed649fb67fed34ed70f17",
    "daf6c119b35cdae70982fc0fed4b3fb050eccccf28d6e56ba46b9a306e3f37eb",
)


@pytest.fixture
def small_known() -> Lengths:
    """A thousand made-up pairs."""
    prompt = np.arange(1, 1001, dtype=np.int64)
    return Lengths(prompt_tokens=prompt, output_tokens=2 * prompt, sha256="", is_authors=False)


def arrivals_s(trace: Trace) -> np.ndarray:
    """Arrival times in seconds."""
    return trace.arrival_ps / PS_PER_S


@pytest.mark.parametrize(("task_id", "load", "seed"), GOLDEN)
def test_fresh_traces_are_frozen(task_id: str, load: float, seed: int) -> None:
    """The trace of a (task, load, seed) has the committed hash on every platform and NumPy version."""
    assert get_task(task_id).case(load, seed).trace.sha256 == GOLDEN[task_id, load, seed]


@pytest.mark.parametrize("seed", range(3))
def test_exact_traces_are_frozen(seed: int, small_known: Lengths) -> None:
    """Paper arrivals with made-up known lengths have the committed hash: arrivals and shuffle are reproduced."""
    assert EXACT.case(1.0, seed, small_known).trace.sha256 == GOLDEN_SMALL_KNOWN[seed]


@pytest.mark.parametrize("seed", range(3))
def test_exact_traces_of_the_authors_lengths_are_frozen(seed: int, shared_dir: Path) -> None:
    """With the authors' file: 7,859 requests, the first 3,973 as in the file, all a frozen whole."""
    lengths = read_lengths(shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz")
    trace = EXACT.case(1.0, seed, lengths).trace
    assert len(trace) == 7859
    assert np.array_equal(trace.prompt_tokens[:3973], lengths.prompt_tokens)
    assert np.array_equal(trace.output_tokens[:3973], lengths.output_tokens)
    assert trace.sha256 == GOLDEN_AUTHORS[seed]


def test_exact_arrivals_are_the_papers(small_known: Lengths) -> None:
    """Every seed has the paper's arrivals, from 0 to 999.799953 s."""
    times = arrivals_s(EXACT.case(1.0, 5, small_known).trace)
    assert len(times) == 7859
    assert (times[0], times[-1]) == (0.0, 999.799953)


@pytest.mark.parametrize("task", FRESH, ids=lambda task: task.id)
def test_equal_arguments_give_equal_cases(task: Task) -> None:
    """Two calls agree on trace, clock and policy seed; another seed agrees on none of them."""
    first, again, other = (task.case(1.0, seed) for seed in (4, np.int64(4), 5))
    assert first.trace.sha256 == again.trace.sha256
    assert (first.clock_offset_ps, first.policy_seed) == (again.clock_offset_ps, again.policy_seed)
    assert first.scenario_seed == again.scenario_seed
    assert first.trace.sha256 != other.trace.sha256
    assert first.clock_offset_ps != other.clock_offset_ps
    assert first.policy_seed != other.policy_seed
    assert first.scenario_seed not in (other.scenario_seed, first.policy_seed)


def test_faults_and_predictions_of_a_task_reach_its_cases() -> None:
    """Faults are drawn for the cluster's replicas and the seed, estimates for its trace."""
    rate = FaultRate(kind="fail", mean_interval_s=300, duration_s=30.0)

    def faults(num_replicas: int, seed: int) -> tuple[Fault, ...]:
        return draw_faults(rate, num_replicas=num_replicas, horizon_s=1000, task_id="routing/test-v0", seed=seed)

    task = replace(paper_v0.TASK, faults=faults, predictor=LengthPredictor(kind="oracle"))
    one, other = task.case(0.1, 0), task.case(0.1, 1)
    assert one.faults == faults(4, 0) != other.faults
    assert one.predicted_tokens is not None
    assert np.array_equal(one.predicted_tokens, one.trace.output_tokens)


def test_loads_are_paired() -> None:
    """At every load a seed has the same requests, gaps scaled by the load to 2 us, and the same clock."""
    task = paper_sweep_v0.TASK
    full = task.case(1.0, 1)
    for load in task.loads:
        case = task.case(load, 1)
        shared = min(len(case.trace), len(full.trace))
        assert shared > 4000
        assert np.array_equal(case.trace.prompt_tokens[:shared], full.trace.prompt_tokens[:shared])
        assert np.array_equal(case.trace.output_tokens[:shared], full.trace.output_tokens[:shared])
        scaled = arrivals_s(full.trace)[:shared] / load
        assert np.abs(arrivals_s(case.trace)[:shared] - scaled).max() < 2e-6
        assert (case.clock_offset_ps, case.policy_seed) == (full.clock_offset_ps, full.policy_seed)
        assert arrivals_s(case.trace)[-1] < 1000


def test_tasks_with_one_seed_share_no_stream() -> None:
    """Two tasks at the same seed have different gaps, lengths, clocks and policy seeds."""
    one, two = (task.case(1.0, 0) for task in FRESH)
    assert not np.array_equal(one.trace.arrival_ps[:50], two.trace.arrival_ps[:50])
    assert not np.array_equal(one.trace.prompt_tokens[:50], two.trace.prompt_tokens[:50])
    assert not np.array_equal(one.trace.output_tokens[:50], two.trace.output_tokens[:50])
    assert one.clock_offset_ps != two.clock_offset_ps
    assert one.policy_seed != two.policy_seed


def test_within_a_case_gaps_and_lengths_are_independent() -> None:
    """Log gap, log prompt and log output of one trace do not correlate beyond 4.5 standard deviations."""
    trace = paper_v0.TASK.case(1.0, 0).trace
    gaps = np.log(np.maximum(np.diff(trace.arrival_ps), 1))
    columns = np.array([gaps, np.log(trace.prompt_tokens[1:]), np.log(trace.output_tokens[1:])])
    off_diagonal = np.corrcoef(columns)[np.triu_indices(3, k=1)]
    assert np.abs(off_diagonal).max() < 4.5 / math.sqrt(len(gaps))


def test_a_trace_tells_nothing_of_its_outputs() -> None:
    """What a client allows follows from the prompt alone, and is never below the true output."""
    trace = paper_v0.TASK.case(1.0, 3).trace
    assert np.array_equal(trace.max_tokens, 8192 - trace.prompt_tokens)
    assert np.all(trace.max_tokens >= trace.output_tokens)


def test_clock_offsets_spread_over_their_range() -> None:
    """Offsets of the development seeds lie in [0, 1e6) s and differ."""
    offsets = [paper_v0.TASK.case(0.01, seed).clock_offset_ps for seed in paper_v0.TASK.dev_seeds]
    assert all(0 <= offset < CLOCK_OFFSET_LIMIT_S * PS_PER_S for offset in offsets)
    assert max(offsets) - min(offsets) > CLOCK_OFFSET_LIMIT_S * PS_PER_S // 2


def test_realised_rate_scatters_around_the_nominal_one() -> None:
    """Forty traces of 7.5 rps and gap CV 7.3 hold 7,500 requests each on average, within 4 standard errors (5.4 %)."""
    counts = [len(paper_v0.TASK.case(1.0, seed).trace) for seed in range(40)]
    assert np.mean(counts) == pytest.approx(7500, rel=4 * 7.3 / math.sqrt(7500) / math.sqrt(40))


@pytest.mark.parametrize("load", [0, -1, math.nan, math.inf, 1e-9, 11, "heavy", None])
@pytest.mark.parametrize("task", FRESH, ids=lambda task: task.id)
def test_impossible_loads_are_refused(task: Task, load: float) -> None:
    """A load must be a positive number of sensible size; the message says which, and the task's own."""
    with pytest.raises(InvalidSpecError, match=r"load of routing/paper.* between 0.01 and 10.*its own loads are"):
        task.case(load, 0)


@pytest.mark.parametrize("load", [0.9, 2, math.nan])
def test_the_exact_task_has_one_load(load: float, small_known: Lengths) -> None:
    """The paper's trace cannot be scaled: any load but 1 is refused."""
    with pytest.raises(InvalidSpecError, match="one fixed trace: its load must be 1"):
        EXACT.case(load, 0, small_known)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_impossible_seeds_are_refused(seed: object) -> None:
    """A seed is a whole number from 0."""
    with pytest.raises(InvalidSpecError, match="seed must be a whole number, at least 0"):
        paper_v0.TASK.case(1.0, seed)  # type: ignore[arg-type]


def test_the_exact_task_asks_for_its_file() -> None:
    """Without lengths the exact task says which file it needs, where it is public, and how to pass it."""
    with pytest.raises(InvalidTraceError, match=r"paper-exact-v0 needs the authors' length file \(public: .*--lengths"):
        EXACT.case(1.0, 0)


def test_tasks_that_need_no_lengths_ignore_them(small_known: Lengths) -> None:
    """Giving a lengths file to a whole suite does not change the tasks that draw their own."""
    assert paper_v0.TASK.case(1.0, 0, small_known).trace.sha256 == paper_v0.TASK.case(1.0, 0).trace.sha256


@pytest.mark.parametrize("task", [*FRESH, EXACT], ids=lambda task: task.id)
def test_the_cluster_is_the_papers(task: Task) -> None:
    """Four replicas of 2,240 blocks x 16 tokens, Sarathi with budget 8,192, cap 128 and a watermark of 22 blocks."""
    cluster = task.cluster
    (pool,) = cluster.pools
    assert cluster.num_replicas == pool.num_replicas == 4
    assert pool.engine.mode == "sarathi"
    assert pool.engine.num_blocks * pool.engine.block_size_tokens == 35_840
    assert pool.engine.watermark_blocks == 22
    assert (pool.engine.token_budget, pool.engine.max_running) == (8192, 128)
    assert cluster.triggers == ("arrival", "completion")


def test_an_unfit_task_is_refused_when_its_case_is_made() -> None:
    """A cluster too small for the lengths is found when the case is built, not in the simulator."""
    task = paper_v0.TASK
    (pool,) = task.cluster.pools
    small = replace(task.cluster, pools=(replace(pool, engine=replace(pool.engine, num_blocks=200)),))
    with pytest.raises(InvalidTraceError, match="more blocks"):
        replace(task, cluster=small).case(1.0, 0)
