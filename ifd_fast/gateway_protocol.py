"""The text half of Databento's live protocol: lines of `name=value` joined by bars.

A session begins in text: greeting and challenge from the gateway, then from the client its answer
to the challenge, subscriptions and the word to start. From there on the gateway sends DBN.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

from ifd_fast.credentials import Secret

__all__ = [
    "AuthRequest",
    "ProtocolError",
    "SubscriptionRequest",
    "answers_challenge",
    "encode_line",
    "parse_auth",
    "parse_line",
    "parse_subscription",
]

LINE_BYTES_MAX: Final = 1 << 16  # 500 symbols of 71 bytes, and room
HEARTBEAT_DEFAULT_S: Final = 30
HEARTBEAT_MAX_S: Final = 1800
_KEY_TAIL: Final = 5  # letters of the key that follow the hash, by which its owner is found
_STYPES: Final = ("raw_symbol", "parent", "instrument_id")


class ProtocolError(Exception):
    """What a client asked for can't be done; the text is what the client is told."""


class AuthRequest(NamedTuple):
    """The client's answer to the challenge, and how it wants its session."""

    answer: str
    dataset: str
    ts_out: bool
    compressed: bool
    heartbeat_interval_s: int
    client: str


class SubscriptionRequest(NamedTuple):
    """One line of a subscription; a long list of symbols takes several, the last says so."""

    schema: str
    stype_in: str
    symbols: tuple[str, ...]
    start_ns: int | None
    snapshot: bool
    number: int
    is_last: bool


def encode_line(**fields: object) -> bytes:
    """Return one line; fields that are None are left out."""
    return ("|".join(f"{k}={v}" for k, v in fields.items() if v is not None) + "\n").encode()


def parse_line(line: bytes) -> dict[str, str]:
    """Return the fields of one line.

    Raises
    ------
    ProtocolError
        The bytes are no text, or a part of them has no `=`.
    """
    try:
        parts = [part.partition("=") for part in line.decode().strip().split("|")]
    except UnicodeDecodeError:
        raise ProtocolError("a control line must be UTF-8 text") from None
    if not all(name and equals for name, equals, _ in parts):
        raise ProtocolError("a control line must be name=value, joined by |")
    return {name: value for name, _, value in parts}


def answers_challenge(answer: str, challenge: str, key: Secret) -> bool:
    """Say whether `answer` is that of somebody who has the key; takes the same time either way."""
    text = key.reveal()
    digest = hashlib.sha256(f"{challenge}|{text}".encode()).hexdigest()
    expected = f"{digest}-{text[-_KEY_TAIL:]}"
    return hmac.compare_digest(answer.encode(), expected.encode())


def parse_auth(fields: dict[str, str], heartbeat_min_s: int) -> AuthRequest:
    """Return what a client says of itself.

    Raises
    ------
    ProtocolError
        A field is missing, or asks for what the gateway doesn't do.
    """
    for name in ("auth", "dataset"):
        if not fields.get(name):
            raise ProtocolError(f"authentication needs the field `{name}`")
    if fields.get("encoding", "dbn") != "dbn":
        raise ProtocolError("`encoding` must be dbn")
    compression = fields.get("compression", "none")
    if compression not in ("none", "zstd"):
        raise ProtocolError("`compression` must be none or zstd")
    interval_s = _number(fields, "heartbeat_interval_s", HEARTBEAT_DEFAULT_S)
    if not heartbeat_min_s <= interval_s <= HEARTBEAT_MAX_S:
        raise ProtocolError(
            f"`heartbeat_interval_s` must be {heartbeat_min_s} to {HEARTBEAT_MAX_S}"
        )
    return AuthRequest(
        answer=fields["auth"],
        dataset=fields["dataset"],
        ts_out=fields.get("ts_out", "0") == "1",
        compressed=compression == "zstd",
        heartbeat_interval_s=interval_s,
        client=fields.get("client", ""),
    )


def parse_subscription(fields: dict[str, str], schemas: tuple[str, ...]) -> SubscriptionRequest:
    """Return one line of a subscription.

    Raises
    ------
    ProtocolError
        A field is missing or of a wrong form, or fields exclude each other.
    """
    schema, stype_in = fields.get("schema", ""), fields.get("stype_in", "raw_symbol")
    if schema not in schemas:
        raise ProtocolError(f"schema {schema!r} is not served: one of {', '.join(schemas)}")
    if stype_in not in _STYPES:
        raise ProtocolError(f"`stype_in` {stype_in!r} is not served: one of {', '.join(_STYPES)}")
    symbols = tuple(one for one in fields.get("symbols", "").split(",") if one)
    if not symbols:
        raise ProtocolError("a subscription needs `symbols`, or ALL_SYMBOLS")
    start_ns = _number(fields, "start", -1) if "start" in fields else None
    snapshot = fields.get("snapshot", "0") == "1"
    if snapshot and start_ns is not None:
        raise ProtocolError("`snapshot` and `start` exclude each other")
    if snapshot and schema != "mbo":
        raise ProtocolError(f"there is no snapshot of schema {schema}")
    number = _number(fields, "id", 0)
    is_last = fields.get("is_last", "1") == "1"
    return SubscriptionRequest(schema, stype_in, symbols, start_ns, snapshot, number, is_last)


def _number(fields: dict[str, str], name: str, default: int) -> int:
    text = fields.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 20:
        raise ProtocolError(f"`{name}` must be a whole number")
    return int(text)
