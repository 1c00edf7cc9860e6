"""One request of the reference simulator, and the numbers that a run draws: everything keyed, nothing stateful."""

from dataclasses import dataclass, field

from glia_bench.sim.reference_prefix import Block
from glia_bench.types import NEVER_PS, UNFINISHED

GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def mix(x: int) -> int:
    """Return the finaliser of SplitMix64 of x modulo 2^64."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniforms(policy_seed: int, request_id: int) -> tuple[float, float, float, float]:
    """Return `request.u`: four uniforms in [0, 1) keyed by policy seed and request id."""
    a, b, c, d = ((mix(mix(policy_seed) + (4 * request_id + k + 1) * GOLDEN) >> 11) * 2.0**-53 for k in range(4))
    return a, b, c, d


def scenario_draw(scenario_seed: int, purpose: int, index: int) -> int:
    """Return 64 bits of the scenario: purpose 1 publication phases, 2 routers, 3 cold starts."""
    return mix(mix(scenario_seed) + (purpose * 2**40 + index + 1) * GOLDEN)


@dataclass(slots=True, eq=False, kw_only=True)
class RequestState:
    """One request on its way: what the trace says of it, where it stands, what its record will say.

    `prefill_tokens` is P of docs/simulator.md, `computed_tokens` how much of P has been computed. `id` and `arrival_ps`
    are set on arrival. Two requests are never equal, so `in` and `remove` look for the object itself.
    """

    row: int
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    tenant: int
    session: int
    turn: int
    think_ps: int
    priority: int
    slo_class: int
    block_ids: tuple[int, ...]
    next_row: int
    predicted_tokens: float

    id: int = -1
    arrival_ps: int = NEVER_PS
    router: int = 0
    slot: int = 0
    held_rank: float = 0.0
    engine_rank: float = 0.0
    prefill_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    blocks: list[Block] = field(default_factory=list)
    last_dispatch_ps: int = NEVER_PS

    outcome: int = UNFINISHED
    replica: int = -1
    restarts: int = 0
    dispatched_ps: int = NEVER_PS
    scheduled_ps: int = NEVER_PS
    first_token_ps: int = NEVER_PS
    finished_ps: int = NEVER_PS
    cached_tokens: int = 0

    @property
    def known_tokens(self) -> int:
        """Prompt plus tokens generated so far."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def is_prefilling(self) -> bool:
        """Whether tokens must still be computed before it can generate."""
        return self.computed_tokens < self.prefill_tokens

    def forget_computed(self) -> None:
        """Set P to all that is known, with nothing computed, and count a restart."""
        self.prefill_tokens = self.known_tokens
        self.computed_tokens = 0
        self.restarts += 1
