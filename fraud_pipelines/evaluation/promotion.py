"""Promotion: whether the version trained for a day replaces the one in use, by which rule, and on what evidence.

For day D the candidate is the version trained for D, the champion the version in use on the day before. Nothing is
looked at that wasn't known when D began, but for the transactions of D themselves, so that a day run again decides
as it did then. The first rule that applies decides:

- ``pinned``: a person has pinned a version, which then is in use.
- ``no_rival``: there is no champion, or it can't score any more; the candidate is promoted.
- ``bootstrap``: a champion trained on days it scored gives way to any candidate, and such a candidate to any
  champion that wasn't.
- ``supervised``, of the model that learns from labels: in use only while it beats the ensemble. Both are judged by
  the scores they gave each matured day when it was young, so strictly out of sample. To come into use, the lower bound
  of the mean difference in daily average precision must lie above 0, over the days that count (`second_stage`); to
  stay in use, the mean. While its own days were its cold start, it is judged by days held out (`held_out`). Else the
  candidate scores on, so that there is something to judge, and decides nothing.
- ``labels``, once `MIN_FRAUDS` are known: both versions score the latest `Settings.evaluation_days` matured days with
  a known fraud that neither was trained on. A fresh retrain should win where nothing speaks against it: it is
  promoted unless the lower bound of the mean difference in daily average precision lies below −`MARGIN`, or its
  alerts lie beyond `ALERT_FACTOR` times the champion's. Days count by their age.
- ``stability``, while too few frauds are known: both versions score D, which neither was trained on. The candidate is
  promoted if its alerts and the distribution of its scores are alike, or if its alerts are what is expected and those
  of the champion aren't.

At last, where the policy leaves it open, one of the models in use is chosen to decide the day: a row of its own, for
`SECOND_STAGE`, whose rule is that of `second_stage.Choice`. Where it is the amount, that gets a version for the day.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final, Literal, cast

import polars as pl

from fraud_pipelines.decisions.configuration import policy_in_force
from fraud_pipelines.decisions.policies import BEST
from fraud_pipelines.detection.backends import AMOUNT, parse_parameters
from fraud_pipelines.detection.daily_models import (
    AMOUNT_MODEL,
    DAILY_MODELS,
    FEATURES_TAG,
    SECOND_STAGE,
    SUPERVISED_MODEL,
    load_version,
    require_current_features,
)
from fraud_pipelines.errors import ArtifactRejected, InvalidInput, MissingData
from fraud_pipelines.evaluation.detector_training import train_detector
from fraud_pipelines.evaluation.held_out import HeldOut
from fraud_pipelines.evaluation.promotion_evidence import Evidence, trained_on
from fraud_pipelines.evaluation.promotion_words import in_words
from fraud_pipelines.evaluation.second_stage import Choice, TrainedOn, choose
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.connection import overwrite
from fraud_pipelines.storage.model_registry import (
    CHALLENGER,
    CHAMPION,
    PINNED,
    ModelRegistry,
    ModelVersionInfo,
)
from fraud_pipelines.storage.warehouse import Warehouse

PIN_TAGS: Final = ("pinned_by", "pinned_reason", "pinned_at")
"""Tags of a pinned version."""

BEATS_AMOUNT_TAG: Final = "beats_amount"
GAIN_TAG: Final = "gain_over_amount"
DECIDES_TAG: Final = "decides"
"""Tags of a version in use: whether it is shown to rank matured days better than the amount, by how much in daily
average precision, and whether it decided the latest day that it was in use on."""

Rule = Literal[
    "pinned",
    "no_rival",
    "bootstrap",
    "supervised",
    "labels",
    "stability",
    "few_frauds",
    "too_early",
    "amount",
    "best",
    "kept",
]
Decision = Literal["promoted", "refused", "withdrawn", "pinned", "chosen"]

_TABLE: Final = "monitoring.model_promotions"


def pin_tags(*, by: str, reason: str, at: datetime) -> dict[str, str]:
    """Tags of a pinned version: who wants it in use, why, and since when (UTC)."""
    return dict(zip(PIN_TAGS, (by, reason, at.isoformat(timespec="seconds")), strict=True))


@dataclass(frozen=True)
class Promotion:
    """A row of ``monitoring.model_promotions``."""

    as_of: date
    model_name: str
    candidate_version: int
    champion_version: int | None
    previous_champion: int | None
    rule: Rule
    decision: Decision
    evidence: Mapping[str, object]
    inputs: str | None = None
    """A digest of what the evidence was computed from, where it was."""
    deciding_model: str | None = None
    """Of the row that says which model decides the day: that model."""
    trained_features: str | None = None
    trained_frauds: int | None = None
    """What the version that scores the day learned from, see `TrainedOn`."""

    @property
    def version(self) -> str:
        """The candidate, or the version that decides the day, as ``fraud-daily/12``."""
        return f"{self.scored_by}/{self.candidate_version}"

    @property
    def scored_by(self) -> str:
        """The registered model that the row is about."""
        return self.deciding_model or self.model_name

    @property
    def why(self) -> str:
        """Why it was decided, in words."""
        return in_words(self.rule, self.decision, self.evidence)

    def row(self) -> dict[str, object]:
        """The table's row; the evidence as JSON with sorted keys."""
        return asdict(self) | {"evidence": json.dumps(self.evidence, sort_keys=True, allow_nan=False)}


