"""Exactly once: what connections before delivered is dropped, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.live_duplicates import DuplicateFilter, delivered_since
from ifd_fast.live_marks import Marks
from tests.oracle import duplicates as oracle
from tests.strategies_wire import control, header, mbo

Bytes = NDArray[np.uint8]

_times = st.integers(0, 6).map(lambda value: value if value < 6 else 2**64 - 1)
_records = st.builds(
    mbo,
    instrument_id=st.integers(1, 3),
    ts_event=_times,
    size=st.integers(1, 2),
    flags=st.sampled_from([0, 128, 168]),
    ts_recv=st.integers(0, 2**40),
) | st.sampled_from([control(0x17), control(0x12)])
streams = st.lists(_records, max_size=25)
places = st.lists(st.integers(0, 2**20), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[Bytes]:
    """Return the data as arrays, cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [np.frombuffer(bytearray(data[a:b]), np.uint8) for a, b in pairwise(edges)]


def kept(made: DuplicateFilter, data: bytes, cuts: list[int]) -> bytes:
    """Return what the filter lets through of `data`, cut at these places."""
    return b"".join(made.keep(piece).tobytes() for piece in pieces(data, cuts))


def completed(text: bytes) -> bytes:
    """Return the system message that says a replay is complete."""
    return control(0x17)[:16] + text.ljust(303, b"\0") + bytes([3])


@given(streams, st.integers(0, 6), st.booleans(), places)
def test_what_was_delivered_is_what_the_rules_say(
    stream: list[bytes], from_ns: int, joined: bool, cuts: list[int]
) -> None:
    """Instruments come in the order of the stream; equal records have equal prints."""
    data = b"".join(stream)
    whole = header() + data
    ids, prints, joined_ns, end = delivered_since(
        pieces(whole + b"\x0e\xa0", cuts), from_ns, joined=joined
    )
    assert end == len(whole)
    expected = oracle.list_delivered(data, from_ns, snapshots=not joined)
    assert ids.tolist() == [instrument for instrument, _ in expected]
    same = dict(zip(prints.tolist(), (said for _, said in expected), strict=True))
    assert len(same) == len({said for _, said in expected})
    in_snapshots = [
        int.from_bytes(one[40:48], "little") for one in stream if one[1] == 0xA0 and one[36] & 32
    ]
    assert joined_ns == max(in_snapshots, default=-1)


@given(streams, streams, st.integers(0, 6), places, places)
def test_what_is_dropped_is_what_the_rules_say(
    before: list[bytes], again: list[bytes], from_ns: int, cuts: list[int], more: list[int]
) -> None:
    """Any two streams: kept bytes and both counts are the oracle's, for any cuts."""
    made = DuplicateFilter.of_connections([pieces(header() + b"".join(before), cuts)], from_ns)
    delivered = oracle.list_delivered(b"".join(before), from_ns, snapshots=True)
    expected, dropped, changed = oracle.drop_delivered(b"".join(again), from_ns, delivered)
    assert kept(made, b"".join(again), more) == expected
    assert made.counts["duplicates"] == dropped
    assert made.counts["changed_duplicates"] == changed


@given(streams, st.integers(0, 5), st.integers(0, 2**20), st.permutations([1, 2, 3]), places)
def test_a_cut_stream_and_its_replay_are_the_clean_stream(
    stream: list[bytes], from_ns: int, cut: int, order: list[int], cuts: list[int]
) -> None:
    """Each instrument's records come once, in order, though the replay mixes instruments anew."""
    clean = [one for one in stream if oracle.replayed(one, from_ns)]
    cut %= len(b"".join(clean)) + 1
    first = b"".join(clean)[:cut]
    instrument = {number: rank for rank, number in enumerate(order)}
    replay = sorted(clean, key=lambda one: instrument[int.from_bytes(one[4:8], "little")])
    made = DuplicateFilter.of_connections([pieces(header() + first, cuts)], from_ns)
    whole = oracle.records(first) + oracle.records(kept(made, b"".join(replay), cuts))
    assert made.is_done
    assert made.counts["changed_duplicates"] == made.counts["missing_duplicates"] == 0
    for number in order:
        mine = [one for one in clean if int.from_bytes(one[4:8], "little") == number]
        assert [one for one in whole if int.from_bytes(one[4:8], "little") == number] == mine


@given(streams, st.lists(st.integers(0, 25), min_size=2, max_size=4), st.integers(0, 3))
def test_of_several_connections_the_furthest_counts(
    stream: list[bytes], lengths: list[int], from_ns: int
) -> None:
    """Replays that were cut before they caught up take nothing away from what was delivered."""
    clean = [one for one in stream if oracle.replayed(one, from_ns)]
    connections = [pieces(header() + b"".join(clean[:length]), []) for length in lengths]
    made = DuplicateFilter.of_connections(connections, from_ns)
    assert kept(made, b"".join(clean), []) == b"".join(clean[max(lengths) :])


