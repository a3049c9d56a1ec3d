"""What a keeper does with rows and signals: how it names and shows them, and whom it calls.

The engine writes it into the ring's head, so that every keeper of that ring does the same.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ifd_fast.errors import UsageError

__all__ = ["Form", "KeeperPlan", "check_calls", "find_function"]

Form: TypeAlias = Literal["text", "json", "none"]

_CHECK: Final = """\
import sys
from ifd_fast.errors import UsageError
from ifd_fast.keeper_plan import find_function
try:
    for name in sys.argv[1:]:
        find_function(name)
except UsageError as error:
    sys.exit(str(error))
"""


class KeeperPlan(msgspec.Struct, frozen=True):
    """Everything a keeper must know beside the ring.

    Attributes
    ----------
    calendar, rules_digest
        Of the engine's settings: trade dates, and ids of signals.
    form
        How signals, states and the end are printed; `none`: they aren't.
    calls
        Functions called with each `InstitutionalSignalV3`, as `MODULE:FUNCTION`.
    """

    calendar: str
    rules_digest: str
    form: Form = "none"
    calls: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return it as bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> KeeperPlan:
        """Return what `encode` wrote."""
        return msgspec.json.decode(data, type=cls)


def find_function(name: str) -> Callable[[Any], object]:
    """Return the function that `MODULE:FUNCTION` names; raise UsageError if there is none."""
    module, _, attribute = name.partition(":")
    try:
        found: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"`{name}` can't be called: {error}. Name it MODULE:FUNCTION.") from None
    if not callable(found):
        raise UsageError(f"`{name}` is no function, but {type(found).__name__}.")
    return found


def check_calls(calls: tuple[str, ...]) -> None:
    """Raise UsageError if one can't be found; tried in another process, as the keeper is one.

    What a user's module does as it is imported is nothing for the engine.
    """
    if not calls:
        return
    command = [sys.executable, "-c", _CHECK, *calls]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UsageError(lines[-1] if lines else f"{calls} can't be called.")
