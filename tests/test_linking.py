"""The engine's loop and what it calls by address: found, compiled beside it, or after all here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ifd_fast import linking
from ifd_fast.calendar import load_sessions
from ifd_fast.config import load_settings
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import allocate_ring
from ifd_kernels import _jit
from ifd_kernels.engine import PASS_TIME
from ifd_kernels.layout import PUBLISHED


def make_engine() -> FlowEngine:
    """Return an engine that has been fed nothing."""
    profile = load_settings(environ={}).profile
    return FlowEngine(profile, load_sessions(profile.calendar))


def link(engine: FlowEngine) -> None:
    """Link an engine's state as the engine itself does: by packing it."""
    linking.Packing().pack(engine.state, engine.instruments, linking.NO_WIRE)


def test_linking_leaves_events_where_they_are() -> None:
    """An engine whose ring is full already is linked before its first event is applied."""
    engine = make_engine()
    ring = allocate_ring(4)
    ring.instrument_id[:] = 7
    ring.slot[:] = -1
    ring.cursor[PUBLISHED] = 4
    engine.state = engine.state._replace(ring=ring)
    link(engine)
    assert engine.state.entries[PASS_TIME] != 0
    assert ring.cursor[PUBLISHED] == 4
    assert engine.instruments.slots == 0
    assert int(engine.state.actions.sum()) == 0


def test_one_address_serves_every_engine() -> None:
    """It depends on the types of the arrays alone; a linked engine is left as it is."""
    first, second = make_engine(), make_engine()
    link(first)
    link(second)
    assert first.state.entries[PASS_TIME] == second.state.entries[PASS_TIME]
    second.state.entries[PASS_TIME] = 12_345
    link(second)
    assert second.state.entries[PASS_TIME] == 12_345


def test_what_is_packed_is_packed_anew_only_when_it_changes() -> None:
    """Another stream, grown arrays or another ring are seen; else the same words serve."""
    engine = make_engine()
    packing, other = linking.Packing(), linking.NO_WIRE._replace()
    first = packing.pack(engine.state, engine.instruments, linking.NO_WIRE)
    assert packing.pack(engine.state, engine.instruments, linking.NO_WIRE) is first
    assert packing.pack(engine.state, engine.instruments, other) is not first
    engine.instruments.grow()
    grown = packing.pack(engine.state, engine.instruments, other)
    assert grown.held.names.seen is engine.instruments.seen
    engine.state = engine.state._replace(ring=allocate_ring(4))
    assert packing.pack(engine.state, engine.instruments, other).held.engine is engine.state


@pytest.mark.parametrize(("code", "beside"), [(0, {"one", "other"}), (3, set())])
def test_a_failed_second_compiler_is_told_and_made_up_for(
    code: int, beside: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is linked all the same; what was compiled elsewhere is counted."""
    said: list[int] = []

    class Log:
        def warning(self, _event: str, *, exit_code: int) -> None:
            said.append(exit_code)

    def start() -> subprocess.Popen[bytes]:
        text = f"print('one', 'other'); raise SystemExit({code})"
        return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)

    monkeypatch.setattr(linking, "_compile_beside", start)
    monkeypatch.setattr(linking, "get_logger", lambda _name: Log())
    monkeypatch.setattr(_jit, "is_kept", lambda _kernel: False)
    monkeypatch.setattr(_jit, "cache_folder", lambda: "somewhere")
    monkeypatch.setattr(linking, "_done_beside", set())
    engine = make_engine()
    link(engine)
    assert engine.state.entries[PASS_TIME] != 0
    assert linking.compiled_beside() == beside
    assert said == ([code] if code else [])


def test_the_second_compiler_is_this_python_with_this_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees the packages that this process sees, no key and no terminal, and what it is to do."""
    monkeypatch.setenv("DATABENTO_API_KEY", "db-none")
    asked: list[tuple[list[str], dict[str, object]]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda args, **rest: asked.append((args, rest)))
    with linking.also_beside(["rescoring"]):
        linking._compile_beside()
    linking._compile_beside()
    (args, rest), (later, _) = asked
    assert args[0] == sys.executable
    assert repr(sys.path) in args[-1]
    assert "compile_time(['rescoring'])" in args[-1]
    assert "compile_time([])" in later[-1]
    environment = rest.pop("env")
    assert isinstance(environment, dict)
    assert "PATH" in environment
    assert "DATABENTO_API_KEY" not in environment
    quiet = dict.fromkeys(("stdin", "stderr"), subprocess.DEVNULL)
    assert rest == {**quiet, "stdout": subprocess.PIPE}
