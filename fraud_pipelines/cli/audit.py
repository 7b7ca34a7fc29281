"""``fraud-pipelines audit`` and ``replay``: is the log as it was written, and do its decisions come out again?"""

from rich.console import Console

from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse

console = Console()


def show_audit(settings: Settings, *, expected_head: str | None) -> int:
    """Verify the decision log and tell what was found; returns 1 if anything was, else 0."""
    from fraud_pipelines.decisions.audit import audit_decisions

    audit = audit_decisions(_warehouse(settings), expected_head=expected_head)
    for finding in audit.findings:
        console.print(f"✗ {finding}", markup=False, highlight=False, soft_wrap=True)
    verdict = (
        f"{len(audit.findings)} findings: the log is not as it was written."
        if audit.findings
        else "Nothing was changed, removed or moved."
    )
    console.print(
        f"{audit.entries:,} entries, {audit.decisions:,} decisions in force. {verdict}\n"
        f"Head of the chain: {audit.head}",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if audit.findings else 0


def _warehouse(settings: Settings) -> Warehouse:
    return Warehouse(settings.warehouse_path, wait_seconds=settings.warehouse_wait_seconds)
