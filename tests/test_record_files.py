"""The record on disk: torn anywhere, refused by the disk anywhere, it holds what was proven."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import IO, Any

import pytest

from ifd_fast.errors import DataError, FormatError
from ifd_fast.keeping import keep_record
from ifd_fast.record_files import CHECKS, JOURNAL, RecordFiles, connection_file, decode_entry
from ifd_fast.record_files import encode_entry as encode
from ifd_fast.record_reader import RecordReader, is_record
from ifd_fast.record_ring import BlockKind, RecordRing, Word
from ifd_fast.session_record import Entry, EntryKind

pytestmark = pytest.mark.border

PIECES = [(1, b"header and records"), (1, b"more of them"), (2, b"after a reconnect")]


def entry(number: int, connection: int = 1, offset: int = 0) -> Entry:
    """Return an entry of the journal."""
    return Entry(connection, offset, EntryKind.TICK, {"ts_ns": number})


def write_groups(folder: Path) -> None:
    """Write three groups of bytes and an entry each."""
    files = RecordFiles(folder)
    for number, (connection, data) in enumerate(PIECES):
        files.append(connection, data)
        files.append_entry(encode(entry(number, connection)))
        files.sync()
    files.close()


def content(reader: RecordReader) -> dict[int, bytes]:
    """Return the proven bytes of each connection."""
    return {one: b"".join(c.tobytes() for c in reader.chunks(one)) for one in reader.ends}


def test_what_was_synced_is_read(tmp_path: Path) -> None:
    """Connections, journal, and proof of both."""
    write_groups(tmp_path)
    reader = RecordReader(tmp_path)
    reader.verify()
    assert content(reader) == {1: PIECES[0][1] + PIECES[1][1], 2: PIECES[2][1]}
    assert reader.entries == [entry(0), entry(1), entry(2, 2)]
    assert reader.cut_bytes == 0


def test_what_was_not_synced_counts_for_nothing(tmp_path: Path) -> None:
    """It is told, left alone by a reader, and cut off by whoever goes on writing."""
    write_groups(tmp_path)
    files = RecordFiles(tmp_path)
    files.append(2, b"not synced")
    files.append_entry(encode(entry(9)))
    files.close()
    reader = RecordReader(tmp_path)
    assert content(reader)[2] == PIECES[2][1]
    assert reader.cut_bytes == len(b"not synced") + len(encode(entry(9)))
    again = RecordFiles(tmp_path)
    assert again.cut_bytes == reader.cut_bytes
    assert (tmp_path / "0002.dbn.cut").read_bytes() == b"not synced"
    assert (tmp_path / f"{JOURNAL}.cut").read_bytes() == encode(entry(9))
    again.append(2, b" and on")
    again.sync()
    again.close()
    assert content(RecordReader(tmp_path))[2] == PIECES[2][1] + b" and on"


@pytest.mark.parametrize("name", ["0002.dbn", JOURNAL, CHECKS])
def test_a_tail_torn_at_any_byte(tmp_path: Path, name: str) -> None:
    """Cut anywhere in the last group: either it is refused by name, or ends with a whole group."""
    write_groups(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    start = {"0002.dbn": 0, JOURNAL: whole[JOURNAL].rindex(b"{", 0, -40), CHECKS: 0}[name]
    for size in range(start, len(whole[name])):
        (tmp_path / name).write_bytes(whole[name][:size])
        if name != CHECKS:
            with pytest.raises(DataError, match=name):
                RecordReader(tmp_path)
            continue
        reader = RecordReader(tmp_path)
        reader.verify()
        proven = whole[CHECKS][:size].count(b"\n")
        assert reader.entries == [entry(0), entry(1), entry(2, 2)][:proven]
        expected: dict[int, bytes] = {}
        for connection, data in PIECES[:proven]:
            expected[connection] = expected.get(connection, b"") + data
        assert content(reader) == expected


@pytest.mark.parametrize("name", ["0001.dbn", "0002.dbn", JOURNAL])
def test_a_byte_that_was_changed_is_found(tmp_path: Path, name: str) -> None:
    """Any one byte of a file: the reader names the file."""
    write_groups(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=name):
            RecordReader(tmp_path).verify()


def test_a_changed_check_destroys_nothing(tmp_path: Path) -> None:
    """Any byte of any line but the last: named, to readers and writers, and nothing is cut off."""
    write_groups(tmp_path)
    path = tmp_path / CHECKS
    whole = path.read_bytes()
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir() if one != path}
    for place in range(whole.rindex(b"{") - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for opened in (RecordReader, RecordFiles):
            with pytest.raises(DataError, match=CHECKS):
                opened(tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir() if one != path} == before


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    """A folder without its files, a line that is no entry, a file that was cut."""
    assert not is_record(tmp_path)
    with pytest.raises(DataError, match="no record"):
        RecordReader(tmp_path)
    for line in (b"", b"{}", b'{"kind": 1}', b"\xff"):
        with pytest.raises(FormatError):
            decode_entry(line)
    write_groups(tmp_path)
    connection_file(tmp_path, 1).write_bytes(b"cut")
    with pytest.raises(DataError, match="cut since"):
        RecordFiles(tmp_path)


class Failing(io.FileIO):
    """A file whose N-th write of all fails, having taken half of its bytes."""

    left = 0

    def write(self, data: Any) -> int:
        """Write, or fail if it is time."""
        Failing.left -= 1
        if Failing.left == 0:
            super().write(bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def failing(path: Path) -> IO[bytes]:
    """Open a file for such writes."""
    return Failing(path, "r+b")


@pytest.mark.parametrize("number", range(1, 15))
def test_the_disk_refuses_any_write_once(tmp_path: Path, number: int) -> None:
    """Whichever it is, the keeper goes on, and the record is what was received: all, in order."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    offsets = {1: 0, 2: 0}
    for one, (connection, data) in enumerate(PIECES):
        ring.put(BlockKind.ENTRY, connection, offsets[connection], encode(entry(one, connection)))
        ring.space()[: len(data)] = data
        ring.publish(BlockKind.BYTES, connection, offsets[connection], len(data))
        offsets[connection] += len(data)
    ring.words[Word.CLOSED] = 1
    Failing.left = number
    files = RecordFiles(tmp_path / "record", open_file=failing)
    pauses: list[float] = []
    keep_record(ring, tmp_path, engine_alive=lambda: True, sleep=pauses.append, files=files)
    reader = RecordReader(tmp_path / "record")
    reader.verify()
    assert content(reader) == {1: PIECES[0][1] + PIECES[1][1], 2: PIECES[2][1]}
    assert reader.entries == [entry(0), entry(1), entry(2, 2)]
    assert ring.words[Word.TAIL] == ring.words[Word.HEAD]
    assert ring.words[Word.FAILURES] == (number <= 7)
    assert ring.words[Word.ERRNO] == 0


