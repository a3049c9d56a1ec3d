"""What all tests share: Hypothesis profiles, the real data, and where compiled kernels are kept.

Three passes use this file. With the compiler (all tests), with `NUMBA_DISABLE_JIT=1` under
coverage, and with `NUMBA_BOUNDSCHECK=1`; the last two draw fewer examples.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.historical_server import HistoricalServer, make_certificate, serving
from tests.strategies_scoring import WEIGHTS, weighed_by

__all__ = ["JIT_OFF", "REDUCED", "ROOT", "data_folder"]

ROOT = Path(__file__).resolve().parent.parent
JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}
REDUCED = JIT_OFF or os.environ.get("NUMBA_BOUNDSCHECK", "0") not in {"", "0"}

_SLOW_START = [HealthCheck.too_slow]  # the first example pays for a kernel's compilation
settings.register_profile("local", deadline=None, suppress_health_check=_SLOW_START)
settings.register_profile(
    "ci", parent=settings.get_profile("local"), derandomize=True, max_examples=50
)
settings.register_profile("bounds", parent=settings.get_profile("ci"), max_examples=10)
settings.register_profile("plain", parent=settings.get_profile("ci"), max_examples=3)


def pytest_configure() -> None:
    """Choose how many examples Hypothesis draws, and whether they are the same each time."""
    fixed = os.environ.get("CI") or os.environ.get("IFD_FIXED_EXAMPLES")
    reduced = "plain" if JIT_OFF else "bounds" if REDUCED else None
    settings.load_profile(reduced or ("ci" if fixed else "local"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, in the reduced passes, what belongs to the full one only."""
    left_out = {"jit"} if JIT_OFF else set()
    if REDUCED:
        left_out |= {"slow"} if JIT_OFF else {"slow", "border"}
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        (dropped if marks & left_out else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def data_folder() -> Path:
    """Return the folder of real market data, whether it is there or not."""
    return Path(os.environ.get("IFD_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return a function that finds a real file; without it the test skips, or fails if told to."""

    def find(name: str) -> Path:
        path = data_folder() / name
        if not path.is_file():
            reason = f"real data {name} not found in {data_folder()}; set IFD_TEST_DATA"
            if os.environ.get("IFD_REQUIRE_DATA") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="module")
def fixed_weights() -> Iterator[None]:
    """Weigh confidences by the tests' own weights: the package's are fitted anew now and then."""
    with weighed_by(WEIGHTS):
        yield


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate that all servers of these tests share."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def historical(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HistoricalServer]:
    """Serve Databento's HTTP API on this machine; this process trusts its certificate."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("cert.pem")))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
    with serving(certificate) as server:
        yield server


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
