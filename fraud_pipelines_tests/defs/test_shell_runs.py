"""Runs that the shell executes, through a real web server of Dagster: listed, executed again, cancelled, closed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
import pytest

from fraud_pipelines.bootstrap import prepare_dagster_home
from fraud_pipelines.cli.daily_runs import JOB_NAME, DailyRuns, DayRun
from fraud_pipelines.defs.abandoned_runs import close_abandoned_runs
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate
from fraud_pipelines_tests.conftest import Installation
from fraud_pipelines_tests.locks import Holder, held_elsewhere

TODAY = datetime.now(UTC).date()
FIRST, SECOND = TODAY - timedelta(days=3), TODAY - timedelta(days=2)
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "fraud_pipelines"}
WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Two days of payments, of which none has been run."""
    installation = Installation(tmp_path_factory.mktemp("shell") / "data")
    payments = simulate(SimulationConfig(first_day=FIRST, days=2, users=60, transactions_per_day=200)).transactions
    file = installation.data_dir.with_name("payments.parquet")
    payments.write_parquet(file)
    installation.invoke("import", str(file))
    return installation


@pytest.fixture(scope="module")
def environment(world: Installation) -> Iterator[dict[str, str]]:
    """That of the commands, with the partitions of this process, for as long as the tests run."""
    first = {"FRAUD_FIRST_DAY": (TODAY - timedelta(days=30)).isoformat()}
    found = world.environment | first | {"DAGSTER_HOME": str(world.settings.dagster_home)}
    with mock.patch.dict(os.environ, found, clear=True):
        prepare_dagster_home(world.settings.dagster_home)
        yield found


@pytest.fixture(scope="module")
def instance(environment: dict[str, str]) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


@contextmanager
def shell(world: Installation, tell: Callable[[str], None] = print, **environment: str) -> Iterator[DailyRuns]:
    """What ``fraud-pipelines run`` uses."""
    with (
        mock.patch.dict(os.environ, environment),
        DailyRuns(world.settings, command="run", tell=tell) as runs,
    ):
        yield runs


@pytest.fixture(scope="module")
def failed(world: Installation, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run from the shell that failed at its second step: an earlier day was never derived."""
    with shell(world) as runs:
        outcome = runs.run(SECOND)
    assert outcome.failure
    assert f"{FIRST} has transactions" in outcome.failure
    run = instance.get_run_by_id(outcome.run_id)
    assert run
    return run


class Server:
    """The web server of Dagster."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: object) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(self._address, body, {"Content-Type": "application/json"}), timeout=120) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def runs(self, **filters: object) -> list[str]:
        query = "query($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId } } } }"
        return [run["runId"] for run in self.ask(query, f=filters)["runsOrError"]["results"]]


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-w", str(WORKSPACE), "-p", str(port)]
    with subprocess.Popen([*command, "--log-level", "error"], env=environment) as process:
        found = Server(port)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                found.ask("{ version }")
                break
            except URLError:
                assert process.poll() is None
                time.sleep(0.2)
        yield found
        process.send_signal(signal.SIGINT)


def test_it_stands_on_the_timeline_and_on_the_page_of_its_job(server: Server, failed: dg.DagsterRun) -> None:
    label = {"key": ".dagster/repository", "value": "__repository__@fraud_pipelines"}
    assert failed.run_id in server.runs(tags=[label])
    assert failed.run_id in server.runs(pipelineName=JOB_NAME, tags=[label])
    run = server.ask(
        "query($id: ID!) { runOrError(runId: $id) { ... on Run { startTime endTime assetSelection { path } "
        "repositoryOrigin { repositoryName repositoryLocationName } } } }",
        id=failed.run_id,
    )["runOrError"]
    assert run["repositoryOrigin"] == REPOSITORY
    assert run["startTime"] < run["endTime"]
    assert run["assetSelection"] is None


def test_it_has_the_tags_of_a_run_that_the_ui_starts_and_says_what_was_called(
    server: Server, failed: dg.DagsterRun, instance: dg.DagsterInstance
) -> None:
    partition = server.ask(
        "query($r: RepositorySelector!, $job: String!, $day: String!) { partitionSetsOrError(repositorySelector: $r, "
        "pipelineName: $job) { ... on PartitionSets { results { partition(partitionName: $day) { tagsOrError { "
        "... on PartitionTags { results { key value } } } } } } } }",
        r=REPOSITORY,
        job=JOB_NAME,
        day=SECOND.isoformat(),
    )["partitionSetsOrError"]["results"][0]["partition"]
    launched = server.ask(
        "mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } } }",
        p={
            "selector": REPOSITORY | {"pipelineName": JOB_NAME},
            "runConfigData": {},
            "executionMetadata": {"tags": partition["tagsOrError"]["results"]},
        },
    )["launchPipelineExecution"]
    by_ui = instance.get_run_by_id(launched["run"]["runId"])
    assert by_ui
    shown = {name: value for name, value in failed.tags.items() if not name.startswith(".dagster/")}
    assert shown == {**by_ui.tags, "fraud_pipelines/command": "run", "dagster/failure_reason": "STEP_FAILURE"} | {
        name: value for name, value in shown.items() if name == "dagster/will_retry"
    }
    assert failed.run_op_concurrency == by_ui.run_op_concurrency
    assert failed.job_snapshot_id == by_ui.job_snapshot_id


@pytest.mark.parametrize("strategy", ["ALL_STEPS", "FROM_FAILURE"])
def test_it_can_be_executed_again_in_the_ui(
    server: Server, failed: dg.DagsterRun, instance: dg.DagsterInstance, strategy: str
) -> None:
    launched = server.ask(
        "mutation($p: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } } }",
        p={"parentRunId": failed.run_id, "strategy": strategy},
    )["launchPipelineReexecution"]
    again = instance.get_run_by_id(launched["run"]["runId"])
    assert again
    assert again.status == dg.DagsterRunStatus.QUEUED
    assert again.parent_run_id == failed.run_id
    assert again.tags["dagster/partition"] == SECOND.isoformat()
    plan = instance.get_execution_plan_snapshot(str(again.execution_plan_snapshot_id))
    assert ("raw__transactions" in plan.step_keys_to_execute) == (strategy == "ALL_STEPS")
    assert "features__transaction_features" in plan.step_keys_to_execute


def while_it_waits(world: Installation, instance: dg.DagsterInstance, act: Callable[[str], None]) -> DayRun:
    """Run a day whose first step waits for the file, and call ``act`` with the run's id meanwhile."""

    def watch() -> None:
        started = dg.RunsFilter(job_name=JOB_NAME, statuses=[dg.DagsterRunStatus.STARTED])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for run in instance.get_runs(started):
                if instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START):
                    act(run.run_id)
                    return
            time.sleep(0.1)

    acting = threading.Thread(target=watch)
    with shell(world, FRAUD_WAREHOUSE_WAIT_SECONDS="60") as runs, held_elsewhere(world.warehouse.path):
        acting.start()
        try:
            return runs.run(FIRST)
        finally:
            acting.join()


