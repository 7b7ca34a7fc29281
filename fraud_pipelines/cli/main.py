"""The commands of ``fraud-pipelines`` and their options; what they do lies in the modules they call."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import click

from fraud_pipelines.cli.backup import backup, relocate, restore
from fraud_pipelines.cli.cases import cases
from fraud_pipelines.cli.commands import HELP_OPTIONS, Commands
from fraud_pipelines.cli.compact import compact
from fraud_pipelines.cli.days import DAY
from fraud_pipelines.cli.forget import forget
from fraud_pipelines.cli.importing import import_group
from fraud_pipelines.cli.lake import lake_group
from fraud_pipelines.cli.listening import PORT, allow_host_option, host_option
from fraud_pipelines.cli.lists import lists
from fraud_pipelines.cli.mapping_draft import mapping
from fraud_pipelines.cli.prune import prune
from fraud_pipelines.cli.publishing import publishes
from fraud_pipelines.cli.review import review
from fraud_pipelines.cli.shadow import demote, promote, show_shadow
from fraud_pipelines.cli.token import token
from fraud_pipelines.cli.weekly import report
from fraud_pipelines.settings import Settings

from_option = click.option("--from", "first", type=DAY, required=True, help="First day.")
to_option = click.option("--to", "last", type=DAY, required=True, help="Last day, included.")

# The bounds are those of SimulationConfig, which is not imported for the sake of the other commands.
users_option = click.option("--users", default=1000, show_default=True, type=click.IntRange(1, 5_000_000))
transactions_option = click.option(
    "--transactions-per-day", default=3000, show_default=True, type=click.IntRange(1, 10_000_000)
)
seed_option = click.option("--seed", default=7, show_default=True, type=click.IntRange(0))


@click.group(cls=Commands, context_settings=HELP_OPTIONS)
@click.version_option(package_name="fraud-pipelines")
def main() -> None:
    """Fraud detection for payments: features, daily models, decisions and feedback, run by Dagster.

    Data lies in ./data, or where FRAUD_DATA_DIR says.
    """


@main.command()
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3_660), help="Days to simulate.")
@users_option
@transactions_option
@seed_option
@click.option("--fresh", is_flag=True, help="Throw away what an earlier demo left, and start over.")
@publishes
def demo(days: int, users: int, transactions_per_day: int, seed: int, fresh: bool) -> None:
    """Simulate thirty days, run them, and show what came out."""
    from fraud_pipelines.cli.demo import run_demo

    run_demo(
        Settings.from_environment(),
        days=days,
        users=users,
        transactions_per_day=transactions_per_day,
        seed=seed,
        fresh=fresh,
    )


@main.command()
@host_option
@click.option("--dagster-port", default=3000, show_default=True, type=PORT)
@click.option("--mlflow-port", default=5000, show_default=True, type=PORT)
@click.option("--review-port", default=3001, show_default=True, type=PORT)
@allow_host_option
@publishes
def up(host: str, dagster_port: int, mlflow_port: int, review_port: int, allowed_hosts: tuple[str, ...]) -> None:
    """Start Dagster's UI, MLflow's UI and the review page."""
    from fraud_pipelines.bootstrap import prepare
    from fraud_pipelines.cli.publishing import publish_what_changed
    from fraud_pipelines.cli.serve import serve

    settings = Settings.from_environment().allowing(allowed_hosts)
    prepare(settings)
    publish_what_changed(settings)
    ports = {"dagster_port": dagster_port, "mlflow_port": mlflow_port, "review_port": review_port}
    sys.exit(serve(settings, host=host, **ports))


@main.command()
@from_option
@to_option
@users_option
@transactions_option
@click.option("--fraud-rate", type=click.FloatRange(0, 0.2), help="Share of fraudulent transactions.")
@seed_option
@click.option("--world", default="ordinary", show_default=True, help="What frauds there are: see docs/worlds.md.")
def simulate(
    first: date, last: date, users: int, transactions_per_day: int, fraud_rate: float | None, seed: int, world: str
) -> None:
    """Simulate transactions into the landing zone.

    The ground truth is written beside them, for --simulate-labels.
    """
    from fraud_pipelines.cli.simulation import simulate_to_landing

    settings = Settings.from_environment()
    simulate_to_landing(settings, first, last, users, transactions_per_day, fraud_rate, seed, world)


@main.command()
@from_option
@to_option
@click.option("--simulate-labels", is_flag=True, help="Let the simulated reviewers and banks answer each day.")
@click.option("--with-earlier", is_flag=True, help="Derive the features of earlier days first that have none.")
@publishes
def run(first: date, last: date, simulate_labels: bool, with_earlier: bool) -> None:
    """Run the daily job for each day in order."""
    from fraud_pipelines.bootstrap import prepare
    from fraud_pipelines.cli.run import run_days

    settings = Settings.from_environment()
    prepare(settings)
    run_days(settings, first, last, simulate_labels=simulate_labels, with_earlier=with_earlier)


@main.command()
@from_option
@to_option
@click.option("--cards", default=100, show_default=True, type=click.IntRange(1), help="k of card precision@k.")
@click.option(
    "--without-known-cards",
    is_flag=True,
    help="The handbook's protocol: cards known to be compromised are no longer tested.",
)
def evaluate(first: date, last: date, cards: int, without_known_cards: bool) -> None:
    """Show the figures of every model over a range of days.

    They are made with the labels known today.
    """
    from fraud_pipelines.cli.report import show_models

    show_models(Settings.from_environment(), first, last, cards=cards, known_cards_removed=without_known_cards)


rules_argument = click.argument("file", required=False, type=click.Path(path_type=Path))
format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@main.command()
@from_option
@to_option
@click.option("--rules", "rules_file", type=click.Path(path_type=Path), help="A file of rules; else those in force.")
@click.option("--policy", help="Try this policy, with the rules.")
@click.option("--review-threshold", type=float, help="Try the policy with this review threshold.")
@click.option("--block-threshold", type=float, help="Try the policy with this block threshold.")
@click.option("--channel", type=click.Choice(["batch", "stream"]), default="batch", show_default=True)
@format_option
def backtest(
    first: date,
    last: date,
    rules_file: Path | None,
    policy: str | None,
    review_threshold: float | None,
    block_threshold: float | None,
    channel: str,
    form: str,
) -> None:
    """Try rules, a policy or a threshold on stored days.

    Tells what each rule would have alerted or spared, the frauds among it, and what it costs. Nothing is written.
    """
    from fraud_pipelines.cli.backtest import show_backtest

    show_backtest(
        Settings.from_environment(),
        first,
        last,
        rules_file=rules_file,
        policy_name=policy,
        review=review_threshold,
        block=block_threshold,
        channel=channel,
        as_json=form == "json",
    )


@main.group()
def rules() -> None:
    """Check and show hard rules; let one in shadow decide."""


@rules.command("check")
@rules_argument
def check_rules(file: Path | None) -> None:
    """Say whether a file of rules is sound.

    By default the one in force.
    """
    from fraud_pipelines.cli import rules as command

    command.check_rules(Settings.from_environment(), file)


@rules.command("show")
@rules_argument
@format_option
def show_rules(file: Path | None, form: str) -> None:
    """Show each rule and what it asks."""
    from fraud_pipelines.cli import rules as command

    command.show_rules(Settings.from_environment(), file, as_json=form == "json")


for shadow_command in (show_shadow, promote, demote):
    rules.add_command(shadow_command)


@main.group("policies")
def policies_group() -> None:
    """Show policies."""


@policies_group.command("show")
@click.argument("name", required=False)
@format_option
def show_policies(name: str | None, form: str) -> None:
    """Show a policy, with all that it takes from others.

    Without a name, list them.
    """
    from fraud_pipelines.cli import rules as command

    command.show_policies(Settings.from_environment(), name, as_json=form == "json")


@main.group()
def thresholds() -> None:
    """See the thresholds of a policy; accept or set them."""


policy_option = click.option("--policy", help="By default the one in force (FRAUD_POLICY).")
by_option = click.option("--by", help="Who decides; by default the name you are logged in with.")


@thresholds.command("list")
@policy_option
@click.option("--limit", default=15, show_default=True, type=click.IntRange(1), help="The latest so many of each.")
def list_thresholds(policy: str | None, limit: int) -> None:
    """List the thresholds by day, and the proposals."""
    from fraud_pipelines.cli.thresholds import show_list

    show_list(Settings.from_environment(), policy, limit=limit)


@thresholds.command("show")
@policy_option
@click.option("--as-of", type=DAY, help="What was tuned at the end of that day; by default the latest.")
def show_thresholds(policy: str | None, as_of: date | None) -> None:
    """Show what is in force or proposed, and why."""
    from fraud_pipelines.cli.thresholds import show_evidence

    show_evidence(Settings.from_environment(), policy, as_of=as_of)


@thresholds.command("accept")
@policy_option
@by_option
@click.option("--as-of", type=DAY, help="The proposal of that day; by default the open one.")
@publishes
def accept_thresholds(policy: str | None, by: str | None, as_of: date | None) -> None:
    """Accept a proposal.

    It is in force from the first day that isn't decided yet.
    """
    from fraud_pipelines.cli.thresholds import accept

    accept(Settings.from_environment(), policy, by=by, as_of=as_of, now=_now())


@thresholds.command("set")
@click.argument("review", type=float)
@click.option("--reason", required=True, help="Why; it is kept beside the threshold.")
@policy_option
@by_option
@publishes
def set_own_thresholds(review: float, reason: str, policy: str | None, by: str | None) -> None:
    """Set your own review threshold.

    It is in force from the first day that isn't decided yet.

    The block threshold is the policy's (policies.yaml).
    """
    from fraud_pipelines.cli.thresholds import set_own

    set_own(Settings.from_environment(), policy, review=review, reason=reason, by=by)


@main.command()
def status() -> None:
    """Say what is stored, what waits and what was rejected."""
    from fraud_pipelines.cli.status import show_status

    show_status(Settings.from_environment())


@main.command()
def publish() -> None:
    """Make the file that people open (data/fraud.duckdb) new.

    It is a copy of the live one, and every command that writes makes it new at its end.
    """
    from fraud_pipelines.cli.publishing import publish_now

    publish_now(Settings.from_environment())


@main.command()
@click.argument("query")
@click.option("--format", "as_format", default="table", show_default=True, type=click.Choice(["table", "json", "csv"]))
@click.option("--limit", default=40, show_default=True, type=click.IntRange(1), help="Rows of a table.")
def sql(query: str, as_format: Literal["table", "json", "csv"], limit: int) -> None:
    """Query the live warehouse.

    It is opened for reading, and only as long as the query takes; - reads QUERY from standard input.
    """
    from fraud_pipelines.cli.sql import show_sql

    text = sys.stdin.read() if query == "-" else query
    show_sql(Settings.from_environment(), text, as_format=as_format, limit=limit)


@main.command()
@format_option
def doctor(form: str) -> None:
    """Check the installation, and say how to mend it.

    Ends with 1 where something does not work. Nothing is changed.
    """
    from fraud_pipelines.cli.doctor import show_health

    sys.exit(show_health(as_json=form == "json"))


@main.command()
@click.option(
    "--expect-head", metavar="HASH", help="A head of the chain noted earlier; the chain must have come by it."
)
def audit(expect_head: str | None) -> None:
    """Verify the decision log.

    Its hash chain must hold, and the decisions in force must follow from it.
    """
    from fraud_pipelines.cli.audit import show_audit

    sys.exit(show_audit(Settings.from_environment(), expected_head=expect_head))


@main.command()
@click.argument("transaction_id")
@click.option("--channel", type=click.Choice(["batch", "stream"]), default="batch", show_default=True)
@click.option("--revision", type=click.IntRange(1), help="An earlier revision; by default the one in force.")
def replay(transaction_id: str, channel: Literal["batch", "stream"], revision: int | None) -> None:
    """Make a past decision again, and tell what differs."""
    from fraud_pipelines.cli.audit import show_replay

    sys.exit(show_replay(Settings.from_environment(), transaction_id, channel=channel, revision=revision))


main.add_command(backup)
main.add_command(restore)
main.add_command(relocate)
main.add_command(compact)
main.add_command(forget)
main.add_command(import_group)
main.add_command(lake_group)
main.add_command(cases)
main.add_command(lists)
main.add_command(mapping)
main.add_command(prune)
main.add_command(review)
main.add_command(report)
main.add_command(token)


@main.command("stream-demo")
@click.option("--transactions", default=200, show_default=True, type=click.IntRange(1), help="How many to screen.")
@click.option("--rate", default=20.0, show_default=True, type=click.FloatRange(0), help="A second; 0 for no pause.")
@click.option("--seed", type=int, help="The same seed gives the same transactions.")
def stream_demo(transactions: int, rate: float, seed: int | None) -> None:
    """Screen made-up transactions live; nothing is stored."""
    from fraud_pipelines.cli.stream import run_stream_demo

    run_stream_demo(transactions=transactions, rate=rate, seed=seed)


@main.command("stream-load")
@click.option("--rate", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Transactions a second.")
@click.option("--seconds", type=click.IntRange(1), help="For how long; without it, until you press Ctrl-C.")
@users_option
@seed_option
def stream_load(rate: int, seconds: int | None, users: int, seed: int) -> None:
    """Play simulated traffic into the stream's landing zone."""
    from fraud_pipelines.cli.stream import run_stream_load

    run_stream_load(Settings.from_environment(), rate=rate, seconds=seconds, users=users, seed=seed)


