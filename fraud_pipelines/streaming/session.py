"""A session of the stream on the warehouse: micro-batches are screened and committed, each exactly once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

import polars as pl

from fraud_pipelines.decisions.configuration import engine_in_force, policy_in_force
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.log import append_decisions
from fraud_pipelines.decisions.second_stage import policy_of_day
from fraud_pipelines.decisions.shadow import ShadowPolicy, Shadows, shadows_of_day
from fraud_pipelines.decisions.shadow_records import ShadowRows, append_shadow
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.features.cold_start import incomplete, starts
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.features.label_tables import read_label_events
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.features.population import POPULATION
from fraud_pipelines.features.population_tables import read_population
from fraud_pipelines.features.tables import create_tables as create_feature_tables
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.types import Attribute
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import Connection, insert, select
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.batches import Batch, BatchReport, LandedBatch, land_batch, mark_late_days, store_refunds
from fraud_pipelines.streaming.champion import Champion
from fraud_pipelines.streaming.detector import DetectorState, StreamDetector
from fraud_pipelines.streaming.memory import give_back_memory
from fraud_pipelines.streaming.rows import CHANNEL
from fraud_pipelines.streaming.screener import Screened, Screener
from fraud_pipelines.streaming.settings import StreamSettings
from fraud_pipelines.streaming.tables import (
    FEATURE_TABLE,
    batches_since,
    create_tables,
    latest_derived_day,
    read_active_histories,
    read_base,
    read_stream_history,
    read_window,
    stream_position,
    write_base,
    write_stream_history,
)
from fraud_pipelines.transactions.currency import RateFiles
from fraud_pipelines.transactions.kinds import payments_of
from fraud_pipelines.transactions.schema import TIMESTAMP

_LABELS_STAY: Final = timedelta(minutes=5)
_DAYS_OF_LABELS: Final = 3
_READ_ALL_AFTER: Final = 5_000
"""Histories to read one by one before all that are likely to be needed are read at once."""
_ROWS_BETWEEN_RETURNS: Final = 50_000
"""Transactions to commit before free memory is given back: it takes some ten milliseconds."""


@dataclass
class _Loaded:
    """What a session holds in memory between commits, as of the last of them."""

    screener: Screener
    base: date | None
    learned: LabelEvents | None = None
    """What the histories look feedback features up in."""
    refunds: int = 0
    """How many refunds the stream has taken in."""
    looked_up: int = 0
    """Entities whose histories were read as they came, and not all at once."""


@dataclass(frozen=True)
class _DayRows:
    """Rows of one batch and one day, in order of time."""

    batch_id: str
    day: date
    rows: pl.DataFrame


class StreamSession:
    """Commits micro-batches: all of some batches, in one DuckDB transaction, or nothing of them.

    The transaction covers transactions, rejected rows, histories, features, scores, decisions and the ids of the
    batches; the detector's state is what it has screened. So a session can die at any moment, and the next one goes
    on from the last commit with equal results to the bit.

    Args:
        warehouse: an initialised one.
        registry: where the second stage's champion comes from.
        settings: the policy in force.
        stream: what the stream is told.
    """

    def __init__(
        self, warehouse: Warehouse, registry: ModelRegistry, settings: Settings, stream: StreamSettings | None = None
    ) -> None:
        self.stream = stream or StreamSettings()
        self.warehouse = warehouse
        self._settings = settings
        self._compiled: FeaturePlan = feature_plan(plan_in_force(settings))
        self._registry = registry
        self._champions: dict[str, Champion] = {}
        self._rates = RateFiles(
            warehouse,
            base=settings.base_currency,
            rates_file=settings.rates_file,
            landing=settings.landing_rates,
        )
        self._engines: dict[date, DecisionEngine] = {}
        self._shadows: dict[date, Shadows] = {}
        self._loaded: _Loaded | None = None
        self._pasts: dict[date, tuple[datetime, LabelEvents]] = {}
        self._rows_since_return = 0

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The columns of a transaction."""
        return self._compiled.plan.attributes

    @property
    def problem(self) -> FraudPipelinesError | None:
        """Why a second stage or the exchange rates are not up to date; None where all are."""
        problems = (self._rates.problem, *(each.problem for each in self._champions.values()))
        return next((problem for problem in problems if problem), None)

    def commit(self, batches: Sequence[Batch], *, now: datetime) -> list[BatchReport]:
        """Take in, screen, decide and commit ``batches``, in this order.

        Args:
            now: the time of processing, naive UTC; a timestamp that is later than the clocks may be apart
                (`Settings.clock_skew`) is in the future. Read the clock after the batches have come.

        Returns:
            What became of each batch.

        Raises:
            UnreadableBatch: one of them can't be read; nothing was stored. Commit the others without it.
        """
        self._refresh_champions(now.date())
        self._rates.take_in()
        with self.warehouse.transaction() as connection:
            if self._loaded is None:
                create_feature_tables(connection, self._compiled.plan)
                create_tables(connection, self._compiled.plan)
            before = stream_position(connection)
            landed = _land(connection, batches, self._compiled.plan, before.decided, now, self._settings)
            # Should anything fail from here on, memory is ahead of the disk, and is given up.
            loaded, self._loaded = self._loaded, None
            if loaded and (loaded.screener.detector.seen, loaded.refunds) != before:
                loaded = None  # another session has gone on meanwhile
            loaded = self._on_base(connection, loaded or self._load(connection, landed))
            loaded.refunds = before.refunds + sum(batch.report.refunds for batch in landed)
            store_refunds(connection, landed)
            self._engines.clear()
            self._shadows.clear()
            for pieces in _stretches(landed, self.stream.commit_rows, refunds=self._compiled.sees_refunds):
                self._screen(connection, loaded, pieces, now)
            mark_late_days(connection, landed, now=now)
            for batch in batches:
                batch.finish(connection)
        self._loaded = loaded
        self._give_back_memory(sum(batch.report.transactions for batch in landed))
        return [batch.report for batch in landed]

    def open(self, day: date, *, user_ids: Iterable[str] = (), active_days: int | None = None) -> Screener:
        """A screener that goes on from the last commit in memory alone, for use as a library; it writes nothing.

        Args:
            day: the day of the transactions to come; labels known by then count in the feedback features.
            user_ids: users that are expected: their histories are loaded, within the limit of memory.
            active_days: if given, also those who had a transaction so many days up to ``day``, with the devices and
                merchants they used. Anybody else begins as new.
        """
        self._refresh_champions(day)
        with self.warehouse.transaction() as connection:
            create_feature_tables(connection, self._compiled.plan)
            create_tables(connection, self._compiled.plan)
            loaded = self._on_base(connection, self._load(connection, ()))
            expected = _expected(connection, self._compiled, user_ids, day, active_days)
            live = LiveHistories(plan=self._compiled.plan, limit=self.stream.users_in_memory)
            _know_population(connection, live, loaded.base)
            _warm(connection, live, expected, loaded.base)
            live.incomplete = _incomplete(connection, self._compiled, loaded.base)
            live.learn(read_label_events(connection, self._compiled.plan.entities, day))
        loaded.screener.histories = live
        return loaded.screener

    def _load(self, connection: Connection, landed: Sequence[LandedBatch]) -> _Loaded:
        """The state as of the last commit; ``landed`` came after it."""
        seen = stream_position(connection).decided - sum(batch.report.decided for batch in landed)
        detector = self.stream.detector
        fresh = StreamDetector(detector)
        window = read_window(connection, fresh.schema, max(seen - detector.kept, 0), plan=self._compiled.plan)
        base = read_base(connection)
        live = self._no_histories()
        _know_population(connection, live, base)
        live.incomplete = _incomplete(connection, self._compiled, base)
        screener = Screener(
            live,
            StreamDetector(detector, schema=fresh.schema, state=DetectorState(seen, window)) if seen else fresh,
            self._engine_of,
            self._second_stage,
            self._shadows_of,
        )
        return _Loaded(screener, base)

    def _on_base(self, connection: Connection, loaded: _Loaded) -> _Loaded:
        """Go over to the histories of the latest derived day, if it is another than before."""
        base = latest_derived_day(connection, self._compiled)
        if base != loaded.base:
            write_base(connection, base, self._compiled)
            live = loaded.screener.histories = self._no_histories()
            live.warm({POPULATION: read_population(connection, base)})
            live.incomplete = _incomplete(connection, self._compiled, base)
            for rows in batches_since(connection, base, self._compiled):
                _warm(connection, live, rows, base)
                live.fold(rows)
                _store(connection, live)
            loaded.base, loaded.learned, loaded.looked_up = base, None, 0
        return loaded

    def _screen(self, connection: Connection, loaded: _Loaded, pieces: Sequence[_DayRows], now: datetime) -> None:
        """Screen rows in memory, and write what came of them."""
        screener = loaded.screener
        rows = pl.concat([piece.rows for piece in pieces])
        self._warm(connection, loaded, rows)
        features: list[pl.DataFrame] = []
        results: list[Screened] = []
        for piece in pieces:
            past = self._past(connection, piece.day, now)
            if past is not loaded.learned:
                screener.histories.learn(past)
                loaded.learned = past
            first = screener.detector.seen
            screened = screener.screen(piece.rows)
            results.append(screened)
            positions = pl.int_range(first, first + screened.features.height, dtype=pl.Int64, eager=True)
            features.append(screened.features.with_columns(batch_id=pl.lit(piece.batch_id), position=positions))
        at = pl.lit(now, dtype=TIMESTAMP)
        insert(connection, FEATURE_TABLE, pl.concat(features))
        scores = pl.concat([screened.scores for screened in results])
        insert(connection, "scoring.transaction_scores", scores.with_columns(scored_at=at))
        decisions = pl.concat([screened.decisions for screened in results])
        for (day,), of_day in decisions.group_by("event_date", maintain_order=True):
            assert isinstance(day, date)
            append_decisions(connection, of_day, engine=self._engine_of(day), channel=CHANNEL, now=now)
        shadow = ShadowRows.joined([screened.shadow for screened in results])
        append_shadow(connection, shadow, channel=CHANNEL, now=now)
        _store(connection, screener.histories)

    def _warm(self, connection: Connection, loaded: _Loaded, rows: pl.DataFrame) -> None:
        """Have the histories of all entities in ``rows`` in memory; after many, those of all others active lately."""
        live = loaded.screener.histories
        loaded.looked_up += _warm(connection, live, rows, loaded.base)
        if loaded.looked_up > _READ_ALL_AFTER:
            loaded.looked_up = -(2**62)  # once is enough
            most = self.stream.users_in_memory // 2
            live.warm(read_active_histories(connection, self._compiled, loaded.base, limit=most))
            _warm(connection, live, rows, loaded.base)

    def _past(self, connection: Connection, day: date, now: datetime) -> LabelEvents:
        """What the feedback features of ``day`` look at; read again after a while, since labels arrive meanwhile."""
        read_at, past = self._pasts.get(day, (None, None))
        if read_at is None or past is None or now - read_at > _LABELS_STAY:
            past = read_label_events(connection, self._compiled.plan.entities, day)
            others = {of: read for of, read in self._pasts.items() if of != day}
            self._pasts = {day: (now, past), **dict(list(others.items())[:_DAYS_OF_LABELS])}
        return past

    def _refresh_champions(self, day: date) -> None:
        """Look for newer versions; at first for that of the model which decides ``day``, before the file is opened."""
        if not self._champions:
            policy = policy_of_day(self.warehouse, policy_in_force(self._settings), day)
            self._second_stage(policy.second_stage)
        for champion in self._champions.values():
            champion.refresh()

    def _second_stage(self, name: str) -> LoadedModel | None:
        """The version of a model that is in use. One that nobody has asked for before is waited for."""
        if name not in self._champions:
            self._champions[name] = Champion(
                self._registry, name, plan=self._compiled.plan, every_seconds=self.stream.champion_seconds
            )
            return self._champions[name].refresh()
        return self._champions[name].current()

    def _give_back_memory(self, rows: int) -> None:
        self._rows_since_return += rows
        if self._rows_since_return >= _ROWS_BETWEEN_RETURNS:
            self._rows_since_return = 0
            give_back_memory()

    def _no_histories(self) -> LiveHistories:
        return LiveHistories(plan=self._compiled.plan, limit=self.stream.users_in_memory, keep_changes=True)

    def _engine_of(self, day: date) -> DecisionEngine:
        if day not in self._engines:
            self._engines[day] = self._screening(engine_in_force(self.warehouse, self._settings, day))
        return self._engines[day]

    def _shadows_of(self, day: date) -> Shadows:
        if day not in self._shadows:
            shadows = shadows_of_day(self.warehouse, self._settings, day)
            policies = tuple(ShadowPolicy(self._screening(each.engine)) for each in shadows.policies)
            self._shadows[day] = replace(shadows, policies=policies)
        return self._shadows[day]

    def _screening(self, engine: DecisionEngine) -> DecisionEngine:
        """The engine, with what the stream's detector is told of the screening."""
        screened_above = {"screening_threshold": self.stream.detector.threshold}
        return replace(engine, policy=engine.policy.model_copy(update=screened_above))


