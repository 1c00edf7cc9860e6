"""How a perturbed case differs from a plain one: five scales, drawn from a box that is committed here.

Half of the sealed seeds are such cases: they ask whether a design holds a little beside the setting that it was made
for. What a scale does to cluster and workload is `Task.case`'s to say; the box below is part of the suite, so changing
it makes new versions of all tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """Scales in thousandths; 1000 leaves everything as the task has it.

    Attributes:
        load_permille: Of the arrival rate.
        kv_permille: Of every replica's KV blocks.
        length_permille: Of prompt and output lengths.
        burst_permille: Of the unevenness of arrivals: the spread of gaps, the depth of rate changes.
        replicas_permille: Of every pool's replicas.
    """

    load_permille: int = 1000
    kv_permille: int = 1000
    length_permille: int = 1000
    burst_permille: int = 1000
    replicas_permille: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 1 <= value <= 100_000:
                raise InvalidSpecError(f"{field.name} must be between 1 and 100000 thousandths (got {value})")


NONE = Perturbation()

BOX: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "load_permille": (900, 1100),
        "kv_permille": (800, 1200),
        "length_permille": (800, 1250),
        "burst_permille": (700, 1500),
        "replicas_permille": (750, 1250),
    }
)
"""Scale to its least and greatest value, both of which occur."""


def draw_perturbation(stream: Stream) -> Perturbation:
    """Return a perturbation, each scale uniform over its side of the box; uses five words of the stream."""
    return Perturbation(**{name: low + stream.below(high - low + 1) for name, (low, high) in BOX.items()})
