"""Checks of the machine: Python and packages, CPU, compiled cache, disk, clock."""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import platform
import re
import shutil
import ssl
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ifd_fast.checkup import Check, run_check
from ifd_fast.historical import check_gateway

if TYPE_CHECKING:
    from ifd_fast.profiles import Profile

__all__ = ["check_clock", "check_machine"]

PYTHON_LEAST: Final = (3, 11)
CORES_LEAST: Final = 2  # live, an engine and a keeper
FREE_GB_FAILED: Final = 1.0
FREE_GB_WARNING: Final = 20.0  # about a day of options' records, compressed, and its copies
SYNC_MS_WARNING: Final = 50.0  # the record is synced in groups of at most 250 ms
OFFSET_S_WARNING: Final = 2.0  # live ticks are journaled 2 s behind the clock
OFFSET_S_FAILED: Final = 60.0
_SYNCS: Final = 5
_BLOCK: Final = bytes(4096)
_REQUIREMENT: Final = re.compile(r"([\w.-]+)\s*([^;\[\]]*)(?:;(.*))?$")
_BOUND: Final = re.compile(r"(>=|<)\s*([0-9.]+)")
_FAST: Final = ("avx512f", "avx2", "sve", "neon")  # what the kernels' loops gain most from


def check_machine(folder: Path) -> list[Check]:
    """Return the checks that need no settings but the folder that runs write to."""
    return [
        *run_check("python", _check_python),
        *run_check("packages", _check_packages),
        *run_check("cpu", _check_cpu),
        *run_check("compiled kernels", _check_cache),
        *run_check("disk", lambda: _check_disk(folder)),
    ]


def check_clock(profile: Profile, *, offline: bool) -> Check:
    """Compare the clock with the Date header of the gateway, which says whole seconds."""
    if offline:
        return Check("clock", "skipped", "not compared: --offline")
    try:
        offset_s, wait_s = _offset_s(profile)
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        text = f"no time from {profile.databento_gateway} ({type(error).__name__})"
        return Check("clock", "warning", text, "Check the network, or use --offline.")
    found = f"{offset_s:+.1f} s against the gateway's, give or take {wait_s / 2 + 0.5:.1f} s"
    beyond = abs(offset_s) - wait_s / 2 - 0.5
    if beyond <= OFFSET_S_WARNING:
        return Check("clock", "ok", found)
    way_out = "Set the clock by NTP, as in `timedatectl set-ntp true`."
    return Check("clock", "failed" if beyond > OFFSET_S_FAILED else "warning", found, way_out)


def _check_python() -> Iterable[Check]:
    found = f"{platform.python_version()} ({platform.python_implementation()})"
    if sys.version_info < PYTHON_LEAST:
        yield Check("python", "failed", found, "Use Python 3.11 or later.")
    else:
        yield Check("python", "ok", found)


def _check_packages() -> Iterable[Check]:
    try:
        needed = importlib.metadata.requires("ifd-fast") or []
    except importlib.metadata.PackageNotFoundError:
        way_out = "Install it: `pip install .`, or `./dev demo` in a checkout."
        yield Check("packages", "warning", "ifd-fast itself is not installed", way_out)
        return
    faults = [fault for one in needed if (fault := _fault_of(one)) is not None]
    count = sum("extra" not in one for one in needed)
    if faults:
        yield Check("packages", "failed", "; ".join(faults), "Run `pip install -U ifd-fast`.")
    else:
        yield Check("packages", "ok", f"all {count} there, in versions that are known to work")


def _fault_of(requirement: str) -> str | None:
    """Return what is wrong with what is installed for one line such as `numpy>=2.0`."""
    found = _REQUIREMENT.match(requirement)
    if found is None or "extra" in (found[3] or ""):
        return None
    try:
        version = importlib.metadata.version(found[1])
    except importlib.metadata.PackageNotFoundError:
        return f"{found[1]} is missing"
    for sign, bound in _BOUND.findall(found[2]):
        if (_numbers(version) >= _numbers(bound)) != (sign == ">="):
            return f"{found[1]} must be {found[2].strip()}, was {version}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(one) for one in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return tuple([*numbers, 0, 0, 0][:3])


def _check_cpu() -> Iterable[Check]:
    from llvmlite import binding

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    features = binding.get_host_cpu_features()
    fast = [name for name in _FAST if features.get(name)]
    found = f"{cores} cores, {binding.get_host_cpu_name()}, {', '.join(fast) or 'no wide vectors'}"
    if (cores or 1) < CORES_LEAST:
        way_out = "Replay works; live needs a core for the engine and one for its keeper."
        yield Check("cpu", "warning", found, way_out)
    else:
        yield Check("cpu", "ok", found)


def _check_cache() -> Iterable[Check]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said below
        from ifd_kernels import _jit
        from ifd_kernels.feeding import feed_bytes

    folder = _jit.cache_folder()
    if folder is None:
        way_out = "Set NUMBA_CACHE_DIR to a folder that can be written."
        yield Check("compiled kernels", "warning", "not kept: each start compiles", way_out)
    elif not os.access(folder, os.W_OK):
        way_out = "Make it writable, or set NUMBA_CACHE_DIR."
        yield Check("compiled kernels", "warning", f"{folder} can't be written", way_out)
    elif not _jit.is_kept(feed_bytes):
        found = f"none yet of this version in {folder}"
        yield Check("compiled kernels", "warning", found, "Run `ifd warm-up` (about 20 s).")
    else:
        count = sum(1 for _ in folder.rglob("*.nbi"))
        yield Check("compiled kernels", "ok", f"{count}, of these very sources, in {folder}")


def _check_disk(folder: Path) -> Iterable[Check]:
    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:,.1f} GB free at {folder}"
    if free_gb < FREE_GB_WARNING:
        verdict = "failed" if free_gb < FREE_GB_FAILED else "warning"
        way_out = "Free some: drop old runs, or `ifd baseline prune`."
        yield Check("disk space", "failed" if verdict == "failed" else "warning", found, way_out)
    else:
        yield Check("disk space", "ok", found)
    try:
        sync_ms = statistics.median(_sync_ms(folder))
    except OSError as error:
        way_out = "Run where you may write, or set baselines.path."
        yield Check("disk sync", "failed", f"{folder} can't be written: {error.strerror}", way_out)
        return
    found = f"{sync_ms:.1f} ms to have 4 KiB on the disk"
    if sync_ms > SYNC_MS_WARNING:
        yield Check("disk sync", "warning", found, "Record to a local SSD.")
    else:
        yield Check("disk sync", "ok", found)


def _sync_ms(folder: Path) -> list[float]:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1e3)
    return times


def _offset_s(profile: Profile) -> tuple[float, float]:
    """Return how far the clock is ahead of the gateway's, and how long the answer took, in s."""
    parts = urlsplit(check_gateway(profile.databento_gateway))
    connection = http.client.HTTPSConnection(
        str(parts.hostname),
        parts.port,
        timeout=profile.databento_timeout_s,
        context=ssl.create_default_context(),
    )
    try:
        connection.connect()  # its handshake is no part of the answer's time
        asked_s = time.time()
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        answered_s = time.time()
    finally:
        connection.close()
    # Date is cut to the second: on average half a second ago
    gateway_s = parsedate_to_datetime(str(date)).timestamp() + 0.5
    return (asked_s + answered_s) / 2 - gateway_s, answered_s - asked_s
