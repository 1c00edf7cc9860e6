"""The scenarios: named workloads with their sources, from which tasks take their traces.

A scenario knows nothing of clusters and capacities: its rate is nominal, and a task states its own rate and horizon.
For one key and seed the load changes neither the lengths nor the gaps in units of their mean.
"""

from collections.abc import Mapping
from types import MappingProxyType

from glia_bench.workloads.open_scenarios import CHAT_STEADY
from glia_bench.workloads.scenario import Scenario

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in (CHAT_STEADY,)})
"""Every scenario by name, in the order of tables."""
