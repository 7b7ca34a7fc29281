"""The stream detector: scores each transaction by a model that learned from those before it, and goes on learning."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.decisions.stages import COLLECTING
from fraud_pipelines.detection.groups import Grouping
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.schema import Schema, SchemaLike, parse_schema
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.types import Role
from fraud_pipelines.streaming.settings import DetectorSettings

SCORED: Final = "scored"

_STORED_AS: Final[Mapping[Role, pl.DataType]] = {
    "numeric": pl.Float64(),
    "binary": pl.Float64(),
    "label": pl.String(),
    "hash": pl.String(),
}

SCREENING_COLUMNS: Final[dict[str, pl.DataType]] = {
    "status": pl.String(),
    "samples_until_ready": pl.Int64(),
    "raw_score": pl.Float64(),
    "score": pl.Float64(),
    "is_anomaly": pl.Boolean(),
    "model_version": pl.Int32(),
}


GROUPS: Final = frozenset({"amount", "velocity", "links"})
"""What the detector looks at: what an attack shows in while it goes on."""
_OWN_KIND: Final = frozenset({"amount"})
"""Of these the groups that the detector's own backend judges."""


def stream_schema() -> Schema:
    """Of what the daily models use, the groups `GROUPS`. None needs labels: what has just happened has none."""
    from fraud_pipelines.detection.default_schema import grouped_schema
    from fraud_pipelines.plan.compile import shipped_plan

    return {name: role for name, role in grouped_schema(shipped_plan()).items() if role.group in GROUPS}


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


@dataclass(frozen=True)
class ScreenedRow:
    """What the detector says of one transaction: a row of `Screening`, and the model that scored, if one did."""

    status: str
    samples_until_ready: int
    score: float | None
    is_anomaly: bool
    model_version: int | None
    model: FraudModel | None


_Rows = list[dict[str, object]]
"""Transactions that came one by one: they become a frame where nobody waits for it."""


@dataclass
class _Training:
    """A model that learns in another thread, which also puts the window's parts, those there were, into one frame."""

    outcome: Future[tuple[FraudModel, pl.DataFrame]]
    parts: int


