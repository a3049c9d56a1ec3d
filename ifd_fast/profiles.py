"""Profiles: every setting, its section in a file, its unit, its bounds, and what it does.

`Profile` is the only list of settings. A file groups them in sections, code reads them as plain
attributes of the same names; only `[log] level` is `profile.log_level` in code, and so with
`[log] format` and `[baselines] path`. A value is checked here once, whatever it came from.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_type_hints

import msgspec

from ifd_fast.credentials import redact_text
from ifd_fast.errors import ConfigError

__all__ = ["KEYS", "SECTIONS", "Key", "Profile", "Value", "check_together", "nearest"]

Value: TypeAlias = float | int | str

SECTIONS: Final = (
    "market",
    "windows",
    "scoring",
    "baselines",
    "engine",
    "distribution",
    "databento",
    "live",
    "budget",
    "log",
)
# `level`, `path` and `gateway` alone would say nothing in code
_PREFIXED: Final = ("log", "baselines", "databento", "live", "budget")
# Only these can change a row; the others say where it runs, how fast, and who hears of it.
_RULE_SECTIONS: Final = ("market", "windows", "scoring")


def _meta(section: str, text: str, low: float | None = None, high: float | None = None) -> Any:
    return msgspec.Meta(ge=low, le=high, description=text, extra={"section": section})


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings in force; the defaults are those of `ifd_v3_production`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, out of its bounds, or at odds with another.
    """

    universe: Annotated[str, _meta("market", "Which options: a universe's name, or its path.")] = (
        "nq"
    )
    calendar: Annotated[
        str, _meta("market", "Trading sessions: the packaged calendar's name, or a table's path.")
    ] = "cme_globex_equity"

    window_s: Annotated[int, _meta("windows", "Length of a window.", 1, 3600)] = 300
    window_step_s: Annotated[
        int, _meta("windows", "From one window's end to the next; it divides window_s.", 1, 3600)
    ] = 300
    lateness_s: Annotated[
        float, _meta("windows", "How long a second waits for late records.", 0.0, 60.0)
    ] = 1.0

    min_pressure_ratio: Annotated[
        float, _meta("scoring", "Dominant side over the other, either way.", 1.0, 100.0)
    ] = 2.0
    min_volume_concentration: Annotated[
        float, _meta("scoring", "Net over known volume.", 0.0, 1.0)
    ] = 0.4
    min_time_persistence: Annotated[
        float, _meta("scoring", "Share of active minutes that lean the same way.", 0.0, 1.0)
    ] = 0.5
    min_baseline_anomaly: Annotated[
        float, _meta("scoring", "Normal deviate of the evidence under history.", 0.0, 10.0)
    ] = 2.0
    min_overall_confidence: Annotated[
        float, _meta("scoring", "Final confidence an alert needs; 0.5 makes a candidate.", 0.5, 1.0)
    ] = 0.7
    market_making_penalty: Annotated[
        float, _meta("scoring", "Scale of the log-odds lost to a likely maker.", 0.0, 1.0)
    ] = 0.4
    false_alerts_per_session: Annotated[
        float,
        _meta("scoring", "False alerts a session to be expected, over all strikes.", 0.01, 1000.0),
    ] = 1.0
    lookback_days: Annotated[
        int, _meta("scoring", "Past trading sessions that make the baselines.", 1, 250)
    ] = 20
    min_data_quality: Annotated[
        float, _meta("scoring", "Least quality factor: A 1, B .9, C .7, D .4, F 0.", 0.0, 1.0)
    ] = 0.9
    scoring_interval_s: Annotated[
        float, _meta("scoring", "From one scoring instant to the next; it divides 60.", 0.01, 60.0)
    ] = 1.0
    cooldown_s: Annotated[
        float, _meta("scoring", "Event time in which one episode alerts once.", 0.0, 86_400.0)
    ] = 300.0

    baselines_path: Annotated[
        str, _meta("baselines", "The DuckDB file of history, relative to the working folder.")
    ] = "outputs/ifd_v3_baselines.duckdb"

    ring_capacity_events: Annotated[
        int, _meta("engine", "Events between wire and book; a power of two.", 1024, 2**24)
    ] = 65_536
    book_capacity_orders: Annotated[
        int, _meta("engine", "Orders the table starts with; a power of two; it grows.", 16, 2**26)
    ] = 262_144
    book_capacity_instruments: Annotated[
        int, _meta("engine", "Instruments the engine starts with; it grows.", 1, 2**20)
    ] = 1024
    metrics_cache_s: Annotated[
        float, _meta("engine", "How long recent metrics stay in memory.", 0.0, 86_400.0)
    ] = 300.0

    min_confidence_threshold: Annotated[
        float, _meta("distribution", "Final confidence a signal needs to be passed on.", 0.0, 1.0)
    ] = 0.7
    alert_confidence_threshold: Annotated[
        float, _meta("distribution", "Final confidence above which handlers alert.", 0.0, 1.0)
    ] = 0.85
    max_signals_per_hour: Annotated[
        int, _meta("distribution", "Signals passed on in one hour, at most.", 0, 1_000_000)
    ] = 50

    databento_gateway: Annotated[
        str, _meta("databento", "Where history, prices and symbols are asked for: an https URL.")
    ] = "https://hist.databento.com"
    databento_live_gateway: Annotated[
        str, _meta("databento", "Where live data comes from, host:port; {dataset} is filled in.")
    ] = "{dataset}.lsg.databento.com:13000"
    databento_timeout_s: Annotated[
        float, _meta("databento", "How long one answer may take.", 0.1, 600.0)
    ] = 30.0

    live_heartbeat_s: Annotated[
        int, _meta("live", "From one heartbeat of the gateway to the next.", 5, 300)
    ] = 5
    live_compression: Annotated[
        Literal["none", "zstd"], _meta("live", "How the gateway is to send its records.")
    ] = "none"
    live_ts_out: Annotated[
        int, _meta("live", "1: the gateway adds to each record when it sent it.", 0, 1)
    ] = 0
    live_late_s: Annotated[
        float, _meta("live", "Lag above which nothing is alerted; half of it ends that.", 0.1, 60.0)
    ] = 2.0
    live_ring_mib: Annotated[
        int, _meta("live", "Memory for what is not on the disk yet.", 1, 65_536)
    ] = 256
    live_seed: Annotated[int, _meta("live", "Draws the waits between connections.", 0, 2**31)] = 0
    live_checkpoint_interval_s: Annotated[
        float, _meta("live", "From one checkpoint of the state to the next; 0: none.", 0.0, 86400.0)
    ] = 60.0
    live_latency_limit_us: Annotated[
        float, _meta("live", "Receive to state, p99 of 10 s, that is told; 0: none.", 0.0, 1e9)
    ] = 0.0

    budget_limit_usd: Annotated[
        float, _meta("budget", "What Databento may cost in one month, UTC.", 0.0, 1_000_000.0)
    ] = 600.0
    budget_kept_usd: Annotated[
        float, _meta("budget", "Part of the limit kept for other needs.", 0.0, 1_000_000.0)
    ] = 150.0
    budget_expected_usd: Annotated[
        float, _meta("budget", "What a usual month costs.", 0.0, 1_000_000.0)
    ] = 450.0
    budget_alert_share: Annotated[
        float, _meta("budget", "Share of the limit less what is kept that warns.", 0.0, 1.0)
    ] = 0.8
    budget_ledger: Annotated[
        str, _meta("budget", "The file of what was spent, relative to the working folder.")
    ] = "outputs/ifd_spending.sqlite"

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _meta("log", "What is logged, upwards.")
    ] = "info"
    log_format: Annotated[
        Literal["console", "json"], _meta("log", "For people, or one JSON object a line.")
    ] = "console"

    def __post_init__(self) -> None:
        """Check every value and their relations; turn whole numbers into the declared type."""
        found = [
            text
            for name, key in KEYS.items()
            if (text := key.problem_with(getattr(self, name))) is not None
        ]
        found = found or [text for _, text in check_together(msgspec.structs.asdict(self))]
        if found:
            raise ConfigError("\n".join(found))
        for name, key in KEYS.items():
            if key.kind is float:
                # + 0.0 makes -0.0 and 0.0 one value, so that equal settings have one digest
                msgspec.structs.force_setattr(self, name, float(getattr(self, name)) + 0.0)

    @property
    def window_ns(self) -> int:
        """Length of a window in ns."""
        return self.window_s * 1_000_000_000

    @property
    def window_step_ns(self) -> int:
        """Distance of two windows' ends in ns."""
        return self.window_step_s * 1_000_000_000

    @property
    def lateness_ns(self) -> int:
        """How long a second waits for late records, in ns."""
        return _to_ns(self.lateness_s)

    @property
    def scoring_interval_ns(self) -> int:
        """Distance of two scoring instants in ns."""
        return _to_ns(self.scoring_interval_s)

    @property
    def cooldown_ns(self) -> int:
        """Event time in which one episode alerts once, in ns."""
        return _to_ns(self.cooldown_s)

    @property
    def metrics_cache_ns(self) -> int:
        """How long recent metrics stay in memory, in ns."""
        return _to_ns(self.metrics_cache_s)

    @property
    def digest(self) -> str:
        """SHA-256 of all settings as canonical JSON: what each row's file carries."""
        return _digest(self.tree())

    @property
    def rules_digest(self) -> str:
        """SHA-256 of the settings that can change a row: the same on any machine, so ids use it."""
        tree = self.tree()
        return _digest({section: tree[section] for section in _RULE_SECTIONS})

    def tree(self) -> dict[str, dict[str, Value]]:
        """Return section -> key -> value, in the order of the file."""
        tree: dict[str, dict[str, Value]] = {section: {} for section in SECTIONS}
        for name, key in KEYS.items():
            tree[key.section][key.key] = getattr(self, name)
        return tree


