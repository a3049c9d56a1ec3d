"""Telling people, each by a thread of its own: whoever is slow or stuck holds nobody up."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["WAITING_MAX", "Teller", "write_stdout"]

T = TypeVar("T")

WAITING_MAX: Final = 10_000
_STDOUT: Final = 1


class Teller(Generic[T]):
    """Hands things to one function, in order, from its own thread.

    At most WAITING_MAX wait for it; what comes then is dropped and counted. A function that
    raises OSError is gone, as a terminal that was closed: it is told nothing more.

    Attributes
    ----------
    dropped
        What it was not told.
    position
        The last mark that everything before is told of, or dropped.
    """

    def __init__(self, tell: Callable[[T], object], on_mark: Callable[[], object]) -> None:
        """Begin with nothing to tell; `on_mark` is called after `position` has moved."""
        self.dropped = 0
        self.position = 0
        self._tell = tell
        self._on_mark = on_mark
        self._waiting: deque[tuple[T | None, int]] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._gone = False
        self._thread = threading.Thread(target=self._run, name="ifd-teller", daemon=True)
        self._thread.start()

    def put(self, one: T) -> None:
        """Have it told; never waits."""
        with self._changed:
            if self._gone or len(self._waiting) >= WAITING_MAX:
                self.dropped += 1
                return
            self._waiting.append((one, 0))
            self._changed.notify()

    def mark(self, position: int) -> None:
        """Say where what was put so far ends."""
        with self._changed:
            if self._waiting and self._waiting[-1][0] is None:
                self._waiting.pop()
            self._waiting.append((None, position))
            self._changed.notify()

    def finish(self, timeout_s: float) -> bool:
        """Wait until all is told; say whether it is. One that is stuck stays so until the end."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            left = sum(one is not None for one, _ in self._waiting)
            self.dropped += left
            self._waiting.clear()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ends:
                    self._changed.wait()
                if not self._waiting:
                    return
                one, position = self._waiting.popleft()
            if one is None:
                self.position = position
                self._on_mark()
            else:
                self._hand(one)

    def _hand(self, one: T) -> None:
        if not self._gone:
            try:
                self._tell(one)
            except OSError:
                self._gone = True
        if self._gone:
            self.dropped += 1


def write_stdout(line: str) -> None:
    """Write a line at once; what Python would hold back for later could be stuck at the end."""
    left = memoryview(f"{line}\n".encode(errors="backslashreplace"))
    while left:
        left = left[os.write(_STDOUT, left) :]
