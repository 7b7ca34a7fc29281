"""The manifests of a lake: each names a version of every table. The last one written is what readers see."""

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.storage.lake.catalogue import Catalogue, digest

LAYOUT: Final = 1
"""How the files of a lake lie and what a manifest says. A release reads lakes up to the layout it knows."""

_NAME: Final = re.compile(r"(\d{20})\.json")


class ManifestTaken(Exception):
    """Another writer has put a manifest of that number."""


@dataclass(frozen=True)
class Manifest:
    """A state of the whole lake.

    Attributes:
        lake: names the lake, whatever folder it lies in.
        number: one more than that of the manifest before.
        catalogue: names the catalogue by its content.
        tables: the version of each table in Delta's log; a table without rows may have none.
        written_at: naive UTC, as ISO 8601.
        layout: how the lake lies, see `LAYOUT`.
    """

    lake: str
    number: int
    catalogue: str
    tables: Mapping[str, int] = field(default_factory=dict)
    written_at: str = ""
    layout: int = LAYOUT


class Manifests:
    """The manifests and catalogues in the folder of a lake."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "_manifests"
        self._catalogues = root / "_catalogues"

    def numbers(self) -> list[int]:
        """Of all manifests, ascending."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def latest(self) -> Manifest | None:
        """The last manifest; None while there is none."""
        numbers = self.numbers()
        return self.read(numbers[-1]) if numbers else None

    def read(self, number: int) -> Manifest:
        """The manifest of that number.

        Raises:
            MissingData: there is none.
            InvalidInput: a newer release wrote it.
        """
        try:
            content = json.loads(self._path(number).read_text())
        except FileNotFoundError as error:
            raise MissingData(
                f"The lake {self.root} has no snapshot {number}: it goes from {self.numbers()[:1]} to "
                f"{self.numbers()[-1:]}."
            ) from error
        if content["layout"] > LAYOUT:
            raise InvalidInput(
                f"The lake {self.root} was written by a newer release of fraud-pipelines: its layout is "
                f"{content['layout']}, and this release knows {LAYOUT}. Install the newer release."
            )
        return Manifest(**content)

    def put(self, manifest: Manifest) -> Manifest:
        """Write a manifest, whole and durably; returns it as written.

        Raises:
            ManifestTaken: there is one of that number.
        """
        written = Manifest(
            lake=manifest.lake,
            number=manifest.number,
            catalogue=manifest.catalogue,
            tables=dict(sorted(manifest.tables.items())),
            written_at=datetime.now(UTC).replace(tzinfo=None).isoformat(),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{uuid.uuid4().hex}.tmp"
        _write(aside, json.dumps(asdict(written)))
        try:
            os.link(aside, self._path(written.number))  # fails where the name is taken
        except FileExistsError as error:
            raise ManifestTaken from error
        finally:
            aside.unlink()
        sync(self.folder)
        return written

    def put_catalogue(self, catalogue: Catalogue) -> str:
        """Keep a catalogue; returns its name."""
        text = catalogue.to_json()
        name = digest(text)
        path = self._catalogues / f"{name}.json"
        if not path.exists():
            self._catalogues.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
            _write(aside, text)
            aside.replace(path)
            sync(self._catalogues)
        return name

    def catalogue(self, name: str) -> Catalogue:
        """The catalogue of that name."""
        return Catalogue.from_json((self._catalogues / f"{name}.json").read_text())

    def remove(self, number: int) -> None:
        """Remove a manifest: what it alone names can't be seen any more."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:020d}.json"


def sync(path: Path) -> None:
    """Have the file or folder on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    sync(path)
