"""Another processor: without fused multiply-add and wide registers, in NumPy as in compiled code, nothing changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core import _multiarray_umath

from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits

TASKS = ("routing/paper-v0", "scheduling/chat-v0")
LOAD = 0.02

IN_ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
from numba.core.registry import cpu_target
from numpy._core import _multiarray_umath
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits
tasks, load, folder = json.loads(sys.argv[1])
plan = make_plan(task_ids=tasks, loads=[load], num_seeds=1)
record = run_plan(plan, Limits(), folder=Path(folder)).record
features = _multiarray_umath.__cpu_features__
left = [name for name in _multiarray_umath.__cpu_dispatch__ if features[name]]
cpu = cpu_target.target_context.codegen().magic_tuple()
print(json.dumps({"results_id": record["results_id"], "features": left, "cpu": cpu[1]}))
"""


@pytest.mark.slow
def test_without_fused_multiply_add_and_wide_registers(tmp_path: Path) -> None:
    """NumPy with all optional instruction sets off and Numba for the plainest processor give the same results_id."""
    record = run_plan(make_plan(task_ids=TASKS, loads=[LOAD], num_seeds=1), Limits(), folder=tmp_path / "here").record
    assert record is not None
    features: dict[str, bool] = _multiarray_umath.__cpu_features__
    optional = [name for name in _multiarray_umath.__cpu_dispatch__ if features[name]]
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, json.dumps([TASKS, LOAD, str(tmp_path / "there")])],
        env=os.environ
        | {
            "NPY_DISABLE_CPU_FEATURES": " ".join(optional),
            "NUMBA_CPU_NAME": "generic",
            "NUMBA_CPU_FEATURES": "",
            "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["features"], found["cpu"]) == ([], "generic")
    assert found["results_id"] == record["results_id"]
