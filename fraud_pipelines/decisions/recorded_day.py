"""A day decided and put in force: in memory, or by shards of its payments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.audit_sample import AUDIT_SCORE, RISK_MODELS
from fraud_pipelines.decisions.decided_day import (
    BATCH,
    CANDIDATES_SQL,
    candidates_of,
    decide_day,
    seen_by_models,
)
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import Chain
from fraud_pipelines.decisions.log import (
    LATEST_SQL,
    Recorded,
    mark_fresh,
    note_versions,
    record_decisions,
)
from fraud_pipelines.decisions.sealing import append_files, chain_heads
from fraud_pipelines.decisions.shadow import NO_SHADOWS, Shadows, decide_day_in_shadow
from fraud_pipelines.decisions.shadow_records import ShadowRows, replace_shadow
from fraud_pipelines.decisions.shards import (
    ALERTS,
    REVIEWED,
    RISK,
    AlertShard,
    DecidedShard,
    DecideShard,
    RecordedShard,
    RecordShard,
    alerts_of_shard,
    decide_shard,
    record_shard,
)
from fraud_pipelines.detection.daily_models import load_version
from fraud_pipelines.detection.saved_models import SavedModel, save_models
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.work_folder import work_folder
from fraud_pipelines.errors import MissingData, ShardFailed
from fraud_pipelines.features.frames import columns_sql
from fraud_pipelines.storage.connection import Connection, overwrite, select
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.row_files import RowFiles, write_rows
from fraud_pipelines.storage.shard_files import export
from fraud_pipelines.storage.warehouse import Warehouse

SEEN: Final = pl.Schema(
    {"transaction_id": pl.String(), "decision": pl.String(), "score": pl.Float64(), "reason": pl.String()}
)
_KEY: Final = ("transaction_id",)


@dataclass(frozen=True)
class RecordedDay:
    """What became of a day.

    Attributes:
        recorded: what the log was given.
        engine: that decided, see `decided_day.DecidedDay`.
        seen: the columns `SEEN` of each decision in force.
        shadow: what was decided in shadow.
    """

    recorded: Recorded
    engine: DecisionEngine
    seen: pl.DataFrame
    shadow: ShadowRows


def decide_and_record(
    warehouse: Warehouse,
    registry: ModelRegistry,
    deciding: DecisionEngine,
    engine: Engine,
    *,
    day: date,
    now: datetime,
    shadows: Shadows = NO_SHADOWS,
) -> RecordedDay:
    """Decide every transaction of ``day``, see `decide_day`, and put the decisions in force, see `record_decisions`.

    By shards it is the same to the bit. What needs the whole day is done in between, of few columns: the cut on the
    day's alerts, and the draw of the audit sample.

    Args:
        deciding: the policy, thresholds and rules in force.
        engine: runs the shards.
        shadows: what decides beside it in shadow, here, whatever runs the shards.

    Raises:
        MissingData: the day has no scores, or no features.
        InvalidInput: a score is unusable.
        ShardFailed: a shard failed, or another process has decided the day meanwhile.
    """
    if engine.shards == 1:
        with warehouse.connect(read_only=True):
            decided = decide_day(warehouse, registry, deciding, day)
            shadow = decide_day_in_shadow(warehouse, shadows, decided.rows, day)
        recorded = record_decisions(
            warehouse, decided.rows, engine=decided.engine, day=day, channel=BATCH, now=now, shadow=shadow
        )
        return RecordedDay(recorded, decided.engine, decided.rows.select(list(SEEN)), shadow)
    with work_folder(engine) as folder:
        with warehouse.connect(read_only=True) as connection:
            files = _export_day(connection, deciding, day, shards=engine.shards, folder=folder)
        of_day = _with_whole_day(deciding, files, engine, folder)
        shards = [shard for shard, rows in enumerate(files.candidates) if rows.paths]
        decided_shards = engine.map(
            decide_shard,
            [DecideShard(files.candidates[shard], of_day, folder / f"decided-{shard}") for shard in shards],
        )
        by_shard = dict(zip(shards, decided_shards, strict=True))
        features = _features_of_reviewed(warehouse, day, by_shard, folder)
        models = _save_models(registry, decided_shards, folder)
        recorded_shards = engine.map(
            record_shard,
            [
                RecordShard(
                    shard,
                    by_shard[shard].decided if shard in by_shard else RowFiles(),
                    features.get(shard, RowFiles()),
                    models,
                    files.latest[shard],
                    of_day,
                    day,
                    now,
                    files.heads[Chain(BATCH, day, shard)],
                    folder / f"recorded-{shard}",
                )
                for shard in range(engine.shards)
                if shard in by_shard or files.latest[shard].paths
            ],
        )
        seen = RowFiles.joined(each.in_force for each in recorded_shards).read(SEEN)
        shadow = decide_day_in_shadow(warehouse, shadows, seen.with_columns(event_date=pl.lit(day)), day)
        recorded = _store(warehouse, recorded_shards, files, of_day, shadow, day=day, now=now)
        return RecordedDay(recorded, of_day, seen, shadow)


@dataclass(frozen=True)
class _DayFiles:
    """What a day is decided from, by shard; what the log had of it, and the model that tells the risk."""

    candidates: Sequence[RowFiles]
    latest: Sequence[RowFiles]
    heads: Mapping[Chain, str]
    logged: tuple[int, int]
    risk_model: str


def _export_day(connection: Connection, deciding: DecisionEngine, day: date, *, shards: int, folder: Path) -> _DayFiles:
    parameters = candidates_of(deciding, day)
    query, risk_model = CANDIDATES_SQL, ""
    if deciding.columns:
        looked_at = columns_sql(connection, deciding.columns)
        query = f"SELECT * FROM ({query}) LEFT JOIN ({looked_at}) USING (transaction_id)"
        parameters |= {"first": day, "last": day}
    if deciding.policy.audit_per_day:
        risk_model = _risk_model(connection, day)
        query = f"""
            SELECT c.*, r.score AS {AUDIT_SCORE} FROM ({query}) c LEFT JOIN (
                SELECT transaction_id, score FROM scoring.transaction_scores
                WHERE event_date = $day AND channel = 'batch' AND model_name = $risk_model
            ) r USING (transaction_id)
        """
        parameters |= {"risk_model": risk_model}
    candidates = export(connection, query, parameters, key=_KEY, shards=shards, folder=folder / "candidates")
    if not any(each.paths for each in candidates):
        raise MissingData(f"no scores are stored for {day}: materialize scoring/transaction_scores for the day first")
    latest = export(
        connection,
        LATEST_SQL,
        {"channel": BATCH, "day": day},
        key=_KEY,
        shards=shards,
        folder=folder / "latest",
    )
    heads = chain_heads(connection, [Chain(BATCH, day, shard) for shard in range(shards)])
    return _DayFiles(candidates, latest, heads, _logged(connection, day), risk_model)


def _risk_model(connection: Connection, day: date) -> str:
    """The first of `RISK_MODELS` that scored the day; empty where none did."""
    query = "SELECT DISTINCT model_name FROM scoring.transaction_scores WHERE event_date = ? AND channel = 'batch'"
    scored_by = set(select(connection, query, [day])["model_name"])
    return next((each for each in RISK_MODELS if each in scored_by), "")


def _logged(connection: Connection, day: date) -> tuple[int, int]:
    """How many entries the log has of the day, and the number of the last."""
    query = """
        SELECT count(*), coalesce(max(sequence), 0) FROM scoring.decision_revisions
        WHERE channel = ? AND event_date = ?
    """
    entries, last = select(connection, query, [BATCH, day]).row(0)
    return entries, last


def _with_whole_day(deciding: DecisionEngine, files: _DayFiles, engine: Engine, folder: Path) -> DecisionEngine:
    """The engine with the day's cut on alerts, and its draw of the audit sample."""
    found = engine.map(
        alerts_of_shard,
        [
            AlertShard(rows, deciding, folder / f"alerts-{shard}")
            for shard, rows in enumerate(files.candidates)
            if rows.paths
        ],
    )
    alerts = RowFiles.joined(each.alerts for each in found).read(ALERTS)
    most = deciding.policy.most_alerts(sum(each.rows for each in found))
    cut = deciding.with_alerts_cut(alerts, alerts.filter("by_rules")["transaction_id"], most)
    if not deciding.policy.audit_per_day:
        return cut
    approved = RowFiles.joined(each.approved for each in found).read(RISK)
    beyond = alerts.filter(cut.is_beyond_the_cap(alerts) & ~alerts["by_rules"])
    risk = pl.concat([approved["risk"], beyond["risk"]])
    return cut.with_audit_drawn_of(risk.to_numpy(), model=files.risk_model)


