"""A person is removed from the tables of the warehouse, in one transaction; the decision log keeps its chain."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from fraud_pipelines.decisions.cases.events import COVERED
from fraud_pipelines.decisions.cases.events import TABLE as CASE_EVENTS
from fraud_pipelines.decisions.hash_chain import FORGOTTEN, REDACTED
from fraud_pipelines.forgetting.person import Person
from fraud_pipelines.storage.connection import Connection, columns_of, insert, registered, select
from fraud_pipelines.storage.warehouse import Warehouse

_LOG: Final = "scoring.decision_revisions"
_KEPT_OF_LOG: Final = frozenset(
    {"sequence", "transaction_id", "channel", "revision", "action", "event_date", "decided_at"}
    | {"shard", "previous_hash", "entry_hash"}
)
"""Columns of an entry that stay: its place in the chain and its day."""
_RECORD: Final = "main.forgotten"
_PAYLOAD: Final = "payload"
_NAMED_ROWS: Final = "scoring.list_entries"
"""Rows about a value: they go with it."""
_PROSE: Final = "monitoring.alerts"
"""Sentences, in which payments are named, too."""
_WRITTEN_BY_PEOPLE: Final = frozenset({"note", "comment", "reason"})
"""Columns of prose that people write."""
_POLICIES: Final = "scoring.policy_versions"
_STATE: Final = "state"
"""The column that histories of entities have."""


@dataclass(frozen=True)
class Removed:
    """How many rows of a table were removed, or redacted: they stay without what named the person."""

    table: str
    rows: int
    redacted: bool = False


def payments_of(warehouse: Warehouse, names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The ids of the payments of who has one of these names, and the deliveries that brought them."""
    query = "SELECT transaction_id, source FROM raw.transactions WHERE list_contains($names, user_id)"
    rows = warehouse.read(query, {"names": sorted(names)})
    rejected = "SELECT source FROM raw.rejected_transactions WHERE list_bool_or([contains(payload, n) for n in $names])"
    refused = warehouse.read(rejected, {"names": sorted(names)})
    return frozenset(rows["transaction_id"]), frozenset(rows["source"]) | frozenset(refused["source"])


def forget_in_tables(warehouse: Warehouse, person: Person, *, now: datetime) -> list[Removed]:
    """Remove or redact every row that names the person, or is about one of their payments.

    An entry of the decision log keeps its number, day and hashes, and nothing of what was decided. ``main.forgotten``
    notes how much went, and not of whom.
    """
    removed: list[Removed] = []
    with warehouse.transaction() as connection:
        payments = pl.DataFrame({"transaction_id": sorted(person.payments)}, schema={"transaction_id": pl.String})
        with registered(connection, _forgotten=payments):
            for table in connection.tables():
                removed += _forget_in(connection, table, person)
        entries = sum(each.rows for each in removed if each.table == _LOG)
        texts = select(connection, f"SELECT hash FROM {_POLICIES} WHERE contains(content, ?)", [REDACTED])["hash"]
        note = {"forgotten_at": now, "payments": len(person.payments), "log_entries": entries, "policies": [*texts]}
        insert(connection, _RECORD, pl.DataFrame([note], schema_overrides={"policies": pl.List(pl.String)}))
    return removed


def _forget_in(connection: Connection, table: str, person: Person) -> Iterator[Removed]:
    kinds = columns_of(connection, table)
    texts = [name for name, kind in kinds.items() if kind == "VARCHAR"]
    if table == _LOG:
        if count := _redact_log(connection, list(kinds)):
            yield Removed(table, count, redacted=True)
        return
    if table == CASE_EVENTS:
        if count := _redact_cases(connection, person):
            yield Removed(table, count, redacted=True)
        kept = {name for name in COVERED if kinds.get(name, "").startswith("VARCHAR")}
        texts = [name for name in texts if name not in kept]
        kinds = {name: kind for name, kind in kinds.items() if name not in kept}
    of_person = _conditions(table, kinds)
    parameters = {"names": sorted(person.names)}
    if of_person and (count := _count(connection, table, of_person, parameters)):
        connection.delete(table, of_person, parameters)
        yield Removed(table, count)
    if _PAYLOAD in kinds and (count := _delete_payloads(connection, table, person)):
        yield Removed(table, count)
    changed = sum(_redact_texts(connection, table, name, person) for name in texts if name != _PAYLOAD)
    for name in (name for name, kind in kinds.items() if kind == "VARCHAR[]"):
        changed += _redact_list(connection, table, name, person)
    if changed:
        yield Removed(table, changed, redacted=True)


def _conditions(table: str, kinds: dict[str, str]) -> str:
    """Which rows are the person's, in SQL; empty where a table has none."""
    found = []
    if "transaction_id" in kinds:
        found.append("transaction_id IN (SELECT transaction_id FROM _forgotten)")
    if _STATE in kinds:
        keys = [name for name, kind in kinds.items() if kind == "VARCHAR" and name != "declaration"]
        found += [f'list_contains($names, "{name}")' for name in keys]
    elif "user_id" in kinds:
        found.append("list_contains($names, user_id)")
    elif table == _NAMED_ROWS:
        found.append("list_contains($names, value)")
    return " OR ".join(found) and f"({' OR '.join(found)}) AND length($names) > 0"


