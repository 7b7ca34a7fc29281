"""The population's counts in the warehouse: ``features.population``, a row for each day, column, category and bin."""

from datetime import date, timedelta

import polars as pl

from fraud_pipelines.features.engine import checked, counts_of
from fraud_pipelines.features.feature_plan import FeaturePlan
from fraud_pipelines.features.population import COUNTS, TRAILING_DAYS, Population, figures
from fraud_pipelines.storage.connection import Connection, overwrite, select
from fraud_pipelines.transactions.kinds import IS_REFUND_SQL

TABLE = "features.population"


def read_population(connection: Connection, last: date | None) -> Population:
    """The counts of ``last`` and the days before it that a later one can look back on; none without a day."""
    if last is None:
        return Population.nothing()
    return Population.of_counts([_between(connection, last - timedelta(days=TRAILING_DAYS - 1), last)])


def missing_counts(connection: Connection, day: date, compiled: FeaturePlan) -> pl.DataFrame:
    """The counts of days before ``day`` that were derived by a release that didn't count them."""
    if not compiled.measured:
        return pl.DataFrame(schema=COUNTS)
    days = select(
        connection,
        f"""
        SELECT DISTINCT event_date FROM raw.transactions
        WHERE event_date >= $first AND event_date < $day AND NOT {IS_REFUND_SQL}
          AND event_date NOT IN (SELECT event_date FROM {TABLE})
        ORDER BY 1
        """,
        {"first": day - timedelta(days=TRAILING_DAYS), "day": day},
    )["event_date"].to_list()
    return pl.concat([pl.DataFrame(schema=COUNTS), *(_counted(connection, each, compiled) for each in days)])


def write_population(connection: Connection, counts: pl.DataFrame, missing: pl.DataFrame, day: date) -> list[date]:
    """Replace the counts of ``day``, and add those that were missing.

    Returns:
        The later derived days on which another figure is in force by that, in order.
    """
    for (other,), of_day in missing.group_by("event_date", maintain_order=True):
        overwrite(connection, TABLE, of_day, event_date=other)
    reach = timedelta(days=TRAILING_DAYS)
    query = "SELECT DISTINCT event_date FROM features.derived_days WHERE event_date > $day AND event_date <= $last"
    later = select(connection, query, {"day": day, "last": day + reach})["event_date"].sort().to_list()
    before = _between(connection, day - reach, day + reach) if later else pl.DataFrame(schema=COUNTS)
    own = pl.col("event_date") == day
    overwrite(connection, TABLE, counts.filter(own), event_date=day)
    if not later:
        return []
    then_and_now = [Population.of_counts([frame.filter(own)]).frame for frame in (before, counts)]
    if then_and_now[0].equals(then_and_now[1]):
        return []
    after = pl.concat([before.filter(~own), counts.filter(own)])
    return [each for each in later if figures(before, each) != figures(after, each)]


def _between(connection: Connection, first: date, last: date) -> pl.DataFrame:
    query = f"SELECT {', '.join(COUNTS)} FROM {TABLE} WHERE event_date BETWEEN ? AND ?"
    return select(connection, query, [first, last]).select(pl.col(name).cast(kind) for name, kind in COUNTS.items())


def _counted(connection: Connection, day: date, compiled: FeaturePlan) -> pl.DataFrame:
    rows = select(connection, f"SELECT * FROM raw.transactions WHERE event_date = ? AND NOT {IS_REFUND_SQL}", [day])
    rows = checked(rows, compiled.plan)
    return counts_of(rows, compiled, compiled.columns(rows))
