"""How often 95 % intervals of a mean cover it: the extended t of `intervals`, plain t, BCa and percentile bootstrap.

    python benchmarks/interval_coverage.py                  shapes of known skewness
    python benchmarks/interval_coverage.py --simulated 400  log-ratios of shipped policies over so many fresh seeds too

Each population is sampled 4,000 times for each number of seeds; a share of 95 % has a standard error of 0.35 points.
The last table is for runs of a designer, which share their seeds.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.scoring.intervals import CONFIDENCE, Interval, mean_interval, runs_interval, t_quantile
from glia_bench.scoring.score import MAX_GAIN, log_gain

Floats: TypeAlias = npt.NDArray[np.float64]
Population: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Floats]
"""Draws of mean 0, so that an interval covers if it holds 0."""

REPEATS = 4_000
RESAMPLES = 1_000
NUM_SEEDS = (3, 5, 10, 20)
METHODS = ("extended t", "t", "BCa", "percentile")
NORMAL = NormalDist()

SHAPES: Mapping[str, Population] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t with 5 degrees of freedom": lambda rng, shape: rng.standard_t(5, shape),
    "gamma, skewness 1": lambda rng, shape: rng.gamma(4.0, 1.0, shape) - 4.0,
    "lognormal, skewness 1.75": lambda rng, shape: rng.lognormal(0.0, 0.5, shape) - np.exp(0.125),
    "exponential, skewness 2": lambda rng, shape: rng.exponential(1.0, shape) - 1.0,
}

FAILING: Mapping[str, Population] = {
    "normal, 5 % of trials fail": lambda rng, shape: (
        np.where(rng.random(shape) < 0.05, -MAX_GAIN, 0.1 * rng.standard_normal(shape)) + 0.05 * MAX_GAIN
    ),
}
"""What no interval can cover: most samples of ten hold no sign of it."""

PAIRS = (
    ("routing/paper-v0", 1.0, "expert", ("hra", "llq", "round_robin")),
    ("routing/sessions-v0", 0.9, "lor", ("llq", "round_robin")),
    ("scheduling/chat-v0", 1.0, "sjf_prompt", ("vllm_v1_fcfs",)),
    ("autoscaling/burst-v0", 1.0, "hpa", ("fixed",)),
)
FIRST_SEED = 1000
"""Beyond the development seeds."""


def simulated(num_seeds: int) -> Iterator[tuple[str, Population]]:
    """Yield the log-gains of policies on catalog tasks as populations; their mean over all seeds is the truth."""
    from glia_bench.loading import load_policy
    from glia_bench.scoring.metrics import cost
    from glia_bench.sim.engine import simulate
    from glia_bench.tasks.catalog import get_task

    for task_id, load, expert, others in PAIRS:
        task = get_task(task_id)
        policies = [load_policy(name, task.track) for name in (expert, *others)]
        costs = []
        for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
            case = task.case(load, seed)
            costs.append([cost(case, simulate(case, policy), task) for policy in policies])
        for place, name in enumerate(others, start=1):
            gains = np.array([log_gain(row[0], row[place]) for row in costs])
            spread = gains.std()
            skewness = float(((gains - gains.mean()) ** 3).mean() / spread**3)
            title = f"{task_id} {name}, sd {spread:.2f}, skewness {skewness:.1f}"
            centred = gains - gains.mean()
            yield title, lambda rng, shape, centred=centred: rng.choice(centred, shape)


def coverage(population: Population, num_seeds: int, *, repeats: int = REPEATS, seed: int = 0) -> dict[str, float]:
    """Return method to the share of samples whose interval holds the true mean, 0."""
    rng = np.random.default_rng(seed)
    sample = population(rng, (repeats, num_seeds))
    half = t_quantile(0.5 + 0.5 * CONFIDENCE, num_seeds - 1) * sample.std(axis=1, ddof=1) / np.sqrt(num_seeds)
    bca, percentile = _bootstrap_hits(rng, sample)
    return {
        "extended t": float(np.mean([_holds_zero(mean_interval(row)) for row in sample.tolist()])),
        "t": float(np.mean(np.abs(sample.mean(axis=1)) <= half)),
        "BCa": bca,
        "percentile": percentile,
    }


def coverage_of_runs(num_runs: int, num_seeds: int, *, repeats: int = REPEATS, seed: int = 0) -> float:
    """Return the same for `runs_interval`: effects of run, seed and their interplay with sd 1, 1 and 0.5."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(repeats):
        table = rng.standard_normal((num_runs, 1)) + rng.standard_normal((1, num_seeds))
        table += 0.5 * rng.standard_normal((num_runs, num_seeds))
        hits += _holds_zero(runs_interval([[row] for row in table.tolist()]))
    return hits / repeats


def _holds_zero(found: Interval) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= 0.0 <= found.high


def _bootstrap_hits(rng: np.random.Generator, sample: Floats) -> tuple[float, float]:
    """Return the coverage of BCa and percentile intervals; all samples share their resampled places.

    Source:
        Efron, Better bootstrap confidence intervals, JASA 82 (1987).
    """
    num = sample.shape[1]
    places = rng.integers(0, num, (RESAMPLES, num))
    weights = np.stack([np.bincount(row, minlength=num) for row in places]) / num
    means = np.sort(sample @ weights.T, axis=1)
    truth, tails = sample.mean(axis=1), (0.5 - 0.5 * CONFIDENCE, 0.5 + 0.5 * CONFIDENCE)
    below = (means < truth[:, None]).mean(axis=1) + 0.5 * (means == truth[:, None]).mean(axis=1)
    bias = np.array([NORMAL.inv_cdf(min(max(share, 1e-4), 1 - 1e-4)) for share in below])
    apart = sample - truth[:, None]
    skew = (apart**3).sum(axis=1) / np.maximum(6.0 * (apart**2).sum(axis=1) ** 1.5, 1e-300)
    ends = []
    for tail in tails:
        z = bias + NORMAL.inv_cdf(tail)
        level = np.array([NORMAL.cdf(value) for value in bias + z / (1.0 - skew * z)])
        rank = np.clip((level * RESAMPLES).astype(int), 0, RESAMPLES - 1)
        ends.append(np.take_along_axis(means, rank[:, None], axis=1)[:, 0])
    low, high = (means[:, int(tail * (RESAMPLES - 1))] for tail in tails)
    return float(np.mean((ends[0] <= 0) & (ends[1] >= 0))), float(np.mean((low <= 0) & (high >= 0)))


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals, in per cent.")
    parser.add_argument("--simulated", metavar="N", type=int, default=0, help="seeds of simulated populations")
    options = parser.parse_args()
    print("| population | " + " | ".join(f"{method}, n = 3 / 5 / 10 / 20" for method in METHODS) + " |")
    print("|---|" + "---|" * len(METHODS))
    populations = [*SHAPES.items(), *FAILING.items(), *(simulated(options.simulated) if options.simulated else ())]
    for title, population in populations:
        found = [coverage(population, num) for num in NUM_SEEDS]
        cells = [" / ".join(f"{100 * shares[method]:.1f}" for shares in found) for method in METHODS]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
    print("\n| runs | n = 3 | n = 10 |\n|---|---|---|")
    for num_runs in (3, 5, 10):
        print(f"| {num_runs} | " + " | ".join(f"{100 * coverage_of_runs(num_runs, n):.1f}" for n in (3, 10)) + " |")


if __name__ == "__main__":
    main()
