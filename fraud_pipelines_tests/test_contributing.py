"""CONTRIBUTING.md: its recipes work as they stand, and the targets and files that it names are there."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud_pipelines.detection import backends
from fraud_pipelines.detection.backends import BACKENDS, Backend
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.transactions import sources
from fraud_pipelines.transactions.sources import FORMATS, open_records
from fraud_pipelines_tests.detection.samples import numeric_rows

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def recipe(title: str, language: str) -> list[str]:
    """The blocks of code below a heading."""
    section = PAGE.split(f"\n### {title}\n")[1].split("\n##")[0]
    return re.findall(rf"```{language}\n(.+?)```", section, re.DOTALL)


def run(code: str, **names: object) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": "recipe", **names}
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), module)
    return module


def declared(tmp_path: Path, title: str) -> Plan:
    [text] = recipe(title, "yaml")
    (tmp_path / "fraud.yaml").write_text(text)
    return compile_plan(tmp_path / "fraud.yaml")


def test_the_recipe_of_a_column_declares_it(tmp_path: Path) -> None:
    names = {each.name for each in declared(tmp_path, "A column of a transaction").attributes}
    assert {"card_id", "attempts"} <= names


def test_the_recipe_of_an_entity_declares_its_features(tmp_path: Path) -> None:
    features = declared(tmp_path, "An entity").features
    assert {"card_count_1h", "card_count_24h", "card_amount_sum_24h", "card_days_since_first"} <= features.keys()


def test_the_recipe_of_a_backend_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, entry = recipe("A backend", "python")
    backend: Backend = run(entry, **vars(backends) | run(module))["distance"]
    monkeypatch.setattr(backends, "BACKENDS", {**BACKENDS, backend.name: backend})
    rows = numeric_rows(500)
    model = FraudModel.fit(rows, backend=backend.name)
    model.save(tmp_path)
    loaded = FraudModel.load(tmp_path)
    assert loaded.score(rows).equals(model.score(rows))
    assert pl.concat([loaded.score(row) for row in rows.head(20).iter_slices(1)]).equals(model.score(rows.head(20)))


def test_the_recipe_of_a_landing_format_reads_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, entry = recipe("A landing format", "python")
    monkeypatch.setattr(sources, "FORMATS", dict(FORMATS))
    run(entry, **vars(sources) | run(module))
    rows = pl.DataFrame({"id": ["a", "b"], "amount": [1.5, 2.0]})
    rows.write_ipc(tmp_path / "t.arrow")
    [chunk] = open_records(tmp_path / "t.arrow", ("id",)).chunks()
    assert chunk.fields.equals(rows)
    (tmp_path / "t.arrow").write_bytes((tmp_path / "t.arrow").read_bytes()[:-40])
    with pytest.raises(InvalidInput, match=r"t\.arrow can't be read as Arrow"):
        open_records(tmp_path / "t.arrow", ("id",))


def test_the_recipe_of_a_check_names_one_of_its_asset() -> None:
    [code] = recipe("An asset check", "python")
    check = run(code)["MERCHANTS_ARE_KNOWN"]
    assert check.asset_key.path == ["raw", "transactions"]


def test_the_files_and_targets_that_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)", PAGE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    made = {"fraud_pipelines/detection/detectors/distance.py", "fraud_pipelines/transactions/arrow_file.py"}
    for path in re.findall(r"`((?:fraud_pipelines|fraud_pipelines_tests|docs|tools|benchmarks)/[\w/.]+)`", PAGE):
        assert path in made or path.startswith("docs/pictures") or (ROOT / path).exists(), path
