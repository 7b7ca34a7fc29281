"""Why an alert was raised: the model whose score decided explains it, at the end of the day and in the stream alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from fraud_pipelines.decisions.audit_sample import reviewed, with_audit_columns
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.reasons import reason_codes
from fraud_pipelines.decisions.stages import deciding_version
from fraud_pipelines.detection.daily_models import LoadedModel
from fraud_pipelines.detection.model import FraudModel

_FEATURES_ASKED: Final = 6
"""So many features a model names: several may say the same of the amount, and three reasons are to be left."""


def explain_alerts(
    decided: pl.DataFrame,
    features: pl.DataFrame,
    engine: DecisionEngine,
    load: Callable[[str, int], LoadedModel],
) -> pl.DataFrame:
    """What a reviewer reads of each alert, see `alert_reasons`.

    Args:
        decided: ``transaction_id``, ``decision``, ``score``, ``reason``, ``model_versions`` and ``second_stage_score``;
            ``audited`` where an audit sample was drawn.
        features: the rows of these alerts, or of more, with the scores that models take.
        engine: with the rules and the declarations in force.
        load: gives a version of a registered model.

    Returns:
        ``transaction_id`` and ``reason_codes``, a row for each decision that is reviewed and whose model is
        registered. The models of the stream are kept nowhere.
    """
    columns = ("transaction_id", "reason", "score", "model_versions", "second_stage_score")
    alerts = with_audit_columns(decided).filter(reviewed()).select(columns)
    by_version: dict[str, dict[str, str]] = {}
    for transaction_id, reason, score, versions, second_score in alerts.iter_rows():
        version = deciding_version(reason, score, versions, second_score)
        if version and "/" in version:
            by_version.setdefault(version, {})[transaction_id] = reason
    explained = [pl.DataFrame(schema={"transaction_id": pl.String, "reason_codes": pl.List(pl.String)})]
    for version, reasons in by_version.items():
        name, _, number = version.rpartition("/")
        rows = features.filter(pl.col("transaction_id").is_in(list(reasons)))
        codes_of_rows = alert_reasons(
            rows, load(name, int(number)).model, [reasons[each] for each in rows["transaction_id"]], engine
        )
        explained.append(
            rows.select("transaction_id").with_columns(
                pl.Series("reason_codes", codes_of_rows, dtype=pl.List(pl.String))
            )
        )
    return pl.concat(explained)


def alert_reasons(
    rows: pl.DataFrame, model: FraudModel | None, reasons: Sequence[str], engine: DecisionEngine
) -> list[list[str]]:
    """What a reviewer reads of alerts that one model decided: what the rule says, if one did, and what drove the model.

    Args:
        rows: the features of the alerts, with the scores of other models that ``model`` takes.
        model: whose score decided; None where it can't be asked.
        reasons: the ``reason`` of each alert.
        engine: with the rules and the declarations in force.
    """
    drivers = model.drivers(rows, top=_FEATURES_ASKED) if model else [[] for _ in reasons]
    return [
        engine.rules.reason_codes(reason, reason_codes(row, of_row, plan=engine.plan))
        for row, of_row, reason in zip(rows.iter_rows(named=True), drivers, reasons, strict=True)
    ]


def reasons_of_alert(
    row: Mapping[str, object], model: FraudModel | None, reason: str, engine: DecisionEngine
) -> list[str]:
    """`alert_reasons` of one alert, given as its columns by name."""
    drivers = model.drivers_of_row(row, top=_FEATURES_ASKED) if model else []
    return engine.rules.reason_codes(reason, reason_codes(row, drivers, plan=engine.plan))
