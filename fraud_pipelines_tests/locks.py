"""Another process that has the DuckDB file open, as an analyst's shell does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
import duckdb, sys
held = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
print("held", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Holder:
    """The process that has the file open."""

    process: subprocess.Popen[bytes]

    def let_go(self) -> None:
        """End it, and wait until the file is free."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def held_elsewhere(path: Path, *, read_only: bool = False) -> Iterator[Holder]:
    """Let another process hold the file until it lets go, or as long as the block lasts."""
    arguments = [sys.executable, "-c", _SCRIPT, str(path), "reading" if read_only else "writing"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        holder = Holder(process)
        try:
            yield holder
        finally:
            holder.let_go()
