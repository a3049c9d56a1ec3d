"""The order table as a plain dict of (slot, order id)."""

from __future__ import annotations

__all__ = ["Table", "find_order", "free_place", "remove_order"]

COVERS = (  # where in the table an order lies, and in which bits
    *("copy_order", "home_of", "locate_order", "identity_of", "is_odd_key", "pack_terms"),
    *("next_free",),
    *("size_in", "stamp_at"),
)

Table = dict[tuple[int, int], int]  # (slot, order id): price


def find_order(table: Table, slot: int, order_id: int) -> int | None:
    """Return the order's price, None if there is no such order."""
    return table.get((slot, order_id))


def free_place(table: Table, slot: int, order_id: int, price: int) -> None:
    """Enter an order that is not in the table."""
    table[slot, order_id] = price


def remove_order(table: Table, slot: int, order_id: int) -> None:
    """Take an order out."""
    del table[slot, order_id]
