"""An engine's state as a head and arrays, and an engine that has it again.

Arrays go back into those that a fresh engine has made and grown, so that they lie where a live
engine's do. What is empty once rows and signals were taken, and what settings alone decide, is
not kept.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ifd_fast import books
from ifd_fast.errors import DataError
from ifd_fast.instrument_links import Known
from ifd_fast.retired import Retirement
from ifd_kernels import book_state, level_blocks
from ifd_kernels.layout import CONSUMED, PUBLISHED
from ifd_kernels.score_state import KEPT, NEVER, VOTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays as BaselineArrays
    from ifd_fast.checkpoint_file import Arrays, Head
    from ifd_fast.engine import FlowEngine
    from ifd_fast.instruments import Instruments

__all__ = ["check_baselines", "restore_engine", "save_engine"]

# Rows and signals were taken; settings, calendar and addresses are the engine's that goes on.
_LEFT_OUT: Final = frozenset(
    {"flow.rows", "flow.sessions", "score.signals", "score.profile", "score.scratch", "entries"}
)
_OF_INSTRUMENTS: Final = frozenset({"identities", "packages.roles", "packages.legs"})
_REPLACED: Final = ("season", "ranks", "limits")  # of a session: whole, not by slot
_NAMES: Final = ("identities", "seen", "id_map", "counts")


def save_engine(engine: FlowEngine) -> tuple[Head, Arrays]:
    """Return the state of an engine whose rows and signals have been taken.

    Raises
    ------
    DataError
        Something is scheduled, or lies in the ring: an engine of a live stream has neither.
    """
    state, book = engine.state, engine.state.book
    cursor = state.ring.cursor
    if engine._scheduled or engine.pending_count or cursor[PUBLISHED] != cursor[CONSUMED]:
        raise DataError("The engine is not at rest: a checkpoint can't be taken of it here.")
    arrays = {
        name: array
        for name, array in _walk(state)
        if name not in _LEFT_OUT and name not in _OF_INSTRUMENTS and not name.startswith("ring.")
    }
    used, odd = int(book.levels.heap[level_blocks.NEXT]), int(book.counters[book_state.ODD_NEXT])
    arrays["book.levels.key"] = book.levels.key[:used]
    arrays["book.levels.quantity"] = book.levels.quantity[:used]
    arrays["book.odd"] = book.odd[:odd]
    if book.counters[book_state.MOVED] < 0:  # nothing in it: made for later, or given back
        arrays["book.old_orders"] = book.old_orders[:0]
    arrays["ring.cursor"] = cursor
    head = {
        "sizes": {
            "orders": len(book.orders), "old_orders": len(book.old_orders), "odd": len(book.odd),
            "levels": len(book.levels.key), "log": len(state.score.log),
        },
        "shown_version": engine._shown_version,
        "joined_version": engine._joined_version,
        "grave": engine._retired.grave,
        "waiting": list(engine._retired._waiting),
        "has_baselines": engine._arrays is not None,
        "baselines": dict(engine.history.digests) if engine.history is not None else {},
    }  # fmt: skip
    names, named = _save_instruments(engine.instruments)
    return {**head, "instruments": names}, {**arrays, **named}


def restore_engine(engine: FlowEngine, head: Head, arrays: Arrays) -> None:
    """Give a fresh engine the state that was saved.

    `check_baselines` has said that its history will do.
    """
    _restore_instruments(engine.instruments, head["instruments"], arrays)
    engine.use_slots()
    state = engine.state
    are_left = int(state.score.cursor[KEPT]) == NEVER
    score = {name: arrays[f"score.{name}"].copy() for name in _REPLACED}
    log = np.zeros(head["sizes"]["log"], VOTE)
    engine.state = state = state._replace(
        book=_make_book(state.book, head["sizes"]), score=state.score._replace(log=log, **score)
    )
    kept = {"book.levels.key", "book.levels.quantity", "book.odd", "book.old_orders"}
    for name, array in _walk(state):
        if name in arrays and name not in _OF_INSTRUMENTS:
            _put(name, array, arrays[name], is_part=name in kept)
    if are_left:  # whoever saved it may have taken hand-overs: who restores it takes none
        engine.leave_handovers()
    engine._shown_version = tuple(head["shown_version"])
    engine._joined_version = tuple(head["joined_version"])
    engine._retired.grave = head["grave"]
    engine._retired._waiting = deque((slot, pane) for slot, pane in head["waiting"])
    session = int(engine.state.flow.clock[0]["joined_session"])
    engine._arrays = _arrays_of(engine, session)


def _walk(state: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of a tuple of tuples, by their names."""
    for name, value in zip(state._fields, state, strict=True):
        if isinstance(value, tuple):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _put(name: str, to: NDArray[Any], saved: NDArray[Any], *, is_part: bool = False) -> None:
    """Copy an array into the one that takes its place."""
    target = to[: len(saved)] if is_part else to
    if target.dtype != saved.dtype or target.shape != saved.shape:
        raise DataError(
            f"checkpoint: `{name}` is {saved.dtype} {saved.shape}, this engine has "
            f"{to.dtype} {to.shape}. It was made by other code."
        )
    target[...] = saved


