"""Profiles: bounds, types, relations, digests, and the two that come with the package."""

from __future__ import annotations

import ast
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.commands.startup import start
from ifd_fast.config import load_settings
from ifd_fast.errors import ConfigError
from ifd_fast.profiles import KEYS, SECTIONS, Profile, nearest
from ifd_fast.streaming import MBOStreamingClient

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "ifd_fast" / "settings"
NUMBERS = [name for name, key in KEYS.items() if key.kind is not str]
TEXTS = [name for name, key in KEYS.items() if key.kind is str]
RULES = {name for name, key in KEYS.items() if key.section in {"market", "windows", "scoring"}}

# Settings whose reader is still to come: none may be added.
UNREAD: set[str] = set()


def profile(**values: Any) -> Profile:
    """Return a profile with these values, of whatever type they are."""
    return Profile(**values)


def test_production_is_the_default() -> None:
    """The packaged production profile states every key, with the default of the code."""
    tree = tomllib.loads((SETTINGS / "ifd_v3_production.toml").read_text("utf-8"))
    assert tree == Profile().tree()


def test_the_seeds_thresholds() -> None:
    """Production carries the values that the seeds ask for."""
    actual = load_settings("ifd_v3_production", environ={}).profile
    assert actual.min_pressure_ratio == 2.0
    assert actual.min_volume_concentration == 0.4
    assert actual.min_time_persistence == 0.5
    assert actual.min_baseline_anomaly == 2.0
    assert actual.min_overall_confidence == 0.7
    assert actual.market_making_penalty == 0.4
    assert actual.lookback_days == 20
    assert (actual.min_confidence_threshold, actual.alert_confidence_threshold) == (0.7, 0.85)
    assert actual.max_signals_per_hour == 50


def test_testing_is_looser_in_every_threshold() -> None:
    """The testing profile lowers each threshold, halves the history and logs at debug level."""
    production = Profile()
    testing = load_settings("ifd_v3_testing", environ={}).profile
    lowered = [name for name in KEYS if name.startswith("min_")]
    lowered += ["market_making_penalty", "lookback_days", "alert_confidence_threshold"]
    assert all(getattr(testing, name) < getattr(production, name) for name in lowered)
    assert testing.log_level == "debug"
    same = set(KEYS) - set(lowered) - {"log_level"}
    assert all(getattr(testing, name) == getattr(production, name) for name in same)


def test_every_key_has_section_text_and_one_full_name() -> None:
    """Each setting has a section, a sentence, and a name that no other has."""
    assert {key.section for key in KEYS.values()} == set(SECTIONS)
    assert len({key.label for key in KEYS.values()}) == len(KEYS)
    assert len({key.variable for key in KEYS.values()}) == len(KEYS)
    assert all(key.description.endswith(".") for key in KEYS.values())
    assert KEYS["log_level"].label == "log.level"
    assert KEYS["min_pressure_ratio"].variable == "IFD_SCORING_MIN_PRESSURE_RATIO"


def test_every_key_is_read_by_code() -> None:
    """A setting that no code reads, as attribute or as field of a kernel's row, is an error."""
    own = {"profiles.py", "config.py", "profile_files.py"}
    read: set[str] = set()
    for folder in (ROOT / "ifd_fast", ROOT / "kernels"):
        for path in folder.rglob("*.py"):
            if path.name not in own:
                read |= names_read(ast.parse(path.read_text("utf-8")))
    unread = {name for name in KEYS if not {name, name.removesuffix("_s") + "_ns"} & read}
    assert unread == UNREAD


def names_read(tree: ast.AST) -> set[str]:
    """Return the attributes and the fields by name, as in `row["deviate"]`, that code reads."""
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            read.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            read.add(str(node.slice.value))
    return read


@pytest.mark.parametrize("name", NUMBERS)
def test_bounds_are_inclusive(name: str) -> None:
    """A bound itself is legal alone, the next number beyond is not and names the way out."""
    key = KEYS[name]
    for bound, away in ((key.low, -math.inf), (key.high, math.inf)):
        assert key.problem_with(key.kind(bound)) is None
        beyond = int(bound) + int(math.copysign(1, away)) if key.kind is int else None
        value = math.nextafter(bound, away) if beyond is None else beyond
        with pytest.raises(ConfigError, match=f"{key.label}.*must be within.*was.*Use "):
            profile(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, [1], {"a": 1}])
def test_numbers_refuse_what_is_no_number(name: str, value: object) -> None:
    """NaN, infinities, booleans, texts and tables are no setting's value."""
    with pytest.raises(ConfigError, match=KEYS[name].label):
        profile(**{name: value})


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["", "  ", "a\nb", "\x00", 1, None, ["nq"]])
def test_texts_refuse_what_is_no_text(name: str, value: object) -> None:
    """Empty, unprintable and other values are no text."""
    with pytest.raises(ConfigError, match=KEYS[name].label):
        profile(**{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ring_capacity_events": 70_000}, "power of two, was 70000. Use 131072."),
        ({"book_capacity_orders": 1000}, "power of two, was 1000. Use 1024."),
        ({"window_step_s": 7}, "must divide window_s = 300, was 7. Use 1."),
        ({"window_s": 60}, "must divide window_s = 60, was 300. Use 60."),
        ({"window_s": 1400, "window_step_s": 700}, "must divide 3600, was 700. Use 100."),
        ({"scoring_interval_s": 0.7}, "must divide 60, was 0.7. Use 0.1."),
        ({"cooldown_s": 0.0005}, "whole milliseconds, was 0.0005. Use 0.001."),
        ({"log_level": "inf"}, "one of debug, info, warning, error, was 'inf'."),
        ({"window_s": 300.0}, "`windows.window_s` must be a whole number, was 300.0."),
    ],
)
def test_relations(values: dict[str, object], message: str) -> None:
    """Values that can't work, alone or together, are named with one that does."""
    with pytest.raises(ConfigError) as caught:
        profile(**values)
    assert message in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    """Two wrong values give two lines."""
    with pytest.raises(ConfigError) as caught:
        profile(lookback_days=0, log_format="xml")
    assert len(str(caught.value).splitlines()) == 2


