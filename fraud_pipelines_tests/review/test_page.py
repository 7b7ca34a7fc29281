"""The page over HTTP: what it shows, what it stores, whom it refuses, and what it says while the file is locked."""

import re
import threading
from urllib.parse import quote

import pytest

from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.review.conftest import Client, served
from fraud_pipelines_tests.review.samples import AWKWARD, NOW, Decided, store


def labels(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.read(
        "SELECT transaction_id, actual_fraud, reviewer, comment FROM feedback.label_history ORDER BY ALL"
    ).rows()


def test_the_queue_lists_what_waits_and_escapes_what_others_wrote(client: Client) -> None:
    page = client.get("/")
    assert page.status == 200
    assert [page.text.index(f">{name}</a>") for name in ("big", "block", "small", "tiny")] == sorted(
        page.text.index(f">{name}</a>") for name in ("big", "block", "small", "tiny")
    )
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert" not in page.text
    assert "<strong>5</strong> wait for a verdict" in page.text
    assert client.get("/?page=2").headers["location"] == "/"
    for odd in ("0", "-1", "x", "٣", "9" * 30, "9" * 5000):
        assert client.get("/?page=" + quote(odd)).text.count('class="case"') == 5


def test_a_case_shows_its_reasons_and_payments_whatever_its_id(client: Client) -> None:
    page = client.case(AWKWARD)
    assert page.status == 200
    assert page.fields["transaction_id"] == AWKWARD
    assert "<b>&" not in page.text
    assert page.text.count('<path class="dot') == 20 + 3
    assert "m&lt;1&gt;" in page.text
    assert client.case("nobody").status == 404
    assert client.get("/case").status == 404
    assert client.get("/nowhere").status == 404
    assert client.get("/verdict").status == 405
    assert client.get("/static/../app.py").status == 404


def test_a_case_tells_what_decided_apart_from_what_a_reviewer_should_know_besides(
    client: Client, warehouse: Warehouse
) -> None:
    codes = ["amount is 3× this customer's usual", "also: country changed to RO"]
    versions = ["fraud-daily/3", "fraud-ensemble/4"]
    store(warehouse, [Decided("told", 1.0, 0.7, "block", reason_codes=codes, model_versions=versions)])
    page = client.case("told").text
    why, context = page.index("<li>amount is 3×"), page.index("<li>country changed to RO</li>")
    assert why < page.index("with no part in the decision") < context
    assert "also:" not in page
    assert 'score 0.700 by <span class="decider">fraud-ensemble/4</span>' in page
    assert "fraud-ensemble/4" in client.get("/").text


CODES = ["amount is 3× this customer's usual"]
ALIKE = (
    Decided("alert1", 30.0, 0.6, "review", user_id="u8", days_ago=1.0, reason_codes=CODES, model_versions=["m/1"]),
    Decided(
        "audit1",
        30.0,
        0.1,
        user_id="u9",
        days_ago=1.0,
        reason_codes=CODES,
        reason="below_review_threshold",
        audited=True,
    ),
)


def test_an_audited_payment_waits_and_is_told_as_one(client: Client, warehouse: Warehouse) -> None:
    store(warehouse, ALIKE)
    assert "<strong>7</strong> wait for a verdict" in client.get("/").text
    assert '<span class="badge audit">audit</span>' in client.get("/").text
    assert "It was approved, and drawn by the audit sample." in client.case("audit1").text
    assert "audit sample" not in client.case("alert1").text
    client.judge("audit1", "legitimate")
    assert labels(warehouse) == [("audit1", False, "anna", None)]


def test_a_blind_page_tells_an_audited_payment_from_an_alert_in_nothing(warehouse: Warehouse) -> None:
    store(warehouse, ALIKE)
    with served(warehouse, blind=True) as port:
        client = Client(port)
        queues = [client.get(path).text for path in ("/", "/?sort=score", "/?sort=loss", "/?decision=review")]
        lists = [client.get(path).text for path in ("/payments", "/payments?sort=score", "/payments?decision=review")]
        for page in (*queues, *lists):
            rows = [
                row.replace(name, "NAME").replace(user, "USER").replace(" autofocus", "")
                for name, user in (("alert1", "u8"), ("audit1", "u9"))
                for row in page.split("<tr>")
                if f">{name}</a>" in row
            ]
            assert len(rows) == 2
            assert rows[0].partition("</tr>")[0] == rows[1].partition("</tr>")[0]
        # By score, or by expected loss, what was drawn would stand last.
        for page in queues[:3]:
            places = [page.index(f">{name}</a>") for name in ("big", "block", "alert1", "audit1", "small", "tiny")]
            assert places == sorted(places)
        told = []
        for name, user in (("alert1", "u8"), ("audit1", "u9")):
            case, entity = client.case(name), client.get(f"/entity?column=user_id&value={user}")
            assert (case.status, entity.status) == (200, 200)
            body = case.text.replace(case.fields["token"], "TOKEN").partition("</nav>")[2]
            body = re.sub(r"/cases/case\?id=[0-9a-f]{12}", "CASE", body)
            # Each is a neighbour of the other: they share a merchant.
            told.append((body + entity.text).replace(name, "NAME").replace("u8", "USER").replace("u9", "USER"))
        assert told[0] == told[1]
        assert "0.600" not in told[0]


def test_a_case_shows_local_times_days_and_refunds(client: Client, warehouse: Warehouse) -> None:
    assert "local time" not in client.case("big").text
    for change, shown in (
        ("local_time = TIMESTAMP '2026-01-16 18:30:00'", "Friday 18:30 local time"),
        ("local_time = TIMESTAMP '2026-01-16 18:30:00'", "(Fri 18:30 local time)"),
        ("local_time = NULL, date_only = true", "no time of day"),
        ("kind = 'refund'", "</a> refund"),
    ):
        with warehouse.transaction() as connection:
            connection.execute(f"UPDATE raw.transactions SET {change} WHERE transaction_id = 'big'")
        assert shown in client.case("big").text


def test_a_verdict_is_stored_once_and_leads_to_the_next_case(client: Client, warehouse: Warehouse) -> None:
    form = client.case("big").fields | {"verdict": "fraud", "reviewer": "Ann Köln", "comment": "a\r\nb"}
    first, second = client.send(form), client.send(form)
    assert (first.status, second.status) == (303, 303)
    assert first.headers["location"] == "/case?id=block&done=big"
    assert labels(warehouse) == [("big", True, "Ann Köln", "a b")]
    following = client.get(first.headers["location"])
    assert "Recorded:" in following.text
    assert following.fields["reviewer"] == "Ann Köln"
    assert ">big</a></td>\n<td class=" not in client.get("/").text


def test_a_verdict_leads_on_among_what_the_case_was_opened_from(client: Client, warehouse: Warehouse) -> None:
    first = client.get("/case?id=big&by_user_id=u1&sort=oldest")
    assert first.fields["queue"] == "by_user_id=u1&sort=oldest"
    assert 'rel="prev" href="/case?id=%3Cb' in first.text
    done = client.send(first.fields | {"verdict": "fraud", "reviewer": "anna"})
    assert done.headers["location"] == "/case?id=small&by_user_id=u1&sort=oldest&done=big"
    last = client.get(done.headers["location"])
    assert 'rel="next"' not in last.text
    odd = client.case("tiny").fields | {"queue": "least=x&" + "a=1&" * 50}
    assert client.send(odd | {"verdict": "fraud", "reviewer": "anna"}).status == 303
    assert len(labels(warehouse)) == 2


def test_a_typed_name_is_marked_and_that_of_a_login_is_not_asked_for(client: Client, warehouse: Warehouse) -> None:
    client.judge("big", "fraud")
    assert "(typed)" in client.case("big").text
    assert "(typed)" in client.get("/").text
    with served(warehouse, reviewer_header="X-Forwarded-User") as port:
        behind = Client(port)
        unknown = behind.get("/case?id=block")
        assert "reviewer" not in unknown.fields
        form = unknown.fields | {"verdict": "fraud", "reviewer": "mallory"}
        assert behind.send(form).status == 400
        assert behind.send(form, **{"X-Forwarded-User": "ben@example.com"}).status == 303
        assert "ben@example.com" in behind.get("/case?id=tiny", **{"X-Forwarded-User": "ben@example.com"}).text
    stored = warehouse.read("SELECT reviewer, reviewer_named_by FROM feedback.labels ORDER BY ALL").rows()
    assert stored == [("anna", "typed"), ("ben@example.com", "login")]


def test_two_clicks_at_once_store_one_verdict(client: Client, warehouse: Warehouse) -> None:
    form = client.case("big").fields | {"verdict": "legitimate", "reviewer": "anna"}
    clicks = [threading.Thread(target=client.send, args=(form,)) for _ in range(4)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert labels(warehouse) == [("big", False, "anna", None)]


def test_the_last_case_leads_back_to_the_empty_queue(client: Client, warehouse: Warehouse) -> None:
    for name in ("block", AWKWARD, "small", "tiny"):
        record_verdict(warehouse, name, actual_fraud=False, now=NOW)
    done = client.judge("big", "fraud")
    assert done.headers["location"] == "/?done=big"
    assert "Nothing waits for a verdict." in client.get(done.headers["location"]).text


def test_a_mistake_is_corrected_by_the_other_verdict(client: Client, warehouse: Warehouse) -> None:
    client.judge("big", "fraud")
    assert client.judge("big", "legitimate").status == 303
    assert warehouse.read("SELECT actual_fraud FROM feedback.labels").item() is False
    assert "corrected since" in client.case("big").text


def test_a_verdict_is_not_stored_over_one_that_its_giver_has_not_seen(client: Client, warehouse: Warehouse) -> None:
    form = client.case("big").fields
    record_verdict(warehouse, "big", actual_fraud=True, now=NOW, reviewer="ben")
    answer = client.send(form | {"verdict": "legitimate", "reviewer": "anna"})
    assert answer.status == 409
    assert "Somebody has given a verdict meanwhile" in answer.text
    assert labels(warehouse) == [("big", True, "ben", None)]


def test_a_form_that_another_site_made_a_browser_send_is_refused(client: Client, warehouse: Warehouse) -> None:
    form = client.case("big").fields | {"verdict": "fraud", "reviewer": "anna"}
    foreign: list[dict[str, str]] = [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Cookie": ""},
        {"Cookie": "review_session=of-another-browser"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:3001"},
        {"Host": "[::1"},
    ]
    for headers in foreign:
        assert client.send(form, **headers).status in (403, 415, 421), headers
        assert labels(warehouse) == []
    assert client.send(form).status == 303


def test_a_form_that_was_changed_on_its_way_is_refused(client: Client, warehouse: Warehouse) -> None:
    changes: list[tuple[dict[str, str], int]] = [
        ({"token": ""}, 403),
        ({"token": "é"}, 403),
        ({"transaction_id": "block"}, 403),
        ({"seen": "1"}, 403),
        ({"seen": "x"}, 403),
        ({"seen": "9" * 5000}, 403),
        ({"verdict": "perhaps"}, 400),
        ({"reviewer": "  "}, 400),
        ({"reviewer": "x" * 101}, 400),
        ({"comment": "x" * 2000}, 400),
        ({"comment": "x" * 40_000}, 413),
    ]
    for changed, status in changes:
        assert client.judge("big", "fraud", **changed).status == status, changed
        assert labels(warehouse) == []


def test_what_is_no_form_at_all_is_refused(client: Client) -> None:
    client.case("big")
    origin = {"Origin": f"http://127.0.0.1:{client.port}", "Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff\xfe", b"a=%ff", b"&".join(b"a=1" for _ in range(50)), b""):
        assert client.request("POST", "/verdict", headers=dict(origin), body=body).status in (400, 403)


def test_every_answer_forbids_what_the_page_does_not_need(client: Client) -> None:
    for answer in (
        client.get("/"),
        client.case("big"),
        client.case("nobody"),
        client.get("/static/review.css"),
        client.get("/", Host="evil.example"),
        client.judge("big", "fraud"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "style=" not in answer.text
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(client: Client) -> None:
    cookie = client.case("big").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "set-cookie" not in client.case("big").headers


def test_names_that_a_proxy_uses_are_let_through(client: Client) -> None:
    for host in ("localhost:3001", "reviews.example", "[::1]:3001", "192.168.0.7"):
        assert client.get("/", Host=host).status == 200
    assert client.get("/", Host="").status == 421


@pytest.mark.parametrize("patience", [0.5])
def test_while_another_process_writes_the_page_says_so_and_nothing_is_lost(
    client: Client, warehouse: Warehouse, patience: float
) -> None:
    form = client.case("big").fields | {"verdict": "fraud", "reviewer": "anna", "comment": "<i>kept</i>"}
    with held_elsewhere(warehouse.path):
        for page in (client.get("/"), client.case("big")):
            assert page.status == 503
            assert "busy" in page.text
            assert page.headers["retry-after"]
        answer = client.send(form)
        assert answer.status == 503
        assert "not stored yet" in answer.text
        assert '<span class="badge fraud">fraud</span>' in answer.text
        assert "<q>&lt;i&gt;kept&lt;/i&gt;</q>" in answer.text
    assert labels(warehouse) == []
    assert client.send(answer.fields).status == 303
    assert labels(warehouse) == [("big", True, "anna", "<i>kept</i>")]


def test_pages_are_read_while_a_verdict_waits_for_a_shell_that_only_reads(client: Client, warehouse: Warehouse) -> None:
    """A shell that reads keeps nobody else from reading, and whoever wants to write waits for it."""
    form = client.case("big").fields | {"verdict": "fraud", "reviewer": "anna"}
    given: list[int] = []
    judging = threading.Thread(target=lambda: given.append(client.send(form).status))
    with held_elsewhere(warehouse.path, read_only=True):
        judging.start()
        for _ in range(5):
            assert Client(client.port).get("/").status == 200
            assert Client(client.port).case("block").status == 200
        assert given == []
    judging.join()
    assert given == [303]
    assert labels(warehouse) == [("big", True, "anna", None)]


def test_pages_are_read_while_verdicts_are_stored(client: Client, warehouse: Warehouse) -> None:
    statuses: list[int] = []

    def read() -> None:
        for _ in range(4):
            statuses.append(Client(client.port).get("/").status)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    given = [client.judge(name, "fraud").status for name in ("big", "block", "small")]
    for reader in readers:
        reader.join()
    assert statuses == [200] * 8
    assert given == [303] * 3
    assert len(labels(warehouse)) == 3


def test_without_a_warehouse_the_page_says_how_to_begin(client: Client, warehouse: Warehouse) -> None:
    warehouse.path.unlink()
    page = client.get("/")
    assert page.status == 404
    assert "fraud-pipelines demo" in page.text
    assert not warehouse.path.exists()


def test_a_warehouse_of_an_earlier_version_is_brought_up_to_date(client: Client, warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("DROP VIEW scoring.review_queue; DROP VIEW scoring.alert_precision")
    assert client.get("/").text.count('class="case"') == 5


def test_health_and_figures_are_told_and_name_no_payment(client: Client) -> None:
    client.case(AWKWARD)
    assert client.get("/healthz").status == 200
    told = client.get("/metrics").text
    assert 'fraud_http_requests_total{page="/case",status="200"} 1.0' in told
    assert "fraud_warehouse_seconds_since_write " in told
    assert AWKWARD not in told
    assert client.get("/metrics", Host="evil.example").status == 421
