"""The screener as a library: one transaction or many, in memory, from where the stream stands."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.policies import POLICIES, Policy, initial_thresholds
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import MODEL_SCORES
from fraud_pipelines.detection.supervised import fit_supervised, with_model_scores
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.streaming.batches import FrameBatch
from fraud_pipelines.streaming.detector import StreamDetector
from fraud_pipelines.streaming.screener import Screener
from fraud_pipelines_tests.streaming.samples import SMALL, YESTERDAY, Stream, drop, now, traffic

BALANCED = POLICIES["balanced"]
UNGATED = BALANCED.model_copy(update={"second_stage": "fraud-supervised", "gate": False})
"""As where the supervised model has been shown to decide best."""


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return traffic(400, users=25)


@pytest.fixture(scope="module")
def ensemble(rows: pl.DataFrame) -> LoadedModel:
    features = LiveHistories().fold(rows)
    return LoadedModel("fraud-ensemble", 7, FraudModel.fit(features, backend="isolation_forest", contamination=0.05))


@pytest.fixture(scope="module")
def supervised(rows: pl.DataFrame, ensemble: LoadedModel) -> LoadedModel:
    """One that goes by what the others say, and nearly by nothing else."""
    features = LiveHistories().fold(rows)
    scores = {name: ensemble.model.score(features)["score"] for name in MODEL_SCORES}
    known = features.with_columns(**scores, is_fraud=scores["suod_score"] > 0.9)
    model = fit_supervised(
        known,
        known,
        schema=dict.fromkeys(("amount", *MODEL_SCORES), "numeric"),
        contamination=0.05,
        parameters={"min_samples_leaf": 2, "max_iter": 20},
    )
    daily = LoadedModel("fraud-daily", 5, FraudModel.fit(features, backend="ecod", contamination=0.05))
    return LoadedModel("fraud-supervised", 3, model, inputs=(daily, ensemble))


def screener(
    ensemble: LoadedModel | None = None, rules: HardRules | None = None, policy: Policy = BALANCED
) -> Screener:
    return Screener(
        LiveHistories(),
        StreamDetector(SMALL.detector),
        lambda day: DecisionEngine(policy, initial_thresholds(policy, day), rules or HardRules()),
        lambda _name: ensemble,
    )


@pytest.mark.parametrize(
    ("second_stage", "policy"),
    [(None, BALANCED), ("ensemble", BALANCED), ("supervised", BALANCED), ("supervised", UNGATED), (None, UNGATED)],
)
def test_one_by_one_gives_what_the_batch_gives(
    rows: pl.DataFrame, second_stage: str | None, policy: Policy, request: pytest.FixtureRequest
) -> None:
    chosen = request.getfixturevalue(second_stage) if second_stage else None
    together = screener(chosen, policy=policy).screen(rows)
    alone = screener(chosen, policy=policy)
    singles = [alone.screen_one(row) for row in rows.iter_rows(named=True)]

    by_id = {row["transaction_id"]: row for row in together.decisions.iter_rows(named=True)}
    assert len(by_id) == len(singles) == rows.height
    for single in singles:
        row = by_id[single.transaction_id]
        assert (single.decision, single.score, single.reason) == (row["decision"], row["score"], row["reason"])
        assert list(single.reason_codes) == row["reason_codes"]
        assert list(single.model_versions) == row["model_versions"]
    assert [single.status for single in singles] == together.screening["status"].to_list()
    assert [single.samples_until_ready for single in singles] == together.screening["samples_until_ready"].to_list()
    assert {single.decision for single in singles} > {"approve"}
    assert singles[0].features["user_id"] == rows["user_id"][0]


def test_only_what_is_flagged_meets_the_second_stage(rows: pl.DataFrame, ensemble: LoadedModel) -> None:
    screened = screener(ensemble).screen(rows)

    flagged = screened.screening["score"].fill_null(0) > 0.4
    ids = screened.features["transaction_id"].filter(flagged).to_list()
    second = screened.scores.filter(model_name="fraud-ensemble")
    assert second["transaction_id"].to_list() == ids
    assert 0 < len(ids) < rows.height / 5
    assert set(screened.decisions.filter(~flagged)["decision"]) == {"approve"}


def test_without_a_gate_every_transaction_meets_the_second_stage_from_the_first_on(
    rows: pl.DataFrame, supervised: LoadedModel
) -> None:
    screened = screener(supervised, policy=UNGATED).screen(rows)

    of_supervised = screened.scores.filter(model_name="fraud-supervised")
    assert of_supervised["transaction_id"].equals(screened.features["transaction_id"])
    assert screened.decisions["score"].equals(of_supervised["score"])
    assert (screened.decisions["model_versions"].list.last() == "fraud-supervised/3").all()
    collecting = screened.screening["status"] == "collecting"
    assert collecting.any()
    assert set(screened.decisions.filter(collecting)["reason"]) <= {
        "below_review_threshold",
        "flagged_for_review",
        "high_fraud_confidence",
    }


def test_a_supervised_second_stage_is_given_the_scores_it_learned_from(
    rows: pl.DataFrame, supervised: LoadedModel
) -> None:
    screened = screener(supervised).screen(rows)

    of_supervised = screened.scores.filter(model_name="fraud-supervised")
    ids = of_supervised["transaction_id"]
    assert ids.len() > 0
    stored = screened.scores.filter(
        pl.col("transaction_id").is_in(ids.implode()), pl.col("model_name") != "fraud-supervised"
    )
    suspects = ids.to_frame().join(screened.features, on="transaction_id", how="left", maintain_order="left")
    told = with_model_scores(suspects, stored)
    assert set(MODEL_SCORES) <= set(told.columns)
    assert supervised.model.score(told)["score"].equals(of_supervised["score"])
    assert not supervised.model.score(suspects)["score"].equals(of_supervised["score"])
    alerts = screened.decisions.filter(pl.col("decision") != "approve")
    assert (alerts["model_versions"].list.last() == "fraud-supervised/3").all()
    assert alerts["reason_codes"].explode().str.contains("scores it").any()


def test_a_hard_rule_decides_while_the_detector_still_collects(rows: pl.DataFrame) -> None:
    merchant = rows["merchant_id"][0]
    rule = {
        "name": "stolen",
        "decision": "block",
        "expires": YESTERDAY + timedelta(days=9),
        "when": {"merchant_id": merchant},
    }
    rules = HardRules.model_validate({"rules": [rule]})
    first = screener(rules=rules).screen_one(rows.row(0, named=True))
    together = screener(rules=rules).screen(rows).decisions.row(0, named=True)

    assert (first.decision, first.reason, first.status) == ("block", "rule:stolen", "collecting")
    assert (together["decision"], together["reason"]) == ("block", "rule:stolen")
    assert list(first.reason_codes) == together["reason_codes"]
    assert first.reason_codes


def test_the_order_of_rows_within_a_batch_makes_no_difference(rows: pl.DataFrame) -> None:
    assert screener().screen(rows.reverse()).decisions.equals(screener().screen(rows).decisions)


def test_a_transaction_that_is_refused_leaves_no_trace(rows: pl.DataFrame) -> None:
    screening = screener()
    with pytest.raises(InvalidInput, match="amount"):
        screening.screen_one({**rows.row(0, named=True), "amount": -1.0})
    assert screening.detector.seen == 0
    assert screening.screen(rows[:0]).decisions.is_empty()


def test_it_goes_on_from_what_was_committed_with_the_users_who_are_expected(rows: pl.DataFrame, tmp_path: Path) -> None:
    stream = Stream(tmp_path / "data").prepare()
    drop(stream.folder, "a.parquet", rows[:300])
    stream.drain()
    coming = rows[300:]
    by_name = stream.session().open(YESTERDAY, user_ids=coming["user_id"].unique())
    by_activity = stream.session().open(YESTERDAY, active_days=1)
    cold = stream.session().open(YESTERDAY)

    expected = [by_activity.screen_one(row) for row in coming.iter_rows(named=True)]
    committed = stream.session().commit([FrameBatch("b", "library", coming)], now=now())

    assert committed[0].accepted == 100
    decided = stream.decisions().filter(pl.col("transaction_id").is_in(coming["transaction_id"].implode()))
    by_id = {row["transaction_id"]: row["score"] for row in decided.iter_rows(named=True)}
    assert {single.transaction_id: single.score for single in expected} == by_id
    first = coming.row(0, named=True)
    assert by_name.screen_one(first).features["user_z"] == expected[0].features["user_z"]
    assert cold.screen_one(first).features["user_z"] == 0
    assert stream.session().commit([FrameBatch("b", "again", coming)], now=now())[0].repeated


def test_a_transaction_that_fails_half_way_leaves_no_trace(rows: pl.DataFrame) -> None:
    failing, sound = screener(), screener()
    transactions = list(rows.head(20).iter_rows(named=True))
    for row in transactions[:10]:
        failing.screen_one(row)
        sound.screen_one(row)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(DecisionEngine, "decide_one", _fails)
        with pytest.raises(RuntimeError, match="in between"):
            failing.screen_one(transactions[10])
    assert failing.detector.seen == 10
    again = [failing.screen_one(row) for row in transactions[10:]]
    assert again == [sound.screen_one(row) for row in transactions[10:]]


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("something in between")
