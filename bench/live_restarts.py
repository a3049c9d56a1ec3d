"""How long a killed session takes to be live again, with a checkpoint and without.

`ifd live` runs as anybody runs it, on W1 from `ifd gateway`; once its record is long enough it is
killed and started again at once. Measured from the kill to the line that says `live`: the start of
a process, what the dead engine left in its ring, the play of the record, the reconnect.

    python -m bench.live_restarts FILE DEFINITIONS FOLDER
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.live_numbers import beside, core, read_line
from bench.live_source import MBO
from ifd_kernels.layout import MBO_BYTES, SECOND_NS

__all__ = ["measure_restarts"]

RATE: Final = 200_000.0  # records a second, of the market
RECORDS: Final = 4_000_000  # in the record, at least, as it is killed
INTERVALS_S: Final = {"without": 0.0, "with": 5.0}
LONGEST_S: Final = 120.0


class Restart(NamedTuple):
    """What one restart took."""

    seconds: float  # from the kill to live
    records: int  # in the record at the kill
    played: int  # of them, after the start
    play_s: float


def measure_restarts(files: tuple[str, str], folder: Path) -> dict[str, Restart]:
    """Return what a restart took with and without a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    market, speed = begin_at_open(Path(files[0]), folder)
    found = {}
    for name, interval_s in INTERVALS_S.items():
        found[name] = restart((market, files[1]), speed, folder / name, interval_s)
        shutil.rmtree(folder / name)
    return found


def begin_at_open(path: Path, folder: Path) -> tuple[str, float]:
    """Write a market without the quarter of an hour before its open; return it and its speed."""
    data = np.fromfile(path, np.uint8)
    first = 8 + int.from_bytes(data[4:8].tobytes(), "little")
    records = data[first:].view(MBO)
    before = records["ts_recv"] == records["ts_recv"][0]
    open_ns = records["ts_recv"][~before][0]
    records["ts_recv"][before] = records["ts_event"][before] = open_ns - np.uint64(SECOND_NS)
    out = folder / path.name
    data.tofile(out)
    span_s = int(records["ts_recv"][-1] - open_ns) / SECOND_NS
    return str(out), RATE * span_s / len(records)


def restart(files: tuple[str, str], speed: float, folder: Path, interval_s: float) -> Restart:
    """Kill a session whose state was saved each `interval_s`, 0: never; start it again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    profile, record = folder / "profile.toml", folder / "record"
    profile.write_text(f"[live]\ncheckpoint_interval_s = {interval_s}\n", "utf-8")
    arguments = [*files, "--port", "0", "--speed", f"{speed:g}x"]
    with beside("ifd_fast", "gateway", *arguments) as gateway:
        port = int(read_line(gateway).rpartition("127.0.0.1:")[2].partition(";")[0])
        with session(port, profile, record) as engine:
            await_record(record, engine, has_checkpoint=interval_s > 0)
            engine.kill()
            killed_s = time.monotonic()
        records = recorded(record)
        with session(port, profile, record) as engine:
            seconds = await_live(engine) - killed_s
            engine.send_signal(signal.SIGTERM)
            end = [json.loads(line) for line in engine.stdout or ()][-1]["end"]
    played = int(end["recovered_bytes"]) // MBO_BYTES
    return Restart(seconds, records, played, float(end["recovery_s"]))


@contextmanager
def session(port: int, profile: Path, record: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `ifd live` on the engine's core while this lasts."""
    command = [
        sys.executable, "-m", "ifd_fast", "live", "--gateway", f"127.0.0.1:{port}",
        "--market-clock", "--json", "--busy", "--core", str(core()), "--profile", str(profile),
        "--record", str(record),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        try:
            yield engine
        finally:
            engine.kill()


def recorded(record: Path) -> int:
    """Return about how many records are on the disk."""
    return sum(path.stat().st_size for path in record.glob("*.dbn")) // MBO_BYTES


def await_record(record: Path, engine: Any, *, has_checkpoint: bool) -> None:
    """Wait until the record is long enough, and a checkpoint is there if there is to be one."""
    until_s = time.monotonic() + LONGEST_S
    checkpoints = record / "checkpoint"
    while recorded(record) < RECORDS or (has_checkpoint and not any(checkpoints.glob("*.state"))):
        if engine.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"the session has recorded {recorded(record):,} records only")
        time.sleep(0.02)


def await_live(engine: subprocess.Popen[str]) -> float:
    """Return when the session says that it is live, on the monotonic clock."""
    said = []
    for line in engine.stdout or ():
        said.append(json.loads(line).get("state", ""))
        if said[-1] == "live":
            return time.monotonic()
        if said.count("replaying") > 1:
            raise RuntimeError("the market has ended before the session was live")
    raise RuntimeError("the session has ended before it was live")


def main(file: str, definitions: str, folder: str) -> None:
    """Measure and print."""
    found = measure_restarts((file, definitions), Path(folder))
    print(json.dumps({name: one._asdict() for name, one in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
