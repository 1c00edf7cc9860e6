"""Latency presets: exact integers, the measured points, scaling, files, and the line that policies are granted."""

import json
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glia_bench.cluster import LatencyTable
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency import PRESETS, latency_table, linear_perf
from glia_bench.sim.latency_file import FORMAT

A10 = "a10-llama3-8b"


@pytest.fixture(scope="module")
def points() -> dict[int, int]:
    """The shipped [tokens, nanoseconds] points."""
    text = (resources.files("glia_bench.sim") / "tables" / "a10_llama3_8b.json").read_text()
    return dict(json.loads(text)["points"])


def table_of(*token_ps: int, decode_ps: int = 0, chunk_ps: int = 0) -> LatencyTable:
    """A table with the given costs of 1, 2, ... tokens."""
    return LatencyTable(
        name="test",
        token_ps=np.array([0, *token_ps], dtype=np.int64),
        decode_ps=np.array([decode_ps]),
        context_ps=np.array([3]),
        chunk_ps=chunk_ps,
        pair_ps=5,
    )


def test_measured_points_are_met_exactly(points: dict[int, int]) -> None:
    """At scale 1 every measured count costs its nanoseconds; 0 tokens cost nothing."""
    table = latency_table(A10, token_budget=8192)
    assert table.token_ps[0] == 0
    assert len(table.token_ps) == 8193
    assert {n: int(table.token_ps[n]) for n in points} == {n: ns * 1000 for n, ns in points.items()}


# ms; the sums of the nine operators' medians over 32 layers, from the profile
@pytest.mark.parametrize(
    ("tokens", "milliseconds"),
    [(1, 30.4), (128, 36.0), (256, 66.1), (512, 126.9), (1024, 250.2), (2048, 476.0), (4096, 913.6)],
)
def test_the_a10_takes_the_profiled_times(tokens: int, milliseconds: float) -> None:
    """Known sums of the profile, to the printed digit."""
    assert latency_table(A10, token_budget=4096).token_ps[tokens] / 1e9 == pytest.approx(milliseconds, abs=0.05)


@pytest.mark.parametrize("time_scale", [1.0, 1.07, 0.333333, 7.5])
def test_integers_equal_exact_rationals(points: dict[int, int], time_scale: float) -> None:
    """Every entry is the exact interpolated and scaled rational, rounded once to the nearest picosecond."""
    table = latency_table(A10, token_budget=5000, time_scale=time_scale)
    scale = Fraction(round(time_scale * 10**6), 10**6)
    counts = sorted(points)
    for n in (*range(1, 300), *range(300, 5001, 37), 4095, 4096, 4097, 5000):
        k = max(sum(count < n for count in counts), 1)
        n0, n1 = (counts[k - 1], counts[k]) if n <= 4096 else (2048, 4096)
        exact = (points[n0] + Fraction((points[n1] - points[n0]) * (n - n0), n1 - n0)) * 1000 * scale
        assert abs(table.token_ps[n] - exact) <= Fraction(1, 2)
    assert abs(table.context_ps[0] - scale * Fraction(131_072 * 10**12, 480 * 10**9)) <= Fraction(1, 2)
    assert abs(table.pair_ps - scale * Fraction(524_288 * 10**12, 2 * 60 * 10**12)) <= Fraction(1, 2)


def test_attention_has_the_hand_computed_cost() -> None:
    """A context token is 131,072 B at 480 GB/s = 273.067 ns; a unit of 2S 262,144 FLOP at 60 TFLOP/s = 4.369 ns."""
    table = latency_table(A10, token_budget=1)
    assert (table.context_ps.tolist(), table.decode_ps.tolist()) == ([273_067], [0])
    assert (table.pair_ps, table.chunk_ps) == (4369, 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_smaller_budget_is_the_head_of_a_larger_one(preset: str) -> None:
    """The budget cuts the table and changes nothing in it."""
    long, short = latency_table(preset, token_budget=8192), latency_table(preset, token_budget=500)
    assert np.array_equal(short.token_ps, long.token_ps[:501])
    assert all(short.decode_terms(d) == long.decode_terms(d) for d in (1, 7, 128, 400))


def test_tables_are_frozen() -> None:
    """The A10 table at one scale sums to a committed number: a change in it is a new version of every task on it."""
    table = latency_table(A10, token_budget=8192, time_scale=1.07)
    assert (int(table.token_ps.sum()), int(table.context_ps[0]), table.pair_ps) == GOLDEN_A10
    assert table.name == "A10, Llama-3-8B bf16, TP 1, times x 1.07"


GOLDEN_A10 = (7_981_765_314_640_128, 292_181, 4675)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """An unknown preset gets the closest name; scale and budget must be sensible numbers; a file must be there."""
    with pytest.raises(InvalidSpecError, match=r"no latency preset 'a10-llama3-8B' .*did you mean 'a10-llama3-8b'"):
        latency_table("a10-llama3-8B", token_budget=8)
    for scale in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidSpecError, match="time_scale must be between"):
            latency_table(A10, token_budget=8, time_scale=scale)
    with pytest.raises(InvalidSpecError, match=r"token_budget must be at least 1 \(got 0\)"):
        latency_table(A10, token_budget=0)
    with pytest.raises(InvalidSpecError, match=r"cannot read a latency preset from .*none.json"):
        latency_table(tmp_path / "none.json", token_budget=8)


