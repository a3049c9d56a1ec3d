"""The page parses, asks nobody for anything, and escapes what it is given."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from ifd_fast.evaluation_page import render_page
from ifd_fast.evaluation_tables import number_table, print_document, recall_rows
from ifd_fast.plots import Series, draw_bars, draw_lines
from tests.test_scoreboard import document_of

VOID = {"meta", "br", "hr", "img", "input", "link"}
EVIL = '<script>alert("x")</script>&'


def whole_document(world: str = "w") -> dict[str, Any]:
    """Return a document with all that the page shows."""
    numbers = {"what": EVIL, "reach": "≥ 1", "measured": "2", "interval": "", "count": 3}
    suite = {
        "name": EVIL, "false_alerts": 0.5, "interval": [0.1, 0.9], "recall": {"thin": None},
        "grades": "A 3", "met": True, "limit": 2.0, "power": 0.99, "sessions": {"null": 40},
    }  # fmt: skip
    return document_of(
        world=world,
        world_digest="d" * 64,
        seed=1,
        profile="p",
        config_digest="c" * 64,
        code_digest="0.1+abc",
        date="2026-01-05",
        command=f"ifd evaluate {EVIL}",
        sessions={"planted": 2, "power": 0, "null": 3},
        numbers=[{**numbers, "met": met} for met in (True, False, None)],
        columns=[{"name": EVIL, "threshold": None, "false_alerts": 1.0, "recall": 0.5}],
        stress=[suite],
        worlds=[suite],
        pooled={
            "worlds": 1,
            "null_sessions": 40,
            "false_alerts": 0.5,
            "interval": [0.1, 0.9],
            "exceed": 0,
            "exceed_surely": 0,
            "limit": 1.5,
            "met": True,
        },
        unfinished=[EVIL],
    )


class Checker(HTMLParser):
    """Keeps the open tags, and everything that could reach outside or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, and each attribute that loads, links or runs."""
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "action", "style"} or name[:2] == "on":
                self.outside.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that must be open."""
        assert self.open.pop() == tag


def test_page_is_whole_and_alone() -> None:
    """Tags close in order; nothing loads, links or runs; the policy allows the style alone."""
    page = render_page(whole_document())
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.outside == []
    assert not {"script", "link", "iframe", "object", "img", "base"} & set(checker.tags)
    assert "://" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_texts_are_escaped() -> None:
    """Names of worlds, rows and commands can't become tags."""
    page = render_page(whole_document(EVIL))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_page_is_the_same_for_the_same_document() -> None:
    """Two renderings are equal."""
    assert render_page(whole_document()) == render_page(whole_document())


@pytest.mark.parametrize("log_x", [True, False])
def test_plots_parse_and_stay_inside(log_x: bool) -> None:
    """A plot is well-formed, and no point lies outside of it, whatever the values."""
    points = [(0.5, -3.0), (2.0, 0.5), (900.0, 7.0)]
    spans = [(0.0, 1.0), (0.4, 0.6), (-1.0, 9.0)]
    figure = draw_lines(EVIL, [Series(EVIL, points, spans)], ("x", "y"), x_range=(1.0, 60.0),
                        log_x=log_x, diagonal=not log_x)  # fmt: skip
    root = ET.fromstring(figure)  # noqa: S314  # our own text
    for circle in root.iter("circle"):
        assert 52 <= float(circle.attrib["cx"]) <= 448
        assert 14 <= float(circle.attrib["cy"]) <= 256
    assert EVIL not in figure


def test_bars_parse_and_have_their_heights() -> None:
    """The largest bar is as high as the plot, half of it half as high; none is a plot too."""
    root = ET.fromstring(draw_bars("a", [("x", 4.0), ("y", 2.0)], ("a", "b")))  # noqa: S314
    heights = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    ET.fromstring(draw_bars("a", [], ("a", "b")))  # noqa: S314


def test_tables_for_people() -> None:
    """The terminal shows the contract's rows with met, missed and unknown."""
    document = whole_document()
    assert [row[-1] for row in number_table(document)[1]] == ["yes", "no", "–"]
    assert recall_rows(document, ("all",))[1] == [["all", "all", "4", "50 %"]]
    stream = StringIO()
    print_document(document, Console(file=stream, width=150))
    assert "What was to be reached" in stream.getvalue()
    assert "Stress" in stream.getvalue()
