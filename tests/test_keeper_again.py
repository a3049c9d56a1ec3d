"""A keeper that takes over: what was synced and not stored, told again; what is gone, said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.errors import DataError
from ifd_fast.found_blocks import NAME, decode_found, encode_found, pack_identity
from ifd_fast.identities import Identity
from ifd_fast.keeping import FoundBlock, RecordKeeper
from ifd_fast.record_files import RecordFiles
from ifd_fast.record_ring import BlockKind, RecordRing, Word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.border

CAPACITY = 4 << 20
BLOCK = bytes(100_000)
RECORD = np.dtype([("at", "<i8"), ("much", "<f8")])


class Taker:
    """Notes what it is given, and stores nothing: as one that is killed before it could."""

    def __init__(self) -> None:
        self.blocks: list[FoundBlock] = []
        self.told: list[bytes] = []
        self.lost = 0

    def take(self, blocks: list[FoundBlock], position: int) -> None:
        """Take blocks."""
        assert all(one.end <= position for one in blocks)
        self.blocks += blocks

    def tell_state(self, data: bytes) -> None:
        """Take a state."""
        self.told.append(data)

    def tell_health(self, data: bytes) -> None:
        """Take what a session says of itself."""
        self.told.append(data)

    def lose(self) -> None:
        """Note a loss."""
        self.lost += 1

    def finish(self) -> bool:
        """Be done."""
        return True


class Stand:
    """A ring, and the keepers that come and go."""

    def __init__(self, folder: Path) -> None:
        self.ring = RecordRing(folder / "ring", CAPACITY)
        self.folder = folder / "record"
        self.opened: list[RecordFiles] = []

    def keep(self) -> tuple[Taker, RecordKeeper]:
        """Return a new keeper, and its taker; the one before is gone."""
        taker = Taker()
        self.close()
        self.opened.append(RecordFiles(self.folder))
        return taker, RecordKeeper(self.ring, self.opened[-1], taker)

    def close(self) -> None:
        """Close what the last keeper had open."""
        for one in self.opened:
            one.close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Yield a ring without a keeper."""
    one = Stand(tmp_path)
    yield one
    one.close()


def find(ring: RecordRing, keeper: RecordKeeper, number: int, data: bytes = BLOCK) -> list[bytes]:
    """Have `number` blocks of rows come, synced one by one; return them."""
    written = []
    for each in range(number):
        written.append(each.to_bytes(4, "little") + data)
        ring.put(BlockKind.ROWS, 1, 0, written[-1])
        keeper.write()
        keeper.sync()
    return written


def test_what_was_synced_and_not_stored_is_taken_again(stand: Stand) -> None:
    """Killed between the sync and the print: the next one has all of it, in order, once."""
    ring = stand.ring
    first, keeper = stand.keep()
    written = find(ring, keeper, 5)
    assert [one.data for one in first.blocks] == written
    ring.words[Word.STORED] = ring.words[Word.TOLD] = first.blocks[1].end
    second, _ = stand.keep()
    assert [one.data for one in second.blocks] == written[2:]
    assert second.lost == 0
    ring.words[Word.STORED] = first.blocks[4].end  # stored, and two not told
    third, _ = stand.keep()
    assert [one.data for one in third.blocks] == written[2:]
    ring.words[Word.TOLD] = first.blocks[4].end
    fourth, _ = stand.keep()
    assert fourth.blocks == []
    assert (third.lost, fourth.lost) == (0, 0)


def test_what_was_written_over_is_a_loss_that_is_told(stand: Stand) -> None:
    """The ring has turned since: nobody may say that all is there."""
    ring = stand.ring
    first, keeper = stand.keep()
    find(ring, keeper, 2)
    ring.words[Word.STORED] = ring.words[Word.TOLD] = first.blocks[0].end
    find(ring, keeper, 60)
    second, _ = stand.keep()
    assert second.lost == 1
    assert second.blocks == []


def test_states_are_told_once(stand: Stand) -> None:
    """At once, before anything is synced, and not again by a keeper that goes back."""
    ring = stand.ring
    taker, keeper = stand.keep()
    ring.put(BlockKind.STATE, 1, 0, b"live")
    ring.put(BlockKind.HEALTH, 1, 0, b"well")
    keeper.write()
    assert taker.told == [b"live", b"well"]
    keeper.again(OSError(28, "No space left on device"))
    keeper.write()
    assert taker.told == [b"live", b"well"]
    assert taker.blocks == []


IDENTITIES = st.builds(
    Identity,
    instrument_id=st.integers(0, 2**32 - 1),
    symbol=st.none() | st.text(st.characters(min_codepoint=1, max_codepoint=0x7FF), max_size=71),
    root=st.none() | st.text("ABCNQ1", max_size=21),
    underlying=st.none() | st.text("NQHMUZ0123456789", max_size=21),
    expiration_ns=st.just(-1) | st.integers(0, 2**62),
    strike=st.none() | st.floats(allow_nan=False),
    option_type=st.none() | st.sampled_from("CPFS"),
    mapped=st.booleans(),
    contract=st.none(),
    opened=st.integers(0, 2**40),
)


@given(st.lists(st.tuples(IDENTITIES, st.integers(), st.floats()), max_size=8), st.booleans())
def test_a_block_says_who_each_was(
    rows: list[tuple[Identity, int, float]],
    withheld: bool,
) -> None:
    """Records, names and whether they were withheld come back as they went in."""
    records = np.array([(at % 2**62, much) for _, at, much in rows], RECORD)
    names = np.array([pack_identity(one) for one, _, _ in rows], NAME)
    data = encode_found(records, names, withheld=withheld)
    found = decode_found(data, RECORD)
    assert found.records.tobytes() == records.tobytes()
    assert found.identities == [one for one, _, _ in rows]
    assert found.withheld is withheld
    with pytest.raises(DataError, match="another version"):
        decode_found(data + b"\0", RECORD)
