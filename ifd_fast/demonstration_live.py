"""The demonstration's session, live: `ifd gateway` serves it, `ifd live` takes it.

Both are the programs that anyone would run; the record replayed must give the very same rows.
"""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.config import child_environment
from ifd_fast.errors import IfdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.collecting import ReplayResult

__all__ = ["play_live"]

SPEED: Final = "3600x"  # an hour of the market each second
END_S: Final = 60.0  # for a process to end in
ALL_SERVED: Final = "all served"


def play_live(
    files: Sequence[Path],
    profile: Path,
    store: Path,
    out: Path,
    tell: Callable[[dict[str, Any]], None],
    *,
    speed: str = SPEED,
) -> tuple[ReplayResult, dict[str, Any]]:
    """Serve `files`, run a live session with `profile` and `store`, then replay its record.

    `tell` gets each signal as it comes. The record is `out`/record, the replay's run `out`/run.
    Returns the replay, and what the live session said of itself at its end.

    Raises
    ------
    IfdError
        A process failed, or the rows of the replay are not those that came live.
    """
    from ifd_fast.record_replay import replay_record

    record = out / "record"
    with _command(
        "gateway", *map(str, files), "--port", "0", "--speed", speed, "--stay"
    ) as gateway:
        said = _lines(gateway)
        port = next(said, "").rpartition("127.0.0.1:")[2].partition(";")[0]
        if not port.isdecimal():
            raise IfdError("The gateway of the demonstration did not start.")
        arguments = ("--gateway", f"127.0.0.1:{port}", "--market-clock", "--record", str(record))
        settings = ("--profile", str(profile), "--baselines", str(store), "--json")
        with _command("live", *arguments, *settings) as live:
            threading.Thread(target=_stop_at_end, args=(said, live), daemon=True).start()
            end = _listen(live, tell)
    result = replay_record(record, profile=profile, baselines=store, out=out / "run")
    digest = end["digests"]["rows_digest"]
    if digest != result.rows_digest:
        raise IfdError(
            f"The record of the live session gives rows_digest {result.rows_digest}, live it was "
            f"{digest}. This is a defect; the record is in {record}."
        )
    return result, end


def _listen(live: subprocess.Popen[str], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Tell each signal as it comes; return what is said at the end."""
    end: dict[str, Any] = {}
    for line in _lines(live):
        said = json.loads(line)
        if "signal_id" in said:
            said["timestamp"] = dt.datetime.fromisoformat(said["timestamp"])
            tell(said)
        end = said.get("end", end)
    code = live.wait(END_S)
    if code or not end:
        raise IfdError(f"The live session of the demonstration ended with exit code {code}.")
    return end


def _stop_at_end(said: Iterator[str], live: subprocess.Popen[str]) -> None:
    """End the live session once all was served; read on, so that the gateway never waits."""
    for line in said:
        if json.loads(line)["what"] == ALL_SERVED:
            live.send_signal(signal.SIGTERM)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    return iter(()) if process.stdout is None else iter(process.stdout.readline, "")


@contextmanager
def _command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `ifd` with these arguments while this lasts."""
    command = [sys.executable, "-m", "ifd_fast", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True,
                          env=child_environment()) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait(END_S)
