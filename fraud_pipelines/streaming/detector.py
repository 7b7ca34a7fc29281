"""The stream detector: scores each transaction by a model that learned from those before it, and goes on learning."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.decisions.rules import COLLECTING
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import FEEDBACK_SCHEMA, Schema, SchemaLike, parse_schema
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.streaming.settings import DetectorSettings

SCORED: Final = "scored"

SCREENING_COLUMNS: Final[dict[str, pl.DataType]] = {
    "status": pl.String(),
    "samples_until_ready": pl.Int64(),
    "raw_score": pl.Float64(),
    "score": pl.Float64(),
    "is_anomaly": pl.Boolean(),
    "model_version": pl.Int32(),
}


def stream_schema() -> Schema:
    """Of what the daily models use, all that needs no labels: there are none yet of what has just happened."""
    from fraud_pipelines.detection.default_schema import DEFAULT_SCHEMA

    return {name: role for name, role in DEFAULT_SCHEMA.items() if name not in FEEDBACK_SCHEMA}


@dataclass(frozen=True)
class Screening:
    """What the detector says of some transactions.

    Attributes:
        rows: `SCREENING_COLUMNS`, a row for each of them. ``status`` is ``collecting``, with the number of
            ``samples_until_ready`` and no score, or ``scored``. ``model_version`` is the number of transactions there
            had been when the model began to learn.
        models: the models that scored, by ``model_version``.
    """

    rows: pl.DataFrame
    models: Mapping[int, FraudModel]


@dataclass(frozen=True)
class DetectorState:
    """All there is to a detector: how many transactions it has seen, and the latest of them, oldest first."""

    seen: int
    window: pl.DataFrame


class StreamDetector:
    """Screens transactions one after the other, in whatever portions they come.

    The first ``min_samples`` are only collected; then the first model has learned. After every
    ``retrain_interval`` more a new one learns from the latest ``window_size``, in a thread of its own, and takes over
    ``handover`` transactions later. Which model scores which transaction follows from counts alone: the same
    transactions get the same scores, to the bit, one by one, in any portions, and in any number of processes that
    pass the state on. Not for several threads at once.

    Args:
        settings: when to learn, and what to flag.
        schema: the features to look at, with their roles; by default `stream_schema`.
        state: of an earlier detector with the same settings, from which to go on. Of its window the latest
            ``settings.kept`` transactions matter.
    """

    def __init__(
        self,
        settings: DetectorSettings | None = None,
        *,
        schema: SchemaLike | None = None,
        state: DetectorState | None = None,
    ) -> None:
        self.settings = settings or DetectorSettings()
        self.schema: Schema = parse_schema(schema or stream_schema())
        self._seen = state.seen if state else 0
        self._window: list[pl.DataFrame] = []
        if state and state.seen:
            self._window.append(state.window.select(list(self.schema)))
        self._trainer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-detector")
        self._models: dict[int, Future[FraudModel]] = {}
        if state and min(self._kept_rows(), self.settings.kept) < min(self._seen, self.settings.kept):
            raise InvalidInput(
                f"the detector has seen {self._seen} transactions, and its state holds {self._kept_rows()}; it needs "
                f"the latest {min(self._seen, self.settings.kept)}. Start it anew, or restore the rows."
            )
        self._learn(self._in_force(self._seen))
        self._learn(self._begun(self._seen))

    @property
    def seen(self) -> int:
        """How many transactions have been screened."""
        return self._seen

    def state(self) -> DetectorState:
        """What a later detector needs to go on from here."""
        return DetectorState(self._seen, self._latest(self._seen, self.settings.kept))

    def screen(self, features: pl.DataFrame) -> Screening:
        """Judge transactions, in the order of their rows, and learn from them.

        Args:
            features: with at least the columns of the schema.

        Raises:
            InvalidInput: a column is missing or unusable; nothing was learned.
        """
        missing = [name for name in self.schema if name not in features.columns]
        if missing:
            raise InvalidInput(f"the stream detector needs the features {missing}; the frame lacks them")
        rows = features.select(list(self.schema))
        parts: list[pl.DataFrame] = []
        models: dict[int, FraudModel] = {}
        start = 0
        while start < rows.height:
            position = self._seen
            part = rows.slice(start, self._until_change(position))
            version = self._in_force(position)
            if version:
                models[version] = self._model(version)
                parts.append(self._scored(part, models[version], version))
            else:
                parts.append(self._collecting(position, part.height))
            self._window.append(part)
            self._seen += part.height
            start += part.height
            if self._begun(self._seen) == self._seen:
                self._learn(self._seen)
        if not parts:
            return Screening(pl.DataFrame(schema=SCREENING_COLUMNS), {})
        return Screening(pl.concat(parts), models)

    def _begun(self, position: int) -> int:
        """The latest training that had begun when there had been ``position`` transactions, by its own count; or 0."""
        first, interval = self.settings.min_samples, self.settings.retrain_interval
        return position - (position - first) % interval if position >= first else 0

    def _in_force(self, position: int) -> int:
        """The training whose model scores the transaction after ``position`` others, by its count; 0 for none.

        The first model takes over at once: there is none before it.
        """
        first = self.settings.min_samples
        return max(self._begun(position - self.settings.handover), first) if position >= first else 0

    def _until_change(self, position: int) -> int:
        """How many transactions there are, after ``position`` others, before a training begins or takes over."""
        first, interval = self.settings.min_samples, self.settings.retrain_interval
        if position < first:
            return first - position
        past = (position - first) % interval
        return self.settings.handover - past if past < self.settings.handover else interval - past

    def _learn(self, begun: int) -> None:
        if not begun or begun in self._models:
            return
        window = self._latest(begun, self.settings.window_size)
        self._models[begun] = self._trainer.submit(
            FraudModel.fit,
            window,
            backend=self.settings.backend,
            schema=self.schema,
            contamination=self.settings.contamination,
        )
        if begun == self._seen:
            self._window = [self._latest(self._seen, self.settings.kept)]

    def _model(self, version: int) -> FraudModel:
        for older in [known for known in self._models if known < version]:
            del self._models[older]
        return self._models[version].result()

    def _latest(self, position: int, rows: int) -> pl.DataFrame:
        """The last ``rows`` transactions of the first ``position``."""
        window = pl.concat(self._window) if self._window else pl.DataFrame(schema=dict.fromkeys(self.schema, pl.Null))
        return window.head(window.height - (self._seen - position)).tail(rows)

    def _kept_rows(self) -> int:
        return sum(part.height for part in self._window)

    def _scored(self, rows: pl.DataFrame, model: FraudModel, version: int) -> pl.DataFrame:
        scores = model.score(rows)
        return scores.select(
            pl.lit(SCORED).alias("status"),
            pl.lit(0, dtype=pl.Int64).alias("samples_until_ready"),
            "raw_score",
            "score",
            (pl.col("score") > self.settings.threshold).alias("is_anomaly"),
            pl.lit(version, dtype=pl.Int32).alias("model_version"),
        )

    def _collecting(self, position: int, rows: int) -> pl.DataFrame:
        remaining = self.settings.min_samples - 1 - np.arange(position, position + rows, dtype=np.int64)
        return pl.DataFrame(
            {"status": [COLLECTING] * rows, "samples_until_ready": remaining}
            | dict.fromkeys(("raw_score", "score", "model_version"), [None] * rows)
            | {"is_anomaly": [False] * rows},
            schema=SCREENING_COLUMNS,
        )
