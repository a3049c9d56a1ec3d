"""Calling users' code without being hurt by it.

A callback that raises reaches `on_error` and is counted; what it was given is not lost to others.
Three failures in a row stop that callback, never the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ifd_fast.logs import get_logger

__all__ = ["FAILURES_MAX", "ErrorHandler", "GuardedCallback", "report_error"]

T = TypeVar("T")
ErrorHandler: TypeAlias = Callable[[Exception, Any], object]

FAILURES_MAX: Final = 3  # in a row


class GuardedCallback(Generic[T]):
    """One callback of one argument, guarded.

    Attributes
    ----------
    calls, failures
        How often it was called, and how often it raised.
    stopped
        Whether it failed so often in a row that it is called no more.
    """

    def __init__(
        self,
        function: Callable[[T], object],
        find_handler: Callable[[], ErrorHandler | None] = lambda: None,
    ) -> None:
        """Guard `function`; exceptions go to whom `find_handler` returns then, else to the log."""
        self.function = function
        self.calls = 0
        self.failures = 0
        self._find_handler = find_handler
        self._in_a_row = 0

    @property
    def stopped(self) -> bool:
        """Whether it failed FAILURES_MAX times in a row and is called no more."""
        return self._in_a_row >= FAILURES_MAX

    def __call__(self, argument: T) -> bool:
        """Call the function unless it was stopped; return whether it did not raise."""
        if self.stopped:
            return True
        self.calls += 1
        try:
            self.function(argument)
        except Exception as error:  # noqa: BLE001  # whatever a user's code raises
            self.failures += 1
            self._in_a_row += 1
            self._report(error, argument)
            return False
        self._in_a_row = 0
        return True

    def _report(self, error: Exception, argument: T) -> None:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        report_error(error, argument, name, self._find_handler())
        if self.stopped:
            log = get_logger("ifd_fast.callbacks")
            log.error("callback stopped", callback=name, failures_in_a_row=self._in_a_row)


def report_error(
    error: Exception, argument: object, name: str, handler: ErrorHandler | None
) -> None:
    """Give an exception to its handler, to the log if there is none or it raises itself."""
    log = get_logger("ifd_fast.callbacks")
    if handler is None:
        log.error("callback failed", callback=name, error=repr(error))
        return
    try:
        handler(error, argument)
    except Exception as second:  # noqa: BLE001  # an error handler is a user's code too
        log.error("callback failed", callback=name, error=repr(error))  # noqa: TRY400
        log.error("error handler failed", callback=name, error=repr(second))  # noqa: TRY400
