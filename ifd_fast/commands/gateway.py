"""`ifd gateway`: serve DBN files, or a simulated market, as Databento's live gateway would."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    from ifd_fast.gateway_market import Log
    from ifd_fast.gateway_tape import Tape

__all__ = ["gateway"]


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--simulate", metavar="PRESET", help="Serve a session of this world instead.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0),
              help="Of the --simulate.")  # fmt: skip
@click.option("--records", type=click.IntRange(min=1), help="Of the --simulate, at most.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=13000, show_default=True, type=click.IntRange(0, 65535),
              help="0: a free one, printed.")  # fmt: skip
@click.option("--open-to-all", is_flag=True, help="Allow a --host other machines can reach.")
@click.option("--speed", default="1x", show_default=True, metavar="max|Nx",
              help="Event time per second; max: as fast as clients take it.")  # fmt: skip
@click.option("--stay", is_flag=True, help="At the end, keep sessions open with heartbeats.")
@click.option("--faults", metavar="SEED|FILE", help="What goes wrong: drawn, or a TOML plan.")
def gateway(
    files: tuple[Path, ...],
    simulate: str | None,
    seed: int,
    records: int | None,
    host: str,
    port: int,
    open_to_all: bool,  # noqa: FBT001  # click passes by name
    speed: str,
    stay: bool,  # noqa: FBT001
    faults: str | None,
) -> None:
    """Serve FILES (mbo, definition, status, statistics) over Databento's live protocol.

    The market begins with the first session. Whoever has the key that is printed, and is no secret,
    is let in. What happens is printed, a JSON object a line. Ends with Ctrl-C.
    """
    from ifd_fast.gateway import Gateway
    from ifd_fast.gateway_faults import Faults, load_faults
    from ifd_fast.gateway_market import TEST_KEY, Market

    start()
    if bool(files) == (simulate is not None):
        raise UsageError("Name FILES to serve, or --simulate PRESET, and not both.")
    pace = _parse_speed(speed)
    with tempfile.TemporaryDirectory(prefix="ifd-gateway-") as folder:
        tape = _tape(files) if simulate is None else _simulated(simulate, seed, records, folder)
        planned = [] if faults is None else load_faults(faults, tape.order_count(tape.end))
        market = Market(
            tape, speed=pace, ends=not stay, faults=Faults(planned),
            log=_printer(),
        )  # fmt: skip
        with Gateway(market, host=host, port=port, open_to_all=open_to_all) as running:
            click.echo(
                f"serving {tape.order_count(tape.end):,} MBO records of {tape.dataset}, "
                f"{len(tape.listed):,} instruments, on {host}:{running.port}"
                f"; key {TEST_KEY}",
            )
            sys.stdout.flush()
            _wait_for_interrupt()


def _parse_speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text.removesuffix("x"))
    except ValueError:
        raise UsageError(f"--speed must be max, or a factor as in 20x, was {text!r}.") from None


def _tape(files: tuple[Path, ...]) -> Tape:
    from ifd_fast.gateway_tape import load_tape

    return load_tape(files)


def _simulated(preset: str, seed: int, records: int | None, folder: str) -> Tape:
    """Return the tape of a session simulated into `folder`."""
    import datetime as dt

    from ifd_fast.simulated_files import pick_sessions, write_session
    from ifd_fast.world import load_world

    world = load_world(preset)
    session = pick_sessions(dt.date(2026, 1, 5), 1)[0]
    metaorders, negatives = (6, 20) if world.labels is not None else (0, 0)
    written = write_session(
        world, seed, session, Path(folder), compress=False, records=records,
        metaorders=metaorders, negatives=negatives,
    )  # fmt: skip
    return _tape((written.definitions, written.path))


def _printer() -> Log:
    lock = threading.Lock()

    def print_line(what: str, about: dict[str, Any]) -> None:
        line = json.dumps({"what": what, **about})
        with lock:
            click.echo(line)
            sys.stdout.flush()

    return print_line


def _wait_for_interrupt() -> None:
    import signal

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
