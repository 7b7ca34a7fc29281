"""What the environment says: its variables, the working directory's ``.env`` file, and a folder of secret files.

Every process reads it in the same way: a command, a server, the code location, and a run that Dagster started.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from dotenv import dotenv_values
from pydantic import AliasChoices, BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from fraud_pipelines.errors import InvalidInput

ENV_FILE: Final = ".env"
SECRETS_DIR: Final = "FRAUD_SECRETS_DIR"
UMASK: Final = "FRAUD_UMASK"
PRIVATE_UMASK: Final = "077"
UMASK_PATTERN: Final = "^0?[0-7]{3}$"
_OUTRANKING: Final = "FRAUD_OUTRANKING_ENV_FILE"

Model = TypeVar("Model", bound=BaseModel)


def load_env_file() -> None:
    """Set the variables of the working directory's ``.env`` that the environment leaves unset, or empty.

    They are set for the whole process, since Dagster, MLflow and database drivers read the environment themselves.

    Raises:
        InvalidInput: the file can't be read.
    """
    os.environ.update(json.loads(os.environ.get(_OUTRANKING) or "{}"))
    for name, value in _env_file().items():
        if value and not os.environ.get(name):
            os.environ[name] = value


def keep_files_private() -> None:
    """Let whatever this process and its children create be readable by its user alone, or as ``FRAUD_UMASK`` says.

    Raises:
        InvalidInput: the variable is no umask.
    """
    told = os.environ.get(UMASK) or PRIVATE_UMASK
    if not re.fullmatch(UMASK_PATTERN, told):
        raise InvalidInput(f"{UMASK}={told!r} is no umask: write three octal digits, such as 077 or 027")
    os.umask(int(told, 8))


def environment_for_dagster(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with ``changes``, for a process in which Dagster reads ``.env`` by itself.

    Dagster lets the file win over the environment. So what the environment says otherwise is passed on under a name
    of its own, from which `load_env_file` restores it.
    """
    environment = os.environ | changes
    outranking = {
        name: environment[name]
        for name, value in _env_file().items()
        if environment.get(name) and environment[name] != value
    }
    return environment | {_OUTRANKING: json.dumps(outranking)}


def read(model: type[Model], prefix: str) -> Model:
    """The settings that ``model`` declares, each from the variable ``prefix`` + its name in capitals.

    A field that holds settings itself is read with the same prefix; one with a validation alias, from that name.

    The environment comes first, then ``.env``, then a file of the variable's name in the folder
    ``FRAUD_SECRETS_DIR``, then the default. An empty variable counts as unset.

    Args:
        model: declares the settings; nothing is read when one is made by hand.
        prefix: such as ``FRAUD_``.

    Raises:
        InvalidInput: a variable has a value of the wrong type or out of range. A secret's value is not in the message.
    """
    load_env_file()
    folder = os.environ.get(SECRETS_DIR) or None
    if folder is None:
        # A day asks a dozen times; to validate them takes longer than to see that nothing changed.
        found: Model = _read_from(model, prefix, tuple(sorted(os.environ.items())))
        return found
    if not Path(folder).is_dir():
        raise InvalidInput(f"{SECRETS_DIR}={folder!r} is no folder")
    return _read(model, prefix, folder)


@lru_cache(maxsize=8)
def _read_from(model: type[Model], prefix: str, environment: tuple[tuple[str, str], ...]) -> Model:  # noqa: ARG001
    """As long as the environment stays the same, so do the settings."""
    return _read(model, prefix, None)


def _read(model: type[Model], prefix: str, folder: str | None) -> Model:
    # An import of a third of a second, which what reads no settings is spared.
    from pydantic_settings import SettingsError

    inner = {
        name: _read(field.annotation, prefix, folder)
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    try:
        found = _reader(model, prefix)(_secrets_dir=folder, **inner)
    except ValidationError as error:
        # Not from the error, which repeats the values.
        raise InvalidInput(_message(error, model, prefix)) from None
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{error}. The folder of secret files is {SECRETS_DIR}={folder!r}.") from error
    return model.model_validate({name: getattr(found, name) for name in model.model_fields})


@cache
def _reader(model: type[BaseModel], prefix: str) -> Any:
    """The class that reads such settings: to make one takes longer than to read by it."""
    from pydantic_settings import BaseSettings, SettingsConfigDict

    config = SettingsConfigDict(env_prefix=prefix, env_ignore_empty=True, extra="ignore")
    return type(model.__name__, (model, BaseSettings), {"model_config": config, "__module__": __name__})


def variable(model: type[BaseModel], prefix: str, field: str) -> str:
    """The name of the variable that a field is read from; of several, the one that is documented."""
    alias = model.model_fields[field].validation_alias
    return str(alias.choices[-1]).upper() if isinstance(alias, AliasChoices) else prefix + field.upper()


def variables(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Each variable that ``model`` is read from, those of settings in settings included, and its field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, prefix)
        else:
            yield variable(model, prefix, name), field


def _message(error: ValidationError, model: type[BaseModel], prefix: str) -> str:
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return reason
    field = str(first["loc"][0])
    name = variable(model, prefix, field) if field in model.model_fields else field.upper()
    secret = field in model.model_fields and model.model_fields[field].annotation is SecretStr
    return f"{name}: {reason}" if secret else f"{name}={first['input']!r}: {reason}"


def _env_file() -> dict[str, str]:
    """What ``.env`` holds, as Dagster reads it; a name without a value is left out."""
    path = Path(ENV_FILE)
    try:
        return {name: value for name, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.resolve()} can't be read: {error}") from error
