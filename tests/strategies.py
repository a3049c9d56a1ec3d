"""Event streams as Hypothesis strategies, legal and illegal, for every test that needs a feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_kernels.layout import Ring
from tests.oracle.book import Event

__all__ = ["as_ring", "events", "legal_streams", "streams", "wild_streams"]

UNDEF_PRICE = 2**63 - 1
I64_MIN = -(2**63)
LAST, SNAPSHOT, BAD_TS, MAYBE_BAD = 128, 32, 8, 4

near_prices = st.integers(-6, 6).map(lambda tick: tick * 250_000_000)
far_prices = st.sampled_from(
    [
        *(I64_MIN, I64_MIN + 1, -1, 0, 1, 7, UNDEF_PRICE - 1, UNDEF_PRICE),
        *(-(2**47) - 1, -(2**47), 2**47 - 1, 2**47),  # the borders of what an order's word holds
    ]
)
wide_prices = st.integers(I64_MIN, UNDEF_PRICE)
small_sizes = st.integers(0, 5)
far_sizes = st.sampled_from([2**15 - 1, 2**15, 2**31, 2**32 - 1])
any_sizes = st.one_of(small_sizes, far_sizes, st.integers(0, 2**32 - 1))
common_flags = st.sampled_from([LAST, LAST, LAST, 0, LAST | BAD_TS])
rare_flags = st.sampled_from(
    [LAST, LAST, 0, SNAPSHOT | BAD_TS, LAST | SNAPSHOT | BAD_TS, LAST | MAYBE_BAD, MAYBE_BAD]
)
few_ids = st.integers(0, 12)
# the last three share one word with their slot, 0, 1 and 2
shared_ids = st.sampled_from([2**46 - 1, 2**46, 2**46 + 1, 4 << 46 | 5, 7 << 46 | 5, 6 << 46 | 5])
odd_ids = st.one_of(few_ids, st.sampled_from([0, 2**64 - 1, 2**63, 6_412_345_678_901]), shared_ids)


def events(
    slots: int,
    actions: str,
    ids: st.SearchStrategy[int],
    prices: st.SearchStrategy[int],
    sizes: st.SearchStrategy[int],
    flags: st.SearchStrategy[int],
) -> st.SearchStrategy[Event]:
    """Return a strategy of single events; a letter that is repeated in `actions` comes oftener."""
    return st.builds(
        Event,
        slot=st.integers(0, slots - 1),
        action=st.sampled_from(actions),
        side=st.sampled_from("AABBAABBN"),
        order_id=ids,
        price=prices,
        size=sizes,
        flags=flags,
    )


def streams(max_size: int = 120) -> st.SearchStrategy[list[Event]]:
    """Return streams with few ids and prices, so that events meet; mostly what venues send."""
    one = events(2, "AAAACCMMMMTFNR", few_ids, near_prices, small_sizes, common_flags)
    return st.lists(one, max_size=max_size)


def wild_streams(max_size: int = 120) -> st.SearchStrategy[list[Event]]:
    """Return streams no venue sends: extremes of every field, snapshots and clears anywhere."""
    prices = st.one_of(near_prices, far_prices, wide_prices)
    one = events(3, "AAAAACCMMMTFNR", odd_ids, prices, any_sizes, rare_flags)
    return st.lists(one, max_size=max_size)


@st.composite
def legal_streams(draw: st.DrawFn, max_size: int = 150) -> list[Event]:
    """Draw a stream without any anomaly: each C and M names a live order, each A a new one."""
    live: dict[tuple[int, int], tuple[str, int]] = {}
    stream: list[Event] = []
    for order_id in range(1, 1 + draw(st.integers(0, max_size))):
        slot = draw(st.integers(0, 1))
        mine = [key for key in live if key[0] == slot]
        action = draw(st.sampled_from("AACMM")) if mine else "A"
        price, size = draw(near_prices), draw(st.integers(1, 9))
        if action == "A":
            key = (slot, order_id)
            side = draw(st.sampled_from("AB"))
        else:
            key = draw(st.sampled_from(mine))
            side, rest = live[key]
            size = min(size, rest) if action == "C" else size
        left = live[key][1] - size if action == "C" else size
        live[key] = (side, left)
        if left == 0:
            del live[key]
        flags = draw(st.sampled_from([LAST, LAST, 0]))
        stream.append(Event(slot, action, side, key[1], price, size, flags))
    return stream


def as_ring(stream: Sequence[Event], first: int = 0, capacity: int = 0) -> Ring:
    """Return a ring that holds `stream` as events `first`, `first` + 1, …; its slots resolved.

    `capacity` is the next power of two if not given.
    """
    capacity = capacity or 1 << max(len(stream) - 1, 0).bit_length()
    places = (np.arange(len(stream)) + first) % capacity

    def column(values: list[int], dtype: type[np.generic]) -> NDArray[Any]:
        filled: NDArray[Any] = np.zeros(capacity, dtype)
        filled[places] = np.array(values, dtype)
        return filled

    zeros = [0] * len(stream)
    return Ring(
        ts_event_ns=column(list(range(len(stream))), np.int64),
        ts_recv_ns=column(list(range(len(stream))), np.int64),
        order_id=column([event.order_id for event in stream], np.uint64),
        price_1e9=column([event.price for event in stream], np.int64),
        size=column([event.size for event in stream], np.uint32),
        instrument_id=column([event.slot + 100 for event in stream], np.uint32),
        sequence=column(zeros, np.uint32),
        slot=column([event.slot for event in stream], np.int32),
        flags=column([event.flags for event in stream], np.uint8),
        action=column([ord(event.action) for event in stream], np.uint8),
        side=column([ord(event.side) for event in stream], np.uint8),
        cursor=np.array([first + len(stream), first], np.int64),
    )
