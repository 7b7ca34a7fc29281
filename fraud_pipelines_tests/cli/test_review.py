"""Reviewing from the shell: the queue, a case, verdicts, chargebacks, and the page started by its command."""

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from fraud_pipelines.cli import serve as serving
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.review.samples import AWKWARD, queue_warehouse


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with a queue; the tests below follow each other."""
    installation = Installation(tmp_path_factory.mktemp("review") / "data")
    installation.data_dir.mkdir()
    queue_warehouse(installation.data_dir)
    return installation


def test_without_a_warehouse_the_commands_say_how_to_begin(installation: Installation) -> None:
    for command in (("list",), ("show", "big"), ("label", "big", "--fraud"), ("chargebacks", "x.csv")):
        output = installation.invoke("review", *command, succeeds=False)
        assert "fraud-pipelines demo" in output
    assert not installation.data_dir.exists()


def test_the_queue_is_listed_by_expected_loss(reviewed: Installation) -> None:
    output = reviewed.invoke("review", "list", "--limit", "3")
    assert "5 wait for a verdict" in output
    assert output.index("big") < output.index("block") < output.index(AWKWARD)
    assert "small" not in output
    assert "2 more: --limit shows them" in output
    assert "amount is 40× this customer's median" in output


def test_a_case_is_shown_whole(reviewed: Installation) -> None:
    output = reviewed.invoke("review", "show", AWKWARD)
    for shown in (AWKWARD, "80.0", "review", "<script>alert(1)</script>", "fraud-daily", "No label is known.", "▶"):
        assert shown in output
    assert "No transaction is stored under the id 'nobody'" in reviewed.invoke(
        "review", "show", "nobody", succeeds=False
    )


def test_a_verdict_is_given_corrected_and_seen(reviewed: Installation) -> None:
    assert "Recorded: big is fraud" in reviewed.invoke("review", "label", "big", "--fraud", "--comment", "[red]ring")
    assert "big is fraud already" in reviewed.invoke("review", "label", "big", "--fraud")
    assert "Corrected: big is legitimate" in reviewed.invoke(
        "review", "label", "big", "--legitimate", "--reviewer", "b"
    )
    shown = reviewed.invoke("review", "show", "big")
    assert "[red]ring" in shown
    assert "corrected" in shown
    assert "What counts: legitimate" in shown
    assert "big" not in reviewed.invoke("review", "list")


def test_a_verdict_that_can_not_be_right_is_one_message(reviewed: Installation) -> None:
    for arguments, message in (
        (("nobody", "--fraud"), "No transaction is stored under the id 'nobody'"),
        (("small", "--fraud", "--known-at", "2020-01-01"), "can't have been known before"),
        (("small", "--fraud", "--known-at", "2999-01-01"), "lies in the future"),
        (("small",), "Say which verdict: --fraud or --legitimate"),
    ):
        output = reviewed.invoke("review", "label", *arguments, succeeds=False)
        assert message in " ".join(output.split())
        assert "Traceback" not in output


def test_chargebacks_of_a_processor_are_taken_in_by_the_names_of_their_columns(
    reviewed: Installation, tmp_path: Path
) -> None:
    path = tmp_path / "disputes.csv"
    path.write_text("Dispute ID,Payment ID,Reason Code\n1,block,10.4\n2,small,13.1\n3,nobody,10.4\n")
    output = reviewed.invoke("review", "chargebacks", str(path))
    assert "1 rejected: reason is not fraud" in output
    assert "1 rejected: transaction is unknown" in output
    queue = reviewed.invoke("review", "list")
    assert "block" not in queue
    assert "small" in queue
    assert "taken in before" in reviewed.invoke("review", "chargebacks", str(path))
    path.write_text("ref\nsmall\n")
    assert "--id-column" in reviewed.invoke("review", "chargebacks", str(path), succeeds=False)


def test_the_page_is_served_until_it_is_told_to_stop(reviewed: Installation) -> None:
    command = reviewed.command("review", "serve", "--port", "0")
    with subprocess.Popen(command, env=reviewed.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=60) as page:
            assert "wait for a verdict" in page.read().decode()
        taken = reviewed.run("review", "serve", "--port", address.rpartition(":")[2], succeeds=False)
        assert "--port" in taken
        assert "Traceback" not in taken
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == -signal.SIGTERM


def test_up_starts_the_page_by_a_command_that_works_from_anywhere(reviewed: Installation, tmp_path: Path) -> None:
    command = [*serving._review_command("127.0.0.1", 0), "--help"]
    environment = reviewed.environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Serve the review page alone." in done.stdout


def test_in_80_columns_the_queue_keeps_its_figures_and_in_a_pipe_its_reasons_too(reviewed: Installation) -> None:
    narrow, piped = reviewed.run("review", "list", COLUMNS="80"), reviewed.run("review", "list")
    rows = [line for line in narrow.splitlines() if "user-" in line or "review" in line]
    assert rows
    assert not any("…" in line for line in rows)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "this customer's median" not in narrow
    assert "this customer's median" in piped


def test_a_dry_run_of_chargebacks_shows_the_labels_and_stores_none(reviewed: Installation, tmp_path: Path) -> None:
    path = tmp_path / "disputes.csv"
    path.write_text("Payment ID,Reason Code\nsmall,10.4\nblock,13.1\n")
    before = reviewed.warehouse.read("SELECT count(*) FROM feedback.labels").item()
    shown = reviewed.invoke("review", "chargebacks", str(path), "--dry-run")
    assert "1 of 1 rows as they would be stored" in shown
    assert "Would be taken in" in shown
    assert "Nothing was stored" in shown
    assert reviewed.warehouse.read("SELECT count(*) FROM feedback.labels").item() == before
