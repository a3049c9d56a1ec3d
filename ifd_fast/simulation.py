"""A simulated session: a world and a seed become a market's arrays, and those become DBN files."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.calendar import Session, load_sessions
from ifd_fast.dbnwriter import DbnWriter, encode_definitions, encode_header
from ifd_fast.errors import UsageError
from ifd_fast.optionchain import Listing, list_chain
from ifd_fast.quantiles import alias_table, market_tables
from ifd_fast.world import World
from ifd_kernels import layout
from ifd_kernels import market_state as ms
from ifd_kernels.market_quotes import fair_rung
from ifd_kernels.market_opening import cross_books, open_market
from ifd_kernels.market_stream import fill_books, run, snapshot

__all__ = ["Plant", "Simulation", "Written", "parse_plant", "pick_sessions", "write_session"]

MASK: Final = 2**64 - 1
CHANCE: Final = 65_536
NICKELS: Final = 20  # in a point
YEAR_S: Final = 365 * 86_400
ORDERS_FIRST: Final = 6_412_700_000_000
CHUNK_RECORDS: Final = 65_536
PREOPEN_NS: Final = 900 * layout.SECOND_NS


class Plant(NamedTuple):
    """A metaorder to be traded in `children` parts; `start_s` counts from the session's open."""

    symbol: str
    side: str  # BUY or SELL
    start_s: float
    duration_s: float
    contracts: int
    children: int


