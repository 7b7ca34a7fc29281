"""Rules and policies of an installation's own in real daily runs; the audit of their log, and decisions made again."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from fraud_pipelines.decisions.replay import replay_decisions
from fraud_pipelines.errors import MissingData
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines.transactions.simulator import SimulationConfig, simulate
from fraud_pipelines_tests.conftest import Installation, assert_same_content, warehouse_content
from fraud_pipelines_tests.streaming.samples import SMALL, drop, now

DAY = datetime.now(UTC).date() - timedelta(days=4)

POLICIES = """
policies:
  own:
    based_on: balanced
    review_threshold: 0.45
    segments:
      - {name: food, merchant_category: grocery, review_threshold: 0.3}
"""
RULES = f"""
rules:
  - name: block_stolen
    decision: block
    expires: {DAY}
    description: this merchant is known to be compromised
    when: {{merchant_id: {{in_file: stolen.txt}}}}
  - name: trust_small
    decision: approve
    expires: {DAY}
    when: {{amount: {{below: 20}}, country_changed: 0}}
  - name: block_all
    decision: block
    expires: {DAY - timedelta(days=1)}
    when: {{amount: {{at_least: 0}}}}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A day decided by a policy and rules of the installation's own, and once more under another policy."""
    installation = Installation(tmp_path_factory.mktemp("audit") / "data")
    transactions = simulate(SimulationConfig(first_day=DAY, days=1, users=60, transactions_per_day=300)).transactions
    busiest = transactions["merchant_id"].value_counts(sort=True)["merchant_id"].head(2)
    installation.data_dir.mkdir()
    (installation.data_dir / "policies.yaml").write_text(POLICIES)
    (installation.data_dir / "rules.yaml").write_text(RULES)
    (installation.data_dir / "stolen.txt").write_text("# from the scheme\n" + "\n".join(busiest) + "\n")
    transactions.write_parquet(installation.data_dir / "all.parquet")
    installation.invoke("import", str(installation.data_dir / "all.parquet"))
    for policy in ("own", "high_security"):
        installation.invoke("run", "--from", DAY.isoformat(), "--to", DAY.isoformat(), FRAUD_POLICY=policy)
    return installation


@pytest.fixture(scope="module")
def registry(installed: Installation) -> ModelRegistry:
    return ModelRegistry(installed.settings.tracking_uri, artifact_root=installed.settings.artifact_root)


def logged(installation: Installation, condition: str) -> pl.DataFrame:
    return installation.warehouse.read(f"SELECT * FROM scoring.decision_revisions WHERE {condition} ORDER BY sequence")


def test_a_rule_decides_and_is_the_reason_and_one_that_has_expired_is_neither(installed: Installation) -> None:
    stolen = (installed.data_dir / "stolen.txt").read_text().split("\n")[1:-1]
    decided = installed.warehouse.read(
        "SELECT d.*, t.amount, t.merchant_id FROM scoring.decision_revisions d "
        "JOIN raw.transactions t USING (transaction_id) WHERE d.revision = 1 ORDER BY ALL"
    )
    of_rule = pl.col("reason") == "rule:block_stolen"
    at_stolen = pl.col("merchant_id").is_in(stolen)
    blocked = decided.filter(of_rule)

    assert blocked.height
    assert blocked.equals(decided.filter(at_stolen))
    assert blocked["decision"].unique().to_list() == ["block"]
    assert blocked["reason_codes"].list.first().unique().to_list() == ["this merchant is known to be compromised"]
    trusted = decided.filter(pl.col("reason") == "rule:trust_small")
    assert trusted.height
    assert trusted["decision"].unique().to_list() == ["approve"]
    assert trusted.select((pl.col("amount") < 20).all()).item()
    assert "rule:block_all" not in decided["reason"]


def test_a_segment_decides_by_its_own_threshold(installed: Installation) -> None:
    levels = installed.warehouse.read(
        "SELECT DISTINCT t.merchant_category = 'grocery', d.review_threshold FROM scoring.decision_revisions d "
        "JOIN raw.transactions t USING (transaction_id) WHERE d.policy = 'own' ORDER BY ALL"
    )
    assert levels.rows() == [(False, 0.45), (True, 0.3)]


def test_a_hundred_decisions_made_again_come_out_equal(installed: Installation, registry: ModelRegistry) -> None:
    decided = installed.warehouse.read("SELECT transaction_id, decision FROM scoring.decisions ORDER BY ALL")
    alerts = decided.filter(pl.col("decision") != "approve")["transaction_id"].to_list()
    chosen = random.Random(1).sample(decided["transaction_id"].to_list(), 100)
    for ids in (chosen, alerts):
        replays = replay_decisions(installed.warehouse, registry, ids)
        assert [each.transaction_id for each in replays] == ids
        assert [each.differences for each in replays] == [()] * len(ids)
    assert len(alerts) >= 3


def test_a_revision_that_no_longer_stands_comes_out_as_it_stood(
    installed: Installation, registry: ModelRegistry
) -> None:
    revised = logged(installed, "revision = 2")["transaction_id"].to_list()
    assert len(revised) > 50
    for revision, policy in ((1, "own"), (2, "high_security")):
        replays = replay_decisions(installed.warehouse, registry, revised, revision=revision)
        assert {each.recorded["policy"] for each in replays} == {policy}
        assert all(each.equal for each in replays)


