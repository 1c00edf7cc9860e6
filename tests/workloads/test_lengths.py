"""Length tables against the data that they stand for, and the filling of the unknown half."""

import json
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from glia_bench.workloads.lengths import MAX_REQUEST_TOKENS, completed_lengths, sharegpt_lengths
from glia_bench.workloads.lengths_file import Lengths, read_lengths
from glia_bench.workloads.quantile_table import shipped_table

COLUMNS = {"sharegpt_prompt": 0, "sharegpt_output": 1}


@pytest.fixture(scope="module")
def authors(shared_dir: Path) -> Lengths:
    """The authors' public length sequence."""
    return read_lengths(shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz")


def known(count: int) -> Lengths:
    """Distinct made-up pairs."""
    prompt = np.arange(1, count + 1, dtype=np.int64)
    return Lengths(prompt_tokens=prompt, output_tokens=prompt + 5000, sha256="", is_authors=False)


def fine_grid(name: str) -> np.ndarray:
    """Table values at 2^17 evenly spaced probabilities."""
    return shipped_table(name).draw((np.arange(2**17, dtype=np.uint64) << np.uint64(47)) + np.uint64(2**46))


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_are_small_and_say_where_they_come_from(name: str) -> None:
    """At most 513 points, values from 1 to 4,134 tokens, source, licence and script inside the file."""
    data = json.loads((resources.files("glia_bench.workloads") / "tables" / f"{name}.json").read_text())
    assert len(data["knots"]) <= 513
    assert 1 <= min(data["knots"]) <= max(data["knots"]) <= 4134
    assert "github.com/pouyahmdn/vidur@" in data["source"]
    assert data["licence"].startswith("MIT")
    assert data["derived_by"] == "tools/derive_length_tables.py"


@pytest.mark.parametrize(("name", "column"), COLUMNS.items())
def test_tables_reproduce_the_marginals(name: str, column: int, authors: Lengths) -> None:
    """Mean, deviation, p50, p90, p99 (by either percentile rule) and max within 1 % of the data, KS below 0.005."""
    data = np.sort((authors.prompt_tokens, authors.output_tokens)[column])
    grid = fine_grid(name)
    assert grid.mean() == pytest.approx(data.mean(), rel=0.01)
    assert grid.std() == pytest.approx(data.std(), rel=0.01)
    for percent in (50, 90):
        assert np.percentile(grid, percent) == pytest.approx(np.percentile(data, percent), rel=0.01)
    low, high = (float(np.percentile(data, 99, method=rule)) for rule in ("lower", "higher"))
    assert 0.99 * low <= np.percentile(grid, 99) <= 1.01 * high
    assert shipped_table(name).knots[-1] == data[-1]
    values = np.unique(data)
    ours, theirs = (np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (grid, data))
    assert np.abs(ours - theirs).max() < 0.005


def test_prompt_and_output_are_independent_as_in_the_data(authors: Lengths) -> None:
    """Logarithms of prompt and output correlate by 0.02 in the data and by less than 0.03 in 20,000 draws."""
    in_data = np.corrcoef(np.log(authors.prompt_tokens), np.log(authors.output_tokens))[0, 1]
    prompt, output = sharegpt_lengths("test", 0, 20_000)
    assert in_data == pytest.approx(0.0237, abs=1e-4)
    assert abs(np.corrcoef(np.log(prompt), np.log(output))[0, 1]) < 0.03


def test_draws_fit_the_context_and_have_the_tables_mean() -> None:
    """20,000 draws stay within 8,192 tokens each and have the tables' means (4 standard errors: 5.5 % and 4.4 %)."""
    prompt, output = sharegpt_lengths("test", 1, 20_000)
    assert prompt.min() >= 43
    assert output.min() >= 1
    assert (prompt + output).max() <= MAX_REQUEST_TOKENS
    assert prompt.mean() == pytest.approx(fine_grid("sharegpt_prompt").mean(), rel=0.055)
    assert output.mean() == pytest.approx(fine_grid("sharegpt_output").mean(), rel=0.044)


def test_first_requests_do_not_depend_on_how_many_are_drawn() -> None:
    """A longer trace of the same seed begins with the shorter one."""
    short, long = sharegpt_lengths("test", 2, 100), sharegpt_lengths("test", 2, 300)
    for few, many in zip(short, long, strict=True):
        assert np.array_equal(few, many[:100])


def test_known_lengths_come_first_then_a_shuffle_of_them() -> None:
    """Of 250 requests with 100 known: the known in order, a full shuffle, half of another one; pairs stay pairs."""
    pairs = known(100)
    prompt, output = completed_lengths(pairs, "test", 0, 250)
    assert np.array_equal(output, prompt + 5000)
    assert prompt[:100].tolist() == list(range(1, 101))
    assert sorted(prompt[100:200]) == list(range(1, 101))
    assert prompt[100:200].tolist() != list(range(1, 101))
    assert max(Counter(prompt[200:].tolist()).values()) == 1
    assert prompt[200:].tolist() != prompt[100:150].tolist()


def test_seeds_shuffle_only_the_unknown_part() -> None:
    """Another seed keeps the known requests and changes the others; the same seed repeats."""
    pairs = known(50)
    first, again, other = (completed_lengths(pairs, "test", seed, 80)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.array_equal(first[:50], other[:50])
    assert not np.array_equal(first[50:], other[50:])


def test_more_known_lengths_than_needed_are_cut() -> None:
    """With enough known pairs nothing is drawn."""
    assert completed_lengths(known(50), "test", 0, 20)[0].tolist() == list(range(1, 21))
