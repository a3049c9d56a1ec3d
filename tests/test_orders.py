"""The order table against a dict: crowded, wrapped around its end, and evenly filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_kernels import orders as kernel
from ifd_kernels.orders import NO_ORDER, ORDER
from tests.oracle import orders as oracle

identities = st.tuples(
    st.integers(0, 2), st.one_of(st.integers(0, 40), st.sampled_from([2**63, 2**64 - 1]))
)


@given(st.lists(identities, max_size=150))
def test_table_is_oracle(toggled: list[tuple[int, int]]) -> None:
    """A table of 32 places with up to 28 orders finds each order, whatever went before it."""
    orders = np.zeros(32, ORDER)
    table: oracle.Table = {}
    for price, (slot, order_id) in enumerate(toggled):
        owner, wire_id = (slot + 1) << 2, np.uint64(order_id)
        place = kernel.find_order(orders, owner, wire_id)
        assert (place == NO_ORDER) == (oracle.find_order(table, slot, order_id) is None)
        if place != NO_ORDER:
            kernel.remove_order(orders, place)
            oracle.remove_order(table, slot, order_id)
        elif len(table) < 28:
            place = kernel.free_place(orders, owner, wire_id)
            orders[place] = (order_id, price, 0, 1, owner)
            oracle.free_place(table, slot, order_id, price)
        for (other, other_id), expected in table.items():
            found = kernel.find_order(orders, (other + 1) << 2, np.uint64(other_id))
            assert int(orders[found]["price_1e9"]) == expected
    assert np.count_nonzero(orders["owner"]) == len(table)


@pytest.mark.parametrize("stride", [1, 3, 8, 64, 1 << 16, 1 << 32, 1 << 40])
def test_homes_are_even(stride: int) -> None:
    """Ids that rise by any power of two start at about as many lines as random ones would."""
    ids = 6_412_345_678_901 + stride * np.arange(4_096, dtype=np.uint64)
    homes = {kernel.home_of(8_191, 4, wire_id) for wire_id in ids}
    assert all(home % 2 == 0 for home in homes)
    assert len(homes) > 2_300  # random: 2,589 of 4,096 lines


def test_entry_is_half_a_cache_line() -> None:
    """An order's entry is 32 bytes, two to a cache line."""
    assert ORDER.itemsize == 32