def test_what_was_decided_from_other_features_is_told_field_by_field(
    installed: Installation, registry: ModelRegistry
) -> None:
    (chosen,) = installed.warehouse.read(
        "SELECT transaction_id FROM scoring.decisions WHERE reason = 'below_screening_threshold' ORDER BY 1 LIMIT 1"
    ).to_series()
    assert "it comes out equal" in installed.invoke("replay", chosen)
    with installed.warehouse.transaction() as connection:
        before = connection.execute(
            "SELECT amount, user_z FROM features.transaction_features WHERE transaction_id = ?", [chosen]
        ).fetchone()
        connection.execute(
            "UPDATE features.transaction_features SET amount = 1e6, user_z = 99 WHERE transaction_id = ?", [chosen]
        )
    (replay,) = replay_decisions(installed.warehouse, registry, [chosen])
    shown = installed.invoke("replay", chosen, succeeds=False)
    with installed.warehouse.transaction() as connection:
        connection.execute(
            "UPDATE features.transaction_features SET amount = ?, user_z = ? WHERE transaction_id = ?",
            [*(before or ()), chosen],
        )

    fields = {each.field: each for each in replay.differences}
    assert {"score", f"score of {replay.model_versions[0]}"} <= fields.keys()
    assert fields["score"].recorded == replay.recorded["score"] != fields["score"].recomputed
    assert "it differs" in shown
    assert "score of fraud-daily/" in shown


def test_the_log_of_real_runs_verifies_and_dagster_keeps_its_head(installed: Installation) -> None:
    import dagster as dg

    output = installed.invoke("audit")
    assert "Nothing was changed" in output
    head = output.strip().rpartition(":")[2]
    with installed.dagster() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["scoring", "decisions"]))
    assert event
    assert event.asset_materialization
    metadata = event.asset_materialization.metadata
    assert metadata["log_head"].value == head
    assert metadata["revised"].value == logged(installed, "revision = 2").height
    assert "Nothing was changed" in installed.invoke("audit", "--expect-head", head)


def test_a_tampered_log_fails_the_audit(installed: Installation) -> None:
    with installed.warehouse.transaction() as connection:
        connection.execute("UPDATE scoring.decision_revisions SET decision = 'block' WHERE sequence = 7")
    output = installed.invoke("audit", succeeds=False)
    with installed.warehouse.transaction() as connection:
        connection.execute("UPDATE scoring.decision_revisions SET decision = 'approve' WHERE sequence = 7")
    assert "✗ entry 7 (" in output
    assert "Head of the chain" in output


def test_the_decisions_of_a_stream_come_out_equal_and_share_the_log(
    installed: Installation, registry: ModelRegistry
) -> None:
    following = simulate(
        SimulationConfig(first_day=DAY + timedelta(days=1), days=1, users=60, transactions_per_day=200, seed=9)
    ).transactions
    folder = installed.settings.landing_stream
    drop(folder, "a.parquet", following)
    session = StreamSession(installed.warehouse, registry, installed.settings, SMALL)
    assert drain(session, folder, clock=now).accepted == following.height

    replays = replay_decisions(installed.warehouse, registry, following["transaction_id"].to_list(), channel="stream")

    assert [each.differences for each in replays] == [()] * following.height
    assert {"collecting", "below_screening_threshold"} < {each.recorded["reason"] for each in replays}
    assert any(version.startswith("fraud-ensemble/") for each in replays for version in each.model_versions)
    assert "Nothing was changed" in installed.invoke("audit")


def test_what_cannot_be_made_again_says_why(installed: Installation, registry: ModelRegistry) -> None:
    for arguments, message in (
        (("replay", "nobody"), "'nobody' has no decision in the channel batch"),
        (("audit", "--expect-head", "abc"), "is no head of the chain"),
    ):
        output = installed.invoke(*arguments, succeeds=False)
        assert message in output
        assert "Traceback" not in output
    some = logged(installed, "channel = 'batch'")["transaction_id"][0]
    with pytest.raises(MissingData, match="no revision 9"):
        replay_decisions(installed.warehouse, registry, [some], revision=9)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "rules.yaml",
            "rules: [{name: a, decision: block, when: {amount: 1}}]",
            "rule 'a', field expires: is required",
        ),
        ("rules.yaml", "rules:\n  - {name: a, decision: block", "rules.yaml is no valid YAML: "),
        (
            "rules.yaml",
            "rules: [{name: a, decision: stop, expires: 2026-01-01, when: {amount: 1}}]",
            "field decision: ",
        ),
        ("policies.yaml", "policies: {own: {review_threshold: 1.5}}", "policy 'own', field review_threshold: "),
        ("policies.yaml", "policies: {}", "no policy is named 'own'; choose one of balanced, "),
    ],
)
def test_a_run_with_a_broken_file_stops_before_anything_is_written(
    installed: Installation, file: str, content: str, message: str
) -> None:
    path = installed.data_dir / file
    kept, before = path.read_text(), warehouse_content(installed.warehouse)
    path.write_text(content)
    span = ("--from", DAY.isoformat(), "--to", DAY.isoformat())
    output = installed.invoke("run", *span, succeeds=False, FRAUD_POLICY="own")
    path.write_text(kept)
    assert message in output.replace("\n", "")
    assert "no policy" in message or str(path) in output.replace("\n", "")
    assert "Traceback" not in output
    assert_same_content(before, warehouse_content(installed.warehouse))


def test_an_entry_changed_in_the_copy_that_people_open_is_found_too(installed: Installation) -> None:
    installed.invoke("publish")
    assert "not as it was published" not in installed.invoke("audit")
    with Warehouse(installed.settings.published_path).connect() as connection:
        connection.update("scoring.decision_revisions", "score = 0.123", "sequence = 1")
    told = installed.invoke("audit", succeeds=False)
    assert "Nothing was changed, removed or moved" in told
    assert "✗ in the copy:" in told
    installed.invoke("publish")
    assert "not as it was published" not in installed.invoke("audit")