def _features_of_reviewed(
    warehouse: Warehouse, day: date, decided: Mapping[int, DecidedShard], folder: Path
) -> dict[int, RowFiles]:
    """The features of what is reviewed, by shard."""
    ids = pl.concat([each.reviewed.read(REVIEWED).with_columns(shard=pl.lit(shard)) for shard, each in decided.items()])
    if ids.is_empty():
        return {}
    features = seen_by_models(warehouse, day, ids["transaction_id"]).join(ids, on="transaction_id")
    target = folder / "features"
    target.mkdir()
    return {
        shard: write_rows(rows.drop("shard"), target / f"{shard}.parquet")
        for (shard,), rows in features.group_by("shard", maintain_order=True)
        if isinstance(shard, int)
    }


def _save_models(registry: ModelRegistry, decided: Sequence[DecidedShard], folder: Path) -> dict[str, SavedModel]:
    names = sorted(frozenset[str]().union(*(each.versions for each in decided)))
    loaded = []
    for version in names:
        name, _, number = version.rpartition("/")
        loaded.append(load_version(registry, name, int(number)))
    return dict(zip(names, save_models(loaded, folder), strict=True))


def _store(
    warehouse: Warehouse,
    shards: Sequence[RecordedShard],
    files: _DayFiles,
    deciding: DecisionEngine,
    shadow: ShadowRows,
    *,
    day: date,
    now: datetime,
) -> Recorded:
    new, written, withdrawn = (
        sum(counts) for counts in zip(*((each.new, each.written, each.withdrawn) for each in shards), strict=True)
    )
    with warehouse.transaction() as connection:
        if _logged(connection, day) != files.logged:
            raise ShardFailed(
                f"Another process has decided {day} meanwhile. Nothing of the day was stored; run it again."
            )
        if written:
            note_versions(connection, deciding, now)
        links = [each.link for each in shards if each.link]
        head = append_files(connection, RowFiles.joined(each.entries for each in shards), links, channel=BATCH, now=now)
        in_force = RowFiles.joined(each.in_force for each in shards)
        overwrite(connection, "scoring.decisions", in_force, event_date=day, channel=BATCH)
        replace_shadow(connection, shadow, day=day, channel=BATCH, now=now)
        mark_fresh(connection, day, now)
    return Recorded(new=new, revised=written - new, withdrawn=withdrawn, head=head)
