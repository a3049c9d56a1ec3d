"""Settings from several sources: precedence, origins, refusals, round trips, and the API key."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.commands.config import config
from ifd_fast.config import (
    check_file,
    find_key,
    load_settings,
    packaged_profiles,
    to_toml,
)
from ifd_fast.errors import ConfigError
from ifd_fast.profiles import KEYS, SECTIONS, Profile

ROOT = Path(__file__).resolve().parent.parent


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    """Write a profile file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def legal_values(name: str) -> st.SearchStrategy[object]:
    """Return legal values of one setting, each legal beside the defaults of all others."""
    key = KEYS[name]
    if name == "window_s":
        return st.sampled_from([300, 600, 900, 3600])
    if name == "window_step_s":
        return st.sampled_from([1, 5, 60, 100, 300])
    if name == "scoring_interval_s":
        return st.sampled_from([0.01, 0.1, 0.25, 1.0, 1, 5, 60])
    if "capacity" in name and name != "book_capacity_instruments":
        return st.integers(10, 24).map(lambda power: 1 << power)
    if key.choices:
        return st.sampled_from(key.choices)
    if key.kind is str:
        characters = st.characters(codec="utf-8").filter(str.isprintable)
        return st.text(characters, min_size=1).filter(str.strip)
    if key.kind is int:
        return st.integers(int(key.low), int(key.high))
    if name.endswith("_s"):
        low, high = round(key.low * 1000), round(key.high * 1000)
        return st.integers(low, high).map(lambda ms: ms / 1000)
    return st.floats(key.low, key.high)


SOURCE = st.fixed_dictionaries({}, optional={name: legal_values(name) for name in KEYS})


def toml_of(values: dict[str, object]) -> str:
    """Return a profile file with these values, by attribute name."""
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for name, value in values.items():
            if KEYS[name].section == section:
                lines.append(f"{KEYS[name].key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def environment_of(values: dict[str, object]) -> dict[str, str]:
    """Return the environment variables that set these values."""
    return {KEYS[name].variable: str(value) for name, value in values.items()}


# --- precedence ----------------------------------------------------------------------------------


@given(SOURCE, SOURCE, SOURCE, st.randoms(use_true_random=False))
def test_the_later_source_wins(
    file: dict[str, object],
    environment: dict[str, object],
    flags: dict[str, object],
    order: random.Random,
) -> None:
    """Flag beats environment beats file beats default, in any order of keys, origins included."""
    expected = {"window_step_s": Profile().window_step_s} | file | environment | flags
    shuffled = list(flags.items())
    order.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), toml_of(file))
        actual = load_settings(path, dict(shuffled), environment_of(environment))
    for name in KEYS:
        value = expected.get(name, getattr(Profile(), name))
        assert getattr(actual.profile, name) == value
        kind = actual.origins[name].kind
        if name in flags:
            assert kind == "flag"
        elif name in environment:
            assert kind == "environment"
        else:
            assert kind == ("file" if name in file else "default")


@given(SOURCE)
def test_what_is_shown_gives_the_same_again(values: dict[str, object]) -> None:
    """Each key survives the way to a file and back, with and without comments on origin."""
    settings = load_settings(overrides=values, environ={})
    for origin, written in itertools.product((False, True), (to_toml,)):
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), written(settings, origin=origin))
            again = load_settings(path, environ={})
        assert again.profile == settings.profile
        assert again.digest == settings.digest


def test_origins_name_file_and_line(tmp_path: Path) -> None:
    """A value's origin is its file and line, its variable, or its flag."""
    path = write(tmp_path, 'base = "ifd_v3_testing"\n\n[scoring]\n# why\nlookback_days = 5\n')
    settings = load_settings(path, {"window_s": 60}, {"IFD_LOG_LEVEL": "error"})
    actual = {name: str(origin) for name, origin in settings.origins.items()}
    assert actual["lookback_days"] == f"file {path}:5"
    assert actual["log_level"] == "environment IFD_LOG_LEVEL"
    assert actual["window_s"] == "flag window_s"
    assert actual["min_pressure_ratio"].startswith("packaged ifd_v3_testing.toml:")
    assert actual["cooldown_s"].startswith("packaged ifd_v3_production.toml:")


def test_a_flag_that_was_not_given_is_no_flag() -> None:
    """None leaves the value to the sources below, and full names mean the same setting."""
    settings = load_settings(overrides={"window_s": None, "log.level": "error"}, environ={})
    assert (settings.profile.window_s, settings.profile.log_level) == (300, "error")
    assert settings.origins["window_s"].kind == "packaged"


def test_a_window_alone_takes_its_step_along() -> None:
    """`--window 60` alone gives tumbling minutes; a step somebody chose is not changed silently."""
    settings = load_settings(overrides={"window_s": 60}, environ={})
    assert (settings.profile.window_s, settings.profile.window_step_s) == (60, 60)
    assert settings.origins["window_step_s"] == settings.origins["window_s"]
    with pytest.raises(ConfigError, match=r"IFD_WINDOWS_WINDOW_STEP_S.*must divide window_s = 60"):
        load_settings(overrides={"window_s": 60}, environ={"IFD_WINDOWS_WINDOW_STEP_S": "300"})


