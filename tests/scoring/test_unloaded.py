"""Lone requests on empty replicas: the closed form against sums by hand and against iterations one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.case import Case, Trace
from glia_bench.cluster import ClusterSpec, Ints, Latency, LatencyGrid, LatencyTable, PoolSpec
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.sim.latency_grid import pack_vidur
from glia_bench.sim.modes import engine
from glia_bench.sim.reference_latency import iteration_ps


def column(*values: int) -> Ints:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def make_table(*, scale: int = 1) -> LatencyTable:
    """Return a table in which every term counts: n tokens take n * (n + 10) * 1000 ps."""
    n = np.arange(65, dtype=np.int64)
    return LatencyTable(
        name="test",
        token_ps=n * (n + 10) * 1000 * scale,
        context_ps=column(3, 7, 5) * scale,
        decode_ps=column(0, 400, 900) * scale,
        pair_ps=2 * scale,
        chunk_ps=50 * scale,
    )


def make_grid() -> LatencyGrid:
    """Return a grid by Vidur's rules that no line fits: squares of the indices."""
    tokens, decodes, contexts = np.arange(65), np.arange(5), np.arange(3)
    packed = pack_vidur(
        1000 + tokens**2, 10 * decodes[:, None] + contexts**2, (np.arange(3) ** 2)[:, None] + np.arange(80) ** 2
    )
    return LatencyGrid(name="test", packed=packed, max_tokens=64, max_decodes=4)


def make_case(prompts: Ints, outputs: Ints, *latencies: Latency, budget: int = 8, mode: str = "vllm_v1") -> Case:
    """Return requests on pools of one replica each."""
    spec = engine(mode, token_budget=budget, max_running=4, num_blocks=1000)
    pools = tuple(PoolSpec(num_replicas=1, engine=spec, latency=latency) for latency in latencies)
    trace = Trace(arrival_ps=np.zeros_like(prompts), prompt_tokens=prompts, output_tokens=outputs, max_tokens=outputs)
    return Case(cluster=ClusterSpec(pools=pools), trace=trace, drain_s=1e6)


def one_by_one(latency: Latency, prompt: int, output: int, budget: int) -> int:
    """Return the latency of a lone request as the sum of its iterations."""
    total = done = 0
    while done < prompt:
        chunk = min(budget, prompt - done)
        total += iteration_ps(
            latency,
            tokens=chunk,
            decodes=0,
            context=0,
            chunks=1,
            sum_chunk=chunk,
            sum_chunk2=chunk**2,
            sum_cached=done,
            sum_cached64=-(-done // 64) * 64,
            pairs=2 * chunk * done + chunk**2,
        )
        done += chunk
    empty = dict.fromkeys(("chunks", "sum_chunk", "sum_chunk2", "sum_cached", "sum_cached64", "pairs"), 0)
    for context in range(prompt + 1, prompt + output):
        total += iteration_ps(latency, tokens=1, decodes=1, context=context, **empty)
    return total


def test_prefill_goes_in_chunks_of_the_budget() -> None:
    """A prompt of 20 with budget 8: chunks 8, 8, 4 after 0, 8, 16; pairs 64, 192, 144 at 2 ps, 50 ps a chunk."""
    tokens_ps = (8 * 18 + 8 * 18 + 4 * 14) * 1000
    assert unloaded_ps(make_case(column(20), column(1), make_table())).tolist() == [tokens_ps + 150 + 2 * 400]


def test_without_chunked_prefill_the_prompt_is_one_chunk() -> None:
    """A prompt of 20 is one iteration of 20 tokens, 400 pairs; the second token reads a context of 21."""
    case = make_case(column(20), column(2), make_table(), budget=64, mode="vllm_v0")
    assert not case.cluster.pools[0].engine.chunked_prefill
    prefill, decode = 20 * 30 * 1000 + 50 + 800, 11 * 1000 + 400 + 7 * 21
    assert unloaded_ps(case).tolist() == [prefill + decode]


@given(prompt=st.integers(1, 100), output=st.integers(1, 40), budget=st.integers(5, 60))
def test_a_table_gives_the_sum_of_its_iterations(prompt: int, output: int, budget: int) -> None:
    """The closed form equals the sum over a lone request's iterations, to the picosecond."""
    table = make_table()
    case = make_case(column(prompt, 3), column(output, 2), table, budget=budget)
    assert unloaded_ps(case).tolist() == [one_by_one(table, prompt, output, budget), one_by_one(table, 3, 2, budget)]


@given(prompt=st.integers(1, 200), output=st.integers(1, 200), budget=st.integers(5, 60))
def test_a_grid_gives_the_sum_of_its_iterations(prompt: int, output: int, budget: int) -> None:
    """Running sums over contexts give what a lone request's iterations add up to."""
    grid = make_grid()
    case = make_case(column(prompt, 3), column(output, 70), grid, budget=budget)
    assert unloaded_ps(case).tolist() == [one_by_one(grid, prompt, output, budget), one_by_one(grid, 3, 70, budget)]


def test_of_several_pools_the_fastest_counts() -> None:
    """A pool of half the speed changes nothing, one of twice the speed halves every latency."""
    prompts, outputs = column(5, 20), column(3, 1)
    table, slow = make_table(scale=2), make_table(scale=4)
    alone = unloaded_ps(make_case(prompts, outputs, table))
    assert unloaded_ps(make_case(prompts, outputs, table, slow)).tolist() == alone.tolist()
    assert (2 * unloaded_ps(make_case(prompts, outputs, table, make_table()))).tolist() == alone.tolist()
