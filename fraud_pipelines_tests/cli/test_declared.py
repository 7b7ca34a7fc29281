"""A team's own columns, entities and features: imported, run for days, streamed, and compared with plain SQL."""

import json
import random
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.decisions.review_case import read_case
from fraud_pipelines.plan.compile import compile_plan, compile_text, shipped_plan
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.streaming.drain import drain
from fraud_pipelines.streaming.session import StreamSession
from fraud_pipelines_tests.conftest import Installation

DECLARATIONS = """
attributes:
  status:    {type: text, role: label}
  card_id:   {type: text, pii: true}
  latitude:  {type: number, min: -90, max: 90}
  longitude: {type: number, min: -180, max: 180}
  items:     {type: integer, min: 0}
  online:    {type: boolean}
  opened_at: {type: timestamp}
  v1:        {type: number, role: numeric, direction: both, daily: true}
entities:
  card:
    key: card_id
    aggregates:
      - {how: count, over: [1h, 24h], where: "status = 'declined'", name: card_declines}
      - {how: sum, of: amount, over: 24h}
      - {how: distinct, of: merchant_id, over: 7d, daily: true, direction: high}
      - {how: speed, of: [latitude, longitude]}
      - {how: mean, of: items, over: 5}
      - {how: max, of: amount, over: 3d, where: online}
      - {how: sum, of: amount, over: 7d, where: "kind = 'refund'", name: card_refunded}
  customer_at_merchant:
    key: [user_id, merchant_id]
    aggregates:
      - {how: days_since_first}
      - {how: count, over: 10}
features:
  amount_in_new_country: {sql: "amount * coalesce(country_changed, 0)", daily: true, description: the amount abroad}
  per_item: {sql: "amount / items"}
  is_declined: {sql: "status = 'declined'", role: binary, daily: true}
  age_days: {sql: "date_diff('day', opened_at, timestamp)"}
"""

BY_SQL = """
WITH r AS (SELECT *, row_number() OVER (ORDER BY "timestamp", transaction_id) AS n FROM raw.transactions
           WHERE kind = 'payment'),
pairs AS (
    SELECT a.transaction_id AS id, a."timestamp" AS now, b.* FROM r a JOIN r b ON a.card_id = b.card_id AND b.n <= a.n
),
card AS (
    SELECT id,
           count(*) FILTER (status = 'declined' AND "timestamp" > now - INTERVAL 1 HOUR) AS card_declines_1h,
           count(*) FILTER (status = 'declined' AND "timestamp" > now - INTERVAL 24 HOUR) AS card_declines_24h,
           sum(amount) FILTER ("timestamp" > now - INTERVAL 24 HOUR) AS card_amount_sum_24h,
           count(DISTINCT merchant_id) FILTER ("timestamp" > now - INTERVAL 7 DAY) AS card_merchant_id_distinct_7d,
           max(amount) FILTER (online AND "timestamp" > now - INTERVAL 3 DAY) AS card_amount_max_3d
    FROM pairs GROUP BY id
),
places AS (
    SELECT transaction_id AS id, latitude, longitude, "timestamp", lag(latitude) OVER w AS la,
           lag(longitude) OVER w AS lo, lag("timestamp") OVER w AS lt,
           avg(items) OVER (PARTITION BY card_id ORDER BY n ROWS 4 PRECEDING) AS card_items_mean_5
    FROM r WHERE card_id IS NOT NULL WINDOW w AS (PARTITION BY card_id ORDER BY n)
),
speeds AS (
    SELECT id, card_items_mean_5, 2 * 6371.0088 * asin(sqrt(pow(sin(radians(latitude - la) / 2), 2)
           + cos(radians(la)) * cos(radians(latitude)) * pow(sin(radians(longitude - lo) / 2), 2)))
           / (epoch_us("timestamp") - epoch_us(lt)) * 3600e6 AS card_speed
    FROM places
),
known AS (
    SELECT transaction_id AS id, row_number() OVER w AS k,
           (epoch_us("timestamp") - epoch_us(first_value("timestamp") OVER w)) / 86400e6 AS days,
           count(*) OVER (w ROWS 9 PRECEDING) AS customer_at_merchant_count_10
    FROM r WHERE merchant_id IS NOT NULL WINDOW w AS (PARTITION BY user_id, merchant_id ORDER BY n)
)
SELECT r.transaction_id, card.* EXCLUDE id,
       if(card_id IS NULL, NULL, coalesce((
           SELECT sum(b.amount) FROM raw.transactions b WHERE b.kind = 'refund' AND b.card_id = r.card_id
           AND (b."timestamp", b.transaction_id) <= (r."timestamp", r.transaction_id)
           AND b."timestamp" > r."timestamp" - INTERVAL 7 DAY), 0)) AS card_refunded,
       speeds.* EXCLUDE id, known.customer_at_merchant_count_10,
       CASE WHEN k > 1 THEN days END AS customer_at_merchant_days_since_first,
       amount / nullif(items, 0) AS per_item, CAST(status = 'declined' AS TINYINT) AS is_declined,
       date_diff('day', opened_at, "timestamp") AS age_days
FROM r LEFT JOIN card ON card.id = r.transaction_id LEFT JOIN speeds ON speeds.id = r.transaction_id
LEFT JOIN known ON known.id = r.transaction_id
"""

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=5 - k) for k in range(4)]


