"""What a public data set has beyond our columns is worth something: files of its form come in, and are learned from."""

import random
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_pipelines.detection.default_schema import daily_schema, default_schema
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.features.engine import compute_features
from fraud_pipelines.plan.compile import compile_plan, shipped_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines_tests.conftest import Installation

pytestmark = pytest.mark.slow

_MEDIANS = {"PAYMENT": 8.7, "TRANSFER": 12.5, "CASH_OUT": 11.0, "CASH_IN": 11.0, "DEBIT": 8.0}


def mobile_money(path: Path, *, days: int, per_hour: int) -> None:
    """In PaySim's form: a fraud takes all that an account has, whatever that is; now and then its owner does, too."""
    dice = random.Random(3)
    head = "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud"
    lines = [head + ",isFlaggedFraud"]
    for number in range(days * 24 * per_hour):
        kind = dice.choices([*_MEDIANS], [34, 8, 35, 22, 1])[0]
        before = round(dice.lognormvariate(9, 2), 2) if dice.random() < 0.7 else 0.0
        amount = round(dice.lognormvariate(_MEDIANS[kind], 1.3), 2)
        is_fraud = kind in ("TRANSFER", "CASH_OUT") and dice.random() < 0.02
        if is_fraud:
            before = amount = round(dice.lognormvariate(12, 1.5), 2)
        elif kind != "CASH_IN" and 0 < before < amount and dice.random() < 0.02:
            amount = before
        after = before + amount if kind == "CASH_IN" else max(before - amount, 0)
        receiver = f"{'M' if kind == 'PAYMENT' else 'C'}{dice.randrange(300)}"
        step = number // per_hour + 1
        balances = f"C{number},{before},{after:.2f},{receiver},0.0,0.0"
        lines.append(f"{step},{kind},{amount},{balances},{int(is_fraud)},0")
    path.write_text("\n".join(lines) + "\n")


def card_payments(path: Path, *, days: int, per_day: int) -> None:
    """In ULB's form: frauds differ in some of the components, and not in their amounts."""
    dice = random.Random(7)
    lines = ['"Time",' + ",".join(f'"V{place}"' for place in range(1, 29)) + ',"Amount","Class"']
    for number in range(days * per_day):
        is_fraud = number % 40 == 13
        shift = {4: 4.0, 10: -5.0, 12: -6.0, 14: -7.0, 17: -6.0} if is_fraud else {}
        components = [f"{dice.gauss(shift.get(place, 0.0), 1):.6f}" for place in range(1, 29)]
        amount = round(dice.lognormvariate(3.2, 1.5), 2)
        lines.append(f'{number * 86_400 // per_day},{",".join(components)},{amount},"{int(is_fraud)}"')
    path.write_text("\n".join(lines) + "\n")


def test_balances_and_one_feature_of_them_beat_the_amount_alone(installation: Installation, tmp_path: Path) -> None:
    mobile_money(tmp_path / "mobile_money.csv", days=6, per_hour=40)
    assert "Recognised by its columns: PaySim" in installation.invoke("import", str(tmp_path / "mobile_money.csv"))
    warehouse = installation.warehouse
    payments = warehouse.read("SELECT * EXCLUDE (event_date, source, ingested_at) FROM raw.transactions")
    frauds = warehouse.read("SELECT transaction_id FROM feedback.labels WHERE actual_fraud")["transaction_id"]
    assert payments.height == 6 * 24 * 40
    assert payments["old_balance_origin"].null_count() == 0
    day = datetime(2024, 1, 4)

    def precision(plan: Plan) -> float:
        """Average precision of an isolation forest of the days before, which was given no labels."""
        features, _ = compute_features(payments, plan=plan)
        known, later = features.filter(pl.col("timestamp") < day), features.filter(pl.col("timestamp") >= day)
        schema, _ = default_schema(known, daily_schema(plan))
        groups = Grouping(frozenset(role.group for role in schema.values()), known.head(0))
        model = FraudModel.fit(known, backend="isolation_forest", schema=schema, groups=groups)
        is_fraud = later["transaction_id"].is_in(frauds.implode())
        return float(average_precision_score(is_fraud, model.score(later)["raw_score"]))

    later = payments.filter(pl.col("timestamp") >= day)
    by_amount = float(average_precision_score(later["transaction_id"].is_in(frauds.implode()), later["amount"]))
    declared = precision(compile_plan(installation.data_dir / "fraud.yaml"))
    assert declared > 0.1
    assert declared > 4 * by_amount
    assert declared > 4 * precision(shipped_plan())


def test_anonymous_components_are_trained_on_and_scored(installation: Installation, tmp_path: Path) -> None:
    card_payments(tmp_path / "creditcard.csv", days=3, per_day=250)
    shown = installation.invoke("import", str(tmp_path / "creditcard.csv"))
    assert "Recognised by its columns: ULB" in shown
    installation.run("run", "--from", "2013-09-03", "--to", "2013-09-03", "--with-earlier")
    settings = installation.settings
    version = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root).latest_for_partition(
        "fraud-daily", date(2013, 9, 3)
    )
    assert version
    assert {f"v{place}" for place in range(1, 29)} <= {*version.tags["feature_schema"].split(",")}
    scored = installation.warehouse.read(
        "SELECT s.score, l.actual_fraud IS NOT NULL AS is_fraud FROM scoring.transaction_scores s "
        "LEFT JOIN feedback.labels l USING (transaction_id) "
        "WHERE s.event_date = DATE '2013-09-03' AND s.model_name = 'fraud-daily'"
    )
    # Before any label is known, the amount has as many of the alerts as all components together.
    assert float(average_precision_score(scored["is_fraud"], scored["score"])) > 0.25
