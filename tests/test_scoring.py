"""The scorer against its oracle, and the laws every scorer has to keep (design §7, rules 1 to 4).

Method: sessions of runs and pauses go through the kernels and through the oracle, which answers
from the list of all flow; integers are compared exactly, floats to one tolerance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast import scores
from ifd_fast.profiles import Profile
from ifd_fast.ranking import Ranking, make_limits, normal_ranks
from ifd_kernels.layout import IDENTITY, NEED_SIGNALS, NEED_VOTES, TOUCH, UNDEF_PRICE
from ifd_kernels.score_state import Score
from ifd_kernels.scoring import note_flow, score_instant
from ifd_kernels.signals import EXPECTED, LIMITS, PROFILE
from tests.oracle import scoring as oracle
from tests.strategies_scoring import OPEN_NS, SECOND_NS, WEIGHTS, Session, sessions

# Kernel and oracle add the same terms in another order; a thousand roundings stay below it.
TOLERANCE = 1e-9


def identities_of(session: Session) -> NDArray[np.void]:
    """Return IDENTITY of the session's slots."""
    rows = np.zeros(len(session.slots), IDENTITY)
    for row, slot in zip(rows, session.slots, strict=True):
        for name in ("instrument_id", "kind", "mapped", "retired"):
            row[name] = slot[name]
        row["strike_1e9"] = slot["strike"] * 10**9
        row["twin_slot"] = -1 if slot["twin"] is None else slot["twin"]
    return rows


def touch_of(mids: list[int | None]) -> NDArray[np.void]:
    """Return TOUCH whose bid + ask is twice each mid, without quotes where it is None."""
    rows = np.zeros(len(mids), TOUCH)
    rows["changes"] = 1
    for row, mid in zip(rows, mids, strict=True):
        row["bid_price_1e9"] = UNDEF_PRICE if mid is None else mid - 1
        row["ask_price_1e9"] = UNDEF_PRICE if mid is None else mid + 1
    return rows


def expected_of(rows: list[dict[str, Any]]) -> NDArray[np.void]:
    """Return EXPECTED of the oracle's expectations."""
    expected = np.zeros(len(rows), EXPECTED)
    for place, row in zip(expected, rows, strict=True):
        for name, value in row.items():
            place[name] = value
    return expected


def profile_of(values: dict[str, Any]) -> NDArray[np.void]:
    """Return PROFILE (1,) of the oracle's profile."""
    row = np.zeros(1, PROFILE)
    for name, value in values.items():
        row[name] = value
    return row


def start(session: Session, slots: int, log: int = 4096, rows: int = 64) -> Score:
    """Return a scorer at the session's open."""
    score = scores.allocate_score(Profile(), slots, log, rows)
    score = score._replace(profile=profile_of(session.profile))
    season = np.array(session.season)
    return scores.begin_session(score, OPEN_NS, season, ranking=ranking_of(session))


def ranking_of(session: Session) -> Ranking:
    """Return the session's tables and limits as the border takes them."""
    limits = np.zeros(1, LIMITS)
    for name, value in session.limits.items():
        limits[name] = value
    return Ranking(session.tables, limits)


def run(session: Session, slots: int | None = None, log: int = 4096, rows: int = 64) -> Any:
    """Run the kernels over the session; mend whatever they stop at."""
    count = len(session.slots)
    identities, expected = identities_of(session), expected_of(session.expected)
    score = start(session, count if slots is None else slots, log, rows)
    score = scores.add_slots(score, count)
    scores.set_expected(score, expected, identities)
    score.marks[:count] = [slot["marks"] for slot in session.slots]
    for instant_ns, flows, mids in session.steps:
        touch = touch_of(mids)
        for flow in flows:
            given_flow = (flow["slot"], flow["second"], instant_ns, *flow["bid"], *flow["ask"])
            while status := note_flow(score, identities, *given_flow):
                assert status == NEED_VOTES
                score = scores.grow_score(score, status)
        while status := score_instant(score, instant_ns, identities, touch):
            assert status in (NEED_SIGNALS, NEED_VOTES)
            score = scores.grow_score(score, status)
    return scores.take_signals(score)


