"""A session's exact mirror images: buys for sells, and calls for puts."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ifd_fast.optionchain import Listing
from ifd_fast.truth import Truth
from ifd_kernels import layout
from ifd_kernels import market_state as ms

__all__ = ["MIRRORS", "SUM_1E9", "mirror_sides", "mirror_truth", "swap_types"]

MIRRORS: Final = ("sides", "types")
SUM_1E9: Final = 10_000 * 10**9  # of a price and its mirror image: options stay above 0


def mirror_sides(words: NDArray[np.int64], future_id: int) -> NDArray[np.int64]:
    """Return records (r * 7,) with bids for asks and prices K - price, the future's untouched.

    The future stays, so that moneyness does.
    """
    found = words.copy()
    whose = (found[0 :: ms.WORDS] >> 32) != future_id
    side = (found[4 :: ms.WORDS] >> 56) & 255
    turned = (side == layout.SIDE_ASK).astype(np.int64) - (side == layout.SIDE_BID)
    found[4 :: ms.WORDS] += np.where(whose, turned, 0) << 56
    price = found[3 :: ms.WORDS]
    priced = whose & (price != layout.UNDEF_PRICE)
    found[3 :: ms.WORDS] = np.where(priced, SUM_1E9 - price, price)
    return found


def swap_types(chain: list[Listing]) -> list[Listing]:
    """Return `chain` with each call named and defined as its put and vice versa, ids kept."""
    swapped = []
    for slot, item in enumerate(chain):
        twin = chain[slot + {"C": 1, "P": -1}.get(item.instrument_class, 0)]
        swapped.append(twin._replace(instrument_id=item.instrument_id))
    return swapped


def mirror_truth(truth: Truth) -> Truth:
    """Return the truth about the session of `mirror_sides`."""
    sides = -pl.col("side")
    price = SUM_1E9 / 1e9 - pl.col("price")
    return truth._replace(
        episodes=truth.episodes.with_columns(sides),
        children=truth.children.with_columns(sides, price),
    )
