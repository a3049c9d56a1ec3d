"""One session's seed from a world's: it depends on nothing but the day."""

from __future__ import annotations

import datetime as dt
from typing import Final

__all__ = ["mix_seed"]

MASK: Final = 2**64 - 1


def mix_seed(seed: int, trade_date: dt.date) -> int:
    """Return the seed of one session: it depends on nothing but the day."""
    word = (seed * 0x9E3779B97F4A7C15 + trade_date.toordinal() * 0xD1B54A32D192ED03) & MASK
    word = ((word ^ (word >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    return word ^ (word >> 29)
