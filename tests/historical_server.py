"""Databento's HTTP API as the official client sees it, on a socket and over TLS, of our own making.

The client sends its key over https only, so the server has a certificate, made by openssl when
first asked for. Answers are those of a small exchange unless a fault is set for a path.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from tests.historical_batch import BatchDesk

__all__ = ["KEY", "Fault", "HistoricalServer", "make_certificate", "refusal", "serving"]

KEY = "db-" + "Canary7" * 4 + "x"
USD_OF_SYMBOL_DAY = {"mbo": 0.5, "definition": 0.01, "statistics": 0.02, "status": 0.001}
BYTES_OF_SYMBOL_DAY = 1_000_000
SCHEMAS = ["mbo", "mbp-1", "trades", "definition", "statistics", "status"]
DAY_NS = 86_400_000_000_000


@dataclass
class Fault:
    """What a path answers instead; `times` tries long, then it heals."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    breaks_off: bool = False  # closes the socket with half of the body sent
    times: int = 1_000_000


def refusal(status: int, case: str, message: str, *, times: int = 1_000_000) -> Fault:
    """Return a fault with the body in which Databento refuses."""
    detail = {"case": case, "message": message, "status_code": status, "docs": None}
    return Fault(status, json.dumps({"detail": detail}).encode(), times=times)


@dataclass
class HistoricalServer:
    """What a test knows of the server: where it is, what breaks, what it was asked."""

    url: str = ""
    faults: dict[str, Fault] = field(default_factory=dict)  # by method, as in metadata.get_cost
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    unknown_symbols: set[str] = field(default_factory=set)
    conditions: dict[str, str] = field(default_factory=dict)  # by date; else available
    records: bytes = b""  # what timeseries.get_range sends: zstd-compressed DBN
    answer: Callable[[dict[str, str]], bytes] | None = None  # the same, by what is asked for
    clock_ahead_s: float = 0.0
    batch: BatchDesk = field(default_factory=BatchDesk)

    def count(self, method: str) -> int:
        """Return how many times a method was called."""
        return sum(name == method for name, _ in self.asked)


def make_certificate(folder: Path) -> Path:
    """Write a certificate and its key for 127.0.0.1 into one file."""
    path = folder / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    extra = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *extra, *files], check=True, capture_output=True)
    path.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return path


@contextmanager
def serving(certificate: Path) -> Iterator[HistoricalServer]:
    """Serve on a port of the system's choice until the block ends."""
    state = HistoricalServer()
    server = _QuietServer(("127.0.0.1", 0), partial(_Handler, state))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    state.url = state.batch.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients of these tests hang up as they like."""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, state: HistoricalServer, *args: Any) -> None:
        self.state = state
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header, with a clock that may be ahead."""
        now = time.time() if timestamp is None else timestamp
        return super().date_time_string(now + self.state.clock_ahead_s)

    def do_HEAD(self) -> None:
        """Answer the question for the time."""
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Answer a question in the URL."""
        parts = urlsplit(self.path)
        self._answer(parts.path, parse_qs(parts.query))

    def do_POST(self) -> None:
        """Answer a question in a form."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer(self.path, parse_qs(body.decode()))

    def _answer(self, path: str, fields: dict[str, list[str]]) -> None:
        method = path.rpartition("/")[2]
        form = {name: values[0] for name, values in fields.items()}
        self.state.asked.append((method, form))
        fault = self.state.faults.get(method) or self.state.faults.get("*")
        if fault is not None and fault.times > 0:
            fault.times -= 1
            time.sleep(fault.delay_s)
            self._send(fault.status, fault.body, fault.headers, breaks_off=fault.breaks_off)
            return
        sent = base64.b64encode(f"{KEY}:".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {sent}":
            wrong = refusal(401, "auth_authentication_failed", "Authentication failed.")
            self._send(401, wrong.body, {})
        elif "/batch/download/" in path:
            self._send_file(path)
        elif method.startswith("batch."):
            self._send(200, json.dumps(self.state.batch.answer(method, form)).encode(), {})
        elif method == "timeseries.get_range":
            made = self.state.answer
            self._send(200, self.state.records if made is None else made(form), {})
        else:
            answer = _ANSWERS[method](self.state, form)
            self._send(200, json.dumps(answer).encode(), {})

    def _send_file(self, path: str) -> None:
        """Send a batch job's file, from where the client asks."""
        piece = self.state.batch.open_file(path, self.headers.get("Range"))
        self._send(piece.status, piece.body[: piece.sent], piece.headers, length=len(piece.body))
        self.state.batch.happens(f"sent {path.rpartition('/')[2]}")

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        breaks_off: bool = False,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if breaks_off else body)


def _days(form: dict[str, str]) -> float:
    """Return the length of a range, which our requests state in ns."""
    return (int(form["end"]) - int(form["start"])) / DAY_NS


def _cost(_: HistoricalServer, form: dict[str, str]) -> float:
    symbols = form["symbols"].split(",")
    return USD_OF_SYMBOL_DAY.get(form["schema"], 0.1) * len(symbols) * _days(form)


def _size(_: HistoricalServer, form: dict[str, str]) -> int:
    return round(BYTES_OF_SYMBOL_DAY * len(form["symbols"].split(",")) * _days(form))


def _condition(state: HistoricalServer, form: dict[str, str]) -> list[dict[str, str]]:
    first, last = (np.datetime64(form[name], "D") for name in ("start_date", "end_date"))
    days = [str(day) for day in np.arange(first, last + 1)]
    said = {d: state.conditions.get(d, "available") for d in days}
    return [{"date": d, "condition": one} for d, one in said.items() if one]


def _resolve(state: HistoricalServer, form: dict[str, str]) -> dict[str, Any]:
    symbols = form["symbols"].split(",")
    found = [one for one in symbols if one not in state.unknown_symbols]
    span = {"d0": form["start_date"], "d1": form.get("end_date", form["start_date"]), "s": "42"}
    return {
        "result": {one: [span] for one in found},
        "symbols": symbols,
        "partial": [],
        "not_found": [one for one in symbols if one in state.unknown_symbols],
        "message": "OK",
        "status": 0,
    }


_ANSWERS: dict[str, Callable[[HistoricalServer, dict[str, str]], object]] = {
    "metadata.list_datasets": lambda _, __: ["GLBX.MDP3", "XNAS.ITCH"],
    "metadata.list_schemas": lambda _, __: SCHEMAS,
    "metadata.get_cost": _cost,
    "metadata.get_billable_size": _size,
    "metadata.get_dataset_condition": _condition,
    "metadata.get_dataset_range": lambda _, __: {"start": "2017-05-21", "end": "2026-11-23"},
    "symbology.resolve": _resolve,
}
