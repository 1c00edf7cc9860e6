"""An evaluator process, both ends: the child that runs trials, and the parent's handle that bounds and kills it.

A compiled endless loop cannot be interrupted from inside, so a design from a file runs in a child in its own session
that the parent can kill, with limits on memory and file size. The two talk in JSON over a socket pair; what a design
prints goes to a capped log and is never a result. The child is started by exec, not forked, and does not import the
caller's main module: it can be started from a script, a notebook or a test alike. Its environment is a short list of
variables with string hashing fixed, so that a design that walks a set does the same in every process.

This bounds accidents. It is no sandbox: files and network are open to the design.
"""

import contextlib
import faulthandler
import io
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from glia_bench.errors import EvaluationFailure, InvalidPolicyError
from glia_bench.evaluation.trial import Trial, needs_full_engine, run_trial, trial_record, warm_up

START_LIMIT_S = 300.0
"""Longest that a process may take to load the simulator: compiling it, cold and on a slow machine, included."""
MEMORY_LIMIT_BYTES = 4 << 30
"""Address space that a design may use beside what the evaluator itself has mapped."""
LOG_LIMIT_BYTES = 64 << 10
FILE_LIMIT_BYTES = 256 << 20
REPLY_LIMIT_BYTES = 16 << 20

Message: TypeAlias = dict[str, Any]

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME")
_KEPT_PREFIXES = ("LC_", "NUMBA_", "PYTHON", "COVERAGE_")
_FIXED_VARIABLES = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Worker:
    """The parent's handle of one child.

    Attributes:
        owner: Whose trials it runs: a design from a file never shares a process with another design.
        trial: What it is running, or will run once it is ready; None when idle.
        deadline: On `time.monotonic`'s clock: when it must have answered; infinite when idle.
        connection: The parent's end of the pair; readable when there is an answer or the child is gone.
    """

    def __init__(self, owner: str, trial: Trial, *, log: Path, memory_limit_bytes: int, timeout_s: float) -> None:
        self.owner = owner
        self.trial: Trial | None = trial
        self.log = log
        self.is_ready = False
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + START_LIMIT_S
        self.connection, child_end = Pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr, child_end:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "glia_bench.evaluation.worker"),
                    *(str(child_end.fileno()), str(memory_limit_bytes), str(log)),
                    "full" if needs_full_engine(trial) else "plain",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[child_end.fileno()],
                env=child_environment(),
                start_new_session=True,
            )

    def assign(self, trial: Trial) -> None:
        """Give an idle, ready child its next trial."""
        assert self.is_ready
        assert self.trial is None
        self.trial = trial
        self._send()

    def _send(self) -> None:
        assert self.trial is not None
        self.deadline = time.monotonic() + self.timeout_s
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died; `receive` will say so
            self.connection.send_bytes(json.dumps(self.trial.to_json()).encode())

    def receive(self) -> Message | None:
        """Return what the child answered, or None if it said nothing that matters yet.

        Returns:
            "record" with the trial's record; "invalid" with a message; "died" with how it ended, also when it sent
            something that is no answer.

        Raises:
            EvaluationFailure: If it ended before it was ready to run anything.
        """
        try:
            if not self.connection.poll():
                return None if self.process.poll() is None else self._died()
            reply: Message = json.loads(self.connection.recv_bytes(REPLY_LIMIT_BYTES))
            kind = reply["kind"]
        except (EOFError, OSError):
            return self._died()
        except (ValueError, KeyError, TypeError):
            return {"kind": "died", "message": "wrote to the evaluator's own channel"}
        if kind == "ready":
            self.is_ready = True
            self._send()
            return None
        self.trial = None
        self.deadline = float("inf")
        return reply

    def _died(self) -> Message:
        try:
            status = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return {"kind": "died", "message": "closed the evaluator's own channel"}
        how = _describe_exit(status)
        if not self.is_ready:
            raise EvaluationFailure(f"an evaluator process must start (it {how} while loading); see {self.log}")
        return {"kind": "died", "message": f"its process {how} during the run"}

    def stop(self) -> None:
        """Kill the child and everything in its session, and reap it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.connection.close()


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {-status} ({name})"


def child_environment() -> dict[str, str]:
    """Return the environment that a child gets: a short list of variables, and string hashing fixed."""
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, **_FIXED_VARIABLES}


# The child's side


class _CappedLog(io.TextIOBase):
    """What a design prints: kept up to a limit, then dropped in silence."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file = path.open("ab", buffering=0)
        self._left = limit_bytes

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._left > 0:
            data = text.encode(errors="replace")[: self._left]
            self._left -= len(data)
            if not self._left:
                data += f"\n[cut at {LOG_LIMIT_BYTES} bytes]\n".encode()
            self._file.write(data)
        return len(text)


def _die_with_parent() -> None:
    """Ask the kernel, where it can, to kill this process when the parent is gone."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _limit(memory_limit_bytes: int) -> None:
    """Bound file size, core dumps and, on Linux, address space beyond what is mapped now."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = mapped + memory_limit_bytes
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(trial: Trial) -> Message:
    try:
        return {"kind": "record", "record": run_trial(trial)}
    except InvalidPolicyError as error:
        return {"kind": "invalid", "message": str(error)}
    except BaseException as error:  # SystemExit and the like, raised by the design to get out
        message = f"policy {trial.design.name!r} raised {type(error).__name__} instead of answering"
        return {"kind": "record", "record": trial_record(trial, status="policy_error", message=message)}


def main(arguments: list[str]) -> None:
    """Serve trials over an inherited socket until the parent closes it.

    Args:
        arguments: File descriptor of the socket, memory limit in bytes, path of the log, and "full" if the full engine
            is to be loaded too.
    """
    descriptor, memory_limit_bytes, log = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(file=sys.__stderr__ or sys.stderr)
    warm_up("compiled", "python", full=arguments[3] == "full")

    sys.stdout = sys.stderr = _CappedLog(log, LOG_LIMIT_BYTES)
    _limit(memory_limit_bytes)
    connection.send_bytes(b'{"kind": "ready"}')
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(json.dumps(_answer(Trial.from_json(json.loads(request)))).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
