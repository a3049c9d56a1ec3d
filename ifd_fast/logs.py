"""Logging: structlog in front, secrets taken out behind, nothing of it on the engine's thread.

Every event, ours or another library's, passes `hide_secrets` after its traceback has become text,
so that a key in a message, a nested value or an exception never reaches a screen or a file.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from ifd_fast.credentials import HIDDEN, Secret, redact_text

__all__ = ["get_logger", "hide_secrets", "set_up_logging"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# A field so called is hidden whatever it holds.
_SECRET_NAME: Final = re.compile(
    r"api_?key|password|passwd|secret|token|authorization|cookie|credential", re.IGNORECASE
)
_DEPTH_MAX: Final = 8  # deeper, and in a cycle, a value is shown as its redacted repr


def get_logger(name: str) -> Any:
    """Return a logger; `name` is the part of the program, as in `replay`.

    Where nobody set up logging, as in a user's program, it writes warnings and errors to stderr:
    what structlog does unasked, every level to stdout with secrets in it, would spoil piped output.
    """
    if structlog.is_configured():
        return structlog.get_logger(name)
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    ).bind(logger=name)


def hide_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Hide keys, secrets and fields named like one, however deep (a structlog processor)."""
    return {redact_text(str(name)): _clean_field(name, value, 0) for name, value in event.items()}


def set_up_logging(
    level: str = "info", log_format: str = "console", stream: TextIO | None = None
) -> None:
    """Send all logging of this process to `stream` (default stderr).

    Parameters
    ----------
    level
        debug, info, warning or error: `Profile.log_level`.
    log_format
        console for people, json for one object a line: `Profile.log_format`.
    """
    target = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Plain text, always: a traceback with local variables would show what they hold.
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a second set-up (tests, reload) must reach all loggers
    )
    handler = _StderrHandler() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                hide_secrets,
                _renderer(log_format, target),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is stderr when it writes: a test runner or a progress bar may replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)


def _renderer(log_format: str, target: TextIO) -> structlog.typing.Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(default=lambda value: redact_text(repr(value)))
    return structlog.dev.ConsoleRenderer(colors=target.isatty())


def _clean_field(name: object, value: object, depth: int) -> object:
    if _SECRET_NAME.search(str(name)):
        return HIDDEN
    return _clean(value, depth)


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if depth < _DEPTH_MAX:
        if isinstance(value, Mapping):
            return {
                redact_text(str(name)): _clean_field(name, inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_clean(inner, depth + 1) for inner in value]
    if isinstance(value, bytes):
        return redact_text(value.decode("latin-1"))
    return redact_text(repr(value))