class Key(NamedTuple):
    """What is known of one setting; `label` is its name in messages: `section.key`."""

    name: str
    section: str
    key: str
    kind: type[float | int | str]
    low: float
    high: float
    choices: tuple[str, ...]
    description: str

    @property
    def label(self) -> str:
        """The setting's full name in a file."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"IFD_{self.section}_{self.key}".upper()

    def problem_with(self, value: object) -> str | None:
        """Return what is wrong with a value and the way out, None if nothing is."""
        if self.kind is str:
            return self._problem_with_text(value)
        number = isinstance(value, int if self.kind is int else (int, float))
        if not number or isinstance(value, bool):
            noun = "a whole number" if self.kind is int else "a number"
            return f"`{self.label}` must be {noun}, was {_shown(value)}."
        assert isinstance(value, (int, float))  # noqa: S101 - tells the type checker
        if self.low <= value <= self.high:  # false for NaN
            return self._problem_with_grain(value)
        way_out = (
            "" if math.isnan(value) else f" Use {self.kind(min(max(value, self.low), self.high))}."
        )
        return (
            f"`{self.label}` must be within {self.kind(self.low)} to {self.kind(self.high)},"
            f" was {_shown(value)}.{way_out}"
        )

    def _problem_with_grain(self, value: float) -> str | None:
        if (
            self.kind is int
            and self.name in _POWERS_OF_TWO
            and value != 1 << (int(value) - 1).bit_length()
        ):
            way_out = 1 << (int(value) - 1).bit_length()
            return f"`{self.label}` must be a power of two, was {value}. Use {way_out}."
        if self.kind is float and self.key.endswith("_s") and _to_ns(value) % 1_000_000:
            return f"`{self.label}` must be whole milliseconds, was {value}. Use {round(value, 3)}."
        return None

    def _problem_with_text(self, value: object) -> str | None:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            return f"`{self.label}` must be a text of printable characters, was {_shown(value)}."
        if self.choices and value not in self.choices:
            any_of = ", ".join(self.choices)
            return f"`{self.label}` must be one of {any_of}, was {_shown(value)}."
        return None


_POWERS_OF_TWO: Final = ("ring_capacity_events", "book_capacity_orders")


def check_together(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (setting's name, problem) of values that are legal alone but not together."""
    window_s, step_s = values["window_s"], values["window_step_s"]
    interval_s = values["scoring_interval_s"]
    interval_ns = _to_ns(interval_s)
    found = []
    if window_s % step_s:
        way_out = math.gcd(window_s, step_s)
        text = f"must divide window_s = {window_s}, was {step_s}. Use {way_out}."
        found.append(("window_step_s", text))
    if 3600 % step_s:  # sessions open on whole hours: no window may span a break
        text = f"must divide 3600, was {step_s}. Use {math.gcd(3600, step_s)}."
        found.append(("window_step_s", text))
    if 60_000_000_000 % interval_ns:
        way_out_s = math.gcd(60_000_000_000, interval_ns) / 1e9
        text = f"must divide 60, was {interval_s}. Use {way_out_s:g}."
        found.append(("scoring_interval_s", text))
    return [(name, f"`{KEYS[name].label}` {text}") for name, text in found]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name most like `name`, as a sentence; all known if none is like it."""
    names = {one.lower(): one for one in known}
    like = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"Did you mean {names[like[0]]}?" if like else f"Use one of {', '.join(names.values())}."


def _to_ns(value_s: float) -> int:
    return round(value_s * 1_000_000_000)


def _shown(value: object) -> str:
    text = redact_text(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _digest(tree: dict[str, dict[str, Value]]) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _keys() -> dict[str, Key]:
    keys = {}
    for name, hint in get_type_hints(Profile, include_extras=True).items():
        declared, meta = get_args(hint)
        section = meta.extra["section"]
        choices = get_args(declared)
        keys[name] = Key(
            name,
            section,
            name.removeprefix(f"{section}_") if section in _PREFIXED else name,
            str if choices else declared,
            -math.inf if meta.ge is None else meta.ge,
            math.inf if meta.le is None else meta.le,
            choices,
            meta.description,
        )
    return keys


KEYS: Final[Mapping[str, Key]] = _keys()
