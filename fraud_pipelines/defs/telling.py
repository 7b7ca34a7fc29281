"""Telling: alerts are stored, sent to the webhook, and written to the log of the run that raises them."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import dagster as dg

from fraud_pipelines.bootstrap import live_warehouse, made_warehouse
from fraud_pipelines.defs.metadata import utc_now
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

WAIT_SECONDS: Final = 15.0
"""How long to wait for the warehouse, twice at most: a sensor's tick is given a minute."""

if TYPE_CHECKING:
    from fraud_pipelines.decisions.alert_delivery import Delivery
    from fraud_pipelines.decisions.alerts import Alert


def tell(
    context: dg.AssetExecutionContext, settings: Settings, warehouse: Warehouse, alerts: Sequence["Alert"]
) -> "Delivery":
    """Raise ``alerts``, each once. A webhook that can't be reached fails nothing: the next run tries again."""
    from fraud_pipelines.decisions.alert_delivery import raise_alerts

    delivery = raise_alerts(warehouse, alerts, webhook=settings.alert_webhook.get_secret_value(), now=utc_now())
    for alert in delivery.new:
        context.log.warning(alert.message)
    if delivery.error:
        context.log.warning(f"alerts were not delivered: {delivery.error}")
    return delivery


def tell_of_landing(
    context: dg.AssetExecutionContext,
    settings: Settings,
    warehouse: Warehouse,
    zone: str,
    problems: Mapping[str, str],
) -> None:
    """Tell of what could not be taken in and was not known of, and note all of it for ``fraud-pipelines status``."""
    from fraud_pipelines.decisions.alerts import landing_alert
    from fraud_pipelines.transactions.landing_zone import known_problems, note_problems

    for name, reason in problems.items():
        context.log.warning(f"{name} of the landing zone {zone} was not taken in: {reason}")
    known = known_problems(warehouse, zone)
    if known == problems:
        return
    alert = landing_alert(zone, dict(problems.items() - known.items()), utc_now().date())
    tell(context, settings, warehouse, [alert] if alert else [])
    note_problems(warehouse, zone, problems, now=utc_now())


def raise_alert(log: logging.Logger, alert: "Alert") -> None:
    """Raise an alert from a sensor, once, without waiting long for the warehouse."""
    from fraud_pipelines.decisions.alert_delivery import raise_alerts

    settings = Settings.from_environment()
    wait = min(WAIT_SECONDS, settings.warehouse_wait_seconds)
    try:
        warehouse = made_warehouse(settings, plan_in_force(settings), wait_seconds=wait)
    except WarehouseBusy:
        warehouse = live_warehouse(settings, wait_seconds=wait)
    delivery = raise_alerts(warehouse, [alert], webhook=settings.alert_webhook.get_secret_value(), now=utc_now())
    for new in delivery.new:
        log.warning(new.message)
    if delivery.error:
        log.warning(f"the alert was not delivered: {delivery.error}")
