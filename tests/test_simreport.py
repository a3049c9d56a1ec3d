"""The simulated market beside a real one: what of its marginals is like, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ifd_fast.simreport import measure_marginals
from ifd_fast.simulated_files import write_session
from ifd_fast.simulation import Simulation
from tests.oracle.market_stream import read_records
from tests.test_simulation import session, small_world, stream

pytestmark = pytest.mark.jit


def test_the_marginals_resemble_a_real_evening(
    tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    """Latency, sending time, sideless volume and fills lie near those of ESH4 after its open."""
    real = measure_marginals(real_data("glbx/futures/esh4-20231225-first24000.mbo.dbn.zst"))
    written = write_session(small_world(), 7, session(), tmp_path)
    simulated = measure_marginals(written.path)
    for name in ("latency us, 50 %", "ts_in_delta us, 50 %", "ts_in_delta us, 90 %"):
        assert simulated[name] == pytest.approx(real[name], rel=0.1), name
    assert simulated["latency us, 90 %"] == pytest.approx(real["latency us, 90 %"], rel=0.5)
    assert 0.02 < simulated["volume, side N"] < 0.08
    for share in ("share of A", "share of C", "share of M"):
        assert 0.1 < simulated[share] < 0.65


def test_fills_beside_trades_resemble_a_real_future(
    tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    """A future's contracts in F over those in T lie near those of ESH4: one future beside one.

    Of a whole simulated market they don't: an eighth of its volume are prints of the legs of
    spreads, which have no fills, and the real file holds one future and nothing else.
    """
    name = "F contracts / T contracts"
    real = measure_marginals(real_data("glbx/futures/esh4-20231225-first24000.mbo.dbn.zst"))
    written = write_session(small_world(), 7, session(), tmp_path)
    future = Simulation(small_world(), 7, session()).chain[0].instrument_id
    simulated = measure_marginals(written.path, instrument_id=future)
    assert simulated[name] == pytest.approx(real[name], rel=0.06)


@pytest.mark.parametrize("seed", [7, 8])
def test_each_contract_that_is_no_print_has_its_fills(seed: int) -> None:
    """Without prints of legs, F over T is the two F of an auction less what the tape loses."""
    records = list(read_records(stream(small_world(), seed)))
    trades = sum(record[4] for record in records if record[6] == "T" and not record[5] & 128)
    filled = sum(record[4] for record in records if record[6] == "F")
    assert filled / trades == pytest.approx(1.0, abs=0.015)
