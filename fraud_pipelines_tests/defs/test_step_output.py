"""What steps print: in files for Dagster's UI, in the terminal, and nowhere twice."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import subprocess, sys
import dagster as dg
from fraud_pipelines.bootstrap import prepare_dagster_home
from pathlib import Path

prepare_dagster_home(Path(sys.argv[1]))

@dg.asset
def printing() -> None:
    print("from Python", flush=True)
    subprocess.run(["echo", "from a child"], check=True)
    print("to stderr", file=sys.stderr)
    if sys.argv[2] == "fail":
        raise ValueError("broken")

print("before")
with dg.DagsterInstance.get() as instance:
    result = dg.materialize([printing], instance=instance, raise_on_error=False)
    print("after", instance.compute_log_manager.__class__.__name__)
    (event,) = (each for each in result.all_events if each.event_type_value == "LOGS_CAPTURED")
    key = event.logs_captured_data.file_key
    log = instance.compute_log_manager.get_log_data([result.run_id, "compute_logs", key])
    print("kept", log.stdout.split(b"\\n"), b"to stderr" in log.stderr)
"""


def _printed(home: Path, outcome: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home), outcome], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines(), done.stderr


def test_what_a_step_prints_is_kept_and_shown_once(tmp_path: Path) -> None:
    out, err = _printed(tmp_path, "succeed")
    assert out == [
        "before",
        "from Python",
        "from a child",
        "after FollowedLogManager",
        "kept [b'from Python', b'from a child', b''] True",
    ]
    assert err.count("to stderr") == 1


def test_what_a_step_prints_before_it_fails_is_kept_and_shown(tmp_path: Path) -> None:
    out, err = _printed(tmp_path, "fail")
    assert out[1:3] == ["from Python", "from a child"]
    assert err.count("to stderr") == 1
    assert "broken" in err
