"""The shipped tables are what the scripts in tools/ make of the public data: nothing was edited by hand."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_tool(name: str, *arguments: Path) -> None:
    """Run a script of tools/ as its docstring says."""
    subprocess.run([sys.executable, ROOT / "tools" / name, *arguments], check=True, timeout=120)


def test_gap_table_is_the_tools(tmp_path: Path) -> None:
    """The gap table comes out again; a knot may differ by one unit where a platform's exp rounds otherwise."""
    run_tool("derive_gap_table.py", tmp_path / "gaps.json")
    shipped = ROOT / "glia_bench" / "workloads" / "tables" / "lognormal_sigma2_gaps.json"
    again, before = (json.loads(path.read_text()) for path in (tmp_path / "gaps.json", shipped))
    for one, other in zip(again.pop("knots"), before.pop("knots"), strict=True):
        assert abs(one - other) <= 1
    assert again == before


def test_length_tables_are_the_tools(tmp_path: Path, shared_dir: Path) -> None:
    """Both length tables come out of the authors' trace byte for byte."""
    run_tool("derive_length_tables.py", shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz", tmp_path)
    for name in ("sharegpt_prompt.json", "sharegpt_output.json"):
        shipped = ROOT / "glia_bench" / "workloads" / "tables" / name
        assert (tmp_path / name).read_bytes() == shipped.read_bytes()


def test_latency_points_are_the_tools(tmp_path: Path, shared_dir: Path) -> None:
    """The A10 points come out of the profile byte for byte."""
    profile = shared_dir / "data" / "glia_paper" / "a10_llama3_8b_mlp.csv.gz"
    run_tool("derive_a10_latency.py", profile, tmp_path / "a10.json")
    assert (tmp_path / "a10.json").read_bytes() == (ROOT / "glia_bench/sim/tables/a10_llama3_8b.json").read_bytes()
