"""Replay: a past decision made again from the models, features, thresholds, policy and rules it was made with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Final, Literal, TypeVar

import polars as pl
from pydantic import BaseModel, ValidationError

from fraud_pipelines.decisions.audit_sample import AUDIT, AUDIT_SCORE, with_audit_columns
from fraud_pipelines.decisions.columns import asked_of
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.explain import explain_alerts
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.policies import Policy, Thresholds
from fraud_pipelines.decisions.stages import COLLECTING
from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.daily_models import DAILY_MODEL, LoadedModel, load_version
from fraud_pipelines.detection.supervised import with_model_scores
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.features.frames import read_features_of
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse

Channel = Literal["batch", "stream"]

STREAM_MODEL: Final = MODEL_NAMES["ecod"]
COMPARED: Final = (
    *("decision", "score", "reason", "reason_codes", "policy", "review_threshold", "block_threshold"),
    *AUDIT,
)
_HASHES: Final = {"policy": "policy_hash", "thresholds": "thresholds_hash", "rules": "rules_hash"}
_BASIS: Final = ("event_date", "model_versions", *_HASHES.values())
_FEATURE_TABLES: Final[Mapping[Channel, str]] = {
    "batch": "features.transaction_features",
    "stream": "streaming.transaction_features",
}

Load = Callable[[str, int], LoadedModel]

Content = TypeVar("Content", bound=BaseModel)


@dataclass(frozen=True)
class Difference:
    """A field that comes out otherwise than it was recorded."""

    field: str
    recorded: object
    recomputed: object


@dataclass(frozen=True)
class Replay:
    """A decision made again.

    Attributes:
        revision: of the transaction's decisions in this channel.
        recorded: the fields `COMPARED` as the log has them.
        differences: what comes out otherwise. ``score of fraud-daily/12`` is the score that the version gave at the
            time, as stored: if it differs, the features are no longer those that were scored.
    """

    transaction_id: str
    event_date: date
    revision: int
    model_versions: tuple[str, ...]
    recorded: Mapping[str, object]
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether everything came out as recorded."""
        return not self.differences


def replay_decisions(
    warehouse: Warehouse,
    registry: ModelRegistry,
    transaction_ids: Sequence[str],
    *,
    channel: Channel = "batch",
    revision: int | None = None,
    plan: Plan | None = None,
) -> list[Replay]:
    """Make the decisions on some transactions again, each from what it was made with.

    The models are loaded by the version that the log names, the policy, the thresholds and the rules by their hash,
    the features are those stored now. A model of the stream is kept nowhere once it has been replaced; what it gave
    is taken as stored.

    Args:
        transaction_ids: each once.
        revision: of the decisions; by default the one in force.

    Returns:
        A replay of each, in the order given.

    Raises:
        MissingData: a transaction has no such decision, or what made it is no longer there.
        ArtifactRejected: a model was damaged or tampered with.
        RegistryUnavailable: MLflow can't be reached.
    """

    @cache
    def load(name: str, number: int) -> LoadedModel:
        return load_version(registry, name, number)

    with warehouse.connect(read_only=True):
        replays = {}
        for basis, group in _entries(warehouse, transaction_ids, channel, revision).group_by(_BASIS):
            made_by = dict(zip(_BASIS, basis, strict=True))
            engine = _engine(warehouse, {kind: str(made_by[column]) for kind, column in _HASHES.items()})
            engine = replace(engine, plan=plan) if plan else engine
            entries = group.sort("transaction_id")
            stored = _stored_scores(warehouse, channel, entries)
            features = with_model_scores(_features(warehouse, channel, entries), stored)
            scores = _scores(features, stored, entries["model_versions"][0], engine.policy, channel, load)
            scores = _with_audit_scores(scores, stored, engine)
            remade = _decide(engine, entries, features, scores, load)
            for entry, again in zip(entries.iter_rows(named=True), remade.iter_rows(named=True), strict=True):
                replays[entry["transaction_id"]] = Replay(
                    transaction_id=entry["transaction_id"],
                    event_date=entry["event_date"],
                    revision=entry["revision"],
                    model_versions=tuple(entry["model_versions"]),
                    recorded={name: entry[name] for name in COMPARED},
                    differences=(
                        *(
                            Difference(name, entry[name], again[name])
                            for name in COMPARED
                            if entry[name] != again[name]
                        ),
                        *_scores_that_differ(entry["transaction_id"], scores, stored),
                    ),
                )
    return [replays[each] for each in transaction_ids]


