"""A live session's cost a record: our runner and the official client, from the same gateway."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Cost", "measure_official", "measure_ours", "serving"]

WARM_SHARE: Final = 0.1  # of the records: begins, grows and touches memory
LONGEST_S: Final = 120.0


class Cost(NamedTuple):
    """What a session took a record, once it was under way."""

    cpu_ns: float  # of this process, all its threads
    wall_ns: float
    records: int


@contextmanager
def serving(files: list[str]) -> Iterator[int]:
    """Serve files as fast as they are taken, by a process of its own; give its port."""
    command = [sys.executable, "-m", "ifd_fast", "gateway", *files, "--port", "0", "--speed", "max",
               "--stay"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = "" if process.stdout is None else process.stdout.readline()
            yield int(said.rpartition("127.0.0.1:")[2].partition(";")[0])
        finally:
            process.kill()


class _Mark:
    """Takes the time once a share of the records has come, and again at the end."""

    def __init__(self, records: int) -> None:
        self.records = records
        self._began: tuple[int, int, int] | None = None
        self.cost: Cost | None = None

    def reach(self, count: int) -> bool:
        """Note that `count` records have come; say whether these are all."""
        if self._began is None and count >= WARM_SHARE * self.records:
            self._began = time.process_time_ns(), time.perf_counter_ns(), count
        if self.cost is None and self._began is not None and count >= self.records:
            cpu, wall, first = self._began
            more = count - first
            self.cost = Cost(
                (time.process_time_ns() - cpu) / more, (time.perf_counter_ns() - wall) / more, count
            )
        return self.cost is not None

    def result(self) -> Cost:
        """Return the cost; raise if the records didn't all come."""
        if self.cost is None:
            raise RuntimeError(f"not all of {self.records} records came")
        return self.cost


def measure_ours(port: int, records: int, folder: Path) -> Cost:
    """Run a session, recorded and scored each second, until `records` events were applied."""
    from ifd_fast.config import load_settings
    from ifd_fast.credentials import parse_api_key
    from ifd_fast.gateway_market import TEST_KEY
    from ifd_fast.live_run import LiveRun
    from ifd_fast.live_settings import LiveSettings

    settings = load_settings()
    wanted = LiveSettings.of_profile(
        settings.profile, gateway=f"127.0.0.1:{port}", market_clock=True
    )
    run = LiveRun(settings, wanted, parse_api_key(TEST_KEY, "key"), folder)
    mark = _Mark(records)
    until_s = time.monotonic() + LONGEST_S
    run.run(lambda: mark.reach(int(run.engine.state.actions.sum())), until_s)
    return mark.result()


def measure_official(port: int, records: int) -> Cost:
    """Run `databento.Live` with a callback that counts, and does nothing else."""
    import databento

    from ifd_fast.gateway_market import TEST_KEY

    mark, done, count = _Mark(records), threading.Event(), 0

    def take(_record: object) -> None:
        nonlocal count
        count += 1
        if (count & 4095 == 0 or count >= records) and mark.reach(count):
            done.set()

    client = databento.Live(TEST_KEY, gateway="127.0.0.1", port=port)
    client.subscribe("GLBX.MDP3", "mbo", "ALL_SYMBOLS", start=0)
    client.add_callback(take)
    client.start()
    done.wait(LONGEST_S)
    client.terminate()
    return mark.result()
