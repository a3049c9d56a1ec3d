"""Sealing: bytes to what scoring needs of a session, without scoring it.

A `SealingEngine` is the engine that runs live, but at a scoring instant it weighs nothing: it logs
what a scorer reads besides the hand-overs. These are the quality marks of slots it may judge, and
a journal of `Change`: a session's open, what slots are called from then on, slots that are
emptied. Each stands at a number of hand-overs and before an instant, so that `rescoring` applies
it exactly where the live scorer met it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ifd_fast.draining import SCHEMAS, Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.handovers import HANDOVERS_SCHEMA, build_handovers
from ifd_fast.retired import Retired
from ifd_fast.rows import PRICE_SCALE
from ifd_kernels.layout import IDENTITY, UNDEF_PRICE
from ifd_kernels.score_state import HEAD, SEALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ifd_fast.calendar import Sessions
    from ifd_fast.profiles import Profile
    from ifd_kernels.engine import Engine as EngineState

__all__ = [
    "BURIED",
    "NAMED",
    "OPENED",
    "SEALED_SCHEMAS",
    "Change",
    "SealDrain",
    "SealingEngine",
]

OPENED: Final = "opened"  # a session: all flow is forgotten, all slots are listed
NAMED: Final = "named"  # slots have other names, or new ones are there
BURIED: Final = "buried"  # slots are emptied; their flow goes to the grave

_NS: Final = pl.Datetime("ns", "UTC")
_NUMBERS: Final = tuple(name for name in IDENTITY.names or () if name != "halted")

SEALED_SCHEMAS: Final = {
    "windows": SCHEMAS["windows"],
    "facts": SCHEMAS["facts"],
    "instruments": SCHEMAS["instruments"],
    "handovers": pl.Schema({**HANDOVERS_SCHEMA, "number": pl.Int64(), "slot": pl.Int32()}),
    "marks": pl.Schema(
        {"trade_date": pl.Date(), "instant": _NS, "slot": pl.Int32(), "marks": pl.Int32()}
    ),
    "changes": pl.Schema(
        {
            "trade_date": pl.Date(),
            "change": pl.Int64(),
            "kind": pl.String(),
            "number": pl.Int64(),  # hand-overs before it
            "before_ns": pl.Int64(),  # instants below it were scored before it
            "observed_from_ns": pl.Int64(),
            "slots": pl.Int64(),  # in use
            "first": pl.Int64(),  # expectations of slots below it stay as they are
            "grave": pl.Int64(),
            "buried": pl.List(pl.Int64()),
        }
    ),
    "names": pl.Schema(
        {
            "trade_date": pl.Date(),
            "change": pl.Int64(),
            "slot": pl.Int64(),
            **dict.fromkeys(_NUMBERS, pl.Int64()),
            "symbol": pl.String(),
            "underlying": pl.String(),
            "strike": pl.Float64(),
            "future": pl.String(),  # by which baselines know it, if it is somebody's underlying
        }
    ),
}
_NAMES: Final = pl.Schema(list(SEALED_SCHEMAS["names"].items())[2:])  # of one change


@dataclass(frozen=True)
class Change:
    """What changed for the scorer between two hand-overs; `names` is a frame of its slots."""

    kind: str
    session: int
    number: int
    before_ns: int
    observed_from_ns: int
    slots: int
    first: int
    grave: int
    buried: tuple[int, ...]
    names: pl.DataFrame | None


class SealingEngine(FlowEngine):
    """An engine that keeps what scoring needs, and scores nothing."""

    def __init__(self, profile: Profile, sessions: Sessions, *, history: object = None) -> None:
        """Begin with nothing played; there is no `history` to be used."""
        super().__init__(profile, sessions, history=None)
        if history is not None:
            raise ValueError("An engine that seals takes no history: it scores nothing.")
        self.state.score.cursor[SEALS] = 1
        self._retired = _Buries(self)
        self._changes: list[Change] = []
        self.scored_before_ns = 0  # the first instant that the stream did not come to
        self._opens = False
        self._noted: tuple[int, ...] = ()
        self._numbers = np.zeros(0, IDENTITY)
        self._texts: list[tuple[str | None, ...]] = []

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in their order."""
        changes, self._changes = self._changes, []
        return changes

    def flush(self) -> None:
        """Close what is open; what is due from here on is scored by nobody."""
        self.scored_before_ns = int(self.state.flow.clock[0]["next_instant_ns"])
        super().flush()

    def use_slots(self) -> None:
        """Let the kernels see instruments that were opened since, and note what was new."""
        super().use_slots()
        if self._joined_version != self._noted:  # slots that only a record has opened
            self._note_names(self._noted[0] if self._noted else 0)

    def note_buried(self, slots: NDArray[np.int64], grave: int) -> None:
        """Note that slots were emptied."""
        self._note(BURIED, grave=grave, buried=tuple(slots.tolist()))

    def _join_session(self) -> None:
        self._opens = True
        super()._join_session()

    def _join_slots(self) -> None:
        super()._join_slots()
        self._note_names(0)

    def _note_names(self, first: int) -> None:
        """Note how slots are called now: all at a session's open, else those that changed."""
        self._noted = self._joined_version
        kind, self._opens = (OPENED if self._opens else NAMED), False
        known = 0 if kind == OPENED else len(self._texts)
        numbers = self.instruments.identities[: self.instruments.slots].copy()
        numbers["halted"] = 0  # it is among the marks
        texts = self._texts_of(len(numbers))
        new = numbers[:known] != self._numbers[:known]
        changed = [
            slot
            for slot in range(len(numbers))
            if slot >= known or new[slot] or texts[slot] != self._texts[slot]
        ]
        self._numbers, self._texts = numbers, texts
        self._note(kind, first=first, names=_frame_names(changed, numbers, texts))

    def _texts_of(self, slots: int) -> list[tuple[str | None, ...]]:
        """Return of each slot its symbol, its underlying's, and by which it is an underlying."""
        futures = self.instruments.futures_symbols()
        named = (self.instruments.identity(slot) for slot in range(slots))
        return [(one.symbol, one.underlying, futures.get(slot)) for slot, one in enumerate(named)]

    def _note(
        self,
        kind: str,
        *,
        first: int = 0,
        grave: int = -1,
        buried: tuple[int, ...] = (),
        names: pl.DataFrame | None = None,
    ) -> None:
        clock, score = self.state.flow.clock[0], self.state.score
        self._changes.append(
            Change(
                kind,
                int(clock["joined_session"]),
                int(score.cursor[HEAD]),
                int(clock["next_instant_ns"]),
                self.observed_from_ns,
                self.instruments.slots,
                first,
                grave,
                buried,
                names,
            )
        )


