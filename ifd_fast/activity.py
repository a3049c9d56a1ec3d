"""How often each simulated instrument trades and is quoted, and how dense the stream is."""

from __future__ import annotations

import hashlib
import math
import random

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.optionchain import Listing
from ifd_fast.world import World
from ifd_kernels.layout import SECOND_NS

__all__ = ["Activity"]


class Activity:
    """Usual trades an hour of each instrument of `chain`, the same in every session of a world."""

    def __init__(self, world: World, chain: list[Listing]) -> None:
        self.world = world
        self.chain = chain
        self.rates = self._trade_rates()

    def crossing(self, slot: int) -> int:
        """Return how many pairs of orders cross in `slot` before the open."""
        kind = self.chain[slot].instrument_class
        if kind == "F":
            return max(1, self.world.book.near // 2)
        worth_it = kind in "CP" and self.rates[slot] >= 20.0
        return int(worth_it and self._farness(slot) < 0.6)

    def lots(self) -> list[int]:
        """Return which row of the sizes of trades each instrument has."""
        rows = [(rate >= 6) + (rate >= 120) for rate in self.rates]
        return [3, *rows[1:]]

    def _trade_rates(self) -> list[float]:
        """Return the usual trades an hour of each instrument."""
        flow = self.world.flow
        draw = random.Random(self._seed())  # noqa: S311  # the same in every session
        options = [slot for slot, item in enumerate(self.chain) if item.instrument_class in "CP"]
        rates = [flow.spread_trades_hour] * len(self.chain)
        rates[0] = flow.future_trades_hour
        nearness = {slot: self._farness(slot) + 0.25 * draw.random() for slot in options}
        ranked = sorted(options, key=lambda slot: -nearness[slot])
        if flow.zipf:
            everything = list(range(len(self.chain)))
            draw.shuffle(everything)
            for rank, slot in enumerate(everything):
                rates[slot] = (rank + 1.0) ** -flow.zipf
            return rates
        done = 0
        total = math.fsum(tier.share for tier in flow.tiers) or 1.0
        reached = 0.0
        for tier in flow.tiers:
            reached += tier.share / total
            for slot in ranked[done : round(reached * len(ranked))]:
                low, high = math.log(tier.trades_hour_low), math.log(tier.trades_hour_high)
                rates[slot] = math.exp(low + (high - low) * draw.random())
            done = round(reached * len(ranked))
        return rates

    def _seed(self) -> str:
        """Return what the rates are drawn from.

        Tiers depend on chain and flow alone, so that a light world of history and a dense one of
        the session it is for have the same busy strikes.
        """
        if self.world.flow.zipf:
            return self.world.digest()
        return hashlib.sha256(msgspec.json.encode((self.world.chain, self.world.flow))).hexdigest()

    def _farness(self, slot: int) -> float:
        """Return how far a strike is from the money, between 0 and 1 for its expiry's range."""
        chain = self.world.chain
        width = chain.strikes * chain.strike_step / 2 or 1.0
        far = abs(self.chain[slot].strike - chain.middle) / width
        expiry = (slot - 1) // (2 * chain.strikes)
        return far + 0.08 * expiry

    def weights(self) -> tuple[list[float], list[float]]:
        """Return the weights of quotes (none for the future: it has its own share) and trades."""
        if self.world.flow.zipf:
            return [0.0, *self.rates[1:]], self.rates
        return [0.0, *(math.sqrt(rate + 5.0) for rate in self.rates[1:])], self.rates

    def packets_s(self) -> tuple[float, float]:
        """Return packets a second, and the share of them that are aggressions."""
        flow, quotes = self.world.flow, self.world.clock.quotes_s
        if self.world.arrivals is not None:
            return quotes, 0.0  # trades have a plan of their own
        if flow.zipf:
            return quotes / (1.0 - flow.trade_share), flow.trade_share
        trades = math.fsum(self.rates) / 3600.0
        return quotes + trades, trades / (quotes + trades)

    def pace(self, start_ns: int, end_ns: int) -> NDArray[np.int64]:
        """Return the mean gap between packets, ns, by five minutes of the stream."""
        packets_s, _ = self.packets_s()
        day = self.world.clock.day
        mean = math.fsum(day) / len(day)
        parts = max(1, -((start_ns - end_ns) // (300 * SECOND_NS)))
        gaps = [
            round(1e9 / (packets_s * day[part * len(day) // parts] / mean)) for part in range(parts)
        ]
        return np.array(gaps, dtype=np.int64)
