"""Scenarios of independent requests of several services: heavy tails, tenants, and workloads that change.

Left out: system prompts of tenants.
"""

from dataclasses import dataclass

import numpy as np

from glia_bench.case import Trace
from glia_bench.workloads.arrivals import curve_arrivals_us
from glia_bench.workloads.open_scenarios import AZURE, REASONING_CONTEXT, SERVEGEN
from glia_bench.workloads.rate_processes import flat_levels
from glia_bench.workloads.scenario import Order, Scenario, open_trace, with_lengths
from glia_bench.workloads.services import chosen, joined, service_lengths
from glia_bench.workloads.variation import gamma_gaps

LONG_CONTEXT = 131_072
MOONCAKE = "Mooncake conversation trace (Qin et al., FAST 2025; Apache-2.0)"
ARXIV = "arXiv summarisation lengths of Vidur (MIT)"

FAMILIES = ("azure23_conv", "azure23_code", "mooncake_conv", "servegen_r1", "arxiv_summ")
FAMILY_PERMILLES = (550, 200, 120, 50, 30, 50)
"""Code comes in two parts: four fifths of it are of class standard, the last part interactive."""
FAMILY_OF_PART = (0, 1, 2, 3, 4, 1)
CLASS_OF_PART = (0, 1, 2, 1, 2, 0)


def _heavy_tail_mix(order: Order) -> Trace:
    arrivals_us = curve_arrivals_us(
        order.stream("gaps"),
        gamma_gaps(order.variation.cv(1600)),
        rate_urps=order.rate_urps,
        levels=flat_levels(order.horizon_s),
    )
    part = chosen(order.stream("families"), len(arrivals_us), FAMILY_PERMILLES)
    family, slo_class = (np.array(column, dtype=np.int64)[part] for column in (FAMILY_OF_PART, CLASS_OF_PART))
    return open_trace(order, arrivals_us, FAMILIES, LONG_CONTEXT, service=family, slo_class=slo_class)


