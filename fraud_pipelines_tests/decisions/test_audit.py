"""The audit: what it finds of what somebody did to the log, and what only a head kept elsewhere shows."""

import hashlib
import struct
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fraud_pipelines.bootstrap import open_warehouse
from fraud_pipelines.decisions import audit as audit_module
from fraud_pipelines.decisions.audit import Audit, audit_decisions
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA, GENESIS, Chain, Link, canonical, chained, hashes
from fraud_pipelines.decisions.log import CONTENT, append_decisions, record_decisions
from fraud_pipelines.decisions.policies import initial_thresholds, policy_named
from fraud_pipelines.decisions.sealing import PLACE, append_files
from fraud_pipelines.engines.in_process import InProcess
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import insert, select
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.row_files import RowFiles, write_rows
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.lakes import copied

DAY = date(2026, 10, 1)
NOW = datetime(2026, 10, 2, 0, 31, 7, 123456)
ENGINE = DecisionEngine(policy_named("balanced"), initial_thresholds(policy_named("balanced"), DAY))


def decided(day: date, decisions: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "transaction_id": list(decisions),
            "event_date": day,
            "decision": list(decisions.values()),
            "score": [position / 7 for position in range(len(decisions))],
            "reason": "flagged_for_review",
            "reason_codes": [["amount is 14× this customer's usual"]] * len(decisions),
            "policy": "balanced",
            "review_threshold": 0.5,
            "block_threshold": 0.8,
            "model_versions": [["fraud-daily/1", "fraud-ensemble/1"]] * len(decisions),
        }
    )


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 11 entries: two days, a rerun that revises and withdraws, and a stream."""
    path = tmp_path_factory.mktemp("log") / "fraud.duckdb"
    warehouse = warehouse_at(path)
    warehouse.initialise()
    for offset, (day, decisions) in enumerate(
        (
            (DAY, {"a": "approve", "b": "review", "c": "block"}),
            (DAY + timedelta(days=1), {"d": "approve", "e": "approve"}),
            (DAY, {"a": "approve", "b": "block", "f": "review"}),
        )
    ):
        record_decisions(
            warehouse,
            decided(day, decisions),
            engine=ENGINE,
            day=day,
            channel="batch",
            now=NOW + timedelta(hours=offset),
        )
    with warehouse.transaction() as connection:
        append_decisions(connection, decided(DAY, {"a": "review"}), engine=ENGINE, channel="stream", now=NOW)
        append_decisions(connection, decided(DAY, {"b": "block"}), engine=ENGINE, channel="stream", now=NOW)
    return path


@pytest.fixture(scope="module")
def earlier(intact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log as a release before seals has written it: one chain over everything."""
    path = copied(intact, tmp_path_factory.mktemp("earlier") / "fraud.duckdb")
    written_by_an_earlier_release(warehouse_at(path))
    return path


@pytest.fixture(params=["sealed", "earlier"])
def warehouse(request: pytest.FixtureRequest, intact: Path, earlier: Path, tmp_path: Path) -> Warehouse:
    return warehouse_at(copied(intact if request.param == "sealed" else earlier, tmp_path / "fraud.duckdb"))


@pytest.fixture
def sealed(intact: Path, tmp_path: Path) -> Warehouse:
    return warehouse_at(copied(intact, tmp_path / "fraud.duckdb"))


