"""What the stream is told: when its detector learns, what it flags, how much it holds in memory, where a topic is."""

import json
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fraud_pipelines.environment import read, variable
from fraud_pipelines.errors import InvalidInput

PREFIX: Final = "FRAUD_STREAM_"
KAFKA_PREFIX: Final = f"{PREFIX}KAFKA_"


class DetectorSettings(BaseModel):
    """When a stream detector learns, from how much, and what it flags; the defaults are the original's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_samples: int = Field(default=100, ge=2, description="transactions collected before the first model")
    retrain_interval: int = Field(default=1_000, ge=1, description="transactions between one training and the next")
    window_size: int = Field(default=10_000, ge=2, description="latest transactions a model learns from")
    threshold: float = Field(default=0.4, ge=0, le=1, description="above it the ensemble is asked")
    contamination: float = Field(default=0.01, gt=0, le=0.5, description="share of traffic that scores above 0.5")
    backend: str = Field(default="ecod", description="the detector")

    @model_validator(mode="after")
    def _a_window_holds_the_first_samples(self) -> Self:
        if self.window_size < self.min_samples:
            raise ValueError(
                f"window_size {self.window_size} lies below min_samples {self.min_samples}: "
                "the first model would not see all that was collected for it"
            )
        return self

    @property
    def handover(self) -> int:
        """Transactions between the moment a model begins to learn and the one from which on it scores.

        It learns meanwhile beside the traffic, so that no transaction waits for it; and since the moment is a
        count, and no matter of time, the same transactions always meet the same models.
        """
        return self.retrain_interval // 5

    @property
    def kept(self) -> int:
        """Latest transactions from which every model that may still score can be learned again."""
        return self.window_size + self.retrain_interval + self.handover


class StreamSettings(BaseModel):
    """Settings of the stream. Each can be set as ``FRAUD_STREAM_<FIELD>`` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    detector: DetectorSettings = Field(default_factory=DetectorSettings)
    users_in_memory: int = Field(
        default=200_000, ge=2, description="histories of each kind held; idle ones are read again when needed"
    )
    commit_rows: int = Field(default=5_000, ge=1, le=10_000, description="transactions after which to commit")
    commit_files: int = Field(default=500, ge=1, description="files after which to commit")
    run_rows: int = Field(default=100_000, ge=1, description="transactions after which a run ends")
    settle_seconds: float = Field(default=1.0, ge=0, description="how long a file must have been left alone")
    hold_seconds: float = Field(default=2.0, ge=0, description="how long the warehouse stays open between commits")
    champion_seconds: float = Field(default=30.0, ge=0, description="how often to look for a new champion")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="port on which `stream-consume` tells its health and figures",
    )
    metrics_host: str = Field(default="127.0.0.1", description="address that it listens on for that")

    @model_validator(mode="after")
    def _what_is_not_committed_yet_stays_in_memory(self) -> Self:
        if self.users_in_memory < 2 * self.commit_rows:
            raise ValueError(
                f"users_in_memory {self.users_in_memory} lies below twice commit_rows {self.commit_rows}: "
                "histories would be forgotten before they are stored"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``FRAUD_STREAM_*``, those of the detector included.

        Raises:
            InvalidInput: a variable has a value of the wrong type or out of range.
        """
        return read(cls, PREFIX)


class KafkaSettings(BaseModel):
    """Where ``stream-consume`` reads from. Each can be set as ``FRAUD_STREAM_KAFKA_<FIELD>`` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brokers: str = Field(default="", description="the brokers, such as `broker:9092`; several with commas between")
    topic: str = Field(default="", description="the topic; each message a transaction as a JSON object")
    options: SecretStr = Field(
        default=SecretStr(""), description='further options of librdkafka, as JSON: `{"security.protocol": "SASL_SSL"}`'
    )

    @field_validator("options")
    @classmethod
    def _are_a_json_object(cls, options: SecretStr) -> SecretStr:
        try:
            options_given = json.loads(options.get_secret_value() or "{}")
        except ValueError as error:
            raise ValueError(f"is no JSON: {error}") from None
        if not isinstance(options_given, dict):
            raise ValueError('must be a JSON object, such as {"security.protocol": "SSL"}')
        return options

    @property
    def librdkafka(self) -> dict[str, str]:
        """The further options; they may hold a password."""
        options_given = json.loads(self.options.get_secret_value() or "{}")
        return {str(key): str(value) for key, value in options_given.items()}

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``FRAUD_STREAM_KAFKA_*``.

        Raises:
            InvalidInput: the brokers or the topic are missing, or the options are no JSON object.
        """
        settings = read(cls, KAFKA_PREFIX)
        missing = [variable(cls, KAFKA_PREFIX, name) for name in ("brokers", "topic") if not getattr(settings, name)]
        if missing:
            raise InvalidInput(
                f"{' and '.join(missing)} must be set to read from Kafka, such as broker:9092 and payments"
            )
        return settings
