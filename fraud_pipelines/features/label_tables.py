"""The warehouse's side of label features: what they look up on a day, and which days a change makes outdated."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.features.label_events import (
    LabelEvents,
    delays,
    edges,
    fraud_columns,
    key_columns,
    known_frauds,
    last_counts,
    looks_back_for_ever,
    reach,
    with_label_features,
)
from fraud_pipelines.plan.types import EntityPlan
from fraud_pipelines.storage.connection import Connection, registered, select, table_exists
from fraud_pipelines.transactions.kinds import PAYMENTS

_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)


def read_label_events(
    connection: Connection, entities: Iterable[EntityPlan], day: date, rows: pl.DataFrame | None = None
) -> LabelEvents:
    """What the label features of transactions of ``day`` look up: nothing older than their windows, nothing later.

    Single transactions are read only of the stretches of time in which a window begins or ends as ``day`` goes by.
    What lies between two stretches lies wholly inside or outside of each window, and a count of it is enough.

    A stream reads again after a while: labels that arrive meanwhile, and with a label delay of 0 transactions that
    were stored meanwhile, are seen from then on.

    Args:
        connection: to the warehouse.
        entities: of the plan.
        day: of the transactions.
        rows: the transactions, or any frame with the key columns of entities that may occur; None: all entities that
            the windows hold, as for a stream, whose transactions are still to come.
    """
    entities = with_label_features(entities)
    return read_label_events_of(connection, entities, day, {each.name: _keys(each, rows) for each in entities})


def read_label_events_of(
    connection: Connection, entities: Iterable[EntityPlan], day: date, keys: Mapping[str, pl.DataFrame | None]
) -> LabelEvents:
    """`read_label_events` of the entities that have label features, with the key columns, distinct and without null, of
    those that may occur, by the entity's name; None for all."""
    entities = with_label_features(entities)
    rated = [entity for entity in entities if delays(entity)]
    return LabelEvents(
        activity={entity.name: _activity(connection, entity, day, keys[entity.name]) for entity in rated},
        early={entity.name: _early(connection, entity, day, keys[entity.name]) for entity in rated},
        judged={entity.name: _judged(connection, entity, day, keys[entity.name]) for entity in rated},
        outcomes={
            entity.name: _outcomes(connection, entity, day, keys[entity.name])
            for entity in entities
            if last_counts(entity)
        },
        labelled={
            entity.name: _labelled(connection, entity, day, keys[entity.name])
            for entity in entities
            if last_counts(entity)
        },
        frauds=_frauds(connection, entities, day, keys),
    )


def outdated_days(connection: Connection, entity: EntityPlan, changed: pl.DataFrame, day: date) -> list[date]:
    """Days whose label features looked at transactions of ``day``, which have become others.

    Args:
        connection: to the warehouse.
        entity: of the plan.
        changed: key columns of its entities with other transactions on ``day`` than before.
        day: a derived day, which has been derived again.

    Returns:
        Later derived days, in order, on which one of the entities was active.
    """
    later = _derived_since(connection, day + _DAY)
    if not with_label_features([entity]) or not later:
        return []
    names = _listed(entity.key)
    last = (_midnight(day + _DAY) + reach(entity) - _INSTANT).date()
    # Without a label, a transaction enters a rate or the last outcomes when it is old enough, and no count.
    old_enough = [timedelta(microseconds=delay) for delay in {*delays(entity), *last_counts(entity)}]
    first = (_midnight(day) + min(old_enough)).date() if old_enough else last + _DAY
    with registered(connection, _changed=changed.select(entity.key).drop_nulls().unique()):
        query = f"""
            WITH labelled AS (
                FROM {PAYMENTS} SEMI JOIN _changed USING ({names})
                SELECT {names} WHERE event_date = $day AND transaction_id IN (
                    FROM feedback.label_history SELECT transaction_id
                )
            )
            SELECT DISTINCT event_date FROM {PAYMENTS} SEMI JOIN _changed USING ({names})
            WHERE event_date > $day AND event_date BETWEEN $first AND $last
            UNION SELECT DISTINCT event_date FROM {PAYMENTS} SEMI JOIN labelled USING ({names})
            WHERE event_date > $day AND event_date <= $last
        """
        if looks_back_for_ever(entity):
            query += f"""
                UNION SELECT DISTINCT event_date FROM {PAYMENTS} SEMI JOIN (
                    FROM {PAYMENTS} SEMI JOIN _changed USING ({names})
                    SELECT {names} WHERE event_date = $day AND transaction_id IN ({_LABELLED_AS_FRAUD})
                ) defrauded USING ({names})
                WHERE event_date > $last
            """
        found = select(connection, query, {"day": day, "first": first, "last": last})
    return sorted(later & {*found["event_date"]})


