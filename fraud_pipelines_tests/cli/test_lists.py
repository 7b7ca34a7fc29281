"""``fraud-pipelines lists``: an entry is added, shown and ended from the shell, and a bad one is told."""

import json
from datetime import UTC, datetime, timedelta

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.conftest import Installation


def test_a_list_is_kept_from_the_shell(installation: Installation) -> None:
    open_warehouse(installation.settings.warehouse_path, plan=shipped_plan(), wait_seconds=20)
    assert "No list has an entry." in installation.invoke("lists", "show")
    day = datetime.now(UTC).date()
    until = str(day + timedelta(days=5))
    told = installation.invoke(
        *("lists", "add", "block", "user_id", "u[1]", "--reason", "stolen", "--expires", until, "--by", "ann")
    )
    assert f"user_id u[1] is on the list block from {day} to {until}" in told
    [entry] = json.loads(installation.invoke("lists", "show", "--format", "json"))
    assert (entry["author"], entry["author_named_by"], entry["reason"]) == ("ann", None, "stolen")
    assert "u[1]" in installation.invoke("lists", "show", "--list", "block")
    past = str(day - timedelta(days=1))
    bad = ("lists", "add", "watch", "user_id", "u2", "--reason", "odd")
    assert "lies in the past" in installation.invoke(*bad, "--expires", past, succeeds=False)
    assert "no rule in force" in installation.invoke("lists", "add", "snooze", *bad[3:], "--rule", "x", succeeds=False)
    assert "is off the list block" in installation.invoke("lists", "remove", entry["entry_id"], "--by", "ben")
    assert "No list has an entry." in installation.invoke("lists", "show")
    assert f"off on {day}" in installation.invoke("lists", "show", "--all")
    assert "has ended" in installation.invoke("lists", "remove", entry["entry_id"], succeeds=False)