def payments() -> pl.DataFrame:
    dice = random.Random(5)
    rows = []
    for number in range(900):
        moment = datetime.combine(DAYS[0], time()) + timedelta(seconds=dice.randrange(4 * 86_400))
        opened = moment - timedelta(days=dice.randrange(900))
        rows.append(
            {
                "transaction_id": f"t{number:04d}",
                "user_id": f"u{dice.randrange(25)}",
                "timestamp": moment.isoformat(),
                "amount": round(dice.lognormvariate(3, 1), 2),
                "kind": "refund" if number % 9 == 5 else None,
                "merchant_id": dice.choice([None, *(f"m{k}" for k in range(9))]),
                "country": dice.choice(["DE", "FR", None]),
                "status": dice.choice(["declined", "approved", "approved", None]),
                "card_id": dice.choice([None, *(f"c{k}" for k in range(20))]),
                "latitude": dice.choice([None, *[round(dice.uniform(-80, 80), 4)] * 3]),
                "longitude": dice.choice([None, *[round(dice.uniform(-170, 170), 4)] * 3]),
                "items": dice.choice([None, 0, 1, 2, 3]),
                "online": dice.choice([True, False, None]),
                "opened_at": dice.choice([None, opened.isoformat()]),
                "v1": round(dice.gauss(0, 1), 5),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None).sort("timestamp", "transaction_id")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Three days that were imported and run, and a fourth that came by the stream."""
    folder = tmp_path_factory.mktemp("declared")
    path = folder / "fraud.yaml"
    path.write_text(DECLARATIONS)
    made = Installation(folder / "data", declarations=path)
    rows, last = payments(), DAYS[3].isoformat()
    rows.filter(pl.col("timestamp") < last).write_csv(folder / "first.csv")
    made.invoke("import", str(folder / "first.csv"))
    made.invoke("run", "--from", str(DAYS[0]), "--to", str(DAYS[2]))
    _stream(made, rows.filter(pl.col("timestamp") >= last))
    return made


def test_the_text_of_what_computed_each_day_is_kept(installation: Installation) -> None:
    warehouse = warehouse_of(installation.settings)
    plan = compile_plan(installation.declarations, label_delay_days=installation.settings.label_delay_days)
    decided = warehouse.read("SELECT DISTINCT plan_version FROM scoring.decisions")["plan_version"]
    assert decided.to_list() == [plan.version]
    assert compile_text(installation.invoke("declarations", "show", "--version", plan.version[:6])) == plan
    refused = installation.invoke("declarations", "show", "--version", "beef", succeeds=False)
    assert f"'beef'; kept are {plan.version}." in refused


def _stream(installation: Installation, rows: pl.DataFrame) -> None:
    settings = installation.settings.model_copy(update={"declarations_file": installation.declarations})
    zone = settings.landing_stream
    zone.mkdir(parents=True, exist_ok=True)
    half = rows.height // 2
    rows.head(half).write_csv(zone / "a.csv")
    lines = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows[half:].iter_rows(named=True)]
    (zone / "b.jsonl").write_text("\n".join(lines))
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    session = StreamSession(warehouse_of(settings), registry, settings)
    now = datetime.now(UTC).replace(tzinfo=None)
    report = drain(session, zone, clock=lambda: now)
    assert sum(batch.accepted for batch in report.batches) == rows.height


@pytest.mark.parametrize("table", ["features.transaction_features", "streaming.transaction_features"])
def test_every_value_is_that_of_plain_sql(installation: Installation, table: str) -> None:
    expected = installation.warehouse.read(BY_SQL)
    found = installation.warehouse.read(f"SELECT * FROM {table}").join(expected, on="transaction_id", suffix=" by SQL")
    assert found.height > 150
    for name in expected.columns[1:]:
        value, by_sql = found[name].cast(pl.Float64), found[f"{name} by SQL"].cast(pl.Float64)
        assert (value.is_null() == by_sql.is_null()).all(), name
        assert value.null_count() < value.len(), name
        assert ((value - by_sql).abs() <= 1e-9 * (by_sql.abs() + 1)).all(), name


def test_declared_columns_are_stored_with_their_types(installation: Installation) -> None:
    types = installation.warehouse.read("SELECT status, items, online, opened_at, v1 FROM raw.transactions").schema
    assert list(types.values()) == [pl.String, pl.Int64, pl.Boolean, pl.Datetime("us"), pl.Float64]


def test_a_refund_is_stored_and_folded_and_nothing_is_decided_on_it(installation: Installation) -> None:
    refunds = installation.warehouse.read("SELECT transaction_id FROM raw.transactions WHERE kind = 'refund'")
    assert refunds.height > 20
    for table in (
        "features.transaction_features",
        "streaming.transaction_features",
        "scoring.transaction_scores",
        "scoring.decisions",
        "scoring.review_queue",
    ):
        found = installation.warehouse.read(f"SELECT transaction_id FROM {table}")["transaction_id"]
        assert found.len() > 0
        assert not found.is_in(refunds["transaction_id"].implode()).any(), table
    assert installation.warehouse.read("SELECT max(card_refunded) FROM features.transaction_features").item() > 0


def test_the_daily_models_read_what_is_declared_daily(installation: Installation) -> None:
    settings = installation.settings
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    version = registry.latest_for_partition("fraud-daily", DAYS[2])
    assert version
    read = version.tags["feature_schema"].split(",")
    declared = {"v1", "card_merchant_id_distinct_7d", "amount_in_new_country", "is_declined"}
    assert declared <= {*read, *json.loads(version.tags["left_out"])}
    assert {"v1", "is_declined"} <= {*read}


def test_days_and_decisions_keep_the_version_of_the_declarations(installation: Installation) -> None:
    assert installation.declarations
    version = compile_plan(installation.declarations, label_delay_days=3).version
    assert version != shipped_plan().version
    days = installation.warehouse.read("SELECT event_date, plan_version FROM features.derived_days ORDER BY 1").rows()
    assert days == [(day, version) for day in DAYS[:3]]
    for table in ("scoring.decisions", "scoring.decision_revisions"):
        rows = installation.warehouse.read(f"SELECT channel, plan_version, count(*) FROM {table} GROUP BY ALL").rows()
        assert {(channel, of) for channel, of, _ in rows} == {("batch", version), ("stream", version)}


def test_rules_segments_and_cases_know_what_is_declared(installation: Installation, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n"
        "  - {name: shop, decision: review, expires: 2099-12-31, when: {online: false, items: {at_least: 3}}}\n"
        "  - {name: refused, decision: block, expires: 2099-12-31, "
        "when: {status: declined, card_declines_24h: {above: 3}}}\n"
    )
    policies = tmp_path / "policies.yaml"
    policies.write_text("policies: {balanced: {segments: [{name: refused, status: declined, review_threshold: 0.2}]}}")
    told = installation.invoke(
        "run",
        "--from",
        str(DAYS[2]),
        "--to",
        str(DAYS[2]),
        FRAUD_RULES_FILE=str(rules),
        FRAUD_POLICIES_FILE=str(policies),
    )
    assert "Done" in told
    rows = installation.warehouse.read(
        """
        SELECT d.reason, d.review_threshold, t.status, t.online, t.items, f.card_declines_24h
        FROM scoring.decisions d JOIN raw.transactions t USING (transaction_id)
        JOIN features.transaction_features f USING (transaction_id) WHERE d.event_date = ? AND channel = 'batch'
        """,
        [DAYS[2]],
    )
    refused = (pl.col("status") == "declined") & (pl.col("card_declines_24h") > 3)
    by_rule = rows.filter(pl.col("reason") == "rule:refused")
    assert 0 < by_rule.height == rows.filter(refused).height
    in_shop = rows.filter(~pl.col("online") & (pl.col("items") >= 3) & ~refused.fill_null(value=False))
    assert set(in_shop["reason"]) >= {"rule:shop"}
    assert set(rows.filter(pl.col("status") == "declined")["review_threshold"]) == {0.2}
    assert 0.2 not in set(rows.filter(pl.col("status") != "declined")["review_threshold"])
    case = read_case(installation.warehouse, "t0000", plan=compile_plan(installation.declarations))
    assert case.columns == ["merchant_id", "country", "status"]  # of those that ship none is told that has no value
    assert {payment.columns["status"] for payment in case.payments} >= {"declined", "approved"}
    assert {"card_id", "latitude", "opened_at"} <= {name for name, _ in case.transaction.items()}


def test_what_does_not_fit_a_declaration_is_kept_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "fraud.yaml"
    path.write_text(DECLARATIONS)
    made = Installation(tmp_path / "data", declarations=path)
    sound = payments().head(1).to_dicts()[0]
    bad: list[dict[str, object]] = [
        {"latitude": 91.0},
        {"items": "2.5"},
        {"items": "many"},
        {"items": "-3"},
        {"items": str(2**63)},
        {"online": "maybe"},
        {"opened_at": "yesterday"},
        {"v1": "inf"},
        {"status": "x" * 300},
    ]
    rows = [sound, *({**sound, "transaction_id": f"bad{k}", **change} for k, change in enumerate(bad))]
    pl.DataFrame(rows, infer_schema_length=None, strict=False, schema_overrides={"items": pl.String}).with_columns(
        pl.all().cast(pl.String)
    ).write_csv(tmp_path / "rows.csv")
    made.invoke("import", str(tmp_path / "rows.csv"), succeeds=False)
    reasons = made.warehouse.read("SELECT reason FROM raw.rejected_transactions ORDER BY row_number")["reason"]
    assert reasons.to_list() == [
        "latitude is above 90",
        "items is not a whole number",
        "items is not a whole number",
        "items is negative",
        "items is not a whole number",
        "online is none of true, yes, 1, t, y, false, no, 0, f, n",
        "opened_at is unreadable as iso8601",
        "v1 is not finite",
        "status is longer than 256 characters",
    ]
    assert made.warehouse.read("SELECT count(*) FROM raw.transactions").item() == 1


def test_a_column_keeps_the_type_it_was_first_declared_with(tmp_path: Path) -> None:
    path = tmp_path / "fraud.yaml"
    path.write_text("attributes: {note: {type: text}}")
    made = Installation(tmp_path / "data", declarations=path)
    payments().head(3).write_csv(tmp_path / "rows.csv")
    made.invoke("import", str(tmp_path / "rows.csv"))
    path.write_text("attributes: {note: {type: number}}")
    told = made.invoke("import", str(tmp_path / "rows.csv"), succeeds=False)
    assert "raw.transactions.note holds VARCHAR" in told
    assert warehouse_at(made.settings.warehouse_path).read("SELECT count(*) FROM raw.transactions").item() == 3
