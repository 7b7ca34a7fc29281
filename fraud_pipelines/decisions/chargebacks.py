"""Chargebacks: a file of disputes as a payment processor exports it becomes labels."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import ValidationError

from fraud_pipelines.decisions.dispute_columns import DISPUTE_DATES, DisputeColumns, find_columns, lists_payments, plain
from fraud_pipelines.decisions.dispute_words import is_fraud, meaning_of
from fraud_pipelines.decisions.labels import UNKNOWN_TRANSACTION, mark_outdated, store_verdicts
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.settings import CLOCK_SKEW
from fraud_pipelines.storage.connection import Connection, registered, select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.cleaning import IN_THE_FUTURE, ChunkCleaner
from fraud_pipelines.transactions.intake import LandedChunk, LandingReport, land_file
from fraud_pipelines.transactions.late_days import mark_late
from fraud_pipelines.transactions.records import RecordChunk
from fraud_pipelines.transactions.redelivery import TAKEN_BACK
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.sources import RecordSource, open_records
from fraud_pipelines.transactions.timestamps import ISO_8601, TimestampRule, as_utc
from fraud_pipelines.transactions.tokenising import PayloadGuard
from fraud_pipelines.transactions.validation import all_rejected
from fraud_pipelines.transactions.waiting import printable_name

NOT_FRAUD: Final = "reason is not fraud"
NO_REASON: Final = "reason is blank"
NO_DISPUTE: Final = "no dispute"
NO_CHARGEBACK: Final = "no chargeback"
NOT_KNOWN: Final = "takes back a chargeback that is not known"
AS_A_MATTER_OF_COURSE: Final = (NOT_FRAUD, NO_REASON, NO_DISPUTE, NO_CHARGEBACK)
"""Reasons for which most rows of a sound file are set aside."""


@dataclass(frozen=True)
class ChargebackColumns:
    """How to read a file of chargebacks; what is left empty is found by the columns' names.

    Attributes:
        transaction_id: the column with the id that the transaction has here.
        date: the column that says when the bank reported it. A day without a time counts as known at its end.
        reason: the column with the reason or its code; rows whose reason is not fraud, or blank, are set aside.
        date_format: ``iso8601``, or a strptime pattern such as ``%d/%m/%Y``.
        known_at: when all of them became known, whatever the file says.
        any_reason: every dispute counts as fraud, whatever its reason.
        state: the column that says how the dispute stands, or whether there is one.
        record: the column that says what happened to the dispute, in a file with a row for each event.
        zone: the column with the zone of the dates.
    """

    transaction_id: str = ""
    date: str = ""
    reason: str = ""
    date_format: str = ISO_8601
    known_at: datetime | None = None
    any_reason: bool = False
    state: str = ""
    record: str = ""
    zone: str = ""

    @property
    def named(self) -> dict[str, str]:
        """The columns that were named, by their role."""
        roles = ("transaction_id", "date", "reason", "state", "record", "zone")
        return {role: name for role in roles if (name := getattr(self, role))}


def land_chargebacks(
    warehouse: Warehouse,
    path: Path,
    *,
    now: datetime,
    skew: timedelta = CLOCK_SKEW,
    columns: ChargebackColumns | None = None,
    entities: Sequence[EntityPlan] = (),
    guarded: bool = False,
) -> LandingReport:
    """Take in one file of chargebacks: all of it in one DuckDB transaction, or nothing.

    A dispute for fraud says that its transaction was fraud from the day on which it was reported; the label has the
    source ``chargeback`` and outranks a review. One that was won, or taken back, says the contrary from its end on, or
    from now where the file doesn't tell. All else goes to ``feedback.rejected_labels`` with its reason: payments
    without a dispute, disputes about something else (goods that didn't arrive, an amount), inquiries that are no
    chargebacks, and what can't be used or understood.

    Where it is ``guarded``, rejected rows keep the columns alone that are read: others may say who a person is.

    Raises:
        InvalidInput: the file can't be read; or it isn't clear which column holds the ids, or which rows are disputes
            for fraud. Nothing was stored.
    """
    intake = _ChargebackIntake(path.name, columns or ChargebackColumns(), now, skew, entities, guarded=guarded)
    return land_file(warehouse, path, intake)


class _ChargebackIntake:
    """Takes in chargebacks."""

    kind = "labels"
    rejected_table = "feedback.rejected_labels"
    passing = (f"date {IN_THE_FUTURE}", UNKNOWN_TRANSACTION, TAKEN_BACK)
    needs_row_ids = False

    def __init__(
        self,
        source: str,
        wanted: ChargebackColumns,
        now: datetime,
        skew: timedelta,
        entities: Sequence[EntityPlan],
        *,
        guarded: bool,
    ) -> None:
        self.source = printable_name(source)
        self._guarded = guarded
        self._wanted = wanted
        self.now = as_utc(now)
        self._skew = skew
        self._entities = entities
        self._stored: list[pl.DataFrame] = []
        self._rule = _date_rule(wanted.date_format)
        self._columns = DisputeColumns(ids=())
        self._id: str | None = None
        self._unreadable = False
        self.mapping_hash = repr(wanted) if wanted != ChargebackColumns() else "chargebacks"

    @property
    def columns(self) -> Collection[str]:
        return self._read.values()

    @property
    def told(self) -> Sequence[str]:
        taken = ", ".join(f"{role} from {name}" for role, name in self._read.items())
        when = self._wanted.known_at
        known = (
            f"; all known at {when:%Y-%m-%d %H:%M} UTC"
            if when
            else ""
            if self._columns.date
            else "; no date: known now"
        )
        hint = ("Say with --date-format how the dates are written, such as %d/%m/%Y.",) if self._unreadable else ()
        return (f"Read: {taken}{known}", *hint)

    @property
    def _read(self) -> dict[str, str]:
        return self._columns.read | ({"transaction_id": self._id} if self._id else {})

    def open(self, path: Path) -> RecordSource:
        there = open_records(path, ()).columns
        self._columns = find_columns(path, there, self._wanted.named)
        self._require_disputes(path, there)
        wanted = dict.fromkeys([*self._columns.ids, *self._columns.read.values()])
        return open_records(path, tuple(wanted))

    @property
    def guard(self) -> PayloadGuard | None:
        return PayloadGuard(frozenset(self._read.values())) if self._guarded else None

    def begin(self, connection: Connection) -> None:
        """Chargebacks can be taken in at any time."""

    def _require_disputes(self, path: Path, there: Sequence[str]) -> None:
        """Make sure that the file tells disputes for fraud from all else."""
        of_disputes = {plain(name) for name in DISPUTE_DATES}
        dated = self._wanted.date or (
            self._columns.date and (plain(self._columns.date) in of_disputes or not lists_payments(there))
        )
        if not (self._columns.reason or dated or self._wanted.any_reason):
            raise InvalidInput(
                f"{path}: none of the columns {', '.join(there)} looks like the reason of a dispute, or like the day "
                "on which it was reported. Name it with --reason-column or --date-column, or say with --any-reason "
                "that each row is a chargeback for fraud."
            )

    def land(self, connection: Connection, chunk: RecordChunk) -> LandedChunk:
        cleaner = self._cleaner(connection, chunk)
        rows = self._dispute_rows(cleaner, chunk.fields.height)
        sound = cleaner.reasons.is_null()
        opens = sound & rows["opens"]
        known = _disputed(connection, rows["transaction_id"])
        known |= rows["transaction_id"].is_in(rows["transaction_id"].filter(opens).implode()).fill_null(value=False)
        ends = sound & rows["ends_at"].is_not_null()
        of_nothing = ends & ~rows["is_fraud"] & ~known
        verdicts = pl.concat(
            [
                self._verdicts(rows, opens, "known_at", fraud=True),
                self._verdicts(rows, ends & ~of_nothing, "ends_at", fraud=False),
            ]
        )
        why, stored = store_verdicts(connection, verdicts.drop("row"), now=self.now, skew=self._skew)
        self._stored.append(stored)
        # A row that gives two verdicts is taken in if either is new; the latest one's day is the row's.
        news = verdicts.filter(why.is_null()).group_by("row").agg(pl.col("known_at").max()).sort("row")
        refused = verdicts.with_columns(why.alias("why")).group_by("row", maintain_order=True).agg(pl.col("why").last())
        reasons = cleaner.reasons.scatter(refused["row"], refused["why"]).set(of_nothing, NOT_KNOWN)
        reasons = reasons.scatter(news["row"], [None] * news.height)
        self._unreadable |= reasons.str.starts_with("date is unreadable").any()
        rejected = all_rejected(chunk, reasons, source=self.source)
        return LandedChunk(days=news["known_at"].dt.date(), rejected=rejected)

    def finish(self, connection: Connection, rows_by_day: Mapping[date, int]) -> tuple[date, ...]:
        """Mark the processed days on which a chargeback became known, or was taken back."""
        learned = {**rows_by_day, **Counter(day for labels in self._stored for day in labels["known_at"].dt.date())}
        late = mark_late(connection, learned, noun="label", source=self.source, now=self.now)
        return mark_outdated(connection, self._stored, self._entities, late, source=self.source)

    def _cleaner(self, connection: Connection, chunk: RecordChunk) -> ChunkCleaner:
        """The columns by their roles. Of several that may hold the id, it is the one whose values are known here."""
        if self._id is None:
            ids = self._columns.ids
            self._id = max(ids, key=lambda name: _matches(connection, chunk, name)) if len(ids) > 1 else ids[0]
        return ChunkCleaner(chunk, self._read)

    def _dispute_rows(self, cleaner: ChunkCleaner, rows: int) -> pl.DataFrame:
        """What each row says, with the reasons of those that say nothing noted in the cleaner.

        Returns:
            ``transaction_id``; ``comment``, the reason; ``is_fraud``; ``opens``, whether it says that the transaction
            was fraud, from ``known_at`` on; ``ends_at``, from when on it says that it wasn't, null where it doesn't.
        """
        ids = cleaner.text("transaction_id", required=True)
        reason, state, record = (cleaner.text(role) for role in ("reason", "state", "record type"))
        cleaner.reject(self._without_dispute(cleaner), NO_DISPUTE)
        event = record if self._columns.record else state
        meaning = event.replace_strict(
            {text: meaning_of(text) for text in event.drop_nulls().unique()}, default=None, return_dtype=pl.String
        )
        for text in event.filter(meaning == "nothing").drop_nulls().unique().sort():
            cleaner.reject(event == text, f"{NO_CHARGEBACK}: {text}")
        kind = cleaner.text("kind")
        for text in kind.drop_nulls().unique().sort():
            if meaning_of(text) == "nothing":
                cleaner.reject(kind == text, f"{NO_CHARGEBACK}: {text}")
        taken_back = (meaning == "taken_back").fill_null(value=False)
        fraud = self._are_fraud(reason, rows)
        cleaner.reject(~fraud & reason.is_null() & ~taken_back, NO_REASON)
        cleaner.reject(~fraud & reason.is_not_null(), NOT_FRAUD)
        for text in event.filter(meaning == "unknown").drop_nulls().unique().sort():
            cleaner.reject(
                event == text, f"{'record type' if self._columns.record else 'state'} is not understood: {text}"
            )
        known_at = self._instants(cleaner, "date", self._columns.date, rows)
        if self._columns.record:
            ends_at = known_at
        else:
            ends_at = self._instants(cleaner, "closed", self._columns.closed, rows).fill_null(self.now)
        ends_at = ends_at.set(~taken_back, None)
        opens = ~taken_back if self._columns.record else (ends_at.is_null() | (known_at < ends_at)) & fraud
        return pl.DataFrame(
            [
                ids,
                reason.alias("comment"),
                fraud.alias("is_fraud"),
                opens.alias("opens"),
                known_at,
                ends_at.alias("ends_at"),
            ]
        )

    def _without_dispute(self, cleaner: ChunkCleaner) -> pl.Series:
        """The rows whose columns about disputes are blank, in a file with such columns."""
        roles = [role for role, name in self._read.items() if name in self._columns.of_disputes]
        blank = pl.repeat(bool(roles), cleaner.reasons.len(), dtype=pl.Boolean, eager=True)
        for role in roles:
            text = cleaner.as_written(role)
            if role == "disputed amount":
                text = text.set((text.cast(pl.Float64, strict=False) == 0).fill_null(value=False), None)
            blank &= text.is_null()
        return blank

    def _are_fraud(self, reason: pl.Series, rows: int) -> pl.Series:
        if self._wanted.any_reason or not self._columns.reason:
            return pl.repeat(True, rows, dtype=pl.Boolean, eager=True)
        verdicts = {text: is_fraud(text) for text in reason.drop_nulls().unique()}
        return reason.replace_strict(verdicts, default=False, return_dtype=pl.Boolean)

    def _instants(self, cleaner: ChunkCleaner, role: str, column: str, rows: int) -> pl.Series:
        """When it became known what a row says: a day without a time at its end."""
        if self._wanted.known_at or not column:
            instant = as_utc(self._wanted.known_at) if self._wanted.known_at else self.now
            return pl.repeat(instant, rows, dtype=TIMESTAMP, eager=True).alias("known_at")
        zone = (self._columns.zones or {}).get(column)
        rule = self._rule.model_copy(update={"zone": zone}) if zone else self._rule
        zones = cleaner.text("zone") if self._columns.zone else None
        latest = self.now + self._skew
        if role == "date":
            return at_the_latest(cleaner.timestamp(role, rule, latest=latest, zones=zones), self.now)
        return at_the_latest(cleaner.moment(role, rule, zones=zones), self.now).clip(upper_bound=self.now)

    def _verdicts(self, rows: pl.DataFrame, wanted: pl.Series, instant: str, *, fraud: bool) -> pl.DataFrame:
        """The verdicts of the ``wanted`` rows, with their positions as ``row``."""
        return (
            rows.with_row_index("row")
            .filter(wanted)
            .select(
                "row",
                "transaction_id",
                pl.lit(fraud).alias("actual_fraud"),
                pl.lit("chargeback").alias("source"),
                pl.col(instant).alias("known_at"),
                "comment",
            )
        )


def _matches(connection: Connection, chunk: RecordChunk, column: str) -> int:
    """How many of the column's values are ids of transactions here."""
    ids = ChunkCleaner(chunk, {"transaction_id": column}).text("transaction_id")
    with registered(connection, _candidates=ids.drop_nulls().unique().to_frame()):
        query = "SELECT count(*) AS n FROM raw.transactions SEMI JOIN _candidates USING (transaction_id)"
        return int(select(connection, query).item())


def _disputed(connection: Connection, transaction_ids: pl.Series) -> pl.Series:
    """Whether a chargeback is known of each transaction."""
    with registered(connection, _disputed=transaction_ids.drop_nulls().unique().to_frame()):
        known = select(
            connection,
            "SELECT transaction_id FROM feedback.labels SEMI JOIN _disputed USING (transaction_id) "
            "WHERE source = 'chargeback'",
        )
    return transaction_ids.is_in(known["transaction_id"].implode()).fill_null(value=False)


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
