"""The model as ``mlflow.pyfunc`` sees it: loads a model folder and scores a pandas frame."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fraud_pipelines.detection.model import FraudModel

if TYPE_CHECKING:
    import pandas as pd


class ScoringModel:
    """Scores frames with the model's feature columns; other columns don't matter."""

    def __init__(self, model: FraudModel) -> None:
        self.model = model

    def predict(self, model_input: "pd.DataFrame") -> "pd.DataFrame":
        """``raw_score``, ``score`` and ``is_anomaly`` of each row, in its order."""
        columns = [name for name in self.model.schema if name in model_input.columns]
        scores = self.model.score(pl.from_pandas(model_input[columns]))
        return scores.to_pandas().set_index(model_input.index)


def _load_pyfunc(data_path: str) -> ScoringModel:
    """What MLflow calls. It refuses a folder that was changed since it was saved, and executes nothing in it."""
    return ScoringModel(FraudModel.load(Path(data_path)))
