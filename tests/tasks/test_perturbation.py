"""The box that perturbed cases are drawn from, and what its scales do to a case."""

import dataclasses

import numpy as np
import pytest

from glia_bench.errors import InvalidSpecError
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.perturbation import BOX, NONE, Perturbation, draw_perturbation
from glia_bench.workloads.streams import Stream

TASK = "routing/paper-v0"


def draws(count: int) -> list[Perturbation]:
    """Return draws of that many seeds."""
    return [draw_perturbation(Stream(TASK, seed, "perturbation")) for seed in range(count)]


def test_the_box_is_the_committed_one() -> None:
    """Load +-10 %, KV +-20 %, lengths 0.8 to 1.25, bursts 0.7 to 1.5, replicas +-25 %: a change makes new versions."""
    assert dict(BOX) == {
        "load_permille": (900, 1100),
        "kv_permille": (800, 1200),
        "length_permille": (800, 1250),
        "burst_permille": (700, 1500),
        "replicas_permille": (750, 1250),
    }
    assert set(BOX) == {field.name for field in dataclasses.fields(Perturbation)}


@pytest.mark.parametrize("name", sorted(BOX))
def test_draws_fill_the_box(name: str) -> None:
    """Every scale lies within its bounds and reaches the outer tenths on both sides in 200 draws."""
    low, high = BOX[name]
    values = [getattr(drawn, name) for drawn in draws(200)]
    assert low <= min(values) <= low + (high - low) // 10
    assert high - (high - low) // 10 <= max(values) <= high


def test_draws_are_frozen() -> None:
    """The first draw of a task is what it was: an edit of the order or the arithmetic is seen here."""
    assert draws(1)[0] == Perturbation(
        load_permille=1070,
        kv_permille=1118,
        length_permille=1108,
        burst_permille=1090,
        replicas_permille=973,
    )


@pytest.mark.parametrize("value", [0, -1000, 100_001])
def test_absurd_scales_are_refused(value: int) -> None:
    """A scale of nothing, below, or of a hundredfold and more is a mistake."""
    with pytest.raises(InvalidSpecError, match="kv_permille must be between 1 and 100000"):
        Perturbation(kv_permille=value)


def test_no_perturbation_changes_nothing() -> None:
    """A case with all scales at 1000 is the case without any."""
    task = get_task(TASK)
    assert task.case(0.05, 3, None, NONE).trace.sha256 == task.case(0.05, 3).trace.sha256
    assert task.case(0.05, 3, None, NONE).cluster == task.case(0.05, 3).cluster


def test_each_scale_reaches_the_case() -> None:
    """Load moves the arrivals' rate, KV the blocks, lengths the tokens, bursts the gaps, replicas the pool."""
    task = get_task(TASK)
    plain = task.case(0.2, 3)

    def case(**scales: int) -> tuple[int, int, float, float, int]:
        made = task.case(0.2, 3, None, Perturbation(**scales))
        gaps = np.diff(made.trace.arrival_ps)
        return (
            len(made.trace),
            made.cluster.pools[0].engine.num_blocks,
            float(made.trace.prompt_tokens.mean()),
            float(gaps.std() / gaps.mean()),
            made.cluster.num_replicas,
        )

    num, blocks, tokens, spread, replicas = case()
    assert (num, replicas) == (len(plain.trace), plain.cluster.num_replicas)
    assert case(load_permille=1100)[0] > num
    assert case(kv_permille=800)[1] == round(blocks * 0.8)
    assert case(length_permille=1250)[2] == pytest.approx(1.25 * tokens, rel=0.05)  # the context cuts the longest
    assert case(burst_permille=700)[3] < case(burst_permille=1500)[3] != spread
    assert case(replicas_permille=750)[4] == round(replicas * 0.75)
