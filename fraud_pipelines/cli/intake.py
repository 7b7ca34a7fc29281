"""``fraud-pipelines import``: takes files into the warehouse and says what became of every row."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fraud_pipelines.bootstrap import made_warehouse, open_warehouse, publication_of
from fraud_pipelines.cli.known_files import disputes_in, land_disputes, plan_for
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.decisions.chargebacks import AS_A_MATTER_OF_COURSE
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.currency import take_in_rates
from fraud_pipelines.transactions.intake import LandingReport
from fraud_pipelines.transactions.landing import first_transaction_day
from fraud_pipelines.transactions.timestamps import as_utc
from fraud_pipelines.transactions.waiting import look_into

console = terminal()

_FILES_NAMED: Final = 10
_WORDS_NAMED: Final = 10
_ROWS_SHOWN: Final = 10
_NOT_OF_THE_FILE: Final = ("source", "ingested_at")
_WRONG: Final = "bold red"
_EXPECTED: Final = ("duplicate", *AS_A_MATTER_OF_COURSE)
"""Reasons that rows are rejected for as a matter of course."""


def import_path(
    settings: Settings, path: Path, mapping_file: Path | None, *, labels: bool, clock: Callable[[], datetime]
) -> None:
    """Take in ``path``, a file or all files below a folder, in the order of their names.

    Without ``mapping_file``, a ``mapping.yaml`` beside a file applies to it, or what is known of its source. A file
    that can't be read doesn't hold up the others.

    Raises:
        InvalidInput: there is nothing to read; or, after all else has been taken in, files can't be read, the mapping
            doesn't fit them, or more of their rows were rejected than accepted.
    """
    files, troubles = _files(path)
    plan = plan_in_force(settings)
    warehouse = made_warehouse(settings, plan)
    if not (labels or mapping_file or first_transaction_day(warehouse)):
        plan = plan_for(settings, files, stored=True)
        warehouse = made_warehouse(settings, plan)
    take_in_rates(
        warehouse, base=settings.base_currency, rates_file=settings.rates_file, landing=settings.landing_rates
    )
    kind = _land_labels if labels else _land_transactions
    land = kind(warehouse, mapping_file, clock, settings, plan)
    reports: list[LandingReport] = []
    refused = [f"{name} could not be looked at: {reason}" for name, reason in troubles.items()]
    for file in files:
        try:
            reports.append(land(file))
        except (InvalidInput, OSError) as error:
            refused.append(str(error))
            continue
        first = first_transaction_day(warehouse)
        if first:
            settings.note_first_day(first)
    show_reports(reports)
    days = [day for report in reports if report.kind == "transactions" for day in report.days]
    if days:
        console.print(f"Next: fraud-pipelines run --from {min(days)} --to {max(days)}")
    require_taken_in(reports, refused)


def preview_path(
    settings: Settings, path: Path, mapping_file: Path | None, *, labels: bool, clock: Callable[[], datetime]
) -> None:
    """Show what `import_path` would store of ``path``, and store nothing.

    Raises:
        InvalidInput: as `import_path`.
    """
    files, troubles = _files(path)
    publication_of(settings).settle()
    new = not (labels or mapping_file or settings.warehouse_path.exists())
    plan = plan_for(settings, files, stored=False) if new else plan_in_force(settings)
    refused = [f"{name} could not be looked at: {reason}" for name, reason in troubles.items()]
    reports: list[LandingReport] = []
    with _warehouse_to_look_at(settings, plan) as warehouse:
        kind = _land_labels if labels else _land_transactions
        for file in files:
            try:
                with warehouse.rehearsal():
                    take_in_rates(
                        warehouse,
                        base=settings.base_currency,
                        rates_file=settings.rates_file,
                        landing=settings.landing_rates,
                        move=False,
                    )
                    now = clock()
                    report = kind(warehouse, mapping_file, lambda now=now: now, settings, plan)(file)  # type: ignore[misc]
                    show_preview(warehouse, report, now=now, labels=report.kind == "labels")
            except (InvalidInput, OSError) as error:
                refused.append(str(error))
                continue
            reports.append(report)
    show_reports(reports, stored=False)
    require_taken_in(reports, refused, stored=False)


@contextmanager
def _warehouse_to_look_at(settings: Settings, plan: Plan) -> Iterator[Warehouse]:
    """The warehouse; where there is none yet, an empty one that nobody keeps."""
    if settings.warehouse_path.exists():
        yield made_warehouse(settings, plan)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield open_warehouse(Path(folder) / settings.warehouse_path.name, plan=plan, wait_seconds=0)


def show_preview(warehouse: Warehouse, report: LandingReport, *, now: datetime, labels: bool) -> None:
    """Print ten rows of a delivery as they would be stored, and which columns are null in all of its rows."""
    table, at = ("feedback.labels", "ingested_at") if labels else ("raw.transactions", "ingested_at")
    rows = warehouse.read(f"SELECT * FROM {table} WHERE {at} = ?", [as_utc(now)])
    if rows.is_empty():
        return
    empty = [name for name in rows.columns if rows[name].null_count() == rows.height]
    shown = rows.drop(*empty, *(name for name in _NOT_OF_THE_FILE if name in rows.columns)).head(_ROWS_SHOWN)
    sample = Table(
        title=f"{report.source}: {shown.height} of {rows.height:,} rows as they would be stored", box=SIMPLE_HEAD
    )
    for name in shown.columns:
        sample.add_column(name, overflow="fold")
    for row in shown.iter_rows():
        sample.add_row(*("" if value is None else escape(str(value)) for value in row))
    console.print(sample)
    if empty:
        console.print(f"Empty in all rows: {', '.join(empty)}")


def show_reports(reports: Sequence[LandingReport], *, stored: bool = True) -> None:
    """Print what became of each file, how it was read, what was not taken and why, and which days are stale now.

    Args:
        stored: whether it is stored, as it is but for a dry run.
    """
    if not reports:
        return
    console.print(_table(reports, "Taken in" if stored else "Would be taken in"))
    for told, files in Counter(told for report in reports for told in report.told).items():
        console.print(escape(told) + (f" ({files:,} files)" if files > 1 else ""))
    _show_null_words(reports)
    unused = Counter(report.unused_columns for report in reports if report.unused_columns)
    for columns, files in unused.items():
        of = next(report.source for report in reports if report.unused_columns == columns)
        more = f" and {files - 1:,} more" if files > 1 else ""
        console.print(f"Not used of {escape(of)}{more}: {escape(', '.join(columns))}")
    _show_rejected(reports)
    late = sorted({day for report in reports for day in report.late_days})
    if late and stored:
        span = f"{len(late)} days from {late[0]} to {late[-1]}" if len(late) > 1 else str(late[0])
        console.print(f"Processed already, and stale now: {span} (fraud-pipelines status lists them)")
    if not stored:
        console.print("[bold]Nothing was stored[/]: this was a dry run.")


def require_taken_in(reports: Sequence[LandingReport], refused: Sequence[str] = (), *, stored: bool = True) -> None:
    """Make sure that every file was taken in, and no file mostly rejected.

    Rows that are rejected as a matter of course don't count: what is stored already, and disputes about something else
    than fraud.

    Args:
        stored: whether what was accepted is stored, as it is but for a dry run.

    Raises:
        InvalidInput: files were refused, or more of their rows were rejected than accepted.
    """
    messages = list(refused[:_FILES_NAMED])
    if len(refused) > _FILES_NAMED:
        messages.append(f"and {len(refused) - _FILES_NAMED:,} files more could not be taken in")
    mostly = [report for report in reports if _unexpected(report) > report.rows_accepted]
    if mostly:
        named = ", ".join(
            f"{report.source} ({_unexpected(report):,} of {report.rows_read:,})" for report in mostly[:_FILES_NAMED]
        )
        more = f" and {len(mostly) - _FILES_NAMED:,} files more" if len(mostly) > _FILES_NAMED else ""
        messages.append(
            f"More rows were rejected than accepted: {named}{more}. Correct the file or its mapping (docs/mappings.md "
            "says what each reason means), and deliver it again." + (" What was accepted is stored." if stored else "")
        )
    if messages:
        raise InvalidInput("\n".join(messages))


def _land_transactions(
    warehouse: Warehouse,
    mapping_file: Path | None,
    clock: Callable[[], datetime],
    settings: Settings,
    plan: Plan,
) -> Callable[[Path], LandingReport]:
    from fraud_pipelines.transactions.landing import land_transactions
    from fraud_pipelines.transactions.mapping import ColumnMapping
    from fraud_pipelines.transactions.recognition import mapping_for

    given = ColumnMapping.load(mapping_file, plan.attributes) if mapping_file else None

    def land(file: Path) -> LandingReport:
        disputes = None if given else disputes_in(file)
        if disputes:
            return land_disputes(warehouse, file, disputes, now=clock(), settings=settings, plan=plan)
        mapping = given or mapping_for(file, file.parent, plan.attributes)
        return land_transactions(
            warehouse, file, mapping, now=clock(), skew=settings.clock_skew, max_age_years=settings.max_age_years
        )

    return land


def _land_labels(
    warehouse: Warehouse,
    mapping_file: Path | None,
    clock: Callable[[], datetime],
    settings: Settings,
    plan: Plan,
) -> Callable[[Path], LandingReport]:
    from fraud_pipelines.decisions.labels import land_labels

    if mapping_file:
        raise InvalidInput(
            "label files take no --mapping: their columns are transaction_id, actual_fraud, source and known_at"
        )
    return lambda file: land_labels(
        warehouse,
        file,
        now=clock(),
        skew=settings.clock_skew,
        entities=plan.entities,
        guarded=bool(plan.tokens),
    )


def _files(path: Path) -> tuple[list[Path], dict[str, str]]:
    """The files to read, and what can't be looked at, with the reason."""
    if not path.exists():
        raise InvalidInput(f"{path} does not exist; name a file, or a folder of files")
    if path.is_file():
        return [path], {}
    found = look_into(path)
    if not found.files and not found.troubles:
        raise InvalidInput(f"{path} holds no files; name a file, or a folder of files")
    return sorted(file.path for file in found.files), found.troubles


