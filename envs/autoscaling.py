"""`GliaBench/Autoscaling-v0`: the autoscaler of a cluster, one step per interval.

The action changes the size of each pool by -2 to 2 replicas, within its quota. A pool that shrinks drains the replicas
with the fewest requests; routing and admission are the simulator's defaults.
"""

from glia_bench.envs.game import Role
from glia_bench.envs.parts import ScalePart
from glia_bench.envs.single import SingleEnv
from glia_bench.envs.vector import ManyEnv
from glia_bench.sim.stepper import POOL_FIELDS, WINDOW_FIELDS, WINDOW_SPANS_S

ROLE = Role("autoscaling", "autoscaling/burst-v0", lambda cluster: (ScalePart(cluster),))


class AutoscalingFields:
    """Names of the columns of the observation's arrays, and the spans that the window is averaged over."""

    window_fields = WINDOW_FIELDS
    window_spans_s = WINDOW_SPANS_S
    pool_fields = POOL_FIELDS


class AutoscalingEnv(AutoscalingFields, SingleEnv):
    """One autoscaling episode at a time."""

    role = ROLE


class AutoscalingVectorEnv(AutoscalingFields, ManyEnv):
    """Many autoscaling episodes side by side."""

    role = ROLE
