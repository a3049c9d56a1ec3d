"""What a live session is told before it begins: where to connect, how, and by what clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ifd_fast.live_protocol import Terms, live_address
from ifd_fast.universe import load_universe
from ifd_kernels.layout import SECOND_NS

if TYPE_CHECKING:
    from ifd_fast.profiles import Profile

__all__ = ["Clock", "LiveSettings", "SystemClock"]


class Clock(Protocol):
    """What a session may know of the time."""

    def wall_ns(self) -> int:
        """Return the time, ns UTC."""

    def monotonic_ns(self) -> int:
        """Return ns since some start; it never jumps."""


class SystemClock:
    """The clocks of the machine."""

    def wall_ns(self) -> int:
        """Return the time, ns UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return ns since some start."""
        return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Where to connect, to what, and how."""

    address: tuple[str, int]
    symbols: tuple[str, ...]
    terms: Terms = field(default_factory=lambda: Terms("GLBX.MDP3"))
    seed: int = 0  # of the waits between connections
    market_clock: bool = False  # the feed's own time is the clock: it is of another day
    late_ns: int = 2 * SECOND_NS  # lag above which nothing is alerted, until it is half

    @classmethod
    def of_profile(
        cls,
        profile: Profile,
        *,
        gateway: str | None = None,
        symbols: tuple[str, ...] = (),
        market_clock: bool = False,
    ) -> LiveSettings:
        """Return what `profile` says; `gateway`, host:port, and `symbols` stand in for its own."""
        universe = load_universe(profile.universe)
        return cls(
            live_address(gateway or profile.databento_live_gateway, universe.dataset),
            symbols or universe.parents,
            Terms(
                universe.dataset,
                ts_out=profile.live_ts_out == 1,
                compressed=profile.live_compression == "zstd",
                heartbeat_s=profile.live_heartbeat_s,
            ),
            seed=profile.live_seed,
            market_clock=market_clock,
            late_ns=round(profile.live_late_s * SECOND_NS),
        )
