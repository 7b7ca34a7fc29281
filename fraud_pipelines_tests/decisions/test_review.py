"""Reviews: the queue by what is at stake, a case with its surroundings, and verdicts that can be corrected."""

from datetime import UTC, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.decisions.review_case import read_case
from fraud_pipelines.decisions.review_queue import Place, place_in_queue, read_queue, recent_verdicts
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.schema import LABEL_COLUMNS
from fraud_pipelines.transactions.verdicts import store_labels
from fraud_pipelines_tests.examples import examples
from fraud_pipelines_tests.review.samples import AWKWARD, NOW, Decided, queue_warehouse, store

ORDER = ["big", "block", AWKWARD, "small", "tiny"]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return queue_warehouse(tmp_path)


def waiting(warehouse: Warehouse) -> list[str]:
    return [case.transaction_id for case in read_queue(warehouse, limit=100).cases]


def judge(warehouse: Warehouse, verdicts: dict[str, bool], source: str = "review") -> None:
    rows = [(name, fraud, source, NOW) for name, fraud in verdicts.items()]
    with warehouse.transaction() as connection:
        store_labels(connection, pl.DataFrame(rows, schema=LABEL_COLUMNS, orient="row"), now=NOW)


def labels(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read(
        "SELECT transaction_id, source, actual_fraud, reviewer, comment FROM feedback.label_history ORDER BY known_at"
    ).rows()


def test_what_is_not_judged_waits_the_greatest_expected_loss_first(warehouse: Warehouse) -> None:
    queue = read_queue(warehouse, limit=2)
    assert waiting(warehouse) == ORDER
    assert warehouse.read("SELECT transaction_id FROM scoring.review_queue").to_series().to_list() == ORDER
    assert [case.transaction_id for case in queue.cases] == ORDER[:2]
    assert queue.waiting == 5
    # Nothing has been judged yet, so a score stands for the probability.
    assert queue.cases[0].expected_loss == pytest.approx(900 * 0.7)
    assert queue.expected_loss == pytest.approx(900 * 0.7 + 300 * 0.95 + 80 * 0.55 + 20 * 0.6 + 1 * 0.6)


def test_a_transaction_that_two_channels_flagged_waits_once_as_the_stricter_has_it(warehouse: Warehouse) -> None:
    store(warehouse, [Decided("small", score=0.52, decision="block", channel="stream")])
    store(warehouse, [Decided("t03", amount=9999, score=0.9, decision="review", channel="stream", days_ago=3.75)])
    rows = warehouse.read("SELECT transaction_id, channel, decision, score FROM scoring.review_queue").rows()
    assert sorted(row[0] for row in rows) == sorted([*ORDER, "t03"])
    assert ("small", "stream", "block", 0.52) in rows
    assert ("t03", "stream", "review", 0.9) in rows


def test_the_probability_of_fraud_is_learned_from_the_alerts_that_were_judged(warehouse: Warehouse) -> None:
    judged = [Decided(f"j{n:02}", 1.0, 0.58, "review", days_ago=5) for n in range(80)]
    store(warehouse, judged)
    judge(warehouse, {row.transaction_id: n % 4 == 0 for n, row in enumerate(judged)})
    of = {case.transaction_id: case for case in read_queue(warehouse, limit=100).cases}
    # Its own twentieth: 20 of 80, and the scaled score with the weight of 20. Elsewhere the scaled score.
    scale = (20 + 20) / (80 * 0.58 + 20)
    assert of[AWKWARD].fraud_probability == pytest.approx((20 + 20 * 0.55 * scale) / (80 + 20))
    assert of["big"].fraud_probability == pytest.approx(0.7 * scale)


def test_an_alert_of_two_channels_is_learned_from_once_by_its_higher_score(warehouse: Warehouse) -> None:
    store(warehouse, [Decided("both", 1.0, 0.52, "review", days_ago=5)])
    store(warehouse, [Decided("both", 1.0, 0.91, "review", days_ago=5, channel="stream")])
    judge(warehouse, {"both": True})
    judged = warehouse.read("SELECT score_band, frauds FROM scoring.alert_precision WHERE judged > 0").rows()
    assert judged == [(int(0.91 * 20), 1)]


def test_chargebacks_alone_do_not_make_every_alert_look_like_fraud(warehouse: Warehouse) -> None:
    store(warehouse, [Decided(f"j{n:02}", 1.0, 0.58, "review", days_ago=5) for n in range(30)])
    before = {case.transaction_id: case.expected_loss for case in read_queue(warehouse, limit=100).cases}
    judge(warehouse, {f"j{n:02}": True for n in range(30)}, source="chargeback")
    after = {case.transaction_id: case.expected_loss for case in read_queue(warehouse, limit=100).cases}
    assert after == {name: before[name] for name in ORDER}


@examples(5)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e6), st.booleans()), max_size=12))
def test_a_probability_is_one_whatever_was_judged(
    tmp_path_factory: pytest.TempPathFactory, alerts: list[tuple[float, float, bool]]
) -> None:
    warehouse = queue_warehouse(tmp_path_factory.mktemp("queue"))
    if alerts:
        store(warehouse, [Decided(f"a{n}", amount, score, "block") for n, (score, amount, _) in enumerate(alerts)])
    judge(warehouse, {f"a{2 * n}": fraud for n, (_, _, fraud) in enumerate(alerts[::2])})
    cases = read_queue(warehouse, limit=100).cases
    assert len({case.transaction_id for case in cases}) == len(cases) == 5 + len(alerts) - len(alerts[::2])
    assert all(case.fraud_probability is not None and 0 <= case.fraud_probability <= 1 for case in cases)
    losses = [case.expected_loss or 0.0 for case in cases]
    assert losses == sorted(losses, reverse=True)


