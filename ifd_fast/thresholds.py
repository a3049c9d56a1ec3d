"""One sealed session judged by many sets of thresholds, at about the price of one.

Evidence is weighed once for all profiles that share `min_volume_concentration`; each profile then
judges the rows of evidence. What comes out is what `rescoring.score_sealed` finds by each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ifd_fast.errors import UsageError
from ifd_fast.rescoring import Walk, mend_score
from ifd_fast.scores import allocate_score, bury_slots, take_signals
from ifd_fast.sealing import BURIED, OPENED
from ifd_fast.signals import SIGNAL_SCHEMA, build_signals
from ifd_kernels.rescoring import FOR_EVIDENCE
from ifd_kernels.score_state import ROWS
from ifd_kernels.thresholds import judge_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.calendar import Sessions
    from ifd_fast.profiles import Profile
    from ifd_fast.rescoring import SealedSession

__all__ = ["score_many"]

_LOG_CAPACITY = 16  # no flow is noted by who only judges


def score_many(
    sealed: SealedSession,
    arrays: Arrays | None,
    profiles: Sequence[Profile],
    sessions: Sessions,
) -> list[pl.DataFrame]:
    """Return the session's signals by each profile, frames of SIGNAL_SCHEMA.

    Raises
    ------
    UsageError
        The profiles have different `lookback_days`: their baselines would be others.
    """
    if len({profile.lookback_days for profile in profiles}) > 1:
        raise UsageError("`lookback_days` must be the same in all profiles: baselines go by it.")
    groups: dict[float, list[int]] = {}
    for number, profile in enumerate(profiles):
        groups.setdefault(profile.min_volume_concentration, []).append(number)
    found: dict[int, pl.DataFrame] = {}
    for numbers in groups.values():
        judged = _judge_all(sealed, arrays, [profiles[number] for number in numbers], sessions)
        found |= dict(zip(numbers, judged, strict=True))
    return [found[number] for number in range(len(profiles))]


def _judge_all(
    sealed: SealedSession, arrays: Arrays | None, profiles: list[Profile], sessions: Sessions
) -> list[pl.DataFrame]:
    """Weigh once, judge by each profile."""
    walk = Walk(sealed, arrays, profiles[0], FOR_EVIDENCE)
    judges = [_Judge(profile, walk, sessions) for profile in profiles]
    for _ in walk.steps():
        count = int(walk.score.cursor[ROWS])
        rows = walk.score.signals[:count].copy()
        walk.score.cursor[ROWS] = 0
        for judge in judges:
            judge.take(rows)
            judge.apply()
    return [judge.found() for judge in judges]


class _Judge:
    """One profile's thresholds, and the episodes it follows through a session."""

    def __init__(self, profile: Profile, walk: Walk, sessions: Sessions) -> None:
        self._walk, self._sessions = walk, sessions
        self._rules_digest = profile.rules_digest
        self._score = allocate_score(profile, walk.slots, _LOG_CAPACITY)
        self._frames = [pl.DataFrame(schema=SIGNAL_SCHEMA)]

    def take(self, rows: NDArray[np.void]) -> None:
        """Judge rows of evidence, by the names that hold now."""
        if not len(rows):
            return
        taken = np.zeros(1, np.int64)
        while status := judge_log(self._score, rows, taken):
            self._score = mend_score(self._score, int(status))
        signals = take_signals(self._score)
        if len(signals):
            names = self._walk.names
            self._frames.append(build_signals(signals, names, self._sessions, self._rules_digest))

    def apply(self) -> None:
        """Do what the change that the walk is about to apply means for episodes."""
        change = self._walk.change
        kind = change.get("kind")
        if kind == OPENED:
            self._score = self._walk.begin(self._score, int(change["observed_from_ns"]))
        elif kind == BURIED:
            slots, grave = np.array(change["buried"], np.int64), int(change["grave"])
            bury_slots(self._score, slots, grave)

    def found(self) -> pl.DataFrame:
        """Return all signals."""
        return pl.concat(self._frames)
