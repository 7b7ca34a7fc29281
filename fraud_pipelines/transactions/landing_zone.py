"""The landing zone: a folder where files arrive, and from which they are moved once they are stored."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Final

import polars as pl

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.intake import LandingReport, RecordIntake, land_file, land_together
from fraud_pipelines.transactions.moving import move_aside
from fraud_pipelines.transactions.schema import TIMESTAMP
from fraud_pipelines.transactions.timestamps import as_utc
from fraud_pipelines.transactions.waiting import MAPPING_FILE, WaitingFile, look_into, printable_name

LANDED_FOLDER: Final = "_landed"
_GROUP_FILES: Final = 200
_GROUP_BYTES: Final = 8_000_000
"""Of the files that are taken in together, at most: others wait for the warehouse meanwhile."""
PROBLEMS_TABLE: Final = "raw.landing_problems"


@dataclass
class Landed:
    """What became of what waited in a landing zone.

    Attributes:
        reports: of the files that were taken in.
        unusable: files that could not be taken in or moved, and why; they stay.
        troubles: entries that can't be looked at, such as a stale mount, and why.
    """

    reports: list[LandingReport] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> dict[str, str]:
        """All that could not be taken in, by its name in the zone."""
        return self.troubles | self.unusable

    def require_usable(self) -> None:
        """Make sure that every file there was has been taken in.

        Raises:
            InvalidInput: some were not; the message names them.
        """
        if len(self.unusable) == 1:
            raise InvalidInput(*self.unusable.values())
        if self.unusable:
            raise InvalidInput(
                f"{len(self.unusable)} files could not be taken in:\n" + "\n".join(self.unusable.values())
            )


def land_pending(warehouse: Warehouse, folder: Path, intake_for: Callable[[Path], RecordIntake]) -> Landed:
    """Take in every file below ``folder``, sorted by path, and move each to ``_landed`` once it is stored.

    What can't be read stays where it is and doesn't hold up the others. If the process dies before a file is moved,
    the next call finds its content in the warehouse already; if a producer has written over it by then, the new
    content waits.
    """
    waiting = look_into(folder)
    landed = Landed(troubles=waiting.troubles)
    for group in _groups(sorted(waiting.files, key=attrgetter("path"))):
        if len(group) == 1 or not _landed_together(warehouse, folder, group, intake_for, landed):
            for found in group:
                _land_alone(warehouse, folder, found, intake_for, landed)
    return landed


def _groups(files: list[WaitingFile]) -> Iterator[list[WaitingFile]]:
    """Small files are taken in together, so many and so large at most that others do not wait long."""
    group: list[WaitingFile] = []
    for file in files:
        if group and (len(group) == _GROUP_FILES or sum(each.size for each in group) + file.size > _GROUP_BYTES):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _landed_together(
    warehouse: Warehouse,
    folder: Path,
    group: list[WaitingFile],
    intake_for: Callable[[Path], RecordIntake],
    landed: Landed,
) -> bool:
    """Take in a group in one transaction; False where one of it can't be, and nothing was done."""
    try:
        files = [WaitingFile.of(found.path, found.name, found.path.stat()) for found in group]
        reports = land_together(warehouse, ((file.path, intake_for(file.path)) for file in files))
    except (InvalidInput, OSError):
        return False
    landed.reports += reports
    for file in files:
        try:
            move_aside(file, folder, LANDED_FOLDER)
        except InvalidInput as error:
            landed.unusable[printable_name(file.name)] = str(error)
    return True


def _land_alone(
    warehouse: Warehouse,
    folder: Path,
    found: WaitingFile,
    intake_for: Callable[[Path], RecordIntake],
    landed: Landed,
) -> None:
    try:
        file = WaitingFile.of(found.path, found.name, found.path.stat())
        landed.reports.append(land_file(warehouse, file.path, intake_for(file.path)))
        move_aside(file, folder, LANDED_FOLDER)
    except FileNotFoundError:  # taken away since the folder was listed
        return
    except InvalidInput as error:
        if os.path.lexists(found.path):
            landed.unusable[printable_name(found.name)] = str(error)
    except OSError as error:
        landed.unusable[printable_name(found.name)] = f"{found.path} can't be read: {error.strerror}."


def known_problems(warehouse: Warehouse, zone: str) -> dict[str, str]:
    """What of a landing zone could not be taken in at the last look: the name of each entry, and why."""
    query = f"SELECT name, reason FROM {PROBLEMS_TABLE} WHERE zone = ? ORDER BY ALL"
    return dict(warehouse.read(query, [zone]).iter_rows())


def note_problems(warehouse: Warehouse, zone: str, problems: Mapping[str, str], *, now: datetime) -> None:
    """Let ``raw.landing_problems`` say what of a landing zone could not be taken in, and nothing else.

    Args:
        zone: the name of its folder.
        problems: the name of each entry, and why.
        now: the time of the look.
    """
    schema = {"zone": pl.String(), "name": pl.String(), "reason": pl.String(), "noticed_at": TIMESTAMP}
    rows = [(zone, name, reason, as_utc(now)) for name, reason in problems.items()]
    warehouse.overwrite(PROBLEMS_TABLE, pl.DataFrame(rows, schema=schema, orient="row"), zone=zone)


def nearest_mapping(path: Path, folder: Path) -> Path | None:
    """The ``mapping.yaml`` beside ``path``, or in the nearest parent up to ``folder``, whether it can be read or not.

    Raises:
        OSError: it can't be told whether there is one.
    """
    for parent in path.parents:
        with suppress(FileNotFoundError, NotADirectoryError):
            (parent / MAPPING_FILE).lstat()
            return parent / MAPPING_FILE
        if parent == folder:
            return None
    return None


def relative_name(path: Path, folder: Path) -> str:
    """The name of a delivery within ``folder``, as text that can be stored."""
    return printable_name(path.relative_to(folder).as_posix())