def decide_promotions(warehouse: Warehouse, registry: ModelRegistry, settings: Settings, day: date) -> list[Promotion]:
    """Decide for each model that has a version for ``day``, and which of them decides the day; see the module.

    Stores nothing in the warehouse. Where the amount decides, it is given a version.
    """
    policy = policy_in_force(settings)
    with warehouse.connect(read_only=True):
        history = warehouse.read(
            "SELECT as_of, model_name, champion_version, rule, decision, evidence, inputs, deciding_model "
            f"FROM {_TABLE} ORDER BY as_of"
        )
        evidence = Evidence(warehouse, settings, day)
        decided = []
        for name in DAILY_MODELS:
            candidate = registry.latest_for_partition(name, day) if name != AMOUNT_MODEL else None
            if candidate:
                of_model = history.filter(pl.col("model_name") == name)
                decided.append(_decide(registry, candidate, of_model, evidence))
        choice = _chosen(decided, history, evidence) if policy.second_stage == BEST else None
    if AMOUNT_MODEL in (policy.second_stage, choice and choice.model):
        decided.append(_amount(warehouse, registry, settings, day))
    if choice:
        versions = {each.model_name: each.champion_version for each in decided}
        decided.append(_row_of(choice, versions.get(choice.model), day))
    return decided


def _chosen(decided: Sequence[Promotion], history: pl.DataFrame, evidence: Evidence) -> Choice:
    in_use = {
        each.model_name: TrainedOn(frozenset((each.trained_features or "").split(",")), each.trained_frauds)
        for each in decided
        if each.champion_version is not None
    }
    before = history.filter(pl.col("as_of") < evidence.day, pl.col("model_name") == SECOND_STAGE)["deciding_model"]
    return choose(evidence.rankings, in_use, None if before.is_empty() else before[-1])


def _row_of(choice: Choice, version: int | None, day: date) -> Promotion:
    return Promotion(
        as_of=day,
        model_name=SECOND_STAGE,
        candidate_version=version or 0,
        champion_version=version,
        previous_champion=None,
        rule=cast("Rule", choice.rule),
        decision="chosen",
        evidence={**choice.evidence, "previous": choice.previous},
        deciding_model=choice.model,
    )


def _amount(warehouse: Warehouse, registry: ModelRegistry, settings: Settings, day: date) -> Promotion:
    """The day's version of the amount, which takes nothing to be in use."""
    parameters = parse_parameters(AMOUNT.name, None)
    trained = train_detector(warehouse, registry, settings, day, backend=AMOUNT.name, parameters=parameters)
    version = trained.version
    return Promotion(
        as_of=day,
        model_name=AMOUNT_MODEL,
        candidate_version=version.version,
        champion_version=version.version,
        previous_champion=None,
        rule="no_rival",
        decision="promoted",
        evidence={},
        trained_features=version.tags[FEATURES_TAG],
    )


def record_promotions(warehouse: Warehouse, registry: ModelRegistry, promotions: list[Promotion], day: date) -> None:
    """Replace the day's rows, and move the aliases of the models for which ``day`` is the latest one decided."""
    with warehouse.transaction() as connection:
        schema = warehouse.read(f"SELECT * FROM {_TABLE} LIMIT 0").schema
        overwrite(connection, _TABLE, pl.DataFrame([each.row() for each in promotions], schema=schema), as_of=day)
        later = warehouse.read(f"SELECT DISTINCT model_name FROM {_TABLE} WHERE as_of > ?", [day]).to_series()
    for promotion in promotions:
        if promotion.model_name not in {SECOND_STAGE, *later}:
            registry.set_alias(promotion.model_name, CHAMPION, promotion.champion_version)
            registry.set_alias(promotion.model_name, CHALLENGER, promotion.candidate_version)
    _tag_with_gains(registry, promotions)


def _tag_with_gains(registry: ModelRegistry, promotions: list[Promotion]) -> None:
    """Let MLflow say of each version in use how it ranks against the amount, as known when the day began."""
    for choice in (each for each in promotions if each.deciding_model):
        contestants = cast("Mapping[str, Any]", choice.evidence.get("contestants", {}))
        for each in promotions:
            if each.champion_version is None or each.model_name not in contestants:
                continue
            of_model = contestants[each.model_name]
            gain = of_model["gain_over_amount"]
            tags = {
                BEATS_AMOUNT_TAG: str(of_model["beats_amount"]).lower(),
                GAIN_TAG: f"{gain['mean']:+.3f} (95 % {gain['low']:+.3f} to {gain['high']:+.3f}) as of {choice.as_of}",
                DECIDES_TAG: str(each.model_name == choice.deciding_model).lower(),
            }
            known = registry.get_version(each.model_name, each.champion_version).tags
            if changed := {tag: value for tag, value in tags.items() if known.get(tag) != value}:
                registry.tag_version(each.model_name, each.champion_version, changed)


