"""Settings: where the data lives and what the daily run assumes."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from fraud_pipelines.environment import PRIVATE_UMASK, UMASK_PATTERN, read
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.artifact_location import names_database_server

ENVIRONMENT_PREFIX: Final = "FRAUD_"
CLOCK_SKEW: Final = timedelta(seconds=120)
"""How far a timestamp may lie ahead of this machine's clock, unless `FRAUD_CLOCK_SKEW_SECONDS` says otherwise."""
MAX_AGE_YEARS: Final = 20
"""How old a transaction may be, unless `FRAUD_MAX_AGE_YEARS` says otherwise."""
LABEL_DELAY_DAYS: Final = 7
"""After how many days a transaction without a label counts as legitimate, unless `FRAUD_LABEL_DELAY_DAYS` differs."""
_SQLITE: Final = "sqlite:///"
_SHORTEST_KEY: Final = 32
"""Characters of a key that nobody can guess."""


def _folder_of_lake(address: str) -> str:
    if "://" in address.removeprefix("file://"):
        raise ValueError(f"{address} is the address of an object store; so far a lake lies in a folder")
    return str(Path(address.removeprefix("file://")).expanduser().resolve()) if address else ""


Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]


class Settings(BaseModel):
    """What differs between installations. Every field can be set as ``FRAUD_<FIELD>`` in the environment.

    Days are counted in whole UTC days, amounts in the currency of the transactions. The table of the README is written
    from the fields (`fraud_pipelines.settings_tables`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Folder = Field(default=Path("data"), validate_default=True, description="where everything is stored")
    mlflow_tracking_uri: str = Field(
        default="",
        repr=False,
        validation_alias=AliasChoices("fraud_mlflow_tracking_uri", "mlflow_tracking_uri"),
        description="the MLflow server, or [a database](docs/postgres.md) that MLflow keeps",
        json_schema_extra={"default": "SQLite in `data/mlflow/`"},
    )
    dagster_home: Folder = Field(
        default_factory=lambda fields: fields["data_dir"] / "dagster",
        validation_alias=AliasChoices("dagster_home"),
        description="Dagster's instance: its runs, events and `dagster.yaml`",
        json_schema_extra={"default": "`data/dagster`"},
    )
    first_day: date | None = Field(
        default=None, description="the first partition", json_schema_extra={"default": "the first imported day"}
    )
    policy: str = Field(
        default="balanced",
        description="`high_security`, `balanced`, `customer_friendly`, or one of `FRAUD_POLICIES_FILE`",
    )
    shadow_policies: str = Field(
        default="",
        description="policies, separated by commas, that decide [in shadow](docs/shadow.md) beside the one in force",
    )
    policies_file: Path | None = Field(
        default=None,
        description="[policies of your own](docs/decisions.md#policies)",
        json_schema_extra={"default": "`policies.yaml` in the data directory or `config/`"},
    )
    rules_file: Path | None = Field(
        default=None,
        description="[allow and block lists, hard rules](docs/decisions.md#hard-rules)",
        json_schema_extra={"default": "`rules.yaml` in the data directory or `config/`"},
    )
    declarations_file: Path | None = Field(
        default=None,
        description="[columns, entities and features of your own](docs/declarations.md)",
        json_schema_extra={"default": "`fraud.yaml` in the data directory or `config/`"},
    )
    config_dir: Folder = Field(
        default=Path("config"),
        validate_default=True,
        description="where policies, rules and declarations are looked for after the data directory",
    )
    base_currency: str = Field(
        default="",
        pattern="^([A-Z]{3})?$",
        description="what amounts are stored in, where [transactions say their currency](docs/mappings.md#currencies)",
        json_schema_extra={"default": "the only currency there is"},
    )
    rates_file: Path | None = Field(
        default=None,
        description="exchange rates: a CSV file with `date`, `currency` and `rate`, in base units",
        json_schema_extra={"default": "files in `landing/rates/`"},
    )
    training_days: int = Field(default=7, ge=1, description="trailing days a model is trained on")
    min_training_days: int = Field(
        default=3, ge=1, description="with fewer, a model is trained in-sample and tagged `bootstrap`"
    )
    training_sample_rows: int = Field(
        default=250_000,
        ge=1_000,
        description="a model learns from about so many rows, drawn by a hash of the id, where its days have more",
    )
    label_delay_days: int = Field(
        default=LABEL_DELAY_DAYS,
        ge=0,
        description="after which an unlabelled transaction counts as legitimate: in fraud rates, evaluation and tuning",
    )
    unreported_share: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="share of missed frauds never reported: [recall's lower bound](docs/tuning.md)",
    )
    evaluation_days: int = Field(default=14, ge=1, description="the matured window that performance and tuning look at")
    tuning_mode: Literal["auto", "propose"] = Field(
        default="auto",
        description="tuned thresholds take effect; `propose`: a [person accepts them](docs/tuning.md#by-a-person)",
    )
    pii_key: SecretStr = Field(
        default=SecretStr(""),
        description="a secret of at least 32 characters: of ids, [tokens made with it](docs/privacy.md) are stored",
        json_schema_extra={"default": "ids are stored as they are"},
    )
    alert_webhook: SecretStr = Field(
        default=SecretStr(""), description='where alerts are posted, as Slack takes them: `{"text": …}`'
    )
    warehouse: Literal["duckdb", "lake"] = Field(
        default="duckdb", description="where the tables lie: in one DuckDB file, or in [a lake](docs/lake.md)"
    )
    lake: Annotated[str, AfterValidator(_folder_of_lake)] = Field(
        default="",
        description="the folder of [the lake](docs/lake.md)",
        json_schema_extra={"default": "`lake/` in the data directory"},
    )
    engine: Literal["local", "spark"] = Field(
        default="local", description="what computes the parts of a day: this machine, or [Spark](docs/scale.md#spark)"
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="into how many [parts a big day is cut](docs/scale.md), each computed by a process of its own; on "
        "Spark at least 2",
    )
    spark_master: str = Field(
        default="local[2]", min_length=1, description="where Spark runs, unless `SPARK_REMOTE` says so"
    )
    work_dir: Path | None = Field(
        default=None,
        description="where the parts of a day lie while it is computed",
        json_schema_extra={"default": "`work/` in the data directory"},
    )
    warehouse_wait_seconds: float = Field(
        default=120.0, gt=0, description="how long to wait for another process that writes"
    )
    retry_pause_seconds: float = Field(
        default=10.0,
        ge=0,
        description="how long a step of a run waits before it is tried again, three times and longer each time",
    )
    clock_skew_seconds: float = Field(
        default=CLOCK_SKEW.total_seconds(),
        ge=0,
        le=86_400,
        description="how far a timestamp may lie ahead of this machine's clock before it counts as being in the future",
    )
    max_age_years: int = Field(
        default=MAX_AGE_YEARS,
        ge=1,
        le=1_000,
        description="how old a transaction may be: every day since the first is a partition, also for one wrong year",
    )
    day_marker: str = Field(
        default="",
        pattern="^(_.*)?$",
        description="file in `landing/transactions/` that says a [day is complete](docs/operation.md#the-night), "
        "such as `_complete-%Y-%m-%d`",
    )
    day_files: int = Field(default=0, ge=0, description="how many files, named by the day, make it complete")
    day_latest: time = Field(
        default=time(6), description="UTC, of the following day: `landing_sensor` starts the day then, complete or not"
    )
    keep_version_days: int = Field(
        default=60, ge=1, description="days whose model versions and training runs [`prune`](docs/operation.md) keeps"
    )
    keep_replay_days: int | None = Field(
        default=None,
        ge=1,
        description="days whose decisions can be replayed: `prune` keeps the versions that made them",
        json_schema_extra={"default": "all"},
    )
    keep_run_days: int = Field(default=60, ge=1, description="days for which `prune` keeps Dagster's runs of days")
    keep_stream_run_days: int = Field(
        default=2, ge=1, description="days for which `prune` keeps Dagster's runs that sensors start"
    )
    keep_tick_days: int = Field(default=7, ge=1, description="days for which `prune` keeps ticks of schedules, sensors")
    keep_landed_days: int = Field(default=60, ge=1, description="days for which `prune` keeps files that were taken in")
    mlflow_url: str = Field(
        default="",
        description="where people open MLflow; the links on Dagster's pages lead there",
        json_schema_extra={"default": "what `up` starts, or the MLflow server"},
    )
    review_url: str = Field(
        default="",
        description="where people open the review page; the links on Dagster's pages lead there",
        json_schema_extra={"default": "what `up` starts"},
    )
    allowed_hosts: str = Field(
        default="",
        description="names of the pages, with commas between, where [a proxy](docs/security.md) stands before them",
        json_schema_extra={"default": "this machine's own"},
    )
    reviewer_header: str = Field(
        default="",
        pattern="^[A-Za-z0-9-]*$",
        description="the header in which [a proxy with a login](docs/security.md#who-a-reviewer-is) says who asks",
        json_schema_extra={"default": "reviewers type their names"},
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="logs for people, or [a JSON object a line](docs/operation.md#logs)"
    )
    umask: str = Field(
        default=PRIVATE_UMASK,
        pattern=UMASK_PATTERN,
        description="which permissions new files don't get: by default they are readable by their user alone",
    )
    owner: str = Field(default="team:fraud", description="the owner of every asset in the Dagster UI")

    @field_validator("pii_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < _SHORTEST_KEY:
            raise ValueError(f"has fewer than {_SHORTEST_KEY} characters; make one with: openssl rand -hex 32")
        return key

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
        """Read the settings from ``FRAUD_*``, ``MLFLOW_TRACKING_URI`` and ``DAGSTER_HOME``; ``.env`` included.

        Raises:
            InvalidInput: a variable has a value of the wrong type or out of range.
        """
        return read(cls, ENVIRONMENT_PREFIX)

    @property
    def token_key(self) -> bytes:
        """The bytes of `pii_key`; none where it is not set."""
        return self.pii_key.get_secret_value().encode()

    @property
    def clock_skew(self) -> timedelta:
        """How far a timestamp may lie ahead of the clock."""
        return timedelta(seconds=self.clock_skew_seconds)

    @property
    def allowed_host_names(self) -> list[str]:
        """The names of `allowed_hosts`."""
        return [name.strip() for name in self.allowed_hosts.split(",") if name.strip()]

    @property
    def shadow_policy_names(self) -> list[str]:
        """The names of `shadow_policies`, each once."""
        return list(dict.fromkeys(name.strip() for name in self.shadow_policies.split(",") if name.strip()))

    def allowing(self, hosts: Iterable[str]) -> Self:
        """These settings, with further names that the pages may be asked for under."""
        return self.model_copy(update={"allowed_hosts": ",".join([*self.allowed_host_names, *hosts])})

    @property
    def warehouse_path(self) -> Path:
        """The live warehouse, which runs write to: a DuckDB file, or the folder of the lake (see `storage.opening`)."""
        if self.warehouse == "lake":
            return Path(self.lake) if self.lake else self.data_dir / "lake"
        return self.data_dir / "warehouse" / "live.duckdb"

    @property
    def published_path(self) -> Path:
        """The published warehouse, which people open: a copy of the live file, or views over the lake."""
        return self.data_dir / "fraud.duckdb"

    @property
    def policies_path(self) -> Path | None:
        """The file of policies; None where there is none."""
        return self._configured(self.policies_file, "policies.yaml")

    @property
    def rules_path(self) -> Path | None:
        """The file of hard rules; None where there is none."""
        return self._configured(self.rules_file, "rules.yaml")

    @property
    def declarations_path(self) -> Path | None:
        """The file of declarations; None where there is none."""
        return self._configured(self.declarations_file, "fraud.yaml")

    def _configured(self, named: Path | None, default: str) -> Path | None:
        if named:
            return named.expanduser()
        paths = (folder / default for folder in (self.data_dir, self.config_dir))
        return next((path for path in paths if path.exists()), None)

    @property
    def landing_transactions(self) -> Path:
        return self.data_dir / "landing" / "transactions"

    @property
    def landing_rates(self) -> Path:
        return self.data_dir / "landing" / "rates"

    @property
    def landing_labels(self) -> Path:
        return self.data_dir / "landing" / "labels"

    @property
    def landing_stream(self) -> Path:
        return self.data_dir / "landing" / "stream"

    @property
    def work_path(self) -> Path:
        """Where a day that is cut into shards has a folder, for as long as it is computed."""
        return (self.work_dir or self.data_dir / "work").expanduser().resolve()

    @property
    def trials_dir(self) -> Path:
        return self.data_dir / "trials"

    @property
    def reports_dir(self) -> Path:
        """Where the weekly reports lie."""
        return self.data_dir / "reports"

    @property
    def simulation_dir(self) -> Path:
        return self.data_dir / "simulation"

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
        """Where MLflow keeps artifacts: beside its SQLite database, or for another database in the data directory.

        None where a server decides for itself.
        """
        if self.mlflow_database:
            return self.mlflow_database.with_name("artifacts")
        return self.mlflow_dir / "artifacts" if names_database_server(self.tracking_uri) else None

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
