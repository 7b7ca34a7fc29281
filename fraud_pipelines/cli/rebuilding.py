"""``fraud-pipelines features rebuild``: fold entities that were declared lately from the first transaction on."""

from contextlib import closing

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.engines.opening import engine_of
from fraud_pipelines.features.derivation import cold_entities, rebuild
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)


def rebuild_features(settings: Settings) -> None:
    """Derive every stored day again where an entity doesn't know all of its past, with a line for each day.

    Raises:
        MissingData: no features are stored yet.
        InvalidDeclarations: the declarations can't be used.
    """
    warehouse, plan = warehouse_of(settings), plan_in_force(settings)
    cold = cold_entities(warehouse, plan=plan)
    if not cold:
        console.print("Nothing to rebuild: every entity knows all of its past.")
        return
    console.print(f"Rebuilding {', '.join(cold)}. What is stopped goes on from there.")
    days = 0
    with closing(engine_of(settings)) as engine:
        for report in rebuild(warehouse, plan=plan, engine=engine):
            days += 1
            console.print(f"{report.day}  {report.rows:,} payments")
    console.print(
        f"Done: {days} days. Their features are complete; scores and decisions stay as they were made. Models read "
        "the new features from their next training on."
    )
