"""A signal's id: what it says, and whether these settings can have made it."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ifd_fast.config import load_settings, packaged_profiles
from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.recordings import differing_keys

if TYPE_CHECKING:
    from ifd_fast.profiles import Profile
    from ifd_fast.recordings import Recording

__all__ = ["SignalId", "check_rules", "parse_id"]

_DIGITS: Final = 12
_ID: Final = re.compile(r"(\d{4}-\d\d-\d\d)-(\d+)-([BS])-(\d+)-([0-9a-f]{12})")


class SignalId(NamedTuple):
    """Trade date, instrument, side, first instant of the episode, first digits of the rules."""

    text: str
    trade_date: dt.date
    instrument_id: int
    side: str  # BUY or SELL
    first_ns: int
    digest: str


def parse_id(text: str) -> SignalId:
    """Return what an id says, such as 2026-02-02-101-B-1770044556000000000-91e39551599b.

    Raises UsageError if it is none.
    """
    found = _ID.fullmatch(text.strip())
    try:
        if found is not None:
            date = dt.date.fromisoformat(found[1])
            side = "BUY" if found[3] == "B" else "SELL"
            return SignalId(found[0], date, int(found[2]), side, int(found[4]), found[5])
    except ValueError:  # no day of the calendar
        pass
    raise UsageError(
        f"A signal's id is DATE-INSTRUMENT-B|S-NANOSECONDS-RULES, was {text!r}. "
        "Copy it from the column signal_id."
    )


def check_rules(wanted: SignalId, recording: Recording) -> None:
    """Raise ConfigError unless the settings at hand are those that made the id; name what differs.

    The id holds a digest, so the keys can be named only if the run's report or a packaged profile
    has it.
    """
    if recording.rules_digest.startswith(wanted.digest):
        return
    message = (
        f"{wanted.text} was made by rules {wanted.digest}, those of "
        f"{recording.settings.name} are {recording.rules_digest[:_DIGITS]}"
    )
    for name, profile in _known_profiles(recording):
        if profile.rules_digest.startswith(wanted.digest):
            keys = "; ".join(differing_keys(recording.settings.profile, profile))
            raise ConfigError(f"{message}: {keys}. Its rules are those of {name}.")
    raise ConfigError(
        f"{message}, and no known profile has the former. Name the profile it was made by with "
        "--profile, or the folder of its run with --run."
    )


def _known_profiles(recording: Recording) -> list[tuple[str, Profile]]:
    known = [(name, load_settings(name, environ={}).profile) for name in packaged_profiles()]
    recorded = recording.recorded_profile
    return known if recorded is None else [("the recorded run", recorded), *known]