def versions_that_decided(warehouse: Warehouse, *, since: date | None = None) -> set[tuple[str, int]]:
    """Name and number of every registered version that a decision of the log was made with, replay's need.

    Args:
        since: leave out decisions on earlier days.
    """
    rows = warehouse.read(
        """
        SELECT DISTINCT unnest(model_versions) AS version
        FROM scoring.decision_revisions WHERE $since IS NULL OR event_date >= $since
        """,
        {"since": since},
    )
    # Models of the stream, fraud-realtime@12100, are kept nowhere.
    parts = (version.rpartition("/") for version in rows["version"].drop_nulls())
    return {(name, int(number)) for name, slash, number in parts if slash}


def _entries(
    warehouse: Warehouse, transaction_ids: Sequence[str], channel: Channel, revision: int | None
) -> pl.DataFrame:
    """The log's entries on the transactions, ordered by transaction id."""
    entries = warehouse.read(
        """
        SELECT * FROM scoring.decision_revisions
        WHERE channel = $channel AND list_contains($ids, transaction_id) AND ($revision IS NULL OR revision = $revision)
        QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY revision DESC) = 1
        ORDER BY transaction_id
        """,
        {"channel": channel, "ids": list(transaction_ids), "revision": revision},
    )
    which = f"revision {revision}" if revision else "decision"
    if unknown := sorted(set(transaction_ids) - set(entries["transaction_id"])):
        raise MissingData(
            f"transaction {unknown[0]!r} has no {which} in the channel {channel}: check the id, and --channel"
        )
    for entry in entries.filter(pl.col("decision").is_null()).iter_rows(named=True):
        raise MissingData(
            f"revision {entry['revision']} of transaction {entry['transaction_id']!r} withdraws the decision; name an "
            "earlier revision to replay that"
        )
    for entry in entries.filter(pl.col("policy_hash").is_null()).iter_rows(named=True):
        raise MissingData(
            f"transaction {entry['transaction_id']!r} was decided by a release that kept neither policy nor rules: "
            "that decision can't be made again"
        )
    return entries


def _engine(warehouse: Warehouse, hashes: Mapping[str, str]) -> DecisionEngine:
    def stored_version(kind: str, model: type[Content]) -> Content:
        stored = warehouse.read(
            "SELECT content FROM scoring.policy_versions WHERE kind = ? AND hash = ?", [kind, hashes[kind]]
        )
        if stored.is_empty():
            raise MissingData(f"the {kind} {hashes[kind][:12]}, which decided, is missing from scoring.policy_versions")
        try:
            return model.model_validate_json(stored.item(0, 0), context=asked_of(None))
        except ValidationError as error:
            raise InvalidInput(
                f"this release can't read the {kind} {hashes[kind][:12]}, which decided: {error.errors()[0]['msg']}. "
                "Replay it with the release of that time."
            ) from error

    return DecisionEngine(
        stored_version("policy", Policy), stored_version("thresholds", Thresholds), stored_version("rules", HardRules)
    )


def _features(warehouse: Warehouse, channel: Channel, entries: pl.DataFrame) -> pl.DataFrame:
    """Features of the entries' transactions as stored, in their order."""
    ids = entries["transaction_id"]
    rows = read_features_of(warehouse, entries["event_date"][0], ids, table=_FEATURE_TABLES[channel])
    if missing := sorted(set(ids) - set(rows["transaction_id"])):
        raise MissingData(
            f"the features of transaction {missing[0]!r} are no longer stored: what was decided from them can't be "
            "decided again"
        )
    return rows


