"""A model served by MLflow: it loads from its artifact alone, and scores like the model itself."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.pyfunc import _load_pyfunc
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows

PREDICT_WITHOUT_THE_PROJECT = """
import json, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "fraud_pipelines" and not path:
            import importlib.machinery, pathlib
            code = pathlib.Path(sys.argv[1]) / "code"
            return importlib.machinery.PathFinder.find_spec(name, [str(code)])

sys.meta_path.insert(0, Hidden())
import fraud_pipelines
assert fraud_pipelines.__file__.startswith(sys.argv[1]), fraud_pipelines.__file__
from fraud_pipelines.detection.pyfunc import _load_pyfunc
import pandas as pd
scores = _load_pyfunc(sys.argv[1] + "/model").predict(pd.read_parquet(sys.argv[1] + "/rows.parquet"))
heavy = {"mlflow", "sklearn", "pyod", "dagster", "duckdb"} & set(sys.modules)
print(json.dumps({"scores": scores["score"].tolist(), "heavy": sorted(heavy)}))
"""


def test_predictions_are_the_models_scores_and_keep_the_frames_index(tmp_path: Path) -> None:
    rows = mixed_rows(200)
    model = FraudModel.fit(rows, backend="ecod", schema=MIXED_SCHEMA)
    model.save(tmp_path)
    frame = rows.to_pandas().set_index(pl.Series([f"row {n}" for n in range(200)]).to_pandas())
    predicted = _load_pyfunc(str(tmp_path)).predict(frame)
    assert list(predicted.index) == list(frame.index)
    assert pl.from_pandas(predicted.reset_index(drop=True)).equals(model.score(rows))


def test_the_code_that_travels_is_enough_to_load_and_score(tmp_path: Path) -> None:
    rows = mixed_rows(100)
    model = FraudModel.fit(rows, backend="suod", schema=MIXED_SCHEMA)
    model.save(tmp_path / "model")
    rows.write_parquet(tmp_path / "rows.parquet")
    for place, source in serving_code(model, rows[:3]).files.items():
        (tmp_path / "code" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / place).write_bytes(source.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", PREDICT_WITHOUT_THE_PROJECT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["scores"] == model.score(rows)["score"].to_list()
    assert printed["heavy"] == []


def test_the_requirements_that_travel_are_pinned() -> None:
    model = FraudModel.fit(mixed_rows(20), backend="ecod", schema=MIXED_SCHEMA)
    serving = serving_code(model, mixed_rows(2))
    assert all("==" in requirement for requirement in serving.pip_requirements)
    assert serving.input_example.columns == list(MIXED_SCHEMA)
    assert serving.output_example.columns == ["raw_score", "score", "is_anomaly"]
