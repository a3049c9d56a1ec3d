"""Instruments: the resolving kernel and the border above it, against rules in plain Python."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.errors import DataError, UsageError
from ifd_fast.framing import allocate_ring
from ifd_fast.instruments import Instruments
from ifd_fast.sources import Mapping, open_source
from ifd_kernels.instruments import COUNTS, IDMAP, SEEN, find_slot, put_slot, rehash, resolve_batch
from ifd_kernels.layout import (
    DONE,
    IDENTITY,
    KIND_CALL,
    KIND_PUT,
    NEED_SLOTS,
    UNDEF_PRICE,
)
from tests.oracle import instruments as oracle
from tests.strategies_instruments import (
    IDS,
    STEPS,
    actual_slots,
    define,
    expected_slots,
    fill,
    play,
    resolve,
    run,
    status,
)

FILE_COLUMNS = {
    "instrument_id": pl.UInt32,
    "symbol": pl.String,
    "root": pl.String,
    "underlying": pl.String,
    "expiration": pl.Datetime("ns", "UTC"),
    "strike": pl.Float64,
    "option_type": pl.String,
    "first_seen": pl.Datetime("ns", "UTC"),
    "last_seen": pl.Datetime("ns", "UTC"),
    "mapped": pl.Boolean,
}


@given(STEPS)
def test_same_as_oracle(steps: list[Any]) -> None:
    """Records, definitions, mappings and statuses in any order leave what the rules say."""
    state = oracle.new_state()
    expected = play(steps, state)
    instruments = Instruments(16)
    actual = run(steps, instruments)
    assert actual == expected
    assert actual_slots(instruments) == expected_slots(state)
    assert {i: instruments.slot_of(i) for i in IDS} == {i: state["ids"].get(i, -1) for i in IDS}
    assert instruments.unmapped_records == oracle.unmapped_records(state)
    assert instruments.unmapped_slots == sum(not one["mapped"] for one in state["slots"])
    linked = set(instruments.identities["underlying_slot"][: instruments.slots].tolist()) - {-1}
    assert linked <= instruments.futures_symbols().keys()


@given(STEPS)
def test_growth_changes_nothing(steps: list[Any]) -> None:
    """A table that starts with one slot and grows all the time ends as a large one does."""
    small, large = Instruments(1), Instruments(256)
    assert run(steps, small) == run(steps, large)
    assert actual_slots(small) == actual_slots(large)
    assert small.summary() == large.summary()
    assert small.capacity <= max(2 * small.slots, 1)


@given(STEPS)
def test_twins_are_mutual(steps: list[Any]) -> None:
    """Who is a twin has a twin, of the other type and the same strike."""
    instruments = Instruments()
    run(steps, instruments)
    rows = instruments.identities[: instruments.slots]
    for slot in np.flatnonzero(rows["twin_slot"] >= 0):
        twin = rows[slot]["twin_slot"]
        assert rows[twin]["twin_slot"] == slot
        assert {int(rows[slot]["kind"]), int(rows[twin]["kind"])} == {KIND_CALL, KIND_PUT}
        assert rows[slot]["strike_1e9"] == rows[twin]["strike_1e9"]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=60), st.data())
def test_any_split_changes_nothing(events: list[tuple[int, int]], data: st.DataObject) -> None:
    """A batch cut anywhere gives the same slots as the batch whole."""
    cut = data.draw(st.integers(0, len(events)))
    ring, whole, parts = allocate_ring(64), Instruments(4), Instruments(4)
    expected = resolve(whole, ring, events)
    actual = resolve(parts, ring, events[:cut]) + resolve(parts, ring, events[cut:], cut)
    assert actual == expected
    assert actual_slots(parts) == actual_slots(whole)


# --- the kernels alone ---
@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 100), max_size=16))
def test_id_map_is_a_dictionary(wanted: dict[int, int]) -> None:
    """Half-full maps find every id, wherever hashes meet, before and after growing."""
    small, large = np.zeros(32, IDMAP), np.zeros(64, IDMAP)
    small["slot"] = large["slot"] = -1
    for instrument_id, slot in wanted.items():
        put_slot(small, instrument_id, slot + 1)
        put_slot(small, instrument_id, slot)
    rehash(small, large)
    for id_map in (small, large):
        assert {i: find_slot(id_map, i) for i in wanted} == wanted
        absent = next(i for i in range(20) if i not in wanted)
        assert find_slot(id_map, absent) == -1
        assert np.count_nonzero(id_map["slot"] >= 0) == len(wanted)


def test_kernel_stops_at_the_event_without_room() -> None:
    """A full table stops at the first event of a new id, with all before it resolved."""
    ring = allocate_ring(8)
    fill(ring, [(5, 1), (5, 2), (6, 3), (5, 4)])
    id_map = np.zeros(2, IDMAP)
    id_map["slot"] = -1
    arrays = (id_map, np.zeros(1, IDENTITY), np.zeros(1, SEEN), np.zeros(COUNTS, np.int64))
    assert resolve_batch(ring, 0, 4, *arrays) == (NEED_SLOTS, 2)
    assert ring.slot[:4].tolist() == [0, 0, -1, -1]
    assert arrays[2]["records"].tolist() == [2]
    assert resolve_batch(ring, 3, 4, *arrays) == (DONE, 4)


# --- single rules, by hand ---
def test_anonymous_slot_keeps_its_place_when_named() -> None:
    """A record opens slot 0 without a name; the definition names that very slot."""
    instruments, ring = Instruments(), allocate_ring(8)
    assert resolve(instruments, ring, [(1, 10), (1, 11)]) == [0, 0]
    assert not instruments.identity(0).mapped
    assert instruments.unmapped_records == 2
    assert instruments.add_definition(define()) == 0
    said = instruments.identity(0)
    assert (said.symbol, said.strike, said.option_type, said.mapped) == (
        "ESM4 C5000",
        5000.0,
        "C",
        True,
    )
    assert instruments.unmapped_records == 0


def test_another_symbol_retires_the_slot() -> None:
    """Id 1 first means a call, then a put: two slots, and the call's identity stays."""
    instruments, ring = Instruments(), allocate_ring(8)
    instruments.add_definition(define())
    assert (
        instruments.add_definition(define(1, "ESM4 P4000", "P", strike_1e9=4_000_000_000_000), 99)
        == 1
    )
    assert resolve(instruments, ring, [(1, 10)]) == [1]
    assert instruments.identity(0).symbol == "ESM4 C5000"
    assert instruments.identities["retired"][:2].tolist() == [1, 0]
    assert [tuple(one) for one in instruments.retirements] == [(99, 1, 0, 1)]


