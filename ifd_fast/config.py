"""Settings in force: profile file < environment < flag, each value with where it came from.

The environment is read here and nowhere else. A setting's variable is `IFD_<SECTION>_<KEY>`, as in
`IFD_SCORING_MIN_PRESSURE_RATIO`; an `IFD_` variable that means nothing is refused. `IFD_PROFILE`
names the profile when no flag does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ifd_fast.credentials import Secret, parse_api_key, read_key_file
from ifd_fast.errors import ConfigError
from ifd_fast.profile_files import (
    Layer,
    Origin,
    Problem,
    packaged_profiles,
    put_value,
    read_profile,
)
from ifd_fast.profiles import KEYS, SECTIONS, Key, Profile, Value, check_together, nearest

__all__ = [
    "DEFAULT_PROFILE",
    "Origin",
    "Problem",
    "Settings",
    "check_file",
    "child_environment",
    "find_api_key",
    "find_key",
    "find_notify_socket",
    "find_watchdog_s",
    "load_settings",
    "packaged_profiles",
    "parse_text",
    "read_api_key",
    "to_toml",
]

DEFAULT_PROFILE: Final = "ifd_v3_production"
# Variables with our prefix that are no settings: the rest of the prefix belongs to the settings.
_NO_SETTINGS: Final = {
    "IFD_API_KEY_FILE",  # where the key lies, see read_api_key
    "IFD_STREAMS",  # the tests' own
    "IFD_FIXED_EXAMPLES",  # the tests' own
    "IFD_PROFILE",
    "IFD_REQUIRE_DATA",  # the tests' own
    "IFD_TEST_DATA",  # the tests' own
    "IFD_WHOLE",  # the tests' own
}


@dataclass(frozen=True, slots=True)
class Settings:
    """A profile in force, its name or path, and the origin of each value by attribute name."""

    name: str
    profile: Profile
    origins: Mapping[str, Origin]

    @property
    def digest(self) -> str:
        """SHA-256 of all that is in force; it goes into each row's file."""
        return self.profile.digest


