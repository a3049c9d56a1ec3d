"""The order table against a dict: crowded, wrapped around its end, and evenly filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_kernels import orders as kernel
from ifd_kernels.orders import LINE, ORDER, PLACES
from tests.oracle import orders as oracle

identities = st.tuples(
    st.integers(0, 2), st.one_of(st.integers(0, 60), st.sampled_from([2**45, 2**46 - 1]))
)


@given(st.lists(identities, max_size=200))
def test_table_is_oracle(toggled: list[tuple[int, int]]) -> None:
    """A table of 48 places with up to 40 orders finds each order, whatever went before it."""
    orders = np.zeros(16 * LINE, ORDER)
    stamps = orders.view(np.uint32)
    table: oracle.Table = {}
    for price, (slot, order_id) in enumerate(toggled):
        identity = kernel.identity_of(slot, np.uint64(order_id))
        place, found = kernel.locate_order(orders, identity)
        assert (found == 0) == (oracle.find_order(table, slot, order_id) is None)
        if found:
            kernel.remove_order(orders, place)
            oracle.remove_order(table, slot, order_id)
        elif len(table) < 40:
            place, found = kernel.free_place(orders, identity)
            assert (place, found) == (kernel.next_free(orders, identity), 0)
            orders[place] = (identity, kernel.pack_terms(price, 1, 0))
            stamps[kernel.stamp_at(place)] = price + 7
            oracle.free_place(table, slot, order_id, price)
        for (other, other_id), expected in table.items():
            identity = kernel.identity_of(other, np.uint64(other_id))
            place, found = kernel.locate_order(orders, identity)
            assert found == 1
            assert int(orders[place]["terms"]) >> kernel.PRICE_BIT == expected
            assert int(stamps[kernel.stamp_at(place)]) == expected + 7
    places = orders.reshape(-1, LINE)[:, :PLACES]
    assert np.count_nonzero(places["identity"]) == len(table)


@pytest.mark.parametrize("stride", [1, 3, 8, 64, 1 << 16, 1 << 32])
def test_homes_are_even(stride: int) -> None:
    """Ids that rise by any power of two start at about as many lines as random ones would."""
    ids = 6_412_345_678_901 + stride * np.arange(4_096, dtype=np.uint64)
    orders = np.zeros(4_096 * LINE, ORDER)
    homes = {kernel.home_of(orders, kernel.identity_of(0, wire_id)) for wire_id in ids}
    assert all(home % LINE == 0 for home in homes)
    assert len(homes) > 2_300  # random: 2,589 of 4,096 lines


@pytest.mark.parametrize("price", [0, -1, 7, 2**47 - 1, -(2**47)])
@pytest.mark.parametrize("size", [1, 2**15 - 1])
@pytest.mark.parametrize("side", [0, 1])
def test_terms_hold_price_size_and_side(price: int, size: int, side: int) -> None:
    """What is packed into an order's word comes out again, at every border."""
    terms = int(kernel.pack_terms(np.int64(price), size, side))
    assert (terms >> kernel.PRICE_BIT, int(kernel.size_in(terms)), terms & 1) == (price, size, side)


def test_slots_and_ids_do_not_share_words() -> None:
    """Ids below 2^46 of slots below 131,071 have words of their own; any beyond is odd."""
    assert kernel.is_odd_key(131_070, np.uint64(2**46 - 1)) == 0
    assert kernel.is_odd_key(131_071, np.uint64(1)) != 0
    assert kernel.is_odd_key(0, np.uint64(2**46)) != 0
    assert kernel.identity_of(131_070, np.uint64(2**46 - 1)) == 2**63 - 1


def test_three_orders_and_their_stamps_are_a_cache_line() -> None:
    """Three entries and the row of their stamps are 64 bytes; no stamp lies on an entry."""
    assert ORDER.itemsize * LINE == 64
    at = [int(kernel.stamp_at(place)) for place in (0, 1, 2, 4, 5, 6)]
    assert at == [12, 13, 14, 28, 29, 30]