@pytest.mark.parametrize("policy", ["SAFE_TERMINATE", "MARK_AS_CANCELED_IMMEDIATELY"])
def test_it_can_be_cancelled_in_the_ui(
    world: Installation, server: Server, instance: dg.DagsterInstance, policy: str
) -> None:
    answers = []

    def cancel(run_id: str) -> None:
        query = (
            "mutation($id: String!, $policy: TerminateRunPolicy!) { terminateRun(runId: $id, terminatePolicy: $policy) "
            "{ __typename } }"
        )
        answers.append(server.ask(query, id=run_id, policy=policy)["terminateRun"]["__typename"])

    outcome = while_it_waits(world, instance, cancel)

    assert answers == ["TerminateRunSuccess"]
    assert outcome.failure == "the run was cancelled in Dagster"
    run = instance.get_run_by_id(outcome.run_id)
    assert run
    assert run.status == dg.DagsterRunStatus.CANCELED


def test_what_sets_no_more_than_its_status_cancels_it_too(world: Installation, instance: dg.DagsterInstance) -> None:
    """As a launcher of another kind does, or one on another machine."""

    def cancel(run_id: str) -> None:
        run = instance.get_run_by_id(run_id)
        assert run
        instance.report_run_canceling(run)

    outcome = while_it_waits(world, instance, cancel)

    assert outcome.failure == "the run was cancelled in Dagster"


def test_ctrl_c_cancels_it_and_is_no_failure(world: Installation, instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyboardInterrupt):
        while_it_waits(world, instance, lambda _run_id: os.kill(os.getpid(), signal.SIGINT))
    [run] = instance.get_runs(limit=1)
    assert run.status == dg.DagsterRunStatus.CANCELED


def test_a_day_succeeds_though_a_shell_holds_the_file_for_longer_than_a_step_waits(
    world: Installation, instance: dg.DagsterInstance
) -> None:
    told: list[str] = []
    holders: list[Holder] = []

    def tell(line: str) -> None:
        told.append(line)
        holders[0].let_go()

    with (
        shell(world, tell, FRAUD_WAREHOUSE_WAIT_SECONDS="0.3") as runs,
        held_elsewhere(world.warehouse.path) as holder,
    ):
        holders.append(holder)
        outcome = runs.run(FIRST)

    assert outcome.failure is None
    assert sum(outcome.decisions.values()) == world.warehouse.read("FROM scoring.decisions").height > 0
    [line] = told
    assert line.startswith(f"{FIRST} waits: raw__transactions is tried again in ")
    # DuckDB names the program itself, not the link that a virtual environment has.
    assert f"held by another process ({Path(sys.executable).resolve()}, PID {holder.process.pid})" in line
    retries = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert [entry.step_key for entry in retries] == ["raw__transactions"]


@dg.job
def empty_job() -> None:
    """Does nothing."""


_EXECUTING = """
import sys
import dagster as dg
from fraud_pipelines.defs.abandoned_runs import RunNote
with dg.DagsterInstance.get() as instance, RunNote(instance) as note:
    note.note("another run, that ended before")
    note.note(sys.argv[1])
    print("noted", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTED", "CANCELING"])
def test_a_run_whose_process_was_killed_is_closed_and_one_that_is_executed_is_not(
    environment: dict[str, str], instance: dg.DagsterInstance, status: str
) -> None:
    run = instance.create_run_for_job(empty_job, status=dg.DagsterRunStatus[status])
    command = [sys.executable, "-c", _EXECUTING, run.run_id]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"noted\n"
        assert close_abandoned_runs(instance) == []
        process.kill()
    [closed] = close_abandoned_runs(instance)
    assert closed.run_id == run.run_id
    ended = instance.get_run_by_id(run.run_id)
    assert ended
    cancelled = status == "CANCELING"
    assert ended.status == (dg.DagsterRunStatus.CANCELED if cancelled else dg.DagsterRunStatus.FAILURE)
    assert close_abandoned_runs(instance) == []
