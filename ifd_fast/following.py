"""A record played as it grows, and its state saved now and then: what a shadow does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ifd_fast.checkpoints import restore_checkpoint, save_checkpoint
from ifd_fast.draining import Drain
from ifd_fast.histories import StoreHistory
from ifd_fast.logs import get_logger
from ifd_fast.record_follower import RecordFollower
from ifd_fast.record_replay import RecordPlayer
from ifd_fast.replaying import make_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ifd_fast.config import Settings

__all__ = ["follow_record"]

LOOK_S: Final = 0.5


def follow_record(
    folder: Path, settings: Settings, baselines: Path | None, is_needed: Callable[[], bool]
) -> None:
    """Play a record as it grows, and write a checkpoint each interval while `is_needed()`.

    Raises
    ------
    DataError
        The record is not as it was written.
    """
    log = get_logger("shadow")
    history = None if baselines is None else StoreHistory(baselines, settings.profile)
    engine = make_engine(settings, history)
    reader = RecordFollower(folder)
    player = RecordPlayer(reader, engine, Drain(engine, lambda *_: None, ()))
    restore_checkpoint(player, settings)  # refusals are told by who goes on with the session
    saved_groups, due_s = 0, 0.0
    while is_needed():
        reader.refresh()
        for _ in player.follow():
            player.drain.drain_when_full()
            if not is_needed():
                return
        if time.monotonic() >= due_s and len(reader.groups) > saved_groups:
            due_s = time.monotonic() + settings.profile.live_checkpoint_interval_s
            saved_groups = len(reader.groups)
            try:
                save_checkpoint(player, settings)
            except OSError as error:
                log.warning("no checkpoint can be written", reason=error.strerror or str(error))
        time.sleep(LOOK_S)
