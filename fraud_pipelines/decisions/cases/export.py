"""Exporting a case: one HTML file that needs nothing else, and JSON, both with the hashes that prove them."""

import dataclasses
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fraud_pipelines.decisions.cases.case_file import CaseFile
from fraud_pipelines.decisions.cases.events import chain_head
from fraud_pipelines.decisions.sealing import log_head
from fraud_pipelines.storage.warehouse import Warehouse

FORMAT: Final = "fraud-pipelines case 1"
_FOLDER: Final = Path(__file__).parent


def exported(warehouse: Warehouse, case: CaseFile, *, now: datetime, currency: str | None) -> dict[str, Any]:
    """The case as plain values.

    ``sha256`` is the SHA-256 of all the rest as JSON with sorted keys, separators ``,`` and ``:``, ASCII alone. Each
    event has its hash in the chain of cases, each decision that in the decision log; ``heads`` are where both end.
    """
    with warehouse.connect(read_only=True) as connection:
        heads = {"case_events": str(chain_head(connection)), "decisions": str(log_head(connection))}
    content = {
        "format": FORMAT,
        "exported_at": now,
        "currency": currency,
        "case_id": case.case_id,
        "about": dataclasses.asdict(case.key),
        **{
            name: getattr(case, name)
            for name in ("state", "outcome", "tags", "opened_at", "closed_at", "closed_by", "more_payments")
        },
        "queued": None if case.queued is None else dataclasses.asdict(case.queued),
        "payments": [
            {**each.stored, "waits": each.waits, "labels": [dataclasses.asdict(label) for label in each.labels]}
            for each in case.payments
        ],
        "lists": [dataclasses.asdict(entry) for entry in case.entries],
        "events": [_event(each) for each in case.events],
        "timeline": [
            {
                **{name: value for name, value in vars(each).items() if name != "event"},
                "event": each.event and each.event.sequence,
            }
            for each in case.timeline
        ],
        "heads": heads,
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_text))
    return plain | {"sha256": digest_of_export(plain)}


def digest_of_export(content: dict[str, Any]) -> str:
    """The hash of an export, its own ``sha256`` left out."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(content: dict[str, Any]) -> str:
    """The export as a file of JSON."""
    return json.dumps(content, indent=2) + "\n"


def as_html(content: dict[str, Any]) -> str:
    """The export as one page without a script, a link to elsewhere, or another file."""
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("export.html").render(case=content) + "\n"


def _event(event: Any) -> dict[str, Any]:
    fields = dataclasses.asdict(event)
    return fields | {"evidence": None if event.evidence is None else json.loads(event.evidence)}


def _text(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
