"""Sealing at the kernel's border: which marks are logged, held against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast import scores
from ifd_fast.profiles import Profile
from ifd_kernels.layout import (
    IDENTITY,
    KIND_CALL,
    KIND_PUT,
    MARK_BAD_BOOK,
    MARK_HALTED,
    MARK_LATE,
    NEED_SIGNALS,
    SECOND_NS,
    TOUCH,
    TOUCH_SUSPECT,
)
from ifd_kernels.score_state import DIRTY, ROWS, SEALS
from ifd_kernels.scoring import marks_of, note_flow, score_instant
from tests.oracle import sealing as oracle

pytestmark = pytest.mark.jit
OPEN_S = 1_700_000_100
SLOTS = 4
TWINS = {0: 1, 1: 0, 2: 3, 3: 2}

STEPS = st.lists(
    st.tuples(
        st.integers(1, 400),  # seconds since the step before
        st.lists(st.integers(0, SLOTS - 1), unique=True, max_size=SLOTS),
        st.dictionaries(st.integers(0, SLOTS - 1), st.sampled_from([0, MARK_LATE, 6]), max_size=2),
    ),
    max_size=12,
)


def market(signals: int = 16) -> tuple[Any, Any, Any]:
    """Return a scorer at its open, two strikes with both legs, and their touches."""
    identities = np.zeros(SLOTS, IDENTITY)
    identities["kind"] = [KIND_CALL, KIND_PUT] * 2
    identities["mapped"], identities["twin_slot"] = 1, [TWINS[slot] for slot in range(SLOTS)]
    score = scores.allocate_score(Profile(), SLOTS, 64, signals)
    score = scores.begin_session(score, OPEN_S * SECOND_NS, np.linspace(0, 1, 277))
    scores.set_expected(score, scores.unknown_expected(SLOTS), identities)
    score.cursor[SEALS] = 1
    return score, identities, np.zeros(SLOTS, TOUCH)


@given(STEPS)
@settings(max_examples=60)
def test_marks_are_logged_where_facts_changed(
    steps: list[tuple[int, list[int], dict[int, int]]],
) -> None:
    """Row by row as the oracle says, in any order within an instant; grown when it is full."""
    score, identities, touch = market(2)
    held: dict[int, int] = {}
    asked: list[tuple[int, list[int], dict[int, int]]] = []
    now_s = OPEN_S
    for ahead_s, traded, marks in steps:
        last_s, now_s = now_s, now_s + ahead_s
        # Time is passed second by second, as live: what ages in between ages at its own second.
        for second in range(last_s + 1, now_s):
            score = seal(score, second, identities, touch)
            asked.append((second, [], dict(held)))
        held |= marks
        for slot, mark in held.items():
            score.marks[slot] = mark
        for slot in traded:
            handed = (now_s - 1, now_s * SECOND_NS, 0, 1, 0, 0)
            assert note_flow(score, identities, slot, *handed) == 0
        score = seal(score, now_s, identities, touch)
        asked.append((now_s, traded, dict(held)))
    rows = score.signals[: int(score.cursor[ROWS])]
    found = sorted(zip((rows["instant_ns"] // SECOND_NS).tolist(), rows["slot"].tolist(),
                       rows["marks"].tolist(), strict=True))  # fmt: skip
    assert found == sorted(oracle.seal_instants(asked, TWINS))
    assert score.cursor[DIRTY] == 0


def seal(score: Any, second: int, identities: Any, touch: Any) -> Any:
    """Seal an instant, growing what is full; return the state."""
    while status := score_instant(score, second * SECOND_NS, identities, touch):
        assert status == NEED_SIGNALS
        score = scores.grow_score(score, int(status))
    return score


def test_marks_are_the_engines_the_books_and_the_exchanges() -> None:
    """Each of the three adds its own."""
    score, identities, touch = market()
    score.marks[2] = MARK_LATE
    assert marks_of(score, 2, identities, touch) == MARK_LATE
    touch[2]["state"] = TOUCH_SUSPECT
    identities[2]["halted"] = 1
    expected = MARK_LATE | MARK_BAD_BOOK | MARK_HALTED
    assert marks_of(score, 2, identities, touch) == expected
    assert marks_of(score, 0, identities, touch) == 0