def test_a_secret_in_the_wrong_place_is_not_shown() -> None:
    """A key pasted as a setting's value does not come back in the message."""
    key = "db-" + "Ab3" * 9 + "xy"
    with pytest.raises(ConfigError) as caught:
        profile(log_level=key)
    assert key not in str(caught.value)


def test_times_in_nanoseconds_are_exact() -> None:
    """Kernels get integers: tenths of a second don't pick up binary dust."""
    actual = profile(scoring_interval_s=0.1, lateness_s=0.3, cooldown_s=1, metrics_cache_s=0)
    assert actual.scoring_interval_ns == 100_000_000
    assert actual.lateness_ns == 300_000_000
    assert (actual.cooldown_ns, actual.metrics_cache_ns) == (1_000_000_000, 0)
    assert (actual.window_ns, actual.window_step_ns) == (300_000_000_000, 300_000_000_000)


def test_equal_settings_have_one_digest() -> None:
    """A whole number for a real one, and minus zero, change no digest."""
    assert profile(lateness_s=1, min_time_persistence=-0.0).digest == (
        profile(lateness_s=1.0, min_time_persistence=0.0).digest
    )
    assert isinstance(profile(lateness_s=1).lateness_s, float)


ANOTHER: dict[str, object] = {
    "universe": "es",
    "calendar": "mine.csv",
    "baselines_path": "other.duckdb",
    "log_level": "error",
    "log_format": "json",
    "ring_capacity_events": 2048,
    "book_capacity_orders": 2048,
    "scoring_interval_s": 0.1,
    "live_compression": "zstd",
    "window_s": 600,
    "window_step_s": 100,
}


@pytest.mark.parametrize("name", list(KEYS))
def test_every_key_acts_on_the_digest(name: str) -> None:
    """Each setting changes the digest; only those that change rows change the rules' digest."""
    high = KEYS[name].high
    value = ANOTHER.get(name) or KEYS[name].kind(high)
    changed = profile(**{name: value})
    assert changed.digest != Profile().digest
    assert (changed.rules_digest != Profile().rules_digest) == (name in RULES)


@given(st.data())
def test_any_legal_number_is_kept(data: st.DataObject) -> None:
    """What is inside the bounds is taken as it is, in any mixture of keys."""
    names = [n for n in NUMBERS if not n.endswith("_s") and "capacity" not in n]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True))
    values = {}
    for name in chosen:
        key = KEYS[name]
        whole = st.integers(int(key.low), int(key.high))
        values[name] = data.draw(whole if key.kind is int else st.floats(key.low, key.high))
    actual = profile(**values)
    assert {name: getattr(actual, name) for name in chosen} == values
    assert msgspec.convert(msgspec.structs.asdict(actual), Profile) == actual


def test_a_profile_cannot_be_changed() -> None:
    """Settings in force stay in force."""
    with pytest.raises(AttributeError):
        Profile().window_s = 60  # type: ignore[misc]  # that is the test


def test_the_nearest_name() -> None:
    """A typing error is answered with the name meant, anything else with all names."""
    assert nearest("min_presure_ratio", KEYS) == "Did you mean min_pressure_ratio?"
    assert nearest("zzz", ["a", "b"]) == "Use one of a, b."


@pytest.mark.usefixtures("logging_put_back")
def test_log_keys_act_on_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command logs at the level and in the format of the settings in force, to stderr."""
    start()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("IFD_LOG_LEVEL", "debug")
    monkeypatch.setenv("IFD_LOG_FORMAT", "json")
    settings = start("ifd_v3_testing")
    actual = capsys.readouterr()
    assert json.loads(actual.err)["digest"] == settings.digest
    assert actual.out == ""


def test_universe_and_cache_keys_act_on_the_client(tmp_path: Path) -> None:
    """What a client subscribes to, and how long it remembers, are the profile's."""
    universe = tmp_path / "mine.toml"
    universe.write_text('root = "ES"\nparents = ["ES.FUT", "EW.OPT"]\n', "utf-8")
    path = tmp_path / "mine_profile.toml"
    path.write_text(
        f'[market]\nuniverse = "{universe}"\n[engine]\nmetrics_cache_s = 60.0\n'
        "book_capacity_orders = 16\nring_capacity_events = 1024\n",
        "utf-8",
    )
    client = MBOStreamingClient(profile=path)
    assert client.symbols == ("ES.FUT", "EW.OPT")
    assert client.recent.life.total_seconds() == 60.0
    assert MBOStreamingClient(profile=path, symbols=["NQ.OPT"]).symbols == ("NQ.OPT",)
