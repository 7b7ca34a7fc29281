"""The declarations that features and decisions were made by: their text, kept once for each version."""

from fraud_pipelines.errors import MissingData
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.connection import Connection, select
from fraud_pipelines.storage.warehouse import Warehouse


def keep_text(connection: Connection, plan: Plan) -> None:
    """Keep the text of the plan, unless its version has one already."""
    known = "SELECT 1 FROM features.plan_versions WHERE plan_version = ?"
    if select(connection, known, [plan.version]).is_empty():
        connection.append(
            "features.plan_versions",
            "SELECT $version AS plan_version, $text AS content",
            {"version": plan.version, "text": plan.text},
        )


def kept_text(warehouse: Warehouse, version: str) -> str:
    """The declarations of a version, as YAML that stands by itself.

    Args:
        version: as ``plan_version`` has it in a table, or how it begins.

    Raises:
        MissingData: no version begins like this, several do, or it was used by a release that kept no texts.
    """
    kept = warehouse.read(
        "SELECT plan_version, content FROM features.plan_versions WHERE starts_with(plan_version, ?) ORDER BY 1",
        [version],
    )
    if kept.height == 1:
        return str(kept["content"][0])
    known = warehouse.read("SELECT plan_version FROM features.plan_versions ORDER BY 1")["plan_version"]
    problem = "several declarations have" if kept.height else "no declarations are kept of"
    raise MissingData(
        f"{problem} the version {version!r}; kept are {', '.join(known) or 'none'}. Releases before 0.2 kept none."
    )
