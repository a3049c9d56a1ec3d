"""Packages: what a spread's trades account for in its legs is no flow of the legs.

Method: streams of spreads' trades, prints and plain trades around steps and seconds go through
`FlowEngine` as bytes; what the scorer was handed must be what slow passes over the list find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.accounts import count_engine
from ifd_fast.definitions import Leg
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_fast.packages import GROUPS_MAX, is_volatility
from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT
from ifd_kernels.pressure import ROW_FACTS
from tests.oracle import packages as oracle
from tests.strategies_engine import FUTURE, OPEN, OPTION, SECOND, SESSIONS, as_bytes, event
from tests.strategies_engine import make_engine as make_plain_engine
from tests.strategies_instruments import define
from tests.test_engine import pieces

Event = dict[str, Any]
PUT, CALENDAR, COVERED, RATIO = 2, 50, 51, 52
START = OPEN + 7 * 60 * SECOND
MS = 1_000_000
SETTINGS = {"window_s": 300, "step_s": 300, "lateness_ns": SECOND}
SPREADS = {
    CALENDAR: [(OPTION, "B", 1, 1), (PUT, "A", 1, 1)],
    COVERED: [(OPTION, "B", 2, 1), (FUTURE, "A", 1, 1)],
    RATIO: [(OPTION, "A", 3, 2), (PUT, "N", 1, 1)],
}
NAMES = {OPTION: "ESM4 C5000", PUT: "ESM4 P5000", FUTURE: "ESM4"}
KINDS = {OPTION: KIND_CALL, PUT: KIND_PUT, FUTURE: KIND_FUTURE}


def leg_of(index: int, leg: tuple[int, str, int, int]) -> Leg:
    """Return a leg (instrument, side, ratio, divisor) as a definition has it."""
    number, side, ratio, divisor = leg
    return Leg(index, number, NAMES[number], KINDS[number], side, ratio, divisor, FUTURE)


def spread_of(number: int) -> Any:
    """Return the definition of one of SPREADS."""
    legs = tuple(leg_of(index, leg) for index, leg in enumerate(SPREADS[number]))
    name = f"UD:1V: VT {number}"
    return define(number, name, "S", leg_count=len(legs), legs=legs)


def make_engine(
    settings: dict[str, int] = SETTINGS, spreads: Sequence[int] = (), **changes: Any
) -> FlowEngine:
    """Return an engine that knows two options, their future and the spreads of `spreads`."""
    interval_s = settings.get("interval_ns", SECOND) / SECOND
    engine = make_plain_engine(settings, scoring_interval_s=interval_s, **changes)
    for number in spreads:
        engine.instruments.add_definition(spread_of(number))
    engine.instruments.add_definition(define(PUT, NAMES[PUT], "P"))
    engine.use_slots()
    return engine


def play(stream: Sequence[Event], chunks: Sequence[bytes] = (), **made: Any) -> FlowEngine:
    """Return a flushed engine that was fed the stream, in one piece or in `chunks`."""
    engine = make_engine(**{"spreads": list(SPREADS), **made})
    framer = Framer(engine.state.ring, 3)
    for chunk in chunks or [as_bytes(stream)]:
        engine.feed(framer, chunk)
    framer.finish()
    engine.flush()
    return engine


def handed(engine: FlowEngine) -> dict[tuple[int, int, int], list[int]]:
    """Return what the scorer was given by (instant, instrument, second): [sold, bought]."""
    ids = engine.instruments.identities["instrument_id"]
    found: dict[tuple[int, int, int], list[int]] = {}
    for entry in engine.take_handovers():
        key = (int(entry["instant_ns"]), int(ids[entry["slot"]]), int(entry["second"]))
        cell = found.setdefault(key, [0, 0])
        cell[0] += int(entry["bid_volume"])
        cell[1] += int(entry["ask_volume"])
    return {key: cell for key, cell in found.items() if any(cell)}


def print_of(ts_ns: int, number: int, side: str, size: int) -> Event:
    """Return a trade without an order."""
    return event(ts_ns, "T", side, instrument_id=number, size=size, order_id=0)


def total(engine: FlowEngine, number: int) -> list[int]:
    """Return all that was handed over of an instrument: [sold, bought]."""
    cells = [cell for key, cell in handed(engine).items() if key[1] == number]
    return [sum(cell[side] for cell in cells) for side in range(2)]


def later(ts_ns: int = START + 10 * SECOND) -> Event:
    """Return a quote that lets time pass."""
    return event(ts_ns, "A", "B")


# --- strategies -----------------------------------------------------------------------------------
_offsets = [*[SECOND // 3] * 8, 0, 1, MS, 9 * MS, 10 * MS, SECOND - 5 * MS, SECOND - 1]
_parts = st.tuples(
    st.sampled_from([OPTION] * 4 + [PUT] * 3 + [FUTURE] + [CALENDAR, COVERED, RATIO] * 2),
    st.integers(0, 2),
    st.sampled_from(_offsets),
    st.sampled_from("AABBN"),
    st.sampled_from([0, 0, 0, 5]),
    st.integers(1, 6),
    st.sampled_from([*[0] * 12, MS, 3 * MS, 12 * MS, SECOND, 2 * SECOND]),
)


def _build(parts: list[tuple[Any, ...]]) -> list[Event]:
    """Return trades whose times repeat, near to the order of time."""
    stream, now = [later(START)], START
    for number, second, offset, side, order_id, size, delay in sorted(
        parts, key=lambda part: part[1] * SECOND + part[2] + part[6]
    ):
        ts_ns = START + second * SECOND + offset
        now = max(now, ts_ns + delay)
        one = event(ts_ns, "T", side, instrument_id=number, size=size, order_id=order_id)
        stream += [{**one, "ts_recv": now}, event(now, "A", "B", order_id=9)]
    return [*stream, later(START + 20 * SECOND)]


streams = st.lists(_parts, max_size=40).map(_build)
some_settings = st.sampled_from(
    [
        {**SETTINGS, "lateness_ns": lateness, "interval_ns": interval}
        for lateness in (0, SECOND // 2, SECOND)
        for interval in (SECOND // 10, SECOND, 3 * SECOND)
    ]
)


@given(streams, some_settings)
def test_hand_overs_are_those_of_the_rules(stream: list[Event], settings: dict[str, int]) -> None:
    """The scorer is given, when and of which second, what the rules leave of the trades."""
    engine = play(stream, settings=settings)
    expected = oracle.hand_overs(stream, SPREADS, SESSIONS, settings, settings["interval_ns"])
    assert handed(engine) == expected


@given(streams, st.lists(st.integers(0, 10**6), max_size=6))
def test_chunks_change_nothing(stream: list[Event], cuts: list[int]) -> None:
    """However the bytes are cut, hand-overs and counts are the same."""
    whole, cut = play(stream), play(stream, pieces(as_bytes(stream), cuts))
    assert handed(cut) == handed(whole)
    assert count_engine(cut) == count_engine(whole)


@given(streams, some_settings)
def test_mirrored_sides_mirror_hand_overs(stream: list[Event], settings: dict[str, int]) -> None:
    """Buyers for sellers in every trade swap what is handed over, and change no count."""
    swap = {"A": "B", "B": "A", "N": "N"}
    mirrored = [
        {**one, "side": swap[one["side"]]} if one["action"] == "T" else one for one in stream
    ]
    plain, other = play(stream, settings=settings), play(mirrored, settings=settings)
    assert count_engine(other)["packages"] == count_engine(plain)["packages"]
    assert handed(other) == {key: cell[::-1] for key, cell in handed(plain).items()}


@given(st.permutations(range(5)))
def test_the_order_of_legs_and_spread_is_nothing(order: list[int]) -> None:
    """Spread and legs of one ts_event, in any order, leave the same flow."""
    ts_ns = START + SECOND // 2
    together = [
        event(ts_ns, "T", "B", instrument_id=CALENDAR, size=3),
        event(ts_ns, "T", "B", instrument_id=CALENDAR, size=2),
        print_of(ts_ns, OPTION, "B", 5),
        print_of(ts_ns, PUT, "N", 5),
        event(ts_ns, "T", "B", size=4),
    ]
    engine = play([later(START), *(together[index] for index in order), later()])
    assert total(engine, OPTION) == [0, 4]
    counts = count_engine(engine)["packages"]
    assert (counts["contracts"], counts["withheld_contracts"]) == (10, 5)


def test_a_spread_takes_its_contracts_and_no_more() -> None:
    """A covered spread of 7 at 2 : 1 takes 14 of 20 printed in its option, 7 in its future.

    Rows count all trades; facts say 14 and 7; six contracts are flow of the option.
    """
    ts_ns = START + SECOND // 2
    stream = [
        later(START),
        print_of(ts_ns, OPTION, "A", 20),
        print_of(ts_ns, FUTURE, "B", 7),
        event(ts_ns, "T", "A", instrument_id=COVERED, size=7),
        later(),
    ]
    engine = play(stream)
    rows = engine.take_rows()
    rows = rows[rows["rows"] & ROW_FACTS != 0]
    by_id = {int(engine.instruments.identities["instrument_id"][row["slot"]]): row for row in rows}
    assert [int(by_id[OPTION][name]) for name in ("bid_volume", "package_volume")] == [20, 14]
    assert [int(by_id[FUTURE][name]) for name in ("ask_volume", "package_volume")] == [7, 7]
    assert int(by_id[OPTION]["volatility_volume"]) == 14
    assert int(by_id[OPTION]["bid_votes_10"]) == 6
    assert total(engine, OPTION) == [6, 0]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, [0, 0]),
        ({"order_id": 5}, [0, 3]),  # an order of its own lifted the ask
        ({"side": "A"}, [3, 0]),  # the other side than the spread says
        ({"ts_event": START + SECOND // 2 + 1}, [0, 3]),  # another time
        ({"size": 2}, [0, 0]),
        ({"size": 5}, [0, 2]),
    ],
)
def test_only_what_agrees_is_a_leg(change: dict[str, Any], left: list[int]) -> None:
    """A print of another time, side or with an order is flow, whatever its size."""
    ts_ns = START + SECOND // 2
    stream = [
        later(START),
        event(ts_ns, "T", "B", instrument_id=CALENDAR, size=3),
        {**print_of(ts_ns, OPTION, "B", 3), **change},
        later(),
    ]
    assert total(play(stream), OPTION) == left


def test_without_a_definition_nothing_is_guessed() -> None:
    """Equal prints of one ts_event in several instruments are flow if no spread names them."""
    ts_ns = START + SECOND // 2
    alike = [print_of(ts_ns, number, "B", 3) for number in (CALENDAR, OPTION, PUT)]
    engine = play([later(START), *alike, later()], spreads=())
    assert total(engine, OPTION) == [0, 3]
    assert not any(count_engine(engine)["packages"].values())


def test_unknown_sides_take_both_or_neither() -> None:
    """A spread's trade without aggressor takes prints of both sides only if it takes all."""
    ts_ns = START + SECOND // 2

    def left(size: int) -> list[int]:
        spread = event(ts_ns, "T", "N", instrument_id=CALENDAR, size=size)
        prints = [print_of(ts_ns, OPTION, "A", 3), print_of(ts_ns, OPTION, "B", 2)]
        return total(play([later(START), spread, *prints, later()]), OPTION)

    assert left(5) == [0, 0]
    assert left(4) == [3, 2]