def _stored_scores(warehouse: Warehouse, channel: Channel, entries: pl.DataFrame) -> pl.DataFrame:
    """``transaction_id``, ``model_name``, ``version`` (as ``fraud-daily/12``), ``score``, as stored."""
    return warehouse.read(
        """
        SELECT transaction_id, model_name, model_name || '/' || model_version AS version, score
        FROM scoring.transaction_scores
        WHERE event_date = $day AND channel = $channel AND list_contains($ids, transaction_id)
        """,
        {"day": entries["event_date"][0], "channel": channel, "ids": entries["transaction_id"].to_list()},
    )


def _scores(
    features: pl.DataFrame,
    stored: pl.DataFrame,
    versions: Sequence[str],
    policy: Policy,
    channel: Channel,
    load: Load,
) -> pl.DataFrame:
    """``transaction_id``, the scores that `DecisionEngine.decide` takes, and that of each version under its name.

    Args:
        versions: what screened and then what the second stage was; one where it was the same model, or only one scored.
        policy: which model the second stage is.
    """
    scores = features.select("transaction_id")
    screening = second = pl.lit(None, dtype=pl.Float64)
    for place, version in enumerate(versions):
        name, slash, number = version.rpartition("/")
        if slash:
            scores = scores.with_columns(load(name, int(number)).model.score(features)["score"].alias(version))
        else:
            of_stream = stored.filter(pl.col("model_name") == STREAM_MODEL).select("transaction_id", "score")
            scores = scores.join(
                of_stream.rename({"score": version}), on="transaction_id", how="left", maintain_order="left"
            )
        screened = place == 0 and (name == DAILY_MODEL if channel == "batch" else not slash)
        if screened:
            screening = pl.col(version)
        if not screened or name == policy.second_stage:
            second = pl.col(version)
    return scores.with_columns(screening.alias("screening_score"), second.alias("second_stage_score"))


def _with_audit_scores(scores: pl.DataFrame, stored: pl.DataFrame, engine: DecisionEngine) -> pl.DataFrame:
    """The scores with that which told the risk of each payment, where an audit sample was drawn."""
    if not engine.thresholds.audit:
        return scores
    told = stored.filter(model_name=engine.thresholds.audit.model).select(
        "transaction_id", pl.col("score").alias(AUDIT_SCORE)
    )
    return scores.join(told, on="transaction_id", how="left", maintain_order="left")


def _decide(
    engine: DecisionEngine, entries: pl.DataFrame, features: pl.DataFrame, scores: pl.DataFrame, load: Load
) -> pl.DataFrame:
    """The fields `COMPARED` of each entry, made again."""
    wanted = dict.fromkeys(("transaction_id", *engine.columns))
    told_by = ("screening_score", "second_stage_score", AUDIT_SCORE)
    candidates = features.select(*wanted).hstack(scores.select(each for each in told_by if each in scores.columns))
    decided = with_audit_columns(engine.decide(candidates, unscored=COLLECTING))
    alerts = decided.with_columns(entries["model_versions"], scores["second_stage_score"])
    codes = explain_alerts(alerts, features, engine, load)
    recorded = entries.select("transaction_id", recorded_codes="reason_codes")
    # What a model of the stream saw in an alert can't be asked any more.
    kept = decided.join(codes, on="transaction_id", how="anti").join(recorded, on="transaction_id")
    known = pl.concat([codes, kept.select("transaction_id", reason_codes="recorded_codes")])
    return decided.join(known, on="transaction_id", how="left", maintain_order="left").with_columns(
        pl.col("reason_codes").fill_null(pl.lit([], dtype=pl.List(pl.String)))
    )


def _scores_that_differ(transaction_id: str, scores: pl.DataFrame, stored: pl.DataFrame) -> list[Difference]:
    again = scores.row(by_predicate=pl.col("transaction_id") == transaction_id, named=True)
    return [
        Difference(f"score of {version}", score, again[version])
        for version, score in stored.filter(pl.col("transaction_id") == transaction_id)
        .sort("version")
        .select("version", "score")
        .iter_rows()
        if version in again and again[version] != score
    ]
