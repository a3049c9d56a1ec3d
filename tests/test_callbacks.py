"""Users' code that raises: reported, counted, stopped after three in a row, never fatal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from ifd_fast.callbacks import FAILURES_MAX, GuardedCallback

KEY = "db-" + "Q7" * 14 + "z"


@pytest.fixture(autouse=True)
def no_logging() -> Iterator[None]:
    """Start as in a program that set up no logging."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def failing_on(bad: set[int]) -> Any:
    """Return a function that raises for some arguments."""

    def function(argument: int) -> None:
        if argument in bad:
            raise ValueError(f"bad {argument}")

    return function


def test_what_raises_reaches_the_handler() -> None:
    """The handler gets the exception and what it was raised for; the others pass."""
    seen: list[tuple[str, int]] = []
    guard = GuardedCallback(
        failing_on({2}), lambda: lambda error, argument: seen.append((str(error), argument))
    )
    assert [guard(number) for number in (1, 2, 3)] == [True, False, True]
    assert seen == [("bad 2", 2)]
    assert (guard.calls, guard.failures, guard.stopped) == (3, 1, False)


def test_three_in_a_row_stop_it() -> None:
    """The third failure in a row is the last call; a success in between starts anew."""
    guard = GuardedCallback(failing_on({1, 2, 4, 5, 6}), lambda: lambda *_: None)
    for number in range(1, 10):
        guard(number)
    assert guard.stopped
    assert (guard.calls, guard.failures) == (6, 5)
    assert FAILURES_MAX == 3


def test_a_handler_that_raises_hurts_nobody() -> None:
    """An error handler is a user's code as well."""

    def handler(error: Exception, argument: object) -> None:
        raise RuntimeError from error

    guard = GuardedCallback(failing_on({1}), lambda: handler)
    assert not guard(1)
    assert guard.failures == 1


def test_without_a_handler_it_is_logged_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody asked for logging: the failure goes to stderr, the key in it nowhere."""

    def leaky(argument: int) -> None:
        raise ValueError(f"{KEY} {argument}")

    guard = GuardedCallback(leaky)
    for number in range(4):
        guard(number)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("callback failed") == 3
    assert shown.err.count("callback stopped") == 1
    assert KEY not in shown.err
    assert "leaky" in shown.err


def test_an_interrupt_is_no_failure() -> None:
    """What stops the process is not held back."""

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    guard = GuardedCallback(interrupted)
    with pytest.raises(KeyboardInterrupt):
        guard(1)
    assert guard.failures == 0