@main.command()
@click.option("--from", "first", type=DAY, help="First day; by default the days whose labels have had time to arrive.")
@click.option("--to", "last", type=DAY, help="Last day, included.")
@click.option("--cards", default=100, show_default=True, type=click.IntRange(1), help="k of card precision@k.")
def compare(first: date | None, last: date | None, cards: int) -> None:
    """Compare all models, and the amount alone, day by day."""
    from fraud_pipelines.cli.compare import show_comparison

    show_comparison(Settings.from_environment(), first, last, cards=cards)


@main.command("try")
@click.option("--from", "first", type=DAY, help="First day; by default the days whose labels have had time to arrive.")
@click.option("--to", "last", type=DAY, help="Last day, included.")
@click.option("--without", multiple=True, metavar="FEATURE", help="Leave this feature out of the models; repeatable.")
@click.option("--backend", "backends", multiple=True, help="Train only these, such as isolation_forest; repeatable.")
@click.option("--training-days", type=click.IntRange(1), help="Let the detectors learn from so many trailing days.")
@click.option(
    "--repeats", default=1, show_default=True, type=click.IntRange(1), help="Train each day so often, by other seeds."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same gives the same figures.")
@click.option("--cards", default=100, show_default=True, type=click.IntRange(1), help="k of card precision@k.")
@click.option("--name", help="Of the trial's run in MLflow; by default the time.")
@click.option("--keep", is_flag=True, help="Keep the computed features in the folder trials of the data directory.")
def try_declarations(
    first: date | None,
    last: date | None,
    without: tuple[str, ...],
    backends: tuple[str, ...],
    training_days: int | None,
    repeats: int,
    seed: int,
    cards: int,
    name: str | None,
    keep: bool,
) -> None:
    """Try new or changed features on past days.

    They are computed, and models trained and scored, aside from production, and compared with what is in force. No
    decision, label, alert, model version or alias is written.
    """
    from fraud_pipelines.cli.trial import show_trial

    show_trial(
        Settings.from_environment(),
        first=first,
        last=last,
        name=name,
        backends=backends,
        without=without,
        training_days=training_days,
        repeats=repeats,
        seed=seed,
        cards=cards,
        keep=keep,
        now=_now(),
    )


@main.group()
def models() -> None:
    """See the versions of the models; pin one by hand."""


@models.command("list")
@click.argument("model", required=False)
@click.option("--most", default=10, show_default=True, type=click.IntRange(1), help="Newest versions to show.")
def list_versions(model: str | None, most: int) -> None:
    """List the newest versions, and what was decided on them."""
    from fraud_pipelines.cli.models import show_versions

    show_versions(Settings.from_environment(), model, most=most)


@models.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@by_option
@click.option("--reason", default="", help="Why; kept as evidence of each day it is in use.")
def pin(model: str, version: int, by: str | None, reason: str) -> None:
    """Keep VERSION of MODEL in use, whatever the rule says."""
    from fraud_pipelines.cli.models import pin

    pin(Settings.from_environment(), model, version, by=by, reason=reason, now=_now())


@models.command()
@click.argument("model")
def unpin(model: str) -> None:
    """Leave the choice of MODEL's version to the rule again."""
    from fraud_pipelines.cli.models import unpin

    unpin(Settings.from_environment(), model)


@main.group()
def declarations() -> None:
    """Check and show columns, entities and features of your own."""


declarations_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


@declarations.command("check")
@declarations_argument
def check_declarations(file: Path | None) -> None:
    """Check FILE, by default the one in force (fraud.yaml).

    Every problem is told with its line and key. Nothing is written.
    """
    from fraud_pipelines.cli.declarations import check

    check(Settings.from_environment(), file)


@declarations.command("show")
@declarations_argument
@click.option("--own", is_flag=True, help="Leave out what ships unchanged.")
@click.option("--version", help="Print the declarations that a plan_version of a day or a decision names, as YAML.")
def show_declarations(file: Path | None, own: bool, version: str | None) -> None:
    """Show all that is declared, and how it is computed."""
    from fraud_pipelines.cli.declarations import show, show_version

    if version and (file or own):
        raise click.UsageError("--version prints what the warehouse keeps of it: give neither a file nor --own.")
    if version:
        show_version(Settings.from_environment(), version)
    else:
        show(Settings.from_environment(), file, own=own)


@declarations.command("diff")
@declarations_argument
@click.option("--against", type=click.Path(path_type=Path), help="Compare with this file; by default with what ships.")
def diff_declarations(file: Path | None, against: Path | None) -> None:
    """Tell what a change of the declarations would do.

    Columns and features that are new or become others, entities that start cold, models to be retrained.
    """
    from fraud_pipelines.cli.declarations import diff

    diff(Settings.from_environment(), file, against)


@declarations.command("schema")
def declarations_schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    from fraud_pipelines.cli.declarations import schema

    schema()


@main.group()
def features() -> None:
    """Rebuild what is kept of entities."""


@features.command("rebuild")
@publishes
def rebuild_features() -> None:
    """Fold what was declared lately from the first payment on.

    Day by day; what is stopped goes on from there. Until then their features are null.
    """
    from fraud_pipelines.cli.rebuilding import rebuild_features

    rebuild_features(Settings.from_environment())


@main.command("compile")
def compile_kernels() -> None:
    """Compile ahead, for all processes to come.

    make install does it; in an image, run it when it is built.
    """
    from fraud_pipelines.cli.compiling import compile_kernels

    compile_kernels()


@main.command("stream-consume")
@click.option("--once", is_flag=True, help="Stop when nothing more waits.")
@publishes
def stream_consume(once: bool) -> None:
    """Screen the transactions of a Kafka topic.

    Until it is interrupted; docs/streaming.md has the settings.
    """
    from fraud_pipelines.cli.stream import run_stream_consume

    run_stream_consume(Settings.from_environment(), once=once)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
