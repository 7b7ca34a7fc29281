"""Packed files: gzip, bzip2, Zstandard and ZIP, told by their first bytes, and unpacked up to a limit."""

import bz2
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from fraud_pipelines.errors import InaccessibleFile, InvalidInput

BLOCK_BYTES: Final = 1 << 24
PACKED: Final = (".gz", ".bz2", ".zst")
"""Endings that may follow that of the format; it is the content that counts."""

ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_MEMBERS: Final = 10_000
_FREE_BYTES: Final = 1 << 28
_MOST_TIMES: Final = 1_000
"""What unpacks to more than this many times its size is no file of records."""


@dataclass(frozen=True)
class Member:
    """One file of records, by itself or within an archive.

    Attributes:
        name: the file's, or that within the archive; without the ending of the packing.
        blocks: gives the content, unpacked, from its beginning.
    """

    name: str
    blocks: Callable[[], Iterator[bytes]]


def members(path: Path, *, limit: float = float("inf")) -> list[Member]:
    """The files of records in ``path``: itself, or those in an archive, in the order of their names.

    Args:
        limit: bytes that all of it may hold, unpacked.

    Raises:
        InvalidInput: it is a damaged or encrypted archive, or one without files. Reading a member raises it, too, where
            damage shows only then, or where there is more than the limit.
    """
    if not _starts_with(path, ZIP, _EMPTY_ZIP) or is_workbook(path):
        return [Member(_unpacked_name(path.name), lambda: _limited(path, lambda: _blocks(path), limit))]
    with _readable(path), zipfile.ZipFile(path) as archive:
        if not all(info.filename for info in archive.infolist()):
            raise InvalidInput(f"{path} can't be read: a file in it has no name. Deliver it again whole.")
        infos = sorted((info for info in archive.infolist() if _holds_records(info)), key=lambda info: info.filename)
    if not infos:
        raise InvalidInput(f"{path} is an archive without files. Deliver it again with its content.")
    if len(infos) > _MEMBERS:
        raise InvalidInput(f"{path} is an archive of {len(infos):,} files; at most {_MEMBERS:,} are read.")
    if any(info.flag_bits & 1 for info in infos):
        raise InvalidInput(f"{path} is encrypted. Unpack it, and deliver what it holds.")
    return [
        Member(info.filename, lambda name=info.filename: _limited(path, lambda: _member_blocks(path, name), limit))  # type: ignore[misc]
        for info in infos
    ]


def is_workbook(path: Path) -> bool:
    """Whether a file is an Excel workbook, which is a ZIP archive, too."""
    if not _starts_with(path, ZIP):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def unpacked_size(path: Path) -> int:
    """Bytes that the members of a ZIP archive say they hold, all together."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def require_no_bomb(path: Path, size: int, limit: float) -> None:
    """Make sure that ``size`` unpacked bytes are within the limit, and not out of all proportion to the file.

    Raises:
        InvalidInput: they are not.
    """
    if size > limit:
        raise InvalidInput(
            f"{path} holds more than {limit / 1e9:g} GB. If that is right, set file.max_gigabytes in the mapping."
        )
    if size > _FREE_BYTES and size > _MOST_TIMES * max(path.stat().st_size, 1):
        raise InvalidInput(
            f"{path} unpacks to more than {_MOST_TIMES:,} times its size, as no file of records does. "
            "It was not read any further."
        )


def _limited(path: Path, blocks: Callable[[], Iterator[bytes]], limit: float) -> Iterator[bytes]:
    size = 0
    for block in blocks():
        size += len(block)
        require_no_bomb(path, size, limit)
        yield block


def _blocks(path: Path) -> Iterator[bytes]:
    """The content in pieces, unpacked where it is packed, whatever the name says."""
    with _readable(path), _opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _opened(path: Path) -> BinaryIO:
    if _starts_with(path, _GZIP):
        return cast(BinaryIO, gzip.open(path))
    if _starts_with(path, _BZIP2):
        return cast(BinaryIO, bz2.open(path))
    if _starts_with(path, _ZSTANDARD):
        import zstandard

        return cast(BinaryIO, zstandard.open(path, "rb"))
    return path.open("rb")


def _member_blocks(path: Path, name: str) -> Iterator[bytes]:
    with _readable(path), zipfile.ZipFile(path) as archive, archive.open(name) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _holds_records(info: zipfile.ZipInfo) -> bool:
    """Not a folder, nor what systems add to archives of their own accord."""
    parts = PurePosixPath(info.filename).parts
    return not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _unpacked_name(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(ending)] for ending in PACKED if lower.endswith(ending)), name)


def _starts_with(path: Path, *marks: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(marks)
    except OSError:
        return False


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says in our words what can't be read of a file."""
    from zstandard import ZstdError

    damages = (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, ZstdError, NotImplementedError)
    try:
        yield
    except damages as error:
        raise InvalidInput(f"{path} can't be read: {error}. Deliver it again whole.") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise InvalidInput(f"{path} can't be read: {error}. Deliver it again whole.") from error
        raise InaccessibleFile(
            f"{path} can't be read: {error}. Check its permissions, and the file system it lies on."
        ) from error


def concatenated(blocks: Iterable[bytes]) -> bytes:
    """All of them."""
    return b"".join(blocks)