def mix_seed(seed: int, trade_date: dt.date) -> int:
    """Return the seed of one session: it depends on nothing but the day."""
    word = (seed * 0x9E3779B97F4A7C15 + trade_date.toordinal() * 0xD1B54A32D192ED03) & MASK
    word = ((word ^ (word >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    return word ^ (word >> 29)


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
    ) -> None:
        if chunk_records < 2 * ms.HEADROOM_RECORDS:
            raise UsageError(
                f"`chunk_records` must be {2 * ms.HEADROOM_RECORDS} or more, was {chunk_records}."
            )
        self.world = world
        self.session = session
        self.seed = mix_seed(seed, session.trade_date)
        self.random = random.Random(self.seed)
        chain = world.chain
        self.chain: list[Listing] = list_chain(
            session.trade_date, chain.expiries, chain.strikes, chain.strike_step, chain.middle,
            chain.spreads,
        )
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
        self.rates = self._trade_rates()
        self.market = self._build(chunk_records)
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
        quotes, trades = self._weights()
        clock = world.clock
        if sum(size * share for size, share in clock.packet) <= 0:
            raise UsageError(f"`clock.packet` must have shares above 0, was {clock.packet}.")
        return ms.Market(
            instrument,
            np.zeros(2 * near * count, dtype=ms.ORDER),
            np.tile(np.repeat(np.array([ms.NO_BID, ms.NO_ASK], dtype=np.int32), near), count),
            np.zeros(max(1, deep * count), dtype=ms.ORDER),
            self._plan(),
            np.zeros((ms.FILLS_MAX, 3), dtype=np.int64),
            market_tables(clock.gap_sigma, clock.tail, clock.packet),
            self._pace(),
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
            "F": layout.KIND_FUTURE, "C": layout.KIND_CALL, "P": layout.KIND_PUT,
            "T": layout.KIND_SPREAD,
        }[listing.instrument_class]
        row["half"] = {"F": 0, "T": 3}.get(listing.instrument_class, 1 + slot % 2)
        row["rung_min"] = -(2**30) if listing.instrument_class == "T" else 1
        row["leg_a"] = row["leg_b"] = -1
        if listing.legs:
            row["leg_a"], row["leg_b"] = listing.legs[0][0], listing.legs[1][0]
            row["sign_b"] = 1 if listing.legs[1][1] == "B" else -1
        row["crossing"] = self._crossing(slot, listing)
        row["lots"] = 3 if slot == 0 else (self.rates[slot] >= 6) + (self.rates[slot] >= 120)

    def _crossing(self, slot: int, listing: Listing) -> int:
        """Return how many pairs of orders cross in `slot` before the open."""
        if listing.instrument_class == "F":
            return max(1, self.world.book.near // 2)
        worth_it = listing.instrument_class in "CP" and self.rates[slot] >= 20.0
        return int(worth_it and self._farness(slot) < 0.6)

    def _trade_rates(self) -> list[float]:
        """Return the usual trades an hour of each instrument."""
        flow = self.world.flow
        draw = random.Random(self.world.digest())  # the same in every session
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

    def _farness(self, slot: int) -> float:
        """Return how far a strike is from the money, between 0 and 1 for its expiry's range."""
        chain = self.world.chain
        width = chain.strikes * chain.strike_step / 2 or 1.0
        far = abs(self.chain[slot].strike - chain.middle) / width
        expiry = (slot - 1) // (2 * chain.strikes)
        return far + 0.08 * expiry

    def _weights(self) -> tuple[list[float], list[float]]:
        """Return the weights of quotes (none for the future: it has its own share) and trades."""
        if self.world.flow.zipf:
            return [0.0, *self.rates[1:]], self.rates
        return [0.0, *(math.sqrt(rate + 5.0) for rate in self.rates[1:])], self.rates

    def _packets_s(self) -> tuple[float, float]:
        """Return packets a second, and the share of them that are aggressions."""
        flow, quotes = self.world.flow, self.world.clock.quotes_s
        if flow.zipf:
            return quotes / (1.0 - flow.trade_share), flow.trade_share
        trades = math.fsum(self.rates) / 3600.0
        return quotes + trades, trades / (quotes + trades)

    def _pace(self) -> NDArray[np.int64]:
        packets_s, _ = self._packets_s()
        day = self.world.clock.day
        mean = math.fsum(day) / len(day)
        parts = max(1, -((self.start_ns - self.end_ns) // (300 * layout.SECOND_NS)))
        gaps = [
            round(1e9 / (packets_s * day[part * len(day) // parts] / mean))
            for part in range(parts)
        ]
        return np.array(gaps, dtype=np.int64)

    def _rules(self) -> NDArray[np.int64]:
        world = self.world
        packets_s, trade_share = self._packets_s()
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
            ms.R_DEEP: world.book.deep_share, ms.R_CANCEL: world.book.cancel_share,
            ms.R_ICEBERG: odd.iceberg, ms.R_SELF_MATCH: odd.self_match,
            ms.R_OFF_PRICE: odd.off_price, ms.R_GHOST: odd.ghost,
            ms.R_LOST_FILL: odd.lost_fill, ms.R_IMPLIED: odd.implied,
            ms.R_SIDELESS_LEG: odd.sideless_leg, ms.R_SAME: world.flow.same,
            ms.R_FUTURE_SHARE: world.flow.future_quotes,
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

    def _plan(self) -> ms.Records:
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
            row["asked"], row["plant"] = size, number
        return plan

    def _set_walls(self) -> None:
        """Put the far orders beyond every price that the walk between its walls can bring."""
        market = self.market
        low, high = int(market.rule[ms.R_FUTURE_LOW]), int(market.rule[ms.R_FUTURE_HIGH])
        stops = [low + (high - low) * part // 32 for part in range(33)]
        margin = 2 * self.world.book.near + 8
        for slot in range(len(self.chain)):
            rungs = [int(fair_rung(market, slot, stop)) for stop in stops]
            market.instrument[slot]["deep_top"] = min(rungs) - margin
            market.instrument[slot]["deep_base"] = max(rungs) + margin

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
            yield from self._drain(run)

    def _drain(self, kernel: Callable[[ms.Market], int]) -> Iterator[NDArray[np.int64]]:
        """Call `kernel` until it is done, giving what it has written each time."""
        self.market.state[ms.S_CURSOR] = 0
        status = layout.NEED_ROWS
        while status != layout.DONE:
            status = kernel(self.market)
            yield self._take()

    def truth(self, seed: int) -> bytes:
        """Return what was planted, child by child, as JSON; complete once the stream is."""
        plants = [plant._asdict() | {"trades": []} for plant in self.plants]
        for child in self.market.plan:
            plants[int(child["plant"])]["trades"].append(
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


class Written(NamedTuple):
    """What `write_session` wrote."""

    trade_date: dt.date
    path: Path
    definitions: Path
    records: int
    trades: int
    bytes_raw: int
    bytes_file: int


def parse_plant(text: str) -> Plant:
    """Return the plant that `text` describes, SYMBOL:BUY|SELL:START_S:DURATION_S:CONTRACTS[:N]."""
    parts = text.rsplit(":", 5)
    if len(parts) == 6 and parts[1] not in ("BUY", "SELL"):
        parts = text.rsplit(":", 4)
    if len(parts) < 5 or parts[1] not in ("BUY", "SELL"):
        raise UsageError(
            f"`--plant` must be SYMBOL:BUY|SELL:START_S:DURATION_S:CONTRACTS[:CHILDREN], "
            f"was {text!r}."
        )
    try:
        start_s, duration_s, contracts = float(parts[2]), float(parts[3]), int(parts[4])
        children = int(parts[5]) if len(parts) == 6 else max(1, contracts // 5)
    except ValueError:
        raise UsageError(f"`--plant` {text!r} has a part that is no number.") from None
    if start_s < 0 or duration_s <= 0 or contracts < 1 or children < 1:
        raise UsageError(f"`--plant` {text!r}: times and counts must be above 0.")
    return Plant(parts[0], parts[1], start_s, duration_s, contracts, children)


def pick_sessions(first: dt.date, count: int) -> list[Session]:
    """Return `count` sessions from the trade date `first` on."""
    found = [session for session in load_sessions() if session.trade_date >= first][:count]
    if len(found) < count:
        raise UsageError(f"The calendar has {len(found)} sessions from {first}, not {count}.")
    return found


def write_session(
    world: World,
    seed: int,
    session: Session,
    out: Path,
    compress: bool = True,
    plants: Sequence[Plant] = (),
    records: int | None = None,
) -> Written:
    """Write the definition file, the MBO file and the truth of one session into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    simulation = Simulation(world, seed, session, plants, records)
    first_ns, last_ns = simulation.start_ns - PREOPEN_NS, simulation.end_ns
    stem = f"glbx-mdp3-{session.trade_date:%Y%m%d}"
    definitions = out / f"{stem}.definition.dbn.zst"
    header = encode_header("definition", simulation.chain, first_ns, last_ns, session.trade_date)
    with DbnWriter(definitions, header) as writer:
        writer.write(encode_definitions(simulation.chain, first_ns))
    path = out / f"{stem}.mbo.dbn{'.zst' if compress else ''}"
    header = encode_header("mbo", simulation.chain, first_ns, last_ns, session.trade_date)
    trades = 0
    with DbnWriter(path, header) as writer:
        for chunk in simulation:
            writer.write(chunk)
            trades += int(np.count_nonzero((chunk[4 :: ms.WORDS] >> 48) & 255 == layout.ACTION_TRADE))
    count = int(simulation.market.state[ms.S_RECORDS])
    truth = out / f"{stem}.truth.json"
    truth.write_bytes(simulation.truth(seed))
    return Written(
        session.trade_date, path, definitions, count, trades, writer.bytes_raw, path.stat().st_size
    )
