"""Checks of the machine: folders and their permissions, room on the disk, packages, the clock."""

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from fraud_pipelines.errors import FraudPipelinesError
from fraud_pipelines.health.finding import Finding, fault, ok, warning
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at

_SECONDS_APART: Final = 2.0
"""A file system's clock may be off by so much; coarse ones round to two seconds."""
_FEW_DAYS: Final = 30
_MEGABYTE: Final = 1_000_000


def check_folders(settings: Settings) -> Iterator[Finding]:
    """Whether the data directory and Dagster's home can be written to, and who else may read them."""
    for about, folder in (("data directory", settings.data_dir), ("Dagster's home", settings.dagster_home)):
        if not folder.is_dir():
            if folder == settings.data_dir:
                remedy = "fraud-pipelines demo or fraud-pipelines import makes it; or set FRAUD_DATA_DIR"
                yield fault(about, f"{folder} is missing", remedy)
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield fault(about, f"{folder} can't be written to by {_user()}", f"give {_user()} the folder, by chown")
        elif stat.S_IMODE(folder.stat().st_mode) & stat.S_IRWXO and _holds_payments(settings):
            yield warning(about, f"every user of this machine may open {folder}", f"chmod o-rwx {folder}")
        else:
            yield ok(about, str(folder))


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether there is room for the days to come, at what the days so far have taken."""
    if not settings.data_dir.is_dir():
        return
    free = shutil.disk_usage(settings.data_dir).free
    taken, days = _bytes_below(settings.data_dir), _days_stored(settings)
    says = f"{free // _MEGABYTE:,} MB free, {taken // _MEGABYTE:,} MB taken"
    if not days:
        yield ok("disk", says)
        return
    left = int(free / max(taken / days, 1))
    says += f" by {days} days: room for about {left:,} more"
    remedy = "make room, or move the data directory to a larger disk (FRAUD_DATA_DIR)"
    if left < 2:
        yield fault("disk", says, remedy)
    elif left < _FEW_DAYS:
        yield warning("disk", says, remedy)
    else:
        yield ok("disk", says)


def check_packages(settings: Settings) -> Iterator[Finding]:  # noqa: ARG001
    """Whether the installed packages are those that this release was made for."""
    wrong = []
    for text in requires("fraud-pipelines") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    python = ".".join(map(str, sys.version_info[:3]))
    if wrong:
        yield fault("packages", "; ".join(wrong), "pip install --require-hashes -r requirements.txt, or make install")
    else:
        yield ok("packages", f"fraud-pipelines {version('fraud-pipelines')} on Python {python}; all as required")


def check_clock(settings: Settings) -> Iterator[Finding]:
    """Whether the clock agrees with that of the disk, and with the latest transaction."""
    if not settings.data_dir.is_dir():
        return
    remedy = "set the clock, by NTP: days are UTC days, and transactions of the future are rejected"
    with tempfile.TemporaryFile(dir=settings.data_dir if os.access(settings.data_dir, os.W_OK) else None) as file:
        apart = os.fstat(file.fileno()).st_mtime - time.time()
    if abs(apart) > _SECONDS_APART:
        yield warning("clock", f"the clock of {settings.data_dir}'s disk is {apart:+.0f} s off this machine's", remedy)
        return
    now = datetime.now(UTC).replace(tzinfo=None)
    latest = _latest_transaction(settings)
    if latest and latest > now + timedelta(seconds=settings.clock_skew_seconds):
        yield warning(
            "clock", f"it is {now:%Y-%m-%d %H:%M} UTC here, and a transaction is of {latest:%Y-%m-%d %H:%M}", remedy
        )
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M} UTC")


def _user() -> str:
    return f"user {os.getuid()}"


def _holds_payments(settings: Settings) -> bool:
    return settings.warehouse_path.exists() or settings.published_path.exists()


def _bytes_below(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except FileNotFoundError:  # A run has removed it meanwhile.
                continue
    return total


def _days_stored(settings: Settings) -> int:
    found = _asked(settings, "SELECT count(DISTINCT event_date) FROM raw.transactions")
    return found if isinstance(found, int) else 0


def _latest_transaction(settings: Settings) -> datetime | None:
    found = _asked(settings, 'SELECT max("timestamp") FROM raw.transactions')
    return found if isinstance(found, datetime) else None


def _asked(settings: Settings, query: str) -> object:
    """One value of the warehouse; None where it can't be read, which `stores.check_warehouse` tells."""
    try:
        return warehouse_at(settings.warehouse_path, wait_seconds=0).read(query).item()
    except FraudPipelinesError:
        return None
