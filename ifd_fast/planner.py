"""Who plans a session: the arrays it plans on, and the metaorders that it plants."""

from __future__ import annotations

import datetime as dt
import random
from typing import Final, NamedTuple

import numpy as np

from ifd_fast.activity import Activity
from ifd_fast.arrivals import DayFlow, Season, draw_flow, last_trade_ns, season_of, trading_hours
from ifd_fast.calendar import Session, load_sessions
from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.optionchain import list_world
from ifd_fast.quantiles import world_tables
from ifd_fast.seeding import mix_seed
from ifd_fast.truth import tier_of
from ifd_fast.usual_net import usual_net
from ifd_fast.world import World
from ifd_kernels import layout
from ifd_kernels import market_state as ms

__all__ = [
    "SIDES",
    "Child",
    "Episode",
    "Planner",
    "SessionPlan",
    "Turn",
    "session_of",
]

MARGIN_NS: Final = 120 * layout.SECOND_NS  # nothing is planted so close to the open or the end
TRIES: Final = 200
SIDES: Final = (1, -1)


class Child(NamedTuple):
    """One aggression of an episode."""

    ts_event_ns: int
    slot: int
    side: int  # 1 buys, -1 sells
    asked: int
    mode: int  # market_state.MODE_*
    label_id: int


class Episode(NamedTuple):
    """One row of the truth; times are ns UTC, [start_ns, end_ns)."""

    label_id: int
    kind: str
    cluster_id: int | None
    slot: int  # -1: no instrument of its own
    side: int
    start_ns: int
    end_ns: int
    contracts: int
    children: int
    style: str | None
    mean_abs_net: float | None
    source: int  # the label whose children these are: its own, or that of a spread


class Turn(NamedTuple):
    """Something that happens to the whole market: `vol` to a factor, or a `gap` of seconds."""

    ts_ns: int
    kind: str
    value: float


class SessionPlan(NamedTuple):
    """All that is planned for one session."""

    seed: int
    episodes: tuple[Episode, ...]
    children: tuple[Child, ...]
    turns: tuple[Turn, ...]
    flow: DayFlow | None = None  # the ordinary flow it was planned on


def session_of(trade_date: dt.date) -> Session:
    """Return the session of `trade_date`, or say that there is none."""
    found = load_sessions().session_of(trade_date)
    if found is None:
        raise UsageError(f"`trade_date` must be one of the calendar's, was {trade_date}.")
    return found


