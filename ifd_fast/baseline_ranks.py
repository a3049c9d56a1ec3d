"""Ranks from the store: past sessions scored again from their hand-overs, against given estimates.

What comes out is a function of the store's content and the estimates alone, so live, replay and
batch agree. Two walks over each session: residuals at minutes fill the tables; with the tables
of other sessions, episodes at every instant give the line of false alerts. Sessions are
independent: two at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.baseline_join import join_slots
from ifd_fast.handovers import allocate_tally, rescore
from ifd_fast.profiles import Profile
from ifd_fast.rank_tables import fill_tables, fit_line
from ifd_fast.ranking import UNKNOWN_GRAIN_SHARES, Ranking, make_limits, normal_ranks
from ifd_fast.scores import allocate_score, begin_session, set_expected
from ifd_kernels.evidence import GRAIN_S
from ifd_kernels.layout import IDENTITY, KIND_CALL, KIND_FUTURE, KIND_PUT, UNDEF_PRICE
from ifd_kernels.ranks import LEVELS
from ifd_kernels.rescoring import FOR_EPISODES, FOR_SAMPLES, HANDOVER
from ifd_kernels.scoring import EXPECTED
from ifd_kernels.weighing import POOL_CONCENTRATION

if TYPE_CHECKING:
    import datetime as dt

    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_kernels.ranks import Tally
    from ifd_kernels.score_state import Score

__all__ = [
    "PastSession",
    "build_ranking",
    "list_identities",
    "pack_rows",
    "rank_sessions",
    "stand_at_open",
]

LEAST_SESSIONS: Final = 2
FOLDS: Final = 5
LEAST_GRAIN_VOTES: Final = 100  # of channel A, from which the share of channel B is counted
_WORKERS: Final = 2
_KINDS: Final = {"C": KIND_CALL, "P": KIND_PUT}


@dataclass(frozen=True)
class PastSession:
    """One session as it is scored again: slots, what they handed over, and when it was seen."""

    open_ns: int
    observed_from_ns: int
    observed_to_ns: int
    share: float  # of a session's usual votes, observed
    identities: NDArray[Any]
    expected: NDArray[Any]
    rows: NDArray[Any]


def build_ranking(
    connection: DuckDBPyConnection, as_of: dt.date, lookback: int, arrays: Arrays
) -> Ranking | None:
    """Return the ranking of the newest `lookback` sessions before `as_of`; None without any.

    Sessions that were ingested without hand-overs don't count.
    """
    found = connection.execute(
        """
        SELECT trade_date, open_ns, observed_from_ns, observed_to_ns FROM (
            SELECT * FROM coverage WHERE trade_date < ? ORDER BY trade_date DESC LIMIT ?)
        WHERE handovers IS NOT NULL ORDER BY trade_date
        """,
        [as_of, lookback],
    ).fetchall()
    sessions = [_read_session(connection, arrays, *row) for row in found]
    return rank_sessions(sessions, arrays.season) if sessions else None


def rank_sessions(sessions: list[PastSession], season: NDArray[np.float64]) -> Ranking:
    """Return the ranking of sessions; not ready if they are fewer than two, or too poor.

    The tables are those of all sessions. The line comes from episodes that are ranked by the
    tables of other sessions: a session that ranks its own largest residuals finds none of them
    rare, and on the study's world a line made so kept a promise of one alert with 2.2.
    """
    exposure = sum(session.share for session in sessions)
    shares = _grain_shares(sessions, season)
    blank = make_limits(ready=False, sessions=0.0, line=(0.0, 1.0), grain_shares=shares)
    unknown = Ranking(normal_ranks(), blank)
    if len(sessions) < LEAST_SESSIONS:
        return unknown
    counted = _walk(sessions, season, [unknown] * len(sessions), FOR_SAMPLES)
    tables, filled = _fill(counted)
    if filled == 0:
        return unknown
    folds = min(FOLDS, len(sessions))
    apart = [
        Ranking(_fill([one for n, one in enumerate(counted) if n % folds != fold])[0], blank)
        for fold in range(folds)
    ]
    others = [apart[n % folds] for n in range(len(sessions))]
    episodes = sum(
        (tally.episodes for tally in _walk(sessions, season, others, FOR_EPISODES)),
        start=np.zeros(LEVELS, np.int64),
    )
    line = fit_line(episodes, exposure)
    if line is None:
        return unknown
    return Ranking(
        tables, make_limits(ready=True, sessions=exposure, line=line, grain_shares=shares)
    )


def _fill(counted: list[Tally]) -> tuple[NDArray[np.float64], int]:
    """Return the tables of several sessions' counts, and how many have a tail of their own."""
    residuals, samples = counted[0].residuals.copy(), counted[0].samples.copy()
    for tally in counted[1:]:
        residuals += tally.residuals
        samples += tally.samples
    return fill_tables(residuals, samples)


