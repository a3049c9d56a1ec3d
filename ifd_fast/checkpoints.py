"""Checkpoints of a record: the state of its play at a place, so that a restart plays the rest only.

They lie in the record's folder `checkpoint`, the last two of them. One that is torn, of another
configuration or code, made with other baselines, or of another record is refused by name; then
the one before is taken, or the whole record is played. None is ever needed.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ifd_fast.checkpoint_engine import check_baselines, restore_engine, save_engine
from ifd_fast.checkpoint_feed import restore_player, save_player
from ifd_fast.checkpoint_file import read_state, write_state
from ifd_fast.errors import DataError
from ifd_fast.signals import code_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.checkpoint_file import Head
    from ifd_fast.config import Settings
    from ifd_fast.record_files import Group
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.record_replay import RecordPlayer

__all__ = ["FOLDER", "discard_checkpoints", "restore_checkpoint", "save_checkpoint"]

FOLDER: Final = "checkpoint"
SUFFIX: Final = ".state"
VERSION: Final = 1  # of what head and arrays mean
KEPT: Final = 2


def save_checkpoint(player: RecordPlayer, settings: Settings) -> Path:
    """Write where a player and its engine stand; keep the last two; return the file.

    Raises
    ------
    DataError
        The engine is not at rest.
    OSError
        The disk refuses it; what was there stays.
    """
    folder = player.reader.folder / FOLDER
    folder.mkdir(exist_ok=True)
    player.drain.drain()
    player.feed.mark()
    engine_head, arrays = save_engine(player.engine)
    player_head, more = save_player(player)
    groups = player.reader.groups
    head = {
        "version": VERSION,
        "config_digest": settings.digest,
        "code_digest": code_digest(),
        "groups": len(groups),
        "proof": _proof_of(groups),
        "watermark_ns": player.engine.watermark_ns,
        "engine": engine_head,
        "player": player_head,
    }
    before = _files(folder)
    number = int(before[-1].stem) + 1 if before else 1
    path = folder / f"{number:08d}{SUFFIX}"
    write_state(path, head, {**arrays, **more})
    for old in [*before[: 1 - KEPT], *folder.glob("*.tmp")]:
        old.unlink(missing_ok=True)
    return path


def restore_checkpoint(player: RecordPlayer, settings: Settings) -> tuple[Path | None, list[str]]:
    """Have a fresh player and its engine stand where the newest usable checkpoint was taken.

    Returns its file, None if there is none, and why those after it were refused.
    """
    refusals: list[str] = []
    for path in reversed(_files(player.reader.folder / FOLDER)):
        try:
            head, arrays = read_state(path)
            _check(path, head, player.reader, settings)
            check_baselines(player.engine, head["engine"], arrays)
        except (DataError, OSError) as error:
            refusals.append(str(error))
            continue
        restore_engine(player.engine, head["engine"], arrays)
        restore_player(player, head["player"], arrays)
        return path, refusals
    return None, refusals


def discard_checkpoints(record: Path) -> None:
    """Remove all checkpoints of a record: its play is to begin at the beginning."""
    for path in _files(record / FOLDER):
        path.unlink()


def _check(path: Path, head: Head, reader: RecordReader, settings: Settings) -> None:
    """Raise DataError if a checkpoint that is whole is not of this record, or not for this run."""
    wanted = {
        "version": VERSION,
        "config_digest": settings.digest,
        "code_digest": code_digest(),
    }
    for name, value in wanted.items():
        if head.get(name) != value:
            raise DataError(f"{path}: its {name} is {head.get(name)}, that in force is {value}.")
    if head["groups"] > len(reader.groups):
        raise DataError(
            f"{path}: was made after group {head['groups']:,} of the record, which has "
            f"{len(reader.groups):,}. The record was cut since."
        )
    if head["proof"] != _proof_of(reader.groups[: head["groups"]]):
        raise DataError(f"{path}: is of another record than {reader.folder} holds now.")


def _proof_of(groups: Sequence[Group]) -> int:
    """Return a number that stands for all bytes and entries of these groups."""
    crc = 0
    for group in groups:
        crc = zlib.crc32(group.line(), crc)
    return crc


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[0-9]*{SUFFIX}"))
