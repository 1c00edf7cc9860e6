"""Trials on many machines, by the workers of a Dask cluster; the client's side.

Trials go out as plain JSON in slices of one owner and come back as records, tables and logs (`dask_task`); slices get
smaller towards the end, so that all workers end at about the same time. A worker that is lost, whatever the reason,
costs the time of the slice that it was at: its trials are sent again, one by one. Every worker must have the very same
Glia-Bench installed. Starting workers on other machines is not done here.
"""

import asyncio
import contextlib
import logging
import queue
import time
import traceback
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.build import describe_build, difference
from glia_bench.evaluation.dask_task import run_slice
from glia_bench.evaluation.resume import FILE_FIELDS, files_named
from glia_bench.evaluation.runner import (
    MAX_ATTEMPTS,
    POLL_S,
    Limits,
    Refusal,
    Settled,
    Watcher,
    by_owner,
    owner_of,
    skip_others,
)
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial, trial_record
from glia_bench.scoring.record import write_atomically

CONNECT_S = 8.0
"""Longest wait for an answer of the scheduler."""
FIRST_WORKER_S = 30.0
NO_WORKERS_S = 120.0
"""Longest that a run waits while all workers are gone."""
MIN_SLICE, MAX_SLICE = 8, 64
"""Trials in a slice: few, so that workers end together; not too few, since each slice starts a process."""


def require_dask() -> None:
    """Check that the extra is installed.

    Raises:
        GliaBenchError: If it is not.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise GliaBenchError(
            f"--executor dask needs the extra 'dask' ({error}); install it: pip install 'glia-bench[dask]'"
        ) from None


def settle_on_dask(
    trials: Sequence[Trial],
    limits: Limits,
    *,
    scheduler: str | None,
    log_folder: Path,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
) -> Generator[Settled, None, None]:
    """Run trials as `runner.settle_trials` does, on a cluster; tables and logs are written on this machine.

    Args:
        trials: What to run.
        limits: How; without a scheduler `jobs` is the number of worker processes.
        scheduler: Address of a Dask scheduler; None starts a cluster on this machine for the time of the run.
        log_folder: Where to keep what designs print.
        watcher: Told what is sent out and what came of it.
        stop: Once it is requested no slice is sent out.

    Raises:
        EvaluationFailure: If there is no scheduler or no worker, or a worker has another simulator.
    """
    if not trials:
        return
    with _connected(scheduler, limits.jobs) as client:
        _check_workers(client)
        watch = watcher or (lambda trial, outcome: None)
        with contextlib.closing(_Farm(client, trials, limits, log_folder, stop or Stop()).run(watch)) as run:
            for settled in run:
                watch(None, settled[1])
                yield settled


@contextlib.contextmanager
def _connected(scheduler: str | None, jobs: int) -> Iterator[Any]:
    """Yield a client of the scheduler, or of a cluster of this run's own."""
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    with contextlib.ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        try:
            address: Any = scheduler
            if scheduler is not None:
                asyncio.run(_ask(scheduler))
            else:
                address = stack.enter_context(
                    LocalCluster(
                        n_workers=jobs,
                        threads_per_worker=1,
                        memory_limit=0,  # designs have limits of their own
                        dashboard_address=None,
                        preload=[run_slice.__module__],  # for its `dask_setup`
                        silence_logs=logging.CRITICAL,
                        security=True,  # other users of this machine may not send it code
                    )
                )
            client = stack.enter_context(Client(address, timeout=CONNECT_S, set_as_default=False))
            client.wait_for_workers(1, timeout=FIRST_WORKER_S)
        except Exception as error:  # whatever else may listen at that address, and answer
            raise EvaluationFailure(
                f"the Dask scheduler {scheduler or 'on this machine'} must answer and have workers "
                f"({_first_line(error)}); check the address, and that `dask worker` runs with it"
            ) from None
        yield client


