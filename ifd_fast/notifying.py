"""Telling systemd how a service is, without ever waiting for it."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from ifd_fast.config import find_notify_socket, find_watchdog_s

__all__ = ["Watchdog", "notify_state"]

_SHARE: Final = 0.5  # of the time systemd waits, between two signs of life


def notify_state(state: str) -> None:
    """Tell systemd that a session's state begins, if it asked to be told; live means ready."""
    _tell(f"STATUS={state}" + ("\nREADY=1" if state == "live" else ""))


class Watchdog:
    """Tells systemd that the loop that calls `beat` goes round, as often as it asked for."""

    def __init__(self) -> None:
        """Learn from the environment how often that is, if at all."""
        self._every_s = _SHARE * find_watchdog_s()
        self._told_s = float("-inf")

    def beat(self, now_s: float) -> None:
        """Say so if it is time; `now_s` of the monotonic clock."""
        if self._every_s and now_s - self._told_s >= self._every_s:
            self._told_s = now_s
            _tell("WATCHDOG=1")


def _tell(text: str) -> None:
    path = find_notify_socket()
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto(text.encode(), address)
