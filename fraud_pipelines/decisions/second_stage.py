"""Which model decides a day: the one that the policy names, or that matured days show to be best."""

from datetime import date

from fraud_pipelines.decisions.policies import BEST, Policy
from fraud_pipelines.detection.daily_models import ENSEMBLE_MODEL, SECOND_STAGE
from fraud_pipelines.storage.warehouse import Warehouse


def policy_of_day(warehouse: Warehouse, policy: Policy, day: date) -> Policy:
    """The policy with the model that decides ``day`` by its name, as far as is decided.

    With ``second_stage: best`` it is the model that ``monitoring.model_promotions`` names for the latest day up to
    ``day``, and the ensemble before there is one. A model chosen in the ensemble's place decides every payment, unless
    the policy keeps the gate. A model that the policy names gives way to the ensemble while it has no version in use,
    as the supervised one before it is shown to be better.
    """
    if policy.second_stage == ENSEMBLE_MODEL:
        return policy
    named = SECOND_STAGE if policy.second_stage == BEST else policy.second_stage
    rows = warehouse.read(
        """
        SELECT deciding_model, champion_version FROM monitoring.model_promotions
        WHERE model_name = $named AND as_of <= $day ORDER BY as_of DESC LIMIT 1
        """,
        {"named": named, "day": day},
    )
    deciding, version = rows.row(0) if rows.height else (ENSEMBLE_MODEL if policy.second_stage == BEST else named, 0)
    if policy.second_stage != BEST:
        return policy if version is not None else policy.model_copy(update={"second_stage": ENSEMBLE_MODEL})
    return with_second_stage(policy, deciding)


def with_second_stage(policy: Policy, model: str) -> Policy:
    """A policy of ``second_stage: best`` with the model that was chosen."""
    gate = policy.gate if model == ENSEMBLE_MODEL or policy.gate is not None else False
    return policy.model_copy(update={"second_stage": model, "gate": gate})
