"""Scenarios of sessions: turns, think times, histories and resets as stated."""

import numpy as np
import pytest

from glia_bench.case import Trace
from glia_bench.cluster import PS_PER_S
from glia_bench.workloads.dialogue_scenarios import SERVICE_MS, turns_by_hazard
from glia_bench.workloads.quantile_table import shipped_data, shipped_table
from glia_bench.workloads.scenarios import SCENARIOS
from glia_bench.workloads.streams import Stream

NAMES = ("chat_multiturn", "longctx_chat", "agentic_coding")
SYSTEM_TOKENS = {"chat_multiturn": 0, "longctx_chat": 512, "agentic_coding": 3000}


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    """6,000 requests of each scenario in 20 minutes."""
    return {name: SCENARIOS[name].trace("d", 0, rate_urps=5_000_000, horizon_s=1200) for name in NAMES}


@pytest.mark.parametrize("table", ["sharegpt_turn_continues", "mooncake_turn_continues"])
def test_turns_follow_the_hazard_by_turn(table: str) -> None:
    """Of 100,000 sessions the share that goes on after each turn is the table's, within 5 standard errors."""
    turns = turns_by_hazard(table)(Stream("d", 0, table).bits(100_000))
    continues = shipped_data(table)["continues"]
    assert turns.min() == 1
    for turn, chance in enumerate([*continues, continues[-1]], start=1):
        at_risk = int((turns >= turn).sum())
        share = chance / 65536
        assert (turns > turn).sum() / at_risk == pytest.approx(share, abs=5 * (share * (1 - share) / at_risk) ** 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_continues_the_turn_before_or_begins_anew(name: str, traces: dict[str, Trace]) -> None:
    """A prompt holds what was said, whole blocks and all, and more; else the context was reset to the system prompt."""
    trace, size = traces[name], SCENARIOS[name].block_size_tokens
    assert trace.block_start is not None
    assert trace.block_ids is not None
    num_system = SYSTEM_TOKENS[name] // size
    num_resets = num_next = 0
    for before, after in enumerate(trace.next_row.tolist()):
        if after < 0:
            continue
        num_next += 1
        one, other = (trace.block_ids[trace.block_start[r] : trace.block_start[r + 1]] for r in (before, after))
        said = trace.prompt_tokens[before] + trace.output_tokens[before]
        assert len(one) == said // size
        assert np.array_equal(one[:num_system], other[:num_system])
        if len(one) > num_system and len(other) > num_system and one[num_system] == other[num_system]:
            assert trace.prompt_tokens[after] > said
            assert np.array_equal(other[: len(one)], one)
        elif len(one) > num_system:
            num_resets += 1
            assert not set(one[num_system:].tolist()) & set(other[num_system:].tolist())
    share = num_resets / num_next
    assert 0.02 < share < 0.04 if name == "agentic_coding" else share < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_follow_up_turns_come_a_think_time_later(name: str, traces: dict[str, Trace]) -> None:
    """Nominal arrivals are those of a service that takes no time, all within the horizon; first turns do not think."""
    trace = traces[name]
    assert trace.think_ps is not None
    after = trace.next_row
    before = np.flatnonzero(after >= 0)
    assert np.array_equal(trace.arrival_ps[after[before]], trace.arrival_ps[before] + trace.think_ps[after[before]])
    assert not trace.think_ps[: trace.num_clock].any()
    assert trace.arrival_ps.max() < 1200 * PS_PER_S


def test_think_times_are_measured_gaps_less_a_service_time() -> None:
    """Over a day, the median of think times is the median gap less 10 s, within 2 per cent, and none is below 0."""
    trace = SCENARIOS["longctx_chat"].trace("d", 0, rate_urps=300_000, horizon_s=86_400)
    assert trace.think_ps is not None
    think_ms = trace.think_ps[trace.num_clock :] // 10**9
    middle = shipped_table("mooncake_turn_gap").draw(np.array([1 << 63], dtype=np.uint64)).item()
    assert middle == pytest.approx(123_000, rel=0.01)
    assert np.median(think_ms) == pytest.approx(middle - SERVICE_MS, rel=0.02)
    assert think_ms.min() == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_load_is_steady_from_the_first_second(name: str, traces: dict[str, Trace]) -> None:
    """The first sixth of the horizon is as busy as the last, within 6 deviations of independent counts."""
    counts = np.histogram(traces[name].arrival_ps / PS_PER_S, bins=6, range=(0, 1200))[0]
    # turns of agents come in runs of dozens, which widens counts by the IoD of about 7
    width = 7**0.5 if name == "agentic_coding" else 1
    assert abs(int(counts[0]) - int(counts[-1])) < 6 * width * float(counts[0] + counts[-1]) ** 0.5


def test_agents_meet_the_published_moments() -> None:
    """Turns have a median of 33, 94 to 96 % of prompt tokens repeat, and a prompt is some 90 times an output."""
    trace = SCENARIOS["agentic_coding"].trace("d", 1, rate_urps=200_000, horizon_s=86_400)
    assert trace.turn is not None
    assert trace.session is not None
    turns = np.bincount(trace.session)
    # over a day nearly no session is cut by the end
    assert np.median(turns) == pytest.approx(33, abs=3)
    assert turns.max() <= 150
    assert trace.prompt_tokens.sum() / trace.output_tokens.sum() == pytest.approx(91, rel=0.1)
    before = np.flatnonzero(trace.next_row >= 0)
    after = trace.next_row[before]
    said = trace.prompt_tokens[before] + trace.output_tokens[before]
    again = np.where(trace.prompt_tokens[after] > said, said, SYSTEM_TOKENS["agentic_coding"]).sum()
    first = SYSTEM_TOKENS["agentic_coding"] * trace.num_clock
    assert 0.94 < (again + first) / trace.prompt_tokens.sum() < 0.96


def test_long_contexts_are_of_their_own_class(traces: dict[str, Trace]) -> None:
    """Prompts above the measured median are longctx: about half of them."""
    trace = traces["longctx_chat"]
    assert trace.slo_class is not None
    assert np.array_equal(trace.slo_class == 1, trace.prompt_tokens > 7284)
    assert trace.slo_class.mean() == pytest.approx(0.5, abs=0.05)


def test_longctx_sessions_are_as_short_as_measured() -> None:
    """Over a day 72 % of sessions have one turn and the mean is 1.55, within 0.02 and 0.04."""
    trace = SCENARIOS["longctx_chat"].trace("d", 0, rate_urps=300_000, horizon_s=86_400)
    assert trace.session is not None
    turns = np.bincount(trace.session)
    assert (turns == 1).mean() == pytest.approx(0.72, abs=0.02)
    assert turns.mean() == pytest.approx(1.55, abs=0.04)