def test_same_definition_again_changes_nothing() -> None:
    """The same definition of another day or with another time is counted and no more."""
    instruments = Instruments()
    instruments.add_definition(define())
    before = actual_slots(instruments)
    instruments.add_definition(define(ts_recv_ns=5, security_update_action="M"))
    assert actual_slots(instruments) == before
    assert instruments.counters["definitions_repeated"] == 1


def test_deletion_ends_nothing() -> None:
    """A deleted instrument keeps its slot and identity; one that was never seen opens none."""
    instruments = Instruments()
    instruments.add_definition(define())
    before = actual_slots(instruments)
    assert instruments.add_definition(define(security_update_action="D")) == 0
    assert instruments.add_definition(define(1, "ESM4 P1", "P", security_update_action="D")) == -1
    assert instruments.add_definition(define(2, "ESM4 P1", "P", security_update_action="D")) == -1
    assert actual_slots(instruments) == before
    assert instruments.counters["deletions_ignored"] == 2


def test_future_links_whichever_comes_first() -> None:
    """Call, put and their future end linked in each of the six orders, and after a mapping only."""
    call, put = define(1, "ESM4 C5000", "C"), define(2, "ESM4 P5000", "P")
    future = define(7, "ESM4", "F")
    for order in ((call, put, future), (future, put, call), (put, future, call)):
        for named in (True, False):
            instruments = Instruments()
            for one in order:
                if one is future and not named:
                    instruments.add_mapping(7, "ESM4")
                else:
                    instruments.add_definition(one)
            slots = {i: instruments.slot_of(i) for i in (1, 2, 7)}
            rows = instruments.identities
            assert [rows[slots[i]]["underlying_slot"] for i in (1, 2)] == [slots[7]] * 2
            assert rows[slots[1]]["twin_slot"] == slots[2]
            assert instruments.futures_symbols() == {slots[7]: "ESM4"}


def test_nameless_future_is_known_by_id() -> None:
    """An option's definition gives its future's id: that slot is linked before anyone names it."""
    instruments, ring = Instruments(), allocate_ring(8)
    instruments.add_definition(define())
    assert resolve(instruments, ring, [(7, 1)]) == [1]
    assert instruments.identities[0]["underlying_slot"] == 1
    assert not instruments.identity(1).mapped
    assert instruments.futures_symbols() == {1: "ESM4"}
    instruments.add_mapping(7, "ESU4")
    assert instruments.identities[0]["underlying_slot"] == -1


def test_option_known_by_symbol_has_no_strike() -> None:
    """A name alone never makes a strike or a type: the slot stays unmapped till the definition."""
    instruments = Instruments()
    instruments.add_mapping(1, "ESM4 C5000")
    said = instruments.identity(0)
    assert said.symbol == "ESM4 C5000"
    assert (said.strike, said.option_type, said.mapped) == (None, None, False)
    instruments.add_definition(define())
    assert instruments.identity(0).strike == 5000.0


def test_option_without_strike_is_not_mapped() -> None:
    """A definition that leaves strike or expiration undefined can't be scored by a wrong one."""
    instruments = Instruments()
    instruments.add_definition(define(strike_1e9=UNDEF_PRICE))
    assert instruments.identity(0).strike is None
    assert not instruments.identity(0).mapped


