"""Gymnasium environments of the tracks. Importing this package registers their ids and compiles the simulator once."""

import gymnasium

from glia_bench.envs.autoscaling import AutoscalingEnv, AutoscalingVectorEnv
from glia_bench.envs.cluster import ClusterEnv, ClusterVectorEnv
from glia_bench.envs.routing import RoutingEnv, RoutingVectorEnv
from glia_bench.envs.scheduling import SchedulingEnv, SchedulingVectorEnv

__all__ = [
    "AutoscalingEnv",
    "AutoscalingVectorEnv",
    "ClusterEnv",
    "ClusterVectorEnv",
    "RoutingEnv",
    "RoutingVectorEnv",
    "SchedulingEnv",
    "SchedulingVectorEnv",
]

for _single, _many in (
    (RoutingEnv, RoutingVectorEnv),
    (SchedulingEnv, SchedulingVectorEnv),
    (AutoscalingEnv, AutoscalingVectorEnv),
    (ClusterEnv, ClusterVectorEnv),
):
    gymnasium.register(
        id=f"GliaBench/{_single.role.track.capitalize()}-v0",
        entry_point=f"{_single.__module__}:{_single.__name__}",
        vector_entry_point=f"{_many.__module__}:{_many.__name__}",
        kwargs={"task": _single.role.task, "load": None, "num_requests": None},
    )
