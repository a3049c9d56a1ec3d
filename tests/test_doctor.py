"""`ifd doctor` against local servers: each refusal has its verdict, its way out, its exit code."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ifd_fast import checkup_machine
from ifd_fast.checkup import Check, exit_code_of, run_check, verdict_of
from ifd_fast.config import find_api_key
from ifd_fast.errors import BudgetError, ConfigError, CredentialError
from ifd_fast.live_protocol import live_address
from ifd_fast.pricing import DataRequest, Price
from ifd_fast.spending import Ledger
from tests.conftest import ROOT
from tests.historical_server import KEY, Fault, HistoricalServer, refusal
from tests.live_server import TestGateway, serving
from tests.strategies_runs import invoke

pytestmark = pytest.mark.border

CARRIED = base64.b64encode(f"{KEY}:".encode()).decode().rstrip("=")
OF_KEY = ("key", "dataset", "schemas", "condition", "symbols", "month's cost", "live licence")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_put_back: None) -> None:
    """Run in a folder without history, key or settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABENTO_API_KEY", "IFD_API_KEY_FILE", "IFD_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


class Servers(NamedTuple):
    """Both of Databento's servers."""

    http: HistoricalServer
    live: TestGateway


@pytest.fixture
def servers(historical: HistoricalServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Point the settings at local servers, and set the key that they know."""
    with serving() as live:
        monkeypatch.setenv("IFD_DATABENTO_GATEWAY", historical.url)
        monkeypatch.setenv("IFD_DATABENTO_LIVE_GATEWAY", f"{live.address[0]}:{live.address[1]}")
        monkeypatch.setenv("IFD_DATABENTO_TIMEOUT_S", "2")
        monkeypatch.setenv("DATABENTO_API_KEY", KEY)
        monkeypatch.setattr("ifd_fast.historical.time.sleep", lambda _: None)
        monkeypatch.setattr("ifd_fast.historical._FIRST_PAUSE_S", 0.0)
        yield Servers(historical, live)


def doctor(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run `ifd doctor --json`, check that no secret is in sight, return code and checks."""
    done = invoke("doctor", "--json", *arguments)
    assert_no_canary(done.output)
    document = json.loads(done.output)
    checks = {one["name"]: one for one in document["checks"]}
    assert len(checks) == len(document["checks"])
    for one in checks.values():
        assert one["verdict"] in {"ok", "warning", "failed", "skipped"}
        assert one["found"]
    return done.code, checks


def assert_no_canary(text: str) -> None:
    """Fail if the key, or the form HTTP carries it in, is in a text or a file of the folder."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != "api_key"]
    for one in [text, *(path.read_bytes().decode("latin-1") for path in files)]:
        assert KEY not in one
        assert CARRIED not in one


def test_all_is_well(servers: Servers) -> None:
    """With a key that is granted everything, all of its checks are ok, and cost nothing."""
    code, checks = doctor()
    assert code == 0
    assert [checks[name]["verdict"] for name in OF_KEY] == ["ok"] * 7, checks
    assert checks["clock"]["verdict"] == "ok"
    assert "27 of 27 parents" in checks["symbols"]["found"]
    # 27 parents, 23 of 24 hours, 0.531 USD a day of all four schemas
    assert f"${27 * 0.531 * 23 / 24:.2f}" in checks["month's cost"]["found"]
    assert servers.http.count("timeseries.get_range") == 0
    (told,) = servers.live.told
    assert [next(iter(line)) for line in told.lines] == ["auth"]  # hung up before asking for data


def test_without_a_key(historical: HistoricalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key it says how to set one; the rest runs, and nothing has failed."""
    monkeypatch.setenv("IFD_DATABENTO_GATEWAY", historical.url)
    code, checks = doctor()
    assert code == 0
    assert checks["key"]["verdict"] == "warning"
    assert "DATABENTO_API_KEY" in checks["key"]["way_out"]
    assert {checks[name]["verdict"] for name in OF_KEY[1:]} == {"skipped"}
    assert checks["clock"]["verdict"] == "ok"
    assert checks["python"]["verdict"] == "ok"
    assert historical.asked == []


def test_offline_asks_nobody(servers: Servers) -> None:
    """With --offline neither server hears of it, the key's form is still checked."""
    code, checks = doctor("--offline")
    assert code == 0
    assert not servers.http.asked
    assert not servers.live.told
    assert checks["key"]["verdict"] == "ok"
    assert checks["clock"]["verdict"] == "skipped"


def test_a_key_that_cannot_be_used(
    historical: HistoricalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key of another form, or one that others can read, is refused here: exit code 5."""
    monkeypatch.setenv("IFD_DATABENTO_GATEWAY", historical.url)
    monkeypatch.setenv("DATABENTO_API_KEY", KEY + "y")
    code, checks = doctor()
    assert (code, checks["key"]["verdict"]) == (5, "failed")
    monkeypatch.delenv("DATABENTO_API_KEY")
    path = tmp_path / "home" / "ifd" / "api_key"
    path.parent.mkdir(parents=True)
    path.write_text(KEY)
    path.chmod(0o644)
    code, checks = doctor("--offline")
    assert (code, checks["key"]["verdict"]) == (5, "failed")
    assert "chmod 600" in checks["key"]["found"]
    path.chmod(0o600)
    assert doctor("--offline")[0] == 0
    assert historical.asked == []


REFUSALS = [
    ("metadata.list_datasets", 401, "auth_authentication_failed", "key", 5),
    ("metadata.list_datasets", 402, "account_payment_required", "key", 5),
    ("metadata.list_datasets", 403, "auth_ip_not_allowed", "key", 5),
    ("metadata.list_datasets", 429, "rate_limit_exceeded", "key", 1),
    ("metadata.list_datasets", 503, "service_unavailable", "key", 1),
    ("metadata.list_schemas", 422, "dataset_invalid", "schemas", 1),
    ("metadata.get_dataset_condition", 422, "data_time_range_invalid", "condition", 1),
    ("symbology.resolve", 422, "symbology_invalid_request", "symbols", 1),
    ("metadata.get_cost", 403, "license_not_found_unauthorized", "month's cost", 5),
    ("metadata.get_billable_size", 422, "data_end_after_available_end", "month's cost", 1),
    ("metadata.get_cost", 500, "internal_error", "month's cost", 1),
]


@pytest.mark.parametrize(("method", "status", "case", "name", "code"), REFUSALS)
def test_each_refusal(
    servers: Servers, method: str, status: int, case: str, name: str, code: int
) -> None:
    """A refusal fails its check with the API's word for it; 5 if it is the key's, else 1."""
    servers.http.faults[method] = refusal(status, case, f"No, {KEY} ({CARRIED}==).")
    actual, checks = doctor()
    failed = [one["name"] for one in checks.values() if one["verdict"] == "failed"]
    assert (actual, failed) == (code, [name])
    assert case in checks[name]["found"]
    assert str(status) in checks[name]["found"]
    rest = {checks[one]["verdict"] for one in OF_KEY if one != name}
    assert rest == ({"skipped"} if name == "key" else {"ok"})


BROKEN = [b"{", b"null", b"[1]", b'{"a": 1}', b'"GLBX.MDP3"', b"\xff\xfe", b"[" * 20_000]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:10]))
def test_answers_that_cannot_be_read(servers: Servers, body: bytes) -> None:
    """Whatever comes back, the checkup ends with a verdict, not with a traceback."""
    servers.http.faults["*"] = Fault(200, body)
    code, checks = doctor()
    assert (code, checks["key"]["verdict"]) == (1, "failed")
    servers.http.faults.clear()
    for method in ("list_schemas", "get_dataset_condition", "get_cost", "get_billable_size"):
        servers.http.faults[f"metadata.{method}"] = Fault(200, body)
    servers.http.faults["symbology.resolve"] = Fault(200, body)
    code, checks = doctor()
    assert code == 1
    assert {checks[n]["verdict"] for n in ("schemas", "symbols", "month's cost")} == {"failed"}


def test_what_a_key_is_not_granted(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that isn't listed is the key's fault; missing schemas and days are told apart."""
    servers.http.faults["metadata.list_datasets"] = Fault(200, b'["XNAS.ITCH"]')
    code, checks = doctor()
    assert (code, checks["dataset"]["verdict"]) == (5, "failed")
    servers.http.faults.clear()
    for names, verdict in ((["mbo", "definition"], "warning"), (["definition"], "failed")):
        servers.http.faults["metadata.list_schemas"] = Fault(200, json.dumps(names).encode())
        assert doctor()[1]["schemas"]["verdict"] == verdict
    servers.http.faults.clear()
    days = [{"date": "2026-11-20", "condition": "degraded", "last_modified_date": None}]
    servers.http.faults["metadata.get_dataset_condition"] = Fault(200, json.dumps(days).encode())
    code, checks = doctor()
    assert (code, checks["condition"]["found"]) == (0, "2026-11-20 degraded")
    monkeypatch.setenv("IFD_BUDGET_EXPECTED_USD", "1")
    assert doctor()[1]["month's cost"]["verdict"] == "warning"


def test_symbols_that_do_not_resolve(servers: Servers) -> None:
    """A weekly that isn't listed is a warning; without the future nothing works."""
    servers.http.unknown_symbols = {"Q5A.OPT", "Q5B.OPT"}
    code, checks = doctor()
    assert (code, checks["symbols"]["verdict"]) == (0, "warning")
    assert "25 of 27" in checks["symbols"]["found"]
    servers.http.unknown_symbols = {"NQ.FUT"}
    code, checks = doctor()
    assert (code, checks["symbols"]["verdict"]) == (1, "failed")


@pytest.mark.parametrize(
    ("says", "verdict", "code"),
    [
        ("Authentication failed.", "failed", 5),
        ("A live data license is required to access GLBX.MDP3.", "failed", 5),
        (f"API key {KEY} was deactivated", "failed", 5),
        ("User has reached their open connection limit", "warning", 0),
    ],
)
def test_the_live_gateway_refuses(servers: Servers, says: str, verdict: str, code: int) -> None:
    """What the gateway says against the key fails its licence; a busy account is a warning."""
    servers.live.refusal = says
    actual, checks = doctor()
    assert (actual, checks["live licence"]["verdict"]) == (code, verdict)
    assert says.split()[1].rstrip(".") in checks["live licence"]["found"]


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400\r\n", b"x" * 20_000, b"a=b\ncram=\n"])
def test_no_live_gateway_there(servers: Servers, greeting: bytes) -> None:
    """A stranger on the port, or one that hangs up, fails the check, not the key."""
    servers.live.greeting = greeting
    code, checks = doctor()
    assert (code, checks["live licence"]["verdict"]) == (1, "failed")


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "code"), [(0, "ok", 0), (-20, "warning", 0), (3600, "failed", 1)]
)
def test_the_clock(servers: Servers, ahead_s: float, verdict: str, code: int) -> None:
    """A clock that differs from the gateway's is told by how much, and how to set it."""
    servers.http.clock_ahead_s = ahead_s
    actual, checks = doctor()
    assert (actual, checks["clock"]["verdict"]) == (code, verdict)
    if ahead_s:
        assert abs(float(checks["clock"]["found"].split()[0]) + ahead_s) < 2