def written_by_an_earlier_release(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        entries = select(connection, "FROM scoring.decision_revisions ORDER BY sequence")
        of_entry = list(hashes(GENESIS, entries))
        chain = entries.select(*ENTRY_SCHEMA.names(), "sequence").with_columns(
            pl.Series("previous_hash", [GENESIS, *of_entry[:-1]]), pl.Series("entry_hash", of_entry)
        )
        noted = select(connection, "FROM scoring.decision_chain ORDER BY sequence")
        noted = noted.with_columns(
            pl.Series("head_hash", [of_entry[number - 1] for number in noted["sequence"]]),
            pl.lit(None, dtype=pl.String).alias("previous_root"),
            pl.lit(None, dtype=pl.List(pl.String)).alias("heads"),
        )
        for table, rows in (("decision_revisions", chain), ("decision_chain", noted)):
            connection.delete(f"scoring.{table}", "true")
            insert(connection, f"scoring.{table}", rows)


def tamper(warehouse: Warehouse, *statements: str) -> Audit:
    with warehouse.transaction() as connection:
        for statement in statements:
            connection.execute(statement)
    return audit_decisions(warehouse)


def test_an_untouched_log_verifies_and_tells_its_head(warehouse: Warehouse) -> None:
    audit = audit_decisions(warehouse)
    last = warehouse.read("SELECT head_hash FROM scoring.decision_chain ORDER BY sequence DESC LIMIT 1").item()

    assert audit.findings == ()
    assert (audit.entries, audit.decisions) == (10, 7)
    assert str(audit.head) == f"10:{last}"
    for head in (last, str(audit.head), last.upper(), f"0:{GENESIS}"):
        assert audit_decisions(warehouse, expected_head=head).findings == ()


def test_an_empty_log_verifies(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    assert audit_decisions(warehouse).findings == ()
    assert str(audit_decisions(warehouse).head) == f"0:{GENESIS}"


@pytest.mark.parametrize("sequence", [1, 5, 10])
@pytest.mark.parametrize(
    "change",
    [
        "decision = 'approve', reason = 'x'",
        "score = score + 1e-16 + 1e-12",
        "reason_codes = ['nothing to see']",
        "reason_codes = []",
        "decided_at = decided_at + INTERVAL 1 MICROSECOND",
        "policy_hash = NULL",
        "audited = true",
        "audit_probability = 0.5",
        "transaction_id = 'z'",
    ],
)
def test_a_changed_entry_is_found_by_its_number(warehouse: Warehouse, sequence: int, change: str) -> None:
    audit = tamper(warehouse, f"UPDATE scoring.decision_revisions SET {change} WHERE sequence = {sequence}")
    assert any(finding.startswith(f"entry {sequence} (") and "was changed" in finding for finding in audit.findings), (
        audit.findings
    )


@pytest.mark.parametrize("sequence", [1, 4, 9])
def test_a_removed_entry_leaves_a_gap(warehouse: Warehouse, sequence: int) -> None:
    audit = tamper(warehouse, f"DELETE FROM scoring.decision_revisions WHERE sequence = {sequence}")
    assert any(finding.startswith(f"entry {sequence} is missing from the log") for finding in audit.findings)


def test_a_removed_entry_is_found_even_where_the_others_were_renumbered(warehouse: Warehouse) -> None:
    audit = tamper(
        warehouse,
        "DELETE FROM scoring.decision_revisions WHERE sequence = 4",
        "UPDATE scoring.decision_revisions SET sequence = sequence - 1 WHERE sequence > 4",
    )
    assert any(
        finding.startswith("entry 4 (") and "was written after was changed or removed" in finding
        for finding in audit.findings
    ), audit.findings


@pytest.mark.parametrize("last", [1, 2, 10])
def test_entries_removed_at_the_end_are_found_by_the_heads_noted(warehouse: Warehouse, last: int) -> None:
    audit = tamper(warehouse, f"DELETE FROM scoring.decision_revisions WHERE sequence > 10 - {last}")
    assert f"the log ends at entry {10 - last}, and once had 10: the last {last} were removed" in audit.findings


def test_an_end_removed_with_all_that_notes_it_shows_only_by_a_head_kept_elsewhere(warehouse: Warehouse) -> None:
    head = str(audit_decisions(warehouse).head)
    audit = tamper(
        warehouse,
        "DELETE FROM scoring.decision_revisions WHERE sequence = 10",
        "DELETE FROM scoring.decision_chain WHERE sequence = 10",
        "DELETE FROM scoring.decisions WHERE transaction_id = 'b' AND channel = 'stream'",
    )
    assert audit.findings == ()
    assert audit_decisions(warehouse, expected_head=head).findings == (
        f"the expected head {head} is nowhere in the chain: the log was written anew",
    )


def test_entries_in_another_order_are_found(warehouse: Warehouse) -> None:
    audit = tamper(
        warehouse,
        "UPDATE scoring.decision_revisions SET sequence = 11 - sequence WHERE sequence IN (3, 8)",
    )
    assert any("entry 3 (" in finding and "one of them was moved" in finding for finding in audit.findings)
    assert any("entry 8 (" in finding and "one of them was moved" in finding for finding in audit.findings)
    assert not any("was changed" in finding for finding in audit.findings if "written after" not in finding)


def test_a_forged_entry_is_found_beyond_the_noted_head(warehouse: Warehouse) -> None:
    forged = warehouse.read("SELECT * FROM scoring.decision_revisions WHERE sequence = 10").with_columns(
        transaction_id=pl.lit("z")
    )
    previous = warehouse.read("SELECT entry_hash FROM scoring.decision_revisions WHERE sequence = 10").item()
    (made,) = hashes(previous, forged)
    with warehouse.transaction() as connection:
        insert(
            connection,
            "scoring.decision_revisions",
            forged.with_columns(sequence=pl.lit(11), previous_hash=pl.lit(previous), entry_hash=pl.lit(made)),
        )
    assert "the log goes on to entry 11, beyond 10, the last one noted" in audit_decisions(warehouse).findings


def test_an_entry_that_changes_places_with_one_of_another_chain_is_found(sealed: Warehouse) -> None:
    found = tamper(
        sealed, "UPDATE scoring.decision_revisions SET sequence = 13 - sequence WHERE sequence IN (4, 9)"
    ).findings
    for sequence in (4, 9):
        assert any(each.startswith(f"entry {sequence} (") and "under no seal" in each for each in found)


@pytest.mark.parametrize("change", ["channel = 'stream'", "event_date = '2026-10-02'", "shard = 1", "shard = NULL"])
def test_an_entry_that_is_moved_into_another_chain_is_found(sealed: Warehouse, change: str) -> None:
    audit = tamper(sealed, f"UPDATE scoring.decision_revisions SET {change} WHERE sequence = 2")
    assert "entry 2 is missing from the log, in shard 0 of 2026-10-01 (batch)" in audit.findings
    assert any(finding.startswith("entry 2 (") and "stands under no seal" in finding for finding in audit.findings)


def test_a_removed_day_is_found_by_its_name(sealed: Warehouse) -> None:
    audit = tamper(
        sealed,
        "DELETE FROM scoring.decision_revisions WHERE event_date = '2026-10-02'",
        "DELETE FROM scoring.decisions WHERE event_date = '2026-10-02'",
    )
    assert audit.findings == ("the day 2026-10-02 (batch) is missing from the log: it had 2 entries",)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM scoring.decision_chain WHERE sequence = 5", "the seal of the entries 4 to 5 is missing"),
        (
            "UPDATE scoring.decision_chain SET heads = list_reverse(heads) || ['x'] WHERE sequence = 5",
            "the seal of the entries 4 to 5 (batch, 2026-10-02 01:31:07) was changed",
        ),
        (
            "UPDATE scoring.decision_chain SET appended_at = appended_at + INTERVAL 1 SECOND WHERE sequence = 5",
            "the seal of the entries 4 to 5 (batch, 2026-10-02 01:31:08) was changed",
        ),
        (
            "UPDATE scoring.decision_chain SET head_hash = repeat('a', 64) WHERE sequence = 5",
            "the seal of the entries 6 to 8 (batch, 2026-10-02 02:31:07) does not follow the seal before it",
        ),
    ],
)
def test_a_seal_that_was_changed_or_removed_is_found(sealed: Warehouse, statement: str, fault: str) -> None:
    audit = tamper(sealed, statement)
    assert any(finding.startswith(fault) for finding in audit.findings), audit.findings


