"""Code versions: they follow what is computed, into SQL and stored macros, and no words; every process agrees."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fraud_pipelines

ASSETS = {
    "decision_outcomes": "fraud_pipelines.defs.feedback.assets",
    "model_performance": "fraud_pipelines.defs.monitoring.assets",
    "isolation_forest": "fraud_pipelines.defs.models.assets",
}
SCRIPT = """
import json, sys, types
from fraud_pipelines.code_version import code_version
assets = json.loads(sys.argv[1])
print(json.dumps({
    name: code_version(types.SimpleNamespace(__module__=module, __name__=name)) for name, module in assets.items()
}))
"""


@pytest.fixture
def versions(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The versions in a copy of the sources, in a process of its own; edits are (file, old text, new text)."""
    copy = tmp_path / "fraud_pipelines"
    shutil.copytree(Path(fraud_pipelines.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def of(*edits: tuple[str, str, str]) -> dict[str, str]:
        for name, old, new in edits:
            text = (copy / name).read_text()
            assert old in text, (name, old)
            (copy / name).write_text(text.replace(old, new, 1))
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(ASSETS)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found

    return of


def test_words_leave_every_version_as_it_is(versions: Callable[..., dict[str, str]]) -> None:
    before = versions()
    assert before == versions(), "another process agrees, and so does what was kept"
    assert before == versions(
        ("evaluation/metrics.py", '"""All metrics of a window.', '"""Every metric of a window.'),
        ("evaluation/ranked.py", "def find_places(", "# By rank.\ndef find_places("),
        ("decisions/policies.py", 'description="Start value', 'description="The start value'),
        ("decisions/policies.py", "a segment needs merchant_category,", "a segment wants merchant_category,"),
        ("evaluation/outcomes_learned.sql", "SELECT", "-- what became known\nSELECT"),
        ("storage/schema.sql", "IS 'The transaction.'", "IS 'Which transaction.'"),
        ("evaluation/figures.py", '"Precision and recall by score"', '"Precision and recall"'),
        ("defs/feedback/assets.py", '"correct_decisions"', '"right_decisions"'),
    )


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (
            ("evaluation/levels.py", "np.lexsort((raw_score, score))", "np.lexsort((score, raw_score))"),
            {"model_performance", "isolation_forest"},
        ),
        (("evaluation/outcomes_learned.sql", "SELECT", "SELECT DISTINCT"), {"decision_outcomes"}),
        (
            ("storage/schema.sql", "WHEN decision = 'approve' THEN NOT actual_fraud", "WHEN false THEN actual_fraud"),
            {"decision_outcomes"},
        ),
        (("detection/training.py", "def training_window(", "UNUSED = 1\n\n\ndef training_window("), set()),
    ],
)
def test_what_is_computed_is_followed_to_where_it_is_done(
    versions: Callable[..., dict[str, str]], edit: tuple[str, str, str], changed: set[str]
) -> None:
    before, after = versions(), versions(edit)
    assert {name for name in before if before[name] != after[name]} == changed
