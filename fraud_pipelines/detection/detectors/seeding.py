"""Seeded fits: libraries that draw from the process's own random generators draw from a seed, and leave no trace."""

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from typing import Final

import numpy as np

_ONE_AT_A_TIME: Final = threading.RLock()
_HASH_SEED: Final = "PYTHONHASHSEED"


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's and NumPy's generators, and put them back afterwards, with what PyOD sets in the environment."""
    with _ONE_AT_A_TIME:
        python, numpy, hashes = random.getstate(), np.random.get_state(), os.environ.get(_HASH_SEED)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            if hashes is None:
                os.environ.pop(_HASH_SEED, None)
            else:
                os.environ[_HASH_SEED] = hashes
