"""What lies in the folder of a re-scoring besides its sessions: inputs, units, the report.

- `inputs.json`     size, time and SHA-256 of every input: hashed again only if one differs
- `units/NAME.json` what was sealed of a unit, and the key of what it was made from
- `plan.json`       what the run at hand is to do; it is there until `rescore.json` is
- `rescore.json`    what was found, and what could not be used
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from ifd_fast.errors import AlreadyRunningError, DataError, UsageError
from ifd_fast.recordings import digest_file

__all__ = ["RescoreFolder"]

_LOCK: Final = ".lock"


class RescoreFolder:
    """The folder `path` of a re-scoring.

    Attributes
    ----------
    sealed, scored, history
        Sessions as they were sealed, their signals, their baselines; by root and trade date.
    store
        The DuckDB file of the sessions' facts.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing."""
        self.path = path
        self.sealed, self.scored = path / "sealed", path / "scored"
        self.history = path / "history"
        self.store = path / "baselines.duckdb"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder to this process; made if it isn't there.

        Raises
        ------
        UsageError
            The folder can't be made.
        AlreadyRunningError
            Another process works in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / _LOCK).open("a+", encoding="ascii")
        except OSError as error:
            raise UsageError(
                f"`--out` must be a folder that can be written, was {str(self.path)!r}: "
                f"{error.strerror}. Name another one."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise AlreadyRunningError(
                    f"{self.path}: process {file.read().strip() or 'unknown'} re-scores into it. "
                    "Wait until it is done, or name another folder with --out."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @property
    def is_finished(self) -> bool:
        """Whether a run ended here, and none has begun since."""
        return (self.path / "rescore.json").is_file() and not self.is_unfinished

    @property
    def is_unfinished(self) -> bool:
        """Whether a run was begun here that did not end."""
        return (self.path / "plan.json").is_file()

    def begin(self, plan: dict[str, Any]) -> None:
        """Note what is to be done, before anything is."""
        self.write("plan.json", plan)

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report; from here on the run is finished."""
        self.write("rescore.json", report)
        (self.path / "plan.json").unlink(missing_ok=True)

    def read(self, name: str) -> Any:
        """Return a JSON document, None if there is none.

        Raises
        ------
        DataError
            It is damaged.
        """
        path = self.path / name
        try:
            return msgspec.json.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"{path}: can't be read ({error}). Delete it and go on.") from error

    def write(self, name: str, document: object) -> None:
        """Write a JSON document, whole or not at all."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".tmp-{path.name}")
        with aside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def digest_inputs(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the SHA-256 of files; of those that stand as they stood, without reading them."""
        known = self.read("inputs.json") or {}
        found = {}
        for path in paths:
            status = path.stat()
            stands = [status.st_size, status.st_mtime_ns]
            kept = known.get(str(path.resolve()))
            if kept is None or kept[:2] != stands:
                kept = [*stands, digest_file(path)]
                known[str(path.resolve())] = kept
            found[path] = str(kept[2])
        self.write("inputs.json", known)
        return found

    def digest_of(self, path: Path) -> str:
        """Return the SHA-256 of a file, without reading it if it stands as `inputs.json` has it."""
        status = path.stat()
        kept = (self.read("inputs.json") or {}).get(str(path.resolve()))
        if kept is not None and kept[:2] == [status.st_size, status.st_mtime_ns]:
            return str(kept[2])
        return digest_file(path)

    def adopt(self, other: RescoreFolder) -> None:
        """Take over what another run sealed: links to its files, or copies where none can be."""
        for name in ("sealed", "units"):
            shutil.copytree(
                other.path / name, self.path / name, copy_function=_link, dirs_exist_ok=True
            )

    def remove_others(self, kept: set[str]) -> list[str]:
        """Delete partitions of trade dates that are not in `kept`; return their dates.

        What a killed run left unfinished goes as well.
        """
        gone = set()
        for stage in (self.sealed, self.scored, self.history):
            for partition in stage.glob("root=*/*"):
                date = partition.name.removeprefix("trade_date=")
                if partition.name.startswith(".tmp-") or date not in kept:
                    shutil.rmtree(partition)
                    if not partition.name.startswith(".tmp-"):
                        gone.add(date)
        return sorted(gone)


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except FileExistsError:
        return
    except OSError:
        shutil.copy2(source, to)
