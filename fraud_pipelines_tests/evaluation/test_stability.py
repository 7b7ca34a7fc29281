"""Whether two versions see a day alike, while too few frauds are known to judge by."""

from dataclasses import dataclass
from typing import cast

import polars as pl
import pytest

from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.evaluation.promotion_evidence import Evidence
from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.evaluation.stored_days import ROWS, day, make_warehouse


@dataclass
class Scores:
    """A model that gives each row the same score, and so many of them an alert."""

    score_of_each: float
    alerts: int
    contamination: float = 2 / ROWS

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(score=pl.lit(self.score_of_each), is_anomaly=pl.int_range(pl.len()) < self.alerts)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    settings = Settings(data_dir=tmp_path_factory.mktemp("stability"))
    return Evidence(make_warehouse(settings.warehouse_path, days=1), settings, day(0))


@pytest.mark.parametrize(
    ("candidate", "champion", "alike"),
    [
        (Scores(0.3, 2), Scores(0.3, 2), True),
        (Scores(0.3, 60), Scores(0.3, 2), False),  # scores are distributed alike, and alerts are not
        (Scores(0.75, 2), Scores(0.3, 2), False),  # as many alerts, and other scores
        (Scores(0.75, 60), Scores(0.3, 2), False),
        (Scores(0.75, 2), Scores(0.3, 100), True),  # the champion no longer fits the traffic
        (Scores(0.75, 60), Scores(0.3, 100), False),
    ],
)
def test_alike_are_versions_in_both_their_scores_and_their_alerts(
    evidence: Evidence, candidate: Scores, champion: Scores, alike: bool
) -> None:
    found, figures = evidence.of_stability(cast(FraudModel, candidate), cast(FraudModel, champion))
    assert found is alike
    assert figures["alerts"] == {"candidate": candidate.alerts, "champion": champion.alerts, "expected": 2.0}
