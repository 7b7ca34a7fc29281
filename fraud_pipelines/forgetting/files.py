"""A person is removed from files: what was landed goes, logs and other texts are redacted."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import polars as pl

from fraud_pipelines.forgetting.person import Person
from fraud_pipelines.settings import Settings
from fraud_pipelines.streaming.files import UNREADABLE_FOLDER
from fraud_pipelines.transactions.landing_zone import LANDED_FOLDER

_CHUNK: Final = 16_000_000
_TEXTS: Final = frozenset({".out", ".err", ".log", ".txt", ".json", ".jsonl", ".csv", ".tsv", ".md", ".svg", ".html"})
_MODEL: Final = "fraud_model"
"""The folder of a model's own files, whose digest is kept apart: changed, the model is refused."""


@dataclass(frozen=True)
class FileDone:
    """What became of a file that names the person: ``removed``, ``redacted``, or it ``stays``, and why."""

    path: Path
    what: str
    why: str = ""


def forget_in_files(
    settings: Settings, person: Person, sources: Iterable[str], others: Iterable[Path]
) -> list[FileDone]:
    """Remove or redact each file below the folders of an installation that names the person.

    Args:
        sources: the deliveries that brought the person's payments: what landed of them goes, whatever it holds.
        others: files that are looked after elsewhere: databases, the warehouse.
    """
    left_out = {path.resolve() for path in others}
    brought = {name.rpartition(": ")[2] for name in sources}
    done = []
    for path in _files(settings):
        if path.resolve() in left_out or path.name.endswith(("-wal", "-shm", "-journal")):
            continue
        landed = _folder_of_landed(path, settings)
        if landed and any(_is_named(path.relative_to(landed).as_posix(), name) for name in brought):
            path.unlink()
            done.append(FileDone(path, "removed"))
        elif holds(path, person):
            done.append(_forgotten(path, person, settings, landed))
    return done


def holds(path: Path, person: Person) -> bool:
    """Whether a file names the person, in what is packed in it too."""
    try:
        if path.suffix == ".parquet":
            return _parquet_holds(path, person)
        return any(person.is_in(content) for content in _contents(path))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pl.exceptions.PolarsError):
        return person.is_in(path.read_bytes()) if path.exists() else False


def _files(settings: Settings) -> Iterator[Path]:
    folders = [settings.data_dir, settings.dagster_home, settings.work_path]
    folders += [settings.artifact_root] if settings.artifact_root else []
    outermost = [each for each in folders if not any(each != other and each.is_relative_to(other) for other in folders)]
    for folder in dict.fromkeys(outermost):
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _folder_of_landed(path: Path, settings: Settings) -> Path | None:
    landing = settings.landing_transactions.parent
    if not path.is_relative_to(landing):
        return None
    zone, _, *_ = (*path.relative_to(landing).parts, "")
    for aside in (LANDED_FOLDER, UNREADABLE_FOLDER):
        if path.is_relative_to(landing / zone / aside):
            return landing / zone / aside
    return None


def _is_named(landed: str, source: str) -> bool:
    """Whether a landed file is that delivery: where names were taken, a digest stands behind them."""
    return landed == source or landed.startswith(f"{source}.")


def _forgotten(path: Path, person: Person, settings: Settings, landed: Path | None) -> FileDone:
    passing = (settings.simulation_dir, settings.trials_dir, settings.work_path)
    if landed or any(path.is_relative_to(folder) for folder in passing):
        path.unlink()
        return FileDone(path, "removed")
    if path.is_relative_to(settings.landing_transactions.parent):
        return FileDone(path, "stays", "it waits to be taken in")
    if _MODEL in path.parts:
        return FileDone(path, "stays", "a model has learned the id as a category: train without that column, and prune")
    if path.suffix not in _TEXTS:
        return FileDone(path, "stays", "it is not written by this project, or no text")
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    aside = path.with_name(f"{path.name}.new")
    aside.write_bytes(person.redacted(text).encode("utf-8", "surrogateescape"))
    aside.chmod(path.stat().st_mode & 0o777)
    aside.replace(path)
    if holds(path, person):
        return FileDone(path, "stays", "the id is part of a longer word, or a number")
    return FileDone(path, "redacted")


def _contents(path: Path) -> Iterator[bytes]:
    """The content in pieces that overlap, so that no name is cut; that of packed files unpacked."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    yield from _pieces(member)
        return
    with _opened(path) as file:
        yield from _pieces(file)


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    before = b""
    while piece := file.read(_CHUNK):
        yield before + piece
        before = piece[-1_000:]


def _parquet_holds(path: Path, person: Person) -> bool:
    rows = pl.read_parquet(path)
    texts = [rows[name].cast(pl.String) for name, kind in rows.schema.items() if kind in (pl.String, pl.Categorical)]
    return any(person.is_in("\n".join(column.drop_nulls().unique()).encode()) for column in texts)
