"""What a run was made from: files, settings and baselines, as its session.json names them.

`Recording` is enough to run again, and knows what the first run found. Files are told by the
SHA-256 of their bytes as stored; hashing runs in a thread beside the replay that reads them.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from ifd_fast.config import Settings, load_settings
from ifd_fast.errors import DataError, IfdError, UsageError
from ifd_fast.profiles import KEYS, Profile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from ifd_fast.histories import StoreHistory

__all__ = [
    "FileHasher",
    "Recording",
    "differing_keys",
    "digest_file",
    "open_recording",
    "recorded_settings",
]

_BLOCK_BYTES: Final = 1 << 22
_ID_DIGITS: Final = 12  # of the rules' digest, in a signal's id


def digest_file(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 of a file's bytes as stored, 64 hex digits.

    Raises DataError if it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while not stopped() and (block := file.read(_BLOCK_BYTES)):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}.") from None
    return digest.hexdigest()


class FileHasher:
    """Digests of files, made in a thread of its own while the block of a `with` runs."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names of files; what is no file on disk has no digest."""
        self._paths = [Path(name) for name in names]
        self._digests: dict[str, str] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="ifd-hash", daemon=True)

    def digests(self) -> dict[str, str]:
        """Wait for the thread and return name -> digest."""
        self._thread.join()
        return self._digests

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        for path in self._paths:
            if path.is_file() and not self._stopped:
                try:
                    self._digests[str(path)] = digest_file(path, lambda: self._stopped)
                except DataError:  # the replay meets the same and says so
                    return


@dataclass(frozen=True)
class Recording:
    """Input of a run, and what the run found in it (`document`, empty where nobody ran yet)."""

    files: tuple[Path, ...]
    settings: Settings
    baselines: Path | None = None
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def rules_digest(self) -> str:
        """Digest of the settings that can change a row."""
        return self.settings.profile.rules_digest

    @cached_property
    def history(self) -> StoreHistory | None:
        """The baselines, read once however often the recording is run; None: there are none."""
        from ifd_fast.histories import StoreHistory

        if self.baselines is None:
            return None
        return StoreHistory(self.baselines, self.settings.profile)

    @property
    def live_record(self) -> Path | None:
        """The folder of the live session that was replayed; None: files alone were."""
        name = self.document.get("record")
        return None if name is None else Path(name)

    @property
    def file_digests(self) -> dict[str, str | None]:
        """The recorded digest of each file, by its name as the run was given it."""
        return {one["name"]: one.get("sha256") for one in self.document.get("files", [])}

    @property
    def found(self) -> dict[str, str | None]:
        """The digests of what the run found; empty if unknown."""
        digests: dict[str, str | None] = self.document.get("digests", {})
        return digests

    @property
    def recorded_profile(self) -> Profile | None:
        """The settings of the run that is recorded, None if there is none."""
        return None if not self.document else recorded_settings(self.document).profile

    def changed_files(self) -> list[str]:
        """Return what is wrong with the record: a sentence for each file that isn't as it was."""
        recorded = [digest for digest in self.file_digests.values() if digest is not None]
        if not recorded:
            return []
        actual = {path: digest_file(path) for path in self.files}
        faults = [
            f"{path}: its SHA-256 is {digest[:16]}…, none of those recorded. "
            "The record was changed, or is another one."
            for path, digest in actual.items()
            if digest not in recorded
        ]
        missing = len(set(recorded) - set(actual.values()))
        if missing and not faults:
            faults.append(f"{missing} of {len(recorded)} recorded files are missing. Name them.")
        return faults

    def check_baselines(self, used: dict[str, str]) -> None:
        """Raise DataError if sessions were scored by other baselines than recorded."""
        recorded = self.document.get("baselines", {})
        for date, digest in used.items():
            if self.document and recorded.get(date) != digest:
                was = str(recorded.get(date, "none"))[:16]
                raise DataError(
                    f"Baselines of {date} are {digest[:16]}…, recorded: {was}…. The store "
                    f"{self.baselines} holds other sessions than it did; name the one of the run."
                )


def open_recording(
    run: str | Path | None = None,
    *,
    record: Sequence[Path] = (),
    baselines: Path | None = None,
    profile: str | os.PathLike[str] | None = None,
) -> Recording:
    """Return what a run folder says it was made from; arguments stand in for what it says.

    Without a folder, `record` and the settings in force are all there is.

    Raises
    ------
    UsageError
        Neither a folder nor a record, or a folder that holds no session.json.
    DataError
        A session.json that can't be read, or a file that is gone.
    """
    if run is None:
        if not record:
            raise UsageError("Name a folder that `ifd replay` wrote with --run, or --record FILE.")
        recording = Recording(tuple(record), load_settings(profile), baselines)
    else:
        document = _read_document(Path(run))
        settings = load_settings(profile) if profile else recorded_settings(document)
        store = document.get("baselines_store")
        recording = Recording(
            tuple(record) or tuple(Path(one["name"]) for one in document["files"]),
            settings,
            baselines or (None if store is None else Path(store)),
            document,
        )
    missing = [str(path) for path in recording.files if not path.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]}: no such file, and the record is needed. Name it with --record, or "
            "work in the folder that the run was made in."
        )
    return recording


def differing_keys(one: Profile, other: Profile) -> list[str]:
    """Return `section.key: value, not value` for each rule in which two profiles differ."""
    rules = ("market", "windows", "scoring")
    return [
        f"`{key.label}` is {getattr(one, name)}, not {getattr(other, name)}"
        for name, key in KEYS.items()
        if key.section in rules and getattr(one, name) != getattr(other, name)
    ]


def _read_document(run: Path) -> dict[str, Any]:
    path = run / "session.json"
    if not path.is_file():
        raise UsageError(f"{run}: holds no session.json. Name a folder that `ifd replay` wrote.")
    try:
        document: Any = msgspec.json.decode(path.read_bytes())
        known = isinstance(document, dict) and {"files", "settings", "digests"} <= set(document)
    except msgspec.DecodeError:
        known = False
    if not known:
        raise DataError(f"{path}: is no report of a run of this version. Replay the files again.")
    return dict(document)


def recorded_settings(document: dict[str, Any]) -> Settings:
    """Return the settings that a run's document records, whatever its profile says by now.

    Raises DataError if they are of another version, or were edited.
    """
    values = {
        name: document["settings"].get(key.section, {}).get(key.key) for name, key in KEYS.items()
    }
    try:
        profile = msgspec.convert({k: v for k, v in values.items() if v is not None}, Profile)
    except (msgspec.ValidationError, IfdError) as error:
        raise DataError(f"session.json: its settings can't be used: {error}.") from None
    made, named = profile.rules_digest, str(document["rules_digest"])
    if made != named:
        raise DataError(
            f"session.json: its settings have the rules digest {made[:_ID_DIGITS]}, it names "
            f"{named[:_ID_DIGITS]}. This program knows other keys than the one that wrote it, or "
            "it was edited."
        )
    return Settings(str(document["profile"]), profile, {})
