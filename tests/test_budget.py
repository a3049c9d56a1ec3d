"""The guard against a local server: priced, shown, reserved, sent, settled, in this order."""

from __future__ import annotations

import base64
import datetime as dt
import traceback
from pathlib import Path

import pytest
import zstandard

from ifd_fast.budget import Budget, Guard
from ifd_fast.credentials import Secret
from ifd_fast.errors import BudgetError, ConfigError, CredentialError, RequestError, UsageError
from ifd_fast.historical import HistoricalApi, check_gateway
from ifd_fast.logs import set_up_logging
from ifd_fast.pricing import DataRequest, Price, price
from ifd_fast.spending import Ledger
from tests.historical_server import KEY, Fault, HistoricalServer, refusal
from tests.strategies_interface import market

pytestmark = [pytest.mark.border, pytest.mark.usefixtures("logging_put_back")]

DAY_NS = 86_400_000_000_000
NOW_NS = int(dt.datetime(2026, 11, 23, 15, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
MIDNIGHT_NS = NOW_NS // DAY_NS * DAY_NS
REQUEST = DataRequest(
    "GLBX.MDP3", "mbo", ("NQ.FUT", "NQ.OPT"), MIDNIGHT_NS - 2 * DAY_NS, MIDNIGHT_NS
)
BUDGET = Budget(600 * 10**9, 150 * 10**9, 450 * 10**9, 0.8)
CARRIED = base64.b64encode(f"{KEY}:".encode()).decode()


def api_of(server: HistoricalServer, pauses: list[float] | None = None) -> HistoricalApi:
    """Return the API at the local server; pauses are noted, not made."""
    noted = [] if pauses is None else pauses
    return HistoricalApi(Secret(KEY), server.url, 5.0, sleep=noted.append)


def guard_of(server: HistoricalServer, folder: Path, shown: list[str] | None = None) -> Guard:
    """Return a guard whose clock stands still; what it shows goes to `shown`."""
    lines = [] if shown is None else shown

    def show(request: DataRequest, found: Price, month_1e9: int) -> None:
        lines.append(f"{request} costs {found}, the month {month_1e9}")

    return Guard(api_of(server), Ledger(folder / "ledger"), BUDGET, show, lambda: NOW_NS)


def test_the_price_is_what_the_api_says(historical: HistoricalServer) -> None:
    """Cost and size come from the API for these symbols and this range, each symbol's if asked."""
    actual = price(api_of(historical), REQUEST)
    assert actual == Price(2 * 10**9, 4_000_000)
    assert str(actual) == "$2.00 for 0.004 GB"
    assert [name for name, _ in historical.asked] == [
        "metadata.get_cost",
        "metadata.get_billable_size",
    ]
    form = historical.asked[0][1]
    assert form["symbols"] == "NQ.FUT,NQ.OPT"
    assert (form["dataset"], form["schema"], form["stype_in"]) == ("GLBX.MDP3", "mbo", "parent")
    shares = price(api_of(historical), REQUEST, by_symbol=True).by_symbol_1e9
    assert shares == (("NQ.FUT", 10**9), ("NQ.OPT", 10**9))


def test_a_fetch_is_shown_and_settled(historical: HistoricalServer, tmp_path: Path) -> None:
    """The records arrive in a new file, the ledger has the price, and it was shown before."""
    historical.records = zstandard.compress(market())
    shown: list[str] = []
    guard = guard_of(historical, tmp_path, shown)
    path = tmp_path / "day.dbn.zst"
    assert guard.fetch(REQUEST, path).usd_1e9 == 2 * 10**9
    assert path.read_bytes() == historical.records
    assert shown == [f"{REQUEST} costs $2.00 for 0.004 GB, the month {2 * 10**9}"]
    (one,) = guard.ledger.spent()
    assert (one.is_open, one.request, one.price.usd_1e9) == (False, REQUEST, 2 * 10**9)
    with pytest.raises(UsageError, match="new file"):
        guard.fetch(REQUEST, path)
    assert historical.count("timeseries.get_range") == 1


def test_past_the_limit_nothing_is_sent(historical: HistoricalServer, tmp_path: Path) -> None:
    """A request past the limit less what is kept is refused, by name, with what is left."""
    guard = guard_of(historical, tmp_path)
    guard.ledger.reserve(REQUEST, Price(449 * 10**9, 1), 10**12, NOW_NS)
    with pytest.raises(BudgetError, match=r"\$2.00 for .*\$1.00 is left: not sent"):
        guard.fetch(REQUEST, tmp_path / "day.dbn.zst")
    assert historical.count("timeseries.get_range") == 0
    assert guard.ledger.total_1e9("2026-11") == 449 * 10**9


def test_spending_warns_once_when_it_passes_its_alert(
    historical: HistoricalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The request that brings the month to 80 % of the budget is logged as a warning, no other."""
    set_up_logging("warning", "json")
    historical.records = zstandard.compress(market())
    guard = guard_of(historical, tmp_path)
    guard.ledger.reserve(REQUEST, Price(357 * 10**9, 1), 10**12, NOW_NS)
    for number, lines in enumerate((0, 1, 1)):
        guard.fetch(REQUEST, tmp_path / f"{number}.dbn.zst")
        written = capsys.readouterr().err
        assert ("passes its alert" in written) == (number == 1), lines


REFUSALS = [
    (401, "auth_authentication_failed", CredentialError, "not accepted"),
    (402, "account_payment_required", CredentialError, "can't pay"),
    (403, "license_not_found_unauthorized", CredentialError, "no licence"),
    (422, "symbology_invalid_request", RequestError, "other symbols or another range"),
    (422, "data_end_after_available_end", RequestError, "other symbols or another range"),
    (429, "rate_limit_exceeded", RequestError, "in a minute"),
]


@pytest.mark.parametrize(("status", "case", "kind", "message"), REFUSALS)
@pytest.mark.parametrize("method", ["metadata.get_cost", "timeseries.get_range"])
def test_a_refusal_costs_nothing(
    historical: HistoricalServer,
    tmp_path: Path,
    method: str,
    status: int,
    case: str,
    kind: type[CredentialError | RequestError],
    message: str,
) -> None:
    """What Databento refuses is an error that says why, and takes nothing off the budget."""
    historical.faults[method] = refusal(status, case, f"Refused to {KEY} as {CARRIED}.")
    guard = guard_of(historical, tmp_path)
    with pytest.raises(kind, match=message) as caught:
        guard.fetch(REQUEST, tmp_path / "day.dbn.zst")
    assert isinstance(caught.value, CredentialError | RequestError)
    assert caught.value.case == case
    assert guard.ledger.total_1e9("2026-11") == 0
    assert [path.name for path in tmp_path.iterdir()] in ([], ["ledger"])
    check_no_canary("".join(traceback.format_exception(caught.value)), tmp_path)
    seen: BaseException | None = caught.value
    while seen is not None:  # nor does an error hold the client's, which holds the request
        assert not hasattr(seen, "request")
        seen = seen.__context__


FAULTS = [
    Fault(500, b"{}"),
    Fault(500, b"[]"),
    Fault(504, b"<html>"),
    Fault(200, b"{"),
    Fault(200, b'"free"'),
    Fault(200, b"NaN"),
    Fault(200, b"-1"),
    Fault(200, b"true"),
    Fault(200, b"1e99"),
    Fault(200, b"9" * 400),
    Fault(200, b"null", {"X-Warning": "no json"}),
    Fault(200, b"1.25", breaks_off=True),
    Fault(418, KEY.encode()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: f"{one.status} {one.body[:9]!r}")
def test_what_is_no_price_stops_the_request(
    historical: HistoricalServer, tmp_path: Path, fault: Fault
) -> None:
    """An answer that is broken or no price is refused; nothing is reserved or sent."""
    historical.faults["metadata.get_cost"] = fault
    guard = guard_of(historical, tmp_path)
    with pytest.raises(RequestError, match=r"^price of GLBX\.MDP3 mbo") as caught:
        guard.fetch(REQUEST, tmp_path / "day.dbn.zst")
    assert historical.count("timeseries.get_range") == 0
    assert guard.ledger.spent() == []
    check_no_canary("".join(traceback.format_exception(caught.value)), tmp_path)


@pytest.mark.parametrize(
    "fault", [Fault(200, bytes(4096), breaks_off=True), Fault(503, b"{}"), Fault(200, b"no dbn")]
)
def test_what_breaks_off_counts_as_spent(
    historical: HistoricalServer, tmp_path: Path, fault: Fault
) -> None:
    """Where nobody knows how much was sent the price stays reserved, and no half file is left."""
    historical.faults["timeseries.get_range"] = fault
    guard = guard_of(historical, tmp_path)
    with pytest.raises(RequestError):
        guard.fetch(REQUEST, tmp_path / "day.dbn.zst")
    assert [one.is_open for one in guard.ledger.spent()] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]
    assert historical.count("timeseries.get_range") == 1  # paid requests are never tried again


def test_free_questions_are_tried_again(historical: HistoricalServer) -> None:
    """A server's fault and a limit of rate pass; pauses are the server's, or double, or 10 s."""
    pauses: list[float] = []
    api = api_of(historical, pauses)
    historical.faults["metadata.get_cost"] = Fault(503, b"{}", times=2)
    historical.faults["metadata.get_billable_size"] = Fault(
        429, b"{}", {"Retry-After": "3"}, 1, times=0
    )
    price(api, REQUEST)
    assert pauses == [0.5, 1.0]
    for seconds, expected in (("3", 3.0), ("9999", 10.0), ("soon", 0.5)):
        pauses.clear()
        fault = Fault(429, b"{}", {"Retry-After": seconds}, times=1)
        historical.faults["metadata.get_cost"] = fault
        price(api, REQUEST)
        assert pauses == [expected]


def test_a_slow_server_is_given_up(historical: HistoricalServer) -> None:
    """An answer that takes too long is none, and is not waited for again."""
    historical.faults["metadata.get_cost"] = Fault(200, b"1", delay_s=0.6)
    api = HistoricalApi(Secret(KEY), historical.url, 0.1)
    with pytest.raises(RequestError, match="no answer"):
        price(api, REQUEST)
    assert historical.count("metadata.get_cost") == 1


def test_nobody_there(historical: HistoricalServer) -> None:
    """A refused connection is tried three times, then it is the network's fault."""
    pauses: list[float] = []
    api = HistoricalApi(Secret(KEY), "https://127.0.0.1:9", 1.0, sleep=pauses.append)
    with pytest.raises(RequestError, match="Check network"):
        price(api, REQUEST)
    assert pauses == [0.5, 1.0]


def test_a_certificate_nobody_vouches_for(
    historical: HistoricalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is not sent to a server that can't prove its name."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RequestError, match="CERTIFICATE_VERIFY_FAILED"):
        price(api_of(historical), REQUEST)
    assert historical.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hist.databento.com",
        "hist.databento.com",
        "https://",
        "https://a:b@c",
        "https://h/p",
        "https://h:x",
        "ftp://h",
        "https://h?q=1",
        f"https://{KEY}@h",
    ],
)
def test_the_key_goes_over_tls_only(url: str) -> None:
    """A gateway that is no plain https URL is refused."""
    with pytest.raises(ConfigError, match="must be an https URL") as caught:
        check_gateway(url)
    assert KEY not in str(caught.value)


def test_a_show_that_fails_sends_nothing(historical: HistoricalServer, tmp_path: Path) -> None:
    """If nobody can be shown the price, the request is not sent and nothing stays reserved."""

    def fail(*_: object) -> None:
        raise BrokenPipeError

    guard = Guard(api_of(historical), Ledger(tmp_path / "l"), BUDGET, fail, lambda: NOW_NS)
    with pytest.raises(BrokenPipeError):
        guard.fetch(REQUEST, tmp_path / "day.dbn.zst")
    assert historical.count("timeseries.get_range") == 0
    assert guard.ledger.total_1e9("2026-11") == 0


def test_only_the_guard_buys() -> None:
    """No other module calls what Databento bills for."""
    package = Path(__file__).resolve().parent.parent / "ifd_fast"
    callers = {
        path.name
        for path in package.rglob("*.py")
        if any(name in path.read_text() for name in (".get_range", "submit_job"))
    }
    assert callers == {"budget.py"}


def check_no_canary(text: str, folder: Path) -> None:
    """Fail if the key, or the form HTTP carries it in, is in a text or a file."""
    texts = [text, *(path.read_bytes().decode("latin-1") for path in folder.iterdir())]
    for one in texts:
        assert KEY not in one
        assert CARRIED.rstrip("=") not in one
