"""A day scored in shards has the same scores, to the bit, by models that are told by their digest."""

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.detection.daily_models import LoadedModel, score_day
from fraud_pipelines.detection.saved_models import save_models
from fraud_pipelines.detection.scored_day import ScoreShard, score_shard, scored_day
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.engines.processes import Processes
from fraud_pipelines.errors import ArtifactRejected, MissingData
from fraud_pipelines.features.frames import read_features
from fraud_pipelines.storage.row_files import write_rows
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.detection.scored_samples import DAY, NOW, small_models, warehouse_with_features
from fraud_pipelines_tests.features.random_declarations import bits


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return warehouse_with_features(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def models(warehouse: Warehouse) -> Sequence[LoadedModel]:
    return small_models(warehouse)


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_scores_are_the_same_in_any_number_of_shards(
    warehouse: Warehouse, models: Sequence[LoadedModel], tmp_path: Path, shards: int
) -> None:
    expected = score_day(read_features(warehouse, DAY, DAY), models, day=DAY, now=NOW)
    with scored_day(warehouse, models, InProcess(shards, tmp_path / "work"), day=DAY, now=NOW) as scored:
        assert scored.transactions == 200
        warehouse.overwrite("scoring.transaction_scores", scored.rows, event_date=DAY, channel="batch")
    stored = warehouse.read("FROM scoring.transaction_scores")
    order = ("model_name", "transaction_id")
    assert_frame_equal(bits(stored.select(expected.columns).sort(order)), bits(expected.sort(order)))
    assert_frame_equal(
        scored.seen.sort("model_name", "score"), expected.select(scored.seen.columns).sort("model_name", "score")
    )
    assert not (tmp_path / "work").exists()


def test_processes_score_the_same(warehouse: Warehouse, models: Sequence[LoadedModel], tmp_path: Path) -> None:
    expected = score_day(read_features(warehouse, DAY, DAY), models, day=DAY, now=NOW)
    with (
        closing(Processes(2, tmp_path / "work")) as engine,
        scored_day(warehouse, models, engine, day=DAY, now=NOW) as found,
    ):
        assert_frame_equal(bits(found.seen.sort(pl.all())), bits(expected.select(found.seen.columns).sort(pl.all())))


def test_a_model_that_was_changed_on_the_way_scores_nothing(models: Sequence[LoadedModel], tmp_path: Path) -> None:
    rows = write_rows(pl.DataFrame({"transaction_id": ["t"], "amount": [1.0]}), tmp_path / "rows.parquet")
    saved = save_models(models[:1], tmp_path)
    models[0].model.save(saved[0].folder)
    (saved[0].folder / "model.json").write_text((saved[0].folder / "model.json").read_text().replace("0.01", "0.02"))
    with pytest.raises(ArtifactRejected, match=r"model\.json isn't what was written"):
        score_shard(ScoreShard(rows, saved, DAY, NOW, tmp_path / "scores"))


def test_a_day_without_features_is_told(warehouse: Warehouse, models: Sequence[LoadedModel], tmp_path: Path) -> None:
    other = DAY + timedelta(days=1)
    for engine in (InProcess(1, tmp_path / "work"), InProcess(2, tmp_path / "work")):
        with (
            pytest.raises(MissingData, match="no features are stored for 2026-03-02"),
            scored_day(warehouse, models, engine, day=other, now=NOW),
        ):
            raise AssertionError