async def _ask(scheduler: str) -> None:
    """Connect to a scheduler once: a client that could not connect would wait for itself at its end."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(scheduler, timeout=CONNECT_S, **arguments), timeout=CONNECT_S + 1)
    await comm.close()


def _check_workers(client: Any) -> None:
    """Check that what simulates is the same everywhere."""
    ours = describe_build()
    for worker, theirs in client.run(describe_build, on_error="return").items():
        is_build = isinstance(theirs, Mapping)
        if wrong := difference(ours, theirs) if is_build else _first_line(theirs):
            raise _refused(worker, wrong)


def _refused(worker: str, wrong: str) -> EvaluationFailure:
    return EvaluationFailure(
        f"Dask worker {worker} must have the Glia-Bench of this machine ({wrong}); install the same there, or stop it"
    )


class _Farm:
    """Slices that are out, and the trials that wait."""

    def __init__(self, client: Any, trials: Sequence[Trial], limits: Limits, log_folder: Path, stop: Stop) -> None:
        self.client = client
        self.pending = deque(by_owner(trials))
        self.limits = {"timeout_s": limits.timeout_s, "memory_bytes": limits.memory_bytes}
        self.log_folder = log_folder
        self.stop = stop
        self.build = describe_build()
        self.out: dict[Any, list[Trial]] = {}
        self.done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.attempts: Counter[Trial] = Counter()
        self.refused: set[str] = set()
        self.workers_seen = time.monotonic()

    def run(self, watch: Watcher) -> Generator[Settled, None, None]:
        """Send out slices and take what comes back, until all is settled or a stop is over."""
        try:
            while self.out or (self.pending and not self.stop.is_requested):
                if self.stop.is_over:
                    return
                if not self.stop.is_requested:
                    self._send(watch)
                with contextlib.suppress(queue.Empty):
                    yield from self._take(self.done.get(timeout=POLL_S))
        finally:
            if self.client.status == "running":
                self.client.cancel(list(self.out), force=True)

    def _send(self, watch: Watcher) -> None:
        """Send out as many slices as there are threads to run them."""
        num_slots = self._num_slots()
        while self.pending and len(self.out) < num_slots:
            part = self._next_slice(num_slots)
            inputs = {path: Path(path).read_bytes() for path in {p for trial in part for p in _files_read(trial)}}
            fields = [trial.to_json() for trial in part]
            future = self.client.submit(run_slice, fields, self.limits, self.build, inputs, pure=False)
            self.out[future] = part
            future.add_done_callback(self.done.put)
            for trial in part:
                watch(trial, None)

    def _num_slots(self) -> int:
        """Return the threads of all workers.

        Raises:
            EvaluationFailure: If the scheduler is gone, or has been without workers for long.
        """
        try:
            num_slots: int = sum(self.client.nthreads().values())
        except (OSError, RuntimeError, ValueError) as error:
            raise EvaluationFailure(f"the Dask scheduler is gone ({_first_line(error)})") from None
        if num_slots:
            self.workers_seen = time.monotonic()
        elif time.monotonic() > self.workers_seen + NO_WORKERS_S:
            raise EvaluationFailure(f"the Dask scheduler has had no workers for {NO_WORKERS_S:g} s")
        return num_slots

    def _next_slice(self, num_slots: int) -> list[Trial]:
        """Take trials of one owner from those that wait; one that was lost before goes alone."""
        first = self.pending.popleft()
        part = [first]
        num_left = len(self.pending) + 1
        share, even = -(-num_left // (2 * num_slots)), -(-num_left // num_slots)
        size = 1 if self.attempts[first] else min(max(share, min(MIN_SLICE, even)), MAX_SLICE)
        while self.pending and len(part) < size and not self.attempts[self.pending[0]]:
            if owner_of(self.pending[0].design) != owner_of(first.design):
                break
            part.append(self.pending.popleft())
        return part

    def _take(self, future: Any) -> Generator[Settled, None, None]:
        """Take a slice's answer; what it did not settle waits again."""
        part = self.out.pop(future)
        try:
            answer = future.result(timeout=CONNECT_S)
        except Exception as error:
            if self.client.status != "running":
                raise EvaluationFailure(f"the Dask scheduler is gone ({_first_line(error)})") from None
            yield from self._lose(part, error)
            return
        if answer["refused"]:
            raise _refused("of this run", answer["refused"])
        self._keep_logs(answer["logs"])
        settled = {index: said for index, said in answer["settled"]}
        # waits again before anything is settled, so that what ends a whole design reaches it
        self.pending.extendleft(part[index] for index in reversed(range(len(part))) if index not in settled)
        for index, said in settled.items():
            yield from self._settle(part[index], said, answer["files"])

    def _settle(
        self, trial: Trial, said: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> Generator[Settled, None, None]:
        if "refusal" in said:
            name = trial.design.name
            if name not in self.refused:
                yield trial, Refusal(policy=name, message=said["refusal"])
            self.refused.add(name)
            self.pending = deque(other for other in self.pending if other.design.name != name)
            return
        record = said["record"]
        if trial.folder is not None:
            try:
                for name in files_named(record):
                    write_atomically(Path(trial.folder) / name, files[name])
            except OSError as error:
                raise EvaluationFailure(f"{trial.folder} cannot be written ({error.strerror})") from error
        yield trial, record
        if record["status"] == "timeout":
            yield from skip_others(self.pending, trial.design)

    def _lose(self, part: Sequence[Trial], error: Exception) -> Generator[Settled, None, None]:
        """Let the trials of a slice that brought no answer wait again, or give them up as failed on our side."""
        for trial in reversed(part):
            self.attempts[trial] += 1
            if self.attempts[trial] <= MAX_ATTEMPTS:
                self.pending.appendleft(trial)
            else:
                message = "".join(traceback.format_exception_only(error))
                yield trial, trial_record(trial, status="infra_error", message=message)

    def _keep_logs(self, logs: Mapping[str, bytes]) -> None:
        for name, content in logs.items():
            self.log_folder.mkdir(parents=True, exist_ok=True)
            with (self.log_folder / Path(name).name).open("ab") as log:
                log.write(content)


def _files_read(trial: Trial) -> list[str]:
    return [path for name in FILE_FIELDS if (path := getattr(trial, name)) is not None]


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
