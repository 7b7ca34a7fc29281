"""``fraud-pipelines cases``: the flagged payments of a customer, or another entity, worked to one end in the shell."""

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape

from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.settings import Settings

if TYPE_CHECKING:
    from fraud_pipelines.decisions.cases.work import CaseDesk, Person

_INSTANT: Final = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
_SHOWN: Final = ("open", "mine", "waiting", "second", "unreached", "overdue", "closed")
_by_option = click.option("--by", help="Who does it; by default the name you are logged in with.")
_case_argument = click.argument("case_id", metavar="CASE")


@click.group()
def cases() -> None:
    """Work the flagged payments of a customer to one end."""


@cases.command("list")
@click.option("--shown", type=click.Choice(_SHOWN), default="open", show_default=True, help="Which of them.")
@click.option("--tag", default="", help="Only those with this tag.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_by_option
def list_cases(shown: str, tag: str, limit: int, form: str, by: str | None) -> None:
    """List cases, those that save most a minute first.

    It says what today's minutes won't reach.
    """
    from fraud_pipelines.cli.case_tables import show_cases

    show_cases(
        Settings.from_environment(), shown=shown, tag=tag, limit=limit, as_json=form == "json", person=by or _user()
    )


@cases.command()
@_case_argument
def show(case_id: str) -> None:
    """Show one case: its payments, and all that happened."""
    from fraud_pipelines.cli.case_tables import show_case_file

    show_case_file(Settings.from_environment(), case_id, now=_now())


@cases.command("next")
@_by_option
@publishes
def take_next(by: str | None) -> None:
    """Claim the case that is worth most and nobody works on."""
    from fraud_pipelines.cli.terminal import terminal

    found = _desk(Settings.from_environment()).claim_next(_person(by), now=_now())
    told = f"Yours: fraud-pipelines cases show {found}" if found else "No case is left that nobody works on."
    terminal().print(told, highlight=False)


@cases.command()
@_case_argument
@click.option("--until", type=_INSTANT, help="When the claim ends, UTC.  [default: as the policy says]")
@_by_option
@publishes
def claim(case_id: str, until: datetime | None, by: str | None) -> None:
    """Claim a case, or renew your claim."""
    _do(
        by,
        f"The case {case_id} is yours for now.",
        lambda desk, who, now: desk.claim(case_id, who, now=now, until=until),
    )


@cases.command()
@_case_argument
@_by_option
@publishes
def release(case_id: str, by: str | None) -> None:
    """Give a claim back."""
    _do(by, f"Nobody works on the case {case_id} now.", lambda desk, who, now: desk.release(case_id, who, now=now))


@cases.command()
@_case_argument
@click.argument("text")
@_by_option
@publishes
def note(case_id: str, text: str, by: str | None) -> None:
    """Write a note, without a verdict."""
    _do(by, f"The note is in the case {case_id}.", lambda desk, who, now: desk.note(case_id, who, text, now=now))


@cases.command()
@_case_argument
@click.argument("tag_name", metavar="TAG")
@click.option("--remove", is_flag=True, help="Take it off.")
@_by_option
@publishes
def tag(case_id: str, tag_name: str, remove: bool, by: str | None) -> None:
    """Put a tag on a case, such as card-testing."""
    _do(
        by,
        f"The case {case_id} is {'no longer ' if remove else ''}tagged {tag_name}.",
        lambda desk, who, now: desk.tag(case_id, who, tag_name, now=now, remove=remove),
    )


@cases.command()
@_case_argument
@click.argument("when", type=_INSTANT)
@_by_option
@publishes
def due(case_id: str, when: datetime, by: str | None) -> None:
    """Say by when, UTC, a case is due; else its severity does."""
    _do(
        by,
        f"The case {case_id} is due at {when:%Y-%m-%d %H:%M} UTC.",
        lambda desk, who, now: desk.set_due(case_id, who, when, now=now),
    )


@cases.command()
@_case_argument
@click.option("--reason", required=True, help="Why; others see it.")
@_by_option
@publishes
def escalate(case_id: str, reason: str, by: str | None) -> None:
    """Put a case first, with high severity."""
    _do(by, f"The case {case_id} comes first now.", lambda desk, who, now: desk.escalate(case_id, who, reason, now=now))


@cases.command("wait")
@_case_argument
@click.option("--reason", required=True, help="For what; others see it.")
@click.option("--until", type=_INSTANT, help="Until when, UTC.  [default: until it is resumed]")
@_by_option
@publishes
def wait_for(case_id: str, reason: str, until: datetime | None, by: str | None) -> None:
    """Set a case aside that waits for something outside."""
    _do(
        by,
        f"The case {case_id} is set aside.",
        lambda desk, who, now: desk.wait(case_id, who, reason, now=now, until=until),
    )


@cases.command()
@_case_argument
@_by_option
@publishes
def resume(case_id: str, by: str | None) -> None:
    """Go on with a case that was set aside."""
    _do(by, f"The case {case_id} is open again.", lambda desk, who, now: desk.resume(case_id, who, now=now))


@cases.command()
@_case_argument
@click.argument("outcome", type=click.Choice(["fraud", "legitimate", "unclear"]))
@click.option("--payment", "payments", multiple=True, help="Only on this one; repeat it for more.  [default: all]")
@click.option("--note", "text", default="", help="What you noted.")
@_by_option
@publishes
def judge(case_id: str, outcome: str, payments: tuple[str, ...], text: str, by: str | None) -> None:
    """Give one outcome to payments that wait.

    All of them close the case.

    fraud and legitimate become your verdict on each of them. Where the policy asks for a second reviewer, somebody else
    has to give the same outcome.
    """
    from fraud_pipelines.cli.terminal import terminal

    done = _desk(Settings.from_environment()).judge(
        case_id, _person(by), outcome, now=_now(), transactions=payments or None, note=text
    )
    told = {
        "closed": f"The case {case_id} is closed as {outcome}.",
        "judged": f"Stored; the case {case_id} stays open for its other payments.",
        "proposed": f"Proposed: the case {case_id} is closed once somebody else says {outcome}, too.",
    }
    terminal().print(escape(told[done]), highlight=False, soft_wrap=True)


@cases.command()
@_case_argument
@click.option("--reason", required=True, help="Why; others see it.")
@_by_option
@publishes
def decline(case_id: str, reason: str, by: str | None) -> None:
    """Send an outcome back that somebody has proposed."""
    _do(by, f"The case {case_id} is open again.", lambda desk, who, now: desk.decline(case_id, who, reason, now=now))


@cases.command()
@_case_argument
@click.option("--reason", required=True, help="Why; others see it.")
@_by_option
@publishes
def reopen(case_id: str, reason: str, by: str | None) -> None:
    """Open a closed case again.

    Its verdicts stay until somebody gives others.
    """
    _do(by, f"The case {case_id} is open again.", lambda desk, who, now: desk.reopen(case_id, who, reason, now=now))


@cases.command()
@_case_argument
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
def export(case_id: str, path: Path) -> None:
    """Write a case to PATH, which ends in .html or .json.

    The HTML is one file that needs nothing else; the JSON has the case's hashes.
    """
    from fraud_pipelines.cli.case_tables import export_case

    if path.suffix not in (".html", ".json"):
        raise click.UsageError("PATH ends in .html or .json.")
    export_case(Settings.from_environment(), case_id, path, now=_now())


@cases.command()
@click.option("--name", default="", help="Erase it as author and reviewer, and the notes that have it.")
@click.option("--event", type=int, help="Erase words of this event, by its number.")
@click.option("--author", is_flag=True, help="Of --event: who did it.")
@click.option("--note", is_flag=True, help="Of --event: what they wrote.")
@_by_option
@publishes
def erase(name: str, event: int | None, author: bool, note: bool, by: str | None) -> None:
    """Erase a person's name or a note; the chain of hashes stays whole.

    Files that were exported, and backups, keep what they have.
    """
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.cli.terminal import terminal
    from fraud_pipelines.decisions.cases.erasing import erase_event, erase_name

    if bool(name) == (event is not None):
        raise click.UsageError("Give --name, or --event with --author or --note.")
    warehouse = warehouse_of(Settings.from_environment())
    if event is not None:
        erase_event(warehouse, event, _person(by), author=author, note=note, now=_now())
        terminal().print(f"Erased from event {event}.", highlight=False)
        return
    touched = erase_name(warehouse, name, _person(by), now=_now())
    terminal().print(f"Erased from {touched} events, and from the verdicts that had it.", highlight=False)


def _do(by: str | None, told: str, deed: "Callable[[CaseDesk, Person, datetime], Any]") -> None:
    """Do it, and say that it was done."""
    from fraud_pipelines.cli.terminal import terminal

    deed(_desk(Settings.from_environment()), _person(by), _now())
    terminal().print(escape(told), highlight=False, soft_wrap=True)


def _desk(settings: Settings) -> "CaseDesk":
    from fraud_pipelines.bootstrap import warehouse_of
    from fraud_pipelines.decisions.cases.queue import check_case_column
    from fraud_pipelines.decisions.cases.work import CaseDesk
    from fraud_pipelines.decisions.configuration import policy_in_force
    from fraud_pipelines.plan.compile import plan_in_force

    policy = policy_in_force(settings)
    check_case_column(policy.cases, plan_in_force(settings))
    return CaseDesk(warehouse_of(settings), policy.cases, blind=policy.audit_blind, skew=settings.clock_skew)


def _person(by: str | None) -> "Person":
    from fraud_pipelines.decisions.cases.work import Person

    return Person(_user() if by is None else by)


def _user() -> str:
    return getpass.getuser()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
