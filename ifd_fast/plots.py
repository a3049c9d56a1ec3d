"""Plots as SVG texts for a page without scripts: lines, points, bars, and their axes.

Colours are classes of the page's own style sheet, so a strict content policy is kept and a dark
theme needs no second plot. All texts are escaped.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Series", "draw_bars", "draw_lines", "percent", "plain"]

WIDTH: Final = 460
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 44
COLOURS: Final = 8  # classes c0 ... c7


class Series(NamedTuple):
    """Points of one line, with intervals or without."""

    name: str
    points: Sequence[tuple[float, float]]
    spans: Sequence[tuple[float, float]] = ()
    marks: bool = True


class _Scale(NamedTuple):
    low: float
    high: float
    is_log: bool
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Return the place of a value, in pixels."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        share = (value - low) / ((high - low) or 1.0)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


def _ticks(scale: _Scale, wanted: Sequence[float] | None) -> Sequence[float]:
    if wanted is not None:
        return wanted
    if scale.is_log:
        first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
        marks = [10.0**power for power in range(first, last + 1)]
        return [mark for mark in marks if scale.low <= mark <= scale.high]
    step = 10.0 ** math.floor(math.log10((scale.high - scale.low) or 1.0))
    while (scale.high - scale.low) / step > 6:
        step *= 2.0
    while (scale.high - scale.low) / step < 3:
        step /= 2.0
    first = math.ceil(scale.low / step - 1e-9)
    count = math.floor(scale.high / step + 1e-9) - first + 1
    return [(first + number) * step for number in range(count)]


def _text(x: float, y: float, text: str, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(text)}</text>'


def _frame(
    x: _Scale,
    y: _Scale,
    labels: tuple[str, str],
    ticks_x: Sequence[float] | None,
    show_x: Callable[[float], str],
    show_y: Callable[[float], str],
) -> list[str]:
    """Return axes, grid lines and their texts."""
    parts = []
    for mark in _ticks(y, None):
        at = y.at(mark)
        parts.append(
            f'<line class="grid" x1="{x.start}" x2="{x.stop}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(_text(x.start - 6, at + 4, show_y(mark), "end"))
    for mark in _ticks(x, ticks_x):
        at = x.at(mark)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{y.start}" y2="{y.stop}"/>'
        )
        parts.append(_text(at, y.start + 16, show_x(mark)))
    parts.append(_text((x.start + x.stop) / 2, HEIGHT - 6, labels[0]))
    middle = (y.start + y.stop) / 2
    parts.append(_text(13, middle, labels[1], extra=f' transform="rotate(-90 13 {middle:.1f})"'))
    return parts


def _wrap(title: str, parts: Sequence[str]) -> str:
    inside = "".join(parts)
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f"{inside}</svg></figure>"
    )


def plain(value: float) -> str:
    """Return a tick's text."""
    return f"{value:g}"


def percent(value: float) -> str:
    """Return a share's text."""
    return f"{100.0 * value:.0f} %"


def draw_lines(
    title: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float] = (0.0, 1.0),
    log_x: bool = False,
    ticks_x: Sequence[float] | None = None,
    diagonal: bool = False,
    show_x: Callable[[float], str] = plain,
    show_y: Callable[[float], str] = percent,
) -> str:
    """Return a figure of lines with points, intervals as bars, and a legend."""
    x = _Scale(*x_range, log_x, LEFT, WIDTH - RIGHT)
    y = _Scale(*y_range, is_log=False, start=HEIGHT - BOTTOM, stop=TOP)
    parts = _frame(x, y, labels, ticks_x, show_x, show_y)
    if diagonal:
        low, high = max(x_range[0], y_range[0]), min(x_range[1], y_range[1])
        parts.append(
            f'<line class="ideal" x1="{x.at(low):.1f}" y1="{y.at(low):.1f}" '
            f'x2="{x.at(high):.1f}" y2="{y.at(high):.1f}"/>'
        )
    for number, one in enumerate(series):
        colour = f"c{number % COLOURS}"
        places = [(x.at(a), y.at(b)) for a, b in one.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline class="{colour}" points="{path}"/>')
        for (a, b), (low, high) in zip(places, one.spans, strict=False):
            del b
            parts.append(
                f'<line class="{colour} span" x1="{a:.1f}" x2="{a:.1f}" '
                f'y1="{y.at(low):.1f}" y2="{y.at(high):.1f}"/>'
            )
        if one.marks:
            parts += [f'<circle class="{colour}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>'
                      for a, b in places]  # fmt: skip
        parts.append(_legend(number, one.name))
    return _wrap(title, parts)


def _legend(number: int, name: str) -> str:
    at_y = TOP + 12 + 15 * number
    colour = f"c{number % COLOURS}"
    return (
        f'<line class="{colour}" x1="{LEFT + 8}" x2="{LEFT + 26}" y1="{at_y - 4}" y2="{at_y - 4}"/>'
        + _text(LEFT + 31, at_y, name, "start")
    )


def draw_bars(
    title: str,
    bars: Sequence[tuple[str, float]],
    labels: tuple[str, str],
    *,
    highest: float | None = None,
    show: Callable[[float], str] = plain,
) -> str:
    """Return a figure of upright bars, one a name."""
    top = highest or max([value for _, value in bars] + [1e-9])
    x = _Scale(0.0, float(max(len(bars), 1)), is_log=False, start=LEFT, stop=WIDTH - RIGHT)
    y = _Scale(0.0, top, is_log=False, start=HEIGHT - BOTTOM, stop=TOP)
    parts = _frame(x, y, labels, [], plain, show)
    width = (x.stop - x.start) / max(len(bars), 1)
    for number, (name, value) in enumerate(bars):
        at, height = x.at(float(number)), y.start - y.at(value)
        parts.append(
            f'<rect class="c0" x="{at + 2:.1f}" y="{y.start - height:.1f}" '
            f'width="{max(width - 4, 1):.1f}" height="{height:.1f}"/>'
        )
        parts.append(_text(at + width / 2, y.start + 16, name))
    return _wrap(title, parts)
