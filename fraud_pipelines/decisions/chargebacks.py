"""Chargebacks: a file of disputes as a payment processor exports it becomes labels."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
from pydantic import ValidationError

from fraud_pipelines.decisions.labels import UNKNOWN_TRANSACTION, land_verdicts, mark_outdated
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.cleaning import IN_THE_FUTURE, ChunkCleaner
from fraud_pipelines.transactions.intake import LandedChunk, LandingReport, land_file
from fraud_pipelines.transactions.late_days import mark_late
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.sources import RecordSource, open_records
from fraud_pipelines.transactions.timestamps import ISO_8601, TimestampRule, as_utc
from fraud_pipelines.transactions.waiting import printable_name

ID_NAMES: Final = (
    *("transaction_id", "original_transaction_id", "payment_id", "charge_id", "payment_intent", "charge"),
    *("transaction", "payment", "transaction_reference", "payment_reference", "merchant_reference"),
)
DATE_NAMES: Final = (
    *("known_at", "chargeback_date", "dispute_date", "date_received", "received_at", "received_date"),
    *("notification_date", "reported_date", "opened_at", "created_at", "created", "dispute_created", "date"),
)
REASON_NAMES: Final = (
    *("reason_code", "chargeback_reason_code", "dispute_reason_code", "network_reason_code"),
    *("chargeback_reason", "dispute_reason", "reason"),
)
"""Names of columns as processors write them, in lower case, other characters as underscores; the first found counts."""

FRAUD_REASON: Final = (
    r"(?i)fraud|unauthori[sz]ed|not authori[sz]ed|counterfeit|stolen|no cardholder auth"
    r"|^10(\.\d+)?$|^(4837|4840|4849|4863|4870|4871)$|^F(10|14|24|29|30|31)$|^UA0[1-6]$"
)
"""Reasons that mean fraud: the words, and the codes of Visa (10.x), Mastercard, American Express and Discover."""


NOT_FRAUD: Final = "reason is not fraud"


@dataclass(frozen=True)
class ChargebackColumns:
    """How to read a file of chargebacks; what is left empty is found by the columns' names.

    Attributes:
        transaction_id: the column with the id that the transaction has here.
        date: the column that says when the bank reported it. A day without a time counts as known at its end.
        reason: the column with the reason or its code; rows whose reason is not fraud are set aside.
        date_format: ``iso8601``, or a strptime pattern such as ``%d/%m/%Y``.
        known_at: for a file without dates.
        any_reason: take every row as fraud, whatever its reason.
    """

    transaction_id: str = ""
    date: str = ""
    reason: str = ""
    date_format: str = ISO_8601
    known_at: datetime | None = None
    any_reason: bool = False


def land_chargebacks(
    warehouse: Warehouse,
    path: Path,
    *,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    columns: ChargebackColumns | None = None,
    entities: Sequence[EntityPlan] = (),
) -> LandingReport:
    """Take in one file of chargebacks: all of it in one DuckDB transaction, or nothing.

    Each row says that a transaction was fraud; its label has the source ``chargeback`` and outranks a review. A
    dispute about something else (goods that didn't arrive, an amount) says nothing about fraud and goes to
    ``feedback.rejected_labels``, and so does what can't be used.

    Raises:
        InvalidInput: the file can't be read, or it isn't clear which column holds the ids; nothing was stored.
    """
    intake = _ChargebackIntake(path.name, columns or ChargebackColumns(), now, skew, entities)
    return land_file(warehouse, path, intake)


class _ChargebackIntake:
    """Takes in chargebacks."""

    kind = "labels"
    rejected_table = "feedback.rejected_labels"
    passing = (f"date {IN_THE_FUTURE}", UNKNOWN_TRANSACTION)

    def __init__(
        self,
        source: str,
        wanted: ChargebackColumns,
        now: datetime,
        skew: timedelta,
        entities: Sequence[EntityPlan],
    ) -> None:
        self.source = printable_name(source)
        self._wanted = wanted
        self.now = as_utc(now)
        self._skew = skew
        self._entities = entities
        self._stored: list[pl.DataFrame] = []
        self._rule = _date_rule(wanted.date_format)
        self._columns: dict[str, str] = {}
        self.mapping_hash = repr(wanted) if wanted != ChargebackColumns() else "chargebacks"

    @property
    def columns(self) -> Collection[str]:
        return self._columns.values()

    def open(self, path: Path) -> RecordSource:
        there = open_records(path, ()).columns
        delimiter = next((mark for mark in (";", "\t", "|") if len(there) == 1 and mark in there[0]), None)
        if delimiter:
            there = open_records(path, (), delimiter=delimiter).columns
        found = {
            "transaction_id": _find(path, there, self._wanted.transaction_id, ID_NAMES),
            "date": _find(path, there, self._wanted.date, DATE_NAMES),
            "reason": _find(path, there, self._wanted.reason, REASON_NAMES),
        }
        if not found["transaction_id"]:
            raise InvalidInput(
                f"{path}: none of the columns {', '.join(there)} looks like the id of the transaction. "
                "Name it with --id-column."
            )
        self._columns = {ours: theirs for ours, theirs in found.items() if theirs}
        return open_records(path, tuple(self._columns.values()), delimiter=delimiter)

    def land(self, connection: duckdb.DuckDBPyConnection, chunk: RecordChunk) -> LandedChunk:
        cleaner = ChunkCleaner(chunk, self._columns)
        ids = cleaner.text("transaction_id", required=True)
        reason = cleaner.text("reason")
        if not self._wanted.any_reason:
            cleaner.reject(~reason.str.contains(FRAUD_REASON), NOT_FRAUD)
        labels = pl.DataFrame([ids, self._known_at(cleaner, chunk.fields.height), reason.alias("comment")]).select(
            "transaction_id",
            pl.lit(True).alias("actual_fraud"),
            pl.lit("chargeback").alias("source"),
            "known_at",
            "comment",
        )
        landed, stored = land_verdicts(
            connection, chunk, cleaner, labels, source=self.source, now=self.now, skew=self._skew
        )
        self._stored.append(stored)
        return landed

    def finish(self, connection: duckdb.DuckDBPyConnection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Mark the processed days on which a chargeback became known."""
        late = mark_late(connection, rows_by_day, noun="label", source=self.source, now=self.now)
        return mark_outdated(connection, self._stored, self._entities, late, source=self.source)

    def _known_at(self, cleaner: ChunkCleaner, rows: int) -> pl.Series:
        if "date" not in self._columns or self._wanted.known_at:
            known_at = as_utc(self._wanted.known_at) if self._wanted.known_at else self.now
            return pl.repeat(known_at, rows, dtype=TIMESTAMP, eager=True).alias("known_at")
        instants = cleaner.timestamp("date", self._rule, latest=self.now + self._skew)
        return at_the_latest(instants, self.now)


def at_the_latest(instants: pl.Series, now: datetime) -> pl.Series:
    """Midnights as the end of their day, or as ``now`` if it has not ended: a file that tells only the day leaves
    open when the label became known, and nothing as of an earlier moment may use it."""
    end = instants.dt.offset_by("1d") - timedelta(microseconds=1)
    at_end = pl.DataFrame({"end": end}).select(pl.min_horizontal("end", pl.lit(now, TIMESTAMP))).to_series()
    return at_end.zip_with(instants.dt.time() == time(0), instants).alias("known_at")


def _date_rule(date_format: str) -> TimestampRule:
    try:
        return TimestampRule(format=date_format)
    except ValidationError as error:
        raise InvalidInput(f"--date-format: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _find(path: Path, there: Sequence[str], wanted: str, names: Sequence[str]) -> str:
    """The column asked for, or the first that has one of ``names``; empty if there is none."""
    if wanted:
        if wanted not in there:
            raise InvalidInput(f"{path} has no column {wanted!r}; it has {', '.join(there)}.")
        return wanted
    plain = {re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_"): name for name in reversed(there)}
    return next((plain[name] for name in names if name in plain), "")
