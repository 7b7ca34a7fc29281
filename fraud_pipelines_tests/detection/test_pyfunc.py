"""A model served by MLflow: it loads from its artifact alone, and scores like the model itself."""

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import polars as pl

from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.pyfunc import _load_pyfunc
from fraud_pipelines.detection.serving import serving_code
from fraud_pipelines_tests.detection.samples import MIXED_SCHEMA, mixed_rows

PREDICT_WITHOUT_THE_PROJECT = """
import json, sys

artifact, libraries = sys.argv[1:]
sys.path += [artifact + "/code", libraries]
from fraud_pipelines.detection.pyfunc import _load_pyfunc
import pandas as pd
scores = _load_pyfunc(artifact + "/model").predict(pd.read_parquet(artifact + "/rows.parquet"))
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "fraud_pipelines"]
elsewhere = [file for file in ours if not file.startswith(artifact)]
heavy = {"mlflow", "sklearn", "pyod", "dagster", "duckdb"} & set(sys.modules)
print(json.dumps({"scores": scores["score"].tolist(), "elsewhere": elsewhere, "heavy": sorted(heavy)}))
"""
# Isolated and without site: neither PYTHONPATH nor the finder of an editable install can bring the project in.
ISOLATED = [sys.executable, "-I", "-S", "-c", PREDICT_WITHOUT_THE_PROJECT]


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
    command = [*ISOLATED, str(tmp_path), sysconfig.get_path("purelib")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["scores"] == model.score(rows)["score"].to_list()
    assert printed["elsewhere"] == printed["heavy"] == []


def test_what_travels_imports_nothing_of_the_project_that_stays() -> None:
    model = FraudModel.fit(mixed_rows(20), backend="ecod", schema=MIXED_SCHEMA)
    files = serving_code(model, mixed_rows(2)).files
    modules = {place.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for place in files}
    imported = {
        node.module
        for source in files.values()
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fraud_pipelines")
    }
    assert imported <= modules


def test_the_requirements_that_travel_are_pinned() -> None:
    model = FraudModel.fit(mixed_rows(20), backend="ecod", schema=MIXED_SCHEMA)
    serving = serving_code(model, mixed_rows(2))
    assert all("==" in requirement for requirement in serving.pip_requirements)
    assert serving.input_example.columns == list(MIXED_SCHEMA)
    assert serving.output_example.columns == ["raw_score", "score", "is_anomaly"]