def test_a_verdict_leaves_the_queue_and_is_kept_with_who_gave_it(warehouse: Warehouse) -> None:
    given = record_verdict(
        warehouse, "big", actual_fraud=True, now=NOW, reviewer=" anna ", comment="stolen card\r\n  called the customer"
    )
    assert (given.outcome, given.known_at, given.late_days) == ("recorded", NOW, ())
    assert waiting(warehouse) == ORDER[1:]
    assert labels(warehouse) == [("big", "review", True, "anna", "stolen card called the customer")]
    assert [each.transaction_id for each in recent_verdicts(warehouse, limit=5)] == ["big"]


def test_the_same_verdict_twice_counts_once(warehouse: Warehouse) -> None:
    record_verdict(warehouse, "big", actual_fraud=True, now=NOW)
    again = record_verdict(warehouse, "big", actual_fraud=True, now=NOW + timedelta(minutes=1), seen=0)
    assert (again.outcome, again.known_at) == ("repeated", NOW)
    assert len(labels(warehouse)) == 1


def test_a_reviewer_corrects_a_verdict_and_the_past_stays_as_it_was_known(warehouse: Warehouse) -> None:
    early, late = NOW - timedelta(hours=20), NOW - timedelta(hours=2)
    record_verdict(warehouse, "big", actual_fraud=True, now=NOW, known_at=early)
    corrected = record_verdict(warehouse, "big", actual_fraud=False, now=NOW, known_at=late)
    assert corrected.outcome == "corrected"
    verdict = "SELECT actual_fraud FROM feedback.labels_before($instant::TIMESTAMP) WHERE transaction_id = 'big'"
    assert warehouse.read(verdict, {"instant": late}).item() is True
    assert warehouse.read(verdict, {"instant": NOW}).item() is False
    assert warehouse.read("SELECT actual_fraud FROM feedback.labels").item() is False
    assert [(label.actual_fraud, label.in_force) for label in read_case(warehouse, "big").labels] == [
        (True, False),
        (False, True),
    ]


def test_a_chargeback_outranks_a_review_and_both_are_kept(warehouse: Warehouse) -> None:
    record_verdict(warehouse, "big", actual_fraud=True, source="chargeback", now=NOW, known_at=NOW - timedelta(hours=3))
    record_verdict(warehouse, "big", actual_fraud=False, now=NOW)
    case = read_case(warehouse, "big")
    assert case.actual_fraud is True
    assert {(label.source, label.actual_fraud) for label in case.labels} == {("review", False), ("chargeback", True)}


