"""The shipped tables are what the scripts in tools/ make of the public data: nothing was edited by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "glia_bench" / "workloads" / "tables"


def run_tool(name: str, *arguments: Path) -> None:
    """Run a script of tools/ as its docstring says."""
    subprocess.run([sys.executable, ROOT / "tools" / name, *arguments], check=True, timeout=120)


def test_law_tables_are_the_tools(tmp_path: Path) -> None:
    """Gaps and factors come out again; a knot may differ by one unit where a platform's exp rounds otherwise."""
    run_tool("derive_law_tables.py", tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == 6
    for path in made:
        again, before = (json.loads((folder / path.name).read_text()) for folder in (tmp_path, TABLES))
        for one, other in zip(again.pop("knots"), before.pop("knots"), strict=True):
            assert abs(one - other) <= 1
        assert again == before


@pytest.mark.slow
def test_gamma_tables_are_the_tools(tmp_path: Path) -> None:
    """The ladder of gamma laws comes out again; a knot may differ by a millionth where a platform's exp differs."""
    run_tool("derive_gamma_tables.py", tmp_path)
    again, before = (json.loads((folder / "gamma_gaps.json").read_text()) for folder in (tmp_path, TABLES))
    for one, other in zip(again.pop("rows"), before.pop("rows"), strict=True):
        assert all(abs(x - y) <= 1 + y // 1_000_000 for x, y in zip(one, other, strict=True))
    assert again == before


def test_normal_tables_are_the_tools(tmp_path: Path) -> None:
    """Half-normal, distribution function and powers of two come out again, to one unit."""
    run_tool("derive_normal_tables.py", tmp_path)
    for name, values in (("half_normal", "knots"), ("normal_cdf", "values"), ("exp2", "values")):
        again, before = (json.loads((folder / f"{name}.json").read_text()) for folder in (tmp_path, TABLES))
        assert all(abs(x - y) <= 1 for x, y in zip(again.pop(values), before.pop(values), strict=True))
        assert again == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "inputs", "num_tables"),
    [
        (
            "derive_service_tables.py",
            (
                *("azure23_conv_dev.csv.gz", "azure23_code_dev.csv.gz", "mooncake_conv_dev.csv.gz"),
                *("arxiv_summ_lengths_dev.csv.gz", "servegen_mlarge_day_dev.csv.gz", "servegen_msmall_day_dev.csv.gz"),
                "servegen_r1_18h_dev.csv.gz",
            ),
            15,
        ),
        ("derive_mooncake_tables.py", ("mooncake_conv_dev.csv.gz",), 4),
        ("derive_rate_tables.py", ("arrival_fits.json",), 4),
        ("derive_chosen_tables.py", ("scenarios.json",), 3),
    ],
)
def test_tables_of_scenarios_are_the_tools(
    tool: str, inputs: tuple[str, ...], num_tables: int, tmp_path: Path, shared_dir: Path
) -> None:
    """The tables come out of the public files byte for byte."""
    run_tool(tool, *(shared_dir / "data" / "workloads" / name for name in inputs), tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == num_tables
    assert all(path.read_bytes() == (TABLES / path.name).read_bytes() for path in made)


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.json")), ids=lambda path: path.stem)
def test_tables_say_where_they_come_from(path: Path) -> None:
    """Every shipped table names its unit, source, licence and the script that made it."""
    table = json.loads(path.read_text(encoding="utf-8"))
    assert all(table[field] for field in ("what", "unit", "source", "licence"))
    assert (ROOT / table["derived_by"]).is_file()


def test_turn_tables_are_the_tools(tmp_path: Path, shared_dir: Path) -> None:
    """The four tables of turns come out of the counted conversations byte for byte."""
    run_tool("derive_turn_tables.py", shared_dir / "data" / "workloads" / "sharegpt_turns_dev.csv.gz", tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == 4
    assert all(path.read_bytes() == (TABLES / path.name).read_bytes() for path in made)


def test_length_tables_are_the_tools(tmp_path: Path, shared_dir: Path) -> None:
    """Both length tables come out of the authors' trace byte for byte."""
    run_tool("derive_length_tables.py", shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz", tmp_path)
    for name in ("sharegpt_prompt.json", "sharegpt_output.json"):
        assert (tmp_path / name).read_bytes() == (TABLES / name).read_bytes()


def test_latency_points_are_the_tools(tmp_path: Path, shared_dir: Path) -> None:
    """The A10 points come out of the profile byte for byte."""
    profile = shared_dir / "data" / "glia_paper" / "a10_llama3_8b_mlp.csv.gz"
    run_tool("derive_a10_latency.py", profile, tmp_path / "a10.json")
    assert (tmp_path / "a10.json").read_bytes() == (ROOT / "glia_bench/sim/tables/a10_llama3_8b.json").read_bytes()
