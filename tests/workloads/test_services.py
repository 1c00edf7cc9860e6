"""Lengths of services: draws meet tables and rows, and prompt and output are tied as measured."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from glia_bench.cluster import Ints
from glia_bench.workloads.quantile_table import shipped_data, shipped_table
from glia_bench.workloads.services import Lengths, chosen, fitted, joined, service_lengths
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import PLAIN, Variation

NUM = 20_000
ROWS = {
    "azure23_conv": ("azure23_conv_dev", 0.033),
    "azure23_code": ("azure23_code_dev", -0.016),
    "mooncake_conv": ("mooncake_conv_dev", 0.069),
    "arxiv_summ": ("arxiv_summ_lengths_dev", -0.112),
    "servegen_mlarge": ("servegen_mlarge_day_dev", -0.069),
    "servegen_msmall": ("servegen_msmall_day_dev", 0.372),
    "servegen_r1": ("servegen_r1_18h_dev", -0.376),
}
"""Service to its file of rows and the Spearman correlation of prompt and output that was measured in it."""


def drawn(name: str, num: int = NUM, seed: int = 0) -> Lengths:
    """Return lengths of one service."""
    zeros = np.zeros(num, dtype=np.int64)
    return service_lengths(zeros, (name,), lambda purpose: Stream("services", seed, purpose))


def distance(one: Ints, other: Ints) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples, ties included."""
    values = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def ranks(values: Ints) -> Ints:
    """Return ranks times two, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (2 * ends - counts)[inverse]


@pytest.mark.parametrize("name", ROWS)
def test_draws_meet_their_tables(name: str) -> None:
    """20,000 prompts and outputs lie within 0.02 of their tables' laws (chance alone gives 0.012 in one of 100)."""
    lengths = drawn(name)
    grid = (np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)) + np.uint64(1 << 47)
    for part, values in (("prompt", lengths.prompt), ("output", lengths.output)):
        assert distance(values, shipped_table(f"{name}_{part}").draw(grid)) < 0.02


@pytest.mark.parametrize("name", ROWS)
def test_draws_meet_the_rows(name: str, shared_dir: Path) -> None:
    """20,000 prompts and outputs lie within 0.02 of the rows that the tables come from."""
    path = shared_dir / "data" / "workloads" / f"{ROWS[name][0]}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [(int(row["prompt_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(file)]
    prompt, output = np.array(rows).T
    lengths = drawn(name)
    assert distance(lengths.prompt, prompt) < 0.02
    assert distance(lengths.output, output) < 0.02


@pytest.mark.parametrize("name", ROWS)
def test_prompt_and_output_are_tied_as_measured(name: str) -> None:
    """The rank correlation of 20,000 draws is the measured one within 0.03 (four standard errors), sign included."""
    lengths = drawn(name)
    found = float(np.corrcoef(ranks(lengths.prompt), ranks(lengths.output))[0, 1])
    measured = ROWS[name][1]
    assert found == pytest.approx(measured, abs=0.03)
    assert abs(measured) < 0.03 or found * measured > 0
    assert int(shipped_data(f"{name}_output")["copula_rho"]) * measured > 0


def test_a_request_is_the_same_in_every_company() -> None:
    """Request k keeps its lengths if fewer requests are drawn or its neighbours belong to another service."""
    alone = drawn("servegen_r1", 200)
    service = np.arange(100, dtype=np.int64) % 2
    mixed = service_lengths(service, ("azure23_code", "servegen_r1"), lambda purpose: Stream("services", 0, purpose))
    assert np.array_equal(mixed.prompt[1::2], alone.prompt[1:100:2])
    assert np.array_equal(mixed.output[1::2], alone.output[1:100:2])


def test_lengths_are_cut_to_the_context() -> None:
    """An output takes at most half of the context, a prompt what is left; scaling comes before the cut."""
    lengths = Lengths(prompt=np.array([10, 90, 500]), output=np.array([10, 400, 8]))
    cut = fitted(lengths, PLAIN, 100)
    assert (cut.prompt.tolist(), cut.output.tolist()) == ([10, 50, 92], [10, 50, 8])
    twice = fitted(lengths, Variation(length_permille=2000), 100)
    assert (twice.prompt.tolist(), twice.output.tolist()) == ([20, 50, 84], [20, 50, 16])


def test_choices_have_their_chances() -> None:
    """600, 250 and 150 thousandths of 20,000, within 5 standard errors."""
    counts = np.bincount(chosen(Stream("services", 0, "c"), NUM, (600, 250, 150)), minlength=3)
    for count, share in zip(counts, (0.6, 0.25, 0.15), strict=True):
        assert count / NUM == pytest.approx(share, abs=5 * (share * (1 - share) / NUM) ** 0.5)


def test_parts_are_joined_in_the_order_asked_for() -> None:
    """Rows 2, 0, 1 of two parts of 1 and 2 requests."""
    parts = [Lengths(prompt=np.array(p), output=np.array(o)) for p, o in (([1], [4]), ([2, 3], [5, 6]))]
    both = joined(parts, np.array([2, 0, 1]))
    assert (both.prompt.tolist(), both.output.tolist()) == ([3, 1, 2], [6, 4, 5])