def _count(connection: Connection, table: str, condition: str, parameters: dict[str, list[str]]) -> int:
    return int(select(connection, f"SELECT count(*) AS n FROM {table} WHERE {condition}", parameters).item())


def _redact_log(connection: Connection, columns: list[str]) -> int:
    """Redact the entries about the payments; each payment gets another name, so that its entries stay together."""
    query = f"SELECT DISTINCT transaction_id FROM {_LOG} SEMI JOIN _forgotten USING (transaction_id)"
    found = select(connection, query)
    if found.is_empty():
        return 0
    renamed = found.with_columns(alias=pl.Series([f"forgotten-{secrets.token_hex(8)}" for _ in range(found.height)]))
    count = int(
        select(connection, f"SELECT count(*) AS n FROM {_LOG} SEMI JOIN _forgotten USING (transaction_id)").item()
    )
    emptied = "".join(f', "{name}" = NULL' for name in columns if name not in _KEPT_OF_LOG)
    with registered(connection, _renamed=renamed.rename({"transaction_id": "was"})):
        connection.update(
            _LOG,
            f"transaction_id = _renamed.alias, action = '{FORGOTTEN}'{emptied}",
            "stored.transaction_id = _renamed.was",
            using="_renamed",
        )
    return count


def _redact_cases(connection: Connection, person: Person) -> int:
    """Empty the events of cases that name the person, or are about one of their payments; their hashes stay."""
    about = {"names": sorted(person.names)}
    query = f"""
        SELECT DISTINCT case_id FROM {CASE_EVENTS}
        WHERE list_contains($names, value) OR list_bool_or([contains(evidence, n) for n in $names])
           OR list_has_any(transactions, (SELECT list(transaction_id) FROM _forgotten))
    """
    found = select(connection, query, about)
    if found.is_empty():
        return 0
    with registered(connection, _cases=found):
        condition = "case_id IN (SELECT case_id FROM _cases)"
        count = _count(connection, CASE_EVENTS, condition, {})
        connection.update(
            CASE_EVENTS,
            f"case_id = '{REDACTED}', value = '{REDACTED}', action = '{FORGOTTEN}', tag = NULL, transactions = NULL, "
            "evidence = NULL, note = NULL, note_salt = NULL",
            condition,
        )
    return count


def _delete_payloads(connection: Connection, table: str, person: Person) -> int:
    """Remove rows that were set aside and name the person, or one of their payments."""
    found = [text for text in select(connection, f"SELECT DISTINCT {_PAYLOAD} FROM {table}")[_PAYLOAD] if text]
    of_person = [text for text in found if person.is_in(text.encode()) or _names_payment(text, person)]
    if not of_person:
        return 0
    with registered(connection, _payloads=pl.DataFrame({_PAYLOAD: of_person})):
        condition = f"{_PAYLOAD} IN (SELECT {_PAYLOAD} FROM _payloads)"
        count = _count(connection, table, condition, {})
        connection.delete(table, condition)
    return count


def _names_payment(payload: str, person: Person) -> bool:
    try:
        row = json.loads(payload)
    except (ValueError, RecursionError):
        return person.redacted(payload) != payload
    values = row.values() if isinstance(row, dict) else ()
    return any(str(value).strip() in person.payments for value in values)


def _redact_texts(connection: Connection, table: str, column: str, person: Person) -> int:
    """Take the names out of a column of texts, and where it is prose the payments too."""
    named = " OR ".join(f'contains("{column}", $name_{place})' for place in range(len(person.names)))
    parameters = {f"name_{place}": name for place, name in enumerate(sorted(person.names))}
    if table == _PROSE:
        words = f"""string_split_regex("{column}", '[\\s,;:()]+')"""
        named += f" OR list_has_any({words}, (SELECT list(transaction_id) FROM _forgotten))"
    condition = f"({named})"
    found = select(connection, f'SELECT DISTINCT "{column}" AS was FROM {table} WHERE {condition}', parameters)
    prose = column in _WRITTEN_BY_PEOPLE
    redacted = [person.redacted(text, prose=prose) if text not in person.names else REDACTED for text in found["was"]]
    changes = found.with_columns(pl.Series("is", redacted, dtype=pl.String)).filter(pl.col("was") != pl.col("is"))
    if changes.is_empty():
        return 0
    with registered(connection, _changes=changes):
        count = _count(connection, table, f'"{column}" IN (SELECT was FROM _changes)', {})
        connection.update(table, f'"{column}" = _changes."is"', f'stored."{column}" = _changes.was', using="_changes")
    return count


def _redact_list(connection: Connection, table: str, column: str, person: Person) -> int:
    """Take the names and payments out of a column of lists."""
    parameters = {"ids": sorted(person.names | person.payments)}
    condition = f'list_has_any("{column}", $ids)'
    count = _count(connection, table, condition, parameters)
    if count:
        redacted = f"CASE WHEN list_contains($ids, each) THEN '{REDACTED}' ELSE each END"
        connection.update(
            table, f'"{column}" = list_transform("{column}", lambda each: {redacted})', condition, parameters
        )
    return count
