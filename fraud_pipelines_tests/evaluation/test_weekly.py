"""The weekly report: its figures are those of plain SQL and Python, few cases are told as such, and it stands alone."""

import json
import math
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.policies import POLICIES, Segment
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.proportions import proportion, value_rate
from fraud_pipelines.evaluation.weekly.cuts import segment_cut
from fraud_pipelines.evaluation.weekly.rendering import as_html, as_json, as_markdown
from fraud_pipelines.evaluation.weekly.report import weekly_report
from fraud_pipelines.evaluation.weekly.schemes import exemptions
from fraud_pipelines.evaluation.weekly.storing import store_figures, write_page
from fraud_pipelines.evaluation.weekly.table import Cell, Estimate, Report
from fraud_pipelines.evaluation.weekly.week import last_full_week, monday_of
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.evaluation.stored_days import FIRST, ROWS, make_warehouse
from fraud_pipelines_tests.examples import examples

DAYS = 21
MONDAY = date(2026, 9, 14)
SUNDAY = MONDAY + timedelta(days=6)
END = MONDAY + timedelta(days=7)
HOSTILE = "<script>alert(1)</script> | x"


def fill(path: Path) -> Warehouse:
    """Three weeks of decided payments: the dearest of a day are alerts, and one in three frauds is a chargeback."""
    warehouse = make_warehouse(path, days=DAYS)
    with warehouse.transaction() as connection:
        connection.update(
            "raw.transactions",
            "merchant_id = CASE WHEN hash(transaction_id) % 2 = 0 THEN 'm1' ELSE $hostile END, country = 'NO'",
            "true",
            {"hostile": HOSTILE},
        )
        decisions = connection.sql(
            """
            SELECT transaction_id, 'batch' AS channel, event_date,
                   CASE WHEN amount > 120 THEN 'block' WHEN amount > 80 THEN 'review' ELSE 'approve' END AS decision,
                   0.5::DOUBLE AS score,
                   CASE WHEN amount > 120 THEN 'rule:large' ELSE 'flagged_for_review' END AS reason,
                   []::VARCHAR[] AS reason_codes, 'balanced' AS policy, 0.5::DOUBLE AS review_threshold,
                   0.8::DOUBLE AS block_threshold, ['fraud-daily/1', 'fraud-ensemble/1'] AS model_versions,
                   event_date + INTERVAL 1 DAY AS decided_at
            FROM raw.transactions
            """
        ).pl()
        insert(connection, "scoring.decisions", decisions)
        reviews = (
            decisions.filter(pl.col("decision") != "approve")
            .with_row_index("row")
            .filter(pl.col("event_date") < SUNDAY)
            .select(
                "transaction_id",
                source=pl.lit("review"),
                actual_fraud=pl.col("row") % 3 == 0,
                known_at=pl.col("decided_at") + pl.duration(minutes=pl.col("row") % 600),
                ingested_at=pl.col("decided_at"),
                reviewer=pl.when(pl.col("row") % 10 == 0).then(pl.lit("ben")).otherwise(pl.lit("ann")),
                scenario=pl.when(pl.col("row") % 2 == 0).then(pl.lit("card_testing")),
            )
        )
        insert(connection, "feedback.labels", reviews)
    return warehouse


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("weekly"))


@pytest.fixture(scope="module")
def warehouse(settings: Settings) -> Warehouse:
    return fill(settings.warehouse_path)


@pytest.fixture(scope="module")
def report(warehouse: Warehouse, settings: Settings) -> Report:
    return weekly_report(warehouse, settings, MONDAY)


def rows(report: Report, key: str) -> dict[str, dict[str, Cell]]:
    """By the first cell of each row, the others by their heading."""
    table = report.table(key)
    return {
        str(row[0]): {column.name: cell for column, cell in zip(table.columns[1:], row[1:], strict=True)}
        for row in table.rows
    }


def value(cell: Cell) -> float:
    assert isinstance(cell, Estimate)
    assert cell.value is not None
    return cell.value


def counted(warehouse: Warehouse, by: str, first: date) -> dict[str, tuple[int, float, int, int]]:
    """Payments, amount, alerts and known frauds, by plain SQL."""
    found = warehouse.read(
        f"""
        SELECT ({by})::VARCHAR AS subject, count(*), sum(amount), count(*) FILTER (d.decision <> 'approve'),
               count(*) FILTER (transaction_id IN (
                   SELECT transaction_id FROM feedback.labels WHERE actual_fraud AND known_at < $end
               ))
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id, event_date)
        WHERE event_date BETWEEN $first AND $sunday GROUP BY 1
        """,
        {"end": datetime(END.year, END.month, END.day), "first": first, "sunday": SUNDAY},
    )
    return {subject: tuple(others) for subject, *others in found.iter_rows()}


