"""What the live gateway says about the session itself: system messages and errors, DBN 1 to 3."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from ifd_kernels.layout import RTYPE_ERROR

__all__ = ["ErrorCode", "Message", "SystemCode", "decode_message"]

_SENT: Final = slice(8, 16)
_TEXT: Final = 16
_V1_TEXT_END: Final = 80
_SYSTEM_CODE: Final = 319
_ERROR_CODE: Final = 318
_UNSET: Final = 255


class SystemCode(IntEnum):
    """What a system message says."""

    HEARTBEAT = 0
    SUBSCRIPTION_ACK = 1
    SLOW_READER_WARNING = 2
    REPLAY_COMPLETED = 3
    END_OF_INTERVAL = 4
    UNSUBSCRIBE_ACK = 5


class ErrorCode(IntEnum):
    """Why the gateway complains; after most of these it hangs up."""

    AUTH_FAILED = 1
    API_KEY_DEACTIVATED = 2
    CONNECTION_LIMIT_EXCEEDED = 3
    SYMBOL_RESOLUTION_FAILED = 4
    INVALID_SUBSCRIPTION = 5
    INTERNAL_ERROR = 6
    SKIPPED_RECORDS = 7
    REPLAY_AGED_OUT = 8


_HARMLESS: Final = frozenset({ErrorCode.SYMBOL_RESOLUTION_FAILED, ErrorCode.SKIPPED_RECORDS})


class Message(NamedTuple):
    """A system message or an error; code 255 is none."""

    is_error: bool
    code: int
    text: str
    ts_event_ns: int = -1  # the gateway's time, ns UTC; UNDEF is far beyond any

    @property
    def is_fatal(self) -> bool:
        """The gateway hangs up after it; an unknown error shows by hanging up, or not."""
        return self.is_error and self.code != _UNSET and self.code not in _HARMLESS


def decode_message(data: bytes, version: int) -> Message:
    """Return what a system (0x17) or error (0x15) record says; DBN 1 has no codes."""
    is_error = data[1] == RTYPE_ERROR
    sent_ns = int.from_bytes(data[_SENT], "little")
    if version == 1:
        text = _cut(data[_TEXT:_V1_TEXT_END])
        is_heartbeat = not is_error and text.lower().startswith("heartbeat")
        code = SystemCode.HEARTBEAT if is_heartbeat else _UNSET
        return Message(is_error, code, text, sent_ns)
    at = _ERROR_CODE if is_error else _SYSTEM_CODE
    return Message(is_error, data[at], _cut(data[_TEXT:at]), sent_ns)


def _cut(text: bytes) -> str:
    return text.partition(b"\0")[0].decode("utf-8", errors="replace")
