"""Ordinary flow by its rules: parents at the pace of the day, offspring of all, in plain Python.

Parents arrive where an exponential walk through the expected mass stops. A parent may be split
into further parts of its side. Each trade, in the order in which they were made, then excites a
few of its instrument. Chances are out of 65,536, times ns; `draw` is SplitMix64's counter.
"""

from __future__ import annotations

from tests.oracle.randomness import draw_alias, next_bits

__all__ = ["Trade", "grow_flow"]

Trade = tuple[int, int, str, int]  # time, instrument, side B or A, contracts


class Source:
    """Random bits, one after another."""

    def __init__(self, counter: int) -> None:
        self.counter = counter

    def take(self) -> int:
        """Return the next 63 bits."""
        self.counter, bits = next_bits(self.counter)
        return bits


def wait(gaps: list[int], bits: int, mean: int) -> int:
    """Return an exponential time, straight between two of 4,096 quantiles of mean 65,536."""
    place = min(bits % 4096, 4094)
    share = bits // 4096 % 65_536
    quantile = gaps[place] + (gaps[place + 1] - gaps[place]) * share // 65_536
    return quantile * mean // 65_536


def grow_flow(
    mass: list[int],
    lean: list[int],
    alias: tuple[list[int], list[int]],
    tilt: list[int],
    until: list[int],
    sizes: list[list[int]],
    laws: tuple[list[int], list[int], list[int]],
    rule: dict[str, int],
    seed: int,
) -> list[Trade]:
    """Return all trades in the order in which they are made; `sizes` are by instrument."""
    gaps, offspring, parts = laws
    draw = Source(seed)
    made: list[Trade] = []

    def make(at: int, who: int, side: str, bits: int) -> None:
        if at < until[who]:
            made.append((at, who, side, sizes[who][bits % 4096]))

    part, used = 0, 0
    while True:
        used += wait(gaps, draw.take(), 65_536)
        while part < len(mass) and used >= mass[part]:
            used -= mass[part]
            part += 1
        if part == len(mass):
            break
        at = rule["start"] + part * rule["part"] + used * rule["part"] // mass[part]
        picked, chance = draw.take(), draw.take()
        who = draw_alias(picked, *alias)
        buys = chance % 65_536 < 32_768 + lean[part] * tilt[who] // 2
        side = "B" if buys else "A"
        make(at, who, side, picked // 2**48)
        if chance // 65_536 % 65_536 < rule["split"]:
            for _ in range(parts[chance // 2**32 % 4096]):
                bits = draw.take()
                at += wait(gaps, bits, rule["split gap"])
                make(at, who, side, bits // 2**28)
    for at, who, side, _ in made:  # grows while it is walked
        for _ in range(offspring[draw.take() % 4096]):
            bits, more = draw.take(), draw.take()
            mean = rule["slow gap"] if more % 65_536 < rule["slow"] else rule["fast gap"]
            same = more // 65_536 % 65_536 < rule["same"]
            later = at + wait(gaps, bits, mean)
            make(later, who, side if same else "AB"[side == "A"], bits // 2**28)
    return made
