"""Secrets: held so that no log, traceback, file or message shows them by accident."""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path
from typing import Final, NoReturn

from ifd_fast.errors import CredentialError

__all__ = [
    "KEY_PATTERN",
    "Secret",
    "clean_answer",
    "parse_api_key",
    "read_key_file",
    "redact_text",
]

HIDDEN: Final = "[secret]"
KEY_PATTERN: Final = re.compile(r"db-[A-Za-z0-9]{29}")
# In a text anything that starts like a key goes, cut short or run together as it may be.
_LIKE_KEY: Final = re.compile(r"db-[A-Za-z0-9]{8,}")
_KEY_FILE_BYTES_MAX: Final = 1024
_ANSWER_CHARACTERS: Final = 300


class Secret:
    """A text that shows itself only when asked: `reveal()`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text: call it in the argument that needs it, keep it nowhere."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: it would lie readable in a file or a pipe")


def redact_text(text: str) -> str:
    """Return `text` with everything that looks like an API key hidden."""
    return _LIKE_KEY.sub(HIDDEN, text)


def clean_answer(text: str, key: Secret) -> str:
    """Return a stranger's text on one line, short, without the key in any form it was sent in."""
    carried = base64.b64encode(f"{key.reveal()}:".encode()).decode()
    for secret in (key.reveal(), carried, carried.rstrip("=")):
        text = text.replace(secret, HIDDEN)
    text = " ".join(redact_text(text).split())
    text = "".join(one if one.isprintable() else "?" for one in text).rstrip(". ")
    return text if len(text) <= _ANSWER_CHARACTERS else text[:_ANSWER_CHARACTERS] + "..."


def parse_api_key(text: str, where: str) -> Secret:
    """Return the key in `text`; `where` names its place in messages, which never show it."""
    key = text.strip()
    if KEY_PATTERN.fullmatch(key) is None:
        raise CredentialError(
            f"{where} must be a Databento API key, `db-` and 29 letters or digits; found"
            f" {len(key)} characters of another form. Copy it again from the Databento portal."
        ) from None
    return Secret(key)


def read_key_file(path: Path) -> Secret:
    """Read a key from a file that nobody but its owner may read.

    Raises
    ------
    CredentialError
        If the file can't be read, isn't a regular file of this user, is readable or writable by
        others, or holds no key.
    """
    try:
        # NONBLOCK: a pipe put in the file's place must not hang the start
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CredentialError(
            f"API key file {path} can't be read: {error.strerror}."
            " Set DATABENTO_API_KEY, or write the key there with mode 0600."
        ) from None
    try:
        # The open file is checked, not its name: the name may change hands in between.
        _check_owner(path, os.fstat(descriptor))
        content = os.read(descriptor, _KEY_FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > _KEY_FILE_BYTES_MAX:
        raise CredentialError(f"API key file {path} must hold a key alone, is over 1024 bytes.")
    return parse_api_key(content.decode("ascii", errors="replace"), f"API key file {path}")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise CredentialError(f"API key file {path} must be a regular file.")
    if status.st_uid not in {os.geteuid(), 0}:
        raise CredentialError(
            f"API key file {path} belongs to user {status.st_uid}, must belong to"
            f" {os.geteuid()}. Copy it to a file of your own."
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise CredentialError(
            f"API key file {path} must be private, mode 0600, was {mode:04o}."
            f" Run `chmod 600 {path}`."
        )