def days_outdated_by_labels(connection: Connection, entities: Iterable[EntityPlan], labels: pl.DataFrame) -> list[date]:
    """Days whose label features would have looked at ``labels``, which have only just been stored.

    Args:
        connection: to the warehouse, in which the labels are stored.
        entities: of the plan.
        labels: ``transaction_id`` and ``known_at`` of the new labels.

    Returns:
        Derived days, in order, on which an entity of these transactions was active after the label was known and
        while a window held the transaction. A label that comes in time is known after all that was derived.
    """
    first = labels["known_at"].min()
    later = _derived_since(connection, first.date()) if isinstance(first, datetime) else set()
    found: set[date] = set()
    for entity in with_label_features(entities) if later else ():
        names = _listed(entity.key)
        for_ever = f"OR s.transaction_id IN ({_LABELLED_AS_FRAUD})" if looks_back_for_ever(entity) else ""
        with registered(connection, _labels=labels.select("transaction_id", "known_at")):
            days = select(
                connection,
                f"""
                WITH seen AS (
                    SELECT {names}, transaction_id, t."timestamp" AS _happened, l.known_at AS _known_at
                    FROM {PAYMENTS} t JOIN _labels l USING (transaction_id)
                )
                SELECT DISTINCT t.event_date FROM {PAYMENTS} t JOIN seen s USING ({names})
                WHERE t.event_date >= $first AND t."timestamp" > s._known_at
                  AND (t."timestamp" < s._happened + $reach {for_ever})
                """,
                {"first": min(later), "reach": reach(entity)},
            )
        found |= {*days["event_date"]}
    return sorted(later & found)


_LABELLED_AS_FRAUD: Final = "FROM feedback.label_history SELECT transaction_id WHERE actual_fraud"