def _make_book(book: book_state.Book, sizes: dict[str, int]) -> book_state.Book:
    """Return an empty book with the room that another had."""
    orders, old, odd = book.orders, book.old_orders, book.odd
    if len(orders) != sizes["orders"]:
        orders = books._table(sizes["orders"] // books.ROWS)
    if len(old) != sizes["old_orders"]:
        old = books._table(sizes["old_orders"] // books.ROWS)
    if len(odd) < sizes["odd"]:
        odd = np.zeros(sizes["odd"], odd.dtype)
    levels = book.levels
    if len(levels.key) < sizes["levels"]:
        levels = books.grow_levels(levels, sizes["levels"])
    return book._replace(orders=orders, old_orders=old, odd=odd, levels=levels)


def check_baselines(engine: FlowEngine, head: Head, arrays: Arrays) -> None:
    """Raise DataError if the baselines a state was made with are not those an engine will find."""
    session = int(arrays["flow.clock"]["joined_session"][0])
    found = _arrays_of(engine, session)
    digests = {} if engine.history is None else engine.history.digests
    if head["has_baselines"] != (found is not None) or any(
        digests.get(day) != digest for day, digest in head["baselines"].items() if day in digests
    ):
        raise DataError("checkpoint: its baselines are others than those that would be in force.")


def _arrays_of(engine: FlowEngine, session: int) -> BaselineArrays | None:
    """Return the baselines of a session, None if there are none."""
    if engine.history is None or not 0 <= session < len(engine.sessions):
        return None
    return engine.history.arrays_for(engine.sessions[session].trade_date)


def _save_instruments(known: Instruments) -> tuple[Head, Arrays]:
    table = known._links.legs
    head = {
        "known": msgspec.to_builtins(known._known),
        "opened": known._opened,
        "free": list(known._free),
        "vacant": sorted(known._vacant),
        "counters": known.counters,
        "retirements": known.retirements,
        "over": [known.over.unmapped_slots, known.over.unmapped_records],
        "capacity": known.capacity,
        "spreads": sorted(table._spreads),
        "legs_used": table._used,
        "legs_free": sorted(table._free.items()),
    }
    arrays = {f"instruments.{name}": getattr(known, name) for name in _NAMES}
    return head, {**arrays, "legs.roles": table.roles, "legs.legs": table.legs}


def _restore_instruments(known: Instruments, head: Head, arrays: Arrays) -> None:
    if head["capacity"] > known.capacity:
        known._resize(head["capacity"])
    for name in _NAMES:
        _put(name, getattr(known, name), arrays[f"instruments.{name}"])
    known._known[:] = msgspec.convert(head["known"], list[Known])
    known._opened = head["opened"]
    known._free = deque(head["free"])
    known._vacant = set(head["vacant"])
    known.counters.update(head["counters"])
    known.retirements = [Retirement(*one) for one in head["retirements"]]
    known.over.unmapped_slots, known.over.unmapped_records = head["over"]
    _restore_links(known, head, arrays)


def _restore_links(known: Instruments, head: Head, arrays: Arrays) -> None:
    """Build the indexes again, from what is known of each slot that is not vacant."""
    from ifd_fast.instrument_links import _NOTHING, _entry
    from ifd_fast.packages import _has_ratio

    links, table = known._links, known._links.legs
    for slot, one in enumerate(known._known):
        entry = _NOTHING if slot in known._vacant else _entry(one)
        if entry != _NOTHING:
            links._entries[slot] = entry
            links._put_in(slot, entry)
    table.legs = arrays["legs.legs"].copy()
    _put("legs.roles", table.roles, arrays["legs.roles"])
    table._used = head["legs_used"]
    table._free = {count: list(places) for count, places in head["legs_free"]}
    for slot in head["spreads"]:
        legs = tuple(filter(_has_ratio, known._known[slot].legs))
        table._spreads[slot] = legs
        table._ids += Counter(leg.instrument_id for leg in legs)
        table._names += Counter((leg.instrument_id, leg.symbol) for leg in legs)
