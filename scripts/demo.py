"""From nothing to signals: simulate history and a session, replay both, score the session.

No key, no network, no real market data. Runs the very commands a user would, shows them, and ends
with what was planted beside what was found. `./dev demo --out FOLDER` keeps the files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
from rich.console import Console
from rich.table import Table

PRESET: Final = "demo"  # one world for both, so that the history is the session's own
SESSIONS: Final = 20
START_S: Final = 57_600  # of the plants, 16 hours after the open: 9:00 in Chicago
DURATION_S: Final = 900
CONTRACTS: Final = 240
CHILDREN: Final = 80
USUAL_TRADES: Final = (100, 1_000)  # of the strikes to plant in, over the last five sessions
MIN_SESSIONS: Final = 10  # in which they traded


class Plant(NamedTuple):
    """A metaorder to hide in the session."""

    symbol: str
    side: str

    def argument(self) -> str:
        """Return it as `ifd simulate --plant` takes it."""
        return f"{self.symbol}:{self.side}:{START_S}:{DURATION_S}:{CONTRACTS}:{CHILDREN}"


def run(*arguments: str | Path) -> None:
    """Show one `ifd` command, run it, and say how long it took."""
    words = [str(argument) for argument in arguments]
    short = shlex.join(words[:10]) + (f" … ({len(words)} words)" if len(words) > 10 else "")
    print(f"\n$ ifd {short}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-c", "from ifd_fast.cli import main; main()", *words]
    subprocess.run(command, check=True)
    print(f"  [{time.monotonic() - began:.1f} s]", flush=True)


def files_of(folder: Path) -> list[str | Path]:
    """Return the arguments that replay all sessions of a simulated folder."""
    definitions: list[str | Path] = []
    for path in sorted(folder.glob("*.definition.dbn*")):
        definitions += ["--definitions", path]
    return [*sorted(folder.glob("*.mbo.dbn*")), *definitions]


def pick_strikes(history: Path) -> list[Plant]:
    """Return a call to buy and a put to sell: of usual activity, well known, not expiring soon."""
    facts = pl.read_parquet(history / "facts.parquet").filter(
        pl.col("option_type").is_in(["C", "P"])
    )
    last = facts["trade_date"].max()
    recent = pl.col("trade_date") > pl.lit(last) - pl.duration(days=7)
    usual = (
        facts.filter(pl.col("expiration").dt.date() > pl.lit(last) + pl.duration(days=21))
        .group_by("symbol", "option_type")
        .agg(
            pl.col("total_trades").filter(recent).sum().alias("trades"),
            pl.col("trade_date").n_unique().alias("sessions"),
        )
        .filter(pl.col("trades").is_between(*USUAL_TRADES), pl.col("sessions") >= MIN_SESSIONS)
        .sort("trades", "symbol")
    )
    picks = []
    for kind, side in (("C", "BUY"), ("P", "SELL")):
        of_kind = usual.filter(pl.col("option_type") == kind)["symbol"].to_list()
        if not of_kind:
            raise SystemExit(f"No {kind} of usual activity was found in {history}.")
        picks.append(Plant(str(of_kind[len(of_kind) // 2]), side))
    return picks


def alerts_of(folder: Path) -> list[dict[str, Any]]:
    """Return the first alert of each strike and side, with how often it was repeated."""
    signals = pl.read_parquet(folder / "signals.parquet").filter("alert").sort("timestamp")
    first = signals.group_by("symbol", "dominant_side", maintain_order=True).agg(
        pl.all().first(), pl.len().alias("rows")
    )
    return first.to_dicts()


def reason_of(alert: dict[str, Any]) -> str:
    """Say in words what the alert stands on."""
    minutes = alert["evidence_window_s"] // 60
    return (
        f"{alert['votes_for']:.0f} votes for, {alert['votes_against']:.0f} against in {minutes} "
        f"min; {alert['expected_for']:.1f} usual ({alert['baseline_sessions']:.0f} sessions)"
    )


def alert_table(alerts: list[dict[str, Any]]) -> Table:
    """Return the alerts with their reasons, one line a strike and side."""
    table = Table(title="Alerts", title_justify="left")
    for name in ("UTC", "Contract", "Pressure", "Hit bid", "Lifted ask", "Deviate", "Confidence"):
        table.add_column(name, justify="left" if name in ("Contract", "Pressure") else "right")
    table.add_column("Grade")
    table.add_column("Why")
    for alert in alerts:
        confidence = f"{alert['final_confidence']:.2f} {alert['signal_strength']}"
        table.add_row(
            f"{alert['timestamp']:%H:%M:%S}", alert["symbol"], alert["dominant_side"],
            str(alert["bid_volume"]), str(alert["ask_volume"]), f"{alert['deviate']:.1f}",
            confidence, alert["quality"], reason_of(alert),
        )  # fmt: skip
    return table


def plant_table(plants: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> Table:
    """Return what was planted beside when it was found."""
    table = Table(title="Planted", title_justify="left")
    for name in ("Contract", "Side", "From (UTC)", "Contracts", "Found after", "Traded by then"):
        table.add_column(name, justify="left" if name in ("Contract", "Side") else "right")
    for plant in plants:
        trades = plant["trades"]
        began_ns = trades[0]["ts_event_ns"]
        began = dt.datetime.fromtimestamp(began_ns // 10**9, dt.UTC)
        found = [a for a in alerts if (a["symbol"], a["dominant_side"]) == plant_key(plant)]
        after, traded = "missed", ""
        if found:
            seen_ns = round(found[0]["timestamp"].timestamp() * 1e9)
            by_then = sum(one["filled"] for one in trades if one["ts_event_ns"] < seen_ns)
            after, traded = f"{(seen_ns - began_ns) / 1e9:.0f} s", str(by_then)
        total = str(sum(one["filled"] for one in trades))
        table.add_row(plant["symbol"], plant["side"], f"{began:%H:%M:%S}", total, after, traded)
    return table


def plant_key(plant: dict[str, Any]) -> tuple[str, str]:
    """Return strike and side of a plant of the simulator's truth."""
    return plant["symbol"], plant["side"]


