"""The screener: a transaction's features, its score, a second opinion where it is flagged, and the decision."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.explain import alert_reasons, reasons_of_alert
from fraud_pipelines.decisions.shadow import NO_SHADOWS, Shadows
from fraud_pipelines.decisions.shadow_records import NOTHING, ShadowRows
from fraud_pipelines.decisions.stages import COLLECTING, second_stage_decided
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel
from fraud_pipelines.detection.score_rows import SCORE_COLUMNS, score_rows
from fraud_pipelines.detection.supervised import SCORE_FEATURES
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.features.live import LiveHistories
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.streaming.detector import Screening, StreamDetector
from fraud_pipelines.streaming.rows import CHANNEL, DECISION_COLUMNS, REALTIME_MODEL, decision_rows, model_versions
from fraud_pipelines.transactions.kinds import payments_of


@dataclass(frozen=True)
class Screened:
    """What became of some transactions, in order of time.

    Attributes:
        features: the columns of ``features.transaction_features``.
        screening: what the stream detector said, row by row; see `detector.SCREENING_COLUMNS`.
        scores: the columns of ``scoring.transaction_scores`` but ``scored_at``.
        decisions: the columns of ``scoring.decisions`` but ``decided_at``.
        shadow: what was decided of them in shadow.
    """

    features: pl.DataFrame
    screening: pl.DataFrame
    scores: pl.DataFrame
    decisions: pl.DataFrame
    shadow: ShadowRows = NOTHING


@dataclass(frozen=True)
class ScreenedTransaction:
    """What became of one transaction.

    Attributes:
        decision: ``approve``, ``review`` or ``block``.
        score: of the model that decided; 0 while the detector collects.
        reason: which stage decided, and how; ``collecting`` while the detector collects.
        reason_codes: what is unusual, in words for the reviewer; none for an approval.
        samples_until_ready: how many transactions the detector still collects.
        model_versions: the models that scored.
        features: keys and features.
    """

    transaction_id: str
    decision: str
    score: float
    reason: str
    reason_codes: tuple[str, ...]
    status: str
    samples_until_ready: int
    is_anomaly: bool
    model_versions: tuple[str, ...]
    features: Mapping[str, object]


class Screener:
    """Screens transactions as they come, one or many at a time; everything it needs is in memory.

    Each is folded into its user's history, scored by the stream detector, and, if flagged, by the second-stage
    model; then the decision engine of its day decides. While the detector collects, transactions are approved.
    Not for several threads at once.

    Args:
        histories: of the users, devices and merchants known so far; see `LiveHistories.warm`.
        detector: the first stage.
        engine_of: the decision engine in force on a day.
        second_stage: gives the model that a policy names as its second stage, None if there is none: then the first
            stage's score decides, and the reason says so. It judges what is flagged, or every transaction where the
            policy has no gate, and is given the scores of its inputs, and that of the detector.
        shadows_of: what is in shadow on a day.
    """

    def __init__(
        self,
        histories: LiveHistories,
        detector: StreamDetector,
        engine_of: Callable[[date], DecisionEngine],
        second_stage: Callable[[str], LoadedModel | None] = lambda _name: None,
        shadows_of: Callable[[date], Shadows] = lambda _day: NO_SHADOWS,
    ) -> None:
        self.histories = histories
        self.detector = detector
        self._engine_of = engine_of
        self._second_stage = second_stage
        self._shadows_of = shadows_of
        plan = histories.compiled.plan
        self._raw = [name for name in plan.attribute_types if name not in plan.feature_types]

    def screen(self, transactions: pl.DataFrame) -> Screened:
        """Screen transactions, in order of time (then id) whatever the order of the rows.

        Refunds are folded where an aggregate looks at them, and nothing comes of them.

        Args:
            transactions: valid ones: at least the required columns, each id once.

        Raises:
            InvalidInput: a column is missing or unusable; nothing was folded or learned.
        """
        rows = _complete(transactions, self.histories.compiled.plan).sort("timestamp", "transaction_id")
        features = self.histories.fold(rows).sort("timestamp", "transaction_id")
        full = features.hstack(payments_of(rows).select(self._raw))
        screening = self.detector.screen(full)
        parts = [
            self._judged(of_day, Screening(screened, screening.models), day)
            for day, of_day, screened in _by_day(full, screening.rows)
        ]
        return Screened(
            features=features,
            screening=screening.rows,
            scores=pl.concat([part.scores for part in parts]) if parts else pl.DataFrame(schema=SCORE_COLUMNS),
            decisions=pl.concat([part.rows for part in parts]) if parts else pl.DataFrame(schema=DECISION_COLUMNS),
            shadow=ShadowRows.joined([part.shadow for part in parts]),
        )

    def screen_one(self, transaction: Mapping[str, object]) -> ScreenedTransaction:
        """Screen one transaction, given as its columns by name: what `screen` says of it, sooner.

        Raises:
            InvalidInput: a required value is missing or unusable, or the transaction is a refund, which `screen`
                takes. Whatever is raised, nothing was folded or learned.
        """
        features, fold = self.histories.folded_one(transaction)
        if not features:
            raise InvalidInput(f"{transaction['transaction_id']} is a refund, which is not decided; screen() folds it")
        row = {**{name: transaction.get(name) for name in self._raw}, **features}
        screening, learn = self.detector.judged_one(row)
        day = features["event_date"]
        assert isinstance(day, date)
        engine = self._engine_of(day)
        flagged = not engine.policy.gated or (screening.score is not None and screening.score > engine.screen_level)
        second = self._second_stage(engine.policy.second_stage) if flagged else None
        second_score = None
        if second:
            row, second_score = _opinion(second, row, screening.score)
        decided = engine.decide_one(
            row | {"screening_score": screening.score, "second_stage_score": second_score}, unscored=COLLECTING
        )
        codes: list[str] = []
        if decided.decision != "approve":
            by_second = second and second_stage_decided(decided.reason, decided.score, second_score)
            codes = reasons_of_alert(
                row, second.model if second and by_second else screening.model, decided.reason, engine
            )
        fold()
        learn()
        return ScreenedTransaction(
            transaction_id=str(features["transaction_id"]),
            decision=decided.decision,
            score=decided.score,
            reason=decided.reason,
            reason_codes=tuple(codes),
            status=screening.status,
            samples_until_ready=screening.samples_until_ready,
            is_anomaly=screening.is_anomaly,
            model_versions=tuple(model_versions(screening.model_version, second)),
            features=features,
        )

    def _judged(self, full: pl.DataFrame, screening: Screening, day: date) -> "_Judged":
        """Scores and decisions of rows of one day."""
        engine, scored = self._engine_of(day), screening.rows
        opinion = self._opinion_on(full, scored, engine)
        second = opinion.model
        scores = [score_rows(full, scored, name=REALTIME_MODEL, version=scored["model_version"], channel=CHANNEL)]
        scores += [
            score_rows(opinion.suspects, judged, name=each.name, version=each.version, channel=CHANNEL)
            for each, judged in opinion.given
        ]
        if given := [name for name in opinion.suspects.columns if name not in full.columns]:
            of_suspects = opinion.suspects.select("transaction_id", *given)
            full = full.join(of_suspects, on="transaction_id", how="left", maintain_order="left")
        decided = _decide(engine, full, scored, opinion.scores)
        alerts = decided.with_row_index("row").filter(pl.col("decision") != "approve")
        decided_by = {
            row: second.model
            if second and second_stage_decided(reason, score, opinion.scores[row])
            else screening.models.get(scored["model_version"][row])
            for row, reason, score in alerts.select("row", "reason", "score").iter_rows()
        }
        codes = _reasons(full, decided_by, alerts["reason"], engine)
        rows = decision_rows(full, decided, scored["model_version"], opinion.flagged, second, codes)
        return _Judged(pl.concat(scores), rows, self._in_shadow(full, scored, rows, self._shadows_of(day)))

    def _opinion_on(self, full: pl.DataFrame, scored: pl.DataFrame, engine: DecisionEngine) -> "_SecondOpinion":
        """What the policy's second stage says of what the screening flags."""
        flagged = (
            (scored["score"] > engine.screen_level).fill_null(value=False)
            if engine.policy.gated
            else pl.repeat(value=True, n=full.height, dtype=pl.Boolean, eager=True)
        )
        second = self._second_stage(engine.policy.second_stage) if flagged.any() else None
        scores = pl.repeat(None, full.height, dtype=pl.Float64, eager=True)
        if second is None:
            return _SecondOpinion(flagged, None, [], full.head(0), scores)
        given, suspects = _opinions(second, full.filter(flagged), scored["score"].filter(flagged))
        return _SecondOpinion(
            flagged, second, given, suspects, scores.scatter(flagged.arg_true(), given[-1][1]["score"])
        )

    def _in_shadow(
        self, full: pl.DataFrame, scored: pl.DataFrame, decided: pl.DataFrame, shadows: Shadows
    ) -> ShadowRows:
        parts = [rule.decide(full, decided) for rule in shadows.rules]
        for policy in shadows.policies:
            scores = self._opinion_on(full, scored, policy.engine).scores
            parts.append(policy.compared(_decide(policy.engine, full, scored, scores), decided))
        return ShadowRows.joined(parts) if parts else NOTHING


