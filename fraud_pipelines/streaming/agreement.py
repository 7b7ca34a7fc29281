"""Agreement of the stream with the day: decisions side by side, and features as they came against features in order."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from fraud_pipelines.features.tables import FEATURE_TABLE as DAY_TABLE
from fraud_pipelines.features.tables import KEY_DESCRIPTIONS
from fraud_pipelines.plan.expressions import WHOLE
from fraud_pipelines.storage.connection import Connection, columns_of, overwrite, select, table_exists
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.streaming.tables import FEATURE_TABLE as STREAM_TABLE

AGREEMENT_TABLE: Final = "streaming.stream_agreement"
DIFFERENCE_TABLE: Final = "streaming.feature_differences"

_DIFFERENCE_COLUMNS: Final[dict[str, pl.DataType]] = {
    "event_date": pl.Date(),
    "feature": pl.String(),
    "compared": pl.Int64(),
    "differing": pl.Int64(),
    "null_in_one": pl.Int64(),
    "mean_difference": pl.Float64(),
    "max_difference": pl.Float64(),
}


@dataclass(frozen=True)
class Agreement:
    """What `compare_day` found.

    Attributes:
        day: one row, the columns of ``streaming.stream_agreement``.
        differences: the columns of ``streaming.feature_differences``, a row a feature; none without streamed rows.
    """

    day: pl.DataFrame
    differences: pl.DataFrame

    @property
    def agreement(self) -> float | None:
        """Share of the compared decisions that are alike; None if there are none."""
        compared, agreeing = self.day.select("compared", "agreeing").row(0)
        return float(agreeing / compared) if compared else None


def compare_day(warehouse: Warehouse, day: date) -> Agreement:
    """Compare what the stream made of the transactions of ``day`` with what the end of the day made of them, and
    replace the day's rows of both tables.

    Features differ where rows came out of order, or by two ways: the stream saw what had arrived by then, the day
    sees all of it in the order of time. A feature of labels also differs where a label arrived later than it says.
    """
    with warehouse.transaction() as connection:
        differences = _differences(connection, day)
        agreement = select(connection, _AGREEMENT, {"day": day, "differing": int((differences["differing"] > 0).sum())})
        overwrite(connection, AGREEMENT_TABLE, agreement, event_date=day)
        overwrite(connection, DIFFERENCE_TABLE, differences, event_date=day)
    return Agreement(agreement, differences)


_AGREEMENT: Final = """
WITH stream AS (SELECT * FROM scoring.decisions WHERE event_date = $day AND channel = 'stream'),
     batch AS (SELECT * FROM scoring.decisions WHERE event_date = $day AND channel = 'batch'),
     paired AS (
         SELECT s.decision AS of_stream, b.decision AS of_batch
         FROM stream s JOIN batch b USING (transaction_id)
     )
SELECT $day::DATE AS event_date,
       (SELECT count(*) FROM raw.payments WHERE event_date = $day) AS transactions,
       (SELECT count(*) FROM stream) AS streamed,
       count(*) AS compared,
       count(*) FILTER (of_stream = of_batch) AS agreeing,
       count(*) FILTER (of_batch <> 'approve') AS alerts_batch,
       count(*) FILTER (of_stream <> 'approve') AS alerts_stream,
       count(*) FILTER (of_batch <> 'approve' AND of_stream <> 'approve') AS alerts_both,
       (SELECT count(*) FROM stream WHERE reason = 'collecting') AS collecting,
       $differing::BIGINT AS differing_features
FROM paired
"""


def _differences(connection: Connection, day: date) -> pl.DataFrame:
    none = pl.DataFrame(schema=_DIFFERENCE_COLUMNS)
    if not (table_exists(connection, STREAM_TABLE) and table_exists(connection, DAY_TABLE)):
        return none
    if select(connection, f"SELECT 1 FROM {STREAM_TABLE} WHERE event_date = ? LIMIT 1", [day]).is_empty():
        return none
    columns = [_columns(connection, table) for table in (STREAM_TABLE, DAY_TABLE)]
    features = [name for name in columns[1] if name in columns[0] and name not in KEY_DESCRIPTIONS]
    counted = select(
        connection,
        f"""
        SELECT count(*) AS compared, {", ".join(_compared(name, columns[1][name]) for name in features)}
        FROM {STREAM_TABLE} s JOIN {DAY_TABLE} d USING (transaction_id, event_date)
        WHERE event_date = $day
        """,
        {"day": day},
    ).row(0, named=True)
    return pl.DataFrame(
        [
            {"event_date": day, "feature": name, "compared": counted["compared"]}
            | {each: counted[f"{name} {each}"] for each in list(_DIFFERENCE_COLUMNS)[3:]}
            for name in features
        ],
        schema=_DIFFERENCE_COLUMNS,
    )


def _columns(connection: Connection, table: str) -> dict[str, str]:
    return columns_of(connection, table)


def _compared(feature: str, kind: str) -> str:
    stream, of_day = f's."{feature}"', f'd."{feature}"'
    distance = f"abs({stream} - {of_day})" if kind in ("DOUBLE", *WHOLE) else "NULL"
    differs = f"{stream} IS DISTINCT FROM {of_day}"
    return f"""
        count(*) FILTER ({differs}) AS "{feature} differing",
        count(*) FILTER (({stream} IS NULL) <> ({of_day} IS NULL)) AS "{feature} null_in_one",
        avg({distance}) FILTER ({differs}) AS "{feature} mean_difference",
        max({distance}) AS "{feature} max_difference"
    """
