"""Scenarios of independent requests of one service: steady chat."""

from glia_bench.case import Trace
from glia_bench.workloads.arrivals import curve_arrivals_us
from glia_bench.workloads.rate_processes import markov_levels
from glia_bench.workloads.scenario import Order, Scenario, open_trace
from glia_bench.workloads.variation import gamma_gaps, uneven_levels

AZURE = "Azure LLM inference trace 2023 (Patel et al., Splitwise, ISCA 2024; CC-BY 4.0)"
CHAT_CONTEXT = 16_384


def _chat_steady(order: Order) -> Trace:
    levels = markov_levels("azure23_conv_rates", order.stream("rates"), order.horizon_s)
    arrivals_us = curve_arrivals_us(
        order.stream("gaps"),
        gamma_gaps(order.variation.cv(1037)),
        rate_urps=order.rate_urps,
        levels=uneven_levels(levels, order.variation),
    )
    return open_trace(order, arrivals_us, ("azure23_conv",), CHAT_CONTEXT)


CHAT_STEADY = Scenario(
    name="chat_steady",
    title="Chat whose rate drifts over minutes",
    covers="chat",
    source=AZURE,
    weaker="one afternoon of one service; fitted on the rows that it is compared with",
    nominal_rate_rps=5.92,
    nominal_horizon_s=3600,
    max_request_tokens=CHAT_CONTEXT,
    slo_classes=("interactive",),
    draw=_chat_steady,
)
