"""Speed of the simulator as ratios within one run: fast core against a plain per-token engine, and requests per second.

    python benchmarks/ratios.py [--requests N] [--repeats N]

Prints medians of CPU time over interleaved repeats, so that a machine whose speed drifts does not favour either side.
One *yardstick* is one step of a compiled xorshift64 loop on the same machine in the same run.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import cases
import numba
import numpy as np
import plain_engine
from numba import njit

from glia_bench.case import Case
from glia_bench.loading import load_policy
from glia_bench.sim import engine

SETTINGS: dict[str, dict[str, Any]] = {
    "16 replicas, 1000 in / 250 out, 75 % load": {
        "num_replicas": 16, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.75,
    },
    "4 replicas, 1000 in / 250 out, 75 % load": {
        "num_replicas": 4, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.75,
    },
    "64 replicas, 1000 in / 250 out, 75 % load": {
        "num_replicas": 64, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.75,
    },
    "16 replicas, 1000 in / 250 out, 25 % load": {
        "num_replicas": 16, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.25,
    },
    "16 replicas, 1000 in / 250 out, 90 % load": {
        "num_replicas": 16, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.90,
    },
    "16 replicas, 100 in / 1000 out, 10 % load": {
        "num_replicas": 16, "prompt_tokens": 100, "output_tokens": 1000, "load": 0.10,
    },
    "16 replicas, 1000 in / 250 out, 90 %, tight memory": {
        "num_replicas": 16, "prompt_tokens": 1000, "output_tokens": 250, "load": 0.90, "num_blocks": 1100,
    },
}  # fmt: skip


@njit(cache=True)
def xorshift64(steps: int) -> np.uint64:
    """Run the yardstick loop."""
    x = np.uint64(88172645463325252)
    for _ in range(steps):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return x


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def check_equal(case: Case) -> float:
    """Fail unless both engines give the same records; return preemptions per request."""
    fast = engine.simulate(case, load_policy("llq")).records
    plain = plain_engine.simulate(case)
    for name, column in (("first_token_ps", 0), ("finished_ps", 1), ("restarts", 2)):
        if not np.array_equal(getattr(fast, name), plain[:, column]):
            raise SystemExit(f"the engines disagree on {name}: a bug, not a benchmark")
    return float(fast.restarts.mean())


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    llq = load_policy("llq")
    xorshift64(10)
    print(f"{platform.machine()}, Python {platform.python_version()}, Numba {numba.__version__}, one core, warm cache")
    print(f"{args.requests:,} requests, median CPU time of {args.repeats} interleaved repeats, router llq (compiled)\n")
    print(f"{'setting':52} {'fast/s':>12} {'ns/request':>11} {'yardsticks':>11} {'plain/fast':>11} {'preempted':>10}")
    for name, setting in SETTINGS.items():
        case = cases.poisson_case(num_requests=args.requests, **setting)
        restarts = check_equal(case)
        fast, plain, yard = [], [], []
        for _ in range(args.repeats):
            yard.append(cpu_s(lambda: xorshift64(20_000_000)) / 20_000_000)
            fast.append(cpu_s(lambda case=case: engine.simulate(case, llq)) / args.requests)
            plain.append(cpu_s(lambda case=case: plain_engine.simulate(case)) / args.requests)
        each = statistics.median(fast)
        ratio = statistics.median(p / f for p, f in zip(plain, fast, strict=True))
        yards = statistics.median(f / y for f, y in zip(fast, yard, strict=True))
        print(f"{name:52} {1 / each:12,.0f} {each * 1e9:11.0f} {yards:11.0f} {ratio:10.1f}x {restarts:10.2f}")


if __name__ == "__main__":
    main()
