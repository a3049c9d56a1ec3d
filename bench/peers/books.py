"""Order books of other libraries over the same records: apply only, objects made beforehand.

nautilus_trader takes one delta object a record. In stream order, deltas of all instruments come
as they came from the wire; in batch, they are grouped by instrument first (not timed) and each
book takes its list in one call.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_RECORDS = 200_000


def book_records(file: Path, limit: int) -> np.ndarray:
    """Return up to `limit` records that change a book."""
    import databento

    records = next(iter(databento.DBNStore.from_file(file).to_ndarray(count=limit * 2)))
    changes = np.isin(records["action"], [b"A", b"C", b"M"]) & (records["side"] != b"N")
    return records[changes][:limit]


def make_deltas(records: np.ndarray, ids: dict[int, Any]) -> list[Any]:
    """Return one delta object a record."""
    from nautilus_trader.core import nautilus_pyo3
    from nautilus_trader.model.data import BookOrder, OrderBookDelta
    from nautilus_trader.model.enums import BookAction, OrderSide
    from nautilus_trader.model.objects import Price, Quantity

    scale = round(nautilus_pyo3.FIXED_SCALAR)
    actions = {b"A": BookAction.ADD, b"M": BookAction.UPDATE, b"C": BookAction.DELETE}
    sides = {b"A": OrderSide.SELL, b"B": OrderSide.BUY}
    deltas = []
    for record in records:
        price = Price.from_raw(int(record["price"]) * scale // 1_000_000_000, 2)
        size = Quantity.from_raw(int(record["size"]) * scale, 0)
        order = BookOrder(sides[bytes(record["side"])], price, size, int(record["order_id"]))
        deltas.append(
            OrderBookDelta(
                ids[int(record["instrument_id"])],
                actions[bytes(record["action"])],
                order,
                int(record["flags"]),
                int(record["sequence"]),
                int(record["ts_event"]),
                int(record["ts_event"]),
            )
        )
    return deltas


def nautilus(records: np.ndarray, *, grouped: bool) -> float:
    """Return the seconds that nautilus_trader's books take for all records."""
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.data import OrderBookDeltas
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.model.identifiers import InstrumentId

    numbers = np.unique(records["instrument_id"])
    ids = {int(one): InstrumentId.from_str(f"I{one}.GLBX") for one in numbers}
    books = {one: OrderBook(ids[one], BookType.L3_MBO) for one in ids}
    seconds = 0.0
    if grouped:
        order = np.argsort(records["instrument_id"], kind="stable")
        for group in np.split(
            records[order], np.flatnonzero(np.diff(records["instrument_id"][order])) + 1
        ):
            one = int(group["instrument_id"][0])
            deltas = OrderBookDeltas(ids[one], make_deltas(group, ids))
            started = time.perf_counter()
            books[one].apply_deltas(deltas)
            seconds += time.perf_counter() - started
        return seconds
    for first in range(0, len(records), BLOCK_RECORDS):
        block = records[first : first + BLOCK_RECORDS]
        targets = [books[int(one)] for one in block["instrument_id"]]
        pairs = list(zip(targets, make_deltas(block, ids), strict=True))
        started = time.perf_counter()
        for book, delta in pairs:
            book.apply_delta(delta)
        seconds += time.perf_counter() - started
    return seconds


def main() -> None:
    """Measure the book named on the command line and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("book", choices=["nautilus_stream", "nautilus_batch"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, default=1_000_000)
    arguments = parser.parse_args()
    records = book_records(arguments.file, arguments.limit)
    seconds = nautilus(records, grouped=arguments.book == "nautilus_batch")
    result = {
        "path": arguments.book,
        "file": arguments.file.name,
        "records": len(records),
        "seconds": round(seconds, 4),
        "records_per_s": round(len(records) / seconds),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
