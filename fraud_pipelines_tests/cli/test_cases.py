"""``fraud-pipelines cases``: a case is worked to its end from the shell, exported, and a name erased."""

import json
from datetime import timedelta
from pathlib import Path

from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.review.samples import NOW, queue_warehouse


def test_a_case_is_worked_from_the_shell(installation: Installation, tmp_path: Path) -> None:
    settings = installation.settings
    settings.warehouse_path.parent.mkdir(parents=True, exist_ok=True)
    queue_warehouse(settings.warehouse_path.parent)
    (settings.warehouse_path.parent / "fraud.duckdb").rename(settings.warehouse_path)
    (settings.data_dir / "policies.yaml").write_text("policies: {balanced: {cases: {day_minutes: 8}}}\n")

    listed = json.loads(installation.invoke("cases", "list", "--format", "json"))
    assert [each["value"] for each in listed["cases"]] == ["u1", "u2"]
    assert listed["workload"]["unreached_cases"] == 1
    assert "Not reached today: 1 case with 2 payments" in installation.invoke("status")
    case_id, other = (each["case_id"] for each in listed["cases"])
    assert case_id in installation.invoke("cases", "next", "--by", "anna")
    assert "anna works on the case" in installation.invoke(
        "cases", "judge", case_id, "fraud", "--by", "ben", succeeds=False
    )
    for command in (
        ("note", case_id, "Mrs [Miller] called"),
        ("tag", case_id, "card-testing"),
        ("due", case_id, f"{NOW + timedelta(days=1):%Y-%m-%dT%H:%M}"),
        ("claim", case_id),
        ("release", case_id),
        ("escalate", case_id, "--reason", "a ring"),
        ("wait", case_id, "--reason", "asked"),
        ("resume", case_id),
        ("judge", case_id, "fraud", "--payment", "big"),
        ("judge", case_id, "legitimate", "--note", "the rest"),
        ("reopen", case_id, "--reason", "a mistake"),
        ("judge", case_id, "fraud", "--payment", "big"),
        ("judge", other, "unclear"),
    ):
        installation.invoke("cases", *command, "--by", "anna")
    shown = installation.invoke("cases", "show", case_id)
    assert "closed as fraud" in shown
    assert "[Miller]" in shown
    assert case_id in installation.invoke("cases", "list", "--shown", "closed")
    assert "lies in the past" in installation.invoke(
        "cases", "claim", case_id, "--until", "2020-01-01T00:00", succeeds=False
    ) or "closed" in installation.invoke("cases", "claim", case_id, succeeds=False)

    told = installation.invoke("cases", "export", case_id, str(tmp_path / "case.json"))
    content = json.loads((tmp_path / "case.json").read_text())
    assert content["sha256"] in told.replace("\n", "")
    installation.invoke("cases", "export", case_id, str(tmp_path / "case.html"))
    assert "Mrs [Miller]" in (tmp_path / "case.html").read_text()
    assert "ends in .html or .json" in installation.invoke("cases", "export", case_id, "case.pdf", succeeds=False)

    assert "Erased from 1 events" in installation.invoke("cases", "erase", "--name", "Miller", "--by", "dpo")
    assert "[Miller]" not in installation.invoke("cases", "show", case_id)
    assert "Give --name" in installation.invoke("cases", "erase", succeeds=False)
    assert "say who you are" in installation.invoke("cases", "next", "--by", " ", succeeds=False)