def mirrored_quantiles(quantiles: list[float]) -> list[float]:
    """Return the mirrored history's quantiles; its 95 and 99 aren't known, nor used."""
    lower = [-q for q in reversed(quantiles[:5])]
    return [*lower, lower[-1], lower[-1]]


def mirrored(session: Session) -> Session:
    """Return the session with buying and selling swapped and prices negated."""
    expected = [
        row
        | {
            "log_ratio_mean": -row["log_ratio_mean"],
            "log_ratio_quantiles": mirrored_quantiles(row["log_ratio_quantiles"]),
        }
        for row in session.expected
    ]
    steps = [
        (
            instant_ns,
            [flow | {"bid": flow["ask"], "ask": flow["bid"]} for flow in flows],
            [None if mid is None else -mid for mid in mids],
        )
        for instant_ns, flows, mids in session.steps
    ]
    return session._replace(expected=expected, steps=steps)


@given(sessions())
@settings(max_examples=60)
def test_kernels_equal_the_oracle(session: Session) -> None:
    """Every signal, with every field the oracle knows, comes from both."""
    scorer = oracle.Scorer(
        session.slots, session.expected, session.season, OPEN_NS, session.profile,
        session.tables, session.limits,
    )  # fmt: skip
    expected = [row for step in session.steps for row in scorer.instant(*step)]
    actual = run(session)
    assert len(actual) == len(expected)
    for row, wanted in zip(actual, expected, strict=True):
        for name, value in wanted.items():
            assert row[name] == pytest.approx(value, rel=TOLERANCE, abs=1e-300), name


@given(sessions())
@settings(max_examples=60)
def test_growth_changes_nothing(session: Session) -> None:
    """A log of one entry, two rows and no slot at first give the same signals."""
    expected = run(session)
    actual = run(session, slots=0, log=1, rows=2)
    assert actual.tobytes() == expected.tobytes()


@given(sessions())
@settings(max_examples=60)
def test_mirrored_sessions_give_mirrored_signals_exactly(session: Session) -> None:
    """Swapping buying and selling swaps the columns and signs, to the last bit."""
    check_mirrored(session)


def test_a_history_of_equal_ratios_mirrors_exactly() -> None:
    """Flow older than 300 s leaves the ratio at a median that all quantiles are equal to."""
    session = plain_session(cooldown_ns=0)
    tied = session.expected[0] | {"log_ratio_quantiles": [0.0] * 7}
    session = session._replace(expected=[tied, tied])
    session = quiet(session, (20, bought(0, at(20), 12)), (380, []))
    assert run(session)["percentile_rank"].tolist() == [100.0, 50.0]
    check_mirrored(session)


def check_mirrored(session: Session) -> None:
    """Hold the mirrored session's signals against the session's."""
    expected, actual = run(session), run(mirrored(session))
    order = np.lexsort((actual["side"], actual["instrument_id"], actual["instant_ns"]))
    actual = actual[order]
    assert len(actual) == len(expected)
    swaps = [("bid_volume", "ask_volume"), ("bid_votes", "ask_votes")]
    for one, other in swaps:
        assert (actual[one] == expected[other]).all()
        assert (actual[other] == expected[one]).all()
    for name in ("side", "delta_sign", "dominant_side", "zscore"):
        assert (actual[name] == -expected[name]).all()
    ranks, wanted = actual["percentile_rank"], expected["percentile_rank"]
    assert ((ranks == 100 - wanted) | (wanted == 100 - ranks)).all()  # one of them was subtracted
    swapped = {"side", "delta_sign", "dominant_side", "zscore", "percentile_rank"}
    swapped |= {"pressure_ratio", "baseline_ratio", *swaps[0], *swaps[1]}
    for name in actual.dtype.names:
        if name not in swapped:
            assert (actual[name] == expected[name]).all(), name


