"""Cases: what people do with them is refused or stored whole, nobody overwrites another, and the chain holds."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fraud_pipelines.decisions.cases.case_file import read_case_file
from fraud_pipelines.decisions.cases.erasing import erase_event, erase_name
from fraud_pipelines.decisions.cases.events import chain_findings
from fraud_pipelines.decisions.cases.export import as_html, as_json, digest_of_export, exported
from fraud_pipelines.decisions.cases.policy import CasePolicy
from fraud_pipelines.decisions.cases.queue import QueuedCase, check_case_column, read_case_queue, read_closed_cases
from fraud_pipelines.decisions.cases.work import CaseDesk, CaseTaken, Person
from fraud_pipelines.decisions.entity_lists import add_entry
from fraud_pipelines.decisions.policies import Policy, policy_named
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.forgetting.person import Person as Forgettable
from fraud_pipelines.forgetting.tables import forget_in_tables
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.storage.connection import create_table, insert
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.review.samples import AWKWARD, NOW, Decided, queue_warehouse, store

ANNA, BEN = Person("anna", "typed"), Person("Ben", "login")
CASES = CasePolicy()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return queue_warehouse(tmp_path)


def queue(
    warehouse: Warehouse,
    cases: CasePolicy = CASES,
    *,
    shown: str = "open",
    tag: str = "",
    person: str = "",
    blind: bool = False,
) -> list[QueuedCase]:
    found, _, _ = read_case_queue(warehouse, cases, now=NOW, limit=50, shown=shown, tag=tag, person=person, blind=blind)
    return found


def id_of(warehouse: Warehouse, value: str, cases: CasePolicy = CASES) -> str:
    [found] = [
        each.case_id
        for shown in ("open", "waiting")
        for each in queue(warehouse, cases, shown=shown)
        if each.value == value
    ]
    return str(found)


def events(warehouse: Warehouse) -> list[tuple[str, str]]:
    return warehouse.read("SELECT action, author FROM feedback.case_events ORDER BY sequence").rows()


def labels(warehouse: Warehouse) -> dict[str, bool]:
    return dict(warehouse.read("SELECT transaction_id, actual_fraud FROM feedback.labels").iter_rows())


def findings(warehouse: Warehouse) -> list[str]:
    with warehouse.connect(read_only=True) as connection:
        return chain_findings(connection)[2]


def test_the_queue_has_a_case_a_customer_by_what_can_be_stopped_and_tells_what_is_not_reached(
    warehouse: Warehouse,
) -> None:
    cases = CasePolicy(day_minutes=8)
    [first, second], number, workload = read_case_queue(warehouse, cases, now=NOW, limit=9)
    assert number == 2
    assert (first.value, first.payments, first.waiting_transactions) == ("u1", 3, ["big", AWKWARD, "small"])
    assert first.expected_loss == first.stoppable_loss == pytest.approx(900 * 0.7 + 80 * 0.55 + 20 * 0.6)
    # What was blocked is stopped already.
    assert (second.value, second.blocked) == ("u2", 1)
    assert second.stoppable_loss == pytest.approx(0.6)
    assert (first.severity, first.due_at) == ("high", NOW + timedelta(hours=4))
    assert (second.severity, second.due_at) == ("medium", NOW + timedelta(hours=24))
    assert (first.minutes, second.minutes, first.reached_today, second.reached_today) == (7, 6, True, False)
    assert (workload.cases, workload.payments, workload.minutes, workload.unreached_cases) == (2, 5, 13, 1)
    assert "Not reached today: 1 case with 2 payments" in workload.in_words
    assert read_case_queue(warehouse, CASES, now=NOW, limit=9)[2].in_words == ""
    # The loss of payments that are too old can't be stopped.
    assert queue(warehouse, CasePolicy(stop_hours=25))[0].stoppable_loss == pytest.approx(12)
    # A minute is better spent where less has to be looked at.
    store(warehouse, [Decided(f"many{n}", 1.0, 0.6, "review", user_id="u9") for n in range(9)])
    assert [each.value for each in queue(warehouse)] == ["u1", "u9", "u2"]


def test_minutes_spent_today_are_no_longer_there(warehouse: Warehouse) -> None:
    cases = CasePolicy(day_minutes=13)
    assert "All of it" in read_case_queue(warehouse, cases, now=NOW, limit=1)[2].in_words
    record_verdict(warehouse, "t00", actual_fraud=False, reviewer="anna", now=NOW)
    _, _, workload = read_case_queue(warehouse, cases, now=NOW, limit=1)
    assert (workload.spent, workload.unreached_cases) == (5, 1)
    CaseDesk(warehouse, cases).judge(id_of(warehouse, "u1"), ANNA, "fraud", now=NOW)
    assert read_case_queue(warehouse, cases, now=NOW, limit=1)[2].spent == 12


def test_blind_nothing_tells_what_was_drawn(warehouse: Warehouse) -> None:
    store(warehouse, [Decided("drawn", 700.0, 0.01, user_id="u7", audited=True)])
    [drawn] = [each for each in queue(warehouse, blind=True) if each.value == "u7"]
    assert (drawn.expected_loss, drawn.stoppable_loss, drawn.severity) == (None, None, "high")
    found = read_case_file(warehouse, drawn.case_id, CASES, now=NOW, blind=True)
    assert [each["decision"] for each in found.payments[0].stored["decisions"]] == ["review"]
    CaseDesk(warehouse, CASES, blind=True).judge(drawn.case_id, ANNA, "legitimate", now=NOW)
    evidence = warehouse.read("SELECT evidence FROM feedback.case_events").item()
    assert '"audited": true' not in evidence


def test_a_policy_names_whom_cases_are_about(warehouse: Warehouse) -> None:
    store(
        warehouse,
        [
            Decided("a", 5, 0.6, "review", user_id="x", device_fingerprint="d'1"),
            Decided("b", 5, 0.6, "review", user_id="y", device_fingerprint="d'1"),
            Decided("c", 5, 0.6, "review", user_id="y"),
        ],
    )
    cases = CasePolicy(by="device_fingerprint")
    check_case_column(cases, shipped_plan())
    found = {(each.column_name, each.value): each.payments for each in queue(warehouse, cases)}
    assert found[("device_fingerprint", "d'1")] == 2
    assert found[("user_id", "y")] == 1
    CaseDesk(warehouse, cases).judge(id_of(warehouse, "d'1", cases), ANNA, "fraud", now=NOW)
    assert labels(warehouse) == {"a": True, "b": True}
    with pytest.raises(InvalidInput, match=r"cases\.by"):
        check_case_column(CasePolicy(by="amount"), shipped_plan())


def test_two_people_never_work_on_one_case(warehouse: Warehouse) -> None:
    desk = CaseDesk(warehouse, CASES)
    case_id = desk.claim_next(ANNA, now=NOW)
    other = desk.claim_next(BEN, now=NOW)
    assert case_id == id_of(warehouse, "u1")
    assert other == id_of(warehouse, "u2")
    assert desk.claim_next(Person("cleo"), now=NOW) is None
    for refused in (
        lambda: desk.claim(case_id, BEN, now=NOW),
        lambda: desk.judge(case_id, BEN, "legitimate", now=NOW),
        lambda: desk.wait(case_id, BEN, "x", now=NOW),
        lambda: desk.release(case_id, BEN, now=NOW),
    ):
        with pytest.raises(CaseTaken, match="anna works on the case until"):
            refused()
    desk.note(case_id, BEN, "I know this one", now=NOW)
    desk.tag(case_id, BEN, "card-testing", now=NOW)
    assert [each.value for each in queue(warehouse, shown="mine", person="anna")] == ["u1"]
    assert [each.value for each in queue(warehouse, tag="card-testing")] == ["u1"]
    # Nobody holds a case for ever.
    later = NOW + timedelta(minutes=31)
    assert desk.claim(case_id, BEN, now=later, until=later + timedelta(hours=2)) == later + timedelta(hours=2)
    desk.release(case_id, BEN, now=later)
    assert desk.claim_next(ANNA, now=later) == case_id
    assert labels(warehouse) == {}


def test_who_saw_an_older_state_overwrites_nothing(warehouse: Warehouse) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u1")
    desk.note(case_id, BEN, "looks fine", now=NOW)
    desk.set_due(case_id, ANNA, NOW + timedelta(days=1), now=NOW, seen=0)
    with pytest.raises(CaseTaken, match="anna has changed the case meanwhile"):
        desk.judge(case_id, BEN, "fraud", now=NOW, seen=1)
    assert desk.judge(case_id, BEN, "fraud", now=NOW, seen=2) == "closed"
    with pytest.raises(InvalidInput, match="The case is closed"):
        desk.judge(case_id, ANNA, "legitimate", now=NOW, seen=3)
    assert set(labels(warehouse).values()) == {True}


def test_one_verdict_is_on_several_payments_and_the_rest_closes_the_case(warehouse: Warehouse) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u1")
    assert desk.judge(case_id, ANNA, "fraud", now=NOW, transactions=["big", "small"]) == "judged"
    assert queue(warehouse)[0].waiting_transactions == [AWKWARD]
    assert desk.judge(case_id, ANNA, "legitimate", now=NOW, note="the customer's own") == "closed"
    assert labels(warehouse) == {"big": True, "small": True, AWKWARD: False}
    [closed], number = read_closed_cases(warehouse, limit=5)
    assert (closed.outcome, closed.closed_by, sorted(closed.judged_transactions), number) == (
        *("fraud", "anna"),
        sorted(["big", "small", AWKWARD]),
        1,
    )
    stored = warehouse.read("SELECT DISTINCT reviewer, reviewer_named_by, comment, source FROM feedback.labels").rows()
    assert stored == [("anna", "typed", f"case {case_id}", "review")]
    # New hits of the customer make another case.
    store(warehouse, [Decided("new", 9.0, 0.6, "review")])
    [again] = [each for each in queue(warehouse) if each.value == "u1"]
    assert (again.number, again.case_id != case_id, again.waiting_transactions) == (2, True, ["new"])
    with pytest.raises(InvalidInput, match="closed"):
        desk.claim(case_id, ANNA, now=NOW)


def test_what_nobody_can_tell_waits_no_longer_until_the_case_is_opened_again(warehouse: Warehouse) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u2")
    with pytest.raises(InvalidInput, match="unclear closes the case"):
        desk.judge(case_id, ANNA, "unclear", now=NOW, transactions=["tiny"])
    desk.judge(case_id, ANNA, "unclear", now=NOW)
    waiting = "SELECT count(*) FROM scoring.review_queue WHERE user_id = 'u2'"
    assert (labels(warehouse), warehouse.read(waiting).item()) == ({}, 0)
    desk.reopen(case_id, BEN, "the customer has called", now=NOW)
    assert warehouse.read(waiting).item() == 2
    assert desk.judge(case_id, BEN, "legitimate", now=NOW) == "closed"
    assert labels(warehouse) == {"block": False, "tiny": False}
    # A second thought: the verdict of the case is corrected.
    desk.reopen(case_id, BEN, "a mistake", now=NOW)
    desk.judge(case_id, BEN, "fraud", now=NOW + timedelta(minutes=1), transactions=["block"])
    assert labels(warehouse)["block"]
    later = [NOW + timedelta(minutes=2)]
    state = "SELECT state, outcome FROM feedback.cases_at(?) WHERE value = 'u2'"
    assert warehouse.read(state, later).rows() == [("closed", "fraud")]


@pytest.mark.parametrize(("rule", "value"), [("always", "u2"), ("high", "u1")])
def test_a_second_pair_of_eyes(warehouse: Warehouse, rule: str, value: str) -> None:
    cases = CasePolicy.model_validate({"second_reviewer": rule})
    desk, case_id = CaseDesk(warehouse, cases), id_of(warehouse, value)
    assert desk.judge(case_id, ANNA, "fraud", now=NOW) == "proposed"
    assert labels(warehouse) == {}
    assert desk.claim_next(Person("Anna"), now=NOW) != case_id
    with pytest.raises(InvalidInput, match="somebody else has to agree"):
        desk.judge(case_id, Person("ANNA"), "fraud", now=NOW)
    with pytest.raises(InvalidInput, match="anna proposed fraud"):
        desk.judge(case_id, BEN, "legitimate", now=NOW)
    assert [each.value for each in queue(warehouse, cases, shown="second", person="Ben")] == [value]
    desk.decline(case_id, BEN, "call first", now=NOW)
    assert desk.judge(case_id, BEN, "legitimate", now=NOW) == "proposed"
    assert desk.judge(case_id, ANNA, "legitimate", now=NOW) == "closed"
    assert set(labels(warehouse).values()) == {False}


def test_where_the_policy_asks_for_high_severity_alone_one_closes_the_others(warehouse: Warehouse) -> None:
    desk = CaseDesk(warehouse, CasePolicy(second_reviewer="high"))
    assert desk.judge(id_of(warehouse, "u2"), ANNA, "fraud", now=NOW) == "closed"


def test_cases_are_escalated_set_aside_and_due(warehouse: Warehouse) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u2")
    desk.claim(case_id, ANNA, now=NOW)
    desk.escalate(case_id, ANNA, "a ring?", now=NOW)
    first = queue(warehouse)[0]
    assert (first.value, first.severity, first.claimed_by, first.due_at) == (
        "u2",
        "high",
        None,
        NOW + timedelta(hours=4),
    )
    desk.set_due(case_id, BEN, NOW - timedelta(minutes=5), now=NOW)
    assert [each.value for each in queue(warehouse, shown="overdue")] == ["u2"]
    desk.wait(case_id, BEN, "asked the bank", now=NOW, until=NOW + timedelta(hours=1))
    assert [each.value for each in queue(warehouse)] == ["u1"]
    assert read_case_queue(warehouse, CASES, now=NOW, limit=9)[2].cases == 1
    later, _, _ = read_case_queue(warehouse, CASES, now=NOW + timedelta(hours=2), limit=9)
    assert [each.value for each in later] == ["u2", "u1"]
    desk.resume(case_id, ANNA, now=NOW)
    assert len(queue(warehouse)) == 2
    desk.tag(case_id, ANNA, "ring", now=NOW)
    desk.tag(case_id, ANNA, "ring", now=NOW, remove=True)
    assert queue(warehouse)[0].tags == []


Attempt = Callable[[CaseDesk, str], object]
BAD: dict[str, Attempt] = {
    "by: say who you are": lambda desk, case: desk.claim(case, Person(" "), now=NOW),
    "by: write a name": lambda desk, case: desk.claim(case, Person("x" * 101), now=NOW),
    "until: .* lies in the past": lambda desk, case: desk.claim(case, ANNA, now=NOW, until=NOW),
    "until: .* more than 1 day away": lambda desk, case: desk.claim(case, ANNA, now=NOW, until=NOW + timedelta(days=2)),
    "due: .* lies before the payment": lambda desk, case: desk.set_due(case, ANNA, NOW - timedelta(days=3), now=NOW),
    "due: .* more than a year": lambda desk, case: desk.set_due(case, ANNA, NOW + timedelta(days=999), now=NOW),
    "note: has 10,000 characters": lambda desk, case: desk.note(case, ANNA, "x" * 10_000, now=NOW),
    "note: has control": lambda desk, case: desk.note(case, ANNA, "a\x00b", now=NOW),
    "note: say it": lambda desk, case: desk.note(case, ANNA, " \n", now=NOW),
    "tag: 'Not a tag'": lambda desk, case: desk.tag(case, ANNA, "Not a tag", now=NOW),
    "tag: the case has no tag": lambda desk, case: desk.tag(case, ANNA, "none", now=NOW, remove=True),
    "outcome: 'maybe' is none": lambda desk, case: desk.judge(case, ANNA, "maybe", now=NOW),
    "transactions: t00 does not wait": lambda desk, case: desk.judge(
        case, ANNA, "fraud", now=NOW, transactions=["big", "t00"]
    ),
    "transactions: choose": lambda desk, case: desk.judge(case, ANNA, "fraud", now=NOW, transactions=[]),
    "release: nobody": lambda desk, case: desk.release(case, ANNA, now=NOW),
    "resume: the case does not wait": lambda desk, case: desk.resume(case, ANNA, now=NOW),
    "reopen: the case is not closed": lambda desk, case: desk.reopen(case, ANNA, "x", now=NOW),
    "decline: nobody": lambda desk, case: desk.decline(case, ANNA, "x", now=NOW),
    "No case has the id 'x'": lambda desk, _: desk.claim("x", ANNA, now=NOW),
    "until: .* in the past; it is": lambda desk, case: desk.wait(
        case, ANNA, "x", now=NOW, until=NOW - timedelta(hours=1)
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A queue that nothing is stored in."""
    return queue_warehouse(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_done_is_refused_whole(shared: Warehouse, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        BAD[message](CaseDesk(shared, CASES), id_of(shared, "u1"))
    assert (events(shared), labels(shared)) == ([], {})


def test_a_verdict_that_cannot_be_stored_leaves_nothing_of_the_others(warehouse: Warehouse) -> None:
    case_id = id_of(warehouse, "u1")
    # A review from a clock that is ahead: another verdict now would have been known before it.
    record_verdict(
        warehouse, "small", actual_fraud=True, now=NOW + timedelta(hours=1), known_at=NOW + timedelta(hours=1)
    )
    with pytest.raises(InvalidInput, match="another review verdict"):
        CaseDesk(warehouse, CASES).judge(case_id, ANNA, "legitimate", now=NOW)
    assert (events(warehouse), labels(warehouse)) == ([], {"small": True})


def test_a_case_file_tells_all_that_happened_with_features_and_reasons(warehouse: Warehouse) -> None:
    features = pl.DataFrame({"transaction_id": ["big"], "event_date": [NOW.date()], "amount_vs_avg": [40.0]})
    with warehouse.transaction() as connection:
        create_table(connection, "features.transaction_features", features.schema, required=())
        insert(connection, "features.transaction_features", features)
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u1")
    desk.note(case_id, BEN, "<script>alert(1)</script>\nsecond line", now=NOW)
    add_entry(
        warehouse, shipped_plan(), list_name="watch", column="user_id", value="u1", reason="odd", author="ben", now=NOW
    )
    desk.judge(case_id, ANNA, "fraud", now=NOW)
    record_verdict(warehouse, "big", actual_fraud=True, source="chargeback", now=NOW + timedelta(seconds=1))
    found = read_case_file(warehouse, case_id, CASES, now=NOW)
    assert (found.state, found.outcome, found.closed_by, len(found.payments)) == ("closed", "fraud", "anna", 3)
    kinds = [each.kind for each in found.timeline]
    assert kinds[:3] == ["payment"] * 3
    assert {"hit", "list", "label", "noted", "closed"} <= set(kinds)
    assert [each.words for each in found.timeline if each.words.startswith("chargeback")] == ["chargeback: fraud"]
    [big] = [each for each in found.payments if each.transaction_id == "big"]
    [decision] = big.stored["decisions"]
    assert decision["reason_codes"] == ["amount is 40× this customer's median"]
    assert decision["features"] == {"amount_vs_avg": 40.0}
    # What was decided is kept as it was, whatever a rerun makes of it.
    warehouse.overwrite("features.transaction_features", features.with_columns(amount_vs_avg=1.0), transaction_id="big")
    [closing] = [each for each in read_case_file(warehouse, case_id, CASES, now=NOW).events if each.action == "closed"]
    [kept] = [each for each in json.loads(closing.evidence or "") if each["transaction_id"] == "big"]
    assert kept["decisions"][0]["features"]["amount_vs_avg"] == 40.0

    content = exported(warehouse, found, now=NOW, currency="EUR")
    assert json.loads(as_json(content)) == content
    assert digest_of_export(content) == content["sha256"]
    page = as_html(content)
    assert "&lt;script&gt;alert(1)" in page
    assert all(each not in page for each in ("<script", " src=", "href="))
    assert content["sha256"] in page
    assert content["events"][-1]["entry_hash"] in page


def test_a_name_is_erased_and_the_chain_stays_whole(warehouse: Warehouse) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u1")
    desk.note(case_id, BEN, "Mrs Miller of Anna's team called", now=NOW)
    desk.note(case_id, BEN, "nothing", now=NOW)
    desk.judge(case_id, ANNA, "fraud", now=NOW, note="as MILLER says")
    hashes = "SELECT sequence, entry_hash FROM feedback.case_events WHERE sequence <= 3 ORDER BY sequence"
    before = warehouse.read(hashes).rows()
    assert erase_name(warehouse, "miller", BEN, now=NOW) == 2
    assert erase_name(warehouse, "anna", BEN, now=NOW) == 1
    assert findings(warehouse) == []
    assert warehouse.read(hashes).rows() == before
    everything = str(
        warehouse.read("SELECT author, note, author_salt, note_salt FROM feedback.case_events").rows()
    ).lower()
    assert "miller" not in everything
    assert "anna" not in everything
    assert warehouse.read("SELECT DISTINCT reviewer FROM feedback.labels").item() is None
    assert "(erased)" in {each.who for each in read_case_file(warehouse, case_id, CASES, now=NOW).timeline}
    erase_event(warehouse, 2, ANNA, author=False, note=True, now=NOW)
    for refused, message in (
        (lambda: erase_event(warehouse, 2, ANNA, author=False, note=True, now=NOW), "no note to erase"),
        (lambda: erase_event(warehouse, 99, ANNA, author=True, note=True, now=NOW), "no event"),
        (lambda: erase_name(warehouse, "nobody", ANNA, now=NOW), "no event of a case"),
        (lambda: erase_name(warehouse, "an", ANNA, now=NOW), "three characters"),
        (lambda: erase_name(warehouse, "ANNA", ANNA, now=NOW), "name somebody else"),
    ):
        with pytest.raises(InvalidInput, match=message):
            refused()
    assert findings(warehouse) == []


def test_of_who_was_forgotten_the_events_keep_their_hashes_alone(warehouse: Warehouse) -> None:
    desk = CaseDesk(warehouse, CASES)
    desk.note(id_of(warehouse, "u1"), BEN, "u1 called", now=NOW)
    desk.judge(id_of(warehouse, "u1"), BEN, "unclear", now=NOW)
    desk.note(id_of(warehouse, "u2"), BEN, "another, as of u1", now=NOW)
    forget_in_tables(warehouse, Forgettable(frozenset({"u1"}), frozenset({"big", "small"})), now=NOW)
    assert findings(warehouse) == []
    assert "u1" not in str(warehouse.read("FROM feedback.case_events").drop("entry_hash", "previous_hash").rows())
    assert warehouse.read("SELECT value FROM feedback.cases").rows() == [("u2",)]
    assert [each.value for each in queue(warehouse)] == ["u2"]
    with warehouse.transaction() as connection:
        connection.delete("main.forgotten", "true")
    assert "nobody was ever forgotten" in findings(warehouse)[0]


@pytest.mark.parametrize(
    ("changed", "condition", "finding"),
    [
        ("outcome = 'legitimate'", "action = 'closed'", "was changed"),
        ("happened_at = happened_at + INTERVAL 1 HOUR", "sequence = 1", "was changed"),
        ("note = 'another'", "sequence = 1", "its note was changed"),
        ("author = NULL, author_salt = NULL", "sequence = 2", "no event says that it was erased"),
        ("sequence = 9", "sequence = 1", "missing"),
    ],
)
def test_what_somebody_changed_is_found(warehouse: Warehouse, changed: str, condition: str, finding: str) -> None:
    desk, case_id = CaseDesk(warehouse, CASES), id_of(warehouse, "u1")
    desk.note(case_id, BEN, "a note", now=NOW)
    desk.judge(case_id, ANNA, "fraud", now=NOW)
    assert findings(warehouse) == []
    with warehouse.transaction() as connection:
        connection.update("feedback.case_events", changed, condition)
    assert any(finding in each for each in findings(warehouse))


def test_an_event_removed_at_the_end_is_missed(warehouse: Warehouse) -> None:
    CaseDesk(warehouse, CASES).note(id_of(warehouse, "u1"), BEN, "a note", now=NOW)
    with warehouse.transaction() as connection:
        connection.delete("feedback.case_events", "sequence = 1")
    assert findings(warehouse) == ["the events of cases end at 0, and the last one noted is 1"]


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["next", "claim", "release", "judge", "wait", "resume", "escalate", "reopen", "note"]),
        st.sampled_from(["anna", "ben"]),
        st.sampled_from(["u1", "u2"]),
        st.sampled_from(["fraud", "legitimate", "unclear"]),
        st.integers(0, 40),
    ),
    max_size=8,
)


