"""Synthetic MBO streams for benchmarks and counts: seeded, made by numpy, legal for a book.

Each order is added, modified twice on average and cancelled; instruments are drawn from a
Zipf-like law. It is no market: the simulator is. It is the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MBO", "SESSION_START_NS", "mbo_stream"]

MBO = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<i8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<i8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
SESSION_START_NS = 1_715_205_600_000_000_000  # 2024-05-08 17:00 Chicago, a session's open
_TICK_1E9 = 50_000_000
_ACTIONS = np.frombuffer(b"AMMC", np.uint8)
_FIRST_ORDER_ID = 6_411_000_000_000  # 13 digits, as on the wire


def mbo_stream(
    events: int, *, instruments: int = 600, live_orders: int = 2_000, seed: int = 1
) -> NDArray[np.void]:
    """Return (events,) MBO records: add, two modifies and cancel of each order, interleaved.

    About `live_orders` orders live at any time; every twentieth record is a trade instead.
    """
    random = np.random.default_rng(seed)
    orders = -(-events // 4)
    begin = np.arange(orders, dtype=np.float64)
    steps = np.cumsum(random.exponential(live_orders / 3, (orders, 4)), axis=1)
    steps += (begin - 0)[:, None] - steps[:, :1]
    order = np.argsort(steps, axis=None, kind="stable")[:events]
    owner, step = order // 4, order % 4
    records = np.zeros(events, MBO)
    records["length"], records["rtype"], records["publisher_id"] = 14, 0xA0, 1
    rank = np.minimum(random.zipf(1.3, orders), instruments)
    records["instrument_id"] = (1_000 + 7 * rank)[owner]
    records["order_id"] = np.uint64(_FIRST_ORDER_ID) + owner.astype(np.uint64)
    side = random.integers(0, 2, orders)[owner]
    depth = random.geometric(0.3, orders)[owner] + random.integers(0, 2, events)
    records["price"] = (2_000 + np.where(side == 0, -depth, depth)) * _TICK_1E9
    records["size"] = random.integers(1, 20, orders)[owner]
    records["action"] = _ACTIONS[step]
    records["side"] = np.where(side == 0, ord("B"), ord("A"))
    traded = random.random(events) < 0.05
    records["action"][traded & (step == 1)] = ord("T")
    records["flags"] = np.where(random.random(events) < 0.8, 128, 0)
    records["ts_event"] = SESSION_START_NS + np.cumsum(random.integers(1_000, 200_000, events))
    records["ts_recv"] = records["ts_event"] + 80_000
    records["sequence"] = np.arange(events) // 2
    return records