@given(sessions(), st.integers(0, 8))
@settings(max_examples=40)
def test_what_comes_later_changes_nothing_before_it(session: Session, steps: int) -> None:
    """A session cut after some instants gives the signals of those instants."""
    whole = run(session)
    part = run(session._replace(steps=session.steps[:steps]))
    last_ns = max((step[0] for step in session.steps[:steps]), default=-1)
    expected = whole[whole["instant_ns"] <= last_ns]
    assert part.tobytes() == expected.tobytes()


def plain_session(**profile: float) -> Session:
    """Return a session of one call and its put with a usual history, and no flow yet."""
    history = {
        "votes_1": 60.0,
        "votes_10": 150.0,
        "log_ratio_mean": 0.0,
        "log_ratio_sd": 1.0,
        "log_ratio_quantiles": [-1.3, -0.7, 0.0, 0.7, 1.3, 1.6, 2.3],
        "sessions": 20.0,
        "cell": 0,
    }
    leg = {"mapped": 1, "retired": 0, "marks": 0}
    row = scores.profile_row(Profile())
    asked = {name: row[name][0].item() for name in row.dtype.names or ()}
    row = make_limits(ready=True, sessions=20.0, line=(7.0, 0.9), calibration=WEIGHTS)[0]
    return Session(
        slots=[
            leg | {"instrument_id": 7, "kind": 1, "twin": 1, "strike": 100},
            leg | {"instrument_id": 8, "kind": 2, "twin": 0, "strike": 100},
        ],
        expected=[history, history],
        season=[n / 276 for n in range(277)],
        profile=asked | profile,
        tables=normal_ranks(),
        limits={name: row[name] for name in row.dtype.names or ()},
        steps=[],
    )


def bought(slot: int, now_ns: int, seconds: int, size: int = 1, sold: int = 0) -> list[Any]:
    """Return flow of `size` contracts bought (and `sold`) in each of the seconds before now."""
    return [
        {
            "slot": slot,
            "second": now_ns // SECOND_NS - back,
            "instant_ns": now_ns,
            "bid": (0, sold),
            "ask": (0, size),
        }
        for back in range(1, seconds + 1)
    ]


def quiet(session: Session, *steps: tuple[int, list[Any]]) -> Session:
    """Return the session with these steps, given as seconds after noon, and no quotes."""
    noon_ns = OPEN_NS + 40_000 * SECOND_NS
    done: list[Any] = []
    for after_s, flows in steps:
        moved = [
            flow
            | {
                "second": flow["second"] + noon_ns // SECOND_NS,
                "instant_ns": flow["instant_ns"] + noon_ns,
            }
            for flow in flows
        ]
        done.append((noon_ns + after_s * SECOND_NS, moved, [None] * len(session.slots)))
    return session._replace(steps=done)


def at(after_s: int) -> int:
    """Return that many seconds in ns."""
    return after_s * SECOND_NS


def test_a_run_is_found_on_its_side_and_its_strike_only() -> None:
    """Twelve seconds of buying in a quiet call are one alert: that call, that side, once."""
    session = quiet(plain_session(), (20, bought(0, at(20), 12)), (40, bought(0, at(40), 6)))
    (row,) = run(session)
    assert (row["instrument_id"], row["side"], row["alert"], row["opens"]) == (7, 1, 1, 7)
    assert (row["votes_for"], row["ask_volume"], row["delta_sign"]) == (12, 12, 1)


def test_a_straddle_in_step_is_no_signal() -> None:
    """The same flow in call and put within the same seconds is dropped in both."""
    legs = bought(0, at(20), 14) + bought(1, at(20), 14)
    assert len(run(quiet(plain_session(), (20, legs)))) == 0
    apart = quiet(plain_session(), (20, bought(0, at(20), 14)), (60, bought(1, at(60), 14)))
    assert len(run(apart)) == 2


def test_a_late_leg_takes_back_what_was_counted() -> None:
    """A leg handed over an instant later still pairs with its second."""
    late = [flow | {"instant_ns": at(21)} for flow in bought(1, at(20), 14)]
    strict = plain_session(cooldown_ns=0)
    rows = run(quiet(strict, (20, bought(0, at(20), 14)), (21, late), (40, bought(0, at(40), 9))))
    assert [row["votes_for"] for row in rows] == [14, 9]


