"""Latency grids: the kernel's lookup against plain Python, hand-computed cells, and files of measurements."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterations import measures

from glia_bench.cluster import Ints, LatencyGrid, LatencyTable
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.jit import kernel, plain
from glia_bench.sim.latency import linear_perf
from glia_bench.sim.latency_grid import grid_ps, pack_profile, pack_vidur
from glia_bench.sim.latency_profile import ONCE, PER_LAYER, profile_grid, vidur_grid
from glia_bench.sim.reference_latency import iteration_ps

MAX_TOKENS, MAX_DECODES = 60, 12


@kernel("int64(int64[::1], int64, int64[::1])")
def compiled_ps(packed: Ints, at: int, batch: Ints) -> int:
    """Evaluate one batch, its measures in the order of MEASURES."""
    return grid_ps(packed, at, batch[0], batch[1], batch[2], batch[3], batch[4], batch[5], batch[6], batch[7], batch[8])


@st.composite
def grids(draw: st.DrawFn) -> LatencyGrid:
    """A grid of either kind with arbitrary times."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def times(*shape: int) -> Ints:
        return random.integers(0, draw(st.sampled_from([2, 10**6, 10**12])), shape)

    def axis(last: int) -> Ints:
        inner = draw(st.sets(st.integers(1, last - 1), max_size=4))
        return np.array([0, *sorted(inner), last], dtype=np.int64)

    if draw(st.booleans()):
        packed = pack_vidur(
            times(MAX_TOKENS + 1),
            times(MAX_DECODES + 1, draw(st.integers(2, 6))),
            times(draw(st.integers(2, 4)), MAX_TOKENS + 1),
        )
    else:
        axes = axis(40), axis(300), axis(MAX_DECODES), axis(500)
        cells = times(len(axes[0]), len(axes[1]), len(axes[2]), len(axes[3]))
        packed = pack_profile(times(MAX_TOKENS + 1), times(MAX_DECODES + 1), axes, cells)
    return LatencyGrid(name="drawn", packed=packed, max_tokens=MAX_TOKENS, max_decodes=MAX_DECODES)


batches = st.tuples(
    st.lists(st.integers(1, 900), max_size=MAX_DECODES),
    st.lists(st.tuples(st.integers(1, 16), st.integers(0, 700)), max_size=3),
).filter(lambda batch: bool(batch[0] or batch[1]))


@pytest.mark.nojit
@given(grids(), batches, st.integers(0, 5))
@settings(deadline=None, derandomize=True)
def test_kernel_lookup_equals_plain_python(
    grid: LatencyGrid, batch: tuple[list[int], list[tuple[int, int]]], at: int
) -> None:
    """Compiled, as plain Python and by the independent reference, any grid gives the same picoseconds, at least 1."""
    measured = measures(*batch)
    packed = np.concatenate([np.full(at, -1), grid.packed])
    expected = iteration_ps(grid, **measured)
    assert expected >= 1
    assert plain(grid_ps)(packed, at, *measured.values()) == expected
    assert compiled_ps(packed, at, np.array(list(measured.values()))) == expected


def test_profiles_are_interpolated_linearly() -> None:
    """Hand-computed: token_ps[n] + sequence_ps[requests] + bilinear attention between the four axes' points."""
    axes = tuple(np.array([0, end], dtype=np.int64) for end in (10, 100, 4, 1000))
    cells = np.zeros((2, 2, 2, 2), dtype=np.int64)
    cells[0, :, 1, 1] = 800  # four decodes of 1000 tokens
    cells[1, 0, 0, :] = 500  # a chunk of 10
    cells[1, 1, 0, :] = 700  # ... with 100 cached
    grid = LatencyGrid(
        name="hand",
        packed=pack_profile(
            np.arange(21, dtype=np.int64) * 10,
            np.arange(5, dtype=np.int64),
            (axes[0], axes[1], axes[2], axes[3]),
            cells,
        ),
        max_tokens=20,
        max_decodes=4,
    )
    # 2 of 4 decodes, mean context 500 of 1000: 800 / 4
    assert iteration_ps(grid, **measures([400, 600], [])) == 20 + 2 + 200
    # 5 of 10 tokens, 50 of 100 cached: (500 + 700) / 2 / 2
    assert iteration_ps(grid, **measures([], [(5, 50)])) == 50 + 1 + 300
    # two chunks count as one of round(sqrt(3^2 + 4^2)) = 5, cached (3 * 0 + 4 * 50) / 5 = 40: (500 + 80) / 2
    assert iteration_ps(grid, **measures([], [(3, 0), (4, 50)])) == 70 + 2 + 290
    # beyond the axis' end the segment goes on: context 2000 of 1000, four decodes
    assert iteration_ps(grid, **measures([2000] * 4, [])) == 40 + 4 + 1600


