"""The tree of exceptions; the exit code of the command line goes with the branch.

- IfdError                   1  failed
  - UsageError               2  wrong usage
    - ConfigError            2  a setting is unknown, out of bounds or unreadable
  - DataError                3  bad input data
    - FormatError            3  not DBN 1 to 3, or bytes that can't be walked
    - TruncatedError         3  the input ends inside a frame or a record
    - SchemaError            3  valid DBN of another schema, dataset or day
  - AlreadyRunningError      4  another process holds this data directory
  - RequestError             1  Databento's HTTP API didn't answer, or refused a request
  - CredentialError          5  key, entitlement or budget
    - BudgetError            5  a request would pass the month's limit

A message names the thing, its value, the bound and the way out.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyRunningError",
    "BudgetError",
    "ConfigError",
    "CredentialError",
    "DataError",
    "FormatError",
    "IfdError",
    "RequestError",
    "SchemaError",
    "TruncatedError",
    "UsageError",
]


class IfdError(Exception):
    """Anything that stops this project's work; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1


class UsageError(IfdError):
    """A wrong call: arguments that don't exist, clash or are out of bounds."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting that is unknown, out of bounds or unreadable."""


class DataError(IfdError):
    """Input that can't be used; the message names the file and the byte."""

    exit_code = 3


class FormatError(DataError):
    """Bytes that are not DBN 1 to 3, or that can't be walked record by record."""


class TruncatedError(DataError):
    """Input that ends inside a compressed frame or a record."""


class SchemaError(DataError):
    """Valid DBN, but of another schema, dataset or day than asked for."""


class AlreadyRunningError(IfdError):
    """Another process holds this data directory."""

    exit_code = 4


class RequestError(IfdError):
    """An answer that didn't come, can't be read, or refuses the request for what it asks.

    `case` is the API's own word for it; `was_refused` says that nothing was or will be sent.
    """

    case: str = ""
    was_refused: bool = False


class CredentialError(IfdError):
    """Nothing to do with these credentials: key, entitlement or budget.

    `case` and `was_refused` are those of `RequestError`, where the API refused.
    """

    exit_code = 5
    case: str = ""
    was_refused: bool = False


class BudgetError(CredentialError):
    """A request that would pass the month's limit, and was not sent."""
