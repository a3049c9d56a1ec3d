"""Calling users' code without being hurt by it.

A callback that raises reaches `on_error` and is counted; what it was given is not lost to others.
Three failures in a row stop that callback, never the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ifd_fast.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAILURES_MAX", "GuardedCallback"]

T = TypeVar("T")

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
        on_error: Callable[[Exception, T], object] | None = None,
    ) -> None:
        """Guard `function`; its exceptions go to `on_error` with the argument, or to the log."""
        self.function = function
        self.on_error = on_error
        self.calls = 0
        self.failures = 0
        self._in_a_row = 0

    @property
    def stopped(self) -> bool:
        """Whether it failed FAILURES_MAX times in a row and is called no more."""
        return self._in_a_row >= FAILURES_MAX

    def __call__(self, argument: T) -> None:
        """Call the function unless it was stopped."""
        if self.stopped:
            return
        self.calls += 1
        try:
            self.function(argument)
        except Exception as error:  # noqa: BLE001  # whatever a user's code raises
            self.failures += 1
            self._in_a_row += 1
            self._report(error, argument)
        else:
            self._in_a_row = 0

    def _report(self, error: Exception, argument: T) -> None:
        log = get_logger("ifd_fast.callbacks")
        name = getattr(self.function, "__qualname__", repr(self.function))
        if self.on_error is None:
            log.error("callback failed", callback=name, error=repr(error), failures=self.failures)
        else:
            try:
                self.on_error(error, argument)
            except Exception as second:  # noqa: BLE001  # an error handler is a user's code too
                log.error("error handler failed", callback=name, error=repr(second))  # noqa: TRY400
        if self.stopped:
            log.error("callback stopped", callback=name, failures_in_a_row=self._in_a_row)
