"""The steps that decide a shard of a day: no decision looks at another payment, but for what the driver hands in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.decisions.audit_sample import reviewed, risk_scores, with_audit_columns
from fraud_pipelines.decisions.decided_day import BATCH, decision_rows
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.explain import explain_alerts
from fraud_pipelines.decisions.hash_chain import Chain, Link, chained
from fraud_pipelines.decisions.log import LATEST, change_of_day
from fraud_pipelines.decisions.sealing import PLACE
from fraud_pipelines.decisions.stages import deciding_version
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.saved_models import SavedModel
from fraud_pipelines.storage.row_files import RowFiles, write_rows

ALERTS: Final = pl.Schema(
    {"transaction_id": pl.String(), "score": pl.Float64(), "by_rules": pl.Boolean(), "risk": pl.Float64()}
)
RISK: Final = pl.Schema({"risk": pl.Float64()})
REVIEWED: Final = pl.Schema({"transaction_id": pl.String()})


@dataclass(frozen=True)
class AlertShard:
    """A shard to decide by the engine as it is, so that the driver can count the day's alerts."""

    candidates: RowFiles
    engine: DecisionEngine
    folder: Path


@dataclass(frozen=True)
class ShardAlerts:
    """What a day's cap and its audit sample are made of.

    Attributes:
        rows: how many payments the shard has.
        alerts: `ALERTS` of those that are alerted.
        approved: `RISK` of those that aren't, where the policy draws an audit sample.
    """

    rows: int
    alerts: RowFiles
    approved: RowFiles


def alerts_of_shard(work: AlertShard) -> ShardAlerts:
    """The step: who would be alerted if there were no cap, and what risk the others are.

    Raises:
        InvalidInput: a score is unusable.
    """
    work.folder.mkdir(parents=True)
    candidates = work.candidates.read_all()
    decided = work.engine.decide(candidates)
    decided = decided.with_columns(pl.Series("risk", risk_scores(candidates, decided)))
    alerted = pl.col("decision") != "approve"
    alerts = decided.filter(alerted)
    by_rules = work.engine.alerted_by_rules(candidates.filter(decided.select(alerted).to_series()))
    flagged = alerts.with_columns(by_rules=pl.col("transaction_id").is_in(by_rules.implode()))
    approved = RowFiles()
    if work.engine.policy.audit_per_day:
        approved = write_rows(decided.filter(~alerted).select(list(RISK)), work.folder / "approved.parquet")
    return ShardAlerts(
        decided.height, write_rows(flagged.select(list(ALERTS)), work.folder / "alerts.parquet"), approved
    )


@dataclass(frozen=True)
class DecideShard:
    """A shard to decide by the day's engine, with its cut on alerts and its draw of the audit sample."""

    candidates: RowFiles
    engine: DecisionEngine
    folder: Path


@dataclass(frozen=True)
class DecidedShard:
    """The decisions of a shard, without reasons for reviewers.

    Attributes:
        decided: rows by transaction id.
        reviewed: `REVIEWED` of those that somebody will look at.
        versions: the models whose scores decided these, as ``fraud-daily/12``.
    """

    decided: RowFiles
    reviewed: RowFiles
    versions: frozenset[str]


def decide_shard(work: DecideShard) -> DecidedShard:
    """The step: the decision on each payment."""
    work.folder.mkdir(parents=True)
    candidates = work.candidates.read_all().sort("transaction_id")
    decided = with_audit_columns(work.engine.decide(candidates)).with_columns(
        candidates["model_versions"], candidates["second_stage_score"]
    )
    for_review = decided.filter(reviewed())
    columns = ("reason", "score", "model_versions", "second_stage_score")
    versions = {deciding_version(*row) for row in for_review.select(columns).iter_rows()}
    return DecidedShard(
        write_rows(decided, work.folder / "decided.parquet"),
        write_rows(for_review.select(list(REVIEWED)), work.folder / "reviewed.parquet"),
        frozenset(version for version in versions if version and "/" in version),
    )


@dataclass(frozen=True)
class RecordShard:
    """A decided shard to explain, to compare with the log, and to chain.

    Attributes:
        decided: see `DecidedShard`; without a file where all payments of the shard are gone.
        features: of its payments that are reviewed, with the scores that models gave them.
        models: that decided, by ``name/version``.
        latest: the last entries of the log on payments of the shard.
        previous: the hash of the last entry of its chain.
    """

    shard: int
    decided: RowFiles
    features: RowFiles
    models: Mapping[str, SavedModel]
    latest: RowFiles
    engine: DecisionEngine
    day: date
    now: datetime
    previous: str
    folder: Path


@dataclass(frozen=True)
class RecordedShard:
    """What a shard adds to the log, and its rows of ``scoring.decisions``."""

    entries: RowFiles
    link: Link | None
    in_force: RowFiles
    new: int
    written: int
    withdrawn: int


def record_shard(work: RecordShard) -> RecordedShard:
    """The step: the reasons of what is reviewed, and the entries with their hashes.

    Raises:
        ArtifactRejected: a model is not the one that was saved.
    """

    def load(name: str, version: int) -> LoadedModel:
        return work.models[f"{name}/{version}"].load()

    work.folder.mkdir(parents=True)
    latest = work.latest.read(LATEST)
    if work.decided.paths:
        decided = work.decided.read_all()
        features = work.features.read_all() if work.features.paths else decided.clear()
        reasons = explain_alerts(decided.filter(reviewed()), features, work.engine, load)
        rows = decision_rows(decided, reasons, work.day)
    else:
        rows = pl.DataFrame(schema=LATEST).drop("revision", "action", "plan_version", "decided_at")
    change = change_of_day(rows, latest, engine=work.engine, channel=BATCH, now=work.now)
    entries, link = RowFiles(), None
    if change.entries.height:
        chain = Chain(BATCH, work.day, work.shard)
        of_chain = chained(change.entries, work.previous)
        link = Link(chain, of_chain.height, of_chain["entry_hash"][-1])
        numbered = of_chain.with_columns(
            pl.lit(work.shard, dtype=pl.Int32).alias("shard"), pl.int_range(pl.len()).alias(PLACE)
        )
        entries = write_rows(numbered, work.folder / "entries.parquet")
    in_force = write_rows(change.in_force, work.folder / "in_force.parquet") if change.in_force.height else RowFiles()
    return RecordedShard(entries, link, in_force, change.new, change.written, change.withdrawn)