def test_bytes_go_straight_on_when_nothing_is_left() -> None:
    """The filter hands the caller's own array back once it is done."""
    first = mbo(ts_event=5)
    made = DuplicateFilter.of_connections([pieces(header() + first, [])], 5)
    assert kept(made, first + mbo(ts_event=6), [30, 90]) == mbo(ts_event=6)
    chunk = np.zeros(7, np.uint8)
    assert made.is_done
    assert made.keep(chunk) is chunk


def test_a_complete_replay_leaves_nothing_to_drop() -> None:
    """Records not sent again are counted as missing; the news behind is not taken for them."""
    made = DuplicateFilter.of_connections([pieces(header() + mbo(ts_event=5) * 3, [])], 5)
    other, end, new = (
        completed(b"Finished definition replay"),
        completed(b"Finished mbo replay"),
        (mbo(ts_event=9)),
    )
    assert kept(made, other + mbo(ts_event=5) + end + new, [500]) == other + end + new
    assert made.counts == {"duplicates": 1, "changed_duplicates": 0, "missing_duplicates": 2}


def test_a_record_that_says_something_else_is_counted() -> None:
    """Another ts_recv is another capture; another size is a change."""
    sent = [mbo(ts_event=5, ts_recv=1), mbo(ts_event=5, size=1)]
    again = [mbo(ts_event=5, ts_recv=2), mbo(ts_event=5, size=9)]
    made = DuplicateFilter.of_connections([pieces(header() + b"".join(sent), [])], 5)
    assert kept(made, b"".join(again), []) == b""
    assert made.counts["duplicates"] == 2
    assert made.counts["changed_duplicates"] == 1


def test_what_cant_be_walked_goes_on_to_be_refused() -> None:
    """A length of zero ends the dropping: the framer says where it stands."""
    made = DuplicateFilter.of_connections([pieces(header() + mbo(ts_event=5) * 2, [])], 5)
    assert kept(made, mbo(ts_event=5) + bytes(20), []) == bytes(20)
    assert made.is_done


@given(streams, st.lists(st.integers(0, 7), max_size=4), st.integers(0, 7), st.booleans(), places)
def test_marks_change_nothing(
    stream: list[bytes], marked: list[int], from_ns: int, joined: bool, cuts: list[int]
) -> None:
    """Marked at any places, with any times: what was delivered is found as without marks."""
    parts = [header(), *stream]
    edges = sorted(place % (len(parts) + 1) for place in cuts[: len(marked)])
    said = b""

    def recorded(_: int, first: int) -> Iterator[Bytes]:
        yield from pieces(said[first:], cuts)

    marks = Marks(recorded)
    for edge, below_ns in zip(edges, marked, strict=False):
        said = b"".join(parts[:edge]) + b"\x0e\xa0"[: edge % 3]
        marks.advance(1, below_ns, joined=joined)
    said = b"".join(parts)
    found = marks.delivered_since(1, from_ns, joined=joined)
    wanted = delivered_since(pieces(said, []), from_ns, joined=joined)
    assert found.ids.tolist() == wanted.ids.tolist()
    assert found.prints.tolist() == wanted.prints.tolist()
    marks.forget_before(2)
    assert not marks.places


def test_a_mark_saves_what_is_old() -> None:
    """Behind a mark that is old enough only what came since is read; else all of it."""
    said = header() + b"".join(mbo(ts_event=number) for number in range(1, 9))
    asked = []

    def recorded(_: int, first: int) -> Iterator[Bytes]:
        asked.append(first)
        yield from pieces(said[first:], [])

    marks = Marks(recorded)
    marks.advance(1, 5, joined=False)  # there are later ones: no mark
    marks.advance(1, 9, joined=False)
    said += mbo(ts_event=9) + mbo(ts_event=10)
    assert len(marks.delivered_since(1, 9, joined=False).ids) == 2
    assert len(marks.delivered_since(1, 8, joined=False).ids) == 3
    assert asked == [0, 0, len(said) - 2 * 56, 0]


def test_what_is_from_far_ahead_is_not_looked_at_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once so much could not be marked, nobody tries; what was delivered is found all the same."""
    monkeypatch.setattr("ifd_fast.live_marks.UNMARKED_BYTES", 200)
    said, asked = header() + mbo(ts_event=2**50), []

    def recorded(_: int, first: int) -> Iterator[Bytes]:
        asked.append(first)
        yield from pieces(said[first:], [])

    marks = Marks(recorded)
    for number in range(9):
        said += mbo(ts_event=number)
        marks.advance(1, 9, joined=False)
    assert len(asked) < 5
    assert marks.places == {1: []}
    assert len(marks.delivered_since(1, 8, joined=False).ids) == 2
