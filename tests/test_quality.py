"""Quality: marks and grade of every window of random streams, against the rules by pane.

Method: streams in which books cross, halt, turn suspect, are rebuilt or lag go through the engine
as bytes, status records among them; each row's marks, and behind the border its grade, must be
what slow passes over the list of records find.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies_quality import PACES, by_rules, marked_streams, play_graded, play_marked

Event = dict[str, Any]


@given(marked_streams(), st.sampled_from(PACES))
def test_marks_are_those_of_the_rules(stream: list[Event], settings: dict[str, int]) -> None:
    """Windows and facts have the marks that the rules give them, whatever the settings."""
    assert play_marked(stream, settings) == by_rules(stream, settings, graded=False)


@given(marked_streams(), st.sampled_from(PACES))
def test_grades_are_those_of_the_rules(stream: list[Event], settings: dict[str, int]) -> None:
    """Behind the border each has the worst grade that applies, for those not mapped too."""
    assert play_graded(stream, settings) == by_rules(stream, settings, graded=True)