def _frame_names(
    slots: list[int], numbers: NDArray[Any], texts: list[tuple[str | None, ...]]
) -> pl.DataFrame:
    """Return the columns of `names` that say who `slots` are."""
    part = numbers[slots]
    undefined = part["strike_1e9"] == UNDEF_PRICE
    strike = pl.Series(part["strike_1e9"] / PRICE_SCALE).set(pl.Series(undefined), None)
    columns = {name: part[name].astype(np.int64) for name in _NUMBERS}
    said = list(zip(*(texts[slot] for slot in slots), strict=True)) or [(), (), ()]
    return pl.DataFrame(
        {"slot": slots, **columns, "symbol": said[0], "underlying": said[1], "strike": strike}
        | {"future": said[2]},
        schema={
            name: SEALED_SCHEMAS["names"][name] for name in SEALED_SCHEMAS["names"].names()[2:]
        },
    )


class _Buries(Retired):
    """Retired slots, of which an engine notes when they are emptied."""

    def __init__(self, engine: SealingEngine) -> None:
        super().__init__()
        self._engine = engine

    def take_over(self, state: EngineState) -> NDArray[np.int64]:
        """Empty the slots (k,) that nothing asks for any more, note it, and return them."""
        slots = super().take_over(state)
        if len(slots):
            self._engine.note_buried(slots, self.grave)
        return slots


class SealDrain(Drain):
    """Takes what a sealing engine has found, and hands it on as frames of SEALED_SCHEMAS."""

    def __init__(
        self, engine: SealingEngine, deliver: Callable[[str, pl.DataFrame], object]
    ) -> None:
        """Take what `engine` finds from now on."""
        super().__init__(engine, deliver, ("windows", "facts", "instruments", "handovers"))
        self._sealing = engine
        self._numbered = 0  # hand-overs taken
        self._change = 0

    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all that was found; windows that end after `observed_to_ns` were cut short."""
        super().drain(observed_to_ns)
        for change in self._sealing.take_changes():
            self._take_change(change)

    def _take_signals(self) -> None:
        rows = self.engine.take_signals()
        if len(rows):
            columns = {"instant": rows["instant_ns"], "slot": rows["slot"], "marks": rows["marks"]}
            dates = self._dates_of(rows["instant_ns"])
            frame = pl.DataFrame({"trade_date": dates, **columns})
            self._deliver("marks", _typed("marks", frame))

    def _take_handovers(self) -> None:
        entries = self.engine.take_handovers()
        if not len(entries):
            return
        ids = self.engine.instruments.identities["instrument_id"]
        close_ns = np.asarray(self.engine.sessions.close_ns)
        frame = build_handovers(entries, ids, close_ns, self._dates()).with_columns(
            pl.Series("number", np.arange(self._numbered, self._numbered + len(entries))),
            pl.Series("slot", entries["slot"]),
        )
        self._numbered += len(entries)
        self._deliver("handovers", _typed("handovers", frame))

    def _take_change(self, change: Change) -> None:
        if change.session >= len(self.engine.sessions):
            return  # beyond the calendar nothing is scored
        date = self._dates()[change.session].astype("datetime64[D]").item()
        row = {
            "trade_date": [date], "change": [self._change], "kind": [change.kind],
            "number": [change.number], "before_ns": [change.before_ns],
            "observed_from_ns": [change.observed_from_ns], "slots": [change.slots],
            "first": [change.first], "grave": [change.grave], "buried": [list(change.buried)],
        }  # fmt: skip
        self._deliver("changes", _typed("changes", pl.DataFrame(row)))
        if change.names is not None and change.names.height:
            day, number = pl.lit(date).alias("trade_date"), pl.lit(self._change).alias("change")
            names = change.names.select(day, number, pl.all())
            self._deliver("names", _typed("names", names))
        self._change += 1

    def _dates_of(self, instants_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
        session = np.searchsorted(np.asarray(self.engine.sessions.close_ns), instants_ns)
        dates = self._dates()
        return dates[np.minimum(session, len(dates) - 1)].astype("datetime64[D]")


def _typed(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    schema = SEALED_SCHEMAS[name]
    return frame.select([pl.col(one).cast(kind) for one, kind in schema.items()])