def test_tables_by_vidurs_rules() -> None:
    """Hand-computed: contexts in steps of 64 rounded up, chunks by their root mean square, 1.1 for more than one."""
    decode = np.arange(5 * 4, dtype=np.int64).reshape(5, 4) * 100
    prefill = np.arange(3 * 21, dtype=np.int64).reshape(3, 21) * 10
    grid = LatencyGrid(
        name="hand",
        packed=pack_vidur(np.arange(21, dtype=np.int64), decode, prefill),
        max_tokens=20,
        max_decodes=4,
    )
    assert iteration_ps(grid, **measures([65], [])) == 1 + decode[1, 2]
    # mean context (64 + 63) // 2 = 63, one step; decode[2, 1] = 900, a tenth more
    assert iteration_ps(grid, **measures([64, 63], [])) == 2 + 990
    assert iteration_ps(grid, **measures([], [(7, 65)])) == 7 + prefill[2, 7]
    # round(sqrt(7^2 + 8^2)) = round(10.63) = 11, no cached tokens: 110, a tenth more
    assert iteration_ps(grid, **measures([], [(7, 0), (8, 0)])) == 15 + 121
    # context 256 is step 4, one beyond the end of row 1: 700 + (700 - 600)
    assert iteration_ps(grid, **measures([256], [])) == 1 + 800


def test_line_through_a_grid_is_honest() -> None:
    """The granted line misses no batch of its sample by more than it says, and the sample is not empty."""
    axes = tuple(np.array([0, end], dtype=np.int64) for end in (32, 64, 8, 64))
    cells = np.arange(16, dtype=np.int64).reshape(2, 2, 2, 2) * 10**6
    packed = pack_profile(np.full(65, 10**8), np.full(9, 10**6), (axes[0], axes[1], axes[2], axes[3]), cells)
    grid = LatencyGrid(name="test", packed=packed, max_tokens=64, max_decodes=8)
    perf = linear_perf(grid)
    assert min(perf[:4]) >= 0
    for contexts, chunks in (([128] * 4, []), ([], [(16, 0)]), ([2048], [(32, 0)])):
        batch = measures(contexts, chunks)
        line = perf.fixed_s + perf.token_s * batch["tokens"] + perf.context_token_s * batch["context"]
        line += perf.prefill_pair_s * batch["pairs"] / 2
        assert abs(line / (iteration_ps(grid, **batch) * 1e-12) - 1) <= perf.relative_error + 1e-12


@pytest.mark.parametrize(("contexts", "chunks"), [([5, 9, 2], []), ([], [(3, 1), (2, 0)]), ([7], [(4, 9)])])
def test_tables_by_the_reference(contexts: list[int], chunks: list[tuple[int, int]]) -> None:
    """A table's time is its formula, term by term; the last entry of a short array holds for more decodes."""
    table = LatencyTable(
        name="test",
        token_ps=np.arange(20) * 1000 + 1,
        decode_ps=np.array([0, 50, 70]),
        context_ps=np.array([0, 3, 2]),
        chunk_ps=11,
        pair_ps=5,
    )
    batch = measures(contexts, chunks)
    attention = {0: 0, 1: 50 + 3 * batch["context"]}.get(len(contexts), 70 + 2 * batch["context"])
    expected = 1000 * batch["tokens"] + 1 + attention + 11 * len(chunks) + 5 * batch["pairs"]
    assert iteration_ps(table, **batch) == expected


