"""The sensor and its job, in real Dagster, with the second stage from a real MLflow registry."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import numpy as np
import polars as pl
import pytest

from fraud_pipelines.bootstrap import publication_of
from fraud_pipelines.detection.daily_models import current_feature_version
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import MODEL_SCORES, parse_schema
from fraud_pipelines.detection.supervised import fit_supervised
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage import publication as publication_module
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.publication import INTERVAL_SECONDS
from fraud_pipelines.streaming.champion import Champion
from fraud_pipelines.streaming.requests import Requested, next_request
from fraud_pipelines.transactions.waiting import Waiting, look_into
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.streaming.samples import ENSEMBLE, Stream, drop, fitted, register, traffic

SUPERVISED = "fraud-supervised"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """A prepared data directory with two versions of the ensemble, the first of which is champion."""
    stream = Stream(tmp_path_factory.mktemp("job") / "data").prepare()
    registry = registry_of(stream)
    registry.initialise()
    for number in range(2):
        register(registry, number)
    return stream


def registry_of(stream: Stream) -> ModelRegistry:
    return ModelRegistry(stream.settings.tracking_uri, artifact_root=stream.settings.artifact_root)


@pytest.fixture
def environment(installation: Stream) -> Iterator[None]:
    wanted = {"FRAUD_DATA_DIR": str(installation.data_dir), "FRAUD_STREAM_MIN_SAMPLES": "30"}
    with mock.patch.dict(os.environ, wanted | {"FRAUD_STREAM_RETRAIN_INTERVAL": "50", "MLFLOW_TRACKING_URI": ""}):
        yield


@pytest.mark.usefixtures("environment")
def test_the_sensor_publishes_what_was_stored_once_that_is_due(
    installation: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fraud_pipelines.definitions import defs

    sensor = defs().resolve_sensor_def("publication_sensor")
    publication = publication_of(installation.settings)
    publication.publish()
    with installation.warehouse.transaction() as connection:
        connection.execute("INSERT INTO raw.stale_days VALUES ('2026-10-01', 'late', now())")
    with dg.DagsterInstance.ephemeral() as instance:
        for later, current in ((INTERVAL_SECONDS - 60, False), (INTERVAL_SECONDS, True)):
            now = publication_module._now() + timedelta(seconds=later)
            with monkeypatch.context() as clock:
                clock.setattr(publication_module, "_now", lambda now=now: now)
                sensor.evaluate_tick(dg.build_sensor_context(instance))
            assert publication.is_current() is current


@pytest.mark.usefixtures("environment")
def test_what_waits_starts_one_run_that_screens_with_the_champion(installation: Stream) -> None:
    from fraud_pipelines.definitions import defs

    definitions = defs()
    sensor = definitions.resolve_sensor_def("transaction_stream_sensor")
    job = definitions.resolve_job_def("stream_screening_job")
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> Any:
            context = dg.build_sensor_context(instance, cursor=cursor, definitions=definitions)
            return sensor.evaluate_tick(context)

        assert tick(None).run_requests == []
        rows = traffic(400, users=40)
        # Yesterday's traffic need not have anything to block.
        unusual = pl.int_range(pl.len()).is_in([250, 300, 350])
        rows = rows.with_columns(amount=pl.when(unusual).then(pl.col("amount") * 1000).otherwise("amount"))
        for k in range(8):
            path = drop(installation.folder, f"{k}.jsonl", rows[50 * k : 50 * k + 50])
            os.utime(path, (1000 + k, 1000 + k))
        (installation.folder / "half.jsonl.part").write_text("{")

        ticked = tick(None)
        assert len(ticked.run_requests) == 1
        assert tick(ticked.cursor).run_requests == []  # asked for already

        publication_of(installation.settings).publish()
        with held_elsewhere(installation.settings.published_path):  # which holds up nothing
            result = job.execute_in_process(
                instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
            )

        assert result.success
        assert publication_of(installation.settings).is_current(), "published at the end of the run"
        (done,) = result.asset_materializations_for_node("streaming__processed_batches")
        assert done.metadata["accepted"].value == 400
        assert done.metadata["dagster/row_count"].value == 8
        assert installation.waiting() == ["half.jsonl.part"]
        assert tick(ticked.cursor).run_requests == []
    decided = installation.decisions()
    assert decided.height == 400
    blocked = decided.filter(decision="block")["transaction_id"].sort().to_list()
    told = installation.warehouse.read("SELECT transaction_ids FROM monitoring.alerts WHERE kind = 'blocked'")
    assert blocked
    assert told["transaction_ids"].explode().sort().to_list() == blocked
    flagged = decided.filter(pl.col("model_versions").list.len() == 2)
    assert flagged.height > 0
    assert (flagged["model_versions"].list.last() == f"{ENSEMBLE}/2").all()
    assert flagged["model_versions"].list.first().str.starts_with("fraud-realtime@").all()
    alerts = decided.filter(pl.col("decision") != "approve")
    assert alerts.height > 0
    assert (alerts["reason_codes"].list.len() > 0).all()
    assert (alerts["reason"].is_in(["high_fraud_confidence", "flagged_for_review"])).all()
    scores = installation.warehouse.read("FROM scoring.transaction_scores WHERE model_name = ?", [ENSEMBLE])
    assert set(scores["transaction_id"]) == set(flagged["transaction_id"])
    assert set(scores["model_version"]) == {2}


@pytest.mark.usefixtures("environment")
def test_a_run_that_is_under_way_keeps_the_sensor_quiet(installation: Stream) -> None:
    from fraud_pipelines.definitions import defs

    definitions = defs()
    sensor = definitions.resolve_sensor_def("transaction_stream_sensor")
    drop(installation.folder, "waits.jsonl", traffic(5))
    os.utime(installation.folder / "waits.jsonl", (1, 1))
    with dg.DagsterInstance.ephemeral() as instance:
        started = dg.DagsterRun(job_name="stream_screening_job", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(started)
        context = dg.build_sensor_context(instance, definitions=definitions)
        ticked = sensor.evaluate_tick(context)
        with mock.patch.object(time, "time", return_value=time.time() + 1_000):
            much_later = sensor.evaluate_tick(dg.build_sensor_context(instance, definitions=definitions))

    assert ticked.run_requests == []
    assert ticked.skip_message == "A run is screening already."
    assert len(much_later.run_requests or []) == 1, "a run that was heard of last a quarter of an hour ago is dead"
    (installation.folder / "waits.jsonl").unlink()


def test_a_new_champion_is_picked_up_without_a_restart_and_an_unreachable_registry_leaves_the_old_one(
    installation: Stream,
) -> None:
    time = [0.0]
    registry = registry_of(installation)
    champion = Champion(registry, ENSEMBLE, plan=shipped_plan(), every_seconds=10, clock=lambda: time[0])
    first = champion.refresh()
    assert first is not None
    assert first.version == 2

    register(registry, 2)
    assert champion.refresh() is first  # not asked for yet
    time[0] = 11.0
    second = champion.refresh()
    assert second is not None
    assert second.version == 3
    assert champion.problem is None

    model_file = next(iter(registry.download(ENSEMBLE, 3).iterdir()))
    register(registry, 3)
    broken = registry.download(ENSEMBLE, 4)
    kept = {path: path.read_bytes() for path in broken.iterdir()}
    (broken / model_file.name).write_bytes(b"tampered")
    time[0] = 22.0
    assert champion.refresh() is second
    assert "isn't what was written" in str(champion.problem)
    for path, content in kept.items():
        path.write_bytes(content)
    register(registry, 4, model=fitted(4, feature_version="of another release"))
    time[0] = 33.0
    assert champion.refresh() is second
    assert "declared anew" in str(champion.problem)
    registry.set_alias(ENSEMBLE, "champion", None)
    time[0] = 44.0
    assert champion.refresh() is None  # nobody wants it any more


def test_the_ensemble_stands_in_for_a_supervised_model_until_it_and_those_it_listens_to_are_in_use(
    installation: Stream,
) -> None:
    registry = registry_of(installation)
    registry.set_alias(ENSEMBLE, "champion", None)
    time = [0.0]
    champion = Champion(registry, SUPERVISED, plan=shipped_plan(), every_seconds=10, clock=lambda: time[0])

    def in_use() -> tuple[str, list[str]] | None:
        time[0] += 11
        found = champion.refresh()
        assert champion.problem is None
        return (found.name, [each.name for each in found.inputs]) if found else None

    assert in_use() is None
    register(registry, 5)
    assert in_use() == (ENSEMBLE, [])
    register(registry, 0, name=SUPERVISED, model=listening())
    assert in_use() == (ENSEMBLE, [])
    register(registry, 0, name="fraud-daily")
    assert in_use() == (SUPERVISED, ["fraud-daily", ENSEMBLE])
    registry.set_alias(SUPERVISED, "champion", None)
    assert in_use() == (ENSEMBLE, [])


def listening() -> FraudModel:
    """A supervised model that takes the scores of all others."""
    rng = np.random.default_rng(1)
    rows = pl.DataFrame({name: rng.random(200) for name in ("amount", *MODEL_SCORES)})
    schema = dict.fromkeys(rows.columns, "numeric")
    labelled = rows.with_columns(is_fraud=pl.col("suod_score") > 0.8)
    version = current_feature_version(parse_schema(schema), shipped_plan())
    return fit_supervised(labelled, rows, schema=schema, parameters={"max_iter": 3}, feature_version=version)


def test_the_same_files_are_asked_for_again_later_and_later(tmp_path: Path) -> None:
    drop(tmp_path, "a.jsonl", traffic(1))
    os.utime(tmp_path / "a.jsonl", (1, 1))
    first = next_request(tmp_path, Requested(), now=100.0)
    assert isinstance(first, Requested)
    assert "14 s" in str(next_request(tmp_path, first, now=101.0))
    second = next_request(tmp_path, first, now=115.0)
    assert isinstance(second, Requested)
    assert second.run_key != first.run_key
    assert isinstance(next_request(tmp_path, second, now=144.0), str)
    assert isinstance(next_request(tmp_path, second, now=145.0), Requested)

    # The same name with another content is another request, at once; so is the cursor of an older version.
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    os.utime(tmp_path / "b.jsonl", (2, 2))
    other = next_request(tmp_path, second, now=116.0)
    assert isinstance(other, Requested)
    assert (other.attempt, other.digest != second.digest) == (1, True)
    assert Requested.from_cursor(other.cursor()) == other
    assert Requested.from_cursor("what is this") == Requested()
    assert Requested.from_cursor('{"else": 1}') == Requested()


def test_what_is_being_written_or_done_with_does_not_wait(tmp_path: Path) -> None:
    for name in ("a.jsonl.part", "b.tmp", ".hidden", "mapping.yaml", "_landed/c.jsonl", "_unreadable/d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "producer-1").mkdir()
    (tmp_path / "producer-1" / "e.jsonl").touch()
    now = (tmp_path / "producer-1" / "e.jsonl").stat().st_mtime

    assert [file.name for file in look_into(tmp_path).files] == ["producer-1/e.jsonl"]
    assert isinstance(next_request(tmp_path, Requested(), now=now + 0.1), str)
    assert isinstance(next_request(tmp_path, Requested(), now=now + 0.3), Requested)
    assert look_into(tmp_path / "nowhere") == Waiting()
    # Written in the future, by a server whose clock is ahead: it doesn't wait for that.
    os.utime(tmp_path / "producer-1" / "e.jsonl", (now + 3600, now + 3600))
    assert isinstance(next_request(tmp_path, Requested(), now=now), Requested)


def test_entries_in_trouble_get_one_run_that_tells_of_them(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    first = next_request(tmp_path, Requested(), now=100.0)
    assert isinstance(first, Requested)
    assert "can't be looked at: loop" in str(next_request(tmp_path, first, now=1e6))
    drop(tmp_path, "a.jsonl", traffic(1))
    os.utime(tmp_path / "a.jsonl", (1, 1))
    second = next_request(tmp_path, first, now=101.0)
    assert isinstance(second, Requested)
    assert isinstance(next_request(tmp_path, second, now=1e6), Requested)
