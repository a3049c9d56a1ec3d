"""The parameters of a simulated world, read from a packaged preset or a TOML file."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ifd_fast.errors import ConfigError

__all__ = [
    "Arrivals",
    "Book",
    "Chain",
    "Clock",
    "Flow",
    "Irregular",
    "Labels",
    "Packages",
    "Tier",
    "World",
    "load_world",
    "presets",
]

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


class Arrivals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How trades come when they are planned ahead: in cascades, at the pace of the day.

    `trades_hour` of the tiers are then those of the hours of regular trading.
    """

    season: tuple[float, ...]  # relative activity over equal parts of 23 hours
    regular_start_s: Positive = 55_800.0  # after the open: 8:30
    regular_end_s: Positive = 79_200.0  # 15:00
    session_s: Positive = 82_800.0  # trading ends so long after the open, if not before
    level: Positive = 1.0  # of activity against what is usual
    branching: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.5  # trades that a trade excites
    same_side: Share = 0.6  # of those, the share on the side of their cause
    fast_s: Positive = 0.5  # mean delay of what is excited
    slow_s: Positive = 30.0
    slow_share: Share = 0.5
    split_share: Share = 0.1  # ordinary parents that are split, all parts on one side
    split_further: Positive = 1.0  # parts beyond the first two, geometric mean
    split_parts_max: Annotated[int, Meta(ge=2, le=64)] = 6
    split_gap_s: Positive = 15.0
    day_sigma: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.3  # log of the chain's level by day
    strike_sigma: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.3  # of each instrument's
    bursts: Annotated[float, Meta(ge=0.0)] = 4.0  # of the whole chain, a session
    burst_s: Positive = 40.0  # mean length
    burst_factor: Positive = 5.0  # activity while it lasts
    burst_directional: Share = 0.0  # of them, those that buy calls and sell puts, or vice versa
    burst_lean: Share = 0.5  # how much of their parents follow
    answer_share: Share = 0.5  # of the trades, those that makers answer with quotes


class Packages(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spreads of several kinds of legs."""

    covered: Count = 0  # an option against the future
    calendars: Count = 0  # one strike of two expiries


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is planted, and what looks like it."""

    k: tuple[float, ...] = (2.0, 5.0, 10.0, 25.0, 50.0)
    durations_s: tuple[float, ...] = (60.0, 300.0, 900.0, 1_800.0)
    styles: tuple[str, ...] = ("time", "volume", "sweep", "iceberg")
    clusters: Share = 0.15  # of the metaorders, those over 3 to 5 strikes
    children_max: Count = 0  # larger children rather than more; 0: sizes as of ordinary trades
    negatives: dict[str, float] = {}  # weights by kind
    crush_share: Share = 0.12  # of the volatility, lost in a crush


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a simulated market but its seed."""

    name: str
    sessions: Annotated[int, Meta(ge=1)] = 1
    chain: Chain
    clock: Clock = Clock()
    flow: Flow = Flow()
    book: Book = Book()
    irregular: Irregular = Irregular()
    arrivals: Arrivals | None = None
    packages: Packages | None = None
    labels: Labels | None = None
    ranges: dict[str, tuple[float, float]] | None = None  # of `draw_world`, by dotted name

    def digest(self) -> str:
        """Return the SHA-256 of every parameter, 64 hex digits.

        Sections that a world leaves out don't count, so that a new one changes no old digest.
        """
        sections = msgspec.to_builtins(self)
        for name in ("arrivals", "packages", "labels", "ranges"):
            if sections[name] is None:
                del sections[name]
        return hashlib.sha256(msgspec.json.encode(sections)).hexdigest()


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
