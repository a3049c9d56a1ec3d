"""The tree of exceptions; the exit code of the command line goes with the branch.

- IfdError                   1  failed
  - UsageError               2  wrong usage
    - ConfigError            2  a setting is unknown, out of bounds or unreadable
  - DataError                3  bad input data
    - FormatError            3  not DBN 1 to 3, or bytes that can't be walked
    - TruncatedError         3  the input ends inside a frame or a record
    - SchemaError            3  valid DBN of another schema, dataset or day
  - AlreadyRunningError      4  another process holds this data directory
  - CredentialError          5  key, entitlement or budget

A message names the thing, its value, the bound and the way out.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyRunningError",
    "ConfigError",
    "CredentialError",
    "DataError",
    "FormatError",
    "IfdError",
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


class CredentialError(IfdError):
    """Nothing to do with these credentials: key, entitlement or budget."""

    exit_code = 5
