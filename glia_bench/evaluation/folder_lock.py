"""One run at a time in a results folder: an advisory lock on a file that names the process which holds it.

The system drops the lock when that process ends, however it ends, so a file left behind by a killed run locks nothing.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from glia_bench.errors import GliaBenchError

LOCK_FILE = ".lock"
POLL_S = 0.1


class FolderInUse(GliaBenchError):
    """Another run holds the folder."""


@contextlib.contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Hold a folder as `locked` does, once whoever holds it now is done.

    Raises:
        GliaBenchError: If nothing can be written there.
    """
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(folder))
                break
            except FolderInUse:
                time.sleep(POLL_S)
        yield


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder if needed and hold it for this process.

    Raises:
        GliaBenchError: If another run holds it, or nothing can be written there.
    """
    path = folder / LOCK_FILE
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # still locked: whoever waits for this file sees that it is gone and makes a new one
            folder.rmdir()  # only if nothing was written
        os.close(descriptor)


def _acquire(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(path, descriptor):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, str(os.getpid()).encode())
                    return descriptor
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
                os.close(descriptor)
                raise FolderInUse(
                    f"results folder {path.parent} must have one run at a time (process {holder} runs into it); wait "
                    f"for that, or give another --out"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder removed it between our opening and locking it
    except OSError as error:
        raise GliaBenchError(
            f"results folder {path.parent} cannot be written ({error.strerror}); give another --out"
        ) from None


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether the open file is the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
