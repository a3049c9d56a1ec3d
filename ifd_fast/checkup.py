"""A checkup: each check ends with a verdict, what was found, and a way out.

A check never ends the checkup: what it raises becomes its verdict, without anything secret in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from ifd_fast.credentials import redact_text
from ifd_fast.errors import CredentialError, IfdError

if TYPE_CHECKING:
    from ifd_fast.profiles import Profile

__all__ = ["Check", "Verdict", "examine", "exit_code_of", "failed", "run_check", "verdict_of"]

Verdict: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

_SHOWN_CHARACTERS: Final = 400


class Check(NamedTuple):
    """One check. `of_credentials`: it failed for the key, what the key may do, or the budget."""

    name: str
    verdict: Verdict
    found: str
    way_out: str = ""
    of_credentials: bool = False


def examine(
    profile: str | None = None, *, offline: bool = False, now_ns: int | None = None
) -> list[Check]:
    """Return all checks, in order; those that need a network or a key are skipped without.

    Parameters
    ----------
    profile
        Name or path; else what is in force.
    offline
        Ask nobody.
    now_ns
        Stands in for the clock, ns UTC.
    """
    from ifd_fast.checkup_databento import check_databento
    from ifd_fast.checkup_machine import check_clock, check_machine
    from ifd_fast.checkup_settings import check_data, load_profile

    now = time.time_ns() if now_ns is None else now_ns
    in_force, configuration = load_profile(profile)
    checks = [*check_machine(_folder_of(in_force)), *configuration]
    checks += check_data(in_force, now)
    checks += run_check("clock", lambda: [check_clock(in_force, offline=offline)])
    return [*checks, *check_databento(in_force, now, offline=offline)]


def run_check(name: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what a check finds; what it raises is a failed check of that name."""
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - a broken machine breaks in ways nobody lists
        return [failed(name, error)]


def failed(name: str, error: Exception) -> Check:
    """Return the failed check for an error; ours name their way out themselves."""
    text = redact_text(" ".join(str(error).split()))[:_SHOWN_CHARACTERS]
    if isinstance(error, IfdError):
        return Check(name, "failed", text, "", isinstance(error, CredentialError))
    return Check(name, "failed", f"{type(error).__name__}: {text}", "Mend this and run it again.")


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict; what was skipped is no fault."""
    for verdict in ("failed", "warning"):
        if any(one.verdict == verdict for one in checks):
            return "failed" if verdict == "failed" else "warning"
    return "ok"


def exit_code_of(checks: Sequence[Check]) -> int:
    """Return 0 if nothing failed, 5 if only credentials did, else 1."""
    faults = [one for one in checks if one.verdict == "failed"]
    if not faults:
        return 0
    return CredentialError.exit_code if all(one.of_credentials for one in faults) else 1


def _folder_of(profile: Profile) -> Path:
    """Return the folder that runs write to, or the nearest one above it that is there."""
    folder = Path(profile.baselines_path).absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
