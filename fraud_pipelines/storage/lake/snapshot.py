"""A snapshot of a lake: the state that a manifest names, and what a transaction makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.storage.lake.catalogue import Catalogue
from fraud_pipelines.storage.lake.delta import LakeFile, bring_to, files_of
from fraud_pipelines.storage.lake.manifests import Manifest, Manifests, ManifestTaken

_TRIES = 50


class WriteConflict(WarehouseBusy):
    """Another writer has changed the same day of a table since this transaction began; nothing of it was stored."""


@dataclass(frozen=True)
class Snapshot:
    """What the tables of a lake are at a manifest.

    Attributes:
        root: the folder of the lake.
        manifest: names the version of every table.
        catalogue: the tables and their columns.
    """

    root: Path
    manifest: Manifest
    catalogue: Catalogue

    @classmethod
    def empty(cls, root: Path) -> "Snapshot":
        """Before the first manifest."""
        return cls(root, Manifest(uuid4().hex, 0, ""), Catalogue())

    @classmethod
    def of(cls, root: Path, manifest: Manifest) -> "Snapshot":
        """The state that a manifest names."""
        return cls(root, manifest, Manifests(root).catalogue(manifest.catalogue))

    def files(self, table: str) -> tuple[LakeFile, ...]:
        """The files of a table, in the order of their rows."""
        version = self.manifest.tables.get(table)
        return () if version is None else files_of(self.root, self.manifest.lake, table, version)


@dataclass
class Change:
    """What a transaction changes of one table: files that are no more a part of it, and files that are."""

    removed: set[LakeFile] = field(default_factory=set)
    added: list[LakeFile] = field(default_factory=list)

    @property
    def partitions(self) -> set[str | None]:
        """The partitions whose rows it changes."""
        return {file.partition for file in (*self.removed, *self.added)}


def commit(base: Snapshot, changes: Mapping[str, Change], catalogue: Catalogue) -> Snapshot:
    """Store ``changes`` to ``base``, all of them or nothing; returns the state with them.

    Every table gets a version in Delta's log, then one manifest names them. Changes that others have committed since
    to other partitions stay.

    Raises:
        WriteConflict: others have changed a partition that this changes, too, or the catalogue.
    """
    manifests = Manifests(base.root)
    for _ in range(_TRIES):
        latest = _latest(base, manifests)
        if latest is not base:
            _require_apart(base, latest, changes, catalogue)
        named = manifests.put_catalogue(catalogue) if catalogue != base.catalogue else latest.manifest.catalogue
        after = catalogue if catalogue != base.catalogue else latest.catalogue
        tables = {name: version for name, version in latest.manifest.tables.items() if name in after.tables}
        for table, change in sorted(changes.items()):
            if table in after.tables:
                files = [file for file in latest.files(table) if file not in change.removed] + change.added
                tables[table] = bring_to(base.root, base.manifest.lake, table, files, after.tables[table])
        try:
            manifest = manifests.put(
                replace(latest.manifest, number=latest.manifest.number + 1, catalogue=named, tables=tables)
            )
        except ManifestTaken:
            continue
        return Snapshot(base.root, manifest, after)
    raise WriteConflict(f"The lake {base.root} is written to all the time by others. Try again.")


def _latest(base: Snapshot, manifests: Manifests) -> Snapshot:
    manifest = manifests.latest()
    if manifest is None or manifest.number == base.manifest.number:
        return base
    return Snapshot.of(base.root, manifest)


def _require_apart(base: Snapshot, latest: Snapshot, changes: Mapping[str, Change], catalogue: Catalogue) -> None:
    if base.catalogue not in (catalogue, latest.catalogue):
        raise WriteConflict(f"Another process has changed the tables of {base.root}. Try again.")
    for table, change in changes.items():
        before, after = set(base.files(table)), set(latest.files(table))
        both = {file.partition for file in before ^ after} & change.partitions
        if both:
            what = " and ".join(sorted(str(value) for value in both if value is not None))
            raise WriteConflict(
                f"Another process has changed {table}{f' of {what}' if what else ''} since this began; nothing was "
                "stored. Try again."
            )
