"""``fraud-pipelines try``: an analyst changes a declaration, and sees whether it helps."""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import fraud_pipelines
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.features.label_events import LabelEvents
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.evaluation.production import FIRST, LAST, make_production, state_of

README = Path(fraud_pipelines.__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = Installation(tmp_path_factory.mktemp("production") / "data")
    make_production(installation.settings)
    return installation


def declared(production: Installation, folder: Path, text: str) -> Installation:
    """The same installation, with a file of declarations."""
    path = folder / "fraud.yaml"
    path.write_text(text)
    return replace(production, declarations=path)


def readme_feature() -> str:
    """The declaration in README's section."""
    section = README.read_text().split("## Add a feature")[1].split("\n## ")[0]
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    return str(block)


def assert_folded_at_once(production: Installation, candidate: Path, plan: Plan) -> None:
    """The trial's features are, to the bit, those of all transactions computed at once."""
    rows = production.warehouse.read("SELECT * FROM raw.transactions").select(list(plan.attribute_types))
    labels = production.warehouse.read("SELECT transaction_id, actual_fraud, source, known_at FROM feedback.labels")
    expected = compute_features(rows, None, LabelEvents.of(plan.entities, rows, labels), plan=plan)[0]
    tried = warehouse_at(candidate).read("SELECT * FROM features.transaction_features ORDER BY transaction_id")
    same = expected.join(tried, on="transaction_id", how="semi").sort("transaction_id")
    assert 0 < same.height == tried.height
    for name in expected.columns:
        assert same[name].equals(tried[name], null_equal=True), name


def test_the_feature_of_the_readme_is_tried_and_production_stays_as_it_is(
    production: Installation, tmp_path: Path
) -> None:
    analyst = declared(production, tmp_path, readme_feature())
    before = state_of(production.settings)

    printed = analyst.invoke("try", "--name", "abroad", "--keep")

    trials = production.data_dir / "trials" / "abroad"
    assert sorted(path.name for path in trials.iterdir()) == ["candidate.duckdb", "present.duckdb"]
    assert_folded_at_once(production, trials / "candidate.duckdb", plan_of_installation(analyst))
    shutil.rmtree(production.data_dir / "trials")
    assert state_of(production.settings) == before
    assert "New        amount_in_new_country" in printed
    assert "none had to be folded again" in printed
    for line in (
        r"isolation_forest +\.?\d.*[+-]\d\.\d{3} +[+-]\d\.\d{3} to [+-]\d\.\d{3}",
        r"The change (helped|hurt): |Whether it helped or hurt can't be told: ",
        r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}",
        r"http://127\.0\.0\.1:5000/#/compare-runs\?runs=",
    ):
        assert re.search(line, printed), printed


def test_a_feature_with_a_history_is_folded_from_the_first_payment_on(production: Installation, tmp_path: Path) -> None:
    analyst = declared(production, tmp_path, _ON_DEVICE)
    before = state_of(production.settings)
    days = ("--from", (LAST - timedelta(days=1)).isoformat(), "--to", LAST.isoformat())

    printed = analyst.invoke("try", *days, "--name", "device", "--keep", "--backend", "ecod", "--repeats", "1")

    candidate = production.data_dir / "trials" / "device" / "candidate.duckdb"
    assert_folded_at_once(production, candidate, plan_of_installation(analyst))
    days_stored = warehouse_at(candidate).read("SELECT min(event_date) FROM features.transaction_features").item()
    assert days_stored == FIRST  # all days are read: known frauds of the month before are shown to the detectors
    shutil.rmtree(production.data_dir / "trials")
    assert state_of(production.settings) == before
    assert "Computed   again from the first payment on" in printed
    assert "device_tx_count_7d" in printed


def plan_of_installation(installation: Installation) -> Plan:
    label_delay_days = installation.settings.label_delay_days
    return compile_plan(installation.declarations, label_delay_days=label_delay_days)


_ON_DEVICE = """
entities:
  device:
    key: device_fingerprint
    aggregates:
      - {how: count, over: 7d, name: device_tx_count_7d}
features:
  busy_device:
    sql: amount * coalesce(device_tx_count_7d, 0)
    daily: true
    description: The amount, times the payments of the device in a week.
"""


def test_what_is_logged_in_mlflow_are_runs_of_their_own_experiment(production: Installation) -> None:
    from fraud_pipelines.storage.mlflow_connection import connect

    before = state_of(production.settings)
    days = ("--from", (LAST - timedelta(days=2)).isoformat(), "--to", LAST.isoformat())
    printed = production.invoke("try", *days, "--without", "user_z", "--name", "no z", "--backend", "ecod")
    assert state_of(production.settings) == before

    client = connect(production.settings.tracking_uri, production.settings.artifact_root)
    experiment = client.get_experiment_by_name("fraud-pipelines-trials")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    whole = next(run for run in runs if run.info.run_name == "no z")
    sets = {
        run.data.tags["features"]: run for run in runs if run.data.tags.get("mlflow.parentRunId") == whole.info.run_id
    }
    assert sets.keys() == {"present", "candidate"}
    assert whole.info.status == "FINISHED"
    assert whole.data.params["without"] == "user_z"
    assert "user_z" in whole.data.tags["mlflow.note.content"]
    difference = whole.data.metrics["ecod/average_precision_difference"]
    precision = {kind: run.data.metrics["average_precision"] for kind, run in sets.items()}
    assert difference == pytest.approx(precision["candidate"] - precision["present"])
    daily = client.get_metric_history(sets["candidate"].info.run_id, "daily/average_precision")
    assert len({point.step for point in daily}) == 3
    assert whole.info.run_id in printed
    assert all(run.info.run_id in printed for run in sets.values())


def test_mistakes_are_one_message(production: Installation) -> None:
    assert "both --from and --to" in production.invoke("try", "--from", LAST.isoformat(), succeeds=False)
    assert "--without" in production.invoke("try", succeeds=False)
    assert not (production.data_dir / "trials").exists()
