"""Signals, states and the end of a live session as lines, for people or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from ifd_fast.keeper_plan import Form

__all__ = ["format_end", "format_signals", "format_state"]


def format_state(state: str, why: str, form: Form) -> str:
    """Return the line that says that a state begins."""
    if form == "json":
        return json.dumps({"state": state, "why": why})
    return f"-- {state}  {why}".rstrip()


def format_signals(frame: pl.DataFrame, form: Form) -> Iterator[str]:
    """Yield a line a signal; columns of `signals.SIGNAL_SCHEMA`."""
    from ifd_fast.demonstration import reason_of

    for row in frame.iter_rows(named=True):
        if form == "json":
            yield json.dumps(row, default=str)
            continue
        what = "ALERT" if row["alert"] else "candidate"
        yield (
            f"{row['timestamp']:%H:%M:%S}  {what:<9} {row['symbol']:<14} "
            f"{row['dominant_side']:<4} confidence {row['final_confidence']:.2f}, quality "
            f"{row['quality']}: {reason_of(row)}"
        )


def format_end(found: dict[str, Any], record: Path, form: Form) -> Iterator[str]:
    """Yield the lines that say how a session went: `session.json` of its record."""
    if form == "json":
        yield json.dumps({"end": found}, default=str)
        return
    if "records" in found:
        yield (
            f"{found['records']:,} records over {found['connections']} connections "
            f"({found['connections_lost']} lost), {found['windows']:,} windows; skipped "
            f"{found['skipped'] or 'none'}; duplicates dropped {found['duplicates'] or 'none'}; "
            f"alerts withheld {found['alerts_withheld']}"
        )
        yield from _format_latency(found["latency"])
    else:
        yield f"{found['ended']}; {found['windows']:,} windows"
    if found["blocks_lost"]:
        yield f"rows are missing: {found['blocks_lost']} blocks of them; `ifd replay {record}`"
    yield f"rows_digest {found['digests']['rows_digest']}"
    yield f"recorded in {record}: `ifd replay {record}`"


def _format_latency(latency: dict[str, Any]) -> Iterator[str]:
    for name, one in latency.items():
        if one["count"]:
            yield (
                f"{name.replace('_', ' ')}: p50 {one['p50_us']:,.0f} us, p99 {one['p99_us']:,.0f}, "
                f"p99.9 {one['p999_us']:,.0f}, longest {one['max_us']:,.0f} of {one['count']:,}"
            )
