"""A second look at known signals: the trades before each, and the book as it stood.

`WitnessEngine` is the engine of every replay, paused at chosen events: before each trade of a
watched slot, to read the best prices it met, and before the record that crosses an instant, which
is where the scorer stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ifd_fast import books
from ifd_fast.engine import FlowEngine
from ifd_fast.rerunning import ring_places, timely_ns
from ifd_kernels.layout import (
    ACTION_TRADE,
    CONSUMED,
    SECOND_NS,
    SIDE_ASK,
    SIDE_BID,
    UNDEF_PRICE,
    Integer,
)
from ifd_kernels.pressure import TRADES_COUNTED
from ifd_kernels.score_state import WINDOWS_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Standing", "Trade", "Wanted", "WitnessEngine"]

_SIDES: Final = {SIDE_BID: "BUY", SIDE_ASK: "SELL"}
_LONGEST_NS: Final = max(WINDOWS_S) * SECOND_NS
_LEVELS_SHOWN: Final = 5
_NEVER_NS: Final = 2**62


class Wanted(NamedTuple):
    """A signal to look at: its slot and its instant."""

    slot: int
    instant_ns: int


class Trade(NamedTuple):
    """One counted trade, the best prices it met, and the instant at which the scorer had it."""

    ts_event_ns: int
    scored_ns: int
    side: str | None  # BUY: lifted the ask; SELL: hit the bid; None: the exchange didn't say
    price: float | None
    size: int
    bid: float | None
    bid_size: int
    ask: float | None
    ask_size: int


class Standing(NamedTuple):
    """What stood at an instant, before the record that crossed it."""

    bids: list[books.Level]
    asks: list[books.Level]
    expected: dict[str, Any]  # of EXPECTED, what history says of the slot


class WitnessEngine(FlowEngine):
    """An engine that watches the slots of signals; `done` once all their instants are past.

    Attributes
    ----------
    trades
        Slot -> its counted trades from the longest window before the first wanted instant on.
    standing
        Wanted -> what stood at its instant.
    """

    def __init__(self, *arguments: Any, wanted: Sequence[Wanted], **settings: Any) -> None:
        """Watch for `wanted`; the rest is what `FlowEngine` takes."""
        super().__init__(*arguments, **settings)
        self.trades: dict[int, list[Trade]] = {one.slot: [] for one in wanted}
        self.standing: dict[Wanted, Standing] = {}
        self._pending = sorted(set(wanted), key=lambda one: one.instant_ns)
        self._slots = np.array(sorted(self.trades), np.int64)
        self._from_ns = min(one.instant_ns for one in wanted) - _LONGEST_NS - self._slack_ns()

    @property
    def done(self) -> bool:
        """Whether every wanted instant is past."""
        return not self._pending

    def _slack_ns(self) -> int:
        return self.profile.lateness_ns + self.profile.scoring_interval_ns + SECOND_NS

    def _advance(self, stop: int) -> None:
        ring = self.state.ring
        start = int(ring.cursor[CONSUMED])
        places = ring_places(ring, start, stop)
        timely = timely_ns(ring, places)
        for number in self._pauses(places, timely):
            super()._advance(start + number)
            self._see_crossing(int(timely[number]))
            self._see_event(int(places[number]), start + number + 1)
        super()._advance(stop)

    def _pauses(self, places: NDArray[np.int64], timely: NDArray[np.int64]) -> Iterator[int]:
        """Yield which of the events to pause before, in order."""
        ring = self.state.ring
        if not self._pending or not len(places) or timely.max() < self._from_ns:
            return
        watched = (ring.action[places] == ACTION_TRADE) & np.isin(ring.slot[places], self._slots)
        watched &= ring.ts_event_ns[places] >= self._from_ns
        newest = np.maximum.accumulate(timely)
        instants = np.array([one.instant_ns for one in self._pending])
        crossing = np.searchsorted(newest, instants)
        yield from np.union1d(np.flatnonzero(watched), crossing[crossing < len(places)]).tolist()

    def _see_crossing(self, ts_ns: int) -> None:
        """Keep what stands, if the event at hand crosses wanted instants."""
        while self._pending and self._pending[0].instant_ns <= ts_ns:
            one = self._pending.pop(0)
            bids, asks = books.levels(self.state.book, one.slot)
            row = self.state.score.expected[one.slot]
            expected = {name: row[name].tolist() for name in row.dtype.names}
            self.standing[one] = Standing(bids[:_LEVELS_SHOWN], asks[:_LEVELS_SHOWN], expected)

    def _see_event(self, place: int, after: int) -> None:
        """Apply the event at hand; keep it if it is a watched trade that counts."""
        ring, counters = self.state.ring, self.state.flow.counters
        slot = int(ring.slot[place])
        if ring.action[place] != ACTION_TRADE or slot not in self.trades:
            return
        touch = self.state.book.touch[slot].copy()
        before = int(counters[TRADES_COUNTED])
        super()._advance(after)
        if int(counters[TRADES_COUNTED]) == before:
            return
        trade = Trade(
            int(ring.ts_event_ns[place]),
            int(self.state.flow.clock[0]["next_instant_ns"]),
            _SIDES.get(int(ring.side[place])),
            _points(ring.price_1e9[place]),
            int(ring.size[place]),
            _points(touch["bid_price_1e9"]),
            int(touch["bid_size"]),
            _points(touch["ask_price_1e9"]),
            int(touch["ask_size"]),
        )
        self.trades[slot].append(trade)


def _points(price_1e9: Integer) -> float | None:
    return None if price_1e9 == UNDEF_PRICE else int(price_1e9) / 1e9
