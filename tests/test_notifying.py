"""What systemd is told: states, and signs of life at half the time it waits for one."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from ifd_fast.config import find_watchdog_s
from ifd_fast.notifying import Watchdog, notify_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.border


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Yield the socket on which systemd would hear this process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield one


def count(heard: socket.socket) -> int:
    """Return how many signs of life have come."""
    heard.setblocking(False)
    found = 0
    while True:
        try:
            found += heard.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            return found


def test_each_state_is_a_status_and_live_means_ready(heard: socket.socket) -> None:
    """Nobody waits for whoever hears it, nor for nobody."""
    notify_state("replaying")
    assert heard.recv(100) == b"STATUS=replaying"
    notify_state("live")
    assert heard.recv(100) == b"STATUS=live\nREADY=1"
    heard.close()
    notify_state("down")


def test_life_is_told_at_half_the_time(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the loop goes round; a loop that stops tells nothing."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    watchdog = Watchdog()
    for tenth in range(50):
        watchdog.beat(tenth / 10)
    assert count(heard) == 5
    watchdog.beat(30.0)
    assert count(heard) == 1


@pytest.mark.parametrize(
    ("wanted", "whose", "expected_s"),
    [("", "", 0.0), ("5000000", "", 5.0), ("5000000", "1", 0.0), ("soon", "", 0.0)],
)
def test_who_is_waited_for(
    wanted: str,
    whose: str,
    expected_s: float,
    heard: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is meant for another process, or says nothing, is not for this one."""
    environ = {"WATCHDOG_USEC": wanted, "WATCHDOG_PID": whose}
    assert find_watchdog_s(environ) == expected_s
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    Watchdog().beat(1.0)
    assert count(heard) == (expected_s > 0)
