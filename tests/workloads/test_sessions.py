"""Sessions: turns and think times as stated, history as prefix, and a trace that load and seed determine."""

import dataclasses

import numpy as np
import pytest

from glia_bench.case import Trace
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.arrivals import US_PER_S, renewal_arrivals_us
from glia_bench.workloads.quantile_table import shipped_data, shipped_table
from glia_bench.workloads.sessions import Sessions, session_trace
from glia_bench.workloads.streams import Stream

TASK = "routing/test-v0"
SPEC = Sessions(horizon_s=600, warm_up_s=1800, max_request_tokens=8192, system_tokens=520)
ENDLESS = dataclasses.replace(SPEC, horizon_s=10**7, warm_up_s=0, max_request_tokens=10**6)


def starts_us(spec: Sessions, rate_urps: int, seed: int = 0) -> Ints:
    """Return Poisson starts over warm-up and horizon."""
    span_us = (spec.warm_up_s + spec.horizon_s) * US_PER_S
    gaps = shipped_table("exponential_gaps")
    return renewal_arrivals_us(Stream(TASK, seed, "starts"), gaps, rate_urps=rate_urps, horizon_us=span_us)


@pytest.fixture(scope="module")
def trace() -> Trace:
    """About 1,500 turns of sessions, half of which were under way."""
    return session_trace(SPEC, starts_us(SPEC, 500_000), TASK, 0)


@pytest.fixture(scope="module")
def whole() -> Trace:
    """All turns of 20,000 sessions that nothing cuts short, which all start at 0."""
    return session_trace(ENDLESS, np.zeros(20_000, dtype=np.int64), TASK, 0)


def rows_of(trace: Trace, session: int) -> Ints:
    """Return the rows of a session in the order of its turns."""
    assert trace.session is not None
    assert trace.turn is not None
    rows = np.flatnonzero(trace.session == session)
    return rows[np.argsort(trace.turn[rows])]


def content(trace: Trace, row: int) -> list[int]:
    """Return the block ids of a request."""
    assert trace.block_start is not None
    assert trace.block_ids is not None
    return trace.block_ids[trace.block_start[row] : trace.block_start[row + 1]].tolist()


def test_every_prompt_is_the_history_and_a_new_message(trace: Trace) -> None:
    """A later prompt exceeds prompt plus reply before it, begins with its whole blocks, and never passes 8,192."""
    assert trace.session is not None
    several = np.flatnonzero(np.bincount(trace.session) > 2)
    assert len(several) > 50
    for session in several[:50]:
        for before, after in zip(rows_of(trace, session), rows_of(trace, session)[1:], strict=False):
            said = trace.prompt_tokens[before] + trace.output_tokens[before]
            assert trace.prompt_tokens[after] > said
            shared = content(trace, before)
            assert len(shared) == said // 16
            assert content(trace, after)[: len(shared)] == shared
    assert (trace.prompt_tokens + trace.output_tokens).max() <= 8192
    assert np.array_equal(trace.max_tokens, 8192 - trace.prompt_tokens)


def test_sessions_share_whole_blocks_of_system_prompts_and_nothing_else(trace: Trace) -> None:
    """The first 32 blocks (512 of 520 tokens) are one of 8 system prompts; later ids are in one session only."""
    assert trace.session is not None
    firsts = [content(trace, row) for row in range(trace.num_clock)]
    prompts = {tuple(blocks[:32]) for blocks in firsts}
    assert len(prompts) == 8
    assert len({id for blocks in prompts for id in blocks}) == 8 * 32
    owner: dict[int, int] = {}
    for row, session in enumerate(trace.session.tolist()):
        for block in content(trace, row)[32:]:
            assert owner.setdefault(block, session) == session
    assert set(owner).isdisjoint({id for blocks in prompts for id in blocks})


def test_the_load_is_steady_from_the_start(trace: Trace) -> None:
    """The warm-up makes the first third of the horizon as busy as the last, within 5 standard deviations."""
    thirds = np.histogram(trace.arrival_ps / PS_PER_S, bins=3, range=(0, 600))[0]
    assert abs(int(thirds[0]) - int(thirds[2])) < 5 * float(thirds[0] + thirds[2]) ** 0.5
    assert thirds.sum() == len(trace)


def test_turns_follow_the_hazard_table(whole: Trace) -> None:
    """After turns 0 to 9 the share of sessions that go on is the table's, within 5 standard errors."""
    assert whole.turn is not None
    counts = np.bincount(whole.turn)
    for turn, chance in enumerate(shipped_data("sharegpt_turn_continues")["continues"][:10]):
        share = chance / 65536
        assert counts[turn + 1] / counts[turn] == pytest.approx(
            share, abs=5 * (share * (1 - share) / counts[turn]) ** 0.5
        )


def test_think_times_are_the_measured_gaps_less_a_service_time(whole: Trace) -> None:
    """With the 10 s of service added back, the log of think times has mean ln 128 and sigma 0.93, within 2 per cent."""
    assert whole.think_ps is not None
    log = np.log(whole.think_ps[whole.num_clock :] / PS_PER_S + 10.0)
    assert log.mean() == pytest.approx(np.log(128), abs=0.02)
    assert log.std() == pytest.approx(0.93, rel=0.02)


def test_arrivals_are_those_of_a_service_that_takes_no_time(trace: Trace) -> None:
    """A follow-up turn's nominal arrival is the one before it plus its think time; all lie before the horizon."""
    assert trace.think_ps is not None
    next_row = trace.next_row
    before = np.flatnonzero(next_row >= 0)
    after = next_row[before]
    assert len(after) == len(trace) - trace.num_clock
    assert np.array_equal(trace.arrival_ps[after], trace.arrival_ps[before] + trace.think_ps[after])
    assert trace.arrival_ps.min() >= 0
    assert trace.arrival_ps.max() < 600 * PS_PER_S


def test_a_session_is_the_same_at_every_load() -> None:
    """Starts twice as dense leave the tokens and think times of session k as they are."""
    starts = starts_us(ENDLESS, 100)[:40]
    one, two = (session_trace(ENDLESS, times, TASK, 3) for times in (starts, starts // 2))
    for name in ("prompt_tokens", "output_tokens", "turn", "think_ps", "session", "block_ids"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.arrival_ps, two.arrival_ps)


def test_seeds_differ_and_traces_are_frozen() -> None:
    """The trace of a (task, seed) has the committed hash on every platform; another seed has another."""
    hashes = [session_trace(SPEC, starts_us(SPEC, 50_000, seed), TASK, seed).sha256[:16] for seed in (0, 1)]
    assert hashes == ["eab991b1c41cc680", "c5f4c68fa1f2b895"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"horizon_s": 0}, "must be at least 1"), ({"service_s": -1}, "at least 0"), ({"system_tokens": 5000}, "half")],
)
def test_impossible_sessions_are_refused(changes: dict[str, int], message: str) -> None:
    """What does not fit is refused when the task is made."""
    with pytest.raises(InvalidSpecError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_a_trace_without_turns_is_refused() -> None:
    """One session that ended long before the trace begins leaves nothing to run."""
    spec = dataclasses.replace(SPEC, warm_up_s=10**6)
    with pytest.raises(InvalidSpecError, match="at least one turn"):
        session_trace(spec, np.zeros(1, dtype=np.int64), TASK, 0)
