"""What the simulator's ladders and values mean, as formulas."""

from __future__ import annotations

import math

__all__ = ["price_of", "value_nickels"]


def price_of(kind: str, rung: int) -> int:
    """Return the price at 1e-9 of a rung: quarter points, or nickels and quarters above 5.00."""
    if kind == "future":
        return rung * 250_000_000
    if kind == "spread" or rung <= 100:
        return rung * 50_000_000
    return 5_000_000_000 + (rung - 100) * 250_000_000


def value_nickels(future: float, strike: float, deviation: float, is_put: bool) -> float:
    """Return Bachelier's value of an option without interest, in nickels; arguments in points."""
    money = (future - strike) / deviation
    density = math.exp(-money * money / 2) / math.sqrt(2 * math.pi)
    call = deviation * (density + money * (1 + math.erf(money / math.sqrt(2))) / 2)
    return 20 * (call - (future - strike) if is_put else call)
