"""The stream on the command line: the tutorial's example live, and traffic for the landing zone."""

import re

import polars as pl

from fraud_pipelines.settings import Settings
from fraud_pipelines_tests.conftest import Installation


def test_the_demo_shows_the_collecting_the_flagged_the_missed_and_the_sum(installation: Installation) -> None:
    shown = installation.invoke("stream-demo", "--rate", "0", "--seed", "3")

    assert [int(left) for left in re.findall(r"Collecting: (\d+) to go", shown)] == [40, 30, 20, 10, 0]
    counted = re.search(r"Summary: 200 transactions, (\d+) actual fraud, (\d+) flagged", shown)
    assert counted
    frauds, flagged = map(int, counted.groups())
    assert shown.count("🚨 Flagged tx #") == flagged
    caught = shown.count("TRUE POSITIVE")
    assert caught + shown.count("FALSE POSITIVE") == flagged
    missed = shown.count("❌ MISSED FRAUD")
    assert f"{missed} missed, {frauds - caught - missed} came while collecting" in shown
    assert caught >= 3
    assert "this customer's usual" in shown
    scores = re.findall(r"score=(\d\.\d{3}) \| . (?:TRUE|FALSE)", shown.replace("⚠️", "⚠"))
    assert len(scores) == flagged
    assert len(set(scores)) > flagged / 2
    assert not installation.data_dir.exists()


def test_the_load_is_what_the_stream_takes_in(installation: Installation) -> None:
    shown = installation.invoke("stream-load", "--rate", "30", "--seconds", "2")

    assert "60 transactions written" in shown
    folder = Settings(data_dir=installation.data_dir).landing_stream
    files = sorted(folder.iterdir())
    assert [path.suffix for path in files] == [".jsonl", ".jsonl"]
    rows = pl.concat([pl.read_ndjson(path) for path in files])
    assert rows["transaction_id"].n_unique() == 60
    assert rows["timestamp"].is_sorted()
