"""Checks of what the settings name: the profile itself, calendar, baselines, ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ifd_fast.budget import budget_of, ledger_of
from ifd_fast.calendar import Session, Sessions, load_sessions
from ifd_fast.checkup import Check, failed, run_check
from ifd_fast.errors import IfdError
from ifd_fast.pricing import shown_usd
from ifd_fast.profiles import Profile
from ifd_fast.spending import month_of
from ifd_fast.universe import load_universe

__all__ = ["check_data", "closed_before", "load_profile"]

DAYS_LEFT_WARNING: Final = 30
_DAY_NS: Final = 86_400_000_000_000
_WAIT_S: Final = 1.0


def load_profile(name: str | None) -> tuple[Profile, list[Check]]:
    """Return the profile in force, or the default one beside a failed check."""
    from ifd_fast.config import load_settings

    try:
        settings = load_settings(name)
    except IfdError as error:
        return Profile(), [failed("configuration", error)]
    found = f"profile {settings.name}, digest {settings.digest[:12]}"
    return settings.profile, [Check("configuration", "ok", found)]


def check_data(profile: Profile, now_ns: int) -> list[Check]:
    """Return the checks of calendar, universe, baselines and ledger at `now_ns`."""
    return [
        *run_check("universe", lambda: _check_universe(profile)),
        *run_check("calendar", lambda: _check_calendar(profile, now_ns)),
        *run_check("baselines", lambda: _check_baselines(profile, now_ns)),
        *run_check("budget", lambda: _check_budget(profile, now_ns)),
    ]


def closed_before(sessions: Sessions, now_ns: int, count: int) -> list[Session]:
    """Return the last `count` sessions that had closed by `now_ns`, oldest first."""
    closed = int((sessions.close_ns <= now_ns).sum())
    return [sessions[index] for index in range(max(0, closed - count), closed)]


def _check_universe(profile: Profile) -> Iterable[Check]:
    universe = load_universe(profile.universe)
    found = f"{universe.root}: {len(universe.parents)} parents of {universe.dataset}"
    yield Check("universe", "ok", found)


def _check_calendar(profile: Profile, now_ns: int) -> Iterable[Check]:
    sessions = load_sessions(profile.calendar)
    first, last = sessions[0].trade_date, sessions[len(sessions) - 1].trade_date
    found = f"{sessions.name}: {len(sessions)} sessions, {first} to {last}"
    way_out = "Update ifd-fast, or set market.calendar to a table that goes on."
    days_left = (int(sessions.close_ns[-1]) - now_ns) // _DAY_NS
    if not sessions.covers(now_ns):
        yield Check("calendar", "failed", f"{found}: today is not in it", way_out)
    elif days_left < DAYS_LEFT_WARNING:
        yield Check("calendar", "warning", f"{found}: {days_left} days are left", way_out)
    else:
        now = sessions.session_at(now_ns)
        state = "closed now" if now is None else f"session {now.trade_date} is open"
        yield Check("calendar", "ok", f"{found}; {state}")


def _check_baselines(profile: Profile, now_ns: int) -> Iterable[Check]:
    from ifd_fast.baseline_store import open_store

    store = Path(profile.baselines_path)
    if not store.is_file():
        way_out = "Without history nothing alerts: replay past sessions, then `ifd baseline build`."
        yield Check("baselines", "warning", f"no store at {store}", way_out)
        return
    with open_store(store, wait_s=_WAIT_S) as connection:
        rows = connection.execute("SELECT trade_date FROM coverage").fetchall()
    stored = {row[0] for row in rows}
    recent = closed_before(load_sessions(profile.calendar), now_ns, profile.lookback_days)
    missing = [one.trade_date for one in recent if one.trade_date not in stored]
    newest = max(stored, default=None)
    held = len(recent) - len(missing)
    found = f"{held} of the last {profile.lookback_days} sessions, newest {newest or 'none'}"
    if missing:
        way_out = f"Add {_listed([str(one) for one in missing])} with `ifd baseline build`."
        yield Check("baselines", "warning", found, way_out)
    else:
        yield Check("baselines", "ok", found)


def _check_budget(profile: Profile, now_ns: int) -> Iterable[Check]:
    budget, month = budget_of(profile), month_of(now_ns)
    total = ledger_of(profile).total_1e9(month)
    found = f"{shown_usd(total)} of {shown_usd(budget.ceiling_1e9)} spent in {month}"
    if total >= budget.alert_1e9 and total:
        way_out = "See `ifd cost`."
        # nothing more can be bought, but what is there can be worked with
        yield Check("budget", "warning", found, way_out)
    else:
        yield Check("budget", "ok", found)


def _listed(names: list[str], shown: int = 3) -> str:
    others = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {others} more" if others > 0 else "")
