"""SplitMix64 and Walker's alias method, in Python's integers."""

from __future__ import annotations

__all__ = ["draw_alias", "next_bits"]

WORD = 2**64


def next_bits(counter: int) -> tuple[int, int]:
    """Return (the next counter, 63 random bits): Steele, Lea and Flood 2014, figure 17."""
    counter = (counter + 0x9E3779B97F4A7C15) % WORD
    word = counter
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    word = word ^ (word >> 31)
    return counter, word >> 1


def draw_alias(bits: int, threshold: list[int], other: list[int]) -> int:
    """Return the column that the low half word chooses, or its alias above the threshold."""
    column = (bits % 2**32) * len(threshold) // 2**32
    height = bits // 2**32 % 65_536
    return column if height < threshold[column] else other[column]
