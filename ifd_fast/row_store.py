"""Frames, digests and segments of what a live session found, made from the ring's blocks.

Rows are built by the code that replays use, so that they are the very same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import polars as pl

from ifd_fast.calendar import load_sessions
from ifd_fast.digests import RunDigests
from ifd_fast.flows import FACTS_WINDOW_S
from ifd_fast.found_blocks import Found, decode_found
from ifd_fast.identities import frame_identities
from ifd_fast.record_ring import BlockKind
from ifd_fast.rows import build_rows
from ifd_fast.segments import SEGMENT_SCHEMAS, Segments, iterate_segments
from ifd_fast.signals import SIGNAL_SCHEMA, build_signals
from ifd_kernels.pressure import ROW
from ifd_kernels.signals import SIGNAL

if TYPE_CHECKING:
    from pathlib import Path

    from ifd_fast.keeper_plan import KeeperPlan
    from ifd_fast.keeping import FoundBlock

__all__ = ["SESSION", "RowStore"]

SESSION: Final = "session.json"

_KEY: Final = ("signal_id", "timestamp")
_KINDS: Final = {"windows": ROW, "signals": SIGNAL}
_NAMES: Final = {BlockKind.ROWS: "windows", BlockKind.SIGNALS: "signals"}
_TIMES: Final = {"windows": "window_end_ns", "signals": "instant_ns"}


class RowStore:
    """Takes the blocks of one run, in order, and keeps what they say in the record's folder.

    Attributes
    ----------
    digests
        Of all rows and signals of the record, those of runs before this one too.
    counts
        Signals and alerts of the record; an alert that was withheld is a signal.
    """

    def __init__(self, record: Path, run: int, plan: KeeperPlan) -> None:
        """Go on with what the record's segments hold."""
        self.digests = RunDigests()
        self.counts = {"signals": 0, "alerts": 0}
        self._record = record
        self._run = run
        self._plan = plan
        self._sessions = load_sessions(plan.calendar)
        self._segments = Segments(record, run)
        self._begun: set[str] = set()
        self._waiting: dict[str, list[pl.DataFrame]] = {name: [] for name in SEGMENT_SCHEMAS}
        self._ends = dict(self._segments.positions)
        earlier = [
            one.select(*_KEY, before="withheld")
            for one in iterate_segments(record, "signals", not_of=run)
        ]
        self._earlier = pl.concat(earlier).unique(_KEY) if earlier else None

    def take(self, block: FoundBlock) -> pl.DataFrame:
        """Take a block of rows or signals; return them, less signals somebody was told of before.

        What is stored already is not stored again, but returned.

        Raises
        ------
        DataError
            It is no such block.
        """
        name = _NAMES[block.kind]
        found = decode_found(block.data, _KINDS[name])
        if name not in self._begun:
            self._begin(name, int(found.records[_TIMES[name]][0]))
        frame = self._frame(name, found)
        if block.end > self._segments.positions[name]:
            self._add(name, frame)
            self._waiting[name].append(frame)
            self._ends[name] = block.end
        if name == "windows" or self._earlier is None:
            return frame
        return frame.join(self._earlier, on=_KEY, how="anti")

    def store(self) -> None:
        """Write what was taken as segments; raises OSError, and then tries again when called."""
        for name, frames in self._waiting.items():
            if frames:
                self._segments.write(name, pl.concat(frames), self._ends[name])
                frames.clear()

    def finish(self, said: dict[str, Any]) -> dict[str, Any]:
        """Write and return `session.json`: what the engine said, and what was found."""
        for name in SEGMENT_SCHEMAS:
            if name not in self._begun:
                self._begin(name, None)
        found = self.digests.found
        document = {
            **said,
            "run": f"{self._run:x}",
            "windows": self.digests.window_count,
            **self.counts,
            # of rows that aren't all there a digest would say nothing
            "digests": dict.fromkeys(found) if said["blocks_lost"] else found,
        }
        path = self._record / SESSION
        aside = path.with_name(f"{SESSION}.unfinished")
        text = msgspec.json.format(msgspec.json.encode(document), indent=2)
        aside.write_bytes(text + b"\n")
        aside.replace(path)
        return document

    @property
    def has_ended(self) -> bool:
        """Whether `session.json` is that of this run."""
        path = self._record / SESSION
        return path.is_file() and msgspec.json.decode(path.read_bytes())["run"] == f"{self._run:x}"

    def _begin(self, name: str, first_ns: int | None) -> None:
        """Count in what is stored, before the first rows of this run, or of this process."""
        self._begun.add(name)
        before_ns = None if self._segments.positions[name] else first_ns
        for frame in iterate_segments(self._record, name, before_ns=before_ns):
            self._add(name, frame)

    def _add(self, name: str, frame: pl.DataFrame) -> None:
        if name == "signals":
            self.counts["signals"] += frame.height
            self.counts["alerts"] += frame.filter(pl.col("alert") & ~pl.col("withheld")).height
            frame = frame.select(SIGNAL_SCHEMA.names())
        self.digests.update(name, frame)

    def _frame(self, name: str, found: Found) -> pl.DataFrame:
        times = np.full(len(found.identities), -1)
        known = frame_identities(found.identities, times, times)
        records = found.records
        records["slot"] = np.arange(len(records))  # lines of `known`
        if name == "windows":
            dates = np.asarray(self._sessions.trade_date)
            return build_rows(records, known, dates, FACTS_WINDOW_S)[0]
        frame = build_signals(records, known, self._sessions, self._plan.rules_digest)
        frame = frame.with_columns(withheld=pl.lit(value=found.withheld))
        if self._earlier is None:
            return frame
        joined = frame.join(self._earlier, on=_KEY, how="left", maintain_order="left")
        told = pl.coalesce("before", "withheld").alias("withheld")
        return joined.with_columns(told).select(SEGMENT_SCHEMAS[name].names())