@dataclass(frozen=True)
class _Verdict:
    """Which version is in use, and why."""

    version: int | None
    rule: Rule
    decision: Decision
    evidence: Mapping[str, object]
    inputs: str | None = None


def _decide(
    registry: ModelRegistry, candidate: ModelVersionInfo, history: pl.DataFrame, evidence: Evidence
) -> Promotion:
    before = history.filter(pl.col("as_of") < evidence.day)["champion_version"]
    previous = None if before.is_empty() else before[-1]
    pin = _pin(registry, candidate.name, history, evidence.day)
    if pin:
        verdict = _Verdict(pin.version, "pinned", "pinned", {tag: pin.tags[tag] for tag in PIN_TAGS if tag in pin.tags})
    elif candidate.name == SUPERVISED_MODEL:
        better, found, inputs = evidence.of_supervised(
            candidate,
            lambda: load_version(registry, candidate.name, candidate.version).model,
            in_use=previous is not None,
            known=_held_out_before(history.filter(pl.col("as_of") == evidence.day)),
        )
        if better:
            verdict = _Verdict(candidate.version, "supervised", "promoted", found, inputs)
        else:
            verdict = _Verdict(None, "supervised", "refused" if previous is None else "withdrawn", found, inputs)
    else:
        of_day = history.filter(pl.col("as_of") == evidence.day)
        verdict = _against(_version(registry, candidate.name, previous), candidate, registry, evidence, of_day)
    scores_with = verdict.version or candidate.version
    learned = trained_on(
        candidate if scores_with == candidate.version else registry.get_version(candidate.name, scores_with)
    )
    return Promotion(
        as_of=evidence.day,
        model_name=candidate.name,
        candidate_version=candidate.version,
        champion_version=verdict.version,
        previous_champion=previous,
        rule=verdict.rule,
        decision=verdict.decision,
        evidence=verdict.evidence,
        inputs=verdict.inputs,
        trained_features=",".join(sorted(learned.features)) or None,
        trained_frauds=learned.frauds,
    )


def _against(
    champion: ModelVersionInfo | None,
    candidate: ModelVersionInfo,
    registry: ModelRegistry,
    evidence: Evidence,
    decided_before: pl.DataFrame,
) -> _Verdict:
    if champion is None or champion.version == candidate.version:
        return _Verdict(candidate.version, "no_rival", "promoted", {})
    bootstraps = {"champion": _is_bootstrap(champion), "candidate": _is_bootstrap(candidate)}
    if bootstraps["champion"]:
        return _Verdict(candidate.version, "bootstrap", "promoted", bootstraps)
    if bootstraps["candidate"]:
        return _Verdict(champion.version, "bootstrap", "refused", bootstraps)
    days = evidence.judged_days((candidate, champion))
    inputs = evidence.inputs((candidate, champion), days)
    for row in decided_before.filter(pl.col("inputs") == inputs).iter_rows(named=True):
        return _Verdict(row["champion_version"], row["rule"], row["decision"], json.loads(row["evidence"]), inputs)
    newer, older = (load_version(registry, each.name, each.version).model for each in (candidate, champion))
    try:
        require_current_features(older, evidence.plan)
        alike, found = evidence.of_labels(newer, older, days) if days else evidence.of_stability(newer, older)
    except (InvalidInput, ArtifactRejected) as error:
        return _Verdict(candidate.version, "no_rival", "promoted", {"champion": f"can't score any more: {error}"})
    version, decision = (candidate.version, "promoted") if alike else (champion.version, "refused")
    return _Verdict(version, "labels" if days else "stability", cast("Decision", decision), found, inputs)


def _held_out_before(decided_before: pl.DataFrame) -> HeldOut | None:
    """The days held out when the day was decided before."""
    for row in decided_before.filter(pl.col("inputs").is_not_null()).iter_rows(named=True):
        days = json.loads(row["evidence"]).get("held_out") or {}
        return HeldOut(row["inputs"], {date.fromisoformat(day): value for day, value in days.items()})
    return None


def _pin(registry: ModelRegistry, name: str, history: pl.DataFrame, day: date) -> ModelVersionInfo | None:
    """The version that a person has pinned for the day.

    The alias speaks for the latest day decided and those to come; an earlier day keeps the pin it had.
    """
    if history.filter(pl.col("as_of") > day).is_empty():
        return registry.version_with_alias(name, PINNED)
    then = history.filter((pl.col("as_of") == day) & (pl.col("rule") == "pinned"))
    return None if then.is_empty() else registry.get_version(name, then["champion_version"][0])


def _version(registry: ModelRegistry, name: str, version: int | None) -> ModelVersionInfo | None:
    """The version, if there is one and MLflow still has it."""
    try:
        return None if version is None else registry.get_version(name, version)
    except MissingData:
        return None


def _is_bootstrap(version: ModelVersionInfo) -> bool:
    return version.tags.get("bootstrap") == "true"
