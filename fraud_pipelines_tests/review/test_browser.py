"""The page in a real browser: a reviewer works through the queue, and the next measurement knows of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from fraud_pipelines.decisions.entity_lists import add_entry
from fraud_pipelines.decisions.review import record_verdict
from fraud_pipelines.evaluation.daily_performance import measure_performance
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.browser import needs_browser, start_browser
from fraud_pipelines_tests.locks import held_elsewhere
from fraud_pipelines_tests.review.samples import AWKWARD, NOW, Decided, store

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Chrome"]:
    driver = start_browser(scripts=True)
    yield driver
    driver.quit()


@pytest.fixture
def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def waiting(driver: "Chrome") -> list[str]:
    return [link.text for link in driver.find_elements("css selector", "a.case")]


def press(driver: "Chrome", *keys: str) -> None:
    from selenium.webdriver import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def focused(driver: "Chrome") -> str:
    """The text of the element in focus, if its focus is visible."""
    element = driver.switch_to.active_element
    shown = driver.execute_script(
        "return document.activeElement.matches(':focus-visible') && "
        "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
    )
    return element.text if shown else ""


def wait_for(driver: "Chrome", title: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 60).until(lambda page: page.title.startswith(title))


def judged(warehouse: Warehouse) -> dict[str, bool]:
    return dict(warehouse.read("SELECT transaction_id, actual_fraud FROM feedback.labels").iter_rows())


def performance(warehouse: Warehouse) -> dict[str, object]:
    """Of the policy in force, as of today."""
    settings = Settings(data_dir=warehouse.path.parent, label_delay_days=1, evaluation_days=14)
    rows = measure_performance(warehouse, settings, datetime.now(UTC).date()).rows
    [policy] = [row for row in rows.iter_rows(named=True) if row["model_name"] == "policy:balanced"]
    return {name: policy[name] for name in ("alerts", "labelled", "frauds", "precision", "recall")}


def test_a_reviewer_works_through_the_queue_by_keyboard_and_performance_changes(
    browser: "Chrome", address: str, warehouse: Warehouse
) -> None:
    from selenium.webdriver.common.keys import Keys

    before = performance(warehouse)
    browser.get(address)
    assert waiting(browser)[:2] == ["big", "block"]
    press(browser, "j", "j", "k", "k")
    assert focused(browser) == "big"
    press(browser, Keys.ENTER)
    wait_for(browser, "big")

    browser.find_element("id", "reviewer").send_keys("anna", Keys.ENTER)
    assert browser.title.startswith("big")
    assert judged(warehouse) == {}
    press(browser, Keys.ESCAPE, "c")
    assert browser.switch_to.active_element.get_attribute("id") == "comment"
    press(browser, "f", "l", Keys.ESCAPE, "f")
    assert focused(browser) == "f Fraud"
    press(browser, Keys.ENTER)

    wait_for(browser, "block")
    assert "big is fraud" in " ".join(browser.find_element("class name", "notice").text.split())
    assert browser.find_element("id", "reviewer").get_attribute("value") == "anna"
    press(browser, "l")
    assert focused(browser) == "l Legitimate"
    press(browser, Keys.ENTER)

    wait_for(browser, "<b>&")
    press(browser, "q")
    wait_for(browser, "Review queue (3)")
    assert set(waiting(browser)) & {"big", "block"} == set()
    assert judged(warehouse) == {"big": True, "block": False}
    assert warehouse.read("SELECT comment FROM feedback.labels WHERE transaction_id = 'big'").item() == "fl"
    assert before == {"alerts": 5, "labelled": 0, "frauds": 0, "precision": None, "recall": None}
    # Of what was missed nothing is known without a chargeback.
    assert performance(warehouse) == {"alerts": 5, "labelled": 2, "frauds": 1, "precision": 0.2, "recall": None}
    complaints = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert complaints == []


def test_a_double_click_gives_one_verdict(browser: "Chrome", address: str, warehouse: Warehouse) -> None:
    from selenium.webdriver import ActionChains

    browser.get(address + "case?id=tiny")
    browser.find_element("id", "reviewer").send_keys("anna")
    ActionChains(browser).double_click(browser.find_element("css selector", "button.legitimate")).perform()
    wait_for(browser, "big")
    assert judged(warehouse) == {"tiny": False}
    assert warehouse.read("FROM feedback.label_history").height == 1


def test_everything_works_without_scripts(address: str, warehouse: Warehouse) -> None:
    driver = start_browser(scripts=False)
    try:
        driver.get(address)
        driver.find_element("link text", "small").click()
        driver.find_element("id", "reviewer").send_keys("anna")
        driver.find_element("css selector", "button.fraud").click()
        wait_for(driver, "tiny")
        assert judged(warehouse) == {"small": True}
    finally:
        driver.quit()


@pytest.mark.parametrize("patience", [0.5])
def test_a_verdict_is_sent_again_until_the_file_is_free(
    browser: "Chrome", address: str, warehouse: Warehouse, patience: float
) -> None:
    browser.get(address + "case?id=big")
    browser.find_element("id", "reviewer").send_keys("anna")
    with held_elsewhere(warehouse.path):
        browser.find_element("css selector", "button.fraud").click()
        wait_for(browser, "Busy")
        assert "Your verdict is not stored yet" in browser.find_element("tag name", "main").text
    wait_for(browser, "block")
    assert judged(warehouse) == {"big": True}


CONTRASTS = """
const rgb = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
const light = (c) => [0, 1, 2].map((i) => c[i] / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    if (e.tagName === "g") return rgb(getComputedStyle(e.querySelector("rect")).fill);
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c;
  }
  return [255, 255, 255, 1];
};
const poor = [];
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const box = e.getBoundingClientRect();
  if (!own || !box.width || ["SCRIPT", "TITLE", "OPTION"].includes(e.tagName.toUpperCase())) continue;
  const style = getComputedStyle(e);
  const drawn = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [a, b] = [light(rgb(drawn)), light(ground(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${e.outerHTML.slice(0, 80)}`);
}
return poor;
"""


def looked_at(driver: "Chrome", address: str, *, width: int, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(address)


def test_every_page_can_be_read_on_a_phone_and_in_the_dark(
    browser: "Chrome", address: str, warehouse: Warehouse
) -> None:
    record_verdict(warehouse, "t03", actual_fraud=True, now=NOW, reviewer="anna", named_by="typed", comment="c" * 300)
    listed = {"column": "user_id", "value": "u1", "reason": "stolen", "author": "anna", "now": datetime.now(UTC)}
    add_entry(warehouse, shipped_plan(), list_name="block", **listed)  # type: ignore[arg-type]
    paths = ("", "?sort=amount&by_country=DE", "case?id=big", "payments?known=fraud", "entity?column=user_id&value=u1")
    try:
        for path in (*paths, "entity?column=merchant_id&value=m%3C1%3E", "search?q=u", "backtest", "lists", "nowhere"):
            for width, dark in ((1280, False), (1280, True), (390, False)):
                looked_at(browser, address + path, width=width, dark=dark)
                assert browser.execute_script(CONTRASTS) == [], (path, width, dark)
                wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (path, width)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_twenty_five_cases_stand_on_a_screen_each_on_one_line(
    browser: "Chrome", address: str, warehouse: Warehouse
) -> None:
    from selenium.webdriver.common.keys import Keys

    ids = [f"20261127-00{n:05}" for n in range(40)]
    reasons = ["amount is 40× this customer's usual (1,000.00 against a median of 25.00)", "more"]
    store(warehouse, [Decided(each, 5.0, 0.9, "review", f"user-00{each[-3:]}", reason_codes=reasons) for each in ids])
    looked_at(browser, address, width=1280, dark=False)
    tall = [row.size["height"] for row in browser.find_elements("css selector", ".queue tbody tr")]
    last = browser.find_element("css selector", ".queue tbody tr:last-child").rect
    assert len(tall) == 25
    assert max(tall) < 30
    assert last["y"] + last["height"] <= 900
    press(browser, "n")
    wait_for(browser, "Review queue (45)")
    assert "26–45 of 45" in browser.find_element("tag name", "main").text
    press(browser, "/")
    browser.switch_to.active_element.send_keys("tiny", Keys.ENTER)
    wait_for(browser, "tiny")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_two_reviewers_work_cases_by_keyboard_at_once(browser: "Chrome", address: str, warehouse: Warehouse) -> None:
    from selenium.webdriver.common.keys import Keys

    other = start_browser(scripts=True)
    try:
        for driver, name in ((browser, "anna"), (other, "ben")):
            driver.get(address + "cases")
            field = driver.find_element("id", "reviewer")
            field.clear()
            field.send_keys(name)
            press(driver, Keys.ESCAPE, "t")
            assert focused(driver) == "t Take the next case"
            press(driver, Keys.ENTER)
        wait_for(browser, "u1")
        wait_for(other, "u2")
        # Ben goes where Anna works: nothing of his is stored, and his note is shown to him.
        other.get(browser.current_url)
        press(other, "c")
        other.switch_to.active_element.send_keys("mine")
        press(other, Keys.ESCAPE, "l", Keys.ENTER)
        wait_for(other, "Somebody else works on this case")
        assert "anna works on the case until" in other.page_source
        assert "mine" in other.find_element("class name", "kept-note").text
        assert judged(warehouse) == {}
        press(browser, "f", Keys.ENTER)
        wait_for(browser, "Cases")
        assert judged(warehouse) == {"big": True, "small": True, AWKWARD: True}
        other.get(address + "cases?shown=mine")
        press(other, "j", Keys.ENTER)
        wait_for(other, "u2")
        press(other, "u")
        assert focused(other) == "u Can't tell"
        press(other, Keys.ENTER)
        wait_for(other, "Cases (0)")
        assert set(judged(warehouse)) == {"big", "small", AWKWARD}
        assert warehouse.read("SELECT value, outcome, closed_by FROM feedback.cases ORDER BY value").rows() == [
            ("u1", "fraud", "anna"),
            ("u2", "unclear", "ben"),
        ]
    finally:
        other.quit()