def test_the_days_are_those_that_sql_counts(report: Report, warehouse: Warehouse) -> None:
    told = rows(report, "days")
    expected = counted(warehouse, "event_date", date(2026, 8, 24))
    assert told.keys() == expected.keys()
    for subject, (payments, amount, alerts, frauds) in expected.items():
        row = told[subject]
        assert (row["payments"], row["alerts"], row["known frauds"]) == (payments, alerts, frauds)
        assert row["amount"] == pytest.approx(amount)
    week = rows(report, "weeks")["this week"]
    assert week["payments"] == 7 * ROWS
    assert week["alerts"] == sum(expected[str(MONDAY + timedelta(days=n))][2] for n in range(7))


def test_saved_and_lost_add_up_to_the_value_of_the_known_frauds(report: Report, warehouse: Warehouse) -> None:
    saved, lost = warehouse.read(
        """
        SELECT sum(amount) FILTER (d.decision <> 'approve'), sum(amount) FILTER (d.decision = 'approve')
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id)
        WHERE t.event_date BETWEEN $monday AND $sunday AND transaction_id IN (
            SELECT transaction_id FROM feedback.labels_before($end::TIMESTAMP) WHERE actual_fraud
        )
        """,
        {"monday": MONDAY, "sunday": SUNDAY, "end": END},
    ).row(0)
    week = rows(report, "weeks")["this week"]
    assert week["value saved"] == pytest.approx(saved)
    assert week["lost, known"] == pytest.approx(lost)
    assert value(week["lost, estimated"]) >= lost


def test_a_cut_leaves_nothing_out_and_names_models_and_rules(report: Report) -> None:
    merchants, models, rules = (rows(report, key) for key in ("merchants", "models", "rules"))
    [country] = rows(report, "countries").values()
    assert set(merchants) == {"m1", HOSTILE}
    assert sum(int(str(row["payments"])) for row in merchants.values()) == country["payments"]
    assert set(models) == {"a rule", "fraud-ensemble"}
    assert models["a rule"]["alerts"] == rules["large"]["alerts"] == rules["large"]["payments"]
    kinds = rows(report, "kinds")
    assert set(kinds) == {"card_testing", "not named"}
    assert sum(int(str(row["known frauds"])) for row in kinds.values()) == country["known frauds"]


def test_reviewers_and_what_waits_are_those_of_plain_python(report: Report, warehouse: Warehouse) -> None:
    found = warehouse.read(
        """
        SELECT reviewer, actual_fraud, date_diff('second', decided_at, known_at) / 3600 AS hours
        FROM feedback.labels JOIN scoring.decisions USING (transaction_id)
        WHERE source = 'review' AND known_at >= $monday AND known_at < $end
        """,
        {"monday": MONDAY, "end": END},
    )
    told = rows(report, "reviewers")
    assert set(told) == {"ann", "ben", "all"}
    ann = found.filter(reviewer="ann")
    assert told["ann"]["verdicts"] == ann.height
    assert value(told["ann"]["median hours"]) == pytest.approx(median(ann["hours"]))
    assert value(told["ann"]["frauds among them"]) == pytest.approx(ann["actual_fraud"].mean())
    assert told["all"]["verdicts"] == found.height
    waiting = warehouse.read(
        "SELECT count(*) FROM scoring.decisions WHERE event_date = ? AND decision <> 'approve'", [SUNDAY]
    ).item()
    assert [(row[0], row[1]) for row in report.table("backlog").rows] == [("up to 1 day", waiting)]


