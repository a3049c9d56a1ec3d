"""A run's results, whichever command wrote them: frames by name, settings, sessions.

A run is a folder of `ifd replay --out` (Parquet files beside session.json), or one of
`ifd rescore` (a partition a session below `sealed` and `scored`, and rescore.json).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from ifd_fast.draining import SCHEMAS
from ifd_fast.errors import DataError, UsageError
from ifd_fast.recordings import recorded_settings

if TYPE_CHECKING:
    from ifd_fast.config import Settings

__all__ = ["Run", "open_run"]

_STAGES: Final = {"signals": "scored"}  # all others are sealed


@dataclass(frozen=True)
class Run:
    """What a run found.

    Attributes
    ----------
    path
        Its folder.
    document
        session.json or rescore.json.
    is_partitioned
        Whether its files lie in a folder a session.
    """

    path: Path
    document: dict[str, Any]
    is_partitioned: bool

    @cached_property
    def settings(self) -> Settings:
        """The settings it was made with; raises DataError if they are of another version."""
        return recorded_settings(self.document)

    @property
    def sessions(self) -> dict[str, dict[str, Any]]:
        """What its document says of each session, by trade date, oldest first."""
        listed = {str(one["trade_date"]): one for one in self.document["sessions"]}
        return dict(sorted(listed.items()))

    def baselines_of(self, trade_date: str) -> str | None:
        """Return the digest of the baselines a session was scored with, None without any."""
        if self.is_partitioned:
            digest: str | None = self.sessions[trade_date]["baselines"]
            return digest
        found: dict[str, str] = self.document["baselines"]
        return found.get(trade_date)

    def files(self, name: str) -> list[Path]:
        """Return the Parquet files of a frame, those of older sessions first."""
        if not self.is_partitioned:
            return [self.path / f"{name}.parquet"]
        stage = self.path / _STAGES.get(name, "sealed")
        root = f"root={self.document['root']}"
        return [stage / root / f"trade_date={day}" / f"{name}.parquet" for day in self.sessions]

    def frame(self, name: str) -> pl.LazyFrame:
        """Return a frame of `draining.SCHEMAS`, read when it is collected.

        Raises
        ------
        DataError
            A file is missing.
        """
        files = self.files(name)
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: is missing, though {self.path} names it. Run again.")
        schema = SCHEMAS[name]
        if not files:
            return pl.LazyFrame(schema=schema)
        found = pl.scan_parquet(files, hive_partitioning=False)
        return found.select([pl.col(one).cast(kind) for one, kind in schema.items()])


def open_run(folder: str | Path) -> Run:
    """Return the run in a folder.

    Raises
    ------
    UsageError
        The folder holds none, or one that did not end.
    DataError
        Its document can't be read.
    """
    path = Path(folder)
    for name in ("rescore.json", "session.json"):
        if not (path / name).is_file():
            continue
        if (path / "plan.json").is_file():
            raise UsageError(f"{path}: holds a re-scoring that did not end. Go on with --resume.")
        try:
            document: Any = msgspec.json.decode((path / name).read_bytes())
            needed = {"settings", "rules_digest", "sessions", "digests"}
            known = isinstance(document, dict) and needed <= set(document)
        except msgspec.DecodeError:
            known = False
        if not known:
            raise DataError(f"{path / name}: is no report of a run of this version. Run it again.")
        return Run(path, document, is_partitioned=name == "rescore.json")
    raise UsageError(
        f"{path}: holds no run. Name a folder that `ifd replay --out` or `ifd rescore` wrote."
    )
