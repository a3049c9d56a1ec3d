"""The truth about a simulated session, from what was planned and what the market made of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from ifd_fast.arrivals import season_of
from ifd_fast.optionchain import Listing
from ifd_fast.planner import Episode
from ifd_fast.simulation import Simulation
from ifd_fast.truth import (
    CHILDREN_SCHEMA,
    POSITIVE,
    RATES_SCHEMA,
    SEASON_SCHEMA,
    TRUTH_SCHEMA,
    Truth,
    tier_of,
)
from ifd_fast.usual_net import usual_net
from ifd_kernels import layout

__all__ = ["build_truth"]

SEASON_S: Final = 300
TYPES: Final = {"F": "F", "C": "C", "P": "P", "T": "S", "M": "S"}


def build_truth(simulation: Simulation, chain: list[Listing]) -> Truth:
    """Return what was planted and what nobody can know beforehand; `chain` names the slots.

    Complete once the simulation is exhausted.
    """
    planned = simulation.market.plan
    planned = planned[planned["plant"] > 0]
    return Truth(
        _episodes(simulation, chain, planned),
        _children(chain, planned),
        _rates(simulation, chain),
        _season(simulation),
    )


def _episodes(simulation: Simulation, chain: list[Listing], planned: Any) -> pl.DataFrame:
    rows = []
    for episode in simulation.plan.episodes:
        own = planned[planned["plant"] == episode.source]
        filled = int(own["filled"].sum()), int(np.count_nonzero(own["filled"]))
        item = chain[episode.slot] if episode.slot >= 0 else None
        rate = simulation.activity.rates[episode.slot] if item else None
        rows.append(_episode(simulation, episode, item, rate, filled))
    return pl.DataFrame(rows, schema=TRUTH_SCHEMA, orient="row")


def _episode(
    simulation: Simulation,
    episode: Episode,
    item: Listing | None,
    rate: float | None,
    filled: tuple[int, int],
) -> tuple[Any, ...]:
    kind = TYPES[item.instrument_class] if item else None
    is_option = kind in {"C", "P"}
    usual = episode.mean_abs_net if is_option else None
    return (
        simulation.session.trade_date,
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
        filled[0],
        episode.children,
        filled[1],
        episode.style,
        tier_of(rate) if is_option and rate is not None else None,
        rate,
        usual,
    )


def _children(chain: list[Listing], planned: Any) -> pl.DataFrame:
    ids = np.array([item.instrument_id for item in chain])
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
    return frame.with_columns(price).cast(CHILDREN_SCHEMA)


def _rates(simulation: Simulation, chain: list[Listing]) -> pl.DataFrame:
    if simulation.flow is None:
        return pl.DataFrame(schema=RATES_SCHEMA)
    usual = usual_net(simulation.world)
    lots = simulation.activity.lots()
    rows = []
    for slot, (item, rate) in enumerate(zip(chain, simulation.activity.rates, strict=True)):
        if item.instrument_class in "CP":
            rows.append(
                (
                    item.instrument_id,
                    item.symbol,
                    item.instrument_class,
                    item.strike,
                    tier_of(rate),
                    rate,
                    float(simulation.flow.factor[slot]),
                    rate * usual.votes_a_trade(rate),
                    rate * usual.mean_size(lots[slot]),
                )
            )
    return pl.DataFrame(rows, schema=RATES_SCHEMA, orient="row")


def _season(simulation: Simulation) -> pl.DataFrame:
    arrivals = simulation.world.arrivals
    if arrivals is None:
        return pl.DataFrame(schema=SEASON_SCHEMA)
    season = season_of(arrivals, simulation.start_ns, simulation.end_ns)
    part_ns = SEASON_S * layout.SECOND_NS
    count = -((simulation.start_ns - simulation.end_ns) // part_ns)
    activity = season.shares(part_ns, count) * 3600 / SEASON_S
    starts = simulation.start_ns + np.arange(count) * part_ns
    return pl.DataFrame({"start": starts, "activity": activity}).cast(SEASON_SCHEMA)
