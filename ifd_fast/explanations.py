"""An explanation in plain words, in tables, and as JSON."""

from __future__ import annotations

import datetime as dt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.table import Table

from ifd_fast.rows import GRADES
from ifd_kernels import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from ifd_fast.books import Level
    from ifd_fast.explaining import Explanation
    from ifd_fast.witnessing import Trade

__all__ = ["Gate", "gates_of", "in_words", "list_components", "print_explanation", "to_json"]

_TRADES_SHOWN: Final = 12
_LOG_ODDS: Final = {
    "raw_log_odds": ("flow", 1.0),
    "anomaly_log_odds": ("history of ratios", 1.0),
    "activity_log_odds": ("usual activity", 1.0),
    "coordination_bonus": ("coordination", 1.0),
    "market_making_penalty": ("likely a maker", -1.0),
}
# Bit of `failed` -> the profile's key, and the field of the kernel's row it is held against.
_GATES: Final = {
    verdict.FAILED_RATIO: ("min_pressure_ratio", "ratio"),
    verdict.FAILED_PERSISTENCE: ("min_time_persistence", "persistence"),
    verdict.FAILED_ANOMALY: ("min_baseline_anomaly", "normal deviate"),
    verdict.FAILED_CONFIDENCE: ("min_overall_confidence", "final_confidence"),
    verdict.FAILED_QUALITY: ("min_data_quality", "quality"),
    verdict.FAILED_BUDGET: ("false_alerts_per_session", "false_alerts"),
    verdict.FAILED_GRADE: ("grade C or better", "grade"),
}
_VOTES: Final = ("one a second", "one in 60 s", "one in 15 s", "one in 5 s", "ten a second")
_ACTS: Final = {"BUY": ("lifted the ask", "bought"), "SELL": ("hit the bid", "sold")}


class Gate(NamedTuple):
    """One gate of an alert: what it asks, what the signal had, and whether that passed."""

    name: str
    asked: str
    had: str
    passed: bool


def gates_of(one: Explanation) -> list[Gate]:
    """Return every gate, those of the profile with what they ask."""
    row, scoring = one.row, one.settings["scoring"]
    derived = {
        "grade": GRADES[row["grade"]],
        "ratio": _ratio(one),
        "normal deviate": -NormalDist().inv_cdf(max(row["p"], 1e-300)) if row["p"] < 1.0 else 0.0,
    }
    found = []
    for bit, name in _gate_bits().items():
        key, held = _GATES.get(bit, (name, ""))
        had = derived[held] if held in derived else row.get(held, "")
        asked = scoring.get(key, "C" if held == "grade" else "")
        found.append(Gate(key, _brief(asked), _brief(had), passed=not row["failed"] & bit))
    return found


def list_components(one: Explanation) -> list[tuple[str, float]]:
    """Return what the confidence is made of, in log-odds."""
    return [
        (name, sign * float(one.row[field]))
        for field, (name, sign) in _LOG_ODDS.items()
        if field in one.row
    ]


def in_words(one: Explanation) -> str:
    """Return the signal's reason in sentences."""
    signal, row = one.signal, one.row
    side, cell = signal["dominant_side"], signal["baseline_cell"]
    act, done = _ACTS[side]
    kind = {"C": "call", "P": "put"}.get(signal["option_type"], "option")
    what = "alert" if signal["alert"] else "candidate"
    own = "of the strike's own cell" if cell == "strike" else f"of a wider cell ({cell})"
    return (
        f"{signal['symbol']} ({kind}): {side} pressure, {what} at {_clock(one.instant_ns)} UTC in "
        f"the session of {signal['trade_date']}. In the {row['window_s']} s before, "
        f"{row['votes_for']:g} votes were for it, {row['votes_against']:g} against (a vote is a "
        f"contract that {act}, at most {_VOTES[row['channel']]}); history, time of day and the "
        f"rest of the market explain {row['expected_for']:.2g}. History is that of "
        f"{row['sessions']:.0f} sessions, {own}. By chance such flow has a probability of "
        f"{row['p']:.1e} in one option; over all options scored at once of at most "
        f"{row['q']:.1e}. Confidence {row['final_confidence']:.2f} "
        f"({signal['signal_strength']}), quality {signal['quality']}, likely a maker's: "
        f"{row['maker_probability']:.0%}. {_gates_in_words(gates_of(one))} The contract is being "
        f"{done}, which {_delta(row['delta_sign'])}; no forecast."
    )


def to_json(one: Explanation) -> dict[str, Any]:
    """Return everything, ready for JSON."""
    return {
        "signal": {name: _plain(value) for name, value in one.signal.items()},
        "words": in_words(one),
        "components_log_odds": dict(list_components(one)),
        "gates": [gate._asdict() for gate in gates_of(one)],
        "kernel_row": one.row,
        "episode": [{"instant_ns": ns, "alert": alert} for ns, alert in one.episode],
        "book": {
            "bids": [level._asdict() for level in one.standing.bids],
            "asks": [level._asdict() for level in one.standing.asks],
        },
        "expected": one.standing.expected,
        "last_window": one.last_window
        and {name: _plain(value) for name, value in one.last_window.items()},
        "trades": [trade._asdict() for trade in one.trades],
        "digests": one.digests,
        "checks": [{"what": what, "same": same} for what, same in one.checks()],
    }


