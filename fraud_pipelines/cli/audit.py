"""``fraud-pipelines audit`` and ``replay``: is the log as it was written, and do its decisions come out again?"""

from contextlib import closing
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from fraud_pipelines.bootstrap import publication_of, warehouse_of
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.engines.opening import engine_of
from fraud_pipelines.errors import WarehouseBusy
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at

if TYPE_CHECKING:
    from fraud_pipelines.decisions.replay import Channel

console = terminal()


def show_audit(settings: Settings, *, expected_head: str | None) -> int:
    """Verify the decision log and tell what was found; returns 1 if anything was, else 0.

    The live warehouse is verified, and the published file too where somebody has written into that.
    """
    from fraud_pipelines.decisions.audit import audit_decisions

    with closing(engine_of(settings)) as engine:
        audit = audit_decisions(warehouse_of(settings), expected_head=expected_head, engine=engine)
    for finding in audit.findings:
        console.print(f"✗ {finding}", markup=False, highlight=False, soft_wrap=True)
    verdict = (
        f"{len(audit.findings)} findings: the log is not as it was written."
        if audit.findings
        else "Nothing was changed, removed or moved."
    )
    forgotten = f" {audit.forgotten:,} are of people who were forgotten." if audit.forgotten else ""
    console.print(
        f"{audit.entries:,} entries, {audit.decisions:,} decisions in force. {verdict}{forgotten}\n"
        f"Head of the chain: {audit.head}"
        + (
            f"\n{audit.case_events:,} events of cases. Head of their chain: {audit.case_head}"
            if audit.case_events
            else ""
        ),
        highlight=False,
        soft_wrap=True,
    )
    return int(bool(audit.findings) | _show_published(settings))


def _show_published(settings: Settings) -> bool:
    """Whether the log in the published file is not as it was written; looked at where somebody wrote into that file."""
    from fraud_pipelines.decisions.audit import audit_decisions

    if not publication_of(settings).was_changed():
        return False
    path = settings.published_path
    told = f"{path} is not as it was published. It is a copy, which fraud-pipelines publish makes new."
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    try:
        copy = audit_decisions(warehouse_at(path, wait_seconds=0), expected_head=None)
    except WarehouseBusy as busy:
        console.print(f"Its log was not verified: {busy}", markup=False, highlight=False, soft_wrap=True)
        return False
    for finding in copy.findings:
        console.print(f"✗ in the copy: {finding}", markup=False, highlight=False, soft_wrap=True)
    return bool(copy.findings)


def show_replay(settings: Settings, transaction_id: str, *, channel: "Channel", revision: int | None) -> int:
    """Make a decision again and tell what differs; returns 1 if anything does, else 0."""
    from fraud_pipelines.decisions.replay import replay_decisions
    from fraud_pipelines.plan.compile import plan_in_force
    from fraud_pipelines.storage.model_registry import ModelRegistry

    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    (replay,) = replay_decisions(
        warehouse_of(settings),
        registry,
        [transaction_id],
        channel=channel,
        revision=revision,
        plan=plan_in_force(settings),
    )
    entry = replay.recorded
    console.print(
        f"Transaction {transaction_id} of {replay.event_date} ({channel}, revision {replay.revision}): "
        f"{entry['decision']} with score {entry['score']:.6f} for {entry['reason']}, by the policy {entry['policy']}, "
        f"thresholds {entry['review_threshold']:.4f} and {entry['block_threshold']:.4f}, "
        f"and {', '.join(replay.model_versions)}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if replay.equal:
        console.print("Made again, it comes out equal.", highlight=False)
        return 0
    table = Table("", "recorded", "made again", title="Made again, it differs", title_justify="left")
    for each in replay.differences:
        table.add_row(each.field, escape(_shown(each.recorded)), escape(_shown(each.recomputed)))
    console.print(table)
    return 1


def _shown(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
