"""A checker of simulated streams: replays records by the book's rules and lists what is not legal.

It knows nothing of how the stream was made. Records are tuples (instrument_id, ts_event, order_id,
price, size, flags, action, side, ts_recv, ts_in_delta, sequence), actions and sides as letters.
"""

from __future__ import annotations

import struct

__all__ = ["Checker", "read_records"]

# The stream as a whole is what these kernels mean; their parts have no meaning of their own.
COVERS = (
    "fill_books",
    "move_future",
    "next_time",
    "run",
    "send_quotes",
    "snapshot",
    "start_packet",
    "trade_child",
    "market_follow.clear_books",
    "market_follow.follow",
    "market_follow.reach_rungs",
    "market_follow.retire",
    "market_opening.cross_books",
    "market_opening.open_market",
    "market_quotes.add",
    "market_quotes.best_ask",
    "market_quotes.best_bid",
    "market_quotes.change",
    "market_quotes.deep_rung",
    "market_quotes.emit",
    "market_quotes.fair_rung",
    "market_quotes.find_rung",
    "market_quotes.place_deep",
    "market_quotes.quote",
    "market_quotes.quote_any",
    "market_quotes.quote_deep",
    "market_trades.best_order",
    "market_trades.fill",
    "market_trades.plan_fills",
    "market_trades.print_legs",
    "market_trades.settle",
    "market_trades.tell",
    "market_trades.trade",
)

MBO = struct.Struct("<BBHIQQqIBBccQiI")
LAST = 128
SNAPSHOT = 32

Record = tuple[int, int, int, int, int, int, str, str, int, int, int]


def read_records(data: bytes) -> list[Record]:
    """Return the records in `data`, which holds nothing else."""
    found: list[Record] = []
    for row in MBO.iter_unpack(data):
        length, rtype, publisher, instrument_id, ts_event, order_id, price, size = row[:8]
        flags, channel, action, side, ts_recv, sending, sequence = row[8:]
        assert (length, rtype, publisher, channel) == (14, 160, 1, 0)
        found.append(
            (
                instrument_id,
                ts_event,
                order_id,
                price,
                size,
                flags,
                action.decode(),
                side.decode(),
                ts_recv,
                sending,
                sequence,
            )
        )
    return found


class Checker:
    """Books as dicts, and what was found wrong or odd on the way."""

    def __init__(self, open_ns: int) -> None:
        """Start empty; books may be crossed up to `open_ns`, not after."""
        self.open_ns = open_ns
        self.orders: dict[tuple[int, int], tuple[int, int, str]] = {}
        self.levels: dict[tuple[int, str], dict[int, int]] = {}
        self.odd: dict[str, int] = {}
        self.faults: list[str] = []
        self.ts_recv = 0
        self.count = 0

    def note(self, name: str) -> None:
        """Count one thing that real streams have too."""
        self.odd[name] = self.odd.get(name, 0) + 1

    def _level(self, instrument_id: int, side: str, price: int, step: int) -> None:
        level = self.levels.setdefault((instrument_id, side), {})
        level[price] = level.get(price, 0) + step
        if level[price] == 0:
            del level[price]

    def _drop(self, key: tuple[int, int]) -> None:
        price, _, side = self.orders.pop(key)
        self._level(key[0], side, price, -1)

    def take(self, record: Record) -> None:
        """Apply one record, and check it against the book before it."""
        instrument_id, ts_event, order_id, price, size, flags, action, side, ts_recv, _, _ = record
        key = (instrument_id, order_id)
        where = f"record {self.count} ({action}{side} {key})"
        self.count += 1
        if ts_recv < self.ts_recv or ts_recv < ts_event:
            self.faults.append(f"{where}: time runs backwards")
        self.ts_recv = ts_recv
        self.note(action)
        if action == "R":
            for held in [held for held in self.orders if held[0] == instrument_id]:
                self._drop(held)
        elif action == "A":
            if key in self.orders or size < 1 or side not in "AB":
                self.faults.append(f"{where}: an id that lives, or no order")
            self.orders[key] = (price, size, side)
            self._level(instrument_id, side, price, 1)
        elif action in "CM":
            self._change(record, key, where)
        elif action == "F":
            self._fill(record, key)
        elif action == "T" and (size < 1 or ((side == "N") != (order_id == 0) and order_id != 0)):
            self.faults.append(f"{where}: a trade without contracts, or an aggressor without side")
        if flags & LAST and not flags & SNAPSHOT:
            self._uncrossed(instrument_id, ts_event, where)

    def _change(self, record: Record, key: tuple[int, int], where: str) -> None:
        instrument_id, _, _, price, size, _, action, side, _, _, _ = record
        held = self.orders.get(key)
        if held is None:
            self.note(f"{action} unknown")
            if action == "C":
                return
        else:
            if held[2] != side or (action == "C" and held != (price, size, side)):
                self.faults.append(f"{where}: differs from the order {held}")
            self._drop(key)
        if action == "M":
            if size < 1:
                self.faults.append(f"{where}: moved to nothing")
            self.orders[key] = (price, size, side)
            self._level(instrument_id, side, price, 1)

    def _fill(self, record: Record, key: tuple[int, int]) -> None:
        held = self.orders.get(key)
        if held is None:
            self.note("F unknown")
            return
        if record[4] > held[1]:
            self.note("F beyond displayed")
        if record[3] != held[0]:
            self.note("F off price")

    def _uncrossed(self, instrument_id: int, ts_event: int, where: str) -> None:
        bids = self.levels.get((instrument_id, "B"))
        asks = self.levels.get((instrument_id, "A"))
        if bids and asks and max(bids) >= min(asks):
            if ts_event > self.open_ns:
                self.faults.append(f"{where}: crossed in continuous trading")
            self.note("crossed")
