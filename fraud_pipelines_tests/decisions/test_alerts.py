"""Alerts: each thing is told once, a row stays whatever becomes of the webhook, and its address stays a secret."""

import subprocess
import sys
import traceback
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.cli import main
from fraud_pipelines.decisions.alert_delivery import MAX_ATTEMPTS, NOT_CONFIGURED, Delivery, raise_alerts
from fraud_pipelines.decisions.alerts import (
    Alert,
    alerts_of_day,
    blocked_alert,
    drift_alert,
    failed_run_alert,
    proposal_alert,
    second_stage_alert,
    threshold_alert,
)
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.webhook import WebhookError, escape, post_text
from fraud_pipelines.evaluation.proposals import accept_proposal, put_in_effect
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.decisions.webhooks import SECRET, Webhook, webhook
from fraud_pipelines_tests.review.samples import NOW, Decided, queue_warehouse, store

BALANCED = policy_named("balanced")
DAY = (NOW - timedelta(days=1.6)).date()
"""The day of the blocked payment."""
LATER = NOW + timedelta(minutes=11)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return queue_warehouse(tmp_path)


def alert(subject: str = "x", message: str = "something") -> Alert:
    return Alert("drift", DAY, subject, message)


def tell(warehouse: Warehouse, alerts: list[Alert], hook: Webhook | None, now: datetime = NOW) -> Delivery:
    return raise_alerts(warehouse, alerts, webhook=hook.url if hook else "", now=now)


def rows(warehouse: Warehouse, *columns: str) -> list[tuple[object, ...]]:
    return warehouse.read(f"SELECT {', '.join(columns)} FROM monitoring.alerts ORDER BY created_at, subject").rows()


def test_blocked_payments_are_told_once_and_further_ones_when_they_come(warehouse: Warehouse) -> None:
    first = blocked_alert(warehouse, DAY)
    assert first
    assert first.message == f"1 payment of {DAY} blocked, 300.00 in all.\n• block: 300.00"
    tell(warehouse, [first], None)
    assert blocked_alert(warehouse, DAY) is None
    days_ago = 1.6
    more = [
        Decided(f"b{n}", 10.0 + n, 0.9, "block", days_ago=days_ago, reason_codes=["unusual amount"]) for n in range(7)
    ]
    store(warehouse, [*more, Decided("block", score=0.99, decision="block", channel="stream", days_ago=days_ago)])
    second = blocked_alert(warehouse, DAY)
    assert second
    assert second.message.splitlines() == [
        f"7 payments of {DAY} blocked, 91.00 in all.",
        *(f"• b{n}: {10 + n}.00, unusual amount" for n in (6, 5, 4, 3, 2)),
        "and 2 more",
    ]
    assert second.transaction_ids == tuple(f"b{n}" for n in range(7))


def test_a_threshold_that_moved_by_more_than_a_little_is_told(warehouse: Warehouse) -> None:
    def tuned(days: int, review: float) -> None:
        thresholds = initial_thresholds(BALANCED, DAY + timedelta(days=days)).model_copy(
            update={"review_threshold": review, "objective": "min_cost"}
        )
        schema = warehouse.read("SELECT * FROM monitoring.decision_thresholds LIMIT 0").schema
        frame = pl.DataFrame([thresholds.row()], schema=schema)
        warehouse.overwrite(
            "monitoring.decision_thresholds", frame, effective_date=thresholds.effective_date, policy="balanced"
        )

    assert threshold_alert(warehouse, BALANCED, DAY) is None
    tuned(1, 0.51)
    assert threshold_alert(warehouse, BALANCED, DAY) is None
    tuned(1, 0.45)
    moved = threshold_alert(warehouse, BALANCED, DAY)
    assert moved
    assert moved.message == (
        f"Thresholds of balanced from {DAY + timedelta(days=1)} on: review above 0.500 → 0.450 (tuned for min_cost)."
    )
    assert threshold_alert(warehouse, BALANCED, DAY + timedelta(days=1)) is None
    assert moved.alert_id == threshold_alert(warehouse, BALANCED, DAY).alert_id  # type: ignore[union-attr]
    tuned(1, 0.4)
    assert moved.alert_id != threshold_alert(warehouse, BALANCED, DAY).alert_id  # type: ignore[union-attr]


