"""The shipped tables are what the scripts in tools/ make of the public data: nothing was edited by hand."""

import json
import subprocess
import sys
from pathlib import Path

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
