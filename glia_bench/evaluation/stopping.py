"""Ending a run early: the first Ctrl-C or SIGTERM starts no more trials, the second ends at once.

Before trials run, while the simulator is loaded or compiled, there is nothing to bring to an end, and the first is as
good as the second.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

GRACE_S = 6.0
"""How long trials that run may go on after a request to stop."""


class Stop:
    """Whether a run has been asked to end; `request` asks it to."""

    def __init__(self) -> None:
        self._requested_at: float | None = None
        self._is_gentle = False

    def request(self) -> None:
        """Ask that no more trials are started."""
        if self._requested_at is None:
            self._requested_at = time.monotonic()

    @property
    def is_requested(self) -> bool:
        """Whether no more trials are to be started."""
        return self._requested_at is not None

    @property
    def is_over(self) -> bool:
        """Whether trials that run have had their time too."""
        return self._requested_at is not None and time.monotonic() > self._requested_at + GRACE_S

    @contextlib.contextmanager
    def gently(self) -> Iterator[None]:
        """While trials run: let the first signal be a request."""
        self._is_gentle = True
        try:
            yield
        finally:
            self._is_gentle = False

    @contextlib.contextmanager
    def on_signals(self, say: Callable[[str], None]) -> Iterator[None]:
        """Listen to Ctrl-C and SIGTERM; in a thread other than the main one, which hears no signals, do nothing.

        Args:
            say: Told once what the first signal did.
        """

        def hear(number: int, frame: FrameType | None) -> None:
            if not self._is_gentle or self.is_requested:
                raise KeyboardInterrupt
            self.request()
            say(f"stopping: no more trials are started, those that run have {GRACE_S:g} s (again: at once)")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