def test_another_model_that_decides_is_told_once(warehouse: Warehouse) -> None:
    def chosen(days: int, model: str) -> None:
        row = {
            "as_of": DAY + timedelta(days=days),
            "model_name": "second_stage",
            "candidate_version": 1,
            "rule": "best",
            "decision": "chosen",
            "evidence": "{}",
            "deciding_model": model,
        }
        with warehouse.transaction() as connection:
            insert(connection, "monitoring.model_promotions", pl.DataFrame([row]))

    chosen(0, "fraud-ensemble")
    assert second_stage_alert(warehouse, DAY) is None
    chosen(1, "fraud-supervised")
    chosen(2, "fraud-supervised")
    told = second_stage_alert(warehouse, DAY + timedelta(days=1))
    assert told
    assert told.message.startswith(f"From {DAY + timedelta(days=1)} on fraud-supervised decides")
    assert second_stage_alert(warehouse, DAY + timedelta(days=2)) is None
    assert second_stage_alert(warehouse, DAY + timedelta(days=3)) is None


def test_a_proposal_is_told_while_it_waits_for_a_person(warehouse: Warehouse) -> None:
    current = initial_thresholds(BALANCED, DAY)
    tuned = initial_thresholds(BALANCED, DAY + timedelta(days=1)).model_copy(
        update={"review_threshold": 0.49, "objective": "min_cost"}
    )
    put_in_effect(warehouse, tuned, current, mode="propose", day=DAY)

    [told] = [each for each in alerts_of_day(warehouse, BALANCED, DAY) if each.kind == "proposal"]
    assert told.message.startswith(
        f"A threshold of balanced is proposed as of {DAY}: review above 0.500 → 0.490 (tuned for min_cost)."
    )
    assert threshold_alert(warehouse, BALANCED, DAY) is None

    accept_proposal(warehouse, "balanced", by="ana", now=NOW)
    assert proposal_alert(warehouse, BALANCED, DAY) is None


def test_status_lists_what_was_not_delivered(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse = live_warehouse(Settings(data_dir=tmp_path))

    def status() -> str:
        environment = {"FRAUD_DATA_DIR": str(tmp_path), "COLUMNS": "160"}
        done = CliRunner(env=environment).invoke(main, ["status"])
        assert done.exit_code == 0, done.output
        return done.output

    tell(warehouse, [alert("x", "nobody to tell")], None)
    assert "no webhook is configured (FRAUD_ALERT_WEBHOOK): 1 in monitoring.alerts" in status()
    assert "nobody to tell" not in status()
    with webhook("404") as hook:
        tell(warehouse, [alert("y", "told in vain [of it]\nand more")], hook)
    assert "told in vain [of it]" in status()
    assert "and more" not in status()
    assert "the webhook answered 404" in status()
    with webhook() as hook:
        tell(warehouse, [], hook, LATER)
    assert "told in vain" not in status()
    with warehouse.transaction() as connection:
        connection.execute("DROP TABLE monitoring.alerts")
    assert "could not be delivered, the latest first: none" in status()


def test_features_that_drifted_are_told(warehouse: Warehouse) -> None:
    drift = pl.DataFrame(
        {
            "event_date": [DAY] * 4,
            "feature": ["a", "b", "c", "told by an earlier release"],
            "psi": [0.3, 0.9, 1.234, 2.0],
            "psi_expected": [0.01, 0.6, 0.1, None],
            "drifted": [True, False, True, None],
        }
    )
    with warehouse.connect() as connection:
        insert(connection, "monitoring.feature_drift", drift)
    found = drift_alert(warehouse, DAY)
    assert found
    assert found.message.endswith("c (PSI 1.23, usual 0.10), a (PSI 0.30, usual 0.01).")
    assert drift_alert(warehouse, DAY - timedelta(days=1)) is None
    assert [each.kind for each in alerts_of_day(warehouse, BALANCED, DAY)] == ["blocked", "drift"]


def test_a_failed_run_is_told_with_its_cause_cut_short() -> None:
    failed = failed_run_alert("fraud_daily_job", "run-1", DAY, "no transactions " * 100)
    assert failed.message.startswith(f"fraud_daily_job failed for {DAY}: no transactions")
    assert failed.message.endswith(" …\nDagster run run-1")
    assert len(failed.message) < 700


def test_an_alert_is_delivered_as_slack_takes_it_and_once(warehouse: Warehouse) -> None:
    with webhook() as hook:
        first = tell(warehouse, [alert(message="<!channel> a & b")], hook)
        again = tell(warehouse, [alert(message="<!channel> a & b")], hook, LATER)
    assert (first.delivered, again) == (1, Delivery())
    assert [each.subject for each in first.new] == ["x"]
    assert hook.received == [{"text": "&lt;!channel&gt; a &amp; b"}]
    assert rows(warehouse, "kind", "event_date", "message", "created_at", "delivered_at", "attempts", "error") == [
        ("drift", DAY, "<!channel> a & b", NOW, NOW, 1, None)
    ]


def test_without_a_webhook_there_is_a_row_and_one_set_up_later_is_not_flooded(warehouse: Warehouse) -> None:
    assert tell(warehouse, [alert("old")], None) == Delivery(new=(alert("old"),))
    assert rows(warehouse, "attempts", "delivered_at", "error") == [(0, None, NOT_CONFIGURED)]
    with webhook() as hook:
        assert tell(warehouse, [alert("new", "news")], hook, LATER).delivered == 1
    assert hook.texts == ["news"]


@pytest.mark.parametrize("passing", ["500", "503", "429", "hang", "drop"])
def test_what_passes_is_tried_again(passing: str) -> None:
    with webhook(passing, passing, "200") as hook:
        assert post_text(hook.url, "text", timeout=0.3, pause=0.01) == 3
    assert hook.texts == ["text"] * 3


@pytest.mark.parametrize(
    ("answer", "tries", "reason"),
    [
        ("500", 3, "the webhook answered 500"),
        ("404", 1, "the webhook answered 404"),
        ("302", 1, "the webhook answered 302"),
        ("hang", 3, "no answer within 0.3 s"),
        ("drop", 3, "the connection broke"),
    ],
)
def test_what_stays_says_why_and_never_where(answer: str, tries: int, reason: str) -> None:
    with webhook(answer) as hook, pytest.raises(WebhookError, match=reason) as failed:
        post_text(hook.url, "text", timeout=0.3, pause=0.01)
    assert failed.value.attempts == len(hook.received) == tries
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:9/{SECRET}",
        f"https://nowhere.invalid/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"file:///{SECRET}",
        f"http:///{SECRET}",
        f"http://[::1/{SECRET}",
        f"http://127.0.0.1:x/{SECRET}",
        f"http://127.0.0.1/ {SECRET}",
        f"http://127.0.0.1/\n{SECRET}",
        SECRET,
    ],
)
def test_an_address_that_can_not_be_reached_is_not_told_either(url: str) -> None:
    with pytest.raises(WebhookError) as failed:
        post_text(url, "text", timeout=0.3, pause=0.01)
    assert SECRET not in "".join(traceback.format_exception_only(failed.value))
    assert str(failed.value)


