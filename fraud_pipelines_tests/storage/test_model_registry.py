"""The model registry on a real MLflow over SQLite: versions are logged once, whole, and found again."""

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines.errors import InvalidInput, MissingData, RegistryUnavailable
from fraud_pipelines.storage.model_registry import ModelRegistry, ModelVersionInfo
from fraud_pipelines.storage.training_record import TrainingData, TrainingRecord
from fraud_pipelines_tests.detection.samples import numeric_rows

DAY = date(2026, 10, 5)
MODEL = "fraud-daily"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database; making one takes seconds, so each test gets a copy."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelRegistry(f"sqlite:///{path}").initialise()
    return path


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Iterator[ModelRegistry]:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    # Another experiment than the database's own, whose files would go elsewhere.
    registry = ModelRegistry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="test", artifact_root=tmp_path / "artifacts"
    )
    registry.initialise()
    yield registry
    assert not Path("mlflow.db").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "model.json").write_text('{"weights": 1}')
    return tmp_path / "saved"


def log(registry: ModelRegistry, folder: Path, *, day: date = DAY, fingerprint: str = "f1") -> ModelVersionInfo:
    return registry.log_version(
        MODEL,
        partition=day,
        fingerprint=fingerprint,
        artifact_folder=folder,
        record=TrainingRecord(
            params={"n_estimators": 100},
            metrics={"training_rows": 10.0, "average_precision": float("nan")},
            tags={"backend": "isolation_forest", "training_rows": "10"},
            tables={"contributions": pl.DataFrame({"feature": ["amount", "user_z"], "share": [0.75, 0.25]})},
            description="For a test.",
            model_description="What it is for.",
            data=TrainingData("some days", "d1", 10, 2, "2026-10-03", "2026-10-04", {"amount": "double"}),
        ),
    )


def client(registry: ModelRegistry) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=registry.tracking_uri)


def runs(registry: ModelRegistry) -> list[Any]:
    experiment = client(registry).get_experiment_by_name(registry.experiment)
    return list(client(registry).search_runs([experiment.experiment_id]))


def test_a_logged_version_is_found_with_its_tags_run_and_files(registry: ModelRegistry, folder: Path) -> None:
    version = log(registry, folder)
    assert version == registry.latest_for_partition(MODEL, DAY)
    assert (version.name, version.version, version.partition) == (MODEL, 1, DAY)
    assert version.tags == {
        "partition": "2026-10-05",
        "backend": "isolation_forest",
        "training_rows": "10",
        "training_fingerprint": "f1",
    }
    (run,) = runs(registry)
    assert run.info.run_id == version.run_id
    assert run.info.run_name == "isolation_forest 2026-10-05"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"n_estimators": "100"}
    assert run.data.metrics == {"training_rows": 10.0}
    assert (registry.download(MODEL, 1) / "model.json").read_text() == '{"weights": 1}'


def test_what_was_never_logged_is_not_found(registry: ModelRegistry, folder: Path) -> None:
    assert registry.latest_for_partition(MODEL, DAY) is None
    log(registry, folder)
    assert registry.latest_for_partition(MODEL, date(2026, 10, 6)) is None
    with pytest.raises(MissingData, match="no version 7 of fraud-daily"):
        registry.download(MODEL, 7)


def test_logging_the_same_again_returns_the_version_there_is(registry: ModelRegistry, folder: Path) -> None:
    first = log(registry, folder)
    assert log(registry, folder) == first
    assert len(registry.list_versions(MODEL)) == len(runs(registry)) == 1


def test_changed_input_adds_a_version_and_so_does_its_return(registry: ModelRegistry, folder: Path) -> None:
    versions = [log(registry, folder, fingerprint=f) for f in ("f1", "f2", "f1")]
    assert [version.version for version in versions] == [1, 2, 3]
    assert registry.latest_for_partition(MODEL, DAY) == versions[-1]