def test_a_verdict_given_without_having_seen_anothers_is_not_stored(warehouse: Warehouse) -> None:
    record_verdict(warehouse, "big", actual_fraud=True, now=NOW - timedelta(minutes=1), reviewer="anna", seen=0)
    late = record_verdict(warehouse, "big", actual_fraud=False, now=NOW, reviewer="ben", seen=0)
    assert late.outcome == "outdated"
    assert [row[2:4] for row in labels(warehouse)] == [(True, "anna")]
    assert record_verdict(warehouse, "big", actual_fraud=False, now=NOW, seen=1).outcome == "corrected"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"transaction_id": "nobody"}, "No transaction is stored under the id 'nobody'"),
        ({"known_at": NOW - timedelta(days=9)}, "its label can't have been known before"),
        ({"known_at": NOW + timedelta(seconds=121)}, "lies in the future"),
        ({"source": "police"}, "'police' is none of review, chargeback"),
        ({"comment": "x" * 1001}, "the comment has 1,001 characters"),
        ({"reviewer": "a\x1b[2Jb"}, "the reviewer has control characters"),
    ],
)
def test_a_verdict_that_can_not_be_right_is_refused_and_nothing_is_stored(
    warehouse: Warehouse, changed: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {"transaction_id": "big", "actual_fraud": True, "now": NOW} | changed
    with pytest.raises(InvalidInput, match=message):
        record_verdict(warehouse, **arguments)  # type: ignore[arg-type]
    assert labels(warehouse) == []
    assert waiting(warehouse) == ORDER


def test_another_verdict_that_was_not_known_later_is_refused(warehouse: Warehouse) -> None:
    record_verdict(warehouse, "big", actual_fraud=True, now=NOW)
    with pytest.raises(InvalidInput, match="a correction must be known later"):
        record_verdict(warehouse, "big", actual_fraud=False, now=NOW, known_at=NOW - timedelta(hours=1))
    assert len(labels(warehouse)) == 1


def test_a_verdict_for_a_processed_day_marks_it(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE features.transaction_features AS SELECT ?::DATE AS event_date", [NOW.date()])
    assert record_verdict(warehouse, "big", actual_fraud=True, now=NOW).late_days == (NOW.date(),)
    assert warehouse.read("SELECT event_date, reason FROM raw.stale_days").rows() == [
        (NOW.date(), "1 label arrived late from a review")
    ]


def test_times_with_a_zone_are_taken_as_what_they_are_in_utc(warehouse: Warehouse) -> None:
    given = record_verdict(warehouse, "big", actual_fraud=True, now=NOW.replace(tzinfo=UTC))
    assert given.known_at == NOW


def test_a_case_shows_the_users_payments_around_it_and_all_that_was_said(warehouse: Warehouse) -> None:
    store(warehouse, [Decided("later", 7.0, days_ago=0.5), Decided("big", score=0.3, channel="stream")])
    case = read_case(warehouse, "big")
    payments = [payment.transaction_id for payment in case.payments]
    assert payments == [*(f"t{n:02}" for n in range(38, -1, -2)), AWKWARD, "big", "small", "later"]
    assert [payment.transaction_id for payment in case.payments if payment.is_case] == ["big"]
    assert {decided.channel: decided.decision for decided in case.decisions} == {"batch": "review", "stream": "approve"}
    assert [(score.model_name, score.channel, score.score) for score in case.scores] == [
        ("fraud-daily", "batch", 0.7),
        ("fraud-daily", "stream", 0.3),
    ]
    assert case.actual_fraud is None
    with pytest.raises(InvalidInput, match="'nobody'"):
        read_case(warehouse, "nobody")


@pytest.mark.parametrize(
    ("reason", "channel", "versions", "decided_by"),
    [
        ("flagged_for_review", "batch", ["fraud-daily/3", "fraud-ensemble/4"], "fraud-ensemble/4"),
        ("ensemble_score_missing", "batch", ["fraud-daily/3"], "fraud-daily/3"),
        ("rule:stolen", "batch", ["fraud-daily/3", "fraud-ensemble/4"], "fraud-daily/3"),
        ("ensemble_score_missing", "stream", ["fraud-realtime@900"], "fraud-realtime@900"),
        ("rule:stolen", "stream", [], None),
    ],
)
def test_a_case_says_which_model_decided_and_what_had_no_part_in_it(
    warehouse: Warehouse, reason: str, channel: str, versions: list[str], decided_by: str | None
) -> None:
    codes = ["amount is 3× this customer's usual", "also: country changed"]
    made = Decided("it", 30.0, 0.7, "review", "u3", 1.0, channel, codes, reason, versions)
    store(warehouse, [made])
    [decided] = read_case(warehouse, "it").decisions
    assert decided.decided_by == decided_by
    assert (decided.reasons, decided.context) == (["amount is 3× this customer's usual"], ["country changed"])
    marked = [score.version for score in read_case(warehouse, "it").scores if score.decided]
    assert marked == (["fraud-daily/3"] if decided_by == "fraud-daily/3" else [])
    [queued] = [case for case in read_queue(warehouse, limit=10).cases if case.transaction_id == "it"]
    assert queued.decided_by == (None if reason.startswith("rule:") else decided_by)


def test_a_case_of_a_busy_user_shows_the_nearest_payments(warehouse: Warehouse) -> None:
    store(warehouse, [Decided(f"x{n:03}", user_id="busy", days_ago=1 - n / 200) for n in range(150)])
    shown = [payment.transaction_id for payment in read_case(warehouse, "x100").payments]
    assert shown == [f"x{n:03}" for n in range(61, 111)]


def test_whose_turn_it_is(warehouse: Warehouse) -> None:
    def turn(name: str) -> tuple[str | None, str | None]:
        place = place_in_queue(warehouse, name)
        return place.before, place.after

    assert turn("big") == (None, "block")
    assert turn("small") == (AWKWARD, "tiny")
    assert turn("tiny") == ("small", None)
    assert place_in_queue(warehouse, "big").expected_loss == pytest.approx(630)
    assert place_in_queue(warehouse, "t03") == Place(after="big")
    judge(warehouse, dict.fromkeys(ORDER, False))
    assert place_in_queue(warehouse, "big") == Place()


def test_a_rerun_of_a_day_still_knows_the_verdict_that_was_corrected_since(warehouse: Warehouse) -> None:
    from fraud_pipelines.evaluation.outcomes import outcomes_learned_on

    early = NOW - timedelta(days=1)
    record_verdict(warehouse, "big", actual_fraud=True, now=early)
    learned = outcomes_learned_on(warehouse, early.date())
    record_verdict(warehouse, "big", actual_fraud=False, now=early + timedelta(hours=25))
    assert outcomes_learned_on(warehouse, early.date()).equals(learned)
    assert learned["correct"].to_list() == [True]
