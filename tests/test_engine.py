"""The engine: bytes to window rows, against event time as the rules have it, and its laws.

Method: streams around all edges of seconds, panes, windows and sessions go through `FlowEngine`
as DBN bytes; every row and every account of trades must be what several slow passes over the
list of records find.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.framing import Framer
from tests.examples import more_examples
from tests.oracle import engine as oracle
from tests.strategies_engine import (
    SESSIONS,
    SETTINGS,
    as_bytes,
    by_rules,
    counted,
    feed,
    make_engine,
    play,
    rows_of,
    streams,
)

Event = dict[str, Any]
some_settings = st.sampled_from(SETTINGS)


@more_examples
@given(streams(), some_settings)
def test_rows_are_those_of_the_rules(stream: list[Event], settings: dict[str, int]) -> None:
    """Windows and facts, whatever the settings, are what the rules say, to the last column."""
    actual = rows_of(play(stream, settings))
    assert actual == by_rules(stream, settings)


def test_no_mid_is_known_of_before_event_time_began() -> None:
    """A touch of records without a time is that of later windows, not of one begun earlier."""
    settings, began_ns = {"window_s": 60, "step_s": 60, "lateness_ns": 0}, 1_715_257_920 * 10**9
    times = {"ts_event": began_ns, "ts_recv": began_ns - 1_000_000_001, "flags": 128}
    order = {"instrument_id": 7, "action": "A", "size": 1, **times}
    trade = {"instrument_id": 1, "action": "T", "side": "A", "order_id": 0, "price": 0, "size": 1}
    stream = [
        {**order, "side": "A", "order_id": 1, "price": 10**9},
        {**order, "side": "B", "order_id": 2, "price": -(10**9)},
        {**trade, **times, "ts_recv": began_ns},
    ]
    actual = rows_of(play(stream, settings))
    assert actual == by_rules(stream, settings)
    assert [row["underlying_mid2"] for row in (*actual["windows"], *actual["facts"])] == [0, None]


@more_examples
@given(streams(), some_settings)
def test_every_trade_has_one_account(stream: list[Event], settings: dict[str, int]) -> None:
    """Trades are counted, late, ahead, off session, without size or time as the rules say."""
    actual = counted(play(stream, settings))
    assert actual == oracle.replay(stream, SESSIONS, settings, {})["counts"]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` cut at the given places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


@given(streams(), some_settings, st.lists(st.integers(0, 10**6), max_size=6), st.integers(1, 64))
def test_cutting_a_stream_changes_nothing(
    stream: list[Event], settings: dict[str, int], cuts: list[int], step: int
) -> None:
    """Any chunks, a byte each too, and rows taken at any time, give the same rows and accounts."""
    whole, data = play(stream, settings), as_bytes(stream)
    cut = make_engine(settings, instruments=16)
    feed(cut, pieces(data, cuts))
    cut.flush()
    expected = rows_of(whole)
    assert rows_of(cut) == expected
    assert counted(cut) == counted(whole)
    taken = make_engine(settings)
    framer = Framer(taken.state.ring, 3)
    actual: dict[str, list[Any]] = {"windows": [], "facts": []}
    for start in range(0, len(data), step):
        taken.feed(framer, data[start : start + step])
        for name, rows in rows_of(taken).items():
            actual[name] += rows
    taken.flush()
    for name, rows in rows_of(taken).items():
        actual[name] += rows
    assert actual == expected


@given(streams(50), some_settings)
def test_rows_come_before_the_record_that_makes_them_due(
    stream: list[Event], settings: dict[str, int]
) -> None:
    """Fed record by record, each row is out once the watermark passes its end and lateness."""
    engine = make_engine(settings)
    framer = Framer(engine.state.ring, 3)
    for index, one in enumerate(stream):
        engine.feed(framer, as_bytes([one]))
        assert rows_of(engine) == by_rules(stream, settings, index)
    engine.flush()
    assert rows_of(engine) == by_rules(stream, settings, len(stream))


@given(streams(), some_settings, st.integers(0, 80))
def test_a_longer_stream_begins_with_the_same_rows(
    stream: list[Event], settings: dict[str, int], length: int
) -> None:
    """What follows a record changes no row that was emitted before it."""
    short, long = make_engine(settings), make_engine(settings)
    feed(short, [as_bytes(stream[:length])])
    feed(long, [as_bytes(stream)])
    begun, whole = rows_of(short), rows_of(long)
    for name, rows in begun.items():
        assert whole[name][: len(rows)] == rows


@given(streams(), some_settings)
def test_mirrored_sides_mirror_rows(stream: list[Event], settings: dict[str, int]) -> None:
    """Buy for sell and K − price for price swap volumes and prices and negate the imbalance."""
    stream = [one for one in stream if abs(one["price"]) < 2**61]
    swap = {"A": "B", "B": "A", "N": "N"}
    mirrored = [{**one, "side": swap[one["side"]], "price": -one["price"]} for one in stream]
    actual, expected = rows_of(play(mirrored, settings)), rows_of(play(stream, settings))
    for name in ("windows", "facts"):
        assert [mirror_row(row) for row in actual[name]] == expected[name]


def mirror_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as the other side sees it."""

    def negated(value: int | None) -> int | None:
        return None if value is None else -value

    swapped = dict(row)
    for key, value in row.items():
        if key.startswith(("bid_", "ask_")):
            other = ("ask_" if key.startswith("bid_") else "bid_") + key[4:]
            swapped[other] = negated(value) if key.endswith("price") else value
    swapped["ofi"] = -row["ofi"]
    swapped["underlying_mid2"] = negated(row["underlying_mid2"])
    return swapped


@given(streams(), some_settings)
def test_room_for_few_rows_changes_nothing(stream: list[Event], settings: dict[str, int]) -> None:
    """A buffer that holds the rows of one pane and no more gives the same rows."""
    engine = make_engine(settings)
    engine.state = engine.state._replace(
        flow=engine.state.flow._replace(rows=engine.state.flow.rows[:4].copy())
    )
    feed(engine, [as_bytes(stream)])
    engine.flush()
    assert rows_of(engine) == rows_of(play(stream, settings, instruments=64))
