"""The scenarios: named workloads with their sources, from which tasks take their traces.

A scenario knows nothing of clusters and capacities: its rate is nominal, and a task states its own rate and horizon.
For one key and seed the load changes neither the lengths nor the gaps in units of their mean.
"""

from collections.abc import Mapping
from types import MappingProxyType

from glia_bench.workloads.dialogue_scenarios import AGENTIC_CODING, CHAT_MULTITURN, LONGCTX_CHAT
from glia_bench.workloads.group_scenarios import FLASH_CROWD, RAG_HOT_DOCUMENTS, TOOLAGENT_SHARED_PROMPTS
from glia_bench.workloads.mixed_scenarios import (
    HEAVY_TAIL_MIX,
    MULTI_TENANT_SLO,
    WORKLOAD_SHIFT,
    WORKLOAD_SHIFT_MILD,
)
from glia_bench.workloads.open_scenarios import CHAT_STEADY, CODE_BURSTY, REASONING_LONG_OUTPUT, diurnal_day
from glia_bench.workloads.scenario import Scenario

_ALL = (
    CHAT_STEADY,
    CODE_BURSTY,
    CHAT_MULTITURN,
    LONGCTX_CHAT,
    REASONING_LONG_OUTPUT,
    AGENTIC_CODING,
    TOOLAGENT_SHARED_PROMPTS,
    FLASH_CROWD,
    diurnal_day(1),
    diurnal_day(12),
    HEAVY_TAIL_MIX,
    MULTI_TENANT_SLO,
    WORKLOAD_SHIFT,
    WORKLOAD_SHIFT_MILD,
    RAG_HOT_DOCUMENTS,
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
"""Every scenario by name, in the order of tables."""