def show(signals: Path, session: Path) -> bool:
    """Print alerts and plants; return whether exactly the planted strikes alerted."""
    alerts = alerts_of(signals)
    (truth,) = session.glob("*.truth.json")
    plants = json.loads(truth.read_text())["plants"]
    console = Console(width=max(Console().width, 140))
    console.print()
    console.print(alert_table(alerts))
    console.print(plant_table(plants, alerts))
    found = {(alert["symbol"], alert["dominant_side"]) for alert in alerts}
    wanted = {plant_key(plant) for plant in plants}
    print(
        f"planted {len(wanted)}, found {len(found & wanted)}, "
        f"other strikes that alerted {len(found - wanted)}"
    )
    return found == wanted


def main() -> None:
    """Run the demo; exit 1 if planted flow is missed or anything else alerts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"))
    out: Path = parser.parse_args().out
    began = time.monotonic()
    raw, windows, session, signals = (
        out / name for name in ("history", "history-windows", "session", "signals")
    )
    store = out / "baselines.duckdb"
    for folder in (raw, windows, session, signals):
        shutil.rmtree(folder, ignore_errors=True)
    for path in (store, store.with_suffix(".arrays")):
        path.unlink(missing_ok=True)
    run("simulate", "--preset", PRESET, "--sessions", str(SESSIONS), "--out", raw)
    run("replay", *files_of(raw), "--out", windows, "--quiet")
    run("baseline", "build", windows, "--db", store)
    plants: list[str] = []
    for plant in pick_strikes(windows):
        plants += ["--plant", plant.argument()]
    date = next_date(max(path.name for path in raw.glob("*.mbo.dbn*")))
    run("simulate", "--preset", PRESET, "--sessions", "1", "--start-date", date,
        *plants, "--out", session)  # fmt: skip
    run("replay", *files_of(session), "--baselines", store, "--out", signals)
    good = show(signals, session)
    print(f"Everything took {time.monotonic() - began:.0f} s; files are in {out}.")
    sys.exit(0 if good else 1)


def next_date(file_name: str) -> str:
    """Return the trade date after that of a simulated file, ISO."""
    from ifd_fast.calendar import load_sessions

    digits = next(part for part in file_name.replace(".", "-").split("-") if part.isdigit())
    session = load_sessions().session_of(dt.date.fromisoformat(digits))
    if session is None:
        raise SystemExit(f"{file_name} names no trading session.")
    following = load_sessions().next_session(session.close_ns)
    if following is None:
        raise SystemExit("The calendar ends here.")
    return following.trade_date.isoformat()


if __name__ == "__main__":
    main()
