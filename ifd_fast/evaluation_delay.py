"""How long after the evidence crosses an alert comes.

The same rule, scored ten times as often and without cooldown, has a row at each instant at which
a candidate holds. A crossing is a run of alerts among them that ends with a row that is none, or
with its episode. One that was over before the coarser rule scored again is none that this could
have seen: an alert near a gate may come and go five times within a second. The evidence has
crossed where the first run begins that stood at one of the coarser rule's instants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ifd_fast.scoreboard import quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["crossing_before", "late_after_finer"]

LOOK_BACK_NS = 60_000_000_000  # an older crossing belongs to other evidence
SECOND_NS = 1e9


def crossing_before(
    instants_ns: NDArray[np.int64],
    holds: NDArray[np.bool_],
    episodes: NDArray[np.int64],
    alert_ns: int,
    interval_ns: int,
) -> int | None:
    """Return when the evidence behind the alert at `alert_ns` crossed; None if it didn't.

    `instants_ns`, `holds`, `episodes` (n,): rows of the finer rule for the alert's option and
    side in order of time, whether each was an alert, and its episode. O(n).
    """
    stop = int(np.searchsorted(instants_ns, alert_ns, side="right"))
    began: int | None = None
    for place in range(int(np.searchsorted(instants_ns, alert_ns - LOOK_BACK_NS)), stop):
        now = int(instants_ns[place])
        broken = not holds[place] or (place > 0 and episodes[place] != episodes[place - 1])
        if broken and began is not None:
            if -(-began // interval_ns) * interval_ns < now:  # it stood at an instant of ours
                return began
            began = None
        if holds[place] and began is None:
            began = now
    return began


def late_after_finer(
    alerts: pl.DataFrame, finer: Mapping[int, pl.DataFrame], interval_ns: int
) -> dict[str, Any] | None:
    """Return how much later alerts come than their evidence crosses; None without `finer`.

    `alerts`: of ALERT_SCHEMA, first ones of their episodes, scored every `interval_ns`; `finer`:
    SIGNAL_SCHEMA of the same sessions, by number. An alert of a strike whose finer rows show no
    crossing before it, because another one's flow had them scored again only at the coarser
    instant, counts in `without` alone.
    """
    if not finer:
        return None
    late, without = [], 0
    for number, frame in sorted(finer.items()):
        rows = frame.sort("timestamp").select(
            "instrument_id",
            pl.when(pl.col("dominant_side") == "BUY").then(1).otherwise(-1).alias("side"),
            pl.col("timestamp").cast(pl.Int64).alias("instant_ns"),
            "alert",
            pl.col("signal_id").rank("dense").cast(pl.Int64).alias("episode"),
        )
        parts = rows.partition_by("instrument_id", "side", as_dict=True)
        mine = alerts.filter(pl.col("session") == number)
        for option, side, at in mine.select("instrument_id", "side", "instant_ns").rows():
            part = parts.get((option, side), rows.clear())
            crossed = crossing_before(
                part["instant_ns"].to_numpy(),
                part["alert"].to_numpy(),
                part["episode"].to_numpy(),
                at,
                interval_ns,
            )
            if crossed is None:
                without += 1
            else:
                late.append((at - crossed) / SECOND_NS)
    found = np.array(late)
    within = float((found <= interval_ns / SECOND_NS).mean()) if late else None
    return {**quantiles(found), "within": within, "without": without}
