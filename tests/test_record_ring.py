"""The ring between engine and keeper: what is written is read, in order, whatever the sizes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.errors import DataError, IfdError, UsageError
from ifd_fast.record_ring import (
    RESERVE_BYTES,
    SPACE_BYTES_LEAST,
    BlockKind,
    RecordRing,
    Word,
)

pytestmark = pytest.mark.border

NAMES = count()


def new_ring(folder: Path, capacity: int = 1 << 20) -> RecordRing:
    """Return a new ring in a file of its own."""
    return RecordRing(folder / f"{next(NAMES)}.ring", capacity)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for rings."""
    return tmp_path_factory.mktemp("rings")


@given(
    st.lists(
        st.tuples(st.integers(0, 700_000), st.booleans(), st.integers(0, 5)),
        min_size=1,
        max_size=40,
    )
)
def test_what_goes_in_comes_out(folder: Path, steps: list[tuple[int, bool, int]]) -> None:
    """Blocks come in order and whole, over many turns of the ring, however the reader lags."""
    ring = new_ring(folder)
    written: list[bytes] = []
    read: list[bytes] = []
    taken, offset = 0, 0

    def read_some(most: int) -> None:
        nonlocal taken
        for block in ring.blocks(taken):
            if most == 0:
                break
            most -= 1
            read.append(block.data.tobytes())
            taken = block.end
        ring.words[Word.TAIL] = taken

    for number, (size, is_entry, lag) in enumerate(steps):
        data = bytes([number % 251]) * min(size, 2000 if is_entry else size)
        if is_entry:
            ring.put(BlockKind.ENTRY, 1, offset, data)
        else:
            space = ring.space()
            data = data[: len(space)]
            space[: len(data)] = data
            assert ring.publish(BlockKind.BYTES, 1, offset, len(data)).data.tobytes() == data
            offset += len(data)
        written.append(data)
        read_some(lag)
    read_some(-1)
    assert read == written
    assert ring.words[Word.HEAD] == taken


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=40), st.integers(0, 40_000))
def test_there_is_space_once_all_is_safe(folder: Path, sizes: list[int], line: int) -> None:
    """Wherever the head stands, near the end too: a reader that has caught up makes room."""
    ring = new_ring(folder)
    for size in sizes:
        space = ring.space()
        assert len(space) >= SPACE_BYTES_LEAST
        ring.publish(BlockKind.BYTES, 1, 0, min(size, len(space)))
        ring.put(BlockKind.ENTRY, 1, 0, b"x" * line)
        ring.words[Word.TAIL] = ring.words[Word.HEAD]


def test_a_full_ring_has_no_space_and_loses_nothing(folder: Path) -> None:
    """Where the reader stands still, space ends before the reserve; the journal still has room."""
    ring = new_ring(folder)
    total = 0
    while len(space := ring.space()):
        ring.publish(BlockKind.BYTES, 1, total, len(space))
        total += len(space)
    assert total <= ring.capacity - RESERVE_BYTES
    lines = 0
    with pytest.raises(IfdError, match="no room"):  # noqa: PT012  # until it is full
        while True:
            ring.put(BlockKind.ENTRY, 1, total, b"x" * 1000)
            lines += 1
    assert lines >= RESERVE_BYTES // 1056 - 32
    kinds = [block.kind for block in ring.blocks(0)]
    assert kinds.count(BlockKind.ENTRY) == lines


def test_another_process_sees_the_same(folder: Path) -> None:
    """A ring opened by its path has what was written; what is none is refused."""
    ring = new_ring(folder)
    space = ring.space()
    space[:5] = b"bytes"
    ring.publish(BlockKind.BYTES, 3, 7, 5)
    ring.touch()
    (block,) = RecordRing(ring.path).blocks(0)
    assert (block.connection, block.offset, block.data.tobytes()) == (3, 7, b"bytes")
    other = folder / "other"
    for content in (b"", b"short", bytes(8192)):
        other.write_bytes(content)
        with pytest.raises(DataError, match="no ring"):
            RecordRing(other)
    with pytest.raises(UsageError, match="capacity_bytes"):
        new_ring(folder, 1000)
    with pytest.raises(FileExistsError):
        RecordRing(ring.path, 1 << 20)


def test_a_block_is_where_it_was_received(folder: Path) -> None:
    """Bytes are not moved: what `publish` returns lies in what `space` gave."""
    ring = new_ring(folder)
    space = np.frombuffer(ring.space(), np.uint8)
    block = ring.publish(BlockKind.BYTES, 1, 0, 100)
    assert np.shares_memory(space, block.data)
