"""Logs: lines of text for people, or with ``FRAUD_LOG_FORMAT=json`` a JSON object a line for what collects them."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Final

FORMAT_VARIABLE: Final = "FRAUD_LOG_FORMAT"
_JSON: Final = "json"
_EVENTS: Final = logging.getLogger("fraud_pipelines.events")
_OF_EVENT: Final = "of_event"


def set_up_logs() -> None:
    """Let this process log as ``FRAUD_LOG_FORMAT`` says; of text, Python's own way stays. Safe to repeat."""
    if not is_json():
        return
    root = logging.getLogger()
    if not any(isinstance(each.formatter, _JsonLines) for each in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines())
        root.addHandler(handler)
    _EVENTS.setLevel(logging.INFO)


def is_json() -> bool:
    """Whether logs are to be JSON."""
    return os.environ.get(FORMAT_VARIABLE, "").strip().lower() == _JSON


def log_event(event: str, **fields: object) -> None:
    """Log what happened, with its figures; in text logs nothing is said. Give no payment and no person."""
    if _EVENTS.isEnabledFor(logging.INFO):
        _EVENTS.info(event, extra={_OF_EVENT: fields})


class _JsonLines(logging.Formatter):
    """``time`` (UTC), ``level``, ``logger``, ``message``, the fields of an event, and ``error`` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _OF_EVENT, {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
