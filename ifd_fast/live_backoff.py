"""When to connect again: soon at first, then ever later, never more often than is allowed."""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["Backoff"]

_GATEWAY_NS: Final = 250_000_000  # five connections a second and address are allowed
_FIRST_NS: Final = 250_000_000
_CAP_NS: Final = 30_000_000_000
_LIMITED_NS: Final = 10_000_000_000  # the least wait while too many sessions are open
_DOUBLINGS_MAX: Final = 16


class Backoff:
    """Waits that double up to half a minute, each drawn from its upper half.

    Drawn from a seed, so that a session can be told again; processes that lost their connection
    together take different ones and don't come back together.
    """

    def __init__(self, seed: int) -> None:
        """Begin with no connection tried: the first is due at once."""
        self.due_ns = 0
        self.tries = 0
        self._random = np.random.default_rng(seed)
        self._tried_ns = -_GATEWAY_NS

    def tried(self, at_ns: int) -> None:
        """Say that a connection is tried, at monotonic ns."""
        self._tried_ns = at_ns

    def worked(self) -> None:
        """Say that a connection brought what was asked for: the next wait is short again."""
        self.tries = 0

    def lost(self, at_ns: int, *, limited: bool = False) -> int:
        """Return when to try again, monotonic ns; `limited`: too many sessions are open."""
        wait_ns = min(_CAP_NS, _FIRST_NS << min(self.tries, _DOUBLINGS_MAX))
        self.tries += 1
        drawn_ns = int(wait_ns * self._random.uniform(0.5, 1.0))
        if limited:
            drawn_ns = max(drawn_ns, _LIMITED_NS)
        self.due_ns = max(at_ns + drawn_ns, self._tried_ns + _GATEWAY_NS)
        return self.due_ns
