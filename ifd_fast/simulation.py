"""A simulated session: a world and a seed become a market's arrays, and those become DBN files."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.activity import Activity
from ifd_fast.arrivals import DayFlow, draw_flow, last_trade_ns, trading_hours
from ifd_fast.calendar import Session
from ifd_fast.errors import UsageError
from ifd_fast.optionchain import Listing, list_world
from ifd_fast.planner import SessionPlan, Turn
from ifd_fast.quantiles import alias_table, world_tables
from ifd_fast.seeding import mix_seed
from ifd_fast.world import World
from ifd_kernels import layout
from ifd_kernels import market_state as ms
from ifd_kernels.market_follow import clear_books, follow, reach_rungs, retire
from ifd_kernels.market_opening import cross_books, open_market
from ifd_kernels.market_stream import fill_books, run, snapshot

__all__ = ["PREOPEN_NS", "Plant", "Simulation"]

CHANCE: Final = 65_536
NICKELS: Final = 20  # in a point
YEAR_S: Final = 365 * 86_400
ORDERS_FIRST: Final = 6_412_700_000_000
CHUNK_RECORDS: Final = 65_536
PLANTS_FROM: Final = -2  # whose the children of the first `Plant` are, then downwards
PREOPEN_NS: Final = 900 * layout.SECOND_NS
RECOVERY_NS: Final = 40_000_000  # from the end of a gap, or an expiry, to what follows


class Plant(NamedTuple):
    """A metaorder to be traded in `children` parts; `start_s` counts from the session's open."""

    symbol: str
    side: str  # BUY or SELL
    start_s: float
    duration_s: float
    contracts: int
    children: int


