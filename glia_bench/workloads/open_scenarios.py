"""Scenarios of independent requests of one service: steady chat, bursts of code completion, reasoning, and days.

Left out: the share of an output that is reasoning (no column of a trace holds it), and tenants (mixed_scenarios.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.workloads.arrivals import curve_arrivals_us
from glia_bench.workloads.quantile_table import QuantileTable, shipped_data, shipped_table
from glia_bench.workloads.rate_processes import day_levels, markov_levels
from glia_bench.workloads.scenario import Order, Scenario, open_trace
from glia_bench.workloads.services import chosen
from glia_bench.workloads.variation import Variation, gamma_gaps, uneven_gaps, uneven_levels

AZURE = "Azure LLM inference trace 2023 (Patel et al., Splitwise, ISCA 2024; CC-BY 4.0)"
SERVEGEN = "ServeGen, regenerated from per-client statistics (Xiang et al., arXiv 2505.09999; Apache-2.0)"
BURSTGPT = "BurstGPT totals by way of a third party (arXiv 2401.17644; CC-BY 4.0)"
CHAT_CONTEXT = 16_384
DAY_CONTEXT = 32_768
REASONING_CONTEXT = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class OneService:
    """Requests of one service along a rate curve.

    Attributes:
        service: Whose lengths they have.
        levels: The rates of a run.
        gaps: The law of gaps, varied.
        max_request_tokens: Context.
        class_permilles: Chances of the SLO classes; left out where there is one.
    """

    service: str
    levels: Callable[[Order], Ints]
    gaps: Callable[[Variation], QuantileTable]
    max_request_tokens: int
    class_permilles: tuple[int, ...] = ()

    def __call__(self, order: Order) -> Trace:
        """Return the trace."""
        arrivals_us = curve_arrivals_us(
            order.stream("gaps"),
            self.gaps(order.variation),
            rate_urps=order.rate_urps,
            levels=uneven_levels(self.levels(order), order.variation),
        )
        classes = None
        if self.class_permilles:
            classes = chosen(order.stream("classes"), len(arrivals_us), self.class_permilles)
        return open_trace(order, arrivals_us, (self.service,), self.max_request_tokens, slo_class=classes)


def gamma_of(cv_permille: int) -> Callable[[Variation], QuantileTable]:
    """Return the gamma law of a CV, to be varied."""
    return lambda variation: gamma_gaps(variation.cv(cv_permille))


def _code_gaps(variation: Variation) -> QuantileTable:
    cv_permille = int(shipped_data("azure23_code_gaps")["cv_permille"])
    return uneven_gaps(shipped_table("azure23_code_gaps"), cv_permille, variation)


CHAT_STEADY = Scenario(
    name="chat_steady",
    title="Chat whose rate drifts over minutes",
    covers="chat",
    source=AZURE,
    weaker="40 minutes of one service; rates of a Markov chain are calmer over minutes than the trace",
    nominal_rate_rps=5.92,
    nominal_horizon_s=3600,
    max_request_tokens=CHAT_CONTEXT,
    slo_classes=("interactive",),
    draw=OneService(
        service="azure23_conv",
        levels=lambda order: markov_levels("azure23_conv_rates", order.stream("rates"), order.horizon_s),
        gaps=gamma_of(1037),
        max_request_tokens=CHAT_CONTEXT,
    ),
)

CODE_BURSTY = Scenario(
    name="code_bursty",
    title="Code completion in bursts of seconds between pauses of half a minute",
    covers="code",
    source=AZURE,
    weaker="40 minutes with 76 bursts; pauses and bursts are a Markov chain, so gaps are met less well than counts",
    nominal_rate_rps=3.12,
    nominal_horizon_s=3600,
    max_request_tokens=CHAT_CONTEXT,
    slo_classes=("interactive",),
    draw=OneService(
        service="azure23_code",
        levels=lambda order: markov_levels("azure23_code_rates", order.stream("rates"), order.horizon_s),
        gaps=_code_gaps,
        max_request_tokens=CHAT_CONTEXT,
    ),
)

REASONING_LONG_OUTPUT = Scenario(
    name="reasoning_long_output",
    title="Reasoning: short prompts with the longest outputs",
    covers="reasoning",
    source=SERVEGEN,
    weaker="no joint lengths are published: the correlation comes from the mix of clients; a 24-h rhythm is laid upon "
    "18 hours of data",
    nominal_rate_rps=2.0,
    nominal_horizon_s=10_800,
    max_request_tokens=REASONING_CONTEXT,
    slo_classes=("reasoning",),
    draw=OneService(
        service="servegen_r1",
        levels=lambda order: day_levels("servegen_r1_day", order.stream("rates"), order.horizon_s),
        gaps=gamma_of(1291),
        max_request_tokens=REASONING_CONTEXT,
    ),
)


def diurnal_day(compression: int) -> Scenario:
    """Return a day of which `compression` seconds pass in one second of the run.

    A task on a compressed day must scale its start-up and metric delays with it, and say so in its id.
    """
    hurried = "" if compression == 1 else f"_{compression}x"
    return Scenario(
        name=f"diurnal_day{hurried}",
        title="A day and night" if compression == 1 else f"A day and night, {compression} times as fast",
        covers="autoscaling",
        source=f"rhythm: {BURSTGPT}; noise and lengths: {SERVEGEN}",
        weaker="rhythm and noise come from different services; hourly totals were not checked against the original"
        + ("" if compression == 1 else "; the day is hurried, requests and gaps are not"),
        nominal_rate_rps=2.0,
        nominal_horizon_s=86_400 // compression,
        max_request_tokens=DAY_CONTEXT,
        slo_classes=("interactive", "standard"),
        draw=OneService(
            service="servegen_mlarge",
            levels=lambda order: day_levels("burstgpt_day", order.stream("rates"), order.horizon_s, compression),
            gaps=gamma_of(1240),
            max_request_tokens=DAY_CONTEXT,
            class_permilles=(600, 400),
        ),
    )
