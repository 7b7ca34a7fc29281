"""Logs: a JSON object a line where that is asked for, and nothing more than before where it is not."""

import json
import os
import subprocess
import sys

PROGRAM = """
import logging
from fraud_pipelines.logs import log_event, set_up_logs
set_up_logs()
set_up_logs()
logging.getLogger("elsewhere").warning("Waiting for %s", "a file")
log_event("committed", decided=3, rejected_by_reason={"no id": 1})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("elsewhere").exception("it failed")
"""


def logged(form: str) -> list[str]:
    environment = os.environ | {"FRAUD_LOG_FORMAT": form}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_json_logs_are_an_object_a_line() -> None:
    waiting, committed, failed = map(json.loads, logged("json"))
    assert (waiting["level"], waiting["logger"], waiting["message"]) == ("warning", "elsewhere", "Waiting for a file")
    assert committed["message"] == "committed"
    assert (committed["decided"], committed["rejected_by_reason"]) == (3, {"no id": 1})
    assert failed["error"].endswith("ZeroDivisionError: division by zero")
    assert all(line["time"].endswith("+00:00") for line in (waiting, committed, failed))


def test_text_logs_are_as_python_has_them() -> None:
    assert logged("")[:2] == ["Waiting for a file", "it failed"]
