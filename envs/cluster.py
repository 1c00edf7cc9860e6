"""`GliaBench/Cluster-v0`: router, schedulers and autoscaler in one agent, one question at a time.

Observation and action have a part for each of the three; "asked" tells which the question is about. Of the action only
that part counts; what is seen of the other parts is as of their last questions.
"""

from glia_bench.envs.autoscaling import AutoscalingFields
from glia_bench.envs.game import Role
from glia_bench.envs.parts import AdmitPart, RoutePart, ScalePart
from glia_bench.envs.routing import RoutingFields
from glia_bench.envs.scheduling import SchedulingFields
from glia_bench.envs.single import SingleEnv
from glia_bench.envs.vector import ManyEnv

ROLE = Role("cluster", "cluster/sessions-v0", lambda cluster: (RoutePart(cluster), AdmitPart(), ScalePart(cluster)))


class ClusterFields(RoutingFields, SchedulingFields, AutoscalingFields):
    """Names of the columns of the observation's arrays, and what the values of "asked" mean."""

    parts = ("route", "admit", "scale")


class ClusterEnv(ClusterFields, SingleEnv):
    """One cluster episode at a time."""

    role = ROLE


class ClusterVectorEnv(ClusterFields, ManyEnv):
    """Many cluster episodes side by side."""

    role = ROLE
