"""A live run whose disk refuses: told, nothing alerted, and nothing missing once there is room.

The keeper's own process is given a limit on the size of files, so that its next write behind it
fails, in part, as on a full disk; taking the limit away is space that comes back.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import IfdError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.keeping import keep_record
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.record_files import RecordFiles, connection_file
from ifd_fast.record_files import encode_entry as encode
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import replay_record
from ifd_fast.record_ring import BlockKind, RecordRing, Word
from ifd_fast.shared_record import SharedRecord, ring_path
from tests.gateway_client import little_market
from tests.strategies_interface import SMALL
from tests.test_record_files import PIECES, content, entry

SEEDS = range(max(2, int(os.environ.get("FAULT_SEEDS", "2")) // 20))
LONGEST_S = 60.0
RECORDS = 3_000
NO_LIMIT = resource.RLIM_INFINITY


class FullDisk:
    """A run over a market, whose keeper is refused what lies behind a place."""

    def __init__(self, folder: Path, port: int) -> None:
        """Make the run; the disk is as it was."""
        (folder / "live.toml").write_text(f"{SMALL}\n[live]\nring_mib = 1\n")
        self.folder = folder / "record"
        self.states: list[tuple[str, str]] = []
        wanted = LiveSettings(
            ("127.0.0.1", port), ("NQ.FUT", "NQ.OPT"), Terms("GLBX.MDP3"), market_clock=True
        )
        key = parse_api_key(TEST_KEY, "key")
        self.run = LiveRun(load_settings(folder / "live.toml"), wanted, key, self.folder)
        self.keeper = self.run.record._keeper.pid
        self.is_full = False
        self.failures = 0

    @property
    def names(self) -> list[str]:
        """The states so far, by name."""
        return [state for state, _ in self.states]

    @property
    def events(self) -> int:
        """Records applied so far."""
        return int(self.run.engine.state.actions.sum())

    def limit(self, most_bytes: int) -> None:
        """Let the keeper write no file beyond so many bytes."""
        self.is_full = most_bytes != NO_LIMIT
        self.failures = int(self.run.record._ring.words[Word.FAILURES])
        resource.prlimit(self.keeper, resource.RLIMIT_FSIZE, (most_bytes, NO_LIMIT))

    def go(self, is_stopped: Callable[[], bool]) -> None:
        """Run until then."""
        until_s = time.monotonic() + LONGEST_S

        def look() -> bool:
            state = str(self.run.session.state)
            if self.names[-1:] != [state]:
                self.states.append((state, self.run.record.fault))
            return is_stopped()

        self.run.run(look, until_s)
        assert time.monotonic() < until_s, self.states

    def check(self) -> None:
        """Prove the record, and hold its replay to the rows of the session."""
        RecordReader(self.folder).verify()
        again = replay_record(self.folder, profile=self.folder.parent / "live.toml")
        assert again.windows.height > 50
        said = json.loads((self.folder / "session.json").read_bytes())
        assert again.rows_digest == said["digests"]["rows_digest"]
        assert not ring_path(self.folder).exists()


@pytest.mark.jit
@pytest.mark.parametrize("seed", SEEDS)
def test_a_disk_that_is_full_for_a_while(tmp_path: Path, seed: int) -> None:
    """Degraded, by name of the reason; alerts withheld, records applied; then all of it is there.

    The limit lies within the next bytes at a place drawn: a write fails whole, or in its midst.
    """
    drawn = random.Random(seed)
    stall = Fault("stall", after_records=1_000, seconds=1.0)
    market = Market(little_market(RECORDS, step_ns=5_000_000_000), ends=False,
                    faults=Faults([stall]))  # fmt: skip
    with Gateway(market) as gateway:
        disk = FullDisk(tmp_path, gateway.port)
        may_alert: list[bool] = []

        def look() -> bool:
            first = connection_file(disk.folder, 1)
            if not disk.is_full and not may_alert and disk.events >= 1_000 and first.is_file():
                disk.limit(first.stat().st_size + drawn.randrange(20_000))
            if disk.is_full and disk.names[-1] == "degraded" and disk.events >= RECORDS:
                may_alert.append(disk.run.session.may_alert)
                disk.limit(NO_LIMIT)
            return bool(may_alert) and disk.names[-1] == "live"

        disk.go(look)
    assert may_alert == [False]
    assert ("degraded", os.strerror(errno.EFBIG)) in disk.states
    assert disk.failures >= 1
    disk.check()


@pytest.mark.jit
def test_a_disk_that_is_full_for_long(tmp_path: Path) -> None:
    """Memory is full too: the socket is not read, which is lagging; with space all of it comes."""
    records = 30_000
    with Gateway(Market(little_market(records, step_ns=500_000_000), ends=False)) as gateway:
        disk = FullDisk(tmp_path, gateway.port)
        seen: list[int] = []

        def look() -> bool:
            if not disk.is_full and not seen:
                disk.limit(4_000)
            if disk.is_full and disk.names[-1:] == ["lagging"] and disk.run.record.fault:
                seen.append(disk.events)
                disk.limit(NO_LIMIT)
            return disk.events >= records

        disk.go(look)
    assert 0 < seen[0] < records
    assert disk.failures >= 1
    disk.check()


@pytest.mark.jit
def test_a_disk_that_stays_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end says what isn't safe and where it lies; the keeper waits, and brings it in time."""
    monkeypatch.setattr("ifd_fast.shared_record.CLOSE_S", 0.3)
    monkeypatch.setattr(SharedRecord.wait_durable, "__defaults__", (0.3,))
    with Gateway(Market(little_market(RECORDS, step_ns=5_000_000_000), ends=False)) as gateway:
        disk = FullDisk(tmp_path, gateway.port)
        disk.limit(10_000)
        with pytest.raises(IfdError, match=r"File too large.*The rest lies in"):
            disk.go(lambda: disk.events >= RECORDS and bool(disk.run.record.fault))
    assert ring_path(disk.folder).exists()
    disk.limit(NO_LIMIT)
    assert disk.run.record._keeper.wait(20) == 0
    disk.check()