def _walk(
    sessions: list[PastSession],
    season: NDArray[np.float64],
    rankings: list[Ranking],
    purpose: int,
) -> list[Tally]:
    """Score each session again by its ranking, for a purpose; return what each was counted into."""

    def one(session: PastSession, ranking: Ranking) -> Tally:
        tally = allocate_tally(len(session.identities) if purpose == FOR_EPISODES else 1)
        rescore(
            stand_at_open(session, season, ranking),
            session.identities,
            session.rows,
            first_ns=session.observed_from_ns,
            stop_ns=session.observed_to_ns,
            purpose=purpose,
            tally=tally,
        )
        return tally._replace(due_ns=np.zeros((0, 2, LEVELS), np.int64))

    with ThreadPoolExecutor(_WORKERS) as pool:  # the kernels let go of the interpreter
        return list(pool.map(one, sessions, rankings))


def stand_at_open(
    session: PastSession,
    season: NDArray[np.float64],
    ranking: Ranking | None,
    profile: Profile | None = None,
) -> Score:
    """Return a scorer at the session's open, with what was expected of it.

    Without a profile its own gates are those that every profile of the package passes, so that
    the line of false alerts doesn't depend on a profile.
    """
    asked = profile or Profile(min_volume_concentration=POOL_CONCENTRATION)
    score = allocate_score(asked, len(session.identities))
    score = begin_session(
        score,
        session.open_ns,
        season,
        observed_from_ns=session.observed_from_ns,
        ranking=ranking,
    )
    set_expected(score, session.expected, session.identities)
    return score