def preset_file(folder: Path, **changes: Any) -> Path:
    """A file with a small preset, with some of its entries changed."""
    data = {
        "format": FORMAT,
        "title": "mine",
        "points": [[1, 1000], [11, 2000]],
        "decode_ps": 7,
        "context_fs": 2500,
        "chunk_ps": 9,
        "pair_fs": 4000,
    }
    path = folder / "mine.json"
    path.write_text(json.dumps(data | changes))
    return path


def test_a_file_is_a_preset_too(tmp_path: Path) -> None:
    """Points are joined by straight lines, femtoseconds rounded to picoseconds, and the scale applies to all."""
    table = latency_table(str(preset_file(tmp_path)), token_budget=12, time_scale=2.0)
    assert table.token_ps.tolist() == [0, *range(2000, 4201, 200)]
    assert (table.decode_terms(3), table.chunk_ps, table.pair_ps) == ((42, 5), 18, 8)
    assert table.name == "mine, times x 2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "glia-bench-latency/0"}, 'must hold "format": "glia-bench-latency/1"'),
        ({"title": 3}, r"title in .* must be a text \(got 3\)"),
        ({"pair_fs": -1}, r"pair_fs in .* must be a whole number, at least 0 \(got -1\)"),
        ({"decode_ps": None}, "decode_ps in .* must be a whole number"),
        ({"points": []}, "points in .* must be a list"),
        ({"points": [[1, 2.5]]}, "must be pairs .* of whole numbers"),
        ({"points": [[4, 9], [2, 9]]}, r"must rise in tokens from 1 and take time \(got \[2, 9\]\)"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Each entry is checked, and the message names it."""
    with pytest.raises(InvalidSpecError, match=message):
        latency_table(preset_file(tmp_path, **changes), token_budget=8)


def test_a_straight_table_is_fitted_exactly() -> None:
    """Where the table is a line, perf is that line with no error; the attention terms are the table's own."""
    perf = linear_perf(table_of(*(1000 + 70 * n for n in range(1, 40))))
    assert (perf.fixed_s, perf.token_s) == (1000e-12, 70e-12)
    assert (perf.context_token_s, perf.prefill_pair_s) == (3e-12, 10e-12)
    assert perf.relative_error == 0


def test_a_one_token_table_has_a_line_too() -> None:
    """With a single batch size the line is flat and exact."""
    perf = linear_perf(table_of(500))
    assert (perf.fixed_s, perf.token_s, perf.relative_error) == (500e-12, 0.0, 0.0)


def test_stated_error_bounds_real_batches() -> None:
    """On the A10 the line's error stays within the stated one for decode-only and for prefill batches of any size."""
    table = latency_table(A10, token_budget=8192, time_scale=1.07)
    perf = linear_perf(table)
    n = np.arange(1, 8193)
    line = perf.fixed_s + perf.token_s * n
    worst = []
    for context, twice_pairs in ((n * 100, 0 * n), (n, 0 * n), (0 * n, n * n), (0 * n, 0 * n)):
        true = (table.token_ps[1:] + table.context_ps[0] * context + table.pair_ps * twice_pairs) * 1e-12
        model = line + perf.context_token_s * context + perf.prefill_pair_s * twice_pairs / 2
        worst.append(np.abs(model / true - 1).max())
    assert max(worst) <= perf.relative_error * (1 + 1e-9)
    assert worst[-1] == pytest.approx(perf.relative_error, rel=1e-9)
    assert perf.relative_error < 0.45  # flat to 128 tokens, then linear: no line is close at the bend


def test_uneven_tables_get_a_fitted_line() -> None:
    """Attention that depends on the number of decodes, or costs per chunk, cost the line some error, and it says so."""
    straight = table_of(*(1000 + 70 * n for n in range(1, 65)), decode_ps=0)
    spread = LatencyTable(
        name="test", token_ps=straight.token_ps, decode_ps=np.array([0]), context_ps=np.array([3, 3, 4]), pair_ps=5
    )
    assert linear_perf(spread).relative_error < 0.3
    chunked = linear_perf(table_of(*(1000 + 70 * n for n in range(1, 65)), chunk_ps=200))
    assert 0 < chunked.relative_error <= 0.17  # 200 of the 1200 that a batch costs at least
    assert chunked.token_s == pytest.approx(70e-12, rel=0.2)


def test_points_are_the_profiles(shared_dir: Path, points: dict[int, int]) -> None:
    """The shipped points are within 0.01 % of the medians summed over the profile's rows."""
    import pandas as pd

    rows = pd.read_csv(shared_dir / "data" / "glia_paper" / "a10_llama3_8b_mlp.csv.gz")
    rows = rows[rows["num_tensor_parallel_workers"] == 1]
    medians = [c for c in rows.columns if c.endswith(".median") and ".emb." not in c]
    assert len(medians) == 9
    sums = (rows[medians].sum(axis=1) * 32e6).groupby(rows["num_tokens"]).mean()
    assert sorted(points) == sums.index.tolist()
    for count, nanoseconds in points.items():
        assert nanoseconds == pytest.approx(sums[count], rel=1e-4)