@pytest.mark.parametrize(("later_mids", "crush"), [([80, 90], 1), ([80, 110], 0)])
def test_legs_that_fall_while_sold_are_a_volatility_crush(
    later_mids: list[int | None], crush: int
) -> None:
    """Call sold, then put sold, both mids lower than five marks ago: said of the second leg."""
    sold = [
        [flow | {"bid": flow["ask"], "ask": (0, 0)} for flow in bought(slot, at(now), 12)]
        for slot, now in ((0, 420), (1, 440))
    ]
    session = quiet(plain_session(), (0, []), (300, []), (420, sold[0]), (440, sold[1]))
    quotes: list[list[int | None]] = [[100, 100], [100, 100], [80, 100], later_mids]
    steps = [(*step[:2], mids) for step, mids in zip(session.steps, quotes, strict=True)]
    call, put = run(session._replace(steps=steps))
    assert (call["side"], call["crush"], put["side"], put["crush"]) == (-1, 0, -1, crush)
    assert put["final_confidence"] <= call["final_confidence"]


@given(st.integers(8, 14), st.integers(0, 3), st.sampled_from([1, 3, 12]), st.integers(1, 10))
@settings(max_examples=40)
def test_more_one_sided_flow_never_lowers_confidence(
    seconds: int, sold: int, size: int, more: int
) -> None:
    """Seconds of buying on top of a signal leave a signal at least as confident."""
    lenient = plain_session(min_volume_concentration=0.0, market_making_penalty=1.0)
    flow = bought(0, at(60), seconds, size, sold)
    before = run(quiet(lenient, (60, flow)))
    on_top = bought(0, at(60), seconds + more, size)[seconds:]
    after = run(quiet(lenient, (60, flow + on_top)))
    for row in before[before["side"] == 1]:
        (grown,) = after[after["side"] == 1]
        assert grown["final_confidence"] >= row["final_confidence"] * (1 - TOLERANCE)


@given(st.data())
@settings(max_examples=60)
def test_no_input_gives_nan_or_infinity(data: st.DataObject) -> None:
    """Any history, even of NaN and infinities, and any contracts leave finite signals."""
    wild = st.floats(allow_nan=True, allow_infinity=True)
    expected = np.zeros(2, EXPECTED)
    for name in ("votes_1", "votes_10", "log_ratio_mean", "log_ratio_sd", "sessions"):
        expected[name] = data.draw(wild)
    expected["log_ratio_quantiles"] = data.draw(st.lists(wild, min_size=7, max_size=7))
    size = data.draw(st.sampled_from([1, 2**32, 2**53]))
    session = quiet(plain_session(), (20, bought(0, at(20), 14, size)))
    rows = [{name: row[name] for name in EXPECTED.names or ()} for row in expected]
    signals = run(session._replace(expected=rows))
    one = scores.score_one(
        profile_of(session.profile), expected[:1], bid_volume=0, ask_volume=size, trades=9, kind=1
    )
    for row in (*signals, one[0]):
        for name in row.dtype.names:
            assert np.isfinite(row[name]), name
        assert 0 < row["final_confidence"] < 1


def test_the_border_refuses_what_the_kernels_cannot_take() -> None:
    """Wrong capacities, seasons and counts are named with their value."""
    with pytest.raises(ValueError, match="power of two, was 3"):
        scores.allocate_score(Profile(), 4, log_capacity=3)
    with pytest.raises(ValueError, match="at least 2, was 1"):
        scores.allocate_score(Profile(), 4, signals_capacity=1)
    score = scores.allocate_score(Profile(), 4)
    with pytest.raises(ValueError, match="never falling"):
        scores.begin_session(score, 0, np.array([0.0, 0.5, 0.4]))
    with pytest.raises(ValueError, match="`trades`"):
        scores.score_one(
            scores.profile_row(Profile()),
            scores.unknown_expected(1),
            bid_volume=1, ask_volume=1, trades=-1, kind=1,
        )  # fmt: skip
