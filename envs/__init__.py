"""Gymnasium environments of the tracks. Importing this package registers their ids and compiles the simulator once."""

import gymnasium

from glia_bench.envs.routing import RoutingEnv
from glia_bench.envs.vector import RoutingVectorEnv

__all__ = ["RoutingEnv", "RoutingVectorEnv"]

gymnasium.register(
    id="GliaBench/Routing-v0",
    entry_point="glia_bench.envs.routing:RoutingEnv",
    vector_entry_point="glia_bench.envs.vector:RoutingVectorEnv",
    kwargs={"task": "routing/paper-v0", "load": None, "num_requests": None},
)