def test_the_profile_is_chosen_by_flag_then_environment() -> None:
    """`--profile` beats IFD_PROFILE beats production."""
    names = [
        load_settings(environ={}).name,
        load_settings(environ={"IFD_PROFILE": "ifd_v3_testing"}).name,
        load_settings("ifd_v3_production", environ={"IFD_PROFILE": "ifd_v3_testing"}).name,
    ]
    assert names == ["ifd_v3_production", "ifd_v3_testing", "ifd_v3_production"]
    assert packaged_profiles() == ["ifd_v3_production", "ifd_v3_testing"]


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stand-in the process's own environment is used."""
    monkeypatch.setenv("IFD_SCORING_LOOKBACK_DAYS", "7")
    assert load_settings().profile.lookback_days == 7


def test_a_base_is_found_beside_its_file(tmp_path: Path) -> None:
    """A file's base may be another file, relative to it."""
    (tmp_path / "deep").mkdir()
    write(tmp_path, "[scoring]\nlookback_days = 3\ncooldown_s = 1\n", "low.toml")
    path = write(tmp_path / "deep", 'base = "../low.toml"\n[scoring]\ncooldown_s = 2\n')
    actual = load_settings(path, environ={}).profile
    assert (actual.lookback_days, actual.cooldown_s) == (3, 2.0)


# --- refusals ------------------------------------------------------------------------------------

TYPED_WRONG = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@given(TYPED_WRONG, st.sampled_from(SECTIONS), st.sampled_from(["top", "section", "below"]))
def test_unknown_keys_are_refused_at_any_depth(name: str, section: str, depth: str) -> None:
    """A key nobody knows is refused by name at the top, in a section and below a key."""
    key = next(key for key in KEYS.values() if key.section == section)
    text = {
        "top": f"{name} = 1\n",
        "section": f"[{section}]\n{name} = 1\n",
        "below": f"[{section}.{key.key}]\n{name} = 1\n",
    }[depth]
    known = name in {"base", *SECTIONS} or any(
        name == key.key for key in KEYS.values() if key.section == section
    )
    with tempfile.TemporaryDirectory() as folder:
        problems = check_file(write(Path(folder), text))
    if not known:
        assert len(problems) == 1
        assert (name if depth != "below" else key.label) in problems[0].text


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("[scoring]\nmin_presure_ratio = 2.0\n", ":2", "Did you mean min_pressure_ratio?"),
        ("\n[scorin]\nlookback_days = 2\n", ":2", "Did you mean scoring?"),
        ("lookback_days = 2\n", ":1", "Write it below [scoring]."),
        ("[windows]\nlookback_days = 2\n", ":2", "It belongs in [scoring]."),
        ("scoring = 3\n", ":1", "write [scoring]"),
        ("[scoring]\nmin_pressure_ratio = 0.5\n", ":2", "within 1.0 to 100.0, was 0.5. Use 1.0."),
        ("[scoring]\nmin_pressure_ratio = nan\n", ":2", "was nan"),
        ("[scoring.min_pressure_ratio]\nx = 1\n", "", "must be a number, was {'x': 1}."),
        ("[windows]\nwindow_s = 7\nwindow_step_s = 3\n", ":3", "must divide window_s = 7"),
        ("[log]\nlevel = debug\n", "", "must be TOML"),
        ("base = 3\n", "", "`base` must be"),
        ('base = "ifd_v3_test"\n', ":base", "Did you mean ifd_v3_testing?"),
        ('base = "mine.toml"\n', ":base", "must end in at most 8 steps"),
        ('base = "gone.toml"\n', "", "can't be read"),
        ("[" * 5000, "", "must be TOML"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, place: str, message: str) -> None:
    """Each problem names file, line, key, value, bound and the way out."""
    path = write(tmp_path, text)
    (problem,) = check_file(path)
    assert message in str(problem)
    assert place in problem.where
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ={})
    assert str(caught.value) == str(problem)