def print_explanation(console: Console, one: Explanation, *, all_trades: bool = False) -> None:
    """Print words and tables."""
    console.rule(f"{one.signal['signal_id']}", align="left")
    console.print(in_words(one), highlight=False)
    fields = [(name, _short(value)) for name, value in one.row.items()]
    half = -(-len(fields) // 2)
    console.print(
        _table("Confidence, in log-odds", ("part", "value"), _component_rows(one)),
        _table("Gates", ("gate", "asked", "had", ""), [_gate_row(gate) for gate in gates_of(one)]),
        _book_table(one),
        _table(
            "The kernel's row",
            ("field", "value", "field ", "value "),
            [(*a, *b) for a, b in zip(fields[:half], [*fields[half:], ("", "")], strict=False)],
        ),
        _table("History of the cell", ("field", "value"), _history_rows(one)),
    )
    if one.last_window is not None:
        window = [(name, _short(value)) for name, value in one.last_window.items()]
        console.print(_table("Last finished window", ("field", "value"), window))
    console.print(_trade_table(one, all_trades=all_trades))
    console.print(_table("Digests", ("of", "digest"), _digest_rows(one.digests)))
    console.print(
        _table(
            "Counted again",
            ("what", ""),
            [(w, "same" if s else "DIFFERS") for w, s in one.checks()],
        )
    )


def _gate_bits() -> dict[int, str]:
    names = [name for name in vars(verdict) if name.startswith("FAILED_")]
    return {getattr(verdict, name): name.removeprefix("FAILED_").lower() for name in names}


def _gates_in_words(gates: Sequence[Gate]) -> str:
    failed = [
        f"{gate.name} (asked {gate.asked}, had {gate.had})" for gate in gates if not gate.passed
    ]
    if not failed:
        return "All gates passed."
    return f"Gates not passed: {'; '.join(failed)}."


def _ratio(one: Explanation) -> float:
    ratio = float(one.row["pressure_ratio"])
    return ratio if one.row["side"] > 0 else 1.0 / ratio


def _delta(sign: int) -> str:
    return "gains if the future rises" if sign > 0 else "gains if the future falls"


def _component_rows(one: Explanation) -> list[tuple[str, str]]:
    rows = [(name, f"{value:+.3f}") for name, value in list_components(one)]
    total = sum(value for _, value in list_components(one))
    return [*rows, ("sum", f"{total:+.3f}"), ("confidence", f"{one.row['final_confidence']:.4f}")]


def _gate_row(gate: Gate) -> tuple[str, str, str, str]:
    return gate.name, gate.asked, gate.had, "passed" if gate.passed else "FAILED"


def _book_table(one: Explanation) -> Table:
    def texts(levels: Sequence[Level]) -> list[tuple[str, str]]:
        return [(f"{one.contracts} ({one.orders})", f"{one.price_1e9 / 1e9:g}") for one in levels]

    bids, asks = texts(one.standing.bids), texts(one.standing.asks)
    count = max(len(bids), len(asks))
    bids += [("", "")] * (count - len(bids))
    asks += [("", "")] * (count - len(asks))
    rows = [(*bid, *ask[::-1]) for bid, ask in zip(bids, asks, strict=True)]
    return _table(
        "Book at the instant", ("contracts (orders)", "bid", "ask", "contracts (orders) "), rows
    )


def _history_rows(one: Explanation) -> list[tuple[str, str]]:
    return [(name, _short(value)) for name, value in one.standing.expected.items()]


def _trade_table(one: Explanation, *, all_trades: bool) -> Table:
    within = one.trades_within(max(300, one.row["window_s"]))
    shown = within if all_trades else within[-_TRADES_SHOWN:]
    title = f"Trades of {max(300, one.row['window_s'])} s: {len(within)}"
    title += "" if len(shown) == len(within) else f", the last {len(shown)}"
    names = ("UTC", "side", "contracts", "price", "bid", "ask", "scored at")
    return _table(title, names, [_trade_row(trade) for trade in shown])


def _trade_row(trade: Trade) -> tuple[str, ...]:
    return (
        _clock(trade.ts_event_ns, fraction=True),
        trade.side or "unknown",
        str(trade.size),
        _short(trade.price),
        f"{_short(trade.bid)} × {trade.bid_size}",
        f"{_short(trade.ask)} × {trade.ask_size}",
        _clock(trade.scored_ns),
    )


def _digest_rows(digests: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in digests.items():
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {inner}".strip(), str(digest or "-")) for inner, digest in pairs]
    return rows


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in names:
        table.add_column(name.strip(), overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _clock(ts_ns: int, *, fraction: bool = False) -> str:
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    text = f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%H:%M:%S}"
    return f"{text}.{rest // 1_000_000:03}" if fraction else text


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(_short(one) for one in value)
    return "-" if value is None else str(value)


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.date) else value
