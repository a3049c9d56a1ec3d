"""A simulated session on disk: definitions, market-by-order records, and the truth about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ifd_fast.calendar import Session, load_sessions
from ifd_fast.dbnwriter import DbnWriter, encode_definitions, encode_header
from ifd_fast.errors import UsageError
from ifd_fast.planning import plan_session
from ifd_fast.simulated_truth import build_truth
from ifd_fast.simulation import PREOPEN_NS, Plant, Simulation
from ifd_fast.truth import write_truth
from ifd_fast.world import World
from ifd_kernels import layout
from ifd_kernels import market_state as ms

__all__ = ["Written", "parse_plant", "pick_sessions", "spread_records", "write_session"]


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


def spread_records(world: World, records: int, span_s: float) -> World:
    """Return `world` with its quotes thinned or thickened so that `records` last about `span_s`."""
    clock, flow = world.clock, world.flow
    total = sum(share for _, share in clock.packet)
    packet = sum(count * share for count, share in clock.packet) / total
    packet = flow.future_quotes + (1.0 - flow.future_quotes) * packet
    trades = flow.trade_share / (1.0 - flow.trade_share) * 3.3 if flow.zipf else 0.0
    quotes_s = max(0.01, records / span_s / (packet + trades))
    return msgspec.structs.replace(world, clock=msgspec.structs.replace(clock, quotes_s=quotes_s))


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
    *,
    compress: bool = True,
    plants: Sequence[Plant] = (),
    records: int | None = None,
    metaorders: int = 0,
    negatives: int = 0,
) -> Written:
    """Write the definition file, the MBO file and the truth of one session into `out`.

    A world whose trades are planned ahead has its truth as the frames of `truth` as well.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = plan_session(world, seed, session.trade_date, metaorders, negatives)
    simulation = Simulation(world, seed, session, plants, records, plan=plan)
    first_ns, last_ns = simulation.start_ns - PREOPEN_NS, simulation.end_ns
    stem = f"glbx-mdp3-{session.trade_date:%Y%m%d}"
    definitions = out / f"{stem}.definition.dbn.zst"
    header = encode_header("definition", simulation.chain, first_ns, last_ns, session.trade_date)
    with DbnWriter(definitions, header) as writer:
        writer.write(encode_definitions(simulation.chain, first_ns))
    path = out / f"{stem}.mbo.dbn{'.zst' if compress else ''}"
    limit = simulation.records or None
    header = encode_header("mbo", simulation.chain, first_ns, last_ns, session.trade_date, limit)
    trades = 0
    with DbnWriter(path, header) as writer:
        for chunk in simulation:
            writer.write(chunk)
            trades += int(
                np.count_nonzero((chunk[4 :: ms.WORDS] >> 48) & 255 == layout.ACTION_TRADE)
            )
    count = int(simulation.market.state[ms.S_RECORDS])
    truth = out / f"{stem}.truth.json"
    truth.write_bytes(simulation.truth(seed))
    if world.labels is not None:
        write_truth(out, stem, build_truth(simulation, simulation.chain))
    return Written(
        session.trade_date, path, definitions, count, trades, writer.bytes_raw, path.stat().st_size
    )
