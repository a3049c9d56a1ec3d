"""Slots get the narrowest cell that has history, by one rule for all and for one."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast.baseline_estimates import Arrays
from ifd_fast.baselines import join_slot, join_slots
from ifd_kernels.layout import IDENTITY, KIND_CALL, KIND_FUTURE, KIND_PUT, UNDEF_PRICE
from ifd_kernels.signals import (
    CELL_DTE,
    CELL_MONEYNESS,
    CELL_NONE,
    CELL_STRIKE,
    CELL_TYPE,
    EXPECTED,
)
from tests.oracle import baselines as oracle
from tests.strategies_baselines import FIRST_DAY, histories, make_session, open_ns
from tests.test_baselines import CALL, EXPIRATION, LEVELS, build, by_key

DAY_NS = 86_400 * 10**9
AS_OF = FIRST_DAY + dt.timedelta(days=5)
SYMBOLS = ["NQH6", "NQM6", "NQU6"]


def identities_of(options: list[dict[str, Any]]) -> Any:
    """Return the three futures in slots 0 to 2, and the options behind them."""
    identities = np.zeros(3 + len(options), IDENTITY)
    identities["strike_1e9"], identities["expiration_ns"] = UNDEF_PRICE, -1
    identities["underlying_slot"], identities["twin_slot"] = -1, -1
    identities["instrument_id"][:3] = [1, 2, 3]
    identities["kind"][:3] = KIND_FUTURE
    identities["mapped"] = 1
    for slot, option in enumerate(options, 3):
        identities[slot]["kind"] = KIND_CALL if option["option_type"] == "C" else KIND_PUT
        identities[slot]["strike_1e9"] = round(option["strike"] * 1e9)
        identities[slot]["expiration_ns"] = option["expiration"]
        identities[slot]["underlying_slot"] = SYMBOLS.index(option["underlying"])
    return identities


def wanted(cells: dict[Any, Any], arrays: Arrays, option: dict[str, Any], mid: float) -> Any:
    """Return the cell the rules name: the narrowest key that exists."""
    if not mid > 0:
        names = [bytes(name).decode() for name in arrays.underlyings["symbol"]]
        known = option["underlying"] in names
        mid = arrays.underlyings["last_price"][names.index(option["underlying"])] if known else 0
    keys = oracle.keys_of(option, AS_OF, mid if mid > 0 else None)
    return next((cells[key] for key in keys if key in cells), None)


OPTIONS = st.fixed_dictionaries({
    "underlying": st.sampled_from(SYMBOLS),
    "strike": st.sampled_from([19_000.0, 19_950.0, 20_000.0, 20_000.125, 20_050.0, 23_000.0]),
    "expiration": st.sampled_from([0, 1, 3, 8, 30, 90]).map(
        lambda days: open_ns(AS_OF) + 22 * 3_600 * 10**9 + days * DAY_NS
    ),
    "option_type": st.sampled_from("CP"),
})  # fmt: skip
MIDS = st.lists(st.sampled_from([np.nan, 0.0, 19_900.0, 20_300.0]), min_size=3, max_size=3)


@given(histories(3), st.lists(OPTIONS, max_size=8), MIDS)
@settings(max_examples=30)
def test_each_slot_gets_its_narrowest_cell(
    sessions: list[dict[str, Any]], options: list[dict[str, Any]], mids: list[float]
) -> None:
    """Every slot's expectation is the cell that the rules name, alone and among all."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = build(Path(folder), sessions, AS_OF)
    identities, cells = identities_of(options), by_key(arrays)
    prices = np.array(mids)
    begin = open_ns(AS_OF)
    actual = join_slots(arrays, identities, len(identities), begin, prices, symbols=SYMBOLS)
    assert actual.dtype == EXPECTED
    assert (actual["cell"][:3] == CELL_NONE).all()
    for slot, option in enumerate(options, 3):
        expected = wanted(cells, arrays, option, mids[SYMBOLS.index(option["underlying"])])
        alone = join_slot(arrays, identities, slot, begin, prices, symbols=SYMBOLS)
        assert alone[0].tobytes() == actual[slot].tobytes()
        if expected is None:
            assert actual[slot]["cell"] == CELL_NONE
            assert actual[slot]["votes_1"] == 0
            continue
        assert LEVELS[actual[slot]["cell"]] == LEVELS[expected["level"]]
        for name in ("votes_1", "votes_10", "log_ratio_mean", "log_ratio_sd", "sessions"):
            assert actual[slot][name] == expected[name]
        assert np.array_equal(actual[slot]["log_ratio_quantiles"], expected["log_ratio_quantiles"])


@pytest.fixture
def arrays(tmp_path: Path) -> Arrays:
    """Return arrays of one listed call, and of its future."""
    trade = {"option": 0, "bin": 3, "bid": 5, "ask": 2, "mid": 20_010.0, "quality": "A"}
    future = {**CALL, "option_type": "F", "strike": None, "symbol": "NQH6", "instrument_id": 1}
    return build(tmp_path, [make_session(FIRST_DAY, [CALL, future], [trade])], AS_OF)


def test_each_level_is_reached(arrays: Arrays) -> None:
    """A known strike, one of its class, one of its expiry class, one of its type, a put."""
    far = {**CALL, "expiration": EXPIRATION + 90 * DAY_NS}
    options = [
        CALL,
        {**CALL, "strike": 20_001.0},
        {**CALL, "strike": 23_000.0},
        far,
        {**CALL, "option_type": "P"},
    ]
    expected = [CELL_STRIKE, CELL_MONEYNESS, CELL_DTE, CELL_TYPE, CELL_NONE]
    identities = identities_of(options)
    actual = join_slots(arrays, identities, len(identities), open_ns(AS_OF), symbols=SYMBOLS)
    assert actual["cell"][3:].tolist() == expected
    by_id = join_slots(arrays, identities, len(identities), open_ns(AS_OF))
    assert by_id.tobytes() == actual.tobytes()


def test_anonymous_slots_expect_nothing(arrays: Arrays) -> None:
    """A slot without identity, or an option without a strike, has no history."""
    identities = identities_of([CALL, CALL])
    identities[3]["mapped"] = 0
    identities[4]["strike_1e9"] = UNDEF_PRICE
    actual = join_slots(arrays, identities, len(identities), open_ns(AS_OF), symbols=SYMBOLS)
    assert (actual["cell"] == CELL_NONE).all()


def test_an_unknown_underlying_leaves_the_type(arrays: Arrays) -> None:
    """A future that history has never seen leaves only the cell pooled over all."""
    identities = identities_of([{**CALL, "underlying": "NQU6"}])
    actual = join_slots(arrays, identities, len(identities), open_ns(AS_OF), symbols=SYMBOLS)
    assert actual["cell"][3] == CELL_TYPE
