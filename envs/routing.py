"""`GliaBench/Routing-v0`: the router of a cluster, one step per considered request.

The request at the head of the held queue, in arrival order, is the question; the action is a replica, or the last index
to hold, which ends this scan of the queue. Not offered: rejecting a request, or another order of the queue. What a step
means, word for word, is on docs/simulator.md; spaces, rewards and seeds are on docs/environments.md.
"""

from glia_bench.envs.game import Role
from glia_bench.envs.parts import RoutePart
from glia_bench.envs.single import SingleEnv
from glia_bench.envs.vector import ManyEnv
from glia_bench.sim.stepper import CLUSTER_FIELDS, REPLICA_FIELDS, REQUEST_FIELDS

ROLE = Role("routing", "routing/paper-v0", lambda cluster: (RoutePart(cluster),))


class RoutingFields:
    """Names of the columns of the observation's arrays."""

    request_fields = REQUEST_FIELDS
    replica_fields = REPLICA_FIELDS
    cluster_fields = CLUSTER_FIELDS


class RoutingEnv(RoutingFields, SingleEnv):
    """One routing episode at a time."""

    role = ROLE


class RoutingVectorEnv(RoutingFields, ManyEnv):
    """Many routing episodes side by side."""

    role = ROLE
