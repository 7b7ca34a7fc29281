"""Memory that is free is given back to the system: a process that lives for days should not grow with its peaks."""

import ctypes
import ctypes.util
import gc
from functools import cache
from typing import Any


def give_back_memory() -> None:
    """Collect what nobody holds, and have the C library return its free pages.

    glibc keeps what was freed below a block that is still in use. Threads that each filled their own part of the heap
    leave such holes by the hundred megabytes. Elsewhere than on glibc only Python's own collection runs.
    """
    gc.collect()
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's `malloc_trim`, None where the C library has none."""
    name = ctypes.util.find_library("c")
    return getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