def test_an_alias_points_at_a_version_moves_and_can_be_taken_away(registry: ModelRegistry, folder: Path) -> None:
    assert registry.aliases(MODEL) == {}
    assert registry.champion(MODEL) is None
    for day in (date(2026, 10, 6), date(2026, 10, 7)):
        log(registry, folder, day=day)
    assert registry.champion(MODEL) is None
    for version in (1, 2, 2):
        registry.set_alias(MODEL, "champion", version)
    champion = registry.champion(MODEL)
    assert champion is not None
    assert (champion.version, champion.partition) == (2, date(2026, 10, 7))
    assert int(client(registry).get_model_version_by_alias(MODEL, "champion").version) == 2
    for _ in range(2):
        registry.set_alias(MODEL, "champion", None)
    assert registry.aliases(MODEL) == {}


def test_a_tag_of_a_version_is_read_back(registry: ModelRegistry, folder: Path) -> None:
    log(registry, folder)
    registry.tag_version(MODEL, 1, {"pinned_by": "ann"})
    assert registry.get_version(MODEL, 1).tags["pinned_by"] == "ann"
    with pytest.raises(MissingData, match="no version 2 of fraud-daily"):
        registry.get_version(MODEL, 2)


def test_the_same_outcomes_twice_are_one_point_each_at_the_day_they_are_of(
    registry: ModelRegistry, folder: Path
) -> None:
    version = log(registry, folder)
    for _ in range(2):
        registry.log_outcomes(DAY, {version.run_id: {"recall": 0.5, "precision": float("inf")}}, age=3)
    (point,) = client(registry).get_metric_history(version.run_id, "recall")
    assert (point.value, point.step) == (0.5, 3)
    assert datetime.fromtimestamp(point.timestamp / 1000, UTC) == datetime(2026, 10, 8, 12, tzinfo=UTC)
    assert client(registry).get_metric_history(version.run_id, "precision") == []


@pytest.mark.parametrize("values", [(0.5, 0.4), (0.4, 0.5), (0.5, 0.4, 0.5)])
@pytest.mark.parametrize("by_an_earlier_release", [False, True])
def test_an_outcome_logged_again_shows_the_new_value_whether_it_rose_or_fell(
    values: tuple[float, ...], by_an_earlier_release: bool, registry: ModelRegistry, folder: Path
) -> None:
    version = log(registry, folder)
    if by_an_earlier_release:  # which kept no note of what a run says already
        client(registry).log_metric(version.run_id, "recall", values[0], step=3)
        client(registry).delete_tag(version.run_id, "logged_steps")
    for value in values:
        registry.log_outcomes(DAY, {version.run_id: {"recall": value}}, age=3)
    assert client(registry).get_run(version.run_id).data.metrics["recall"] == values[-1]
    assert len(client(registry).get_metric_history(version.run_id, "recall")) == len(values)


def test_each_age_of_an_outcome_has_its_own_newest_value(registry: ModelRegistry, folder: Path) -> None:
    version = log(registry, folder)
    for age, value in ((7, 0.6), (20, 0.4), (7, 0.4), (7, 0.4)):
        registry.log_outcomes(DAY, {version.run_id: {"recall": value}}, age=age)
    history = client(registry).get_metric_history(version.run_id, "recall")
    assert sorted((point.step, point.value) for point in history) == [(7, 0.4), (7, 0.6), (20, 0.4)]
    assert client(registry).get_run(version.run_id).data.metrics["recall"] == 0.4


def test_the_pages_of_a_version_say_what_it_is_and_what_it_learned_from(registry: ModelRegistry, folder: Path) -> None:
    client(registry).create_registered_model(MODEL)  # by an earlier release, which described none
    version = log(registry, folder)

    (run,) = runs(registry)
    assert run.data.tags["mlflow.note.content"] == "For a test."
    assert run.data.tags["mlflow.source.name"].startswith("fraud-pipelines ")
    (learned,) = run.inputs.dataset_inputs
    assert (learned.dataset.name, learned.dataset.digest) == ("some days", "d1")
    assert json.loads(learned.dataset.profile) == {"num_rows": 10, "num_days": 2}
    assert client(registry).get_model_version(MODEL, str(version.version)).description == "For a test."
    assert client(registry).get_registered_model(MODEL).description == "What it is for."

    client(registry).update_registered_model(MODEL, "By a person.")
    log(registry, folder, fingerprint="f2")
    assert client(registry).get_registered_model(MODEL).description == "By a person."


