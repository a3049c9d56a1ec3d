"""SHA-256 over rows, as the contract defines it: the proof that two runs found the same.

Rows are sorted by (window_end, instrument_id); columns stand in contract order; each value is a
byte that says null or not, then its bytes (`ifd_kernels.digest`). Negative zero counts as zero.
`rows_digest` covers all columns; `facts_digest` the integer, time and text columns but quality.
Signals have a digest of their own, over their rows in order of time: all columns but `code_digest`,
so that other code which finds the same has the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_kernels.digest import pack_fixed, pack_text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["FactsDigest", "RowDigest", "RunDigests", "SignalDigest"]

_FLAG_BYTES: Final = 1
_LENGTH_BYTES: Final = 4


class FactsDigest:
    """The facts digest of a growing set of rows; `update` takes frames in order of their rows."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._facts = hashlib.sha256()
        self.row_count = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a window row or of a fact."""
        import polars as pl

        if frame.height == 0:
            return
        self.row_count += frame.height
        is_fact = [
            name
            for name, dtype in frame.schema.items()
            if name != "quality" and not dtype.is_float()
        ]
        self._facts.update(_pack(frame.select(pl.col(is_fact))))

    @property
    def facts_digest(self) -> str | None:
        """The digest of integer, time and text columns but quality, or None without rows."""
        return self._facts.hexdigest() if self.row_count else None


class RowDigest(FactsDigest):
    """Both digests of a growing set of rows; an empty set has none (None)."""

    def __init__(self) -> None:
        """Begin with no rows."""
        super().__init__()
        self._rows = hashlib.sha256()

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a window row in order."""
        super().update(frame)
        if frame.height:
            self._rows.update(_pack(frame))

    @property
    def rows_digest(self) -> str | None:
        """The digest of all columns, 64 hex digits, or None without rows."""
        return self._rows.hexdigest() if self.row_count else None


class SignalDigest:
    """The digest of a growing set of signals; `update` takes frames in order of time."""

    def __init__(self) -> None:
        """Begin with no signals."""
        self._signals = hashlib.sha256()
        self.row_count = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a signal in order."""
        self.row_count += frame.height
        if frame.height:
            self._signals.update(_pack(frame.drop("code_digest")))

    @property
    def signals_digest(self) -> str | None:
        """The digest, 64 hex digits, or None without signals."""
        return self._signals.hexdigest() if self.row_count else None


class RunDigests:
    """The digests that a run is known by; `update` takes each of its frames by name, in order."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self._windows = RowDigest()
        self._signals = SignalDigest()

    @property
    def window_count(self) -> int:
        """Window rows so far."""
        return self._windows.row_count

    @property
    def found(self) -> dict[str, str | None]:
        """The digests of window rows and signals so far, by name."""
        return {
            "rows_digest": self._windows.rows_digest,
            "facts_digest": self._windows.facts_digest,
            "signals_digest": self._signals.signals_digest,
        }

    def update(self, name: str, frame: pl.DataFrame) -> None:
        """Add a frame of `windows` or `signals`; others are no part of a run's digests."""
        if name == "windows":
            self._windows.update(frame)
        elif name == "signals":
            self._signals.update(frame)


def _pack(frame: pl.DataFrame) -> memoryview:
    """Return the canonical bytes of `frame`, row by row."""
    import polars as pl

    nulls = [column.is_null().to_numpy() for column in frame]
    fixed: list[NDArray[np.uint8] | None] = []
    texts: list[tuple[NDArray[np.uint8], NDArray[np.int64]] | None] = []
    sizes = np.zeros(frame.height, np.int64)
    for column, is_null in zip(frame, nulls, strict=True):
        if column.dtype == pl.String:
            text, edges = _text_bytes(column)
            texts.append((text, edges))
            fixed.append(None)
            sizes += _FLAG_BYTES + np.where(is_null, 0, _LENGTH_BYTES + np.diff(edges))
        else:
            values = _value_bytes(column)
            texts.append(None)
            fixed.append(values)
            sizes += _FLAG_BYTES + np.where(is_null, 0, values.shape[1])
    cursor = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    out = np.empty(int(cursor[-1]), np.uint8)
    cursor = cursor[:-1].copy()
    for values_or_none, text_or_none, is_null in zip(fixed, texts, nulls, strict=True):
        if values_or_none is not None:
            pack_fixed(values_or_none, is_null, cursor, out)
        elif text_or_none is not None:
            pack_text(text_or_none[0], text_or_none[1], is_null, cursor, out)
    return out.data


def _value_bytes(column: pl.Series) -> NDArray[np.uint8]:
    """Return a numeric, time or truth column as little-endian bytes (n, w); nulls are zero."""
    import polars as pl

    physical = column.cast(pl.UInt8) if column.dtype == pl.Boolean else column.to_physical()
    values = physical.fill_null(0).to_numpy()
    if values.dtype.kind == "f":
        values = values + 0.0  # makes -0.0 a 0.0; in place would too, but read-only
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize).copy()


def _text_bytes(column: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a text column as one run of UTF-8 bytes and the edges (n + 1,) of its values."""
    filled = column.fill_null("")
    edges = np.zeros(len(filled) + 1, np.int64)
    np.cumsum(filled.str.len_bytes().to_numpy(), out=edges[1:])
    text = np.frombuffer("".join(filled.to_list()).encode(), np.uint8).copy()
    return text, edges
