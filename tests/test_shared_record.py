"""The record of an engine and its keeper, two real processes, killed at any moment."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ifd_fast.errors import AlreadyRunningError, UsageError
from ifd_fast.processes import started_at
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_ring import RecordRing, Word
from ifd_fast.session_record import EntryKind
from ifd_fast.shared_record import SharedRecord, ring_path

pytestmark = pytest.mark.border
CAPACITY = 1 << 21
ENGINE = """
import sys
from pathlib import Path
from ifd_fast.shared_record import SharedRecord
record = SharedRecord(Path(sys.argv[1]), 1 << 21)
record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
number = 0
while True:
    space = record.space()
    if not len(space):
        continue
    for _ in range(40):
        line = f"{number:015d}\\n".encode()
        space[:16] = line
        record.received(16)
        number += 1
        space = record.space()
        if len(space) < 16:
            break
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_session_is_kept(tmp_path: Path) -> None:
    """Bytes, entries and their places; durable only once they are; the ring is gone at the end."""
    with SharedRecord(tmp_path / "one", CAPACITY) as record:
        record.begin_connection(start_ns=5, snapshot=False, skip_from_ns=4)
        for data in (b"abc", b"defg"):
            record.space()[: len(data)] = data
            assert record.received(len(data)).tobytes() == data
        record.note(EntryKind.TICK, {"ts_ns": 9})
        assert b"".join(one.tobytes() for one in record.recorded(1)) == b"abcdefg"
        assert record.wait_durable(5)
        assert record.durable == record.position == (1, 7)
        assert record.fault == ""
        record.space()[:1] = b"h"
        record.received(1)
        assert b"".join(one.tobytes() for one in record.recorded(1)) == b"abcdefgh"
        for first in (2, 7):  # in the file, in the ring
            rest = b"".join(one.tobytes() for one in record.recorded(1, first))
            assert rest == b"abcdefgh"[first:]
        record.end_connection("eof")
        record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
        with pytest.raises(UsageError, match="ended first"):
            record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
    reader = RecordReader(tmp_path / "one")
    reader.verify()
    assert b"".join(one.tobytes() for one in reader.chunks(1)) == b"abcdefgh"
    found = [(one.connection, one.offset, one.kind) for one in reader.entries]
    assert found == [
        (1, 0, "connection_begin"), (1, 7, "tick"), (1, 8, "connection_end"),
        (2, 0, "connection_begin"), (2, 0, "connection_end"),
    ]  # fmt: skip
    assert reader.entries[0].payload == {"start_ns": 5, "snapshot": False, "skip_from_ns": 4}
    assert not ring_path(tmp_path / "one").exists()


def test_one_engine_a_record(tmp_path: Path) -> None:
    """A second is refused by name, exit code 4; afterwards the next goes on behind the first."""
    with SharedRecord(tmp_path, CAPACITY) as record:
        record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
        record.space()[:1] = b"x"
        record.received(1)
        who = f"{tmp_path} is being recorded to by process {os.getpid()}: "
        with pytest.raises(AlreadyRunningError, match=re.escape(who)) as caught:
            SharedRecord(tmp_path, CAPACITY)
        assert caught.value.exit_code == 4
    with SharedRecord(tmp_path, CAPACITY) as record:
        record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
        assert record.position == (2, 0)
        assert b"".join(one.tobytes() for one in record.recorded(1)) == b"x"
    with SharedRecord(tmp_path, CAPACITY) as record:  # the second has no byte, and no file
        record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
        assert record.position == (3, 0)


def test_a_killed_keeper_is_replaced(tmp_path: Path) -> None:
    """What was received meanwhile waits in the ring, and nothing is written twice."""
    with SharedRecord(tmp_path, CAPACITY) as record:
        record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
        for number in range(20):
            record.space()[:3] = f"{number:03d}".encode()
            record.received(3)
            if number == 10:
                assert record.wait_durable(5)
                record._keeper.kill()
                record._keeper.wait()
                assert "ended" in record.fault
        record.restart_keeper()
        assert record.wait_durable(5)
        assert record.fault == ""
    (data,) = (b"".join(one.tobytes() for one in RecordReader(tmp_path).chunks(n)) for n in [1])
    assert data == b"".join(f"{number:03d}".encode() for number in range(20))


@pytest.mark.parametrize("seed", range(int(os.environ.get("KILLS", "4"))))
def test_an_engine_killed_at_any_moment_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Every line it had received before the kill is in the record, once, in order."""
    command = [sys.executable, "-c", ENGINE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        said = int(engine.stdout.readline())
        time.sleep(random.Random(seed).uniform(0.0, 0.2))
        engine.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in engine.stdout if line.endswith("\n"))])
    until_s = time.monotonic() + 10
    while ring_path(tmp_path).exists():
        assert time.monotonic() < until_s, "the keeper has not ended"
        time.sleep(0.01)
    reader = RecordReader(tmp_path)
    reader.verify()
    lines = b"".join(one.tobytes() for one in reader.chunks(1)).split()
    assert len(lines) >= said
    assert [int(line) for line in lines] == list(range(len(lines)))
    assert reader.entries[-1].payload == {"reason": "engine died"}
    assert reader.cut_bytes == 0


@pytest.mark.parametrize("by_hand", [True, False])
def test_both_killed_is_taken_up(tmp_path: Path, by_hand: bool) -> None:
    """The next engine, or whoever starts a keeper for the ring, has all of it on the disk."""
    command = [sys.executable, "-c", ENGINE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        engine.stdout.readline()
        keeper = int(RecordRing(ring_path(tmp_path)).words[Word.KEEPER_PID])
        until_s = time.monotonic() + 10
        while not keeper and time.monotonic() < until_s:
            keeper = int(RecordRing(ring_path(tmp_path)).words[Word.KEEPER_PID])
        os.kill(keeper, signal.SIGKILL)
        engine.send_signal(signal.SIGKILL)
        said = max(int(line) for line in engine.stdout if line.endswith("\n"))
    if by_hand:
        command = [sys.executable, "-m", "ifd_fast.keeper", str(ring_path(tmp_path)), str(tmp_path)]
        subprocess.run(command, check=True, timeout=20)
    else:
        with SharedRecord(tmp_path, CAPACITY) as record:
            assert record.before is not None
            assert record.before.entries[-1].payload == {"reason": "engine died"}
            assert record.position == (1, 0)
    assert not ring_path(tmp_path).exists()
    lines = b"".join(one.tobytes() for one in RecordReader(tmp_path).chunks(1)).split()
    assert len(lines) >= said
    assert [int(line) for line in lines] == list(range(len(lines)))


def test_a_process_is_its_number_and_its_beginning() -> None:
    """Of one that runs, another that began later, and one that is no more."""
    mine = started_at(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert started_at(other.pid) > mine > 0
        other.kill()
        until_s = time.monotonic() + 5
        while started_at(other.pid) and time.monotonic() < until_s:
            time.sleep(0.001)
        assert started_at(other.pid) == 0  # a corpse that nobody has looked at yet
