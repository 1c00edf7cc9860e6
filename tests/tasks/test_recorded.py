"""Tasks made from files of recorded requests: what is the file's, what the base task's, and how loads scale."""

from pathlib import Path

import numpy as np
import pytest

from glia_bench.errors import InvalidTraceError, UnknownTaskError
from glia_bench.tasks.catalog import find_task, get_task
from glia_bench.tasks.recorded import recorded_task
from glia_bench.workloads.traces import file_sha256

HEADER = "arrival_s,prompt_tokens,output_tokens"


def written(folder: Path, rows: str, header: str = HEADER) -> Path:
    """Write a request table and return its path."""
    path = folder / "trace.csv"
    path.write_text(f"{header}\n{rows}")
    return path


def test_requests_are_the_files_and_the_rest_is_the_bases(tmp_path: Path) -> None:
    """The id names base and file; time starts with the first request; only what is random differs between seeds."""
    path = written(tmp_path, "5,10,20\n7,30,40\n9,50,60\n")
    base = get_task("routing/paper-v0")
    task, recording = recorded_task(base, path)
    assert recording.sha256 == file_sha256(path)
    assert task.id == f"routing/paper-v0+trace:{recording.sha256[:12]}"
    assert (task.objective, task.cluster, task.expert, task.published) == (
        base.objective,
        base.cluster,
        base.expert,
        None,
    )
    assert task.reference_rate_rps == 0.5
    first, second = task.case(1.0, 0), task.case(1.0, 1)
    assert first.trace.arrival_ps.tolist() == [0, 2 * 10**12, 4 * 10**12]
    assert first.trace.output_tokens.tolist() == [20, 40, 60]
    assert (first.trace.prompt_tokens + first.trace.max_tokens).tolist() == [base.cluster.max_request_tokens] * 3
    assert first.trace.sha256 == second.trace.sha256
    assert (first.policy_seed, first.clock_offset_ps) != (second.policy_seed, second.clock_offset_ps)


@pytest.mark.parametrize("load", [0.01, 0.5, 0.9, 3.0])
def test_a_load_scales_the_time_between_arrivals(tmp_path: Path, load: float) -> None:
    """Times are divided by the load; lengths stay. Rates are whole requests per 1,000,000 s, 19,800 of them at 0.01."""
    generator = np.random.default_rng(8)
    times = np.cumsum(generator.integers(1, 10**6, 500)) / 1e6
    task, recording = recorded_task(
        get_task("routing/paper-v0"), written(tmp_path, "".join(f"{t:.6f},10,20\n" for t in times))
    )
    scaled = task.case(load, 0).trace
    own_s = (recording.trace.arrival_ps - recording.trace.arrival_ps[0]) / 1e12
    assert scaled.arrival_ps / 1e12 * load == pytest.approx(own_s, rel=1 / 19_800, abs=1e-9)
    assert np.array_equal(scaled.prompt_tokens, recording.trace.prompt_tokens)


def test_think_times_do_not_scale(tmp_path: Path) -> None:
    """At half the load sessions start half as often, and their people think as long as before."""
    header = f"{HEADER},session,turn,think_s"
    path = written(tmp_path, "0,10,5,3,0,0\n1,10,5,-1,0,0\n2,10,5,8,0,0\n2.5,30,5,8,1,0.5\n4,40,5,3,1,4\n", header)
    task, _ = recorded_task(get_task("routing/sessions-v0"), path)
    trace = task.case(0.5, 0).trace
    assert (trace.arrival_ps / 1e12).tolist() == [0, 2, 4, 4, 4.5]
    assert trace.think_ps is not None
    assert (trace.think_ps / 1e12).tolist() == [0, 0, 0, 4, 0.5]


def test_tenants_of_the_file_are_tenants_of_the_cluster(tmp_path: Path) -> None:
    """A cluster of one tenant serves as many as the file names."""
    task, _ = recorded_task(get_task("routing/paper-v0"), written(tmp_path, "0,1,1,0\n1,2,2,6\n", f"{HEADER},tenant"))
    assert task.cluster.num_tenants == 7
    assert task.case(1.0, 0).trace.tenant.tolist() == [0, 6]  # type: ignore[union-attr]


def test_prefixes_are_read_where_the_cluster_has_a_cache(tmp_path: Path) -> None:
    """Elsewhere nothing could use them, and that they are not replayed is said."""
    path = written(tmp_path, '0,600,1,"4 5"\n1,600,1,"4 6"\n', f"{HEADER},hash_ids")
    task, _ = recorded_task(get_task("routing/sessions-v0"), path)
    assert task.case(1.0, 0).trace.block_ids is not None
    task, recording = recorded_task(get_task("routing/paper-v0"), path)
    assert (task.case(1.0, 0).trace.block_ids, recording.unused) == (None, ("hash_ids",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,1,1\n", "must be between 0.001 and 1,000,000 requests/s .*1 requests within 0 s"),
        ("3,1,1\n3,1,1\n", "2 requests within 0 s"),
        ("0,1,1\n5000,1,1\n", "2 requests within 5000 s"),
        (
            "0,30000,1\n1,30000,9000\n2,40000,1\n",
            "2 of 3 requests .*35,488 tokens .*row 2, 30,000 .*--task.*--skip-unfit",
        ),
    ],
)
def test_what_cannot_run_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    """No rate, or more than a replica can hold: one line, with the way out."""
    with pytest.raises(InvalidTraceError, match=message):
        recorded_task(get_task("routing/paper-v0"), written(tmp_path, rows))


def test_what_does_not_fit_may_be_left_out(tmp_path: Path) -> None:
    """With skip_unfit the rest runs, and what is left out is counted."""
    path = written(tmp_path, "0,30000,1\n1,30000,9000\n2,40,1\n3,40,0\n")
    task, recording = recorded_task(get_task("routing/paper-v0"), path, skip_unfit=True)
    assert recording.left_out == {"without tokens": 1, "too long": 1}
    assert task.case(1.0, 0).trace.prompt_tokens.tolist() == [30_000, 40]


def test_a_load_too_light_for_the_clock_is_refused(tmp_path: Path) -> None:
    """A month at a hundredth of its rate would outlast the simulator's clock."""
    rows = "".join(f"{86400 * day},1,1\n{86400 * day},1,1\n" * 99 for day in range(30))
    task, _ = recorded_task(get_task("routing/paper-v0"), written(tmp_path, rows))
    with pytest.raises(InvalidTraceError, match=r"would last 247,428,000 s, more than the 4,611,686 s .*--loads"):
        task.case(0.01, 0)


def test_without_the_file_a_task_is_known_but_has_no_workload() -> None:
    """By its id alone a report can describe it; whoever wants to run it is told what is missing."""
    task_id = "scheduling/chat-v0+trace:0123456789ab"
    task = find_task(task_id)
    assert task is not None
    assert (task.id, task.expert) == (task_id, get_task("scheduling/chat-v0").expert)
    with pytest.raises(InvalidTraceError, match="pass --task scheduling/chat-v0 --trace FILE"):
        task.case(1.0, 0)
    with pytest.raises(UnknownTaskError, match="pass --task scheduling/chat-v0 --trace FILE"):
        get_task(task_id)
    assert find_task("scheduling/absent-v0+trace:0123456789ab") is None