class Simulation:
    """One session of a world. Iterating gives arrays (r * 7,) of records, valid until the next."""

    def __init__(
        self,
        world: World,
        seed: int,
        session: Session,
        plants: Sequence[Plant] = (),
        records: int | None = None,
        chunk_records: int = CHUNK_RECORDS,
        plan: SessionPlan | None = None,
    ) -> None:
        if chunk_records < 2 * ms.HEADROOM_RECORDS:
            raise UsageError(
                f"`chunk_records` must be {2 * ms.HEADROOM_RECORDS} or more, was {chunk_records}."
            )
        self.world = world
        self.session = session = trading_hours(world, session)
        self.seed = mix_seed(seed, session.trade_date)
        self.random = random.Random(self.seed)  # noqa: S311  # a seed, not a secret
        chain = world.chain
        self.chain: list[Listing] = list_world(world, session.trade_date)
        self.start = chain.middle + self.random.gauss(0.0, 1.0) * chain.drift_points
        if world.clock.kind == "session":
            self.start_ns, self.end_ns = session.open_ns, session.close_ns
        elif world.clock.kind == "continuous":
            self.start_ns = session.open_ns + round(world.clock.start_s * 1e9)
            self.end_ns = self.start_ns + round(world.clock.seconds * 1e9)
        else:
            raise UsageError(
                f"`clock.kind` must be session or continuous, was {world.clock.kind!r}."
            )
        self.records = world.clock.records if records is None else records
        self.plants = list(plants)
        self.plan = plan or SessionPlan(self.seed, (), (), ())
        self.activity = Activity(world, self.chain)
        self.tables = world_tables(world)
        self.flow: DayFlow | None = None
        self.market = self._build(chunk_records)
        self.deviation = self.market.instrument["spread_nickels"].copy()
        self._set_walls()
        self._fill()

    # --- the arrays ---------------------------------------------------------------------------

    def _build(self, chunk_records: int) -> ms.Market:
        world, count = self.world, len(self.chain)
        near = world.book.near
        deep = max(0, world.book.live_orders - round(1.4 * near * count)) // count
        instrument = np.zeros(count, dtype=ms.INSTRUMENT)
        for slot, listing in enumerate(self.chain):
            self._describe(instrument, slot, listing)
            instrument[slot]["deep_start"] = slot * deep
            instrument[slot]["deep_count"] = deep
        instrument["deep_hole"] = -1
        quotes, trades = self.activity.weights()
        clock = world.clock
        if sum(size * share for size, share in clock.packet) <= 0:
            raise UsageError(f"`clock.packet` must have shares above 0, was {clock.packet}.")
        return ms.Market(
            instrument,
            np.zeros(2 * near * count, dtype=ms.ORDER),
            np.tile(np.repeat(np.array([ms.NO_BID, ms.NO_ASK], dtype=np.int32), near), count),
            np.zeros(max(1, deep * count), dtype=ms.ORDER),
            self._merge(),
            np.zeros((ms.FILLS_MAX, 3), dtype=np.int64),
            self.tables,
            self.activity.pace(self.start_ns, self.end_ns),
            *alias_table(quotes),
            *alias_table(trades),
            self._rules(),
            self._state(),
            np.array([self.seed], dtype=np.uint64),
            np.zeros(max(chunk_records, deep + 4 * near + 8) * ms.WORDS, dtype=np.int64),
        )

    def _describe(self, instrument: ms.Records, slot: int, listing: Listing) -> None:
        left_s = max(listing.expiration_ns - self.start_ns, layout.SECOND_NS * 7_200) / 1e9
        deviation = self.world.chain.volatility_year * self.start * math.sqrt(left_s / YEAR_S)
        nickels = max(1, round(deviation * NICKELS))
        row = instrument[slot]
        row["instrument_id"] = listing.instrument_id
        row["spread_nickels"] = nickels
        row["scale"] = (ms.VALUE_STEPS << 20) // nickels
        row["strike_nickels"] = round(listing.strike * NICKELS)
        row["kind"] = {
            "F": layout.KIND_FUTURE,
            "C": layout.KIND_CALL,
            "P": layout.KIND_PUT,
            "T": layout.KIND_SPREAD,
            "M": layout.KIND_SPREAD,
        }[listing.instrument_class]
        row["half"] = {"F": 0, "T": 3, "M": 3}.get(listing.instrument_class, 1 + slot % 2)
        row["rung_min"] = -(2**30) if listing.legs else 1
        row["leg_a"] = row["leg_b"] = -1
        if listing.legs:
            row["leg_a"], row["leg_b"] = listing.legs[0][0], listing.legs[1][0]
            row["sign_b"] = 1 if listing.legs[1][1] == "B" else -1
        rate = self.activity.rates[slot]
        row["crossing"] = self.activity.crossing(slot)
        row["lots"] = 3 if slot == 0 else (rate >= 6) + (rate >= 120)

    def _rules(self) -> NDArray[np.int64]:
        world = self.world
        packets_s, trade_share = self.activity.packets_s()
        packets = packets_s * (self.end_ns - self.start_ns) / 1e9
        if self.records:
            packets = min(packets, self.records / 2.5)
        variance = (world.chain.walk_points * 4) ** 2
        step = max(1, math.ceil(math.sqrt(variance / (0.6 * packets))))
        rule = np.zeros(ms.R_RULES, dtype=np.int64)
        rule[ms.R_OPEN_NS], rule[ms.R_CLOSE_NS] = self.start_ns, self.end_ns
        rule[ms.R_RECORDS] = self.records or 2**62
        rule[ms.R_NEAR] = world.book.near
        middle, wall = round(self.start * 4), round(world.chain.wall_points * 4)
        rule[ms.R_FUTURE_LOW], rule[ms.R_FUTURE_HIGH] = middle - wall, middle + wall
        rule[ms.R_MOVE] = max(1, round(variance / (packets * step * step) * CHANCE))
        rule[ms.R_MOVE_RUNGS] = step
        rule[ms.R_TRADE] = round(trade_share * CHANCE)
        rule[ms.R_DEEP_RUNGS] = world.book.deep_rungs
        odd = world.irregular
        chances = {
            ms.R_DEEP: world.book.deep_share,
            ms.R_CANCEL: world.book.cancel_share,
            ms.R_ICEBERG: odd.iceberg,
            ms.R_SELF_MATCH: odd.self_match,
            ms.R_OFF_PRICE: odd.off_price,
            ms.R_GHOST: odd.ghost,
            ms.R_LOST_FILL: odd.lost_fill,
            ms.R_IMPLIED: odd.implied,
            ms.R_SIDELESS_LEG: odd.sideless_leg,
            ms.R_SAME: world.flow.same,
            ms.R_FUTURE_SHARE: world.flow.future_quotes,
            ms.R_ANSWER: world.arrivals.answer_share if world.arrivals else 0.0,
        }
        for entry, share in chances.items():
            rule[entry] = round(share * CHANCE)
        return rule

    def _state(self) -> NDArray[np.int64]:
        state = np.zeros(ms.S_STATES, dtype=np.int64)
        state[ms.S_FUTURE] = round(self.start * 4)
        state[ms.S_ORDER] = ORDERS_FIRST + self.session.trade_date.toordinal() * 10_000
        state[ms.S_SEQUENCE] = 1_000 + self.random.randrange(1_000_000)
        return state

    def _merge(self) -> ms.Records:
        """Return all that is planned ahead in order of time: plants, episodes, ordinary flow."""
        planned = [self._plant_children()]
        if self.plan.children:
            rows = np.zeros(len(self.plan.children), dtype=ms.CHILD)
            for row, child in zip(rows, self.plan.children, strict=True):
                row["ts_event_ns"], row["slot"] = child.ts_event_ns, child.slot
                row["side"] = layout.SIDE_BID if child.side > 0 else layout.SIDE_ASK
                row["asked"], row["plant"], row["mode"] = child.asked, child.label_id, child.mode
            planned.append(rows)
        if self.world.arrivals is not None:
            self.flow = self.plan.flow or draw_flow(
                self.world, self.activity, self.seed, self.session, self.tables
            )
            planned.append(self.flow.trades)
        whole = np.concatenate(planned)
        return whole[np.argsort(whole["ts_event_ns"], kind="stable")]

    def _plant_children(self) -> ms.Records:
        """Return the children of all plants, in order of time, at random times and sizes."""
        slots = {listing.symbol: slot for slot, listing in enumerate(self.chain)}
        children: list[tuple[int, int, int, int, int]] = []
        for number, plant in enumerate(self.plants):
            if plant.symbol not in slots:
                raise UsageError(
                    f"`plant` names {plant.symbol!r}, which isn't listed; one that is: "
                    f"{self.chain[len(self.chain) // 2].symbol!r}."
                )
            side = layout.SIDE_BID if plant.side == "BUY" else layout.SIDE_ASK
            count = min(plant.children, plant.contracts)
            sizes = [plant.contracts // count] * count
            for extra in range(plant.contracts % count):
                sizes[extra] += 1
            self.random.shuffle(sizes)
            part_ns = plant.duration_s * 1e9 / count
            for place, size in enumerate(sizes):
                at = plant.start_s * 1e9 + (place + self.random.random()) * part_ns
                ts_event_ns = self.session.open_ns + round(at)
                if not self.start_ns <= ts_event_ns < self.end_ns:
                    raise UsageError(f"`plant` {plant} lies outside of the stream.")
                children.append((ts_event_ns, slots[plant.symbol], side, size, number))
        children.sort()
        plan = np.zeros(len(children), dtype=ms.CHILD)
        for row, (ts_event_ns, slot, side, size, number) in zip(plan, children, strict=True):
            row["ts_event_ns"], row["slot"], row["side"] = ts_event_ns, slot, side
            row["asked"], row["plant"] = size, PLANTS_FROM - number
        return plan

    def _set_walls(self) -> None:
        """Put the far orders beyond every price that the walk between its walls can bring."""
        market = self.market
        margin = 2 * self.world.book.near + 8
        reach = np.zeros((len(self.chain), 2), dtype=np.int64)
        reach[:, 0], reach[:, 1] = 2**62, -(2**62)
        factors = {1.0, *(turn.value for turn in self.plan.turns if turn.kind == "vol")}
        for factor in (min(factors), max(factors), 1.0):
            self._set_volatility(factor)
            reach_rungs(market, 32, reach)
        market.instrument["deep_top"] = reach[:, 0] - margin
        market.instrument["deep_base"] = reach[:, 1] + margin

    def _fill(self) -> None:
        with np.errstate(over="ignore"):  # the generator wraps on purpose
            fill_books(self.market)

    # --- the stream ---------------------------------------------------------------------------

    def _take(self) -> NDArray[np.int64]:
        """Return what is in `out` and mark it as taken."""
        written = int(self.market.state[ms.S_WRITTEN])
        self.market.state[ms.S_WRITTEN] = 0
        return self.market.out[: written * ms.WORDS]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Give the records in order; can be done once."""
        state = self.market.state
        with np.errstate(over="ignore"):
            sequence = int(state[ms.S_SEQUENCE])
            if self.world.book.snapshot:
                yield from self._snapshot()
            state[ms.S_SEQUENCE] = sequence
            if self.world.clock.kind == "session":
                yield from self._drain(cross_books)
                yield from self._drain(open_market)
            state[ms.S_TS_EVENT] = self.start_ns
            if self.world.arrivals is None:
                yield from self._drain(run)
            else:
                yield from self._follow()

    def _follow(self) -> Iterator[NDArray[np.int64]]:
        """Give the records of trading, from one turn of the market to the next."""
        rule = self.market.rule
        for turn in sorted((*self.plan.turns, *self._expiries())):
            rule[ms.R_CLOSE_NS] = turn.ts_ns
            yield from self._drain(follow)
            if turn.kind == "expiry":
                yield from self._retire(turn.ts_ns)
            elif turn.kind == "gap":
                yield from self._miss(turn.ts_ns + round(turn.value * 1e9))
            else:
                self._set_volatility(turn.value)
        rule[ms.R_CLOSE_NS] = self.end_ns
        yield from self._drain(follow)

    def _expiries(self) -> list[Turn]:
        """Return when instruments expire within the session."""
        ends = {last_trade_ns(self.chain, slot) for slot in range(len(self.chain))}
        return [Turn(end, "expiry", 0.0) for end in ends if self.start_ns < end < self.end_ns]

    def _retire(self, ts_ns: int) -> Iterator[NDArray[np.int64]]:
        """Empty the books of what expires at `ts_ns`; nobody quotes it again."""
        market = self.market
        count = len(self.chain)
        ends = np.array([last_trade_ns(self.chain, slot) for slot in range(count)])
        self._set_clock(ts_ns)
        slots = np.flatnonzero(ends == ts_ns)
        yield from self._drain(lambda market: retire(market, slots))
        quotes = np.where(ends > ts_ns, self.activity.weights()[0], 0.0)
        market.quote_threshold[:], market.quote_other[:] = alias_table(quotes.tolist())

    def _set_clock(self, ts_ns: int) -> None:
        """Set the clock for records that come a little after `ts_ns`."""
        state = self.market.state
        state[ms.S_TS_EVENT] = max(int(state[ms.S_TS_EVENT]), ts_ns)
        state[ms.S_TS_RECV] = max(int(state[ms.S_TS_RECV]), ts_ns + RECOVERY_NS)

    def _miss(self, until_ns: int) -> Iterator[NDArray[np.int64]]:
        """Let the market go on unseen, then give an R and a snapshot of every book."""
        state = self.market.state
        self.market.rule[ms.R_CLOSE_NS] = until_ns
        for chunk in self._drain(follow):
            state[ms.S_RECORDS] -= len(chunk) // ms.WORDS
        self._set_clock(until_ns)
        sequence = int(state[ms.S_SEQUENCE])
        yield from self._drain(clear_books)
        yield from self._drain(snapshot)
        state[ms.S_SEQUENCE] = sequence

    def _set_volatility(self, factor: float) -> None:
        """Price all options at `factor` times the volatility of the session's start."""
        instrument = self.market.instrument
        nickels = np.maximum(1, np.rint(self.deviation * factor)).astype(np.int64)
        instrument["spread_nickels"] = nickels
        instrument["scale"] = (ms.VALUE_STEPS << 20) // nickels

    def _drain(self, kernel: Callable[[ms.Market], ms.Integer]) -> Iterator[NDArray[np.int64]]:
        """Call `kernel` until it is done, giving what it has written each time."""
        self.market.state[ms.S_CURSOR] = 0
        status: ms.Integer = layout.NEED_ROWS
        while status != layout.DONE:
            status = kernel(self.market)
            yield self._take()

    def truth(self, seed: int) -> bytes:
        """Return what was planted, child by child, as JSON; complete once the stream is."""
        plants = [plant._asdict() | {"trades": []} for plant in self.plants]
        for child in self.market.plan[self.market.plan["plant"] <= PLANTS_FROM]:
            plants[PLANTS_FROM - int(child["plant"])]["trades"].append(
                {
                    "ts_event_ns": int(child["ts_event_ns"]),
                    "order_id": int(child["order_id"]),
                    "price_1e9": int(child["price_1e9"]),
                    "asked": int(child["asked"]),
                    "filled": int(child["filled"]),
                }
            )
        whole = {
            "world": self.world.name,
            "world_digest": self.world.digest(),
            "seed": seed,
            "trade_date": self.session.trade_date.isoformat(),
            "records": int(self.market.state[ms.S_RECORDS]),
            "plants": plants,
        }
        return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"

    def _snapshot(self) -> Iterator[NDArray[np.int64]]:
        state = self.market.state
        state[ms.S_TS_EVENT] = self.start_ns - 7_200 * layout.SECOND_NS
        state[ms.S_TS_RECV] = self.start_ns - PREOPEN_NS
        yield from self._drain(snapshot)
