"""Scenarios whose requests share prompts in groups: a flash crowd, tools, and questions about documents.

Left out: documents that come and go, and requests that name several documents.
"""

import numpy as np

from glia_bench.case import Trace
from glia_bench.workloads.arrivals import curve_arrivals_us
from glia_bench.workloads.normal import shipped_lognormal
from glia_bench.workloads.open_scenarios import AZURE, BURSTGPT, CHAT_CONTEXT
from glia_bench.workloads.quantile_table import shipped_data, shipped_table
from glia_bench.workloads.rate_processes import crowd_levels, flat_levels
from glia_bench.workloads.scenario import Order, Scenario, with_lengths
from glia_bench.workloads.services import Lengths, service_lengths
from glia_bench.workloads.shared_content import group_content, ranked
from glia_bench.workloads.variation import gamma_gaps, uneven_levels

CHAT_BLOCK = 16
LONG_BLOCK = 128
LONG_CONTEXT = 131_072

HOT_TOKENS = 1024
HOT_PERMILLE = 800
"""Of the requests that the crowd adds, this share begins with the same tokens."""


def _flash_crowd(order: Order) -> Trace:
    levels = crowd_levels(
        order.stream("crowd"), order.horizon_s, height=8, ramp_s=30, hold_s=240, decay_s=120, whole_s=3600
    )
    levels = uneven_levels(levels, order.variation)
    arrivals_us = curve_arrivals_us(
        order.stream("gaps"), gamma_gaps(order.variation.cv(1037)), rate_urps=order.rate_urps, levels=levels
    )
    num = len(arrivals_us)
    lengths = service_lengths(np.zeros(num, dtype=np.int64), ("azure23_conv",), order.stream)
    level = levels[arrivals_us // 1_000_000]
    draw = (order.stream("topics").bits(num) >> np.uint64(44)).astype(np.int64)
    is_hot = draw * level * 1000 < (level - levels.min()) * HOT_PERMILLE << 20
    lengths = Lengths(prompt=lengths.prompt + np.where(is_hot, HOT_TOKENS, 0), output=lengths.output)
    hot_tokens = order.variation.tokens(np.full(1, HOT_TOKENS, dtype=np.int64))
    content = group_content(np.where(is_hot, 0, -1), hot_tokens, CHAT_BLOCK)
    return with_lengths(order, arrivals_us, lengths, CHAT_CONTEXT, content=content)


FLASH_CROWD = Scenario(
    name="flash_crowd",
    title="Chat with one crowd of eight times the rate about a hot topic",
    covers="bursts",
    source=f"lengths and gaps: {AZURE}; height: {BURSTGPT}",
    weaker="the crowd's shape and its shared prompt are chosen; its height is that of BurstGPT's busiest minutes in a "
    "thousand; below 3,600 s it is shortened with the horizon",
    nominal_rate_rps=6.86,
    nominal_horizon_s=3600,
    max_request_tokens=CHAT_CONTEXT,
    slo_classes=("interactive",),
    block_size_tokens=CHAT_BLOCK,
    draw=_flash_crowd,
)

MEDIAN_TOOL_PROMPT = 6_361


def _toolagent(order: Order) -> Trace:
    gaps = gamma_gaps(order.variation.cv(1118))
    arrivals_us = curve_arrivals_us(
        order.stream("gaps"), gaps, rate_urps=order.rate_urps, levels=flat_levels(order.horizon_s)
    )
    num = len(arrivals_us)
    prefixes = np.array(shipped_data("toolagent_prefixes")["values"], dtype=np.int64)
    group = ranked(order.stream("groups"), "zipf_1.1_64", num)
    lengths = Lengths(
        prompt=prefixes[group] + shipped_lognormal("toolagent_suffix").draw(order.stream("suffixes").bits(num)),
        output=shipped_lognormal("toolagent_output").draw(order.stream("outputs").bits(num)),
    )
    return with_lengths(
        order,
        arrivals_us,
        lengths,
        LONG_CONTEXT,
        slo_class=(lengths.prompt > MEDIAN_TOOL_PROMPT).astype(np.int64),
        content=group_content(group, order.variation.tokens(prefixes), LONG_BLOCK),
    )


TOOLAGENT_SHARED_PROMPTS = Scenario(
    name="toolagent_shared_prompts",
    title="Tools and agents that share 64 long prompts",
    covers="tools, shared prompts",
    source="published means of Mooncake's tool and agent trace (Qin et al., FAST 2025)",
    weaker="only mean lengths and the cache ratio are known; laws, groups and gaps are assumed; the shorter half of "
    "prompts is interactive",
    nominal_rate_rps=6.5578,
    nominal_horizon_s=3600,
    max_request_tokens=LONG_CONTEXT,
    slo_classes=("interactive", "standard"),
    block_size_tokens=LONG_BLOCK,
    draw=_toolagent,
)

NUM_DOCUMENTS = 400
RAG_COMMON_TOKENS = 512


def _rag_hot_documents(order: Order) -> Trace:
    gaps = gamma_gaps(order.variation.cv(1118))
    arrivals_us = curve_arrivals_us(
        order.stream("gaps"), gaps, rate_urps=order.rate_urps, levels=flat_levels(order.horizon_s)
    )
    num = len(arrivals_us)
    documents = shipped_lognormal("rag_document").draw(order.stream("documents").bits(NUM_DOCUMENTS))
    prefixes = RAG_COMMON_TOKENS + documents
    chosen_document = ranked(order.stream("choices"), "zipf_0.9_400", num)
    question = shipped_lognormal("rag_question").draw(order.stream("questions").bits(num))
    lengths = Lengths(
        prompt=prefixes[chosen_document] + question,
        output=shipped_table("arxiv_summ_output").draw(order.stream("outputs").bits(num)),
    )
    common = RAG_COMMON_TOKENS * order.variation.length_permille // 1000
    content = group_content(chosen_document, order.variation.tokens(prefixes), LONG_BLOCK, common)
    return with_lengths(order, arrivals_us, lengths, LONG_CONTEXT, content=content)


RAG_HOT_DOCUMENTS = Scenario(
    name="rag_hot_documents",
    title="Questions about 400 documents, some of them hot",
    covers="RAG",
    source="outputs: arXiv summarisation lengths of Vidur (MIT)",
    weaker="weakly grounded: documents, questions, popularity and gaps are assumed",
    nominal_rate_rps=0.9,
    nominal_horizon_s=3600,
    max_request_tokens=LONG_CONTEXT,
    slo_classes=("longctx",),
    block_size_tokens=LONG_BLOCK,
    draw=_rag_hot_documents,
)