class Planner:
    """Draws the episodes of one session; no instrument is used twice."""

    def __init__(self, world: World, seed: int, session: Session) -> None:
        if world.labels is None or world.arrivals is None:
            raise ConfigError(
                f"`labels` and `arrivals` are missing in world {world.name!r}: nothing can be "
                "planted by k. Use the world `evaluation`."
            )
        self.world, self.labels = world, world.labels
        self.session = session = trading_hours(world, session)
        self.seed = mix_seed(seed, session.trade_date)
        self.random = random.Random(self.seed ^ 0x9A7)  # noqa: S311  # a seed, not a secret
        self.chain = list_world(world, session.trade_date)
        self.activity = Activity(world, self.chain)
        self.season: Season = season_of(world.arrivals, session.open_ns, session.close_ns)
        self.tables = world_tables(world)
        self.lots = self.activity.lots()
        self.usual = usual_net(world)
        self.flow = draw_flow(world, self.activity, self.seed, session, self.tables)
        self.taken: set[int] = {0}
        self.episodes: list[Episode] = []
        self.children: list[Child] = []
        self.turns: list[Turn] = []
        self.clusters = 0

    # --- what both sorts need -----------------------------------------------------------------

    def mean_abs_net(self, slot: int, start_ns: int, duration_s: float) -> float:
        """Return the mean |net| of that strike and time of day over `duration_s`."""
        hours = self.season.between(start_ns, start_ns + round(duration_s * 1e9))
        trades = self.activity.rates[slot] * hours
        return self.usual.mean_abs_net(duration_s, self.lots[slot], trades)

    def size(self, slot: int) -> int:
        """Return the size of an ordinary trade."""
        place = self.random.randrange(ms.TABLE_LENGTH)
        return int(self.tables[ms.TABLE_LOTS + self.lots[slot], place])

    def split(self, slot: int, contracts: int) -> list[int]:
        """Return sizes as of ordinary trades that add up to `contracts`."""
        sizes: list[int] = []
        while contracts > 0:
            sizes.append(min(self.size(slot), contracts))
            contracts -= sizes[-1]
        return sizes

    def start(self, slot: int, duration_s: float) -> int:
        """Return a time to begin, more likely when more is traded."""
        last_ns = min(self.session.close_ns, last_trade_ns(self.chain, slot)) - MARGIN_NS
        for _ in range(TRIES):
            start_ns = self.season.at_share(self.random.random())
            if start_ns < self.session.open_ns + MARGIN_NS:
                continue
            if start_ns + round(duration_s * 1e9) <= last_ns:
                return start_ns
        raise ConfigError(f"`labels.durations_s` {duration_s} finds no place in the session.")

    def even_times(self, count: int, start_ns: int, duration_s: float) -> list[int]:
        """Return `count` times, one in each equal part of the duration."""
        part_ns = duration_s * 1e9 / count
        return [start_ns + int((place + self.random.random()) * part_ns) for place in range(count)]

    def traded_times(self, count: int, start_ns: int, duration_s: float) -> list[int]:
        """Return `count` times shortly after trades of the chain, in order."""
        end_ns = start_ns + round(duration_s * 1e9)
        times = self.flow.trades["ts_event_ns"]
        low, high = np.searchsorted(times, [start_ns, end_ns])
        if high - low < 2:
            return self.even_times(count, start_ns, duration_s)
        found = []
        for _ in range(count):
            after = int(times[self.random.randrange(low, high)])
            found.append(min(after + self.random.randrange(1, 2_000_000_000), end_ns - 1))
        return sorted(found)

    def free(self, slots: list[int]) -> list[int]:
        """Return those of `slots` that nothing is planted in."""
        return [slot for slot in slots if slot not in self.taken]

    def options(self) -> list[int]:
        """Return the slots of all options."""
        return [slot for slot, item in enumerate(self.chain) if item.instrument_class in "CP"]

    def note(
        self,
        kind: str,
        slot: int,
        side: int,
        span: tuple[int, float],
        children: list[Child],
        *,
        style: str | None = None,
        cluster_id: int | None = None,
    ) -> None:
        """Keep one episode; `children` get its label."""
        label_id = len(self.episodes) + 1
        start_ns, duration_s = span
        self.episodes.append(
            Episode(
                label_id,
                kind,
                cluster_id,
                slot,
                side,
                start_ns,
                start_ns + round(duration_s * 1e9),
                sum(child.asked for child in children),
                len(children),
                style,
                self.mean_abs_net(slot, start_ns, duration_s),
                label_id,
            )
        )
        self.children += [child._replace(label_id=label_id) for child in children]
        self.taken.add(slot)

    def note_gap(self, start_ns: int, end_ns: int) -> None:
        """Keep one gap of the feed: an episode without an instrument."""
        label_id = len(self.episodes) + 1
        self.episodes.append(
            Episode(label_id, "feed_gap", None, -1, 0, start_ns, end_ns, 0, 0, None, None, label_id)
        )

    # --- metaorders ---------------------------------------------------------------------------

    def plant(
        self, tier: str, side: int, kind: str, duration_s: float, k: float, style: str
    ) -> None:
        """Plant a metaorder in an option of that tier and type, or in any of the type."""
        matching = [
            slot for slot in self.free(self.options()) if self.chain[slot].instrument_class == kind
        ]
        slots = [slot for slot in matching if tier_of(self.activity.rates[slot]) == tier]
        slot = self.random.choice(slots or matching)
        start_ns = self.start(slot, duration_s)
        chosen, cluster_id = [slot], None
        if self.random.random() < self.labels.clusters:
            chosen = self.neighbours(slot, self.random.choice((3, 4, 5)))
            self.clusters += 1
            cluster_id = self.clusters
        for one in chosen:
            contracts = max(1, round(k * self.mean_abs_net(one, start_ns, duration_s)))
            children = self.slice(one, side, contracts, start_ns, duration_s, style)
            span = (start_ns, duration_s)
            self.note("metaorder", one, side, span, children, style=style, cluster_id=cluster_id)

    def neighbours(self, slot: int, count: int) -> list[int]:
        """Return `count` adjacent strikes of one expiry and type around `slot`, if they're free."""
        item = self.chain[slot]
        near = [
            other
            for other in self.free(self.options())
            if self.chain[other].instrument_class == item.instrument_class
            and self.chain[other].expiration_ns == item.expiration_ns
        ]
        near.sort(key=lambda other: (abs(self.chain[other].strike - item.strike), other))
        return sorted(near[:count])

    def slice(
        self, slot: int, side: int, contracts: int, start_ns: int, duration_s: float, style: str
    ) -> list[Child]:
        """Return the children of a metaorder."""
        sizes = self.split(slot, contracts)
        limit = self.labels.children_max
        if limit and len(sizes) > limit:
            sizes = [contracts // limit + (place < contracts % limit) for place in range(limit)]
        if style == "sweep":
            merged: list[int] = []
            while sizes:
                together = self.random.choice((2, 3, 4))
                merged.append(sum(sizes[:together]))
                sizes = sizes[together:]
            sizes = merged
        times = self.traded_times if style == "volume" else self.even_times
        mode = ms.MODE_ICEBERG if style == "iceberg" else ms.MODE_FORCED
        at = times(len(sizes), start_ns, duration_s)
        return [
            Child(ts_event_ns, slot, side, size, mode, 0)
            for ts_event_ns, size in zip(at, sizes, strict=True)
        ]
