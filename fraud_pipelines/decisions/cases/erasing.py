"""Erasing a person's name from cases: the words go, the chain stays whole and says that it was done."""

from datetime import datetime

from fraud_pipelines.decisions.cases.events import erase_words
from fraud_pipelines.decisions.cases.work import Person, checked_person
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.storage.connection import select
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.transactions.timestamps import as_utc


def erase_event(
    warehouse: Warehouse, sequence: int, person: Person, *, author: bool, note: bool, now: datetime
) -> None:
    """Erase the author or the note of an event.

    Raises:
        InvalidInput: there is nothing to erase.
    """
    person = checked_person(person)
    words = [word for word, chosen in (("author", author), ("note", note)) if chosen]
    if not words:
        raise InvalidInput("erase: say what: the author, the note, or both")
    with warehouse.transaction() as connection:
        erase_words(connection, sequence, words, author=person.name, named_by=person.named_by, now=as_utc(now))


def erase_name(warehouse: Warehouse, name: str, person: Person, *, now: datetime) -> int:
    """Erase a name from all cases: as the author of events, and every note that has it, whatever its case.

    The verdicts of ``feedback.labels`` and those corrected since lose it as reviewer, and comments that have it.

    Returns:
        How many events were touched.

    Raises:
        InvalidInput: the name is shorter than three characters, or no event and no verdict has it.
    """
    person, name, now = checked_person(person), " ".join(name.split()), as_utc(now)
    if len(name) < 3:
        raise InvalidInput("name: write at least three characters; shorter ones stand in many words")
    if person.name.casefold() == name.casefold():
        raise InvalidInput("by: name somebody else, or the erasing would write the name again")
    with warehouse.transaction() as connection:
        rows = select(
            connection,
            """
            SELECT sequence, lower(author) = lower($name) AS author, contains(lower(note), lower($name)) AS note
            FROM feedback.case_events
            WHERE lower(author) = lower($name) OR contains(lower(note), lower($name)) ORDER BY sequence
            """,
            {"name": name},
        )
        labelled = 0
        for table in ("feedback.labels", "feedback.superseded_labels"):
            condition = "lower(reviewer) = lower($name) OR contains(lower(comment), lower($name))"
            found = select(connection, f"SELECT count(*) FROM {table} WHERE {condition}", {"name": name}).item()
            if not found:
                continue
            labelled += found
            connection.update(
                table,
                "reviewer_named_by = CASE WHEN lower(reviewer) = lower($name) THEN NULL ELSE reviewer_named_by END, "
                "reviewer = CASE WHEN lower(reviewer) = lower($name) THEN NULL ELSE reviewer END, "
                "comment = CASE WHEN contains(lower(comment), lower($name)) THEN NULL ELSE comment END",
                condition,
                {"name": name},
            )
        if rows.is_empty() and not labelled:
            raise InvalidInput(f"name: no event of a case and no verdict has {name!r}")
        for sequence, *present in rows.iter_rows():
            words = [word for word, there in zip(("author", "note"), present, strict=True) if there]
            erase_words(connection, sequence, words, author=person.name, named_by=person.named_by, now=now)
    return rows.height