def _know_population(connection: Connection, live: LiveHistories, base: date | None) -> None:
    """Count all payments up to the latest derived day, and those that the stream has taken since."""
    live.warm({POPULATION: read_population(connection, base)})
    for rows in batches_since(connection, base, live.compiled):
        live.observe(rows)


def _land(
    connection: Connection,
    batches: Sequence[Batch],
    plan: Plan,
    position: int,
    now: datetime,
    settings: Settings,
) -> list[LandedBatch]:
    landed = []
    for batch in batches:
        landed.append(
            land_batch(
                connection,
                batch,
                attributes=plan.attributes,
                first_position=position,
                now=now,
                skew=settings.clock_skew,
                max_age_years=settings.max_age_years,
            )
        )
        position += landed[-1].report.decided
    return landed


def _stretches(landed: Sequence[LandedBatch], rows: int, *, refunds: bool) -> Iterator[list[_DayRows]]:
    """The rows of all batches, batch by batch and in order of time, in stretches of at most so many ``rows``.

    Refunds are among them where something looks at ``refunds``.
    """
    stretch: list[_DayRows] = []
    room = rows
    for batch in landed:
        ordered = (batch.rows if refunds else payments_of(batch.rows)).sort("timestamp", "transaction_id")
        days = ordered["timestamp"].dt.date()
        starts = [*(days != days.shift(1)).fill_null(value=True).arg_true(), ordered.height]
        for start, end in pairwise(starts):
            at = start
            while at < end:
                taken = min(end - at, room)
                stretch.append(_DayRows(batch.report.batch_id, days[at], ordered.slice(at, taken)))
                at, room = at + taken, room - taken
                if not room:
                    yield stretch
                    stretch, room = [], rows
    if stretch:
        yield stretch