class StreamDetector:
    """Screens transactions one after the other, in whatever portions they come.

    The first ``min_samples`` are only collected; then the first model has learned. After every
    ``retrain_interval`` more a new one learns from the latest ``window_size``, in a thread of its own, and takes over
    ``handover`` transactions later. Which model scores which transaction follows from counts alone: the same
    transactions get the same scores, to the bit, one by one, in any portions, and in any number of processes that
    pass the state on. Not for several threads at once.

    Args:
        settings: when to learn, and what to flag.
        schema: the features to look at, with their roles; by default `stream_schema`. Where it names the group
            ``amount``, each group is judged by itself.
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
        self._grouped = any(role.group in _OWN_KIND for role in self.schema.values())
        self._types = {name: _STORED_AS[role.role] for name, role in self.schema.items()}
        self._texts = {name: dtype == pl.String for name, dtype in self._types.items()}
        self._seen = state.seen if state else 0
        self._window: list[pl.DataFrame | _Rows] = []
        self._trainer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-detector")
        self._models: dict[int, _Training] = {}
        if state and state.seen:
            held, needed = state.window.height, min(state.seen, self.settings.kept)
            if held < needed:
                raise InvalidInput(
                    f"the detector has seen {state.seen} transactions, and its state holds {held}; it needs the "
                    f"latest {needed}. Start it anew, or restore the rows."
                )
            self._window.append(self._stored(state.window))
        self._learn(self._in_force(self._seen))
        self._learn(self._begun(self._seen))

    @property
    def seen(self) -> int:
        """How many transactions have been screened."""
        return self._seen

    def state(self) -> DetectorState:
        """What a later detector needs to go on from here."""
        return DetectorState(self._seen, self._together(self._window))

    def screen(self, features: pl.DataFrame) -> Screening:
        """Judge transactions, in the order of their rows, and learn from them.

        Args:
            features: with at least the columns of the schema.

        Raises:
            InvalidInput: a column is missing or unusable; nothing was learned.
        """
        rows = self._stored(features)
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
            self._keep(part)
            start += part.height
        return Screening(pl.concat(parts) if parts else pl.DataFrame(schema=SCREENING_COLUMNS), models)

    def screen_one(self, features: Mapping[str, object]) -> ScreenedRow:
        """`screen` for one transaction, given as its features by name, without their detour over frames.

        Raises:
            InvalidInput: a feature is missing or unusable; nothing was learned.
        """
        judged, learn = self.judged_one(features)
        learn()
        return judged

    def judged_one(self, features: Mapping[str, object]) -> tuple[ScreenedRow, Callable[[], None]]:
        """What `screen_one` says of a transaction, and what learns from it, once it is called.

        Raises:
            InvalidInput: a feature is missing or unusable.
        """
        missing = [name for name in self._types if name not in features]
        if missing:
            raise InvalidInput(f"the stream detector needs the features {missing}; the transaction lacks them")
        row = {name: _as_stored(name, features[name], text=text) for name, text in self._texts.items()}
        position = self._seen
        version = self._in_force(position)
        if not version:
            judged = ScreenedRow(COLLECTING, self.settings.min_samples - 1 - position, None, False, None, None)
        else:
            model = self._model(version)
            score = model.score_row(row)
            judged = ScreenedRow(SCORED, 0, score, score > self.settings.threshold, version, model)
        return judged, lambda: self._keep([row])

    def _stored(self, features: pl.DataFrame) -> pl.DataFrame:
        """The columns of the schema as the window holds them, whichever way they came."""
        missing = [name for name in self.schema if name not in features.columns]
        if missing:
            raise InvalidInput(f"the stream detector needs the features {missing}; the frame lacks them")
        try:
            return features.select(pl.col(name).cast(dtype) for name, dtype in self._types.items())
        except pl.exceptions.PolarsError as error:
            raise InvalidInput(f"a feature of the stream detector is of another type than its role: {error}") from error

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

    def _keep(self, rows: pl.DataFrame | _Rows) -> None:
        last = self._window[-1] if self._window else None
        if isinstance(rows, list) and isinstance(last, list):
            last += rows
        else:
            self._window.append(rows)
        self._seen += len(rows)
        if self._begun(self._seen) == self._seen:
            self._learn(self._seen)

    def _learn(self, begun: int) -> None:
        if begun and begun not in self._models:
            parts = tuple(self._window)
            outcome = self._trainer.submit(self._learned, parts, later=self._seen - begun)
            self._models[begun] = _Training(outcome, len(parts))
            if parts and isinstance(parts[-1], list):
                self._window.append([])  # what comes from now on is none of that

    def _together(self, parts: Sequence[pl.DataFrame | _Rows]) -> pl.DataFrame:
        """The latest ``settings.kept`` transactions of the parts, or all there are."""
        framed = [pl.DataFrame(part, schema=self._types) if isinstance(part, list) else part for part in parts]
        return pl.concat(framed or [pl.DataFrame(schema=self._types)]).tail(self.settings.kept)

    def _learned(self, parts: Sequence[pl.DataFrame | _Rows], *, later: int) -> tuple[FraudModel, pl.DataFrame]:
        """A model of the window that ended ``later`` transactions ago, and the parts as one frame."""
        window = self._together(parts)
        model = FraudModel.fit(
            window.head(window.height - later).tail(self.settings.window_size),
            backend=self.settings.backend,
            schema=self.schema,
            contamination=self.settings.contamination,
            normalization="extended_tail",
            groups=Grouping(_OWN_KIND, window.head(0)) if self._grouped else None,
        )
        return model, window

    def _model(self, version: int) -> FraudModel:
        for older in [known for known in self._models if known < version]:
            del self._models[older]
        training = self._models[version]
        model, window = training.outcome.result()
        if training.parts:
            self._window[: training.parts] = [window]
            training.parts = 0
        return model

    def _scored(self, rows: pl.DataFrame, model: FraudModel, version: int) -> pl.DataFrame:
        return model.score(rows).select(
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


def _as_stored(name: str, value: object, *, text: bool) -> object:
    """A value as the window holds it."""
    if value is None or (text and isinstance(value, str)):
        return value
    if not text and isinstance(value, int | float):
        return float(value)
    raise InvalidInput(f"the stream detector can't use {name} = {value!r}: it is of another type than its role")
