"""From nothing to signals: simulate history and a session, replay both, score the session.

No key, no network, no real market data. Runs the very commands a user would, shows them, and ends
with what was planted beside what was found. `./dev demo --out FOLDER` keeps the files.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import polars as pl

SESSIONS: Final = 20
FIRST_DATE: Final = "2026-01-05"
PLANT_S: Final = (57_600, 900)  # 16 hours after the open, for a quarter of an hour
CONTRACTS: Final = 240
CHILDREN: Final = 80
USUAL_TRADES: Final = (300, 2_000)  # of the strikes to plant in, over the last five sessions


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


def pick_strikes(history: Path) -> tuple[str, str]:
    """Return a call and a put of usual activity that outlive the history."""
    facts = pl.read_parquet(history / "facts.parquet")
    last = facts["trade_date"].max()
    recent = facts.filter(pl.col("trade_date") > pl.lit(last) - pl.duration(days=7))
    usual = (
        recent.filter(pl.col("option_type").is_in(["C", "P"]))
        .filter(pl.col("expiration").dt.date() > pl.lit(last) + pl.duration(days=20))
        .group_by("symbol", "option_type")
        .agg(pl.col("total_trades").sum())
        .filter(pl.col("total_trades").is_between(*USUAL_TRADES))
        .sort("total_trades", "symbol")
    )
    picks = []
    for kind in ("C", "P"):
        of_kind = usual.filter(pl.col("option_type") == kind)["symbol"].to_list()
        picks.append(str(of_kind[len(of_kind) // 2]))
    return picks[0], picks[1]


def show(folder: Path, planted: dict[str, str]) -> bool:
    """Print alerts beside what was planted; return whether exactly the planted were found."""
    signals = pl.read_parquet(folder / "signals.parquet")
    alerts = signals.filter("alert").sort("timestamp")
    print("\nalerts")
    for row in alerts.iter_rows(named=True):
        print(
            f"  {row['timestamp']:%H:%M:%S}  {row['symbol']:<14} {row['dominant_side']:<4} "
            f"pressure {row['pressure_ratio']:6.1f}  confidence {row['final_confidence']:.2f} "
            f"{row['signal_strength']:<9} grade {row['quality']}"
        )
    found = set(alerts.select("symbol", "dominant_side").iter_rows())
    wanted = set(planted.items())
    print(f"\nplanted {len(wanted)}, found {len(found & wanted)}, others {len(found - wanted)}")
    return found == wanted


def main() -> None:
    """Run the demo; exit 1 if planted flow is missed or anything else alerts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"))
    out: Path = parser.parse_args().out
    began = time.monotonic()
    raw, windows, session = out / "history", out / "history-windows", out / "session"
    store = out / "baselines.duckdb"
    for path in (store, store.with_suffix(".arrays")):
        path.unlink(missing_ok=True)
    run("simulate", "--preset", "history", "--sessions", str(SESSIONS), "--out", raw)
    run("replay", *files_of(raw), "--out", windows, "--quiet")
    run("baseline", "build", windows, "--db", store)
    call, put = pick_strikes(windows)
    planted = {call: "BUY", put: "SELL"}
    last = max(path.name for path in raw.glob("*.mbo.dbn*"))
    date = next_date(last)
    plants = [
        word
        for symbol, side in planted.items()
        for word in (
            "--plant",
            f"{symbol}:{side}:{PLANT_S[0]}:{PLANT_S[1]}:{CONTRACTS}:{CHILDREN}",
        )
    ]
    run("simulate", "--preset", "session", "--sessions", "1", "--start-date", date,
        *plants, "--out", session)  # fmt: skip
    run("replay", *files_of(session), "--baselines", store, "--out", out / "signals")
    good = show(out / "signals", planted)
    print(f"everything took {time.monotonic() - began:.0f} s; files are in {out}")
    sys.exit(0 if good else 1)


def next_date(file_name: str) -> str:
    """Return the trade date after that of a simulated file, ISO."""
    from datetime import date

    from ifd_fast.calendar import load_sessions

    digits = next(part for part in file_name.replace(".", "-").split("-") if part.isdigit())
    session = load_sessions().session_of(date.fromisoformat(digits))
    if session is None:
        raise SystemExit(f"{file_name} names no trading session.")
    following = load_sessions().next_session(session.close_ns)
    if following is None:
        raise SystemExit("The calendar ends here.")
    return following.trade_date.isoformat()


if __name__ == "__main__":
    main()
