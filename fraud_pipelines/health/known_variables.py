"""The variables that the project knows, and those set that look like one and are none."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from fraud_pipelines.environment import SECRETS_DIR, variables
from fraud_pipelines.settings import ENVIRONMENT_PREFIX
from fraud_pipelines.settings_tables import TABLES

_BESIDE: Final = frozenset({SECRETS_DIR, "FRAUD_OUTRANKING_ENV_FILE", "FRAUD_REFERENCE_DATA", "FRAUD_MUTATIONS"})
"""What no declaration of settings names."""


def known_variables() -> frozenset[str]:
    """The names of all settings."""
    return _BESIDE.union(name for model, prefix in TABLES.values() for name, _ in variables(model, prefix))


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Each variable that begins as ours do and is none of them, with the one that was probably meant."""
    known = known_variables()
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and environment[name]:
            near = difflib.get_close_matches(name, known, n=1)
            yield name, near[0] if near else None
