"""The status: what waits for somebody stands out, and what waits for nobody takes a line."""

from datetime import date, datetime, timedelta

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions.alert_delivery import raise_alerts
from fraud_pipelines.decisions.alerts import Alert
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines_tests.conftest import Installation

DAY = date(2026, 10, 1)
NOW = datetime(2026, 10, 20, 9)


def test_without_a_webhook_alerts_take_one_line(installation: Installation) -> None:
    warehouse = open_warehouse(installation.settings.warehouse_path, plan=shipped_plan(), wait_seconds=5)
    alerts = [Alert("drift", DAY + timedelta(days=n), "amount", f"amount drifted, {n}") for n in range(12)]
    raise_alerts(warehouse, alerts, webhook="", now=NOW)

    status = installation.invoke("status")

    [line] = [line for line in status.splitlines() if "FRAUD_ALERT_WEBHOOK" in line]
    assert "12 in monitoring.alerts" in line
    assert "amount drifted" not in status
    assert "Alerts that could not be delivered, the latest first: none" in status


def test_of_a_long_list_the_first_are_shown_and_the_rest_is_counted(installation: Installation) -> None:
    warehouse = open_warehouse(installation.settings.warehouse_path, plan=shipped_plan(), wait_seconds=5)
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO raw.stale_days SELECT DATE '2026-01-01' + n::INTEGER, 'late', now() FROM range(25) AS of(n)"
        )

    status = installation.invoke("status")

    assert "2026-01-10" in status
    assert "2026-01-11" not in status
    assert "... and 15 more" in status
