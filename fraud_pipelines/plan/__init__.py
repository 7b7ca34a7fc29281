"""The plan: what is declared, compiled once and passed as a value.

`compile_plan` makes it from what ships and a file of the user's; `plan_in_force` finds that file by the settings.
"""

from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan, PlannedFeature
from fraud_pipelines.plan.problems import InvalidDeclarations, Problem
from fraud_pipelines.settings import Settings

__all__ = ["InvalidDeclarations", "Plan", "PlannedFeature", "Problem", "compile_plan", "plan_in_force"]


def plan_in_force(settings: Settings) -> Plan:
    """What ships, extended by the declarations file of the installation, if it has one.

    Raises:
        InvalidDeclarations: the file can't be used.
    """
    return compile_plan(settings.declarations_path)
