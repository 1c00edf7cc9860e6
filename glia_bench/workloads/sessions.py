"""Conversations as closed-loop sessions: turns, think times and the prefix content that they share.

A session's first prompt is a system prompt, one of a few that all sessions share, and a message; every later prompt is
all that was said before and a new message. It goes on after a turn with a probability that depends on the turn (people
who stay longer are likelier to stay), and ends early where the context would not fit. Lengths and probabilities are
ShareGPT's, think times are lognormal. Only integers stand between seed and trace; session k of a seed has the same
turns, tokens and think times whatever the load. Left out: edited histories, branches, several tenants.

Sources:
    Turns and lengths: tables of tools/derive_turn_tables.py. Think times: the gaps between requests of a conversation
    in Mooncake's trace (Qin et al., FAST 2025; github.com/kvcache-ai/Mooncake, Apache-2.0) fit a lognormal of median
    128 s and sigma 0.93.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.arrivals import PS_PER_US, US_PER_S
from glia_bench.workloads.quantile_table import UNIT_LOG2, Bits, shipped_data, shipped_table
from glia_bench.workloads.shared_content import Content, Histories
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import PLAIN, Variation

HAZARD_UNIT_LOG2 = 16
MEASURED_MEAN_GAP_S = 197
"""Mean gap between requests of a conversation: exp(4.852 + 0.929^2 / 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How conversations go.

    Attributes:
        horizon_s: Turns that would start later, if service took no time, are left out.
        warm_up_s: Sessions start this long before the trace does; those under way then begin with their history, in
            nobody's cache. It makes the load steady from the start.
        max_request_tokens: Longest prompt plus output; a session ends before a turn that would pass it.
        system_tokens: Length of a system prompt.
        num_system_prompts: How many there are; every session has one of them, each as likely.
        mean_gap_s: Mean of the lognormal gaps between requests of a session.
        service_s: Taken off each gap to give a think time, at least 0: a measured gap holds a service time.
        max_turns: Most turns of a session.
        block_size_tokens: Of the prefix content.
    """

    horizon_s: int
    warm_up_s: int
    max_request_tokens: int
    system_tokens: int
    num_system_prompts: int = 8
    mean_gap_s: int = MEASURED_MEAN_GAP_S
    service_s: int = 10
    max_turns: int = 40
    block_size_tokens: int = 16

    def __post_init__(self) -> None:
        if min(self.horizon_s, self.mean_gap_s, self.max_turns, self.num_system_prompts, self.block_size_tokens) < 1:
            raise InvalidSpecError(
                f"horizon_s, mean_gap_s, max_turns, num_system_prompts and block size must be at least 1 (got {self})"
            )
        if min(self.warm_up_s, self.system_tokens, self.service_s) < 0:
            raise InvalidSpecError(f"warm_up_s, system_tokens and service_s must be at least 0 (got {self})")
        if self.system_tokens > self.max_request_tokens // 2:
            raise InvalidSpecError(
                f"a system prompt may take half of the context, {self.max_request_tokens // 2} tokens "
                f"(got {self.system_tokens})"
            )


def session_trace(sessions: Sessions, starts_us: Ints, task_id: str, seed: int, variation: Variation = PLAIN) -> Trace:
    """Return the trace of sessions that start at the given times.

    Args:
        sessions: How they go.
        starts_us: Starts in microseconds from the beginning of the warm-up, not decreasing; int64.
        task_id: Key of the draws, with the seed.
        seed: Seed.
        variation: Scale of all lengths; longer ones reach the end of the context sooner.

    Raises:
        InvalidSpecError: If no turn falls into the trace.
    """
    if sessions.system_tokens:
        system_tokens = int(variation.tokens(np.array([sessions.system_tokens])).item())
        sessions = replace(sessions, system_tokens=min(system_tokens, sessions.max_request_tokens // 2))
    prompt, reply, think_us, exists = _turns(sessions, len(starts_us), task_id, seed, variation)
    nominal_us = starts_us[:, None] - sessions.warm_up_s * US_PER_S + np.cumsum(think_us, axis=1)
    exists &= (nominal_us >= 0) & (nominal_us < sessions.horizon_s * US_PER_S)
    if not exists.any():
        raise InvalidSpecError("a session trace needs at least one turn between 0 and its horizon (got none)")
    first = exists.argmax(axis=1)
    alive = np.flatnonzero(exists.any(axis=1))
    alive = alive[np.argsort(nominal_us[alive, first[alive]], kind="stable")]
    # rows: the first turn of each session by arrival, then the later turns session by session
    later = exists[alive] & (np.arange(sessions.max_turns) > first[alive, None])
    number, turn = np.nonzero(later)
    session = np.concatenate((np.arange(len(alive)), number))
    column = np.concatenate((first[alive], turn))
    row = alive[session]
    prompt_tokens, output_tokens = prompt[row, column], reply[row, column]
    block_start, block_ids = _content(sessions, row, prompt_tokens + output_tokens, task_id, seed)
    is_first = column == first[row]
    return Trace(
        arrival_ps=nominal_us[row, column] * PS_PER_US,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=sessions.max_request_tokens - prompt_tokens,
        session=session,
        turn=column - first[row],
        think_ps=np.where(is_first, 0, think_us[row, column] * PS_PER_US),
        block_start=block_start,
        block_ids=block_ids,
    )


def _turns(
    sessions: Sessions, count: int, task_id: str, seed: int, variation: Variation
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """Return prompt tokens, reply tokens, think time before each turn, and which turns exist.

    All have the shape (count, max_turns).
    """
    shape = (count, sessions.max_turns)

    def bits(purpose: str) -> Bits:
        return Stream(task_id, seed, purpose).bits(count * sessions.max_turns).reshape(shape)

    # no message takes more than a quarter of the context, so that the first turn always fits
    longest = max(sessions.max_request_tokens // 4, 1)
    message_bits = bits("session messages")
    message = shipped_table("sharegpt_turn_later").draw(message_bits)
    message[:, 0] = shipped_table("sharegpt_turn_first").draw(message_bits[:, 0])
    message = np.minimum(variation.tokens(message), longest)
    reply = np.minimum(variation.tokens(shipped_table("sharegpt_turn_reply").draw(bits("session replies"))), longest)
    said = np.cumsum(message + reply, axis=1)
    prompt = sessions.system_tokens + said - reply

    gap_us = shipped_table("lognormal_sigma93_factors").draw(bits("session think times")) * (
        sessions.mean_gap_s * US_PER_S
    )
    think_us = np.maximum((gap_us >> UNIT_LOG2) - sessions.service_s * US_PER_S, 0)
    think_us[:, 0] = 0

    continues = np.array(shipped_data("sharegpt_turn_continues")["continues"], dtype=np.uint64)
    hazard = continues[np.minimum(np.arange(sessions.max_turns), len(continues) - 1)]
    goes_on = (bits("session turns") >> np.uint64(64 - HAZARD_UNIT_LOG2)) < hazard
    exists = prompt + reply <= sessions.max_request_tokens
    exists[:, 1:] &= goes_on[:, :-1]
    return prompt, reply, think_us, np.logical_and.accumulate(exists, axis=1)


def _content(sessions: Sessions, row: Ints, tokens: Ints, task_id: str, seed: int) -> Content:
    """Return block_start and block_ids of requests: whole blocks of a system prompt, then of the session's own.

    Args:
        sessions: How conversations go.
        row: Session of each request, numbered by start; int64, shape (num_requests,).
        tokens: Prompt plus output of each.
        task_id: Key of the draws, with the seed.
        seed: Seed.
    """
    count = int(row.max()) + 1
    system_bits = Stream(task_id, seed, "session system prompts").bits(count)
    system = ((system_bits >> np.uint64(32)) * np.uint64(sessions.num_system_prompts) >> np.uint64(32)).astype(np.int64)
    histories = Histories(
        system=system,
        num_system_prompts=sessions.num_system_prompts,
        system_tokens=sessions.system_tokens,
        block_size_tokens=sessions.block_size_tokens,
    )
    return histories.content(row, tokens)
