"""Few payments are enough for a population, so that random rows have one."""

from collections.abc import Iterator

import pytest

from fraud_pipelines.features import population


@pytest.fixture(scope="module", autouse=True)
def three_payments_are_enough() -> Iterator[None]:
    """Of random rows hardly ever as many as in production lie within four weeks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "ENOUGH", 3)
        yield