def test_a_day_that_was_removed_with_its_seal_is_found(sealed: Warehouse) -> None:
    audit = tamper(
        sealed,
        "DELETE FROM scoring.decision_revisions WHERE event_date = '2026-10-02'",
        "DELETE FROM scoring.decisions WHERE event_date = '2026-10-02'",
        "DELETE FROM scoring.decision_chain WHERE sequence = 5",
    )
    assert audit.findings == (
        "the seal of the entries 4 to 5 is missing",
        "the seal of the entries 6 to 8 (batch, 2026-10-02 02:31:07) does not follow the seal before it: one of them "
        "was changed, moved, or removed",
    )


@pytest.fixture(scope="module")
def adopted(earlier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of an earlier release that a day of two shards was appended to, the first of them in two goes."""
    folder = tmp_path_factory.mktemp("adopted")
    path = copied(earlier, folder / "fraud.duckdb")
    warehouse = warehouse_at(path)
    later = DAY + timedelta(days=2)
    heads = {0: GENESIS, 1: GENESIS}
    goes: list[dict[int, tuple[str, ...]]] = [{0: ("g", "h"), 1: ("i", "j", "k")}, {0: ("l",)}]
    for go, shards in enumerate(goes):
        files, links = [], []
        for shard, ids in shards.items():
            rows = decided(later, dict.fromkeys(ids, "approve")).with_columns(
                channel=pl.lit("batch"), revision=1, action=pl.lit("decided"), decided_at=NOW, shard=pl.lit(shard)
            )
            rows = rows.with_columns(pl.lit(None).alias(name) for name in ENTRY_SCHEMA if name not in rows.columns)
            entries = chained(rows.select("shard", *ENTRY_SCHEMA.names()), heads[shard])
            heads[shard] = entries["entry_hash"][-1]
            links.append(Link(Chain("batch", later, shard), entries.height, heads[shard]))
            named = entries.with_columns(pl.int_range(pl.len()).alias(PLACE))
            files.append(write_rows(named, folder / f"{go}-{shard}.parquet"))
            with warehouse.transaction() as connection:
                insert(connection, "scoring.decisions", rows.select(*CONTENT, "channel", "decided_at"))
        with warehouse.transaction() as connection:
            append_files(connection, RowFiles.joined(files[::-1]), links, channel="batch", now=NOW)
    return path


@pytest.mark.parametrize("at_once", [2, 200_000])
@pytest.mark.parametrize("shards", [1, 3])
def test_an_adopted_log_verifies_however_it_is_read(
    adopted: Path, shards: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_CHUNK", at_once)
    monkeypatch.setattr(audit_module, "_CHUNK_OF_SHARD", at_once)
    warehouse = warehouse_at(copied(adopted, tmp_path / "fraud.duckdb"))
    engine = InProcess(shards, tmp_path / "work")
    head_before = warehouse.read("SELECT head_hash FROM scoring.decision_chain WHERE sequence = 10").item()
    audit = audit_decisions(warehouse, engine=engine, expected_head=f"10:{head_before}")
    assert (audit.entries, audit.decisions, audit.findings) == (16, 13, ())

    changes = {
        "UPDATE scoring.decision_revisions SET reason = 'x' WHERE sequence IN (2, 15)": (
            "entry 2 (transaction b, batch, revision 1) was changed: its content no longer has its hash",
            "entry 15 (transaction k, batch, revision 1) was changed: its content no longer has its hash",
        ),
        "DELETE FROM scoring.decision_revisions WHERE sequence = 12": (
            "entry 12 is missing from the log, in shard 0 of 2026-10-03 (batch)",
        ),
        "DELETE FROM scoring.decision_revisions WHERE shard = 1": (
            "shard 1 of 2026-10-03 (batch) is missing from the log: it had the entries 13 to 15",
        ),
        "DELETE FROM scoring.decision_revisions WHERE event_date = '2026-10-03'": (
            "the day 2026-10-03 (batch) is missing from the log: it had 6 entries",
        ),
        "DELETE FROM scoring.decision_chain WHERE sequence = 10": ("the seal of the entries 10 to 10 is missing",),
    }
    for number, (statement, faults) in enumerate(changes.items()):
        other = warehouse_at(copied(adopted, tmp_path / f"{number}.duckdb"))
        with other.transaction() as connection:
            connection.execute(statement)
        found = audit_decisions(other, engine=engine).findings
        assert all(fault in found for fault in faults), found


def test_a_shard_that_was_written_anew_is_found(adopted: Path, tmp_path: Path) -> None:
    warehouse = warehouse_at(copied(adopted, tmp_path / "fraud.duckdb"))
    with warehouse.transaction() as connection:
        rows = select(connection, "FROM scoring.decision_revisions WHERE shard = 1 ORDER BY sequence")
        forged = chained(rows.with_columns(decision=pl.lit("block")).drop("previous_hash", "entry_hash"), GENESIS)
        connection.delete("scoring.decision_revisions", "shard = 1")
        insert(connection, "scoring.decision_revisions", forged)
    assert (
        "entry 15 (transaction k, batch, revision 1) is not the one noted when it was appended"
        in audit_decisions(warehouse).findings
    )


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE scoring.decisions SET decision = 'approve' WHERE transaction_id = 'f'", "f (batch) is another in"),
        ("DELETE FROM scoring.decisions WHERE transaction_id = 'd'", "d (batch) is in the log, and not in"),
        (
            "INSERT INTO scoring.decisions SELECT * REPLACE ('y' AS transaction_id) FROM scoring.decisions LIMIT 1",
            "y (batch) is in scoring.decisions, and no entry",
        ),
        (
            "INSERT INTO scoring.decisions FROM scoring.decisions WHERE transaction_id = 'e'",
            "e (batch) stands more than once",
        ),
    ],
)
def test_a_decision_in_force_that_does_not_follow_from_the_log_is_found(
    warehouse: Warehouse, statement: str, fault: str
) -> None:
    (finding,) = tamper(warehouse, statement).findings
    assert fault in finding


def test_a_changed_or_lost_policy_is_found(warehouse: Warehouse) -> None:
    changed = tamper(
        warehouse,
        "UPDATE scoring.policy_versions SET content = replace(content, '0.8', '0.9') WHERE kind = 'policy'",
        "DELETE FROM scoring.policy_versions WHERE kind = 'rules'",
    )
    policy, _, rules = ENGINE.versions
    assert changed.findings == (
        f"the policy {policy.hash[:12]} was changed: its text no longer has its hash",
        f"the rules {rules.hash[:12]}, which decided, is missing from scoring.policy_versions",
    )


def test_many_findings_of_a_kind_are_counted(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    many = decided(DAY, {f"t{n:03}": "review" for n in range(100)}).with_columns(score=pl.lit(0.5))
    record_decisions(warehouse, many, engine=ENGINE, day=DAY, channel="batch", now=NOW)
    audit = tamper(warehouse, "UPDATE scoring.decisions SET decision = 'approve'")
    assert len(audit.findings) == 21
    assert audit.findings[-1] == "… and 80 more of this kind"


@pytest.mark.parametrize("head", ["", "abc", "x:" + GENESIS, GENESIS + "0", "é" * 64])
def test_what_is_no_head_is_refused(warehouse: Warehouse, head: str) -> None:
    with pytest.raises(InvalidInput, match="is no head of the chain"):
        audit_decisions(warehouse, expected_head=head)


def netstring(text: str) -> bytes:
    return str(len(text.encode())).encode() + b":" + text.encode() + b","


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none()
            | {
                pl.String(): st.text(max_size=4),
                pl.Int32(): st.integers(1, 9),
                pl.Date(): st.dates(),
                pl.Float64(): st.floats(allow_nan=False),
                pl.List(pl.String()): st.lists(st.text(max_size=3), max_size=3),
                pl.Datetime("us"): st.datetimes(),
                pl.Boolean(): st.booleans(),
            }[kind]
            for name, kind in ENTRY_SCHEMA.items()
        }
    ),
    min_size=1,
    max_size=4,
)


@examples(40, unchecked=[HealthCheck.too_slow])
@given(rows=ENTRIES)
def test_the_hash_is_what_anybody_computes_who_reads_the_description(rows: list[dict[str, object]]) -> None:
    previous, expected = GENESIS, []
    for row in rows:
        text = b""
        said = [name for name in ENTRY_SCHEMA if row[name] is not None]
        later = ["plan_version", "audited", "audit_probability"]
        while later and later[-1] not in said:
            later.pop()
        for name, value in ((name, row[name]) for name in ENTRY_SCHEMA):
            if name in ("plan_version", "audited", "audit_probability") and name not in later:
                continue
            match value:
                case None:
                    text += b"~"
                case bool():
                    text += netstring(str(value).lower())
                case float():
                    text += netstring(str(struct.unpack("<q", struct.pack("<d", value))[0]))
                case datetime():
                    text += netstring(str((value - datetime(1970, 1, 1)) // timedelta(microseconds=1)))
                case list():
                    text += netstring(b"".join(map(netstring, value)).decode())
                case _:
                    text += netstring(str(value))
        previous = hashlib.sha256(previous.encode() + text).hexdigest()
        expected.append(previous)
    assert list(hashes(GENESIS, pl.DataFrame(rows, schema=ENTRY_SCHEMA))) == expected


@examples(40, unchecked=[HealthCheck.too_slow])
@given(rows=ENTRIES)
def test_entries_that_differ_have_other_texts(rows: list[dict[str, object]]) -> None:
    texts = canonical(pl.DataFrame(rows, schema=ENTRY_SCHEMA)).to_list()
    for left, left_text in zip(rows, texts, strict=True):
        for right, right_text in zip(rows, texts, strict=True):
            # 0.0 == -0.0, and they are two patterns.
            assert (left_text == right_text) == (repr(left) == repr(right))


def test_the_decisions_of_an_earlier_release_are_taken_into_the_log_once(tmp_path: Path) -> None:
    warehouse = warehouse_at(tmp_path / "fraud.duckdb")
    warehouse.initialise()
    earlier = decided(DAY, {"a": "approve", "b": "review"}).with_columns(channel=pl.lit("batch"), decided_at=NOW)
    replaced = decided(DAY, {"b": "block", "c": "review"}).with_columns(
        channel=pl.lit("batch"),
        decided_at=pl.lit(NOW - timedelta(days=1)),
        superseded_at=pl.lit(NOW),
    )
    with warehouse.transaction() as connection:
        for table in ("decision_revisions", "decision_chain", "policy_versions"):
            connection.execute(f"DROP TABLE scoring.{table}")
        connection.execute(
            "CREATE TABLE scoring.superseded_decisions AS "
            "SELECT *, NULL::TIMESTAMP AS superseded_at FROM scoring.decisions LIMIT 0"
        )
        for table, rows in (("decisions", earlier), ("superseded_decisions", replaced)):
            insert(connection, f"scoring.{table}", rows)
    with pytest.raises(MissingData, match="no decision log yet"):
        audit_decisions(warehouse)

    for _ in range(2):
        open_warehouse(warehouse.path, plan=shipped_plan(), wait_seconds=5)
        log = warehouse.read(
            "SELECT transaction_id, revision, action, decision, decided_at FROM scoring.decision_revisions "
            "ORDER BY sequence"
        )
        assert log.rows() == [
            ("b", 1, "decided", "block", NOW - timedelta(days=1)),
            ("c", 1, "decided", "review", NOW - timedelta(days=1)),
            ("a", 1, "decided", "approve", NOW),
            ("b", 2, "decided", "review", NOW),
            ("c", 2, "withdrawn", None, NOW),
        ]
        assert audit_decisions(warehouse).findings == ()
    with warehouse.transaction() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM scoring.superseded_decisions")
