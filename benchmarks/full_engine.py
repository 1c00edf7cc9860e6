"""Speed of the full engine: requests per second with prefix caches, with a scheduler, and forced on plain routing.

    python benchmarks/full_engine.py [--requests N] [--repeats N]

Prints medians of CPU time. The traces are those of ratios.py. The prefix cases list the blocks of every prompt, half of
them one of 64 shared prefixes, and, where it says so, those of every output, as conversations need them.
"""

import argparse
import dataclasses
import statistics
import time

import cases
import numpy as np

from glia_bench.case import Case
from glia_bench.loading import load_policy, policy_from_source
from glia_bench.policy import Policy
from glia_bench.sim import engine

RANKED = "def rank(request, replica, memory):\n    return float(request.prompt_tokens)\n"


def with_prefixes(case: Case, *, lists_outputs: bool = False) -> Case:
    """Return a case with prefix caches, half of each prompt's blocks shared by one request in 64."""
    pool = case.cluster.pools[0]
    block = pool.engine.block_size_tokens
    rng = np.random.default_rng(0)
    trace = case.trace
    counts = (trace.prompt_tokens + lists_outputs * trace.output_tokens) // block
    starts = np.concatenate([[0], np.cumsum(counts)])
    ids = np.arange(starts[-1]) + 1_000_000
    shared = (trace.prompt_tokens // block) // 2
    for row, group in enumerate(rng.integers(0, 64, len(trace))):
        first = starts[row]
        ids[first : first + shared[row]] = group * 10_000 + np.arange(shared[row])
    cached = dataclasses.replace(pool.engine, prefix_caching=True)
    cluster = dataclasses.replace(case.cluster, pools=(dataclasses.replace(pool, engine=cached),))
    return dataclasses.replace(
        case, cluster=cluster, trace=dataclasses.replace(trace, block_start=starts, block_ids=ids)
    )


def rate(case: Case, policy: Policy, repeats: int) -> float:
    """Return the requests per second of CPU time, median of several runs in the full engine."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        result = engine.simulate(case, policy, engine="full")
        times.append(time.process_time() - start)
        assert result.status == "ok", result.message
    return len(case.trace) / statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=4_000, help="KV blocks of each replica")
    options = parser.parse_args()
    base = cases.poisson_case(
        num_requests=options.requests,
        num_replicas=16,
        prompt_tokens=1000,
        output_tokens=250,
        load=0.75,
        num_blocks=options.blocks,
    )
    ranked = policy_from_source(RANKED, name="ranked", path="<benchmark>", track="scheduling")
    settings = {
        "llq, no more than plain": (base, load_policy("llq")),
        "llq, prefix caches on": (with_prefixes(base), load_policy("llq")),
        "llq, prefix caches, outputs listed": (with_prefixes(base, lists_outputs=True), load_policy("llq")),
        "static rank": (base, ranked),
        "static rank, prefix caches on": (with_prefixes(base), ranked),
    }
    print("16 replicas, 1000 in / 250 out, 75 % load, full engine: requests per second of CPU time")
    for name, (case, policy) in settings.items():
        print(f"{name:36s} {rate(case, policy, options.repeats):12,.0f}")


if __name__ == "__main__":
    main()