def test_a_keeper_takes_up_where_another_was_killed(tmp_path: Path) -> None:
    """One that died between the sync and saying so has nothing written twice."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    for data in (b"first", b"second"):
        ring.space()[: len(data)] = data
        ring.publish(BlockKind.BYTES, 1, 5 * (data == b"second"), len(data))
    tail = int(ring.words[Word.TAIL])
    ring.words[Word.CLOSED] = 1
    keep_record(ring, tmp_path / "record", engine_alive=lambda: True)
    ring.words[Word.TAIL] = tail  # as if it had not come to that
    keep_record(ring, tmp_path / "record", engine_alive=lambda: True)
    assert content(RecordReader(tmp_path / "record")) == {1: b"firstsecond"}


def test_an_engine_that_died_is_noted(tmp_path: Path) -> None:
    """All it received is kept, and an entry says how it ended, at the last byte."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    ring.space()[:5] = b"bytes"
    ring.publish(BlockKind.BYTES, 1, 0, 5)
    keep_record(ring, tmp_path / "record", engine_alive=lambda: False)
    reader = RecordReader(tmp_path / "record")
    assert content(reader) == {1: b"bytes"}
    assert reader.entries == [Entry(1, 5, EntryKind.CONNECTION_END, {"reason": "engine died"})]


def test_an_engine_that_died_before_a_connections_first_byte(tmp_path: Path) -> None:
    """The entry that says so stands behind that connection's beginning, where it died."""
    ring = RecordRing(tmp_path / "ring", 1 << 20)
    ring.space()[:5] = b"bytes"
    ring.publish(BlockKind.BYTES, 1, 0, 5)
    begin = Entry(2, 0, EntryKind.CONNECTION_BEGIN, {"skip_from_ns": None, "snapshot": True})
    ring.put(BlockKind.ENTRY, 2, 0, encode(begin))
    keep_record(ring, tmp_path / "record", engine_alive=lambda: False)
    end = Entry(2, 0, EntryKind.CONNECTION_END, {"reason": "engine died"})
    assert RecordReader(tmp_path / "record").entries == [begin, end]
