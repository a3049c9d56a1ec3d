"""The handshake over a real socket: let in, refused, ignored, fed garbage; the key stays hidden."""

from __future__ import annotations

import socket
import time
import traceback

import pytest
import zstandard

from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError, RequestError
from ifd_fast.live_protocol import LiveConnection, Subscription, Terms, open_connection
from tests.historical_server import KEY
from tests.live_server import Script, TestGateway, Told, serving

pytestmark = pytest.mark.border

TERMS = Terms("GLBX.MDP3", answer_timeout_s=0.2, connect_timeout_s=1.0)
PARENTS = tuple(f"Q{number}.OPT" for number in range(501))


def connect(
    gateway: TestGateway, terms: Terms = TERMS, wanted: tuple[Subscription, ...] = ()
) -> LiveConnection:
    """Open a connection to the tests' gateway."""
    return open_connection(Secret(KEY), gateway.address, terms, wanted)


def received(connection: LiveConnection, size: int = 7) -> bytes:
    """Return all that comes, taken in pieces of at most `size` bytes."""
    data, space = b"", memoryview(bytearray(size))
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        count = connection.receive(space)
        if count == 0:
            break
        if count is None:
            connection.wait(0.1)
        else:
            data += space[:count]
    connection.close()
    return data


def test_bytes_follow_the_handshake_whole() -> None:
    """No byte behind the last line of text is lost, and what was asked for is what was told."""

    def play(_number: int, _told: Told) -> Script:
        return Script([b"DBN", b"more of it"])

    wanted = (
        Subscription("definition", ("NQ.OPT",), start_ns=0),
        Subscription("mbo", PARENTS, snapshot=True),
    )
    with serving(play) as gateway:
        assert received(connect(gateway, wanted=wanted)) == b"DBNmore of it"
        told = gateway.told[0]
    auth, definition, first, second, start = told.lines
    assert (auth["dataset"], auth["encoding"], auth["ts_out"]) == ("GLBX.MDP3", "dbn", "0")
    assert (auth["compression"], auth["heartbeat_interval_s"]) == ("none", "5")
    assert (definition["start"], definition["snapshot"]) == ("0", "0")
    assert definition["stype_in"] == "parent"
    assert (first["is_last"], second["is_last"], second["snapshot"]) == ("0", "1", "1")
    assert "start" not in first
    assert f"{first['symbols']},{second['symbols']}".split(",") == list(PARENTS)
    assert start == {"start_session": "0"}


def test_compressed_bytes_come_out_plain() -> None:
    """Frames may be flushed and ended anywhere; the caller sees the stream alone."""
    text = bytes(range(256)) * 40
    packer = zstandard.ZstdCompressor().compressobj()
    packed = packer.compress(text) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    packed += packer.compress(b"tail") + packer.flush()
    packed += zstandard.ZstdCompressor().compress(b"another frame")
    with serving(lambda _number, _told: Script([packed[:9], packed[9:]])) as gateway:
        connection = connect(gateway, Terms("GLBX.MDP3", compressed=True, ts_out=True))
        assert received(connection, 1000) == text + b"tailanother frame"
        assert gateway.told[0].lines[0]["compression"] == "zstd"
        assert gateway.told[0].lines[0]["ts_out"] == "1"


@pytest.mark.parametrize(
    ("refusal", "error", "case"),
    [
        ("Authentication failed.", CredentialError, ""),
        (f"no licence for {KEY}", CredentialError, ""),
        ("User has reached their open connection limit", RequestError, "connection_limit"),
    ],
)
def test_a_refusal_says_why(refusal: str, error: type[Exception], case: str) -> None:
    """A refused key is exit code 5, too many sessions can be tried again; the key is hidden."""
    with serving() as gateway:
        gateway.refusal = refusal
        with pytest.raises(error) as caught:
            connect(gateway)
    assert getattr(caught.value, "case", "") == case
    assert getattr(caught.value, "exit_code", 0) == (5 if error is CredentialError else 1)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "can't be read"),
        (b"\xff\xfe\n\n", "can't be read"),
        (b"x" * 9000, "without a line's end"),
        (b"lsg_version=1\nno challenge\n", "can't be read"),
        (b"lsg_version=1\ncram=", "no answer within"),
        (b"", "no answer within"),
    ],
)
def test_garbage_and_silence_are_named(greeting: bytes, words: str) -> None:
    """What isn't a live gateway's greeting, or never ends, is an error in time."""
    with serving() as gateway:
        gateway.greeting = greeting
        with pytest.raises(RequestError, match=words) as caught:
            connect(gateway)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_nobody_there_is_said() -> None:
    """A port that nobody listens on is a request that failed, not a traceback of sockets."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    with pytest.raises(RequestError, match="can't be reached"):
        open_connection(Secret(KEY), address, TERMS, ())


def test_a_wrong_key_is_refused() -> None:
    """The gateway's own check of the digest fails for another key."""
    with serving() as gateway, pytest.raises(CredentialError, match="doesn't let this API key"):
        open_connection(Secret(KEY[:-1] + "r"), gateway.address, TERMS, ())
