"""Databento's HTTP API: the official client unmodified, its failures in our own errors.

The key is revealed to the client alone. Whatever a server sends back is a stranger's text: before
a part of it stands in a message, the key goes out of it, also in the form HTTP carries it in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from ifd_fast.credentials import Secret, clean_answer, redact_text
from ifd_fast.errors import ConfigError, CredentialError, IfdError, RequestError

if TYPE_CHECKING:
    from databento import Historical

    from ifd_fast.profiles import Profile

__all__ = ["Failure", "HistoricalApi", "check_file_url", "check_gateway", "open_api"]

R = TypeVar("R")

_TRIES: Final = 3
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_PIECE_BYTES: Final = 1 << 16  # what is lost at most when a connection breaks
_DOMAIN: Final = ".databento.com"
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED: Final = {
    401: "The key is not accepted. Copy it again from the Databento portal, or make a new one.",
    402: "The account can't pay. See its billing page in the Databento portal.",
    403: "The account has no licence for this. See its plans in the Databento portal.",
}
_WAYS_OUT: Final = {
    422: "Ask for other symbols or another range.",
    429: "Too many requests: try again in a minute.",
}


class Failure(NamedTuple):
    """What a try ended with, and how long to wait before another; None if none would help."""

    error: CredentialError | RequestError
    pause_s: float | None


class HistoricalApi:
    """The official client, with answers that are waited for, tried again and checked.

    Parameters
    ----------
    key
        The API key.
    gateway
        An https URL.
    timeout_s
        How long connecting, or one wait for bytes, may take.
    sleep
        Stands in for `time.sleep` between tries.
    """

    def __init__(
        self,
        key: Secret,
        gateway: str,
        timeout_s: float,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        from databento import Historical

        self._client = Historical(key.reveal(), check_gateway(gateway))
        for part in ("metadata", "symbology", "timeseries", "batch"):
            getattr(self._client, part).TIMEOUT = timeout_s
        self._key = key
        self._timeout_s = timeout_s
        self._gateway = check_gateway(gateway)
        self.sleep = sleep or time.sleep

    def ask(self, what: str, question: Callable[[Historical], R]) -> R:
        """Return what a free question is answered, tried again when the server is at fault.

        Raises
        ------
        CredentialError
            The key, the account or its licence is refused.
        RequestError
            No answer, one that can't be read, or a refusal; the message begins with `what`.
        """
        tries = 1
        while isinstance(outcome := self._try(what, tries, question), Failure):
            if tries == _TRIES or outcome.pause_s is None:
                raise outcome.error
            self.sleep(outcome.pause_s)
            tries += 1
        return outcome

    def send(self, what: str, request: Callable[[Historical], R]) -> R:
        """Return the answer to a request that costs money, sent once.

        Raises
        ------
        CredentialError, RequestError
            As `ask` does. `was_refused` of either says that nothing can have been sent for it.
        """
        outcome = self._try(what, _TRIES, request)
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    def stream(
        self, what: str, url: str, offset: int, take: Callable[[int, bytes], None]
    ) -> Failure | None:
        """Give `take` the bytes of a file from `offset` on, each piece with its place; one try.

        A server may begin at 0 all the same. Returns what went wrong; None if all came that it
        said would. What `take` raises as an IfdError goes through.

        Raises
        ------
        RequestError
            `url` is no place that the key may be sent to.
        """
        check_file_url(what, url, self._gateway)
        try:
            self._read(url, offset, take)
        except IfdError:
            raise
        except Exception as error:  # noqa: BLE001 - see `_try`
            again = getattr(error, "http_status", None) is None
            pause_s = _FIRST_PAUSE_S if again else _pause_before_next(error, 1)
            return Failure(self._translated(what, error), pause_s)
        return None

    def _read(self, url: str, offset: int, take: Callable[[int, bytes], None]) -> None:
        import requests

        # as stored: a body that was packed for the way would have another length
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        auth, wait = (self._key.reveal(), ""), (self._timeout_s, self._timeout_s)
        with requests.get(url, headers=headers, auth=auth, stream=True, timeout=wait) as answer:
            if answer.status_code >= 400:
                raise _RefusedError(answer)
            place = _begin_of(answer, offset)
            for piece in answer.iter_content(_PIECE_BYTES):
                take(place, piece)
                place += len(piece)

    def _try(self, what: str, tries: int, question: Callable[[Historical], R]) -> R | Failure:
        """Ask once; a failure is returned, not raised: the client's error holds the request.

        Raised from here, ours would keep that error as its context, the key among its headers.
        """
        try:
            return question(self._client)
        except Exception as error:  # noqa: BLE001 - a stranger's answer breaks the client anyhow
            return Failure(self._translated(what, error), _pause_before_next(error, tries))

    def _translated(self, what: str, error: Exception) -> CredentialError | RequestError:
        status = getattr(error, "http_status", None)
        if status is None:
            return self._without_status(what, error)
        text = clean_answer(str(getattr(error, "message", None) or f"HTTP {status}"), self._key)
        refused: CredentialError | RequestError
        if status in _REFUSED:
            way_out = _REFUSED[status]
            refused = CredentialError(f"{what}: Databento refused ({status}): {text}. {way_out}")
        else:
            way_out = _WAYS_OUT.get(status, "Try again later; see status.databento.com.")
            refused = RequestError(f"{what}: Databento answered {status}: {text}. {way_out}")
        refused.case = clean_answer(_case_of(error), self._key)
        # after a 5xx or 408 nobody knows what the server began to do
        refused.was_refused = 400 <= status < 500 and status != 408
        return refused

    def _without_status(self, what: str, error: Exception) -> RequestError:
        text = clean_answer(f"{type(error).__name__}: {error}", self._key)
        if _is_no_answer(error):
            return RequestError(f"{what}: no answer ({text}). Check network, databento.gateway.")
        return RequestError(f"{what}: the answer can't be read ({text}). Is it Databento's?")


class _RefusedError(Exception):
    """A status that is none of success, with what the official client's errors have."""

    def __init__(self, answer: Any) -> None:
        self.http_status = int(answer.status_code)
        self.headers = answer.headers
        try:
            self.json_body = answer.json()
        except ValueError:
            self.json_body = None
        detail = self.json_body.get("detail") if isinstance(self.json_body, dict) else None
        said = detail.get("message") if isinstance(detail, dict) else detail
        self.message = said if isinstance(said, str) else f"HTTP {self.http_status}"


