"""`GliaBench/Scheduling-v0`: the batch schedulers of a cluster, one step per admission.

A question comes at every scheduling point at which a replica could admit somebody; the action is one of the first 32
waiting requests, and the question comes again while there is more to choose from, or the last index to stop. Which
requests get tokens, who is preempted, and routing are the engine's defaults; docs/simulator.md, "Schedulers", says when
scheduling points are.
"""

from glia_bench.envs.game import Role
from glia_bench.envs.parts import AdmitPart
from glia_bench.envs.single import SingleEnv
from glia_bench.envs.vector import ManyEnv
from glia_bench.sim.stepper import ENGINE_FIELDS, WAITING_FIELDS

ROLE = Role("scheduling", "scheduling/chat-v0", lambda cluster: (AdmitPart(),))


class SchedulingFields:
    """Names of the columns of the observation's arrays."""

    waiting_fields = WAITING_FIELDS
    engine_fields = ENGINE_FIELDS


class SchedulingEnv(SchedulingFields, SingleEnv):
    """One scheduling episode at a time."""

    role = ROLE


class SchedulingVectorEnv(SchedulingFields, ManyEnv):
    """Many scheduling episodes side by side."""

    role = ROLE
