"""Telling systemd how a service is, without ever waiting for it."""

from __future__ import annotations

import contextlib
import socket

from ifd_fast.config import find_notify_socket

__all__ = ["notify_state"]


def notify_state(state: str) -> None:
    """Tell systemd that a session's state begins, if it asked to be told; live means ready."""
    path = find_notify_socket()
    if not path:
        return
    text = f"STATUS={state}" + ("\nREADY=1" if state == "live" else "")
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto(text.encode(), address)