def test_the_time_to_the_first_alert_is_that_of_plain_python(report: Report, warehouse: Warehouse) -> None:
    payments = warehouse.read(
        """
        SELECT user_id, "timestamp", amount, d.decision <> 'approve' AS alert, transaction_id IN (
            SELECT transaction_id FROM feedback.labels_before($end::TIMESTAMP) WHERE actual_fraud
        ) AS fraud
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id, event_date)
        WHERE event_date <= $sunday ORDER BY "timestamp"
        """,
        {"end": END, "sunday": SUNDAY},
    )
    hours, at_once, never, before, entities = [], 0, 0, 0, 0
    for (_,), of_user in payments.group_by("user_id"):
        frauds = of_user.filter("fraud")["timestamp"]
        if frauds.is_empty():
            continue
        entities += 1
        alerts = of_user.filter("alert", pl.col("timestamp") >= frauds[0])["timestamp"]
        never += alerts.is_empty()
        before += sum(1 for each in frauds if alerts.is_empty() or each < alerts[0])
        if len(alerts):
            waited = (alerts[0] - frauds[0]).total_seconds() / 3600
            at_once += waited == 0
            hours += [waited] if waited else []
    told = rows(report, "first_alerts")["customers"]
    assert (told["with a fraud"], told["frauds before the alert"]) == (entities, before)
    assert value(told["alerted at the first"]) == pytest.approx(at_once / entities)
    assert value(told["never alerted"]) == pytest.approx(never / entities)
    if len(hours) >= 10:
        assert value(told["median hours of the others"]) == pytest.approx(median(hours))


def test_dispute_ratios_and_the_fraud_rate_count_what_was_not_blocked(report: Report, warehouse: Warehouse) -> None:
    months = warehouse.read(
        """
        SELECT merchant_id, count(*) FILTER (decision <> 'block'), count(*) FILTER (transaction_id IN (
            SELECT transaction_id FROM feedback.labels
            WHERE source = 'chargeback' AND actual_fraud AND known_at < $end
        ))
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id)
        WHERE t.event_date <= $sunday GROUP BY merchant_id
        """,
        {"end": END, "sunday": SUNDAY},
    )
    told = {str(row[0]): row for row in report.table("disputes").rows}
    for merchant, settled, disputed in months.iter_rows():
        _, month, disputes, of, ratio, of_before = told[merchant]
        assert (month, disputes, of) == ("2026-09", disputed, settled)
        assert value(ratio) == pytest.approx(disputed / settled)
        assert of_before == Estimate(None, why="not all stored")
    total, frauds = warehouse.read(
        """
        SELECT sum(amount), sum(amount) FILTER (transaction_id IN (
            SELECT transaction_id FROM feedback.labels_before($end::TIMESTAMP) WHERE actual_fraud
        ))
        FROM raw.transactions t JOIN scoring.decisions d USING (transaction_id)
        WHERE t.event_date <= $sunday AND decision <> 'block'
        """,
        {"end": END, "sunday": SUNDAY},
    ).row(0)
    rate = rows(report, "fraud_rate")["known frauds"]
    assert rate["days"] == DAYS - 1
    assert value(rate["fraud rate by value"]) == pytest.approx(frauds / total)
    assert "lies below none of them" in report.table("fraud_rate").note


@pytest.mark.parametrize(
    ("known", "every", "words"),
    [
        (Estimate(None, of=3, why="too few"), Estimate(None, of=3, why="too few"), "At least 10 known frauds"),
        (Estimate(0.01, 0.005, 0.02), Estimate(None, why="not known yet"), "alone lie above that up to 100 euros"),
        (Estimate(0.0008, 0.0007, 0.0009), Estimate(None, why="not known yet"), "alone lie above that up to 250 euros"),
        (Estimate(0.00001, 0.00001, 0.00002), Estimate(None, why="not known yet"), "isn't known yet"),
        (Estimate(0.0001, 0.0001, 0.0002), Estimate(0.0004, 0.0003, 0.0005), "lies below that up to 250 euros"),
        (Estimate(0.0001, 0.0001, 0.0002), Estimate(0.01, 0.005, 0.02), "lies below none of them"),
    ],
)
def test_the_reference_rates_are_told_by_the_bound_that_is_known(known: Estimate, every: Estimate, words: str) -> None:
    assert words in exemptions(known, every)


def test_few_cases_are_said_to_be_few(warehouse: Warehouse, settings: Settings) -> None:
    first = weekly_report(warehouse, settings, monday_of(FIRST))
    untold = [row for row in first.figures() if row["untold"] == "too few"]
    assert untold
    assert all(row["value"] is None and row["low"] is None and row["cases"] < 100 for row in untold)
    assert any("too few (" in line for line in as_markdown(first).splitlines())