@pytest.mark.border
@pytest.mark.parametrize("number", range(1, 11))
def test_any_sync_may_fail_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What the disk took but would not promise is written again: all, once, in order."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    offsets = {1: 0, 2: 0}
    for one, (connection, data) in enumerate(PIECES):
        ring.put(BlockKind.ENTRY, connection, offsets[connection], encode(entry(one, connection)))
        ring.space()[: len(data)] = data
        ring.publish(BlockKind.BYTES, connection, offsets[connection], len(data))
        offsets[connection] += len(data)
    ring.words[Word.CLOSED] = 1
    synced, fsync = [0], os.fsync

    def fail(descriptor: int) -> None:
        synced[0] += 1
        if synced[0] == number:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    files = RecordFiles(tmp_path / "record")
    monkeypatch.setattr(os, "fsync", fail)
    keep_record(ring, tmp_path, engine_alive=lambda: True, sleep=lambda _: None, files=files)
    monkeypatch.undo()
    reader = RecordReader(tmp_path / "record")
    reader.verify()
    assert content(reader) == {1: PIECES[0][1] + PIECES[1][1], 2: PIECES[2][1]}
    assert reader.entries == [entry(0), entry(1), entry(2, 2)]
    assert ring.words[Word.FAILURES] == (number <= 6)
    assert ring.words[Word.ERRNO] == 0


@pytest.mark.border
def test_going_back_may_fail_too(tmp_path: Path) -> None:
    """A file that can't be opened again is tried until it can; none is begun anew meanwhile."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    files = RecordFiles(tmp_path / "record")
    for connection in (1, 2):
        files.append(connection, b"proven")
    files.sync()
    ring.space()[:7] = b" and on"
    ring.publish(BlockKind.BYTES, 2, 6, 7)
    ring.words[Word.CLOSED] = 1
    opened, plain = [0], files.open_file

    class Refusing(io.FileIO):
        def write(self, _data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(path: Path) -> IO[bytes]:
        opened[0] += 1
        if opened[0] in {2, 3, 4}:
            raise OSError(errno.EMFILE, "Too many open files")
        return plain(path)

    held = files._connections[2]
    held.file.close()
    held.file = Refusing(str(connection_file(files.folder, 2)), "r+b")
    files.open_file = refuse
    keep_record(ring, tmp_path, engine_alive=lambda: True, sleep=lambda _: None, files=files)
    assert content(RecordReader(tmp_path / "record")) == {1: b"proven", 2: b"proven and on"}
