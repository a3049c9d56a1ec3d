"""One simulated session in memory: the bytes of its files, and the truth about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from ifd_fast.arrivals import season_of
from ifd_fast.dbnwriter import encode_definitions, encode_header
from ifd_fast.optionchain import Listing
from ifd_fast.planning import Episode, plan_session, session_of
from ifd_fast.simulation import PREOPEN_NS, Simulation
from ifd_fast.truth import (
    CHILDREN_SCHEMA,
    RATES_SCHEMA,
    SEASON_SCHEMA,
    TRUTH_SCHEMA,
    Truth,
    tier_of,
)
from ifd_fast.usual_net import usual_net
from ifd_fast.world import World
from ifd_kernels import layout

__all__ = ["SimulatedSession"]

POSITIVE: Final = "metaorder"
SEASON_S: Final = 300


class SimulatedSession:
    """A session of `world`, planned and simulated; the same arguments give the same bytes.

    `definition_bytes` and `mbo_chunks` are what `ifd simulate` writes into its files, header
    first; `truth` is complete once `mbo_chunks` is exhausted.

    >>> session = SimulatedSession(load_world("evaluation"), 1, dt.date(2026, 3, 10))
    >>> engine.feed(session.definition_bytes())
    >>> for chunk in session.mbo_chunks():
    ...     engine.feed(chunk)
    >>> session.truth().episodes
    """

    def __init__(
        self,
        world: World,
        seed: int,
        trade_date: dt.date,
        *,
        plants: int = 6,
        negatives: int = 20,
    ) -> None:
        self.world, self.seed, self.trade_date = world, seed, trade_date
        self.plan = plan_session(world, seed, trade_date, plants, negatives)
        self.simulation = Simulation(world, seed, session_of(trade_date), plan=self.plan)
        self.chain: list[Listing] = self.simulation.chain
        self.start_ns = self.simulation.start_ns - PREOPEN_NS
        self.end_ns = self.simulation.end_ns

    def definition_bytes(self) -> bytes:
        """Return the bytes of the definition file: header and records."""
        return self._header("definition") + encode_definitions(self.chain, self.start_ns)

    def mbo_chunks(self) -> Iterator[bytes]:
        """Give the bytes of the MBO file, its header first; can be done once."""
        limit = self.simulation.records or None
        yield self._header("mbo", limit)
        for chunk in self.simulation:
            if len(chunk):
                yield chunk.tobytes()

    def _header(self, schema: str, limit: int | None = None) -> bytes:
        return encode_header(schema, self.chain, self.start_ns, self.end_ns, self.trade_date, limit)

    def truth(self) -> Truth:
        """Return what was planted and what became of it, and what nobody can know beforehand."""
        return Truth(self._episodes(), self._children(), self._rates(), self._season())

    @cached_property
    def _planned(self) -> Any:
        plan = self.simulation.market.plan
        return plan[plan["plant"] > 0]

    def _episodes(self) -> pl.DataFrame:
        planned = self._planned
        rows = []
        for episode in self.plan.episodes:
            own = planned[planned["plant"] == episode.source]
            filled = int(own["filled"].sum()), int(np.count_nonzero(own["filled"]))
            rows.append(self._episode(episode, *filled))
        return pl.DataFrame(rows, schema=TRUTH_SCHEMA, orient="row")

    def _episode(self, episode: Episode, contracts: int, children: int) -> tuple[Any, ...]:
        item = self.chain[episode.slot] if episode.slot >= 0 else None
        kind = {"T": "S"}.get(item.instrument_class, item.instrument_class) if item else None
        rate = self.simulation.activity.rates[episode.slot] if item else None
        is_option = kind is not None and kind in "CP"
        usual = episode.mean_abs_net
        return (
            self.trade_date,
            episode.label_id,
            episode.kind,
            episode.kind == POSITIVE,
            episode.cluster_id,
            item.instrument_id if item else None,
            item.symbol if item else None,
            kind,
            item.strike if item and is_option else None,
            episode.side,
            episode.start_ns,
            episode.end_ns,
            (episode.end_ns - episode.start_ns) / 1e9,
            episode.contracts / usual if usual else None,
            episode.contracts,
            contracts,
            episode.children,
            children,
            episode.style,
            tier_of(rate) if is_option and rate is not None else None,
            rate,
            usual,
        )

    def _children(self) -> pl.DataFrame:
        planned = self._planned
        ids = np.array([item.instrument_id for item in self.chain])
        frame = pl.DataFrame(
            {
                "label_id": planned["plant"],
                "instrument_id": ids[planned["slot"]],
                "side": np.where(planned["side"] == layout.SIDE_BID, 1, -1),
                "ts_event": planned["ts_event_ns"],
                "order_id": planned["order_id"],
                "asked": planned["asked"],
                "filled": planned["filled"],
                "price": planned["price_1e9"] / 1e9,
            }
        )
        nobody = pl.col("filled") == 0
        price = pl.when(nobody).then(None).otherwise(pl.col("price")).alias("price")
        frame = frame.with_columns(price)
        return frame.cast(CHILDREN_SCHEMA)

    def _rates(self) -> pl.DataFrame:
        if self.world.arrivals is None:
            return pl.DataFrame(schema=RATES_SCHEMA)
        usual = usual_net(self.world)
        rows = []
        for slot, (item, rate) in enumerate(
            zip(self.chain, self.simulation.activity.rates, strict=True)
        ):
            if item.instrument_class not in "CP":
                continue
            factor = float(self.simulation.flow.factor[slot])
            rows.append(
                (
                    item.instrument_id,
                    item.symbol,
                    item.instrument_class,
                    item.strike,
                    tier_of(rate),
                    rate,
                    factor,
                    rate * usual.votes_a_trade(rate),
                    rate * usual.mean_size(self.simulation.activity.lots()[slot]),
                )
            )
        return pl.DataFrame(rows, schema=RATES_SCHEMA, orient="row")

    def _season(self) -> pl.DataFrame:
        if self.world.arrivals is None:
            return pl.DataFrame(schema=SEASON_SCHEMA)
        simulation = self.simulation
        season = season_of(self.world.arrivals, simulation.start_ns, simulation.end_ns)
        part_ns = SEASON_S * layout.SECOND_NS
        count = -((simulation.start_ns - simulation.end_ns) // part_ns)
        hours = season.shares(part_ns, count)
        starts = simulation.start_ns + np.arange(count) * part_ns
        return pl.DataFrame({"start": starts, "activity": hours * 3600 / SEASON_S}).cast(
            SEASON_SCHEMA
        )