def _grain_shares(
    sessions: list[PastSession], season: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return the votes of channel B for one of channel A, for grains of 60, 15 and 5 s."""
    votes = np.zeros((len(GRAIN_S), 2))
    for session in sessions:
        grains = stand_at_open(session, season, None).grain_s[session.rows["slot"]]
        for place, grain_s in enumerate(GRAIN_S):
            part = session.rows[grains == grain_s]
            for volume in ("bid_volume", "ask_volume"):
                some = part[part[volume] > 0]
                slots = some["slot"].astype(np.int64) << 36
                keys = np.sort(slots + some["second"])
                slots, seconds = keys >> 36 << 36, keys & ((1 << 36) - 1)
                for column, unit_s in enumerate((1, grain_s)):
                    votes[place, column] += _distinct(slots + seconds // unit_s)
    shares = [
        float(b / a) if a >= LEAST_GRAIN_VOTES else unknown
        for (a, b), unknown in zip(votes.tolist(), UNKNOWN_GRAIN_SHARES, strict=True)
    ]
    return shares[0], shares[1], shares[2]


def _distinct(ordered: NDArray[np.int64]) -> int:
    """Return how many distinct numbers there are among ordered ones."""
    return int(np.count_nonzero(np.diff(ordered))) + min(len(ordered), 1)


def _read_session(
    connection: DuckDBPyConnection,
    arrays: Arrays,
    trade_date: dt.date,
    open_ns: int,
    observed_from_ns: int,
    observed_to_ns: int,
) -> PastSession:
    """Read one session of the store and join it to the estimates."""
    listed = connection.execute(
        """
        SELECT instrument_id, option_type, underlying, strike,
            coalesce(epoch_ns(expiration), -1) AS expiration_ns, mapped
        FROM listings WHERE trade_date = ? ORDER BY instrument_id
        """,
        [trade_date],
    ).fetchall()
    identities, symbols = list_identities(listed)
    columns = connection.execute(
        """
        SELECT epoch_ns(h.instant) AS instant_ns, h.age_s, h.bid_volume, h.ask_volume, h.moved,
            h.twin_moved, h.instrument_id
        FROM handovers AS h WHERE trade_date = ? ORDER BY h.number
        """,
        [trade_date],
    ).fetchnumpy()
    edges = np.array([observed_from_ns, observed_to_ns]) - open_ns
    seen = np.interp(edges / 300e9, np.arange(len(arrays.season)), arrays.season)
    return PastSession(
        open_ns,
        observed_from_ns,
        observed_to_ns,
        share=float(seen[1] - seen[0]),
        identities=identities,
        expected=join_slots(arrays, identities, len(identities), open_ns, symbols=symbols)
        if len(identities)
        else np.zeros(0, EXPECTED),
        rows=pack_rows(columns, identities),
    )


def list_identities(listed: list[tuple[Any, ...]]) -> tuple[NDArray[Any], dict[int, str]]:
    """Return IDENTITY of listed instruments and their underlyings, and the underlyings' symbols.

    `listed`: (instrument_id, option_type, underlying, strike, expiration_ns, mapped), sorted by
    instrument_id. Each underlying gets a slot of its own behind them.
    """
    names = sorted({row[2] for row in listed if row[1] in _KINDS and row[2]})
    place = {name: len(listed) + number for number, name in enumerate(names)}
    identities = np.zeros(len(listed) + len(names), IDENTITY)
    identities["strike_1e9"], identities["expiration_ns"] = UNDEF_PRICE, -1
    identities["underlying_slot"], identities["twin_slot"] = -1, -1
    identities["kind"][len(listed) :] = KIND_FUTURE
    legs: dict[tuple[Any, ...], int] = {}
    for slot, (number, kind, underlying, strike, expiration_ns, mapped) in enumerate(listed):
        row = identities[slot]
        row["instrument_id"] = number
        if kind not in _KINDS or strike is None or not mapped:
            continue
        row["kind"], row["mapped"] = _KINDS[kind], 1
        row["strike_1e9"] = round(strike * 1e9)
        row["expiration_ns"] = expiration_ns
        row["underlying_slot"] = place.get(underlying, -1)
        key = (underlying, expiration_ns, strike)
        twin = legs.get((*key, "P" if kind == "C" else "C"), -1)
        legs[(*key, kind)] = slot
        row["twin_slot"] = twin
        if twin >= 0:
            identities[twin]["twin_slot"] = slot
    return identities, {slot: name for name, slot in place.items()}


def pack_rows(columns: dict[str, NDArray[Any]], identities: NDArray[Any]) -> NDArray[Any]:
    """Return hand-overs as HANDOVER, each with its slot; of unlisted instruments none."""
    ids = identities["instrument_id"][: int((identities["kind"] != KIND_FUTURE).sum())]
    known = np.isin(columns["instrument_id"], ids)
    part = {name: np.asarray(values)[known] for name, values in columns.items()}
    rows = np.zeros(int(known.sum()), HANDOVER)
    for name in ("instant_ns", "bid_volume", "ask_volume", "moved", "twin_moved"):
        rows[name] = part[name]
    rows["second"] = part["instant_ns"] // 1_000_000_000 - part["age_s"]
    rows["slot"] = np.searchsorted(ids, part["instrument_id"])
    return rows
