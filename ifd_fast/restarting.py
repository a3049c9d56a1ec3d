"""A session that is started again: its record is played first, so that nothing was interrupted.

The engine is then as the dead one was at its last safe byte, and so are its connections. What
comes next is a reconnect like any other: from before the watermark on, less what was delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ifd_fast.checkpoints import discard_checkpoints, restore_checkpoint
from ifd_fast.live_states import Event
from ifd_fast.record_replay import RecordPlayer
from ifd_fast.session_record import EntryKind
from ifd_fast.signals import code_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ifd_fast.config import Settings
    from ifd_fast.live_session import LiveSession
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.session_record import Json

__all__ = ["begin_play", "find_changes", "play_on", "say_what_runs"]

_NAMES: Final = {"config_digest": "configuration", "code_digest": "code"}


class _Said(msgspec.Struct):
    """What a keeper that has stored everything says of its run."""

    run: str = ""
    blocks_lost: int = 1


def begin_play(
    session: LiveSession, reader: RecordReader, settings: Settings
) -> tuple[RecordPlayer, Path | None, list[str]]:
    """Return a player at the newest usable checkpoint, that, and what there is to say of it.

    The session is not connected yet; without a checkpoint the player stands at the beginning.
    """
    session.apply(Event.RESTARTED)
    player = RecordPlayer(reader, session.engine, session.drain, session.feed)
    lacking = _say_what_lacks(reader)
    if lacking:
        discard_checkpoints(reader.folder)
    path, refusals = restore_checkpoint(player, settings)
    refusals += [lacking] if lacking else []
    if path is not None:
        refusals.append(f"goes on from {path}")
    return player, path, refusals


def play_on(session: LiveSession, player: RecordPlayer) -> Iterator[int]:
    """Play the rest of a record into a session; yield the bytes of each step.

    Raises
    ------
    DataError
        The record is not as it was written: what was played of it must not be gone on with.
    """
    for step in player.play():
        session.drain.drain_when_full()
        yield step
    session.drain.drain()
    session.timing.leave_out()


def _say_what_lacks(reader: RecordReader) -> str:
    """Say that rows of the run before are not all stored, if it is so; else ''.

    What is played again is found again, but nobody finds what came before a checkpoint: a keeper
    that power was taken from, or that lost blocks, has not stored all of that.
    """
    path, run = reader.folder / "session.json", reader.groups[-1].ring[0] if reader.groups else 0
    try:
        said = msgspec.json.decode(path.read_bytes(), type=_Said)
    except (OSError, msgspec.DecodeError):
        said = _Said()
    if said.run == f"{run:x}" and not said.blocks_lost:
        return ""
    return "rows of the run before are not all stored: the whole record is played"


def say_what_runs(settings: Settings) -> dict[str, Json]:
    """Return what the journal notes of a run's beginning."""
    return {"config_digest": settings.digest, "code_digest": code_digest()}


def find_changes(reader: RecordReader, settings: Settings) -> str:
    """Say what a record was last written with that is another now; '' if nothing is."""
    runs = (one.payload for one in reader.entries if one.kind is EntryKind.NOTE)
    last = {name: value for run in runs for name, value in run.items() if name in _NAMES}
    now = say_what_runs(settings)
    changed = [
        f"{_NAMES[name]} was {str(value)[:24]}, is {str(now[name])[:24]}"
        for name, value in last.items()
        if value != now[name]
    ]
    return "; ".join(changed)
