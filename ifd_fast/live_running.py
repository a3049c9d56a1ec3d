"""A live session run by a thread of its own, for programs that have something else to do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ifd_fast.errors import RequestError, UsageError
from ifd_fast.live_states import State

if TYPE_CHECKING:
    from ifd_fast.live_session import LiveSession

__all__ = ["LiveRunner"]

_WAIT_S: Final = 0.05


class LiveRunner:
    """Polls one session; callbacks of its rows run in the thread that polls."""

    def __init__(self, session: LiveSession) -> None:
        """Take a session that is connected to nothing yet."""
        self.session = session
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def connect(self) -> None:
        """Connect once; raise what the gateway says, or that nobody answers."""
        self.session.poll()
        if self.session.state is State.CONNECTING:
            reason = self.session.notes[-1]
            self.session.stop("not connected")
            raise RequestError(reason)

    def start(self) -> None:
        """Begin to poll in a thread."""
        if self._thread is not None:
            raise UsageError("The session was started already.")
        self._thread = threading.Thread(target=self._run, name="ifd-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end the session; may be called from a callback."""
        self._stopping.set()
        if self._thread is None:
            self.session.stop()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the session is over, `timeout_s` at most; raise what ended it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self.stop()
                self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self.session.state is not State.DOWN:
                self.session.poll(_WAIT_S)
            self.session.stop()
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear it
            self._error = error