def test_what_could_not_be_delivered_waits_and_goes_out_later(warehouse: Warehouse) -> None:
    with webhook("404") as hook:
        failed = tell(warehouse, [alert("a", "first"), alert("b", "second")], hook)
        assert (failed.delivered, failed.error) == (0, "the webhook answered 404")
        assert hook.texts == ["first"]
        assert rows(warehouse, "subject", "attempts", "delivered_at", "error") == [
            ("a", 1, None, "the webhook answered 404"),
            ("b", 0, None, None),
        ]
        hook.answers = ["200"]
        assert tell(warehouse, [], hook, NOW + timedelta(minutes=1)).delivered == 1
        assert tell(warehouse, [], hook, LATER).delivered == 1
        assert tell(warehouse, [], hook, LATER).delivered == 0
    assert hook.texts == ["first", "second", "first"]
    assert rows(warehouse, "subject", "attempts", "delivered_at", "error") == [
        ("a", 2, LATER, None),
        ("b", 1, NOW + timedelta(minutes=1), None),
    ]


def test_an_alert_that_is_refused_for_ever_is_given_up(warehouse: Warehouse) -> None:
    with webhook("404") as hook:
        for n in range(MAX_ATTEMPTS + 2):
            tell(warehouse, [alert()], hook, NOW + n * timedelta(minutes=11))
    assert len(hook.received) == MAX_ATTEMPTS
    assert rows(warehouse, "attempts", "error") == [(MAX_ATTEMPTS, "the webhook answered 404")]


def test_a_locked_warehouse_does_not_silence_an_alert(warehouse: Warehouse) -> None:
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    impatient = warehouse_at(warehouse.path, wait_seconds=0.1)
    with (
        webhook() as hook,
        subprocess.Popen(
            [sys.executable, "-c", script, str(warehouse.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
    ):
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        told = tell(impatient, [alert(message="the run failed")], hook)
        holder.stdin.close()
    assert hook.texts == ["the run failed"]
    assert told.delivered == 1
    assert "no row" in told.error


def test_texts_are_escaped_for_slack() -> None:
    assert escape("a < b & c > d &amp; <@U1>") == "a &lt; b &amp; c &gt; d &amp;amp; &lt;@U1&gt;"