@dataclass(frozen=True)
class _Judged:
    """Scores, decisions, and what was decided in shadow, of some rows."""

    scores: pl.DataFrame
    rows: pl.DataFrame
    shadow: ShadowRows


@dataclass(frozen=True)
class _SecondOpinion:
    """The second stage of some rows: which are ``flagged``, by which model, what each model says of these
    ``suspects``, and its ``scores``, null where it wasn't asked."""

    flagged: pl.Series
    model: LoadedModel | None
    given: Sequence[tuple[LoadedModel, pl.DataFrame]]
    suspects: pl.DataFrame
    scores: pl.Series


def _decide(engine: DecisionEngine, full: pl.DataFrame, scored: pl.DataFrame, second_scores: pl.Series) -> pl.DataFrame:
    candidates = full.with_columns(screening_score=scored["score"], second_stage_score=second_scores)
    wanted = dict.fromkeys(("transaction_id", "screening_score", "second_stage_score", *engine.columns))
    return engine.decide(candidates.select(list(wanted)), unscored=COLLECTING)


def _by_day(full: pl.DataFrame, screened: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame, pl.DataFrame]]:
    """The rows of each day, in order, with what the detector said of them."""
    days = full["event_date"].unique().sort()
    for day in days:
        if len(days) == 1:
            yield day, full, screened
        else:
            of_day = full["event_date"] == day
            yield day, full.filter(of_day), screened.filter(of_day)


