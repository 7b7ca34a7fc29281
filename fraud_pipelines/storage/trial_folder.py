"""The folder of a trial: its own files, which go when it ends, however it ends, unless they are kept."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_UNFINISHED: Final = ".unfinished-"
_LOCK: Final = "lock"


@contextmanager
def trial_folder(root: Path, *, keep_as: str | None = None) -> Iterator[Path]:
    """A fresh folder below ``root``.

    After an error it is removed. A process that is killed leaves it behind, and the next trial removes it: it tells by
    the lock, which goes with the process that held it.

    Args:
        keep_as: the name under which it stays, in place of an earlier one; None: it is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
        if keep_as:
            (folder / _LOCK).unlink()
            shutil.rmtree(root / keep_as, ignore_errors=True)
            folder.rename(root / keep_as)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # there are others
            root.rmdir()


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_UNFINISHED}*"):
        path = folder / _LOCK
        if not path.exists():
            continue  # just made, and about to be locked
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        shutil.rmtree(folder, ignore_errors=True)