def test_machine_data_and_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each fault of machine, data and settings has its own verdict; none hides the others."""
    monkeypatch.setattr(checkup_machine, "PYTHON_LEAST", (9, 0))
    monkeypatch.setattr(checkup_machine, "FREE_GB_FAILED", 1e9)
    monkeypatch.setattr(checkup_machine, "FREE_GB_WARNING", 1e9)
    monkeypatch.setattr(checkup_machine, "SYNC_MS_WARNING", -1.0)
    monkeypatch.setattr(checkup_machine, "CORES_LEAST", 10_000)
    (tmp_path / "table.csv").write_text("trade_date,open_min,close_min\n2020-01-02,-60,1320\n")
    monkeypatch.setenv("IFD_MARKET_CALENDAR", "table.csv")
    (tmp_path / "no.duckdb").write_bytes(b"no store" * 4096)
    monkeypatch.setenv("IFD_BASELINES_PATH", "no.duckdb")
    monkeypatch.setenv("IFD_BUDGET_LEDGER", "no.duckdb")
    code, checks = doctor("--offline")
    assert code == 1
    for name in ("python", "disk space", "calendar", "baselines", "budget"):
        assert checks[name]["verdict"] == "failed", name
    for name in ("disk sync", "cpu"):
        assert checks[name]["verdict"] == "warning", name
    monkeypatch.setenv("IFD_SCORING_NO_SUCH", "1")
    code, checks = doctor("--offline")
    assert "IFD_SCORING_NO_SUCH" in checks["configuration"]["found"]
    assert checks["calendar"]["verdict"] == "ok"  # the default's


def test_spending_past_its_alert_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month that is nearly spent shows, and fails nothing."""
    request = DataRequest("GLBX.MDP3", "mbo", ("NQ.OPT",), 0, 1)
    ledger = Ledger(Path("outputs/ifd_spending.sqlite"))
    ledger.reserve(request, Price(400 * 10**9, 1), 10**12, time.time_ns())
    code, checks = doctor("--offline")
    assert (code, checks["budget"]["verdict"]) == (0, "warning")
    assert "$400.00 of $450.00" in checks["budget"]["found"]


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("numpy>=2.0", None),
        ("numpy<2,>=1.0", "numpy must be"),
        ("numpy>=99.1", "numpy must be"),
        ("no-such-package>=1", "no-such-package is missing"),
        ('no-such-package>=1; extra == "dev"', None),
        ("databento<0.89,>=0.87", None),
    ],
)
def test_requirements(requirement: str, expected: str | None) -> None:
    """A package that is missing or of a version outside its bounds is named; extras are not."""
    actual = checkup_machine._fault_of(requirement)
    assert actual is None if expected is None else str(actual).startswith(expected)