def test_refused_bytes(tmp_path: Path) -> None:
    """A file that is no text, too large, a folder or not there is named."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[log]\n\xff")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "folder.toml").mkdir()
    for name, message in (
        ("binary.toml", "byte 6"),
        ("huge.toml", "1 MiB"),
        ("folder.toml", "directory"),
        ("gone.toml", "No such file"),
    ):
        (problem,) = check_file(tmp_path / name)
        assert message in str(problem)
        assert name in problem.where


def test_all_problems_of_all_sources_at_once(tmp_path: Path) -> None:
    """One run tells everything that is wrong."""
    path = write(tmp_path, "[scoring]\nlookback_days = 0\nx = 1\n[log]\nlevel = 3\n")
    environ = {"IFD_WINDOWS_WINDOW_S": "a minute", "IFD_SCORING_LOOKBAK_DAYS": "3"}
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {"windo_s": 60, "cooldown_s": -1}, environ)
    lines = str(caught.value).splitlines()
    assert lines[0] == "7 problems in the settings:"
    assert len(lines) == 8
    assert "Did you mean IFD_SCORING_LOOKBACK_DAYS?" in str(caught.value)
    assert "`windo_s` is no setting. Did you mean window_s?" in str(caught.value)


def test_variables_that_are_no_settings() -> None:
    """The prefix is ours: a meaningless IFD_ variable is refused, those of the tests are not."""
    load_settings(environ={"IFD_TEST_DATA": "x", "IFD_REQUIRE_DATA": "1", "HOME": "/", "IF": "d"})
    with pytest.raises(ConfigError, match=r"IFD_WINDOW_S: means no setting\. Did you mean IFD_"):
        load_settings(environ={"IFD_WINDOW_S": "60"})


def test_numbers_in_the_environment() -> None:
    """A number in a variable is read like one in a file, and refused like one."""
    environ = {"IFD_WINDOWS_LATENESS_S": "2", "IFD_ENGINE_RING_CAPACITY_EVENTS": "131_072"}
    actual = load_settings(environ=environ).profile
    assert (actual.lateness_s, actual.ring_capacity_events) == (2.0, 131_072)
    for text in ("", "nan", "inf", "1,5", "True", "1e400"):
        with pytest.raises(ConfigError, match="IFD_WINDOWS_LATENESS_S"):
            load_settings(environ={"IFD_WINDOWS_LATENESS_S": text})


def test_the_environment_is_read_in_one_module() -> None:
    """No other module of the package looks at the environment."""
    found = [
        path.name
        for path in (ROOT / "ifd_fast").rglob("*.py")
        if re.search(r"os\.environ|getenv|environb", path.read_text("utf-8"))
    ]
    assert found == ["config.py"]


def test_find_key() -> None:
    """A setting is found by its attribute and by its full name."""
    assert find_key("log_level") == find_key("log.level") == KEYS["log_level"]
    with pytest.raises(ConfigError, match=r"Did you mean log\.level"):
        find_key("log.levl")


# --- the samples and the command -----------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda p: p.name)
def test_the_samples_are_sound(path: Path) -> None:
    """Each sample of config/ is legal, and says only what differs from its base."""
    assert check_file(path) == []
    settings = load_settings(path, environ={})
    mine = {name for name, origin in settings.origins.items() if origin.kind == "file"}
    assert mine
    assert all(getattr(settings.profile, n) != getattr(Profile(), n) for n in mine)


def test_the_low_latency_sample_scores_ten_times_a_second() -> None:
    """The co-located sample has the design's scoring interval of 0.1 s."""
    profile = load_settings(ROOT / "config" / "colo.toml", environ={}).profile
    assert profile.scoring_interval_ns == 100_000_000


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ifd config` in a process of its own."""
    command = [sys.executable, "-c", "from ifd_fast.cli import main; main()", "config"]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("IFD_")}
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environ, cwd=ROOT
    )


def test_check_exits_with_2_and_lists_everything(tmp_path: Path) -> None:
    """`ifd config check` goes through all files before it fails."""
    bad = write(tmp_path, "[log]\nlevel = 1\ncolour = 2\n")
    actual = run("check", str(bad), "config/colo.toml", "ifd_v3_testing", "gone.toml")
    assert actual.returncode == 2
    assert actual.stderr.count("\n") == 4
    assert f"{bad}:2:" in actual.stderr
    assert f"{bad}:3:" in actual.stderr
    assert "gone.toml: can't be read" in actual.stderr
    assert actual.stdout.splitlines() == ["config/colo.toml: sound", "ifd_v3_testing: sound"]
    assert run("check", "config/colo.toml", "config/batch.toml").returncode == 0


def test_show_prints_a_file_that_gives_the_same(tmp_path: Path) -> None:
    """`ifd config show` is a profile file, with its digest in a comment."""
    result = CliRunner().invoke(config, ["show", "--set", "windows.window_s=60", "--origin"])
    assert result.exit_code == 0
    settings = load_settings(write(tmp_path, result.output), environ={})
    assert settings.profile.window_s == 60
    assert f"# digest {settings.digest}" in result.output
    assert "# flag window_s" in result.output


def test_show_as_json() -> None:
    """`--json` gives digests, settings by section, and origins if asked for."""
    result = CliRunner().invoke(config, ["show", "--profile", "ifd_v3_testing", "--json"])
    tree = json.loads(result.output)
    testing = load_settings("ifd_v3_testing", environ={})
    assert (tree["profile"], tree["digest"]) == ("ifd_v3_testing", testing.digest)
    assert tree["settings"] == testing.profile.tree()
    assert "origins" not in tree
    result = CliRunner().invoke(config, ["show", "--origin", "--json"])
    assert set(json.loads(result.output)["origins"]) == {key.label for key in KEYS.values()}


@pytest.mark.parametrize("pair", ["window_s", "windo_s=60", "window_s=abc", "window_s=7.5"])
def test_show_refuses_a_wrong_pair(pair: str) -> None:
    """`--set` asks for a known key and a legal value."""
    result = CliRunner().invoke(config, ["show", "--set", pair])
    assert isinstance(result.exception, ConfigError)