@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(deeds=DEEDS)
def test_whatever_people_do_no_case_has_two_workers_and_the_chain_holds(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[str, str, str, str, int]]
) -> None:
    warehouse = queue_warehouse(tmp_path_factory.mktemp("deeds"))
    # The queue goes by the clock, to which none of it may be in the future.
    desk, now = CaseDesk(warehouse, CASES), NOW - timedelta(hours=6)
    holders: dict[str, tuple[str, datetime]] = {}
    ids = {value: id_of(warehouse, value) for value in ("u1", "u2")}
    for action, name, value, outcome, minutes in deeds:
        now += timedelta(minutes=minutes)
        person, case_id = Person(name), ids[value]
        held = holders.get(case_id)
        stranger = held is not None and held[1] > now and held[0] != name
        before = events(warehouse)
        try:
            if action == "next":
                taken = desk.claim_next(person, now=now)
                if taken:
                    holder = holders.get(taken)
                    assert holder is None or holder[1] <= now or holder[0] == name
                    holders[taken] = (name, now + timedelta(minutes=30))
                continue
            if action == "judge":
                desk.judge(case_id, person, outcome, now=now)
            elif action in ("wait", "escalate", "reopen", "note"):
                getattr(desk, action)(case_id, person, "x", now=now)
            else:
                getattr(desk, action)(case_id, person, now=now)
        except InvalidInput:
            assert events(warehouse) == before
            continue
        assert not stranger or action == "note"
        if action == "claim":
            holders[case_id] = (name, now + timedelta(minutes=30))
        elif action in ("release", "judge", "wait", "escalate", "reopen"):
            holders.pop(case_id, None)
    assert findings(warehouse) == []
    queued = warehouse.read("SELECT transaction_id FROM scoring.review_queue")["transaction_id"].to_list()
    assert not set(queued) & set(labels(warehouse))


def test_a_policy_without_a_word_on_cases_has_the_hash_it_had() -> None:
    assert "cases" not in policy_named("balanced").model_dump()
    said = Policy.model_validate(policy_named("balanced").model_dump() | {"cases": {"day_minutes": 480}})
    assert said.model_dump()["cases"]["day_minutes"] == 480
    assert Policy.model_validate(said.model_dump()) == said
    with pytest.raises(ValueError, match="lies above"):
        CasePolicy(medium_from=600)