def test_people_see_a_table(servers: Servers) -> None:
    """The table names each check, its verdict and way out, and ends with the verdict of all."""
    servers.http.faults["metadata.list_datasets"] = refusal(401, "auth_failed", f"{KEY}")
    done = invoke("doctor")
    assert done.code == 5
    for part in ("python", "ok", "failed", "Databento portal", "verdict: failed"):
        assert part in done.output
    assert_no_canary(done.output)


def test_nothing_is_logged_of_the_key(
    servers: Servers, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """At debug level, through every failure, no library's log shows the key."""
    with caplog.at_level(logging.DEBUG):
        for fault in (None, refusal(401, "a", KEY), Fault(503, KEY.encode()), Fault(200, b"{")):
            servers.http.faults = {} if fault is None else {"*": fault}
            doctor()
    out, err = capfd.readouterr()
    assert_no_canary(caplog.text + out + err)


def test_the_page_lists_every_check() -> None:
    """The table of docs/doctor.md has the checks, in the order in which they are shown."""
    lines = (ROOT / "docs" / "doctor.md").read_text("utf-8").splitlines()
    names = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert names == list(doctor("--offline")[1])


def test_verdicts_and_exit_codes() -> None:
    """The worst verdict wins; 5 only if nothing but credentials failed."""
    ok, skipped = Check("a", "ok", "x"), Check("b", "skipped", "x")
    warning, broken = Check("c", "warning", "x"), Check("d", "failed", "x")
    (refused,) = run_check("e", lambda: _raise(BudgetError("no money")))
    (wrong,) = run_check("f", lambda: _raise(ZeroDivisionError("1/0")))
    assert (refused.found, wrong.found) == ("no money", "ZeroDivisionError: 1/0")
    assert (verdict_of([ok, skipped]), exit_code_of([ok, skipped])) == ("ok", 0)
    assert (verdict_of([ok, warning]), exit_code_of([warning])) == ("warning", 0)
    assert (verdict_of([warning, refused]), exit_code_of([refused, ok])) == ("failed", 5)
    assert exit_code_of([refused, broken]) == exit_code_of([wrong]) == 1


def _raise(error: Exception) -> list[Check]:
    raise error


def test_addresses_of_live_gateways() -> None:
    """The dataset's name goes into the host; what is no host:port is refused."""
    template = "{dataset}.lsg.databento.com:13000"
    assert live_address(template, "GLBX.MDP3") == ("glbx-mdp3.lsg.databento.com", 13000)
    assert live_address("[::1]:13", "GLBX.MDP3") == ("::1", 13)
    for wrong in ("host", "host:", ":13000", "host:0", "host:65536", "host:x"):
        with pytest.raises(ConfigError, match="must be host:port"):
            live_address(wrong, "GLBX.MDP3")


def test_a_key_is_found_or_not(tmp_path: Path) -> None:
    """No key is no error; one that is named but not there is."""
    assert find_api_key({"XDG_CONFIG_HOME": str(tmp_path)}) is None
    found = find_api_key({"DATABENTO_API_KEY": KEY})
    assert found is not None
    assert found.reveal() == KEY
    with pytest.raises(CredentialError, match="can't be read"):
        find_api_key({"IFD_API_KEY_FILE": str(tmp_path / os.devnull.strip("/"))})
