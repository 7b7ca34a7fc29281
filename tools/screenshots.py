"""The pictures of the README, from a demo that has run: ``make screenshots``.

``docs/pictures/case.png`` is the review page with the case of the greatest expected loss, ``docs/pictures/demo.png``
the table that ``fraud-pipelines demo`` prints at its end. Both are made of simulated payments. It needs Chromium and
chromedriver (Debian's packages chromium and chromium-driver).
"""

import html
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
MAX_BYTES = 200_000
COMMAND = (sys.executable, "-m", "fraud_pipelines.cli")
TERMINAL = (
    "<style>body{{margin:0;background:#fff}}pre{{display:inline-block;margin:0;padding:16px 20px;background:#111827;"
    "color:#e5e7eb;font:14px/1.35 'DejaVu Sans Mono',monospace}}</style><meta charset=utf-8><pre>{}</pre>"
)


@contextmanager
def browser(width: int, height: int) -> Iterator["Chrome"]:
    """Chromium without a window."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def review_page() -> Iterator[str]:
    """The review page on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*COMMAND, "review", "serve", "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def take_case() -> None:
    """The first case of the queue."""
    from selenium.webdriver.common.by import By

    with review_page() as address, browser(1180, 980) as driver:
        driver.get(address)
        first = driver.find_element(By.CSS_SELECTOR, "a[href^='/case']").get_attribute("href")
        driver.get(str(first))
        _save(driver, "case.png")


def take_demo() -> None:
    """The end of what the demo prints: its table."""
    done = subprocess.run(
        [*COMMAND, "demo"], env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if re.match(r"\s*day\s", line))
    end = next(number for number, line in enumerate(lines) if line.startswith("Caught, by kind"))
    shown = [lines[head], *lines[head + 1 : head + 2], *_latest_days(lines[head + 2 :]), "", *_totals(lines, end)]
    with tempfile.TemporaryDirectory() as folder, browser(900, 700) as driver:
        page = Path(folder) / "demo.html"
        text = "$ fraud-pipelines demo\n…\n" + "\n".join(shown)
        page.write_text(TERMINAL.format(html.escape(text)), encoding="utf-8")
        driver.get(page.as_uri())
        from selenium.webdriver.common.by import By

        box = driver.find_element(By.TAG_NAME, "pre").size
        driver.set_window_size(box["width"], box["height"] + 140)
        _write("demo.png", driver.find_element(By.TAG_NAME, "pre").screenshot_as_png)


def _latest_days(lines: list[str]) -> list[str]:
    days = []
    for line in lines:
        if not re.match(r"\s*\d\d-\d\d\s", line):
            break
        days.append(line)
    return days[-16:]


def _totals(lines: list[str], end: int) -> list[str]:
    start = next(number for number in range(end, 0, -1) if lines[number].startswith("Over "))
    return [line for line in lines[start : end + 2] if line]


def _save(driver: "Chrome", name: str) -> None:
    _write(name, driver.get_screenshot_as_png())


def _write(name: str, picture: bytes) -> None:
    if len(picture) > MAX_BYTES:
        raise SystemExit(f"{name} would have {len(picture):,} bytes, more than {MAX_BYTES:,}")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).write_bytes(picture)
    sys.stdout.write(f"{PICTURES / name}: {len(picture):,} bytes\n")


if __name__ == "__main__":
    take_case()
    take_demo()
