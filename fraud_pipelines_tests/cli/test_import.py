"""``fraud-pipelines import``: what was not taken in stands out, and a delivery that mostly failed is no success."""

import json
from pathlib import Path

import pytest

from fraud_pipelines_tests.conftest import Installation

HEADER = "transaction_id,user_id,timestamp,amount"
SOUND = "t{},u,2026-01-02T10:00:00,5"
BROKEN = "t{},u,yesterday,5"


def write(path: Path, sound: int, broken: int, *, first: int = 0) -> Path:
    lines = [SOUND.format(number + first) for number in range(sound)]
    lines += [BROKEN.format(number + first + sound) for number in range(broken)]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


@pytest.mark.parametrize(("sound", "broken"), [(5, 0), (4, 1), (1, 1), (0, 0)])
def test_rejected_rows_stand_out_and_half_of_a_file_is_enough(
    installation: Installation, tmp_path: Path, sound: int, broken: int
) -> None:
    shown = installation.invoke("import", str(write(tmp_path / "x.csv", sound, broken)))
    assert ("Warning" in shown) == bool(broken)
    if broken:
        assert f"Warning: {broken} of {sound + broken} rows were rejected" in shown
        assert f"{broken} rejected: timestamp is unreadable as iso8601" in shown


@pytest.mark.parametrize(("sound", "broken"), [(1, 4), (0, 1), (2, 3)])
def test_a_file_that_is_mostly_rejected_is_no_success(
    installation: Installation, tmp_path: Path, sound: int, broken: int
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.csv", 30, 0, first=100)  # the majority of one file doesn't speak for another
    write(folder / "b.csv", sound, broken)
    shown = installation.invoke("import", str(folder), succeeds=False)
    assert f"Warning: {broken} of {30 + sound + broken} rows were rejected" in shown
    told = " ".join(shown.split())
    assert f"Error: More rows were rejected than accepted: b.csv ({broken} of {sound + broken})." in told
    assert "Next: fraud-pipelines run --from 2026-01-02" in told
    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 30 + sound


def test_what_is_stored_already_may_be_delivered_again(installation: Installation, tmp_path: Path) -> None:
    installation.invoke("import", str(write(tmp_path / "x.csv", 5, 0)))
    assert "taken in before" in installation.invoke("import", str(tmp_path / "x.csv"))
    shown = installation.invoke("import", str(write(tmp_path / "y.csv", 6, 0)))
    assert "5 rejected: duplicate" in shown
    assert "Warning" not in shown


def test_columns_that_nothing_was_taken_from_are_named(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.csv").write_text(f"{HEADER},[channel],city\n{SOUND.format(number)},web,Oslo\n")
    (folder / "d.jsonl").write_text(
        json.dumps({"id": "j", "user_id": "u", "timestamp": "2026-01-02", "amount": 1, "note": "x", "is_fraud": 0})
    )
    (folder / "e").mkdir()
    (folder / "e" / "e.csv").write_text(f"{HEADER},country,terminal\n{SOUND.format(9)},NO,1\n")
    (folder / "e" / "mapping.yaml").write_text("columns: {country: null, merchant_id: terminal}\n")
    mapping = tmp_path / "mapping.yaml"

    shown = installation.invoke("import", str(folder), succeeds=False)  # d.jsonl has no transaction_id
    assert "Not used of 0.csv and 2 more: [channel]" in shown
    assert "Not used of d.jsonl: id, note, is_fraud" in shown
    assert shown.count("Not used") == 2

    mapping.write_text("columns: {transaction_id: id}\nlabel: {column: is_fraud}\n")
    shown = installation.invoke("import", str(folder / "d.jsonl"), "--mapping", str(mapping))
    assert "Not used of d.jsonl: note\n" in shown
    labels = tmp_path / "labels.csv"
    labels.write_text("transaction_id,actual_fraud,source,known_at,amount\nj,true,review,2026-01-03,1\n")
    assert "Not used of labels.csv: amount" in installation.invoke("import", "--labels", str(labels))
    chargebacks = tmp_path / "chargebacks.csv"
    chargebacks.write_text("charge,date,fee\nt0,2026-01-03,15\n")
    assert "Not used of chargebacks.csv: fee" in installation.invoke("review", "chargebacks", str(chargebacks))


def test_files_that_are_refused_hold_up_no_others(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.parquet").write_text("no parquet")
    write(folder / "b.csv", 5, 0)
    (folder / "c.csv").write_text("id,who\n1,2\n")
    (folder / "d").symlink_to(folder / "d")
    (folder / "e").mkdir()
    write(folder / "e" / "e.csv", 1, 0, first=10)
    (folder / "e" / "mapping.yaml").write_text("nonsense: 1\n")

    shown = installation.invoke("import", str(folder), succeeds=False)

    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 5
    told = " ".join(shown.split())
    for message in (
        "d could not be looked at: Too many levels of symbolic links",
        "a.parquet can't be read as Parquet",
        "c.csv lacks the column 'transaction_id'",
        "mapping.yaml: nonsense is no key of a mapping",
        "Next: fraud-pipelines run --from 2026-01-02 --to 2026-01-02",
    ):
        assert message in told
    assert "Traceback" not in shown


def test_chargebacks_that_are_mostly_unknown_are_no_success(installation: Installation, tmp_path: Path) -> None:
    installation.invoke("import", str(write(tmp_path / "x.csv", 2, 0)))
    path = tmp_path / "disputes.csv"
    path.write_text("charge,reason\nt0,10.4\nt1,13.1\nt2,13.1\n")  # about something else: as it should be
    shown = installation.invoke("review", "chargebacks", str(path))
    assert "2 rejected: reason is not fraud" in shown
    assert "Warning" not in shown
    path.write_text("charge,reason\nt1,fraud\nx,fraud\ny,fraud\n")
    shown = installation.invoke("review", "chargebacks", str(path), succeeds=False)
    assert "Warning: 2 of 3 rows were rejected" in shown
    assert "deliver the same file again then" in " ".join(shown.split())


def test_words_that_were_taken_for_no_value_are_told(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = [f"t{number},{user},2026-01-02T10:00:00,5" for number, user in enumerate(["u", "u", "guest", "v"])]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    shown = " ".join(installation.invoke("import", str(path)).split())
    assert "Taken as no value in user_id: guest (1)" in shown
    assert "1 rejected: user_id is missing" in shown


def test_a_dry_run_shows_what_would_be_stored_and_stores_nothing(installation: Installation, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 12, 1)
    shown = installation.invoke("import", str(path), "--dry-run")
    assert "10 of 12 rows as they would be stored" in shown
    assert "Empty in all rows: merchant_id" in shown
    assert "1 rejected: timestamp is unreadable as iso8601" in shown
    assert "Nothing was stored" in shown
    assert "t9" in shown
    assert "t10" not in shown
    assert not installation.warehouse.path.exists()
    installation.invoke("import", str(path))
    shown = installation.invoke("import", str(write(tmp_path / "y.csv", 14, 0)), "--dry-run")
    assert "2 of 2 rows as they would be stored" in shown
    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 12
    assert installation.warehouse.read("SELECT count(*) FROM raw.landed_files").item() == 1


def test_a_delivery_is_listed_and_taken_back(installation: Installation, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 3, 1)
    installation.invoke("import", str(path))
    listed = installation.invoke("import", "list")
    assert "x.csv" in listed
    shown = installation.invoke("import", "undo", "x.csv")
    assert "Taken back: x.csv: 3 transactions, 0 labels, 1 rejected rows" in shown
    assert "Nothing was taken in yet" in installation.invoke("import", "list")
    assert "There is no delivery 'x.csv'" in installation.invoke("import", "undo", "x.csv", succeeds=False)
    assert "taken in before" not in installation.invoke("import", str(path))