def _expected(
    connection: Connection,
    compiled: FeaturePlan,
    user_ids: Iterable[str],
    day: date,
    active_days: int | None,
) -> pl.DataFrame:
    """The keys of the entities that are expected."""
    columns = list(dict.fromkeys(column for each in compiled.programs for column in each.entity.key))
    named = pl.DataFrame({"user_id": list(user_ids)}, schema={"user_id": pl.String})
    if active_days is None:
        return pl.concat([pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), named], how="diagonal")
    names = ", ".join(f'"{name}"' for name in columns)
    active = select(
        connection,
        f"SELECT DISTINCT {names} FROM raw.transactions WHERE event_date BETWEEN $first AND $day",
        {"first": day - timedelta(days=active_days), "day": day},
    )
    return pl.concat([active, named], how="diagonal")


def _warm(connection: Connection, live: LiveHistories, rows: pl.DataFrame, base: date | None) -> int:
    """Read the stored histories of those entities in ``rows`` that aren't in memory; returns how many they are."""
    unknown = live.unknown(rows)
    live.warm(
        {
            each.entity.name: read_stream_history(connection, each, unknown[each.entity.name], base)
            for each in live.compiled.programs
            if unknown[each.entity.name]
        }
    )
    return sum(map(len, unknown.values()))


def _incomplete(connection: Connection, compiled: FeaturePlan, base: date | None) -> dict[str, date | None]:
    """The features of entities that don't know all of the past of the days after ``base``."""
    following = date.min if base is None else base + timedelta(days=1)
    return incomplete(compiled, starts(connection, compiled, following))


def _store(connection: Connection, live: LiveHistories) -> None:
    for history in live.changed().values():
        write_stream_history(connection, history)
