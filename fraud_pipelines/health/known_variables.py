"""The variables that the project knows, and those set that look like one and are none."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from fraud_pipelines.environment import SECRETS_DIR, variable
from fraud_pipelines.settings import ENVIRONMENT_PREFIX, Settings
from fraud_pipelines.streaming.settings import KAFKA_PREFIX, PREFIX, KafkaSettings, StreamSettings

_BESIDE: Final = frozenset({SECRETS_DIR, "FRAUD_OUTRANKING_ENV_FILE", "FRAUD_REFERENCE_DATA", "FRAUD_MUTATIONS"})
"""What no declaration of settings names."""


def known_variables() -> frozenset[str]:
    """The names of all settings."""
    found = {
        *_names(Settings, ENVIRONMENT_PREFIX),
        *_names(StreamSettings, PREFIX),
        *_names(KafkaSettings, KAFKA_PREFIX),
    }
    return frozenset(found | _BESIDE)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Each variable that begins as ours do and is none of them, with the one that was probably meant."""
    known = known_variables()
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and environment[name]:
            near = difflib.get_close_matches(name, known, n=1)
            yield name, near[0] if near else None


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, prefix)
        else:
            yield variable(model, prefix, name)
