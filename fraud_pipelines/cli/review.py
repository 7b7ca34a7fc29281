"""``fraud-pipelines review``: the commands of a reviewer and their options."""

import getpass
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import click

from fraud_pipelines.cli.listening import allow_host_option, host_option
from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.settings import Settings

_INSTANT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.group()
def review() -> None:
    """See what waits for a verdict, and give verdicts."""


@review.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
def list_cases(limit: int) -> None:
    """List what waits, the greatest expected loss first."""
    from fraud_pipelines.cli.review_tables import show_queue

    show_queue(Settings.from_environment(), limit=limit)


@review.command()
@click.argument("transaction_id")
def show(transaction_id: str) -> None:
    """Show one transaction, what was decided on it, and why.

    With the user's recent payments, the scores and the labels.
    """
    from fraud_pipelines.cli.review_tables import show_case

    show_case(Settings.from_environment(), transaction_id)


@review.command()
@click.argument("transaction_id")
@click.option("--fraud/--legitimate", "actual_fraud", default=None, help="The verdict.  [required]")
@click.option("--reviewer", default=None, help="Who gives it.  [default: the user of this shell]")
@click.option("--comment", default=None, help="What you noted.")
@click.option("--known-at", type=_INSTANT, help="When it became known, UTC.  [default: now]")
@publishes
def label(
    transaction_id: str, actual_fraud: bool | None, reviewer: str | None, comment: str | None, known_at: datetime | None
) -> None:
    """Give a verdict, or correct the one you gave."""
    from fraud_pipelines.cli.review_tables import label_case

    if actual_fraud is None:
        raise click.UsageError("Say which verdict: --fraud or --legitimate.")
    label_case(
        Settings.from_environment(),
        transaction_id,
        actual_fraud=actual_fraud,
        reviewer=reviewer or getpass.getuser(),
        comment=comment,
        known_at=known_at,
        now=_now(),
    )


@review.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--id-column", default="", help="Column with the transaction's id.  [default: by its name]")
@click.option("--date-column", default="", help="Column that says when it was reported.  [default: by its name]")
@click.option("--reason-column", default="", help="Column with the reason or its code.  [default: by its name]")
@click.option("--state-column", default="", help="Column that says how the dispute stands.  [default: by its name]")
@click.option("--record-column", default="", help="Column with what happened to the dispute.  [default: by its name]")
@click.option("--zone-column", default="", help="Column with the zone of the dates.  [default: by its name]")
@click.option("--date-format", default="iso8601", show_default=True, help="Or a pattern such as %d/%m/%Y.")
@click.option("--known-at", type=_INSTANT, help="When all of them became known, UTC, whatever the file says.")
@click.option("--any-reason", is_flag=True, help="Disputes about other things than fraud count as fraud too.")
@click.option("--dry-run", is_flag=True, help="Show what would be stored, and store nothing.")
@publishes
def chargebacks(
    path: Path,
    id_column: str,
    date_column: str,
    reason_column: str,
    state_column: str,
    record_column: str,
    zone_column: str,
    date_format: str,
    known_at: datetime | None,
    any_reason: bool,
    dry_run: bool,
) -> None:
    """Take in chargebacks as a payment processor exports them.

    An export of disputes will do, or of payments with columns about disputes.
    Disputes for fraud become labels; what was won or taken back is corrected.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.cli.intake import require_taken_in, show_preview, show_reports
    from fraud_pipelines.decisions.chargebacks import ChargebackColumns, land_chargebacks
    from fraud_pipelines.plan.compile import plan_in_force

    columns = ChargebackColumns(
        transaction_id=id_column,
        date=date_column,
        reason=reason_column,
        state=state_column,
        record=record_column,
        zone=zone_column,
        date_format=date_format,
        known_at=known_at,
        any_reason=any_reason,
    )
    settings = Settings.from_environment()
    plan, warehouse = plan_in_force(settings), warehouse_of(settings)
    now = _now()
    with warehouse.rehearsal() if dry_run else nullcontext():
        report = land_chargebacks(
            warehouse,
            path,
            now=now,
            skew=settings.clock_skew,
            columns=columns,
            entities=plan.entities,
            guarded=bool(plan.tokens),
        )
        if dry_run:
            show_preview(warehouse, report, now=now, labels=True)
    show_reports([report], stored=not dry_run)
    require_taken_in([report], stored=not dry_run)


@review.command()
@host_option
@click.option("--port", default=3001, show_default=True, type=click.IntRange(0, 65_535))
@allow_host_option
@click.option("--quiet", is_flag=True, hidden=True, help="Leave it to the caller to say where the page is.")
def serve(host: str, port: int, allowed_hosts: tuple[str, ...], quiet: bool) -> None:
    """Serve the review page alone.

    fraud-pipelines up starts it too.
    """
    from fraud_pipelines.review.server import serve_page

    serve_page(Settings.from_environment().allowing(allowed_hosts), host=host, port=port, quiet=quiet)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
