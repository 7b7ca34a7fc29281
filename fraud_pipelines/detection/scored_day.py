"""A day's scores: in memory, or by the shards of its users."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from fraud_pipelines.detection.daily_models import LoadedModel, score_day
from fraud_pipelines.detection.saved_models import SavedModel, save_models
from fraud_pipelines.detection.schema import MODEL_SCORES
from fraud_pipelines.engines.interface import Engine
from fraud_pipelines.engines.work_folder import work_folder
from fraud_pipelines.features.frames import export_features, read_features
from fraud_pipelines.storage.row_files import RowFiles, write_rows
from fraud_pipelines.storage.warehouse import Warehouse

_SEEN = {"model_name": pl.String(), "score": pl.Float64(), "is_anomaly": pl.Boolean()}


@dataclass(frozen=True)
class ScoredDay:
    """Rows of ``scoring.transaction_scores``, and of how many transactions they are.

    Attributes:
        rows: in memory, or in files that last as long as the block in which the day is scored.
        seen: ``model_name``, ``score`` and ``is_anomaly`` of each.
        transactions: how many have features.
    """

    rows: pl.DataFrame | RowFiles
    seen: pl.DataFrame
    transactions: int


@contextmanager
def scored_day(
    warehouse: Warehouse, models: Sequence[LoadedModel], engine: Engine, *, day: date, now: datetime
) -> Iterator[ScoredDay]:
    """Score the transactions of ``day``, see `score_day`.

    Raises:
        MissingData: no features are stored for the day.
        ShardFailed: a shard failed.
    """
    if engine.shards == 1:
        features = read_features(warehouse, day, day)
        scores = score_day(features, models, day=day, now=now)
        yield ScoredDay(scores, scores.select(list(_SEEN)), features.height)
        return
    columns = sorted({name for each in models for name in each.model.schema} - {*MODEL_SCORES})
    with work_folder(engine) as folder:
        saved = save_models(models, folder)
        files = export_features(warehouse, day, columns, shards=engine.shards, folder=folder / "features")
        scored = engine.map(
            score_shard,
            [
                ScoreShard(rows, saved, day, now, folder / f"scores-{shard}")
                for shard, rows in enumerate(files)
                if rows.paths
            ],
        )
        rows = RowFiles.joined(each.rows for each in scored)
        yield ScoredDay(rows, rows.read(_SEEN), sum(each.transactions for each in scored))


@dataclass(frozen=True)
class ScoreShard:
    """A shard of users to score: the columns that the models read, and the models in the order of `DAILY_MODELS`."""

    features: RowFiles
    models: tuple[SavedModel, ...]
    day: date
    now: datetime
    folder: Path


@dataclass(frozen=True)
class ShardScores:
    """The scores of a shard, and of how many transactions they are."""

    rows: RowFiles
    transactions: int


def score_shard(work: ScoreShard) -> ShardScores:
    """The step: a row's score depends on that row alone, so that it is the same in any shard.

    Raises:
        ArtifactRejected: a model is not the one that was saved.
    """
    work.folder.mkdir(parents=True)
    features = work.features.read_all().sort("transaction_id")
    scores = score_day(features, [each.load() for each in work.models], day=work.day, now=work.now)
    return ShardScores(write_rows(scores, work.folder / "scores.parquet"), features.height)
