"""`ifd live`: Databento's live gateway, or a simulated one, to windows and signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import CredentialError, IfdError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ifd_fast.config import Settings
    from ifd_fast.live_settings import LiveSettings

__all__ = ["live"]

GATEWAY_S = 120.0


@click.command()
@click.option("--record", default="records/live", show_default=True,
              type=click.Path(path_type=Path), help="Folder of the record.")  # fmt: skip
@click.option("--baselines", type=click.Path(path_type=Path), help="Baseline store (DuckDB).")
@click.option("--profile", help="A packaged profile's name or a file (ifd config show).")
@click.option("--symbols", help="Parents, by commas [those of the profile's universe].")
@click.option("--gateway", metavar="HOST:PORT", help="Another gateway, such as an `ifd gateway`.")
@click.option("--market-clock", is_flag=True,
              help="The feed's time is the clock: its day is another.")  # fmt: skip
@click.option("--heartbeat", type=int, metavar="S",
              help="From one heartbeat of the gateway to the next [the profile's].")  # fmt: skip
@click.option("--zstd/--no-zstd", default=None, help="Have the gateway compress [the profile's].")
@click.option("--ts-out/--no-ts-out", default=None,
              help="Have each record say when it was sent [the profile's].")  # fmt: skip
@click.option("--simulate", metavar="PRESET", help="Start a gateway with this world, and use it.")
@click.option("--speed", default="20x", show_default=True, help="Of the simulated market.")
@click.option("--records", type=click.IntRange(min=1), help="Of the --simulate, at most.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End after so long.")
@click.option("--core", type=click.IntRange(min=0),
              help="For the engine alone; the keeper goes to the others.")  # fmt: skip
@click.option("--busy", is_flag=True, help="Poll without a pause.")
@click.option("--lock-memory", is_flag=True, help="Keep the engine's memory out of the swap.")
@click.option("--call", "calls", multiple=True, metavar="MODULE:FUNCTION",
              help="Call it with each signal; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print signals and the end as JSON lines.")
def live(
    record: Path,
    baselines: Path | None,
    profile: str | None,
    symbols: str | None,
    gateway: str | None,
    market_clock: bool,  # noqa: FBT001  # click passes by name
    heartbeat: int | None,
    zstd: bool | None,  # noqa: FBT001
    ts_out: bool | None,  # noqa: FBT001
    simulate: str | None,
    speed: str,
    records: int | None,
    seconds: float | None,
    core: int | None,
    busy: bool,  # noqa: FBT001
    lock_memory: bool,  # noqa: FBT001
    calls: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run a live session: record it, and print its signals as they come.

    The key comes from DATABENTO_API_KEY, or a file of mode 0600 (docs/settings.md); a simulated
    market needs none. Ends with Ctrl-C, when told to terminate, or after --seconds. What is in the
    record can be replayed: `ifd replay RECORD`.
    """
    from ifd_fast import memory_lock
    from ifd_fast.histories import StoreHistory
    from ifd_fast.keeper_plan import check_calls
    from ifd_fast.live_run import LiveRun

    settings = start(
        profile,
        {
            "live_heartbeat_s": heartbeat,
            "live_compression": None if zstd is None else "zstd" if zstd else "none",
            "live_ts_out": None if ts_out is None else int(ts_out),
        },
    )
    if core is not None and core not in os.sched_getaffinity(0):
        cores = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise UsageError(f"--core must be one of {cores}, was {core}.")
    if simulate is not None and gateway is not None:
        raise UsageError("Name a --gateway or --simulate one, not both.")
    check_calls(calls)
    history = None if baselines is None else StoreHistory(baselines, settings.profile)
    with _gateway_of(simulate, speed, records, gateway) as address:
        is_another_day = market_clock or simulate is not None
        key, wanted = _wanted(settings, address, symbols, market_clock=is_another_day)
        run = LiveRun(settings, wanted, key, record, form="json" if as_json else "text",
                      calls=calls, history=history, is_busy=busy, core=core)  # fmt: skip
        if lock_memory:
            memory_lock.lock_memory()
        stopped = _stop_on_signals()
        until_s = None if seconds is None else time.monotonic() + seconds
        run.run(stopped.is_set, until_s)


def _wanted(
    settings: Settings, address: str | None, symbols: str | None, *, market_clock: bool
) -> tuple[Any, LiveSettings]:
    from ifd_fast.config import find_api_key
    from ifd_fast.credentials import parse_api_key
    from ifd_fast.gateway_market import TEST_KEY
    from ifd_fast.live_settings import LiveSettings

    key = find_api_key() if address is None else parse_api_key(TEST_KEY, "the test key")
    if key is None:
        raise CredentialError(
            "There is no API key. Set DATABENTO_API_KEY, or write it to ~/.config/ifd/api_key with "
            "mode 0600; `ifd live --simulate session` needs none."
        )
    return key, LiveSettings.of_profile(
        settings.profile,
        gateway=address,
        symbols=tuple(symbols.split(",")) if symbols else (),
        market_clock=market_clock,
    )


@contextlib.contextmanager
def _gateway_of(
    simulate: str | None, speed: str, records: int | None, gateway: str | None
) -> Iterator[str | None]:
    """Give the gateway's address; a simulated one is a process of its own while this lasts."""
    from ifd_fast.config import child_environment

    if simulate is None:
        yield gateway
        return
    command = [sys.executable, "-m", "ifd_fast", "gateway", "--simulate", simulate, "--port", "0",
               "--speed", speed]  # fmt: skip
    command += [] if records is None else ["--records", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment(),
                          start_new_session=True) as process:  # fmt: skip
        try:
            said = "" if process.stdout is None else process.stdout.readline()
            if not said.startswith("serving"):
                raise IfdError(f"The simulated gateway did not start: {said.strip() or 'no word'}.")
            drain = threading.Thread(target=_swallow, args=(process,), daemon=True)
            drain.start()
            yield "127.0.0.1:" + said.rpartition("127.0.0.1:")[2].partition(";")[0]
        finally:
            process.terminate()
            process.wait(GATEWAY_S)


def _swallow(process: subprocess.Popen[str]) -> None:
    """Read on, so that the gateway never waits for its own words to be read."""
    if process.stdout is not None:
        for _ in process.stdout:
            pass


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
