"""What steps print, kept in files for Dagster's UI and shown in the terminal: named in our ``dagster.yaml``.

Dagster's own starts four processes for every run, two of them Python, to follow the two files, and what is printed in
the last second may not be shown. Here two threads follow them, to their end. The files are Dagster's own.
"""

import os
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

_POLL_SECONDS: Final = 0.1


class FollowedLogManager(LocalComputeLogManager):
    """Captured output in ``storage`` below ``base_dir``, where Dagster's default has it."""

    def __init__(
        self, base_dir: str, polling_timeout: float | None = None, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(str(Path(base_dir) / "storage"), polling_timeout, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> "FollowedLogManager":
        return cls(inst_data=inst_data, base_dir=config_value["base_dir"])

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Write to files, as long as the block lasts, what this process and its children print."""
        out, err = (
            Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        with _captured(sys.stdout, out), _captured(sys.stderr, err):
            yield CapturedLogContext(log_key)
        # Dagster takes the file's presence for the end of what is printed.
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]


@contextmanager
def _captured(stream: IO[str], path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        terminal = os.dup(stream.fileno())
    except (OSError, AttributeError):
        # In a test, or where the stream is closed: there is nothing to write to a file.
        yield
        return
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(path, terminal, ended), name=f"show {path.name}", daemon=True)
    try:
        with redirect_to_file(stream, path):
            follower.start()
            yield
    finally:
        ended.set()
        follower.join()
        os.close(terminal)


def _follow(path: Path, terminal: int, ended: threading.Event) -> None:
    with path.open("rb") as printed, suppress(BrokenPipeError):
        last = False
        while not last:
            last = ended.wait(_POLL_SECONDS)
            while piece := printed.read(1 << 16):
                while piece:
                    piece = piece[os.write(terminal, piece) :]
