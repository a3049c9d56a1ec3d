"""The array file the engine maps: the estimates of one trade date, published by rename.

Layout, little endian: HEADER, then the arrays `underlyings`, `season`, `cells`, `limits` and
`ranks`, each from an offset that is a multiple of 64. The header's digests name what went in and
guard what lies here.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from ifd_fast.baseline_cells import CELL, SEASON_BINS, UNDERLYING
from ifd_fast.baseline_estimates import Arrays
from ifd_fast.errors import DataError, IfdError
from ifd_fast.ranking import Ranking, make_limits
from ifd_kernels.signals import BINS, CHANNELS, LIMITS, NODES, WINDOWS

__all__ = ["HEADER", "load_arrays", "publish_arrays"]

MAGIC: Final = b"IFDBASE\0"
FILE_VERSION: Final = 2
RANKS_SHAPE: Final = (CHANNELS, WINDOWS, BINS, NODES)
_ALIGN_BYTES: Final = 64

HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("header_bytes", "<u4"),
        ("file_bytes", "<i8"),
        ("as_of_day", "<i8"),  # trade date the arrays are in force for, days since 1970-01-01
        ("lookback_sessions", "<i8"),
        ("sessions", "<i8"),  # sessions of history found
        ("underlyings", "<i8"),  # counts
        ("season_bins", "<i8"),
        ("cells", "<i8"),
        ("underlyings_at", "<i8"),  # byte offsets
        ("season_at", "<i8"),
        ("cells_at", "<i8"),
        ("limits", "<i8"),  # 1, or 0 without a ranking
        ("limits_at", "<i8"),
        ("ranks", "<i8"),  # numbers in all tables
        ("ranks_at", "<i8"),
        ("cell_bytes", "<i8"),
        ("inputs_digest", "S64"),
        ("content_digest", "S64"),  # of all other bytes
    ]
)


_DIGEST_AT: Final = HEADER.itemsize - 64  # the header's last field


def _content_digest(data: bytearray | mmap.mmap) -> bytes:
    view = memoryview(data)
    digest = hashlib.sha256(view[:_DIGEST_AT])
    digest.update(view[HEADER.itemsize :])
    return digest.hexdigest().encode()


def _align(offset: int) -> int:
    return -(-offset // _ALIGN_BYTES) * _ALIGN_BYTES


def publish_arrays(path: Path, arrays: Arrays) -> None:
    """Write `arrays` beside `path`, make them durable and put them in its place at once.

    Raises
    ------
    IfdError
        If the file can't be written; what stood at `path` still does.
    """
    data = _pack(arrays)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself
        finally:
            os.close(folder)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise IfdError(f"Baseline arrays {path} can't be written: {error}.") from error


def load_arrays(path: Path, *, verify: bool = True) -> Arrays:
    """Map the file read-only; `verify` also checks its content's digest.

    Raises
    ------
    DataError
        If the file is missing, cut short, damaged or of another version.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise DataError(
            f"Baseline arrays {path} can't be read: {error}. Make them with `ifd baseline build`."
        ) from error
    header = _check_header(path, data)
    if verify and _content_digest(data) != header["content_digest"]:
        raise _damaged(path, "its content's digest differs from the header's")
    bins = int(header["season_bins"])
    return Arrays(
        as_of_day=int(header["as_of_day"]),
        lookback_sessions=int(header["lookback_sessions"]),
        sessions=int(header["sessions"]),
        digest=bytes(header["inputs_digest"]).decode("ascii", "replace"),
        cells=np.frombuffer(data, CELL, int(header["cells"]), int(header["cells_at"])),
        underlyings=np.frombuffer(
            data, UNDERLYING, int(header["underlyings"]), int(header["underlyings_at"])
        ),
        season=np.frombuffer(data, "<f8", bins + 1, int(header["season_at"])),
        ranking=_read_ranking(data, header),
    )


