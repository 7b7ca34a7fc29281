"""Settings: where the data lives and what the daily run assumes, read from the environment once."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from fraud_pipelines.errors import InvalidInput

ENVIRONMENT_PREFIX = "FRAUD_"
_SQLITE = "sqlite:///"


class Settings(BaseModel):
    """What differs between installations. Every field can be set as ``FRAUD_<FIELD>`` in the environment.

    Days are counted in whole UTC days, amounts in the currency of the transactions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(default=Path("data"), description="Everything the project stores lies below it.")
    mlflow_tracking_uri: str = Field(
        default="",
        description="MLflow server, or sqlite:///path of a database; empty means SQLite under the data directory.",
    )
    first_day: date | None = Field(
        default=None, description="First daily partition; empty means the day noted at the first import."
    )
    policy: str = Field(default="balanced", description="The decision policy in force.")
    policies_file: Path | None = Field(
        default=None, description="Policies in YAML; empty means policies.yaml in the data directory, if it is there."
    )
    rules_file: Path | None = Field(
        default=None, description="Hard rules in YAML; empty means rules.yaml in the data directory, if it is there."
    )
    training_days: int = Field(default=7, ge=1, description="Trailing days a daily model is trained on.")
    min_training_days: int = Field(
        default=3, ge=1, description="With fewer days of history, a model is trained in-sample (bootstrap)."
    )
    training_sample_rows: int = Field(
        default=250_000, ge=1_000, description="A model learns from about so many rows where its days have more."
    )
    label_delay_days: int = Field(
        default=7, ge=0, description="Days after which a transaction without a label counts as legitimate."
    )
    evaluation_days: int = Field(
        default=14, ge=1, description="Length of the matured window that performance and tuning look at."
    )
    tuning_mode: Literal["auto", "propose"] = Field(
        default="auto", description="Put tuned thresholds in force, or propose them to a person who accepts them."
    )
    warehouse_wait_seconds: float = Field(
        default=120.0, gt=0, description="How long to wait for another process to let go of the DuckDB file."
    )
    alert_webhook: SecretStr = Field(
        default=SecretStr(""), description="Where alerts are posted, as Slack takes them; empty means nowhere."
    )
    owner: str = Field(default="team:fraud", description="Owner shown on every asset in the Dagster UI.")

    @model_validator(mode="after")
    def _history_can_suffice(self) -> Self:
        if self.training_days < self.min_training_days:
            raise ValueError(
                f"FRAUD_TRAINING_DAYS={self.training_days} lies below FRAUD_MIN_TRAINING_DAYS="
                f"{self.min_training_days}: every model would be trained on the day it scores"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings from ``FRAUD_*`` variables and ``MLFLOW_TRACKING_URI``.

        Raises:
            InvalidInput: a variable has a value of the wrong type or out of range.
        """
        values = {
            name: os.environ[ENVIRONMENT_PREFIX + name.upper()]
            for name in cls.model_fields
            if os.environ.get(ENVIRONMENT_PREFIX + name.upper())
        }
        values.setdefault("mlflow_tracking_uri", os.environ.get("MLFLOW_TRACKING_URI", ""))
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise InvalidInput(first["msg"].removeprefix("Value error, ")) from error
            variable = ENVIRONMENT_PREFIX + str(first["loc"][0]).upper()
            raise InvalidInput(f"{variable}={first['input']!r}: {first['msg']}") from error
        return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().resolve()})

    @property
    def warehouse_path(self) -> Path:
        return self.data_dir / "fraud.duckdb"

    @property
    def policies_path(self) -> Path | None:
        """The file of policies; None where there is none."""
        return self._configured(self.policies_file, "policies.yaml")

    @property
    def rules_path(self) -> Path | None:
        """The file of hard rules; None where there is none."""
        return self._configured(self.rules_file, "rules.yaml")

    def _configured(self, named: Path | None, default: str) -> Path | None:
        if named:
            return named.expanduser()
        path = self.data_dir / default
        return path if path.exists() else None

    @property
    def landing_transactions(self) -> Path:
        return self.data_dir / "landing" / "transactions"

    @property
    def landing_labels(self) -> Path:
        return self.data_dir / "landing" / "labels"

    @property
    def landing_stream(self) -> Path:
        return self.data_dir / "landing" / "stream"

    @property
    def simulation_dir(self) -> Path:
        return self.data_dir / "simulation"

    @property
    def dagster_home(self) -> Path:
        return Path(os.environ.get("DAGSTER_HOME") or self.data_dir / "dagster")

    @property
    def mlflow_dir(self) -> Path:
        return self.data_dir / "mlflow"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or f"{_SQLITE}{self.mlflow_dir / 'mlflow.db'}"

    @property
    def mlflow_database(self) -> Path | None:
        """MLflow's SQLite file; None where a server keeps the models."""
        if not self.tracking_uri.startswith(_SQLITE):
            return None
        return Path(self.tracking_uri.removeprefix(_SQLITE).partition("?")[0]).resolve()

    @property
    def artifact_root(self) -> Path | None:
        """Where MLflow keeps artifacts: beside its SQLite database; a server decides for itself."""
        return self.mlflow_database.with_name("artifacts") if self.mlflow_database else None

    @property
    def first_partition(self) -> date:
        """The first daily partition: as set, else as noted at the first import, else thirty days ago."""
        if self.first_day:
            return self.first_day
        noted = self._noted_first_day()
        if noted:
            return noted
        return datetime.now(UTC).date() - timedelta(days=30)

    def note_first_day(self, day: date) -> None:
        """Remember ``day`` as the start of the partitions, unless an earlier one is noted already."""
        day = min(day, self._noted_first_day() or day)
        self._first_day_note.parent.mkdir(parents=True, exist_ok=True)
        aside = self._first_day_note.with_suffix(".tmp")
        aside.write_text(day.isoformat())
        aside.replace(self._first_day_note)

    def _noted_first_day(self) -> date | None:
        if not self._first_day_note.exists():
            return None
        try:
            return date.fromisoformat(self._first_day_note.read_text().strip())
        except ValueError as error:
            raise InvalidInput(
                f"{self._first_day_note} should hold the first day, such as 2026-10-01, and holds something else: "
                "correct it, or delete it and import again."
            ) from error

    @property
    def _first_day_note(self) -> Path:
        return self.data_dir / "first_day"
