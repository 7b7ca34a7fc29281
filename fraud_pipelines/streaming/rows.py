"""The rows that a screening leaves behind: decisions of the channel ``stream``."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from fraud_pipelines.decisions.hash_chain import ENTRY_SCHEMA
from fraud_pipelines.decisions.log import CONTENT
from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.detection.daily_models import LoadedModel

CHANNEL: Final = "stream"
REALTIME_MODEL: Final = MODEL_NAMES["ecod"]

DECISION_COLUMNS: Final[dict[str, pl.DataType]] = {
    name: ENTRY_SCHEMA[name] for name in ENTRY_SCHEMA if name == "channel" or name in CONTENT
}
"""Those of ``scoring.decisions`` but ``decided_at``."""


def decision_rows(
    full: pl.DataFrame,
    decided: pl.DataFrame,
    of_stream: pl.Series,
    flagged: pl.Series,
    second: LoadedModel | None,
    reason_codes: Mapping[int, list[str]],
) -> pl.DataFrame:
    """Rows of ``scoring.decisions``, one for each of ``full``.

    Args:
        decided: what the decision engine says of them.
        of_stream: the version of the stream's model that scored each, null for none.
        flagged: those that ``second`` judged too, if there was one.
        reason_codes: of the alerts, by row.
    """
    versions = _list(())
    for version in of_stream.unique():
        for judged in (False, True):
            scored_by = of_stream.eq_missing(version) & (flagged if judged else ~flagged)
            names = model_versions(version, second if judged else None)
            versions = pl.when(pl.lit(scored_by)).then(_list(names)).otherwise(versions)
    codes = pl.DataFrame(
        {"row": list(reason_codes), "reason_codes": list(reason_codes.values())},
        schema={"row": pl.get_index_type(), "reason_codes": pl.List(pl.String)},
    )
    return (
        decided.with_columns(full["event_date"], channel=pl.lit(CHANNEL), model_versions=versions)
        .with_row_index("row")
        .join(codes, on="row", how="left", maintain_order="left")
        .with_columns(pl.col("reason_codes").fill_null(_list(())))
        .select(list(DECISION_COLUMNS))
    )


def model_versions(of_stream: int | None, second: LoadedModel | None) -> list[str]:
    """The models that scored a transaction, as ``scoring.decisions`` names them.

    A model of the stream is no version of the registry: it is named for the transactions it came after.
    """
    screened_by = [] if of_stream is None else [f"{REALTIME_MODEL}@{of_stream}"]
    return [*screened_by, f"{second.name}/{second.version}"] if second else screened_by


def _list(texts: Sequence[str]) -> pl.Expr:
    return pl.lit(pl.Series([list(texts)], dtype=pl.List(pl.String))).first()