def test_a_table_is_read_by_mlflow_and_compared_across_runs(
    registry: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fingerprint in ("f1", "f2"):
        log(registry, folder, fingerprint=fingerprint)
    experiment = registry.experiment_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)  # for the files, load_table asks no client
    by_feature = client(registry).load_table(experiment, "contributions.json", extra_columns=["run_id"])
    assert by_feature.groupby("run_id")["share"].sum().to_list() == [1.0, 1.0]


def test_a_registry_that_remembers_looks_up_once_and_knows_what_it_adds(
    registry: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering = replace(registry, remembers=True)
    assert remembering.latest_for_partition(MODEL, DAY) is None
    calls: list[str] = []
    for name in ("search_model_versions", "get_model_version", "get_registered_model", "set_registered_model_alias"):
        _count_calls(monkeypatch, remembering._client, name, calls)

    version = log(remembering, folder)
    calls.clear()
    for _ in range(3):
        assert remembering.latest_for_partition(MODEL, DAY) == version
        assert remembering.get_version(MODEL, 1) == version
        assert (remembering.download(MODEL, 1) / "model.json").exists()
    assert calls == []
    for _ in range(3):
        remembering.set_alias(MODEL, "champion", 1)
        assert remembering.champion(MODEL) == version
    assert calls.count("set_registered_model_alias") == 1
    newer = log(remembering, folder, fingerprint="f2")
    assert remembering.latest_for_partition(MODEL, DAY) == newer
    assert registry.list_versions(MODEL) == [version, newer]


def _count_calls(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: list[str]) -> None:
    original = getattr(owner, name)

    def counted(*arguments: object, **named: object) -> object:
        calls.append(name)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, counted)


LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture
def server(empty_database: Path, tmp_path: Path) -> Iterator[str]:
    """Address of an MLflow server that keeps the files too."""
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"),
        *("--artifacts-destination", str(tmp_path / "server")),
    )
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("w") as output:
        process = subprocess.Popen(
            command, env=os.environ | LIGHT, stdout=output, stderr=output, start_new_session=True
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_model_on_a_server_is_fetched_once_and_leaves_nothing_behind(
    server: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    registry = ModelRegistry(server, experiment="remote")
    registry.initialise()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for fingerprint in ("f1", "f2"):
        log(registry, folder, fingerprint=fingerprint)
    assert list(scratch.iterdir()) == []

    first = registry.download(MODEL, 1)
    assert (first / "model.json").read_text() == '{"weights": 1}'
    assert registry.download(MODEL, 1) == first
    assert registry.download(MODEL, 2) != first
    (kept,) = scratch.iterdir()
    assert sorted(path.relative_to(kept).as_posix() for path in kept.rglob("model.json")) == [
        "fraud-daily/1/model.json",
        "fraud-daily/2/model.json",
    ]
    del registry
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_figures_are_plots_of_the_run(registry: ModelRegistry, folder: Path) -> None:
    registry.log_version(
        MODEL,
        partition=DAY,
        fingerprint="f",
        artifact_folder=folder,
        record=TrainingRecord(figures={"pr_curve": "<svg></svg>"}),
    )
    (run,) = runs(registry)
    artifacts = {file.path for file in client(registry).list_artifacts(run.info.run_id, "plots")}
    assert artifacts == {"plots/pr_curve.svg"}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test catches it."""


STEPS = [
    "create_run",
    "log_batch",
    "log_inputs",
    "create_logged_model",
    "log_outputs",
    "finalize_logged_model",
    "set_terminated",
    "create_registered_model",
    "create_model_version",
    "set_logged_model_tags",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_leaves_nothing_a_rerun_trips_over(
    step: str, after: bool, registry: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow_client = registry._client
    original = getattr(mlflow_client, step)

    def die(*arguments: object, **named: object) -> None:
        if after:
            original(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_client, step, die)
        with pytest.raises(Killed):
            log(registry, folder)
    registry.mark_abandoned_runs(partition=DAY, backend="isolation_forest")
    version = log(registry, folder)
    assert registry.list_versions(MODEL) == [version]
    assert (registry.download(MODEL, version.version) / "model.json").exists()
    by_status = sorted(run.info.status for run in runs(registry))
    assert by_status in (["FINISHED"], ["FINISHED", "KILLED"])
    finished = [run for run in runs(registry) if run.info.status == "FINISHED"]
    assert [run.info.run_id for run in finished] == [version.run_id]


def test_only_the_days_own_abandoned_runs_are_closed(registry: ModelRegistry) -> None:
    experiment = client(registry).get_experiment_by_name(registry.experiment)
    for day, backend in ((DAY, "isolation_forest"), (DAY, "suod"), (date(2026, 10, 6), "isolation_forest")):
        client(registry).create_run(experiment.experiment_id, tags={"partition": str(day), "backend": backend})
    assert registry.mark_abandoned_runs(partition=DAY, backend="isolation_forest") == 1
    assert registry.mark_abandoned_runs(partition=DAY, backend="isolation_forest") == 0
    assert sorted(run.info.status for run in runs(registry)) == ["KILLED", "RUNNING", "RUNNING"]


def test_initialising_again_changes_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    before = (tmp_path / "mlflow.db").read_bytes()
    ModelRegistry(registry.tracking_uri, experiment="test", artifact_root=tmp_path / "artifacts").initialise()
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_database_whose_address_has_options_is_made_under_its_own_name(empty_database: Path, tmp_path: Path) -> None:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=5").initialise()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_missing_model_folder_is_refused_before_anything_is_logged(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folder"):
        log(registry, tmp_path / "nowhere")
    assert runs(registry) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9 failed: .*Connection refused"),
        ("postgresql://user:secret@127.0.0.1:9/mlflow", r"postgresql://127\.0\.0\.1:9/mlflow failed"),
        ("nonsense://x", "unsupported URI"),
        ("http://user:secret@127.0.0.1:9", r"http://127\.0\.0\.1:9 failed: .*http://127\.0\.0\.1:9/api.*refused"),
        ("http://user:se%63ret@127.0.0.1:9", r"http://127\.0\.0\.1:9 failed: .*Connection refused"),
        ("nonsense://user:secret@x", "unsupported URI 'nonsense://x'"),
    ],
)
def test_an_unreachable_server_is_named_with_the_remedy_and_without_its_password(uri: str, message: str) -> None:
    with pytest.raises(RegistryUnavailable, match=message) as raised:
        ModelRegistry(uri).list_versions(MODEL)
    assert "MLFLOW_TRACKING_URI" in str(raised.value)
    shown = "".join(traceback.format_exception(raised.value))
    assert "secret" not in shown
    assert "se%63ret" not in shown


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    with pytest.raises(RegistryUnavailable, match="not a database"):
        ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}").initialise()


SERVED = """
import sys

sys.path.append(sys.argv[3])
import mlflow
import polars as pl

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/fraud-daily@champion")
frame = pl.read_parquet(sys.argv[2]).to_pandas()
print(model.predict(frame)["score"].tolist())
import fraud_pipelines

assert "/artifacts/" in fraud_pipelines.__file__, fraud_pipelines.__file__
"""


def test_a_version_with_its_code_is_served_by_mlflow_and_logging_it_is_silent(
    registry: ModelRegistry, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    rows = numeric_rows(100)
    rows.write_parquet(tmp_path / "rows.parquet")
    model = FraudModel.fit(rows, backend="ecod")
    model.save(tmp_path / "model")
    registry.log_version(
        MODEL,
        partition=DAY,
        fingerprint="f",
        artifact_folder=tmp_path / "model",
        serving=serving_code(model, rows[:3]),
    )
    registry.set_alias(MODEL, "champion", 1)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
    # Isolated and without site: neither PYTHONPATH nor the finder of an editable install can bring the project in.
    arguments = (registry.tracking_uri, str(tmp_path / "rows.parquet"), sysconfig.get_path("purelib"))
    command = [sys.executable, "-I", "-S", "-c", SERVED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == model.score(rows)["score"].to_list()