def _table(reports: Sequence[LandingReport], title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    left_out = any(report.rows_left_out for report in reports)
    for name in ("file", "read", "accepted", *(("left out",) if left_out else ()), "rejected", "duplicates", "days"):
        table.add_column(name, justify="left" if name in ("file", "days") else "right")
    for report in reports:
        rejected = f"{report.rows_rejected:,}"
        table.add_row(
            escape(report.source),
            f"{report.rows_read:,}",
            f"{report.rows_accepted:,}",
            *((f"{report.rows_left_out:,}",) if left_out else ()),
            f"[{_WRONG}]{rejected}[/]" if _unexpected(report) else rejected,
            f"{report.rows_duplicate:,}",
            "taken in before" if report.already_landed and not report.rows_read else _span(report),
        )
    parts = "accepted + left out + rejected" if left_out else "accepted + rejected"
    table.caption = f"{parts} = read; duplicates are among the rejected"
    return table


def _show_null_words(reports: Sequence[LandingReport]) -> None:
    """Which words were taken for no value; a customer's name may be among them."""
    by_column: dict[str, Counter[str]] = {}
    for report in reports:
        for (column, word), rows in report.null_words.items():
            by_column.setdefault(column, Counter())[word] += rows
    for column, words in by_column.items():
        shown = ", ".join(f"{escape(word)} ({rows:,})" for word, rows in words.most_common(_WORDS_NAMED))
        more = f" and {len(words) - _WORDS_NAMED:,} more" if len(words) > _WORDS_NAMED else ""
        console.print(f"Taken as no value in {column}: {shown}{more} (null_values in the mapping changes it)")


def _show_rejected(reports: Sequence[LandingReport]) -> None:
    """Why rows were rejected; what should not be stands out, also where there are no colours."""
    reasons = sum((Counter(report.rejected_by_reason) for report in reports), Counter[str]())
    unexpected = sum(map(_unexpected, reports))
    if unexpected:
        read = sum(report.rows_read for report in reports)
        console.print(f"[{_WRONG}]Warning: {unexpected:,} of {read:,} rows were rejected[/] and set aside:")
    for reason, count in reasons.most_common():
        style = "dim" if reason in _EXPECTED else _WRONG
        console.print(f"  [{style}]{count:,} rejected: {escape(reason)}[/]")
    if any(reason.endswith("years old") for reason in reasons):
        console.print("FRAUD_MAX_AGE_YEARS says how old a transaction may be.")
    waiting = sum(report.rows_waiting for report in reports)
    if waiting:
        console.print(
            f"{waiting:,} of them may be taken in later (in the future, before their transaction, or without a rate of "
            "their currency): deliver the same file again then."
        )


def _unexpected(report: LandingReport) -> int:
    """How many rows were rejected that should not have been."""
    return report.rows_rejected - sum(report.rejected_by_reason.get(reason, 0) for reason in _EXPECTED)


def _span(report: LandingReport) -> str:
    return f"{min(report.days)} to {max(report.days)}" if report.days else "none"
