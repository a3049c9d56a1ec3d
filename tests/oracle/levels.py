"""A side's price levels as a plain dict: what the slab of sorted blocks must show."""

from __future__ import annotations

__all__ = ["Side", "clear_side", "drop_level", "lift_level", "move_order", "rank_level"]

COVERS = (  # how the slab keeps the dict
    *("level_blocks.change_room", "level_blocks.drop_deep", "level_blocks.lift_deep"),
    *("level_blocks.list_block", "level_blocks.move_levels", "level_blocks.search"),
    *("level_blocks.set_level", "level_blocks.take_block", "level_blocks.unlist_block"),
)

Side = dict[int, tuple[int, int]]  # key: (contracts, orders)


def rank_level(keys: list[int], wanted: int) -> int:
    """Return how many keys are not greater than `wanted`."""
    return sum(key <= wanted for key in keys)


def lift_level(side: Side, key: int, contracts: int) -> bool:
    """Add one order to a level; return whether it is now the best one."""
    held, orders = side.get(key, (0, 0))
    side[key] = (held + contracts, orders + 1)
    return key == max(side)


def drop_level(side: Side, key: int, contracts: int, orders: int) -> bool:
    """Take contracts and orders off a level; return whether it was the best one."""
    best = key == max(side)
    held, count = side[key]
    side[key] = (held - contracts, count - orders)
    if count == orders:
        del side[key]
    return best


def move_order(side: Side, key: int, size: int, new_key: int, new_size: int) -> bool:
    """Move an order, or change its size where it stands; return whether the best was or is it."""
    if key == new_key:
        return drop_level(side, key, size - new_size, 0)
    left_best = drop_level(side, key, size, 1)
    return lift_level(side, new_key, new_size) or left_best


def clear_side(side: Side) -> None:
    """Drop all levels."""
    side.clear()
