"""A played session scored again from the files of its folder, with other weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ifd_fast.baseline_join import join_slots
from ifd_fast.baseline_ranks import PastSession, list_identities, pack_rows, stand_at_open
from ifd_fast.errors import DataError
from ifd_fast.handovers import rescore_signals
from ifd_fast.planner import session_of
from ifd_fast.ranking import Ranking, make_limits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.calibration import Calibration
    from ifd_fast.profiles import Profile

__all__ = ["score_again", "with_weights"]

_COLUMNS = ("age_s", "bid_volume", "ask_volume", "moved", "twin_moved", "instrument_id")


def with_weights(arrays: Arrays, weights: Calibration) -> Arrays:
    """Return `arrays` whose confidences have other weights.

    Raises
    ------
    DataError
        If the arrays hold no ranks, so that nothing can be weighed.
    """
    known = arrays.ranking
    if known is None:
        raise DataError("These baselines hold no ranks: their sessions have no hand-overs.")
    row = known.limits[0]
    limits = make_limits(
        ready=bool(row["ready"]),
        sessions=float(row["sessions"]),
        line=(float(row["alpha"]), float(row["beta"])),
        grain_shares=tuple(row["grain_shares"].tolist()),
        calibration=weights,
    )
    return replace(arrays, ranking=Ranking(known.ranks, limits))


def score_again(folder: Path, arrays: Arrays, profile: Profile) -> NDArray[np.void]:
    """Return the signals of the session in `folder` as SIGNAL, from its hand-overs alone."""
    identities, symbols = _identities_of(folder)
    handed = pl.read_parquet(folder / "handovers.parquet")
    session = session_of(handed["trade_date"][0])
    columns: dict[str, NDArray[Any]] = {name: handed[name].to_numpy() for name in _COLUMNS}
    columns["instant_ns"] = handed["instant"].cast(pl.Int64).to_numpy()
    expected = join_slots(arrays, identities, len(identities), session.open_ns, symbols=symbols)
    past = PastSession(
        session.open_ns,
        session.open_ns,
        session.close_ns,
        1.0,
        identities,
        expected,
        pack_rows(columns, identities),
    )
    return rescore_signals(
        stand_at_open(past, arrays.season, arrays.ranking, profile),
        identities,
        past.rows,
        first_ns=session.open_ns,
        stop_ns=session.close_ns,
    )


def _identities_of(folder: Path) -> tuple[NDArray[Any], dict[int, str]]:
    """Return the identities of the folder's instruments, as they were last."""
    listed = (
        pl.read_parquet(folder / "instruments.parquet")
        .unique("instrument_id", keep="last")
        .sort("instrument_id")
        .select(
            "instrument_id",
            "option_type",
            "underlying",
            "strike",
            pl.col("expiration").cast(pl.Int64).fill_null(-1),
            pl.lit(1),
        )
    )
    return list_identities(listed.rows())