def load_settings(
    profile: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings in force.

    Parameters
    ----------
    profile
        A packaged profile's name or the path of a file; else `IFD_PROFILE`; else
        `ifd_v3_production`.
    overrides
        Values of flags, by attribute (`window_s`) or full name (`windows.window_s`); None means
        that the flag was not given.
    environ
        Stands in for the process's environment.

    Raises
    ------
    ConfigError
        Names every problem of every source, not only the first.
    """
    variables = os.environ if environ is None else environ
    name = str(profile or variables.get("IFD_PROFILE") or DEFAULT_PROFILE)
    problems: list[Problem] = []
    layers = [
        *read_profile(name, problems),
        _read_environment(variables, problems),
        _read_overrides(overrides or {}, problems),
    ]
    merged = _merge(layers)
    if not problems:
        problems += _problems_together(merged)
    if problems:
        raise ConfigError(_listed(problems))
    return Settings(name, msgspec.convert(merged.values, Profile), merged.origins)


def check_file(path: str | os.PathLike[str]) -> list[Problem]:
    """Return everything wrong with a profile, its bases included; nothing else is looked at."""
    problems: list[Problem] = []
    merged = _merge(read_profile(str(path), problems))
    return problems or _problems_together(merged)


def find_key(name: str, where: str = "settings") -> Key:
    """Return the setting called `min_pressure_ratio` or `scoring.min_pressure_ratio`."""
    by_label = {key.label: key for key in KEYS.values()}
    found = KEYS.get(name) or by_label.get(name)
    if found is None:
        known = by_label if "." in name else KEYS
        raise ConfigError(f"{where}: `{name}` is no setting. {nearest(name, known)}")
    return found


def parse_text(key: Key, text: str) -> object:
    """Return the value that a text stands for, the text itself if it is no number."""
    if key.kind is not str:
        try:
            return key.kind(text)
        except ValueError:
            return text  # problem_with says what it must be
    return text


def to_toml(settings: Settings, *, origin: bool = False) -> str:
    """Return the settings as a file that gives the same settings again."""
    lines: list[str] = []
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        for name, key in KEYS.items():
            if key.section == section:
                value = getattr(settings.profile, name)
                line = f"{key.key} = {_toml_value(value)}"
                lines.append(f"{line:<44}  # {settings.origins[name]}" if origin else line)
    return "\n".join(lines[1:]) + "\n"


def read_api_key(environ: Mapping[str, str] | None = None) -> Secret:
    """Return the Databento key of `DATABENTO_API_KEY`, else of a file only its owner can read.

    The file is `IFD_API_KEY_FILE`, else `ifd/api_key` in the user's configuration folder.

    Raises
    ------
    CredentialError
        If there is no key, it has another form, or the file is open to others.
    """
    variables = os.environ if environ is None else environ
    if text := variables.get("DATABENTO_API_KEY"):
        return parse_api_key(text, "DATABENTO_API_KEY")
    if chosen := variables.get("IFD_API_KEY_FILE"):
        return read_key_file(Path(chosen))
    return read_key_file(_own_key_file(variables))


def find_api_key(environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return the key as `read_api_key` does, or None where nobody has set one.

    Raises
    ------
    CredentialError
        If one is set, but it can't be read, has another form, or its file is open to others.
    """
    variables = os.environ if environ is None else environ
    named = variables.get("DATABENTO_API_KEY") or variables.get("IFD_API_KEY_FILE")
    return read_api_key(variables) if named or _own_key_file(variables).exists() else None


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a process that we start: no key, none of them needs one.

    What a process was started with is readable in /proc for as long as it runs.
    """
    variables = os.environ if environ is None else environ
    return {name: text for name, text in variables.items() if name != "DATABENTO_API_KEY"}


def find_notify_socket(environ: Mapping[str, str] | None = None) -> str:
    """Return where systemd wants to be told of states, '' if it doesn't."""
    variables = os.environ if environ is None else environ
    return variables.get("NOTIFY_SOCKET", "")


def find_watchdog_s(environ: Mapping[str, str] | None = None) -> float:
    """Return how many seconds systemd waits for a sign of life of this process, 0 if it doesn't."""
    variables = os.environ if environ is None else environ
    wanted, whose = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or whose not in {"", str(os.getpid())}:
        return 0.0
    return int(wanted) / 1e6


def _own_key_file(variables: Mapping[str, str]) -> Path:
    home = variables.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "ifd" / "api_key"


def _read_environment(variables: Mapping[str, str], problems: list[Problem]) -> Layer:
    layer = Layer({}, {})
    known = {key.variable: key for key in KEYS.values()}
    for variable in sorted(variables):
        if not variable.startswith("IFD_") or variable in _NO_SETTINGS:
            continue
        key = known.get(variable)
        if key is None:
            way_out = nearest(variable, [*known, *_NO_SETTINGS])
            problems.append(Problem(variable, f"means no setting. {way_out}"))
            continue
        value = parse_text(key, variables[variable])
        put_value(layer, key.section, key.key, value, Origin("environment", variable), problems)
    return layer


def _read_overrides(overrides: Mapping[str, object], problems: list[Problem]) -> Layer:
    layer = Layer({}, {})
    for name, value in overrides.items():
        if value is None:
            continue
        try:
            key = find_key(name, "flag")
        except ConfigError as error:
            problems.append(Problem("flag", str(error).removeprefix("flag: ")))
            continue
        put_value(layer, key.section, key.key, value, Origin("flag", key.name), problems)
    return layer


def _merge(layers: list[Layer]) -> Layer:
    """Lay the sources over each other, the last one on top.

    Whoever sets `window_s` alone gets tumbling windows if the step nobody chose doesn't fit.
    """
    merged = Layer({}, {})
    for layer in layers:
        for name, value in layer.values.items():
            merged.put(name, value, layer.origins[name])
    window_s, step_s = merged.values["window_s"], merged.values["window_step_s"]
    chosen = merged.origins["window_step_s"].kind not in {"default", "packaged"}
    if not chosen and int(window_s) % int(step_s):
        merged.put("window_step_s", window_s, merged.origins["window_s"])
    return merged


def _problems_together(merged: Layer) -> list[Problem]:
    return [
        Problem(merged.origins[name].where or "settings", text)
        for name, text in check_together(merged.values)
    ]


def _listed(problems: list[Problem]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    return "\n".join([f"{len(problems)} problems in the settings:", *map(str, problems)])


def _toml_value(value: Value) -> str:
    # A printable text needs two escapes only; a float's repr is TOML ("1e-05" and "1.0" too).
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