@pytest.mark.parametrize(
    ("is_trading", "action", "before", "expected"),
    [
        ("Y", 8, 1, 0),
        ("N", 7, 0, 1),
        ("~", 7, 1, 0),
        *(("~", action, 0, 1) for action in (8, 9, 10, 12, 15)),
        ("~", 14, 1, 1),
        ("~", 14, 0, 0),
    ],
)
def test_status_halts(is_trading: str, action: int, before: int, expected: int) -> None:
    """Y and N decide; where is_trading is silent the action does; other actions change nothing."""
    instruments = Instruments()
    instruments.add_definition(define())
    instruments.identities[0]["halted"] = before
    instruments.note_status(status(1, is_trading, action))
    assert instruments.identities[0]["halted"] == expected


def test_definitions_of_a_file_wait_for_their_time() -> None:
    """What would rename an id later in the session is handed back; the rest acts at once."""
    first = define(1, "ESM4 C5000", ts_recv_ns=10)
    second = define(1, "ESM4 P4000", "P", strike_1e9=4, ts_recv_ns=30)
    third = define(1, "ESM4 C5000", ts_recv_ns=40)
    other = define(2, "ESM4 P5000", "P", ts_recv_ns=35)
    instruments = Instruments()
    waiting = instruments.add_definitions([third, other, second, first], start_ns=20)
    assert waiting == [second, third]
    assert [instruments.identity(slot).symbol for slot in range(2)] == ["ESM4 C5000", "ESM4 P5000"]


def test_too_many_instruments_are_refused() -> None:
    """Beyond `slots_max` the message names the bound and the way out."""
    instruments, ring = Instruments(1, slots_max=2), allocate_ring(8)
    with pytest.raises(DataError, match=r"`slots_max` is 2.*raise `slots_max`"):
        resolve(instruments, ring, [(1, 0), (2, 0), (3, 0)])
    assert instruments.slots == 2
    with pytest.raises(UsageError, match="was 0"):
        Instruments(0)


def test_frame_has_the_columns_of_the_file() -> None:
    """Every slot is a row, with null where nothing is known."""
    instruments, ring = Instruments(), allocate_ring(8)
    instruments.add_definition(define())
    resolve(instruments, ring, [(9, 123), (9, 125)])
    frame = instruments.frame()
    assert dict(frame.schema) == FILE_COLUMNS
    assert frame["symbol"].to_list() == ["ESM4 C5000", None]
    assert frame["strike"].to_list() == [5000.0, None]
    assert frame["last_seen"].dt.timestamp("ns").to_list() == [None, 125]
    assert frame["expiration"].null_count() == 1
    assert Instruments().frame().schema == frame.schema


def test_metadata_names_of_another_kind_are_left_out() -> None:
    """Continuous contracts are no raw symbols; ids asked for by number are."""
    days = (Mapping("2024-05-08", "2024-05-09", "5602"),)
    metadata: Any = SimpleNamespace(
        stype_in="continuous", stype_out="instrument_id", mappings={"ES.c.0": days}
    )
    instruments = Instruments()
    assert instruments.add_metadata_mappings(metadata, dt.date(2024, 5, 8)) == 0
    by_id = {"5602": (Mapping("2024-05-08", "2024-05-09", "ESM4"),), "x": days}
    metadata = SimpleNamespace(stype_in="instrument_id", stype_out="raw_symbol", mappings=by_id)
    assert instruments.add_metadata_mappings(metadata, dt.date(2024, 5, 9)) == 0
    assert instruments.add_metadata_mappings(metadata, dt.date(2024, 5, 8)) == 1
    assert instruments.identity(instruments.slot_of(5602)).symbol == "ESM4"
    assert instruments.counters["mappings_ignored"] == 1


# --- real data ---
def test_future_without_definition_is_known_by_its_file(real_data: Callable[[str], Path]) -> None:
    """No definition covers ESH4: the file's metadata gives root ES and month H4, no more."""
    with open_source(real_data("glbx/futures/esh4-20231225-first24000.mbo.dbn.zst")) as source:
        metadata = source.metadata
    instruments = Instruments()
    assert instruments.add_metadata_mappings(metadata, dt.date(2023, 12, 25)) == 1
    said = instruments.identity(instruments.slot_of(17077))
    assert (said.symbol, said.root, said.contract, said.option_type) == ("ESH4", "ES", "H4", "F")
    assert said.mapped
    assert said.expiration_ns == -1


def test_a_month_of_mappings_retires_reused_ids(real_data: Callable[[str], Path]) -> None:
    """11,294 names over a month, day by day: 290 ids change their meaning, outrights never do."""
    with open_source(real_data("glbx/options/es-opt-20230801.definition.dbn.zst")) as source:
        metadata = source.metadata
    names = list(metadata.mappings)
    outright = [name for name in names if not name.startswith("UD:")]
    assert (len(names), len(outright)) == (11_294, 1_944)
    assert [sum(f" {letter}" in name for name in outright) for letter in "CP"] == [972, 972]
    instruments = Instruments()
    for day in range(31):
        instruments.add_metadata_mappings(metadata, dt.date(2023, 8, 1) + dt.timedelta(day))
    renamed = {one.instrument_id for one in instruments.retirements}
    assert len(renamed) == 290
    names = [instruments.identity(one.slot).symbol or "" for one in instruments.retirements]
    assert all(name.startswith("UD:") for name in names)
