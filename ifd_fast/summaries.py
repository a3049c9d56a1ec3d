"""A run in words and small tables, for the terminal and summary.txt."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["summarize"]

_WIDTH: Final = 22


def summarize(document: dict[str, Any]) -> str:
    """Return the readable summary of a session.json document."""
    counts, digests = document["counts"], document["digests"]
    blocks = [
        _records(counts),
        _block("trades", counts["trades"]),
        _block("packages", counts["packages"]),
        _block("book health", {**counts["book"], "live_orders": counts["live_orders"]}),
        _block(
            "instruments",
            {"seen": counts["instruments"], "unmapped": counts["instruments_unmapped"]},
        ),
        _block(
            "found",
            {name: counts[name] for name in ("windows", "candidates", "alerts", "instants_scored")},
        ),
        _sessions(document["sessions"]),
        _ranking(document["ranking"]),
        [
            f"{'rows_digest':<{_WIDTH}} {digests['rows_digest'] or '-'}",
            f"{'facts_digest':<{_WIDTH}} {digests['facts_digest'] or '-'}",
            f"{'signals_digest':<{_WIDTH}} {digests['signals_digest'] or '-'}",
            f"{'config_digest':<{_WIDTH}} {document['config_digest']}  ({document['profile']})",
        ],
    ]
    return "\n".join("\n".join(block) for block in blocks if block) + "\n"


def _records(counts: dict[str, Any]) -> list[str]:
    applied = counts["applied"]
    lines = _block("records", {"read": counts["records"], "applied": counts["events"]})
    lines.append("  by action            " + "  ".join(f"{k} {v:,}" for k, v in applied.items()))
    for name, count in counts["handed_by_type"].items():
        lines.append(f"  {'handed ' + name:<{_WIDTH - 2}} {count:>14,}")
    for reason, count in counts["skipped"].items():
        lines.append(f"  {'skipped ' + reason:<{_WIDTH - 2}} {count:>14,}")
    lines.append(f"  {'ahead of receipt':<{_WIDTH - 2}} {counts['events_ahead']:>14,}")
    return lines


def _block(title: str, values: dict[str, int]) -> list[str]:
    return [title, *(f"  {name:<{_WIDTH - 2}} {value:>14,}" for name, value in values.items())]


def _ranking(ranking: dict[str, Any]) -> list[str]:
    """Say by what alerts keep their promise, or that nothing can alert."""
    lines = ["false alerts a session"]
    for day, known in ranking.items():
        text = f"{known['promised_false_alerts']:g} promised, from {known['sessions']:.1f} sessions"
        if not known["ready"]:
            text = "nothing can alert: no ranks, the history is too short or has no hand-overs"
        lines.append(f"  {day:<{_WIDTH - 2}} {text}")
    return lines if ranking else [*lines, "  nothing can alert: no history"]


def _sessions(sessions: list[dict[str, Any]]) -> list[str]:
    return [
        "sessions",
        *(f"  {one['trade_date']:<{_WIDTH - 2}} {one['rows']:>14,} rows" for one in sessions),
    ]