HEAVY_TAIL_MIX = Scenario(
    name="heavy_tail_mix",
    title="Chat and code with a few very long prompts and outputs among them",
    covers="heavy tails",
    source=f"{AZURE}; {MOONCAKE}; {SERVEGEN}; {ARXIV}",
    weaker="weights and the CV of gaps are chosen; no service is measured to have this mixture",
    nominal_rate_rps=5.5556,
    nominal_horizon_s=3600,
    max_request_tokens=LONG_CONTEXT,
    slo_classes=("interactive", "standard", "longctx"),
    draw=_heavy_tail_mix,
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A client of the shared service.

    Attributes:
        share: Of all requests, in 10^-4.
        cv_permille: CV of its gaps.
        service: Whose lengths its requests have.
        slo_class: Place of its class.
    """

    share: int
    cv_permille: int
    service: str
    slo_class: int


TENANT_CLASSES = ("interactive", "standard", "batch")
TENANTS = (
    Tenant(2284, 1200, "azure23_conv", 0),
    Tenant(1149, 1100, "servegen_msmall", 0),
    Tenant(1115, 3000, "azure23_conv", 1),
    Tenant(951, 5000, "azure23_code", 0),
    Tenant(892, 1200, "servegen_mlarge", 1),
    Tenant(892, 2200, "arxiv_summ", 2),
    Tenant(683, 6000, "servegen_mlarge", 1),
    Tenant(544, 1200, "azure23_conv", 0),
    Tenant(457, 2000, "servegen_r1", 1),
    Tenant(453, 9500, "azure23_code", 0),
    Tenant(296, 1100, "arxiv_summ", 2),
    Tenant(285, 4000, "servegen_msmall", 2),
)
"""Shares and CVs of ServeGen's largest m-large clients; their lengths and classes are chosen."""


def _multi_tenant_slo(order: Order) -> Trace:
    total = sum(tenant.share for tenant in TENANTS)
    arrivals, lengths = [], []
    for number, tenant in enumerate(TENANTS):
        rate_urps = max(order.rate_urps * tenant.share // total, 1)
        gaps = gamma_gaps(order.variation.cv(tenant.cv_permille))
        stream = order.stream(f"gaps of tenant {number}")
        arrivals.append(curve_arrivals_us(stream, gaps, rate_urps=rate_urps, levels=flat_levels(order.horizon_s)))
        service = np.zeros(len(arrivals[-1]), dtype=np.int64)
        lengths.append(service_lengths(service, (tenant.service,), order.purpose(f"tenant {number}")))
    arrivals_us = np.concatenate(arrivals)
    row = np.argsort(arrivals_us, kind="stable")
    owner = np.repeat(np.arange(len(TENANTS)), [len(times) for times in arrivals])[row]
    return with_lengths(
        order,
        arrivals_us[row],
        joined(lengths, row),
        REASONING_CONTEXT,
        tenant=owner,
        slo_class=np.array([tenant.slo_class for tenant in TENANTS], dtype=np.int64)[owner],
    )


MULTI_TENANT_SLO = Scenario(
    name="multi_tenant_slo",
    title="Twelve tenants of three classes, some of them in bursts",
    covers="tenants",
    source=f"shares and CVs: {SERVEGEN}; lengths: {AZURE}; {SERVEGEN}; {ARXIV}",
    weaker="which tenant has which lengths and which class is chosen; rates of tenants do not move; no system prompts",
    nominal_rate_rps=8.0,
    nominal_horizon_s=7200,
    max_request_tokens=REASONING_CONTEXT,
    slo_classes=TENANT_CLASSES,
    num_tenants=len(TENANTS),
    draw=_multi_tenant_slo,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """A workload that changes twice: to code and back at once, then slowly to reasoning.

    Chat; chat and code; chat; a ramp; chat and reasoning. The bounds lie about 4, 8, 10 and 14 eighteenths of the
    horizon, each moved by up to two thirds of an eighteenth.

    Attributes:
        code_permille: Share of code in the second phase.
        reasoning_permille: Share of reasoning in the last.
        first_rate, last_rate: Relative rates before and after the ramp.
    """

    code_permille: int
    reasoning_permille: int
    first_rate: int
    last_rate: int

    def __call__(self, order: Order) -> Trace:
        """Return the trace."""
        stream, span = order.stream("phases"), order.horizon_s
        one, two, three, four = ((part * 3000 + stream.below(4001) - 2000) * span // 54_000 for part in (4, 8, 10, 14))
        second = np.arange(span, dtype=np.int64)
        done = np.clip((second - three) * 1000 // max(four - three, 1), 0, 1000)
        levels = self.first_rate * 1000 + (self.last_rate - self.first_rate) * done
        # the rate is a drift, not a burst: only gaps are varied
        arrivals_us = curve_arrivals_us(
            order.stream("gaps"), gamma_gaps(order.variation.cv(1118)), rate_urps=order.rate_urps, levels=levels
        )
        at = arrivals_us // 1_000_000
        is_code_phase = (at >= one) & (at < two)
        draw = chosen(order.stream("families"), len(at), (1,) * 1000)
        is_code = is_code_phase & (draw < self.code_permille)
        is_reasoning = draw * 1000 < self.reasoning_permille * done[at]
        service = np.where(is_code, 1, np.where(is_reasoning, 2, 0)).astype(np.int64)
        services = ("azure23_conv", "azure23_code", "servegen_r1")
        return open_trace(order, arrivals_us, services, REASONING_CONTEXT, service=service)


def _shift(phases: Phases, *, name: str, title: str, weaker: str, nominal_rate_rps: float) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        covers="drift",
        source=f"{AZURE}; {SERVEGEN}",
        weaker=weaker,
        nominal_rate_rps=nominal_rate_rps,
        nominal_horizon_s=5400,
        max_request_tokens=REASONING_CONTEXT,
        slo_classes=("standard",),
        draw=phases,
    )


WORKLOAD_SHIFT = _shift(
    Phases(code_permille=800, reasoning_permille=700, first_rate=600, last_rate=250),
    name="workload_shift",
    title="Chat that turns to code, back, and slowly to reasoning",
    weaker="built by choice: two to three times what lengths of one service move by between days",
    nominal_rate_rps=4.833,
)
WORKLOAD_SHIFT_MILD = _shift(
    Phases(code_permille=300, reasoning_permille=350, first_rate=600, last_rate=400),
    name="workload_shift_mild",
    title="Chat that turns partly to code, back, and slowly to some reasoning",
    weaker="built by choice, to the size that lengths of one service move by between days",
    nominal_rate_rps=5.333,
)
