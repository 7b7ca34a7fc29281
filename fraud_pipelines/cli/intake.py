"""``fraud-pipelines import``: takes files into the warehouse and says what became of every row."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.intake import LandingReport
from fraud_pipelines.transactions.landing import first_transaction_day
from fraud_pipelines.transactions.landing_zone import nearest_mapping
from fraud_pipelines.transactions.waiting import look_into

console = terminal()


def import_path(
    settings: Settings, path: Path, mapping_file: Path | None, *, labels: bool, clock: Callable[[], datetime]
) -> None:
    """Take in ``path``, a file or all files below a folder, in the order of their names.

    Without ``mapping_file``, a ``mapping.yaml`` beside a file applies to it.

    Raises:
        InvalidInput: there is nothing to read, a file can't be read, or the mapping doesn't fit it.
    """
    warehouse = open_warehouse(settings.warehouse_path, wait_seconds=settings.warehouse_wait_seconds)
    kind = _land_labels if labels else _land_transactions
    land = kind(warehouse, mapping_file, clock, settings.clock_skew)
    reports = []
    for file in _files(path):
        reports.append(land(file))
        first = first_transaction_day(warehouse)
        if first:
            settings.note_first_day(first)
    show_reports(reports)
    days = [day for report in reports for day in report.days]
    if days and not labels:
        console.print(f"Next: fraud-pipelines run --from {min(days)} --to {max(days)}")


def show_reports(reports: Sequence[LandingReport]) -> None:
    """Print what became of each file, why rows were rejected, and which days are stale now."""
    console.print(_table(reports))
    for reason, count in sum((Counter(report.rejected_by_reason) for report in reports), Counter[str]()).most_common():
        console.print(f"  {count:,} rejected: {reason}")
    late = sorted({day for report in reports for day in report.late_days})
    if late:
        span = f"{len(late)} days from {late[0]} to {late[-1]}" if len(late) > 1 else str(late[0])
        console.print(f"Processed already, and stale now: {span} (fraud-pipelines status lists them)")


def _land_transactions(
    warehouse: Warehouse, mapping_file: Path | None, clock: Callable[[], datetime], skew: timedelta
) -> Callable[[Path], LandingReport]:
    from fraud_pipelines.transactions.landing import land_transactions
    from fraud_pipelines.transactions.mapping import ColumnMapping

    def land(file: Path) -> LandingReport:
        chosen = mapping_file or nearest_mapping(file, file.parent)
        mapping = ColumnMapping.load(chosen) if chosen else ColumnMapping.identity()
        return land_transactions(warehouse, file, mapping, now=clock(), skew=skew)

    return land


def _land_labels(
    warehouse: Warehouse, mapping_file: Path | None, clock: Callable[[], datetime], skew: timedelta
) -> Callable[[Path], LandingReport]:
    from fraud_pipelines.decisions.labels import land_labels

    if mapping_file:
        raise InvalidInput(
            "label files take no --mapping: their columns are transaction_id, actual_fraud, source and known_at"
        )
    return lambda file: land_labels(warehouse, file, now=clock(), skew=skew)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InvalidInput(f"{path} does not exist; name a file, or a folder of files")
    if path.is_file():
        return [path]
    files = sorted(file.path for file in look_into(path).files)
    if not files:
        raise InvalidInput(f"{path} holds no files; name a file, or a folder of files")
    return files


def _table(reports: Sequence[LandingReport]) -> Table:
    table = Table(title="Taken in", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("file", "read", "accepted", "rejected", "duplicates", "days"):
        table.add_column(name, justify="left" if name in ("file", "days") else "right")
    for report in reports:
        table.add_row(
            report.source,
            f"{report.rows_read:,}",
            f"{report.rows_accepted:,}",
            f"{report.rows_rejected:,}",
            f"{report.rows_duplicate:,}",
            "taken in before" if report.already_landed else _span(report),
        )
    table.caption = "accepted + rejected = read; duplicates are among the rejected"
    return table


def _span(report: LandingReport) -> str:
    return f"{min(report.days)} to {max(report.days)}" if report.days else "none"