def test_a_full_table_loses_no_flow() -> None:
    """Prints beyond the room for groups are flow at once, and counted."""
    many = [print_of(START + SECOND // 2 + i, OPTION, "B", 1) for i in range(GROUPS_MAX + 9)]
    engine = play([later(START), *many, later()])
    assert count_engine(engine)["packages"]["trades_untracked"] == 9
    assert total(engine, OPTION) == [0, GROUPS_MAX + 9]


def test_legs_are_known_whatever_is_named_first() -> None:
    """A leg that a record opens, or a definition names, after its spread's definition is one."""
    ts_ns = START + SECOND // 2
    engine = make_plain_engine(SETTINGS)
    engine.instruments.add_definition(spread_of(CALENDAR))
    engine.use_slots()
    stream = [
        later(START),
        event(ts_ns, "T", "A", instrument_id=CALENDAR, size=3),
        print_of(ts_ns, PUT, "B", 3),
        later(),
    ]
    framer = Framer(engine.state.ring, 3)
    engine.feed(framer, as_bytes(stream))
    engine.flush()
    assert count_engine(engine)["packages"]["contracts"] == 3


def test_an_id_with_another_name_is_no_leg() -> None:
    """A spread's leg is the instrument of the name its definition gives."""
    engine = make_plain_engine(SETTINGS)
    engine.instruments.add_definition(define(PUT, "ESM4 P9999", "P"))
    engine.instruments.add_definition(spread_of(CALENDAR))
    table, slot = engine.instruments.leg_table, engine.instruments.slot_of
    assert (table.roles[slot(OPTION)], table.roles[slot(PUT)]) == (-1, 0)


def test_volatility_is_legs_whose_deltas_offset() -> None:
    """Covered options, straddles and calendars are; a bought call with a sold put is not."""

    def kind(*legs: tuple[int, str]) -> bool:
        return is_volatility([leg_of(0, (number, side, 1, 1)) for number, side in legs])

    assert kind((OPTION, "B"), (FUTURE, "A"))
    assert kind((PUT, "B"), (FUTURE, "B"))
    assert kind((OPTION, "B"), (PUT, "B"))
    assert not kind((OPTION, "B"), (PUT, "A"))
    assert not kind((FUTURE, "B"), (FUTURE, "A"))
    assert not kind((OPTION, "B"), (FUTURE, "N"))