def write(path: Path, header: str, rows: list[tuple[Any, ...]]) -> Path:
    """Write a CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """A small profile: dense operations of 1 us + 0.1 us per token, and attention measured on two different grids."""
    dense = [(name, n, 1 + n / 10) for name in (*PER_LAYER, *ONCE) for n in (1, 11, 21)]
    sequence = [(name, n, n) for name in ("lm_head", "sampler") for n in (1, 4)]
    attention = [(0, 0, d, k, d * k / 100) for d in (1, 2) for k in (100, 200)]
    attention += [(10, kv, 0, 0, 5 + kv / 100) for kv in (0, 100)]
    attention += [(10, kv, d, k, 5 + kv / 100 + d * k / 100) for kv in (0, 50) for d in (1, 2) for k in (100, 300)]
    attention += [(0, 0, 4, k, 4 * k / 100) for k in (100, 200)]
    return {
        "dense": write(tmp_path / "dense.csv", "layer,tokens,time_us", dense),
        "per_sequence": write(tmp_path / "per_sequence.csv", "layer,sequences,time_us", sequence),
        "attention": write(
            tmp_path / "attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", attention
        ),
        "layers": 3,
        "name": "small",
    }


def test_a_profile_adds_up(files: dict[str, Any]) -> None:
    """Eight dense operations per layer and two per iteration, the head per request, attention per layer."""
    grid = profile_grid(**files)
    assert (grid.max_tokens, grid.max_decodes) == (21, 4)
    # 26 dense operations of 1.2 us, head and sampler of 2 us each, 3 layers of 2 * 150 / 100 us
    assert iteration_ps(grid, **measures([150, 150], [])) == 26 * 1_200_000 + 4_000_000 + 9_000_000
    # chunk of 10 with 100 cached: 6 us per layer
    assert iteration_ps(grid, **measures([], [(10, 100)])) == 26 * 2_000_000 + 2_000_000 + 18_000_000
    # 4 decodes were measured alone only: with a chunk the line of 1 and 2 goes on, 5 + 4 us
    assert iteration_ps(grid, **measures([100] * 4, [(10, 0)])) == 26 * 2_400_000 + 2 * 4_000_000 + 27_000_000


def test_contexts_can_be_stretched(files: dict[str, Any]) -> None:
    """With context_scale 1.25 a context costs what 1.25 times as many tokens cost."""
    plain_ps = iteration_ps(profile_grid(**files), **measures([125], []))
    assert iteration_ps(profile_grid(**files, context_scale=1.25), **measures([100], [])) == plain_ps


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dense", "layer,tokens", "layer,count", "lacks the column 'tokens'"),
        ("dense", "down_proj,1,1.1", "down_proj,1,-1", r"line \d+, must be a number of microseconds \(got '-1'\)"),
        ("dense", "down_proj,1,1.1", "down_proj,1,nan", "must be a number of microseconds"),
        ("dense", "down_proj,1,", "down_proj,2,", "must be measured at the same sizes"),
        ("dense", "down_proj", "moe", "unknown operation 'moe'"),
        ("dense", "down_proj,1,", "down_proj,x,", "sizes in .* must be whole numbers"),
        ("per_sequence", "sampler", "lm_head", "needs at least two rows of 'sampler'"),
        ("attention", "\n10,", "\n0,", "needs at least two values of each"),
        ("attention", "\n10,0,1,", "\n9,0,1,", "has no row of prefill_chunk 9 with n_decode 0"),
    ],
)
def test_a_broken_profile_says_what_is_wrong(
    files: dict[str, Any], file: str, old: str, new: str, message: str
) -> None:
    """The message names the file and what is missing or wrong in it."""
    path = files[file]
    text = path.read_text().replace("\r\n", "\n")
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InvalidSpecError, match=message):
        profile_grid(**files)


def test_missing_files_are_named(files: dict[str, Any], tmp_path: Path) -> None:
    """A path that cannot be read is part of the message; an archive must hold Vidur's tables."""
    with pytest.raises(InvalidSpecError, match=r"cannot read .*absent.csv"):
        profile_grid(**{**files, "dense": tmp_path / "absent.csv"})
    with pytest.raises(InvalidSpecError, match=r"cannot read Vidur tables from .*absent.npz"):
        vidur_grid(tmp_path / "absent.npz", layers=32)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InvalidSpecError, match="cannot read Vidur tables"):
        vidur_grid(tmp_path / "other.npz", layers=32)
    with pytest.raises(InvalidSpecError, match="context_scale must be between"):
        profile_grid(**files, context_scale=3.0)


def test_vidur_files_are_read_with_their_rounding(tmp_path: Path) -> None:
    """Tokens are rounded up to a multiple of 8 for the operators but not for the cache write."""
    np.savez(
        tmp_path / "tables.npz",
        linear_ms_by_tokens_rounded_to_8=np.arange(18) * 1.0,
        kv_save_ms_by_tokens=np.arange(18) * 0.001,
        attn_decode_ms=np.ones((3, 4)),
        attn_prefill_ms=np.ones((2, 18)),
    )
    grid = vidur_grid(tmp_path / "tables.npz", layers=2)
    assert (grid.max_tokens, grid.max_decodes) == (16, 2)
    assert iteration_ps(grid, **measures([], [(9, 0)])) == 2 * (16_000_000_000 + 9_000_000 + 1_000_000_000)
