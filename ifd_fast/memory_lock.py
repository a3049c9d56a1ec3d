"""Keep a process's memory out of the swap: a page brought back costs milliseconds."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Final

from ifd_fast.errors import UsageError

__all__ = ["lock_memory", "may_lock"]

_CURRENT_AND_FUTURE: Final = 1 | 2  # of Linux's mlockall
_CAP_IPC_LOCK: Final = 14  # of Linux's capabilities
_STATUS: Final = Path("/proc/self/status")


def lock_memory() -> None:
    """Lock all memory of this process, and what it takes from now on.

    Raises
    ------
    UsageError
        The system can't, or allows too little: then a later allocation would fail in mid-session.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError(f"Memory can be locked on Linux only, not on {sys.platform}.")
    allowed, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if allowed != resource.RLIM_INFINITY and not may_lock(_STATUS.read_text()):
        raise UsageError(
            f"Memory can't be locked: {allowed:,} bytes are allowed, and a session must not run "
            "into that. Use `ulimit -l unlimited`, LimitMEMLOCK=infinity under systemd, or give "
            "it CAP_IPC_LOCK."
        )
    if ctypes.CDLL(None, use_errno=True).mlockall(_CURRENT_AND_FUTURE):
        reason = os.strerror(ctypes.get_errno())
        raise UsageError(f"Memory can't be locked: {reason}. Allow CAP_IPC_LOCK, or leave it out.")


def may_lock(status: str) -> bool:
    """Say whether a process may lock without limit, by the text of its /proc/PID/status.

    A user's number says nothing: root in a container often may not, and a service may.
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> _CAP_IPC_LOCK & 1)
    return False
