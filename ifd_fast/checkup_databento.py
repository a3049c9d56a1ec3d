"""Checks of the key: what Databento grants it, for the universe in force; none costs anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.budget import budget_of
from ifd_fast.calendar import Session, load_sessions
from ifd_fast.checkup import Check, failed, run_check
from ifd_fast.checkup_settings import closed_before
from ifd_fast.config import find_api_key
from ifd_fast.errors import ConfigError, CredentialError, RequestError
from ifd_fast.historical import HistoricalApi, open_api
from ifd_fast.live_protocol import Terms, live_address, try_key
from ifd_fast.pricing import DataRequest, price, shown_usd
from ifd_fast.savings import READ_SCHEMAS
from ifd_fast.universe import Universe, load_universe

if TYPE_CHECKING:
    from ifd_fast.credentials import Secret
    from ifd_fast.profiles import Profile

__all__ = ["check_databento"]

NEEDED_SCHEMAS: Final = ("mbo", "definition")
CONDITION_DAYS: Final = 5
_DAY_NS: Final = 86_400_000_000_000
_NAMES: Final = ("dataset", "schemas", "condition", "symbols", "month's cost", "live licence")
_GET_KEY: Final = (
    "Replay, simulation and `ifd demo` need none. Else set DATABENTO_API_KEY, or write the key to"
    " ~/.config/ifd/api_key with mode 0600."
)


def check_databento(profile: Profile, now_ns: int, *, offline: bool) -> list[Check]:
    """Return the checks of the key; without one, or offline, what it grants is skipped."""
    try:
        key = find_api_key()
    except CredentialError as error:
        return [failed("key", error), *_skipped("the key can't be used")]
    if key is None:
        return [Check("key", "warning", "none", _GET_KEY), *_skipped("there is no key")]
    if offline:
        return [Check("key", "ok", "there, not tried: --offline"), *_skipped("--offline")]
    return _check_key(key, profile, now_ns)


def _check_key(key: Secret, profile: Profile, now_ns: int) -> list[Check]:
    try:
        universe = load_universe(profile.universe)
        api = open_api(key, profile)
        datasets = _texts(api.ask("key", lambda client: client.metadata.list_datasets()))
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest can't be asked
        return [failed("key", error), *_skipped("the key could not be tried")]
    checks = [Check("key", "ok", "accepted")]
    parts: dict[str, Callable[[], Iterable[Check]]] = {
        "dataset": lambda: _check_dataset(universe, datasets),
        "schemas": lambda: _check_schemas(api, universe),
        "condition": lambda: _check_condition(api, universe, now_ns),
        "symbols": lambda: _check_symbols(api, universe, _session(profile, now_ns)),
        "month's cost": lambda: _check_cost(api, universe, profile, now_ns),
        "live licence": lambda: [_check_licence(key, universe, profile)],
    }
    for name in _NAMES:
        checks += run_check(name, parts[name])
    return checks


def _skipped(reason: str) -> list[Check]:
    return [Check(name, "skipped", f"not asked: {reason}") for name in _NAMES]


def _session(profile: Profile, now_ns: int) -> Session:
    """Return the last session that closed a day ago or earlier: older data need no live licence."""
    closed = closed_before(load_sessions(profile.calendar), now_ns - _DAY_NS, 1)
    if not closed:
        raise ConfigError("the calendar holds no past session to ask for. Set market.calendar.")
    return closed[0]


def _check_dataset(universe: Universe, datasets: list[str]) -> Iterable[Check]:
    if universe.dataset in datasets:
        yield Check("dataset", "ok", f"{universe.dataset}, of {len(datasets)}")
    else:
        found = f"{universe.dataset} is not among the {len(datasets)} that Databento lists"
        way_out = "Correct the universe's dataset, or subscribe to it in the Databento portal."
        yield Check("dataset", "failed", found, way_out, of_credentials=True)


def _check_schemas(api: HistoricalApi, universe: Universe) -> Iterable[Check]:
    known = _texts(
        api.ask("schemas", lambda client: client.metadata.list_schemas(universe.dataset))
    )
    missing = [name for name in READ_SCHEMAS if name not in known]
    if not missing:
        yield Check("schemas", "ok", ", ".join(READ_SCHEMAS))
        return
    is_fatal = any(name in NEEDED_SCHEMAS for name in missing)
    found = f"{universe.dataset} has no {', '.join(missing)}"
    way_out = "Take another dataset: books need mbo and definition."
    yield Check("schemas", "failed" if is_fatal else "warning", found, way_out)


def _check_condition(api: HistoricalApi, universe: Universe, now_ns: int) -> Iterable[Check]:
    last = dt.datetime.fromtimestamp(now_ns // 1_000_000_000, tz=dt.UTC).date()
    first = last - dt.timedelta(days=CONDITION_DAYS)
    days: Any = api.ask(
        "condition",
        lambda client: client.metadata.get_dataset_condition(universe.dataset, first, last),
    )
    # today's data is pending by nature
    bad = [f"{d['date']} {d['condition']}" for d in days if d["condition"] in _BAD_CONDITIONS]
    if bad:
        way_out = "Replay these days with care: windows of a gap are graded, not mended."
        yield Check("condition", "warning", ", ".join(bad), way_out)
    else:
        yield Check("condition", "ok", f"{len(days)} days without a fault")


_BAD_CONDITIONS: Final = ("degraded", "missing")


def _check_symbols(api: HistoricalApi, universe: Universe, session: Session) -> Iterable[Check]:
    day = session.trade_date
    answer: Any = api.ask(
        "symbols",
        lambda client: client.symbology.resolve(
            universe.dataset, list(universe.parents), "parent", "instrument_id", day
        ),
    )
    found = answer["result"]
    missing = [one for one in universe.parents if not found.get(one)]
    text = f"{len(universe.parents) - len(missing)} of {len(universe.parents)} parents on {day}"
    if f"{universe.root}.FUT" in missing or len(missing) == len(universe.parents):
        way_out = "Without the future no option has an underlying: correct the universe."
        yield Check("symbols", "failed", f"{text}; not {', '.join(missing)}", way_out)
    elif missing:
        way_out = "Harmless if these have no series listed now; else correct the universe."
        yield Check("symbols", "warning", f"{text}; not {', '.join(missing)}", way_out)
    else:
        yield Check("symbols", "ok", text)


def _check_cost(
    api: HistoricalApi, universe: Universe, profile: Profile, now_ns: int
) -> Iterable[Check]:
    session = _session(profile, now_ns)
    usd_1e9 = sum(
        price(
            api,
            DataRequest(
                universe.dataset, schema, universe.parents, session.open_ns, session.close_ns
            ),
        ).usd_1e9
        for schema in READ_SCHEMAS
    )
    month = dt.datetime.fromtimestamp(now_ns // 1_000_000_000, tz=dt.UTC).strftime("%Y-%m")
    dates = load_sessions(profile.calendar).trade_date.astype(str)
    sessions = sum(str(day).startswith(month) for day in dates)
    total, budget = usd_1e9 * sessions, budget_of(profile)
    found = (
        f"{shown_usd(total)} if all {sessions} sessions of {month} were bought like"
        f" {session.trade_date}, at {shown_usd(usd_1e9)}"
    )
    if total > min(budget.ceiling_1e9, budget.expected_1e9):
        way_out = (
            f"Expected are {shown_usd(budget.expected_1e9)}, {shown_usd(budget.ceiling_1e9)} may"
            " be spent: buy fewer parents or sessions."
        )
        yield Check("month's cost", "warning", found, way_out)
    else:
        yield Check("month's cost", "ok", found)


def _check_licence(key: Secret, universe: Universe, profile: Profile) -> Check:
    """Shake hands with the live gateway; what it raises against the key is the verdict."""
    timeout_s = profile.databento_timeout_s
    terms = Terms(universe.dataset, connect_timeout_s=timeout_s, answer_timeout_s=timeout_s)
    address = live_address(profile.databento_live_gateway, universe.dataset)
    try:
        try_key(key, address, terms)
    except RequestError as error:
        if error.case != "connection_limit":
            raise
        return Check("live licence", "warning", str(error))
    return Check("live licence", "ok", f"{universe.dataset}: the gateway let us in")


def _texts(answer: object) -> list[str]:
    if not isinstance(answer, list) or not all(isinstance(one, str) for one in answer):
        raise TypeError("Databento's answer is no list of names")
    return answer