def _activity(connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Transactions by entity and instant; those between two stretches are put at the end of the earlier one."""
    names = _listed(entity.key)
    oldest, end, instant = _told_apart(entity, day)
    with registered(connection, **_registration(keys)):
        return select(
            connection,
            f"""
            SELECT {names}, epoch_us({instant}) AS _instant, count(*) AS _weight
            FROM {PAYMENTS} {_semi_join(entity, keys)}
            WHERE judged_only IS NOT TRUE AND event_date BETWEEN $first AND $last
              AND "timestamp" >= $oldest AND "timestamp" < $end AND {_has_key(entity)}
            GROUP BY ALL
            """,
            {"first": oldest.date(), "last": end.date(), "oldest": oldest, "end": end},
        )


def _early(connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Transactions that are labelled before they are old enough, at some instant of ``day``; what differs on the day
    alone is told apart."""
    begin, end = _midnight(day), _midnight(day + _DAY)
    found = []
    for delay in delays(entity):
        young = timedelta(microseconds=max(delay, 1))
        with registered(connection, **_registration(keys)):
            periods = select(
                connection,
                f"""
                WITH first_known AS (
                    SELECT transaction_id, min(known_at) AS _known FROM feedback.label_history
                    WHERE known_at >= $oldest AND known_at < $end GROUP BY transaction_id
                ), early AS (
                    SELECT {_listed(entity.key)}, "timestamp" + $young AS _leaves,
                           greatest(_known, "timestamp") + INTERVAL 1 MICROSECOND AS _enters
                    FROM {PAYMENTS} JOIN first_known USING (transaction_id) {_semi_join(entity, keys)}
                    WHERE judged_only IS NOT TRUE AND event_date BETWEEN $first AND $day AND {_has_key(entity)}
                )
                SELECT {_listed(entity.key)}, $delay::BIGINT AS _delay, epoch_us(greatest(_enters, $begin)) AS _enters,
                       epoch_us(if(_leaves < $end, _leaves, NULL)) AS _leaves, count(*) AS _weight
                FROM early WHERE _enters < _leaves AND _leaves > $begin
                GROUP BY ALL
                """,
                {
                    "oldest": begin - young,
                    "first": (begin - young).date(),
                    "day": day,
                    "begin": begin,
                    "end": end,
                    "young": young,
                    "delay": delay,
                },
            )
        found.append(periods)
    return pl.concat(found)


def _outcomes(connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Transactions that grow old enough as ``day`` goes by, and as many as are looked at of those that are before."""
    names = _listed(entity.key)
    found = []
    for delay, (count, reached) in last_counts(entity).items():
        young = timedelta(microseconds=max(delay, 1))
        begin, end = _midnight(day) - young, _midnight(day + _DAY) - young
        oldest = _midnight(day) - timedelta(microseconds=reached)
        with registered(connection, **_registration(keys)):
            rows = select(
                connection,
                f"""
                WITH own AS (
                    SELECT {names}, epoch_us("timestamp") AS _happened FROM {PAYMENTS} {_semi_join(entity, keys)}
                    WHERE judged_only IS NOT TRUE AND event_date BETWEEN $first AND $last
                      AND "timestamp" >= $oldest AND "timestamp" < $end AND {_has_key(entity)}
                )
                SELECT {names}, _happened, $delay::BIGINT AS _delay FROM own WHERE _happened >= epoch_us($begin)
                UNION ALL
                SELECT {names}, unnest(max(_happened, {count})), $delay::BIGINT FROM own
                WHERE _happened < epoch_us($begin) GROUP BY {names}
                """,
                {
                    "first": oldest.date(),
                    "last": end.date(),
                    "oldest": oldest,
                    "begin": begin,
                    "end": end,
                    "delay": delay,
                },
            )
        found.append(rows)
    return pl.concat(found)


def _judged(connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame | None) -> pl.DataFrame:
    """The labelled ones of the payments of which only a verdict tells the outcome, at the instants of `_activity`."""
    names = _listed(entity.key)
    oldest, _, instant = _told_apart(entity, day)
    with registered(connection, **_registration(keys)):
        return select(
            connection,
            f"""
            WITH first_known AS (
                SELECT transaction_id, min(known_at) AS _known FROM feedback.label_history
                WHERE known_at >= $oldest AND known_at < $end GROUP BY transaction_id
            )
            SELECT {names}, epoch_us({instant}) AS _happened,
                   epoch_us(greatest(_known, "timestamp", $begin) + INTERVAL 1 MICROSECOND) AS _enters,
                   count(*) AS _weight
            FROM {PAYMENTS} JOIN first_known USING (transaction_id) {_semi_join(entity, keys)}
            WHERE judged_only AND event_date BETWEEN $first AND $day AND "timestamp" >= $oldest AND {_has_key(entity)}
            GROUP BY ALL
            """,
            {
                "oldest": oldest,
                "first": oldest.date(),
                "day": day,
                "begin": _midnight(day) - _INSTANT,
                "end": _midnight(day + _DAY),
            },
        )


def _labelled(connection: Connection, entity: EntityPlan, day: date, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Labelled transactions that count for their label: all whose first label comes on ``day``, and as many as are
    looked at of those that had one before. Of these, when it came makes no difference on the day."""
    names = _listed(entity.key)
    begin, end = _midnight(day), _midnight(day + _DAY)
    found = []
    for delay, (count, reached) in last_counts(entity).items():
        oldest, young = (begin - timedelta(microseconds=span) for span in (reached, delay))
        with registered(connection, **_registration(keys)):
            rows = select(
                connection,
                f"""
                WITH first_known AS (
                    SELECT transaction_id, min(known_at) AS _first FROM feedback.label_history
                    WHERE known_at >= $oldest AND known_at < $end GROUP BY transaction_id
                ), own AS (
                    SELECT {names}, epoch_us("timestamp") AS _happened, epoch_us(_first) AS _known,
                           judged_only IS TRUE AS _lasting
                    FROM {PAYMENTS} JOIN first_known USING (transaction_id) {_semi_join(entity, keys)}
                    WHERE event_date BETWEEN $first AND $day AND {_has_key(entity)}
                      AND "timestamp" >= if(judged_only IS TRUE, $oldest, $young)
                )
                SELECT {names}, _happened, _lasting, _known, $delay::BIGINT AS _delay
                FROM own WHERE _known >= epoch_us($begin)
                UNION ALL
                SELECT {names}, unnest(max(_happened, {count})), _lasting, epoch_us($begin) - 1, $delay::BIGINT
                FROM own WHERE _known < epoch_us($begin) GROUP BY {names}, _lasting
                """,
                {
                    "oldest": oldest,
                    "young": young,
                    "first": oldest.date(),
                    "day": day,
                    "begin": begin,
                    "end": end,
                    "delay": delay,
                },
            )
        found.append(rows)
    return pl.concat(found)


def _frauds(
    connection: Connection,
    entities: list[EntityPlan],
    day: date,
    keys: Mapping[str, pl.DataFrame | None],
) -> pl.DataFrame:
    """Known frauds as of ``day``: of the windows, and where none is too old, all of the entities that may occur."""
    oldest = (_midnight(day) - max((reach(entity) for entity in entities), default=timedelta(0))).date()
    registrations: dict[str, pl.DataFrame] = {}
    wanted = ["t.event_date >= $oldest"]
    for number, entity in enumerate(entities):
        own = keys[entity.name]
        if looks_back_for_ever(entity) and own is None:
            wanted.append("true")
        elif looks_back_for_ever(entity) and own is not None:
            registrations[f"_keys_{number}"] = own
            wanted.append(f"({_listed(entity.key, 't')}) IN (FROM _keys_{number} SELECT ({_listed(entity.key)}))")
    parameters: dict[str, object] = {"oldest": oldest, "day": day, "end": _midnight(day + _DAY)}
    columns = _listed([column for column in key_columns(entities) if column != "transaction_id"], "t")
    with registered(connection, **registrations):
        labels = select(
            connection,
            f"""
            SELECT l.transaction_id, l.source, l.actual_fraud, epoch_us(l.known_at) AS known_at,
                   epoch_us(t."timestamp") AS _happened{"," if columns else ""} {columns}
            FROM feedback.label_history l JOIN {PAYMENTS} t USING (transaction_id)
            WHERE t.event_date <= $day AND ({" OR ".join(wanted)})
              AND l.known_at < $end {"AND l.known_at >= $oldest" if len(wanted) == 1 else ""}
              AND l.transaction_id IN ({_LABELLED_AS_FRAUD})
            """,
            parameters,
        )
    return known_frauds(labels).select(fraud_columns(entities))


def _told_apart(entity: EntityPlan, day: date) -> tuple[datetime, datetime, str]:
    """The first and the last instant at which a window may begin or end on ``day``, and, as SQL, the instant at which a
    transaction is counted: its own, or, between two stretches, the end of the earlier one."""
    (oldest, end), *later = _stretches(entity, day)
    instant = f'CASE WHEN "timestamp" < TIMESTAMP \'{end}\' THEN "timestamp"'
    for begin, next_end in later:
        instant += f" WHEN \"timestamp\" < TIMESTAMP '{begin}' THEN TIMESTAMP '{end}'"
        instant += f' WHEN "timestamp" < TIMESTAMP \'{next_end}\' THEN "timestamp"'
        end = next_end
    return oldest, end, f'{instant} ELSE "timestamp" END'


def _stretches(entity: EntityPlan, day: date) -> list[tuple[datetime, datetime]]:
    """The stretches of time, from the oldest on, in which some window begins or ends as ``day`` goes by."""
    stretches: list[tuple[datetime, datetime]] = []
    for edge in reversed(edges(entity)):
        begin = _midnight(day) - timedelta(microseconds=edge)
        if stretches and begin <= stretches[-1][1]:
            begin = stretches.pop()[0]
        stretches.append((begin, _midnight(day + _DAY) - timedelta(microseconds=edge)))
    return stretches


def _derived_since(connection: Connection, first: date) -> set[date]:
    """The days from ``first`` on that have features."""
    if not table_exists(connection, "features.transaction_features"):
        return set()
    query = "SELECT DISTINCT event_date FROM features.transaction_features WHERE event_date >= ?"
    return {*select(connection, query, [first])["event_date"]}


def _keys(entity: EntityPlan, rows: pl.DataFrame | None) -> pl.DataFrame | None:
    return None if rows is None else rows.select(entity.key).drop_nulls().unique()


def _registration(keys: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    return {} if keys is None else {"_keys": keys}


def _semi_join(entity: EntityPlan, keys: pl.DataFrame | None) -> str:
    return "" if keys is None else f"SEMI JOIN _keys USING ({_listed(entity.key)})"


def _has_key(entity: EntityPlan) -> str:
    return " AND ".join(f'"{column}" IS NOT NULL' for column in entity.key)


def _listed(columns: Iterable[str], table: str = "") -> str:
    return ", ".join(f'{table}."{column}"' if table else f'"{column}"' for column in columns)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())
