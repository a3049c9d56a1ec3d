"""Sessions of instruments in any order, and how to play them by the rules and for real."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ifd_fast.definitions import Definition, Leg, Status
from ifd_fast.framing import allocate_ring
from ifd_fast.instruments import Instruments
from ifd_kernels.layout import (
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    KIND_UNKNOWN,
    UNDEF_PRICE,
    Ring,
)
from tests.oracle import instruments as oracle

__all__ = [
    "IDS",
    "STEPS",
    "actual_slots",
    "define",
    "expected_slots",
    "fill",
    "play",
    "resolve",
    "run",
    "status",
]

KINDS = {"C": KIND_CALL, "P": KIND_PUT, "F": KIND_FUTURE, "S": KIND_SPREAD, "": KIND_UNKNOWN}
IDS = [1, 7, 2**32 - 1]  # few, so that they meet
SYMBOLS = ["ESM4", "ESM4", "ESH4", "ESM4 C5000"]


def define(
    instrument_id: int = 1, symbol: str = "ESM4 C5000", kind: str = "C", **changes: Any
) -> Definition:
    """Return a definition, of an option unless told otherwise."""
    values: dict[str, Any] = {
        "instrument_id": instrument_id,
        "raw_symbol": symbol,
        "kind": KINDS[kind],
        "instrument_class": kind,
        "strike_1e9": 5_000_000_000_000 if kind in {"C", "P"} else UNDEF_PRICE,
        "expiration_ns": 1_718_976_600_000_000_000,
        "underlying": "ESM4" if kind in {"C", "P"} else "",
        "underlying_id": 7 if kind in {"C", "P"} else 0,
        "asset": "ES",
        "security_update_action": "A",
        "user_defined": False,
        "min_price_increment_1e9": 250_000_000,
        "tick_rule": 255,
        "unit_of_measure_qty_1e9": 50_000_000_000,
        "ts_event_ns": 0,
        "ts_recv_ns": 0,
    }
    return Definition(**{**values, **changes})


def status(instrument_id: int, is_trading: str, action: int = 0) -> Status:
    return Status(instrument_id, action, 0, 0, is_trading, 0, 0)


def fill(ring: Ring, events: list[tuple[int, int]], start: int = 0) -> None:
    """Put (instrument_id, ts_recv_ns) into `ring` from sequence number `start` on."""
    for sequence, (instrument_id, ts_recv_ns) in enumerate(events, start):
        index = sequence & (len(ring.slot) - 1)
        ring.instrument_id[index] = instrument_id
        ring.ts_recv_ns[index] = ts_recv_ns


def resolve(
    instruments: Instruments, ring: Ring, events: list[tuple[int, int]], start: int = 0
) -> list[int]:
    fill(ring, events, start)
    instruments.resolve(ring, start, start + len(events))
    return [int(ring.slot[s & (len(ring.slot) - 1)]) for s in range(start, start + len(events))]


RECORDS = st.lists(st.tuples(st.sampled_from(IDS), st.integers(-1, 50)), max_size=4)
LEGS = st.dictionaries(st.integers(0, 2), st.sampled_from([1, 7, 8]), max_size=2)
DEFINITIONS = st.fixed_dictionaries(
    {
        "instrument_id": st.sampled_from(IDS),
        "symbol": st.sampled_from(SYMBOLS),
        "kind": st.sampled_from(["C", "C", "P", "P", "F", "S", ""]),
        "root": st.sampled_from(["ES", "ES", "NQ"]),
        "underlying": st.sampled_from(["ESM4", "ESM4", "ESH4", None]),
        "underlying_id": st.sampled_from([0, 7, 7]),
        "expiration_ns": st.sampled_from([100, 100, 100, -1]),
        "strike_1e9": st.sampled_from([5, 5, -5, UNDEF_PRICE]),
        "action": st.sampled_from(["A", "A", "M", "D"]),
        "legs": LEGS,
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("records"), RECORDS),
        st.tuples(st.just("definition"), DEFINITIONS),
        st.tuples(st.just("mapping"), st.tuples(st.sampled_from(IDS), st.sampled_from(SYMBOLS))),
        st.tuples(
            st.just("status"),
            st.tuples(
                st.sampled_from(IDS),
                st.sampled_from("YN~"),
                st.sampled_from([0, 7, 8, 9, 10, 12, 14, 15]),
            ),
        ),
    ),
    min_size=3,
    max_size=30,
)


def from_plain(one: dict[str, Any]) -> Definition:
    legs = tuple(
        Leg(index, one["legs"][index], "", KIND_UNKNOWN, "B", 1, 1, 0)
        for index in sorted(one["legs"])
    )
    return define(
        one["instrument_id"],
        one["symbol"],
        one["kind"],
        asset=one["root"],
        underlying=one["underlying"] or "",
        underlying_id=one["underlying_id"],
        expiration_ns=one["expiration_ns"],
        strike_1e9=one["strike_1e9"],
        security_update_action=one["action"],
        leg_count=len(legs),
        legs=legs,
    )


def play(steps: list[Any], state: dict[str, Any]) -> list[list[int]]:
    """Play `steps` in the oracle; return the slots of each batch of records."""
    batches = []
    for what, value in steps:
        if what == "records":
            batches.append(oracle.resolve_batch(state, value))
        elif what == "definition":
            oracle.add_definition(state, value)
        elif what == "mapping":
            oracle.add_mapping(state, *value)
        else:
            oracle.note_status(state, *value)
    return batches


def run(steps: list[Any], instruments: Instruments) -> list[list[int]]:
    """Play `steps` for real, the records through a small ring that wraps around."""
    ring, start, batches = allocate_ring(16), 5, []
    for what, value in steps:
        if what == "records":
            batches.append(resolve(instruments, ring, value, start))
            start += len(value)
        elif what == "definition":
            instruments.add_definition(from_plain(value))
        elif what == "mapping":
            instruments.add_mapping(*value)
        else:
            instruments.note_status(status(*value))
    return batches


def expected_slots(state: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for slot, one in enumerate(state["slots"]):
        links = {
            "underlying_slot": oracle.underlying_slot(state, slot),
            "twin_slot": oracle.twin_slot(state, slot),
        }
        kept = {key: value for key, value in one.items() if key != "underlying_id"}
        rows.append({**kept, **links, "legs": dict(sorted(one["legs"].items()))})
    return rows


def actual_slots(instruments: Instruments) -> list[dict[str, Any]]:
    rows = []
    for slot in range(instruments.slots):
        said, row, seen = (
            instruments.identity(slot),
            instruments.identities[slot],
            instruments.seen[slot],
        )
        rows.append(
            {
                "instrument_id": said.instrument_id,
                "symbol": said.symbol,
                "kind": said.option_type or "",
                "root": said.root,
                "contract": said.contract,
                "underlying": said.underlying,
                "strike_1e9": int(row["strike_1e9"]),
                "expiration_ns": said.expiration_ns,
                "mapped": said.mapped,
                "retired": bool(row["retired"]),
                "halted": bool(row["halted"]),
                "first_seen": int(seen["first_ns"]),
                "last_seen": int(seen["last_ns"]),
                "records": int(seen["records"]),
                "legs": {leg.index: leg.instrument_id for leg in instruments.legs(slot)},
                "underlying_slot": int(row["underlying_slot"]),
                "twin_slot": int(row["twin_slot"]),
            }
        )
    return rows
