"""Whether the live gateway lets a key in: the handshake alone, hung up before any data.

The key itself is never sent: the gateway asks, and is answered with a digest of key and question.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from ifd_fast.credentials import clean_answer, redact_text
from ifd_fast.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from typing import BinaryIO

    from ifd_fast.credentials import Secret

__all__ = ["Answer", "ask_licence", "live_address"]

_LINE_BYTES_MAX: Final = 8192


class Answer(NamedTuple):
    """What the gateway said; `is_busy`: too many sessions are open, the key may be sound."""

    was_granted: bool
    reason: str = ""
    is_busy: bool = False


def ask_licence(key: Secret, gateway: str, dataset: str, timeout_s: float) -> Answer:
    """Shake hands with the live gateway, and hang up.

    Raises
    ------
    ConfigError
        If `gateway` is no host:port.
    RequestError
        If nobody answers there, or not as a live gateway does.
    """
    address = live_address(gateway, dataset)
    where = f"live gateway {address[0]}:{address[1]}"
    try:
        with (
            socket.create_connection(address, timeout_s) as connection,
            connection.makefile("rb") as lines,
        ):
            return _shake_hands(connection, lines, key, dataset)
    except OSError as error:
        found = f"{where}: no answer ({type(error).__name__}). Check network and firewall."
    except (ValueError, TypeError) as error:
        text = clean_answer(str(error), key)
        found = f"{where}: the answer can't be read ({text}). Is it Databento's?"
    raise RequestError(found)


def live_address(gateway: str, dataset: str) -> tuple[str, int]:
    """Return host and port of a dataset's gateway: GLBX.MDP3 is `glbx-mdp3` in its name."""
    name = gateway.replace("{dataset}", dataset.lower().replace(".", "-"))
    host, colon, port = name.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(
            "`databento.live_gateway` must be host:port as in {dataset}.lsg.databento.com:13000,"
            f" was {redact_text(gateway)!r}."
        )
    return host.strip("[]"), int(port)


def _shake_hands(connection: socket.socket, lines: BinaryIO, key: Secret, dataset: str) -> Answer:
    from databento.common.cram import get_challenge_response
    from databento.live.gateway import (
        AuthenticationRequest,
        AuthenticationResponse,
        ChallengeRequest,
        Greeting,
    )

    Greeting.parse(_line(lines))
    challenge = ChallengeRequest.parse(_line(lines)).cram
    response = get_challenge_response(challenge, key.reveal())
    connection.sendall(bytes(AuthenticationRequest(auth=response, dataset=dataset)))
    answer = AuthenticationResponse.parse(_line(lines))
    if answer.success == "1":
        return Answer(was_granted=True)
    reason = clean_answer(answer.error or "without a reason", key)
    return Answer(was_granted=False, reason=reason, is_busy="connection limit" in reason.lower())


def _line(lines: BinaryIO) -> bytes:
    line = lines.readline(_LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ConnectionResetError  # hung up, or a flood without a line's end
    return line
