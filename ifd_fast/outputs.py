"""Files of a run: written aside, row group by row group, and renamed when all are whole.

Nothing under the final names is ever incomplete: a run that fails, for want of disk space too,
leaves the folder as it found it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec
import polars as pl

from ifd_fast.errors import IfdError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow.parquet as pq

__all__ = ["FrameFile", "RunFolder"]

_GROUP_ROWS: Final = 16_384  # 3 MB of frames wait at most, and their copies as they are written


class FrameFile:
    """A Parquet file that grows by frames of one schema, in constant memory."""

    def __init__(self, path: Path, schema: pl.Schema, metadata: dict[str, str]) -> None:
        """Open `path` for frames of `schema`; `metadata` goes into the file's footer."""
        import pyarrow.parquet as pq

        self._schema = schema
        empty = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._arrow = empty.schema.with_metadata(metadata)
        self._writer: pq.ParquetWriter = pq.ParquetWriter(path, self._arrow, compression="zstd")
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows; they reach the disk in groups."""
        if frame.height == 0:
            return
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        if self._waiting_rows >= _GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write what waits, and the footer."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if not self._waiting:
            return
        group = pl.concat(self._waiting).select(self._schema.names()).cast(self._schema)
        table = group.to_arrow(compat_level=pl.CompatLevel.oldest())  # its own cast loads 77 ms
        self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting.clear()
        self._waiting_rows = 0


class RunFolder:
    """The folder a run writes to; use it with `with`: all files appear at the end, or none.

    Raises UsageError if the folder can't be made or written, IfdError if the disk is full.
    """

    def __init__(self, path: str | Path, metadata: dict[str, str]) -> None:
        """Make the folder and a hidden one inside it for unfinished files."""
        self.path = Path(path)
        self._metadata = metadata
        self._files: dict[str, FrameFile] = {}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self.path))
        except OSError as error:
            raise UsageError(
                f"`--out` must be a folder that can be written, was {str(path)!r}: "
                f"{error.strerror}. Name another one."
            ) from None

    def frame_file(self, name: str, schema: pl.Schema) -> FrameFile:
        """Return the growing Parquet file `name` of this run, opened on first use."""
        if name not in self._files:
            self._files[name] = FrameFile(self._aside / name, schema, self._metadata)
        return self._files[name]

    def write_json(self, name: str, document: object) -> None:
        """Write `document` as indented JSON."""
        text = msgspec.json.format(msgspec.json.encode(document), indent=2)
        (self._aside / name).write_bytes(text + b"\n")

    def write_text(self, name: str, text: str) -> None:
        """Write `text` as UTF-8."""
        (self._aside / name).write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._publish()
        except OSError as failure:
            raise self._no_space(failure) from failure
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise self._no_space(error) from error

    def _publish(self) -> None:
        for file in self._files.values():
            file.close()
        names = sorted(path.name for path in self._aside.iterdir())
        for name in names:
            with (self._aside / name).open("rb+") as written:
                os.fsync(written.fileno())
        for name in names:
            (self._aside / name).replace(self.path / name)

    def _no_space(self, error: OSError) -> IfdError:
        return IfdError(
            f"Writing to {self.path} failed: {error.strerror or error}. Nothing was written; "
            "free some space or name another folder with --out."
        )
