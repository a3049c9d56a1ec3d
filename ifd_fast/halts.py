"""Whether the market a session watches is halted: what its status records say, taken together.

Each instrument has its own trading state. The market is halted while half or more of the options
that are listed don't trade: by their own state, or because their future's says so. One strike, or
a month that has expired, halts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ifd_kernels.layout import KIND_CALL, KIND_PUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_fast.instruments import Instruments

__all__ = ["HaltWatch", "is_market_halted"]


def is_market_halted(identities: NDArray[Any], slots: int) -> bool:
    """Say whether half or more of the listed options among `identities[:slots]` don't trade."""
    known = identities[:slots]
    options = (known["kind"] == KIND_CALL) | (known["kind"] == KIND_PUT)
    listed = known[options & (known["mapped"] == 1) & (known["retired"] == 0)]
    if not len(listed):
        return False
    underlying = listed["underlying_slot"]
    futures = np.where(underlying >= 0, known["halted"][underlying], 0)
    return 2 * int(np.count_nonzero(listed["halted"] | futures)) >= len(listed)


class HaltWatch:
    """Looks at states again only when a status or an instrument has come."""

    def __init__(self, instruments: Instruments) -> None:
        """Begin with a market that trades."""
        self.is_halted = False
        self._instruments = instruments
        self._seen = 0, 0

    def has_changed(self) -> bool:
        """Look; say whether `is_halted` is another now."""
        counters = self._instruments.counters
        seen = counters["statuses"], counters["definitions"]
        if seen == self._seen or not seen[0]:
            return False
        self._seen = seen
        known = self._instruments
        before, self.is_halted = self.is_halted, is_market_halted(known.identities, known.slots)
        return before != self.is_halted
