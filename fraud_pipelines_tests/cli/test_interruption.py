"""A run that is killed at any moment: run again, it ends where an undisturbed one does."""

import random
import shutil
import subprocess
import time
from datetime import date

import pytest

from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content
from fraud_pipelines_tests.examples import THOROUGH

pytestmark = pytest.mark.slow

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 3)
KILLS = 5 if THOROUGH else 1


@pytest.fixture
def simulated(installation: Installation) -> Installation:
    span = ("--from", FIRST.isoformat(), "--to", LAST.isoformat())
    installation.run("simulate", *span, "--users", "100", "--transactions-per-day", "300")
    installation.run("run", "--from", FIRST.isoformat(), "--to", FIRST.isoformat(), "--simulate-labels")
    return installation


def test_a_run_killed_again_and_again_ends_with_the_tables_of_an_undisturbed_one(simulated: Installation) -> None:
    undisturbed = Installation(simulated.data_dir.with_name("undisturbed"))
    shutil.copytree(simulated.data_dir, undisturbed.data_dir)
    # MLflow's database names its artifacts by absolute path; both installations keep their own.
    shutil.rmtree(undisturbed.settings.mlflow_dir)
    shutil.rmtree(simulated.settings.mlflow_dir)
    run = ("run", "--from", FIRST.isoformat(), "--to", LAST.isoformat(), "--simulate-labels")
    began = time.monotonic()
    undisturbed.run(*run)
    seconds = time.monotonic() - began

    moments = random.Random()  # another moment in each run
    for _ in range(KILLS):
        process = subprocess.Popen(
            simulated.command(*run), env=simulated.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.4, 1.0) * seconds)
        process.kill()
        process.wait()
    simulated.run(*run)

    assert_same_content(warehouse_content(undisturbed.warehouse), warehouse_content(simulated.warehouse))