def _read_ranking(data: mmap.mmap, header: Any) -> Ranking | None:
    """Return the ranking, with the weights of the calibration now in force."""
    if header["limits"] == 0:
        return None
    row = np.frombuffer(data, LIMITS, 1, int(header["limits_at"]))[0]
    shares = tuple(float(share) for share in row["grain_shares"])
    limits = make_limits(
        ready=bool(row["ready"] == 1.0),
        sessions=float(row["sessions"]),
        line=(float(row["alpha"]), float(row["beta"])),
        grain_shares=(shares[0], shares[1], shares[2]),
    )
    ranks = np.frombuffer(data, "<f8", int(header["ranks"]), int(header["ranks_at"]))
    return Ranking(ranks.reshape(RANKS_SHAPE), limits)


def _pack(arrays: Arrays) -> bytearray:
    underlyings_at = _align(HEADER.itemsize)
    season_at = _align(underlyings_at + arrays.underlyings.nbytes)
    cells_at = _align(season_at + arrays.season.nbytes)
    ranking = arrays.ranking
    limits = np.zeros(0, LIMITS) if ranking is None else ranking.limits
    ranks = np.zeros(0) if ranking is None else ranking.ranks
    limits_at = _align(cells_at + arrays.cells.nbytes)
    ranks_at = _align(limits_at + limits.nbytes)
    data = bytearray(ranks_at + ranks.nbytes)
    parts = (
        (underlyings_at, arrays.underlyings),
        (season_at, arrays.season),
        (cells_at, arrays.cells),
        (limits_at, limits),
        (ranks_at, ranks),
    )
    for offset, part in parts:
        data[offset : offset + part.nbytes] = part.tobytes()
    header = np.zeros(1, HEADER)
    header[0] = (
        MAGIC, FILE_VERSION, HEADER.itemsize, len(data), arrays.as_of_day,
        arrays.lookback_sessions, arrays.sessions, len(arrays.underlyings), SEASON_BINS,
        len(arrays.cells), underlyings_at, season_at, cells_at, len(limits), limits_at,
        ranks.size, ranks_at, CELL.itemsize,
        arrays.digest.encode(), b"",
    )  # fmt: skip
    data[: HEADER.itemsize] = header.tobytes()
    data[_DIGEST_AT : HEADER.itemsize] = _content_digest(data)
    return data


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"Baseline arrays {path} can't be used: {what}. Make them anew with `ifd baseline build`."
    )


def _check_header(path: Path, data: mmap.mmap) -> Any:
    if len(data) < HEADER.itemsize:
        raise _damaged(path, f"{len(data)} bytes are no header of {HEADER.itemsize}")
    header = np.frombuffer(data, HEADER, 1)[0]
    if data[:8] != MAGIC:
        raise _damaged(path, f"it begins with {data[:8]!r}, not {MAGIC!r}")
    if header["version"] != FILE_VERSION or header["header_bytes"] != HEADER.itemsize:
        raise _damaged(path, f"its version is {header['version']}, not {FILE_VERSION}")
    if header["file_bytes"] != len(data):
        raise _damaged(path, f"it has {len(data)} bytes, its header says {header['file_bytes']}")
    if header["cell_bytes"] != CELL.itemsize or header["season_bins"] != SEASON_BINS:
        raise _damaged(path, "its cells have another layout")
    parts = (
        ("underlyings", int(header["underlyings"]) * UNDERLYING.itemsize),
        ("season", (SEASON_BINS + 1) * 8),
        ("cells", int(header["cells"]) * CELL.itemsize),
        ("limits", int(header["limits"]) * LIMITS.itemsize),
        ("ranks", int(header["ranks"]) * 8),
    )
    if int(header["ranks"]) not in (0, prod(RANKS_SHAPE)):
        raise _damaged(path, "its ranks have another layout")
    for name, size in parts:
        offset = int(header[f"{name}_at"])
        if offset < HEADER.itemsize or size < 0 or offset + size > len(data):
            raise _damaged(path, f"{name} at byte {offset} end outside the file")
    return header
