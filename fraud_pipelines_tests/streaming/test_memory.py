"""Memory that is free goes back to the system."""

import ctypes.util
import resource
import subprocess
import sys
from pathlib import Path

import pytest

_STATM = Path("/proc/self/statm")
_HAS_TRIM = bool(ctypes.util.find_library("c")) and hasattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim")

_PROGRAM = """
from pathlib import Path
from fraud_pipelines.streaming.memory import give_back_memory

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

blocks = [bytes(4_000) for _ in range(50_000)]  # 200 MB
last = blocks[-1]  # lies above all the others, and stays
full = pages()
del blocks
give_back_memory()
print(full - pages())
"""


@pytest.mark.skipif(not (_STATM.exists() and _HAS_TRIM), reason="only glibc on Linux keeps what is freed")
def test_what_was_freed_below_a_block_in_use_is_given_back() -> None:
    printed = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True).stdout
    assert int(printed) * resource.getpagesize() > 150e6
