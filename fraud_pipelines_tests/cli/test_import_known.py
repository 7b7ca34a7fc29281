"""``fraud-pipelines import`` of public data sets and exports: no mapping is needed, and what was done is said."""

from pathlib import Path

import pytest

from fraud_pipelines.transactions.mapping import ColumnMapping
from fraud_pipelines.transactions.recognition import known_sources
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.transactions.known_files import KNOWN_DISPUTES, KNOWN_FILES
from fraud_pipelines_tests.transactions.test_recognition import plan_of


def written(folder: Path, text: str, name: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_new_installation_gets_the_declarations_of_its_first_source(
    installation: Installation, tmp_path: Path
) -> None:
    path = written(tmp_path, KNOWN_FILES["paysim"].text, "paysim.csv")
    declarations = installation.data_dir / "fraud.yaml"

    shown = installation.invoke("import", path, "--dry-run")
    assert "Recognised by its columns: PaySim" in shown
    assert "170136.0" in shown
    assert not declarations.exists()

    shown = " ".join(installation.invoke("import", path).split())
    assert "fraud.yaml: the columns that PaySim, simulated mobile money has beyond ours" in shown
    assert "Next: fraud-pipelines run --from 2024-01-01 --to 2024-01-02" in shown
    rows = installation.warehouse.read("SELECT old_balance_origin FROM raw.transactions ORDER BY timestamp")
    assert rows["old_balance_origin"].to_list() == [170136.0, 181.0]
    assert "is sound. It adds 4 columns and 2 features" in installation.invoke("declarations", "check")


def test_declarations_that_are_there_stay_and_what_they_lack_is_told(
    installation: Installation, tmp_path: Path
) -> None:
    own = "attributes:\n  old_balance_origin: {type: number}\n"
    installation.data_dir.mkdir(parents=True, exist_ok=True)
    (installation.data_dir / "fraud.yaml").write_text(own)
    shown = installation.invoke("import", written(tmp_path, KNOWN_FILES["paysim"].text, "x.csv"))
    assert "Not taken, since fraud.yaml doesn't declare it: new_balance_origin, old_balance_destination" in shown
    assert (installation.data_dir / "fraud.yaml").read_text() == own
    assert installation.warehouse.read("SELECT sum(old_balance_origin) FROM raw.transactions").item() == 170317.0


def test_an_installation_with_transactions_keeps_its_columns(installation: Installation, tmp_path: Path) -> None:
    installation.invoke("import", written(tmp_path, KNOWN_FILES["simulated_cards"].text, "cards.csv"))
    shown = installation.invoke("import", written(tmp_path, KNOWN_FILES["ulb"].text, "ulb.csv"))
    assert "Not taken, since fraud.yaml doesn't declare it: v1, v2" in shown
    assert not (installation.data_dir / "fraud.yaml").exists()


@pytest.mark.parametrize("name", [*KNOWN_FILES])
def test_what_is_shown_of_a_known_source_takes_its_files_in(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    known = KNOWN_FILES[name]
    path = written(tmp_path, known.text, "x.csv")
    mapping = written(tmp_path, installation.invoke("mapping", "show", path), "shown.yaml")
    assert name in installation.invoke("mapping", "list")
    if known_sources()[name].declarations:
        declarations = installation.invoke("mapping", "show", name, "--declarations")
        installation.data_dir.mkdir(parents=True, exist_ok=True)
        written(installation.data_dir, declarations, "fraud.yaml")
    installation.invoke("import", path, "--mapping", mapping, FRAUD_MAX_AGE_YEARS="40")
    assert installation.warehouse.read("SELECT count(*) FROM raw.transactions").item() == len(known.rows)


@pytest.mark.parametrize("name", [name for name, each in known_sources().items() if each.mapping])
def test_the_mapping_that_is_shown_by_name_is_one(installation: Installation, tmp_path: Path, name: str) -> None:
    text = installation.invoke("mapping", "show", name)
    plan = plan_of(known_sources()[name], tmp_path)
    assert ColumnMapping.load(Path(written(tmp_path, text, "m.yaml")), plan.attributes).source


def test_what_is_no_known_source_is_told(installation: Installation, tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,2\n", "x.csv")
    assert "mapping draft" in installation.invoke("mapping", "show", path, succeeds=False)
    assert "has no columns beyond" in installation.invoke("mapping", "show", "s_ffsd", "--declarations", succeeds=False)


@pytest.mark.parametrize("name", [*KNOWN_DISPUTES])
def test_known_disputes_become_labels(installation: Installation, tmp_path: Path, name: str) -> None:
    payments = KNOWN_FILES["stripe_payments"].text
    installation.invoke("import", written(tmp_path, payments, "payments.csv"))
    disputes = written(tmp_path, KNOWN_DISPUTES[name], "disputes.csv")
    shown = installation.invoke("import", disputes, "--dry-run")
    assert "Recognised by its columns" in shown
    assert installation.warehouse.read("SELECT count(*) FROM feedback.labels").item() == 0
    shown = installation.invoke("import", disputes)
    assert "Next:" not in shown
    labels = installation.warehouse.read("SELECT transaction_id, actual_fraud, source FROM feedback.labels")
    assert labels.rows() == [("ch_1", True, "chargeback")]