def open_api(key: Secret, profile: Profile) -> HistoricalApi:
    """Return the API as the settings have it."""
    return HistoricalApi(key, profile.databento_gateway, profile.databento_timeout_s)


def check_gateway(url: str) -> str:
    """Return `url` if the key may be sent there.

    Raises
    ------
    ConfigError
        If it is no https URL of a host and port alone.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme == "https" and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        sound = False
    if not sound or parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(
            "`databento.gateway` must be an https URL as in https://hist.databento.com, was"
            f" {redact_text(url)!r}. The key is sent there: plain http would show it."
        )
    return url.rstrip("/")


def check_file_url(what: str, url: str, gateway: str) -> None:
    """Raise RequestError unless the key may be sent to `url`, which a server has named."""
    try:
        parts, own = urlsplit(url), urlsplit(gateway)
        at_home = parts.netloc == own.netloc or (parts.hostname or "").endswith(_DOMAIN)
        sound = parts.scheme == "https" and at_home and not parts.username
    except ValueError:
        sound = False
    if not sound:
        raise RequestError(
            f"{what}: lies at {redact_text(url)!r}, must be https at {gateway} or {_DOMAIN[1:]}. "
            "The key is sent there: nothing was asked for."
        )


def _begin_of(answer: Any, offset: int) -> int:
    """Return where the bytes of an answer begin; raises ValueError if that isn't said right."""
    if not offset or answer.status_code != 206:
        return 0
    said = str(answer.headers.get("Content-Range", ""))
    if not said.startswith(f"bytes {offset}-"):
        raise ValueError(f"the range from {offset} on was asked for, the answer is of {said!r}")
    return offset


def _case_of(error: Exception) -> str:
    """Return the machine's word for a refusal, as in `license_not_found_unauthorized`."""
    body: Any = getattr(error, "json_body", None)
    detail = body.get("detail") if isinstance(body, dict) else None
    case = detail.get("case") if isinstance(detail, dict) else None
    return case if isinstance(case, str) else ""


def _pause_before_next(error: Exception, tries: int) -> float | None:
    """Return how long to wait before another try, None if it would end the same way."""
    status = getattr(error, "http_status", None)
    if status is None:
        again = _is_broken_connection(error)
        return _FIRST_PAUSE_S * 2 ** (tries - 1) if again else None
    if status not in _TRY_AGAIN:
        return None
    asked: Any = getattr(error, "headers", {}).get("Retry-After", "")
    pause_s = float(asked) if str(asked).isdecimal() else _FIRST_PAUSE_S * 2 ** (tries - 1)
    return min(pause_s, _LONGEST_PAUSE_S)


def _is_no_answer(error: Exception) -> bool:
    """Tell a network's failure from an answer that the client stumbled over."""
    from databento import BentoError

    return isinstance(error, (OSError, BentoError)) and not isinstance(error, ValueError)


def _is_broken_connection(error: Exception) -> bool:
    """Tell a connection that broke from one that is slow: that one would be slow again."""
    from requests import ConnectionError as BrokenError
    from requests import Timeout

    return isinstance(error, BrokenError) and not isinstance(error, Timeout)
