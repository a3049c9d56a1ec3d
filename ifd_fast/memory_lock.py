"""Keep a process's memory out of the swap: a page brought back costs milliseconds."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

from ifd_fast.errors import UsageError

__all__ = ["lock_memory"]

_CURRENT_AND_FUTURE: Final = 1 | 2  # of Linux's mlockall


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
    if allowed != resource.RLIM_INFINITY and os.geteuid() != 0:
        raise UsageError(
            f"Memory can't be locked: {allowed:,} bytes are allowed, and a session must not run "
            "into that. Use `ulimit -l unlimited`, or LimitMEMLOCK=infinity under systemd."
        )
    if ctypes.CDLL(None, use_errno=True).mlockall(_CURRENT_AND_FUTURE):
        reason = os.strerror(ctypes.get_errno())
        raise UsageError(f"Memory can't be locked: {reason}. Allow CAP_IPC_LOCK, or leave it out.")
