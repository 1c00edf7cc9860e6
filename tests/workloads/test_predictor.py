"""Length predictors: what each knows of the output, and that the noise is frozen, unbiased and of the stated size."""

import numpy as np
import pytest

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.predictor import NO_PREDICTOR, SIGMA_PERCENTS, LengthPredictor, predict

TASK = "routing/test-v0"


def make_trace(outputs: Ints, prompts: Ints | None = None, slo_class: Ints | None = None) -> Trace:
    """Return requests that all arrive at 0."""
    prompts = np.full_like(outputs, 10) if prompts is None else prompts
    return Trace(
        arrival_ps=np.zeros_like(outputs),
        prompt_tokens=prompts,
        output_tokens=outputs,
        max_tokens=np.full_like(outputs, 8000),
        slo_class=slo_class,
    )


def column(*values: int) -> Ints:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def test_no_predictor_grants_nothing_and_an_oracle_the_truth() -> None:
    """Without a predictor there is no column; an oracle's is the output itself, in an array of its own."""
    trace = make_trace(column(3, 500))
    assert predict(NO_PREDICTOR, trace, TASK, 0) is None
    oracle = predict(LengthPredictor(kind="oracle"), trace, TASK, 0)
    assert oracle is not None
    assert oracle.tolist() == [3, 500]
    assert oracle is not trace.output_tokens


def test_a_bucket_predictor_knows_class_and_prompt_only() -> None:
    """Prompts of 99, 100 and 5000 tokens fall into buckets 0, 1 and 2 of their class's row; outputs do not matter."""
    predictor = LengthPredictor(kind="bucket", edges=(100, 1000), means=((10, 20, 30), (40, 50, 60)))
    trace = make_trace(column(7, 7, 7, 8), column(99, 100, 5000, 5000), column(0, 0, 0, 1))
    found = predict(predictor, trace, TASK, 0)
    assert found is not None
    assert found.tolist() == [10, 20, 30, 60]


@pytest.mark.parametrize("sigma_percent", SIGMA_PERCENTS)
def test_noise_is_lognormal_of_mean_1_and_the_stated_sigma(sigma_percent: int) -> None:
    """Over 40,000 rows mean and standard deviation of the log are right within 5 standard errors."""
    sigma, num = sigma_percent / 100, 40_000
    trace = make_trace(np.full(num, 100_000, dtype=np.int64))
    found = predict(LengthPredictor(kind="noisy", sigma_percent=sigma_percent), trace, TASK, 0)
    assert found is not None
    factor = np.log(found / 100_000)
    assert factor.mean() == pytest.approx(-(sigma**2) / 2, abs=5 * sigma / num**0.5)
    assert factor.std() == pytest.approx(sigma, rel=5 / (2 * num) ** 0.5 + 0.002)
    assert np.exp(factor).mean() == pytest.approx(1, abs=5 * (np.exp(sigma**2) - 1) ** 0.5 / num**0.5)


def test_noise_is_keyed_by_task_seed_and_row() -> None:
    """Row i has the same factor in a longer trace; another seed or task has others; estimates are at least 1."""
    noisy = LengthPredictor(kind="noisy", sigma_percent=70)
    outputs = np.arange(1, 201, dtype=np.int64)
    short, long = (predict(noisy, make_trace(outputs[:n]), TASK, 0) for n in (50, 200))
    assert short is not None
    assert long is not None
    assert np.array_equal(short, long[:50])
    assert short.min() >= 1
    for task, seed in ((TASK, 1), ("routing/other-v0", 0)):
        other = predict(noisy, make_trace(outputs), task, seed)
        assert other is not None
        assert not np.array_equal(long, other)


def test_noise_is_frozen() -> None:
    """The estimates of a (task, seed) are the same on every machine: a change here is a new task version."""
    found = predict(LengthPredictor(kind="noisy", sigma_percent=120), make_trace(column(*[1000] * 6)), TASK, 0)
    assert found is not None
    assert found.tolist() == [150, 2774, 113, 474, 1025, 95]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "psychic"}, "must be none, bucket, noisy or oracle"),
        ({"kind": "noisy", "sigma_percent": 50}, "one of 30, 70, 120 .*got 50"),
        ({"sigma_percent": 30}, "0 for others"),
        ({"kind": "bucket"}, "needs them"),
        ({"kind": "bucket", "edges": (5, 5), "means": ((1, 1, 1),)}, "must rise"),
        ({"kind": "bucket", "edges": (5,), "means": ((1,),)}, "needs 2 numbers"),
    ],
)
def test_impossible_predictors_are_refused(fields: dict[str, object], message: str) -> None:
    """What does not fit together is refused when the task is made."""
    with pytest.raises(InvalidSpecError, match=message):
        LengthPredictor(**fields)  # type: ignore[arg-type]


def test_a_class_without_means_is_refused() -> None:
    """A request of class 1 needs a second row of means."""
    with pytest.raises(InvalidSpecError, match=r"a row of means for each SLO class .*got 1"):
        predict(LengthPredictor(kind="bucket", means=((5,),)), make_trace(column(1), None, column(1)), TASK, 0)
