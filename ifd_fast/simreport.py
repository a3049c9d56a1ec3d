"""The marginals of an MBO file, to lay a simulated market beside a real one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from ifd_kernels.layout import F_SNAPSHOT, MBO_BYTES, RTYPE_MBO

__all__ = ["measure_marginals", "print_marginals"]

MBO: Final = [
    ("length", "u1"),
    ("rtype", "u1"),
    ("publisher_id", "<u2"),
    ("instrument_id", "<u4"),
    ("ts_event", "<u8"),
    ("order_id", "<u8"),
    ("price", "<i8"),
    ("size", "<u4"),
    ("flags", "u1"),
    ("channel_id", "u1"),
    ("action", "S1"),
    ("side", "S1"),
    ("ts_recv", "<u8"),
    ("ts_in_delta", "<i4"),
    ("sequence", "<u4"),
]


def _read_start(path: Path, records: int) -> bytes:
    """Return the bytes of the first `records` records of an MBO file, compressed or not."""
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if path.suffix == ".zst":
            file = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(file))
        prefix = file.read(8)
        file.read(int.from_bytes(prefix[4:], "little"))
        data = file.read(records * MBO_BYTES)
    return data[: len(data) // MBO_BYTES * MBO_BYTES]


def measure_marginals(
    path: Path, records: int = 2_000_000, instrument_id: int | None = None
) -> dict[str, float]:
    """Return shares and quantiles of the first `records` records of `path` that are no snapshot.

    With `instrument_id`, of that instrument's among them.
    """
    import numpy as np

    events: Any = np.frombuffer(_read_start(path, records), dtype=MBO)
    events = events[(events["rtype"] == RTYPE_MBO) & (events["flags"] & F_SNAPSHOT == 0)]
    if instrument_id is not None:
        events = events[events["instrument_id"] == instrument_id]
    found: dict[str, float] = {"records": float(len(events))}
    for action in b"ACMTF":
        found[f"share of {chr(action)}"] = float(np.mean(events["action"] == bytes([action])))
    trades = events[events["action"] == b"T"]
    fills = events[events["action"] == b"F"]
    volume = max(int(trades["size"].sum()), 1)
    for side, name in ((b"A", "sell"), (b"B", "buy"), (b"N", "side N")):
        found[f"volume, {name}"] = float(trades["size"][trades["side"] == side].sum()) / volume
    found["F contracts / T contracts"] = float(fills["size"].sum()) / volume
    found["F / T records"] = len(fills) / max(len(trades), 1)
    found["F_LAST share"] = float(np.mean(events["flags"] >= 128))
    latency = events["ts_recv"].astype(np.int64) - events["ts_event"].astype(np.int64)
    for share in (1, 50, 90, 99):
        found[f"latency us, {share} %"] = float(np.percentile(latency, share)) / 1e3
        found[f"ts_in_delta us, {share} %"] = (
            float(np.percentile(events["ts_in_delta"], share)) / 1e3
        )
    found |= _flow_marginals(trades)
    found["instruments"] = float(len(np.unique(events["instrument_id"])))
    found["records / packet"] = len(events) / max(len(np.unique(events["sequence"])), 1)
    return found


def _flow_marginals(trades: Any) -> dict[str, float]:
    """Return sizes, gaps and sides of trades, pooled over instruments: nan without enough."""
    import numpy as np

    found: dict[str, float] = {}
    sizes = trades["size"].astype(np.float64)
    for share in (50, 90, 99):
        found[f"size of T, {share} %"] = (
            float(np.percentile(sizes, share)) if len(sizes) else np.nan
        )
    order = np.argsort(trades["instrument_id"], kind="stable")
    ids, times = trades["instrument_id"][order], trades["ts_event"][order].astype(np.int64)
    signs = (trades["side"][order] == b"B").astype(np.float64) - (trades["side"][order] == b"A")
    same = (ids[1:] == ids[:-1]) & (times[1:] > times[:-1])
    gaps = (times[1:] - times[:-1])[same] / 1e9
    known = same & (signs[1:] != 0.0) & (signs[:-1] != 0.0)
    enough = len(gaps) > 100
    found["gap between T s, 50 %"] = float(np.median(gaps)) if enough else np.nan
    found["gap between T, cv"] = float(gaps.std() / gaps.mean()) if enough else np.nan
    agree = (signs[1:] * signs[:-1])[known]
    found["side of next T, correlation"] = float(agree.mean()) if enough else np.nan
    return found


def print_marginals(paths: Sequence[Path]) -> None:
    """Print the marginals of MBO files as one table, a column a file."""
    from rich.console import Console
    from rich.table import Table

    columns = [measure_marginals(path) for path in paths]
    table = Table("marginal", *(path.name.split(".")[0] for path in paths), title="Marginals")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:,.4g}" for column in columns))
    Console().print(table)
