"""The parameters of a simulated world, read from a packaged preset or a TOML file."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ifd_fast.errors import ConfigError

__all__ = ["Book", "Chain", "Clock", "Flow", "Irregular", "Tier", "World", "load_world", "presets"]

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0.0)]


class Chain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which instruments there are, and how their prices move."""

    expiries: list[str]  # day+N, friday, month-end, quarter
    strikes: Annotated[int, Meta(ge=1, le=2000)]  # of each expiry; each a call and a put
    strike_step: Positive = 25.0
    spreads: Count = 24
    middle: Positive = 21_000.0  # points; the strikes lie around it in every session
    drift_points: float = 0.0  # standard deviation of the start from session to session
    volatility_year: Positive = 0.20
    walk_points: Positive = 40.0  # standard deviation of the future over the stream
    wall_points: Positive = 100.0  # the walk turns back this far from its start


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the stream begins and ends, and how dense it is."""

    kind: str = "session"  # session: from before the open to the close; continuous: a part of it
    start_s: Positive = 46_800.0  # of a continuous stream, after the open
    seconds: Positive = 82_800.0  # of a continuous stream, at most
    records: Count = 0  # stop after so many; 0: at the end of the time
    quotes_s: Positive = 20.0  # quote packets a second
    packet: tuple[tuple[int, float], ...] = ((1, 0.6), (2, 0.25), (4, 0.1), (8, 0.05))
    gap_sigma: Share = 0.9  # spread of the gaps: log-normal, in units of two
    tail: Share = 1.0  # how much of the measured latency's tail there is
    day: tuple[float, ...] = (1.0,)  # relative pace over equal parts of the stream


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A share of the options, and how often they trade."""

    share: Share
    trades_hour_low: Positive
    trades_hour_high: Positive


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who trades how often: by tiers, or by Zipf's law if `zipf` is not 0."""

    zipf: float = 0.0
    trade_share: Share = 0.04  # of the packets, with `zipf`
    tiers: tuple[Tier, ...] = ()
    future_trades_hour: float = 1_000.0
    spread_trades_hour: float = 4.0
    future_quotes: Share = 0.1
    same: Share = 0.3  # packets of several quotes of one instrument


class Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The resting orders."""

    near: Annotated[int, Meta(ge=2, le=64)] = 8  # makers' orders of one side at the touch
    live_orders: Count = 20_000
    deep_rungs: Annotated[int, Meta(ge=1, le=4096)] = 60
    deep_share: Share = 0.12
    cancel_share: Share = 0.26
    snapshot: bool = True


class Irregular(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a real tape has and no rule book: shares of fills, trades or orders."""

    iceberg: Share = 0.01
    self_match: Share = 0.01
    off_price: Share = 0.038
    ghost: Share = 0.005
    lost_fill: Share = 0.01
    implied: Share = 0.035
    sideless_leg: Share = 0.3


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a simulated market but its seed."""

    name: str
    sessions: Annotated[int, Meta(ge=1)] = 1
    chain: Chain
    clock: Clock = Clock()
    flow: Flow = Flow()
    book: Book = Book()
    irregular: Irregular = Irregular()

    def digest(self) -> str:
        """Return the SHA-256 of every parameter, 64 hex digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def presets() -> list[str]:
    """Return the names of the packaged worlds."""
    folder = resources.files("ifd_fast") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_world(preset: str | Path) -> World:
    """Return the packaged world of that name, or the one in a TOML file.

    Raises
    ------
    ConfigError
        If there is none, or if a key is unknown or its value out of bounds.
    """
    packaged = resources.files("ifd_fast") / "presets" / f"{preset}.toml"
    if str(preset) in presets():
        text = packaged.read_text()
    elif Path(preset).is_file():
        text = Path(preset).read_text()
    else:
        raise ConfigError(
            f"`preset` must be a file or one of {', '.join(presets())}, was {str(preset)!r}."
        )
    try:
        return msgspec.toml.decode(text, type=World)
    except msgspec.DecodeError as error:
        raise ConfigError(f"World {str(preset)!r} can't be used: {error}.") from error
