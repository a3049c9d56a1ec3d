"""The engine's shadow: a process that writes checkpoints, so that the engine needn't.

    python -m ifd_fast.shadow RECORD ENGINE_PID ENGINE_START [BASELINES]

It runs on the keeper's cores, at the lowest priority, and begins once a session has lasted for an
interval: until then it holds nothing. It ends with the engine; whether it lives changes no row.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ifd_fast.processes import started_at

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from ifd_fast.config import Settings

__all__ = ["Shadow", "main"]

PROFILE: Final = "profile.toml"
NICE: Final = 19
WAIT_S: Final = 0.5


class Shadow:
    """Keeps one shadow beside an engine.

    Parameters
    ----------
    folder
        Of the record.
    settings, baselines
        Those of the engine.
    """

    def __init__(self, folder: Path, settings: Settings, baselines: Path | None) -> None:
        self._folder = folder
        self._settings = settings
        self._baselines = baselines
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0

    def tend(self, now_s: float, cores: AbstractSet[int]) -> None:
        """Start one on these cores if there is none, once an interval; `now_s` is monotonic."""
        interval_s = self._settings.profile.live_checkpoint_interval_s
        if not interval_s or (self._began_s and now_s - self._began_s < interval_s):
            return
        if self._process is None or self._process.poll() is not None:
            self._began_s = now_s
            try:
                self._process = self._start()
                os.sched_setaffinity(self._process.pid, cores)
            except OSError as error:  # a full disk: no reason for the engine to end
                from ifd_fast.logs import get_logger

                reason = error.strerror or str(error)
                get_logger("shadow").warning("no checkpoints are written", reason=reason)

    def end(self) -> None:
        """End it; what it was writing is not kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        from ifd_fast.checkpoints import FOLDER
        from ifd_fast.config import child_environment, to_toml

        profile = self._folder / FOLDER / PROFILE
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(to_toml(self._settings), encoding="utf-8")
        engine = os.getpid()
        arguments = [str(profile), str(engine), str(started_at(engine))]
        arguments += [] if self._baselines is None else [str(self._baselines)]
        command = [sys.executable, "-m", "ifd_fast.shadow", *arguments]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, env=child_environment()
        )


def main(arguments: list[str]) -> int:
    """Follow a record while its engine runs; return the exit code."""
    from ifd_fast.config import load_settings
    from ifd_fast.logs import get_logger, set_up_logging

    os.nice(NICE)
    profile, engine, began = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    baselines = Path(arguments[3]) if len(arguments) > 3 else None
    settings = load_settings(profile, environ={})
    until_s = time.monotonic() + settings.profile.live_checkpoint_interval_s
    while time.monotonic() < until_s:
        if started_at(engine) != began:
            return 0
        time.sleep(WAIT_S)
    from ifd_fast.errors import IfdError
    from ifd_fast.following import follow_record

    set_up_logging("warning")
    folder = profile.parent.parent
    try:
        follow_record(folder, settings, baselines, lambda: started_at(engine) == began)
    except IfdError as error:
        get_logger("shadow").warning("no more checkpoints are written", reason=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
