"""How many random examples a property is tried with: a quarter of them ordinarily, all in a thorough run.

``FRAUD_TEST_THOROUGH=1`` makes a run thorough. Examples are random: what one run leaves out another one tries.
"""

import os
from collections.abc import Sequence
from typing import Final

from hypothesis import HealthCheck, settings

THOROUGH: Final = bool(os.environ.get("FRAUD_TEST_THOROUGH"))
MOST: Final = 100
"""Examples of a property that doesn't say how many it takes."""


def number_of(most: int) -> int:
    """How many of ``most`` are tried in this run, at least four."""
    return most if THOROUGH else min(most, max(4, most // 4))


def examples(most: int, *, unchecked: Sequence[HealthCheck] = ()) -> settings:
    """Decorates a property that a thorough run tries with ``most`` examples.

    An example may be slow on a busy machine, or because it imports; that is no failure.

    Args:
        most: examples of a thorough run.
        unchecked: what Hypothesis would object to and is meant here.
    """
    return settings(max_examples=number_of(most), deadline=None, suppress_health_check=unchecked)
