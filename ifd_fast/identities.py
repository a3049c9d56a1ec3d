"""What rows and listings say of an instrument."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Identity", "frame_identities"]


class Identity(NamedTuple):
    """What a row says of its instrument; None where nobody has said it."""

    instrument_id: int
    symbol: str | None
    root: str | None
    underlying: str | None
    expiration_ns: int  # -1 if unknown
    strike: float | None  # points
    option_type: str | None  # C, P, F future, S spread
    mapped: bool
    contract: str | None  # of a future: month letter and year digits, such as H4
    opened: int = 0  # instruments that were opened before it


def frame_identities(
    rows: list[Identity], first_seen_ns: NDArray[np.int64], last_seen_ns: NDArray[np.int64]
) -> pl.DataFrame:
    """Return the columns of `instruments.parquet`, one row an identity (n,), in their order."""
    import polars as pl

    def times(values: list[int] | NDArray[np.int64]) -> pl.Series:
        utc = pl.Datetime("ns", "UTC")
        return pl.Series(values=values, dtype=pl.Int64).replace(-1, None).cast(utc)

    return pl.DataFrame(
        {
            "instrument_id": pl.Series([row.instrument_id for row in rows], dtype=pl.UInt32),
            "symbol": pl.Series([row.symbol for row in rows], dtype=pl.String),
            "root": pl.Series([row.root for row in rows], dtype=pl.String),
            "underlying": pl.Series([row.underlying for row in rows], dtype=pl.String),
            "expiration": times([row.expiration_ns for row in rows]),
            "strike": pl.Series([row.strike for row in rows], dtype=pl.Float64),
            "option_type": pl.Series([row.option_type for row in rows], dtype=pl.String),
            "first_seen": times(first_seen_ns),
            "last_seen": times(last_seen_ns),
            "mapped": pl.Series([row.mapped for row in rows], dtype=pl.Boolean),
        }
    )