def _opinion(
    second: LoadedModel, row: Mapping[str, object], of_stream: float | None
) -> tuple[dict[str, object], float]:
    """`_opinions` of one row: the row with the scores that ``second`` was given, and its own."""
    given = {REALTIME_MODEL: of_stream} | {each.name: each.model.score_row(row) for each in second.inputs}
    told = {
        **row,
        **{feature: given.get(name) for name, feature in SCORE_FEATURES.items() if feature in second.model.schema},
    }
    return told, second.model.score_row(told)


def _opinions(
    second: LoadedModel, suspects: pl.DataFrame, of_stream: pl.Series
) -> tuple[list[tuple[LoadedModel, pl.DataFrame]], pl.DataFrame]:
    """What the models whose scores ``second`` takes, and at last itself, say of what is flagged.

    Args:
        of_stream: the scores that the stream's detector gave.

    Returns:
        Each model with its scores, and ``suspects`` with those that ``second`` was given.
    """
    opinions = [(each, each.model.score(suspects)) for each in second.inputs]
    given = {REALTIME_MODEL: of_stream} | {each.name: judged["score"] for each, judged in opinions}
    suspects = suspects.with_columns(
        scores.alias(SCORE_FEATURES[name])
        for name, scores in given.items()
        if SCORE_FEATURES.get(name) in second.model.schema
    )
    return [*opinions, (second, second.model.score(suspects))], suspects


def _complete(transactions: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The transactions with every optional column, null where there is none."""
    types = plan.attribute_types
    missing = [each.name for each in plan.attributes if not each.required and each.name not in transactions.columns]
    return transactions.with_columns(pl.lit(None, types[name]).alias(name) for name in missing)


def _reasons(
    full: pl.DataFrame, decided_by: Mapping[int, FraudModel | None], reasons: pl.Series, engine: DecisionEngine
) -> dict[int, list[str]]:
    """What a reviewer reads of each row in ``decided_by``: see `alert_reasons`.

    Args:
        decided_by: the model whose score decided, by row; None where there is none.
        reasons: of the decisions on them, in the same order.
    """
    by_model: dict[int, dict[int, str]] = {}
    for (row, model), reason in zip(decided_by.items(), reasons, strict=True):
        by_model.setdefault(id(model), {})[row] = reason
    codes: dict[int, list[str]] = {}
    for of_model in by_model.values():
        rows = list(of_model)
        codes_of_rows = alert_reasons(full[rows], decided_by[rows[0]], list(of_model.values()), engine)
        codes |= zip(rows, codes_of_rows, strict=True)
    return codes