def test_the_page_needs_nothing_else_and_shows_what_it_is_given_as_text(report: Report, tmp_path: Path) -> None:
    page = write_page(report, tmp_path / "reports")
    text = page.read_text()
    assert page.name == "week-2026-09-14.html"
    assert [each.name for each in page.parent.iterdir()] == [page.name]
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    served = as_html(report, links=[("/", "Fraud review")], stylesheet="/report.css")
    assert "<style" not in served
    assert not re.search(r'\sstyle="', served)


def test_all_forms_and_the_warehouse_tell_the_same(report: Report, warehouse: Warehouse) -> None:
    told = json.loads(as_json(report))
    assert (told["from"], told["to"], told["policy"]) == ("2026-09-14", "2026-09-20", "balanced")
    assert len(told["tables"]["days"]) == DAYS - 1
    assert store_figures(warehouse, report) == store_figures(warehouse, report)
    stored = warehouse.read("FROM monitoring.weekly_figures ORDER BY part, position, figure")
    assert stored.height == len(list(report.figures()))
    [precision] = stored.filter(part="weeks", subject="this week", figure="precision").to_dicts()
    assert told["tables"]["weeks"][0]["precision"] == {
        "value": precision["value"],
        "low": precision["low"],
        "high": precision["high"],
        "of": precision["cases"],
    }
    lines = as_markdown(report).splitlines()
    assert len([line for line in lines if line.startswith("## ")]) == len(report.tables)
    assert any(HOSTILE.replace("|", "\\|") in line for line in lines)


def test_a_segment_is_the_first_that_fits(warehouse: Warehouse) -> None:
    segments = (
        Segment.model_validate({"name": "it's m1", "merchant_id": "m1", "review_threshold": 0.2}),
        Segment.model_validate({"name": "north", "country": ["NO"], "review_threshold": 0.3}),
    )
    assert segment_cut(POLICIES["balanced"]) is None
    cut = segment_cut(POLICIES["balanced"].model_copy(update={"segments": segments}))
    found = warehouse.read(f"SELECT {cut} AS segment, merchant_id FROM raw.transactions t GROUP BY ALL ORDER BY ALL")
    assert found.rows() == [("it's m1", "m1"), ("north", HOSTILE)]


def test_a_week_without_decisions_and_what_is_no_monday_are_told(warehouse: Warehouse, settings: Settings) -> None:
    with pytest.raises(MissingData, match="nothing was decided from 2030-01-07 to 2030-01-13"):
        weekly_report(warehouse, settings, date(2030, 1, 7))
    with pytest.raises(InvalidInput, match="2030-01-08 is none"):
        weekly_report(warehouse, settings, date(2030, 1, 8))


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
@examples(50)
def test_the_last_full_week_is_over(today: date) -> None:
    monday = last_full_week(today)
    assert monday.weekday() == 0
    assert timedelta(days=7) <= today - monday < timedelta(days=14)


@given(st.integers(0, 200), st.integers(1, 200))
@examples(50)
def test_a_proportion_lies_in_its_interval(number: int, more: int) -> None:
    found = proportion(number, number + more)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_interval_of_a_rate_by_value_holds_the_truth() -> None:
    """Poisson numbers of lognormal amounts: 95 of 100 intervals should hold the rate, and at least 90 do."""
    rng, held, total = np.random.default_rng(5), 0, 1e6
    truth = 40 * math.exp(4 + 0.5)
    for _ in range(400):
        amounts = rng.lognormal(4, 1, size=rng.poisson(40))
        found = value_rate(amounts.tolist(), total)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth / total <= found.high
    assert held >= 360
    assert value_rate([], total) == value_rate([0.0], total)
    assert value_rate([1.0], 0).value is None


def test_the_command_writes_a_page_and_prints_the_others(installation: Installation, tmp_path: Path) -> None:
    installation.data_dir.mkdir(parents=True, exist_ok=True)
    fill(installation.settings.warehouse_path)
    told = installation.invoke("report", "--week", "2026-09-16")
    assert "reports/week-2026-09-14.html" in "".join(told.split())
    assert json.loads(installation.invoke("report", "--week", "2026-09-16", "--format", "json"))["to"] == "2026-09-20"
    file = tmp_path / "week.md"
    installation.invoke("report", "--week", "2026-09-14", "--format", "md", "--output", str(file))
    assert file.read_text().startswith("# Fraud report, 14 to 20 September 2026")
    assert "nothing was decided" in installation.invoke("report", "--week", succeeds=False)
    assert "2026-13-45" in installation.invoke("report", "--week", "2026-13-45", succeeds=False)
