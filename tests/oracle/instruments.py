"""Instruments in plain Python, from rules 7 and 8 of the market data rules.

An id means an instrument. `state["ids"]` says which slot an id means now, `state["slots"]` keeps
every slot for good: one dict an instrument, `symbol` None while nobody has named it.
"""

from __future__ import annotations

from typing import Any

COVERS = ["find_slot", "put_slot", "rehash", "reopen_slot"]  # the dictionary `ids`, `open_slot`

UNDEF_PRICE = 2**63 - 1
MONTHS = "FGHJKMNQUVXZ"

State = dict[str, Any]
Slot = dict[str, Any]


def new_state() -> State:
    """Know nothing."""
    return {"ids": {}, "slots": []}


def open_slot(state: State, instrument_id: int) -> int:
    """Open a slot that knows nothing but its id; the id means this slot from now on."""
    state["slots"].append(
        {
            "instrument_id": instrument_id,
            "symbol": None,
            "kind": "",
            "root": None,
            "contract": None,
            "underlying": None,
            "underlying_id": 0,
            "strike_1e9": UNDEF_PRICE,
            "expiration_ns": -1,
            "mapped": False,
            "retired": False,
            "halted": False,
            "first_seen": -1,
            "last_seen": -1,
            "records": 0,
            "legs": {},
        }
    )
    slot = len(state["slots"]) - 1
    state["ids"][instrument_id] = slot
    return slot


def resolve_batch(state: State, events: list[tuple[int, int]]) -> list[int]:
    """Give each (instrument_id, ts_recv_ns) its slot; an unknown id opens one at once."""
    slots = []
    for instrument_id, ts_recv_ns in events:
        if instrument_id not in state["ids"]:
            open_slot(state, instrument_id)
        slot = state["ids"][instrument_id]
        seen = state["slots"][slot]
        if seen["records"] == 0:
            seen["first_seen"] = ts_recv_ns
        seen["last_seen"] = max(seen["last_seen"], ts_recv_ns)
        seen["records"] += 1
        slots.append(slot)
    return slots


def slot_for_symbol(state: State, instrument_id: int, symbol: str) -> int:
    """Open a slot for an unknown id; retire the old one and open one for another symbol."""
    slot: int | None = state["ids"].get(instrument_id)
    if slot is None:
        return open_slot(state, instrument_id)
    if state["slots"][slot]["symbol"] not in (None, symbol):
        state["slots"][slot]["retired"] = True
        return open_slot(state, instrument_id)
    return slot


def add_definition(state: State, definition: dict[str, Any]) -> None:
    """Name an id by its definition; a deletion only names what is there already."""
    instrument_id = definition["instrument_id"]
    if definition["action"] == "D":
        known = state["ids"].get(instrument_id)
        if known is None or state["slots"][known]["symbol"] not in (None, definition["symbol"]):
            return
    slot = state["slots"][slot_for_symbol(state, instrument_id, definition["symbol"])]
    option = definition["kind"] in ("C", "P")
    slot["symbol"] = definition["symbol"]
    slot["kind"] = definition["kind"]
    slot["root"] = definition["root"]
    slot["contract"] = split_future(definition["symbol"])[1] if definition["kind"] == "F" else None
    slot["underlying"] = definition["underlying"]
    slot["underlying_id"] = definition["underlying_id"]
    slot["expiration_ns"] = definition["expiration_ns"]
    slot["strike_1e9"] = definition["strike_1e9"] if option else UNDEF_PRICE
    whole = slot["strike_1e9"] != UNDEF_PRICE and slot["expiration_ns"] != -1
    slot["mapped"] = whole if option else True
    slot["legs"].update(definition["legs"])


def add_mapping(state: State, instrument_id: int, symbol: str) -> None:
    """Identify a future by its symbol; of an option or a spread that is only the name."""
    slot = state["slots"][slot_for_symbol(state, instrument_id, symbol)]
    if slot["symbol"] == symbol:
        return
    slot["symbol"] = symbol
    root, contract = split_future(symbol)
    if root is not None:
        slot["kind"] = "F"
        slot["root"] = root
        slot["contract"] = contract
        slot["mapped"] = True


def note_status(state: State, instrument_id: int, is_trading: str, action: int) -> None:
    """`is_trading` says it; where it doesn't, trading (7) or a halt of some kind does."""
    if instrument_id not in state["ids"]:
        open_slot(state, instrument_id)
    slot = state["slots"][state["ids"][instrument_id]]
    if is_trading == "Y" or (is_trading == "~" and action == 7):
        slot["halted"] = False
    if is_trading == "N" or (is_trading == "~" and action in (8, 9, 10, 12, 15)):
        slot["halted"] = True


def split_future(symbol: str) -> tuple[str | None, str | None]:
    """Root and contract of a symbol like ESH4: root, a month's letter, one or two digits."""
    for digits in (1, 2):
        root, letter, year = symbol[: -digits - 1], symbol[-digits - 1 : -digits], symbol[-digits:]
        plain = root.isascii() and root.isalnum() and root == root.upper() and 1 <= len(root) <= 4
        if plain and letter and letter in MONTHS and year.isascii() and year.isdigit():
            return root, letter + year
    return None, None


def underlying_slot(state: State, slot: int) -> int:
    """Find an option's future: the newest with the name, else the nameless one with the id."""
    option = state["slots"][slot]
    if option["kind"] not in ("C", "P"):
        return -1
    text = option["underlying"]
    named = [
        index
        for index, other in enumerate(state["slots"])
        if not other["retired"] and other["kind"] == "F" and other["symbol"] == text
    ]
    if text and named:
        return max(named)
    index = state["ids"].get(option["underlying_id"], -1) if option["underlying_id"] else -1
    if index < 0:
        return -1
    other = state["slots"][index]
    if other["symbol"] is None or (not text and other["kind"] == "F"):
        return index
    return -1


def twin_slot(state: State, slot: int) -> int:
    """Call and put of one series, strike and expiry: the newest live of each are twins."""

    def series(one: Slot) -> tuple[Any, ...]:
        return (one["root"], one["underlying"], one["expiration_ns"], one["strike_1e9"])

    me = state["slots"][slot]
    if me["kind"] not in ("C", "P") or me["retired"] or not me["mapped"]:
        return -1
    newest = {"C": -1, "P": -1}
    for index, other in enumerate(state["slots"]):
        alike = other["kind"] in ("C", "P") and series(other) == series(me)
        if alike and other["mapped"] and not other["retired"]:
            newest[other["kind"]] = index
    if newest[me["kind"]] != slot:
        return -1
    return newest["P" if me["kind"] == "C" else "C"]


def unmapped_records(state: State) -> int:
    """Count the records of instruments that nobody has identified."""
    return sum(int(slot["records"]) for slot in state["slots"] if not slot["mapped"])
