"""The policies and hard rules of an installation, read from YAML, and the engine that decides a day by them."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from fraud_pipelines.decisions.columns import Columns, asked_of, columns_of
from fraud_pipelines.decisions.engine import DecisionEngine
from fraud_pipelines.decisions.entity_lists import read_entries, with_lists
from fraud_pipelines.decisions.hard_rules import NO_RULES, Condition, HardRule, HardRules
from fraud_pipelines.decisions.policies import POLICIES, Policy, Segment, policy_named, thresholds_in_force
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.decisions.second_stage import policy_of_day
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.plan.compile import plan_in_force
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines.strict_yaml import StrictLoader, load

BASED_ON: Final = "based_on"
IN_FILE: Final = "in_file"
_DEEPEST: Final = 6
"""Column, condition, list of values, value; and room for a mistake to be named."""

Model = TypeVar("Model", bound=BaseModel)


def policy_in_force(settings: Settings) -> Policy:
    """The policy that ``FRAUD_POLICY`` names: one of the file's, or one of the three that come with the project.

    Raises:
        InvalidInput: there is no policy of that name, or the file of policies can't be used.
    """
    return policy_named(settings.policy, policies(settings))


def policies(settings: Settings) -> Mapping[str, Policy]:
    """Every policy there is to choose from, by name."""
    path = settings.policies_path
    return {**POLICIES, **read_policies(path, columns_of(plan_in_force(settings)))} if path else POLICIES


def rules_in_force(settings: Settings, file: Path | None = None) -> HardRules:
    """The hard rules, or those of ``file``, with those in shadow; none where there is no file of them.

    Raises:
        InvalidInput: the file can't be used.
    """
    path = file or settings.rules_path
    return read_rules(path, columns_of(plan_in_force(settings))) if path else NO_RULES


def engine_in_force(warehouse: Warehouse, settings: Settings, day: date) -> DecisionEngine:
    """What decides the transactions of ``day``: policy and rules as they are now, thresholds as tuned for the day.

    The policy names the model that decides the day, see `policy_of_day`.
    """
    return engine_of_day(
        warehouse, policy_in_force(settings), day, rules=rules_in_force(settings), plan=plan_in_force(settings)
    )


def engine_of_day(warehouse: Warehouse, policy: Policy, day: date, *, rules: HardRules, plan: Plan) -> DecisionEngine:
    """What decides the transactions of ``day`` by a policy and rules, with the lists and the thresholds of the day.

    Of rules in shadow those that were promoted decide.
    """
    of_day = policy_of_day(warehouse, policy, day)
    live = rules_of_day(warehouse, rules, day)
    listed = with_lists(live, read_entries(warehouse, day=day), columns_of(plan))
    return DecisionEngine(of_day, thresholds_in_force(warehouse, of_day, day), listed, plan)


def read_policies(path: Path, columns: Columns | None = None) -> dict[str, Policy]:
    """Read policies from a YAML file: under ``policies``, each by its name.

    A policy takes what it leaves out from the one it is ``based_on`` (of the three that come with the project), by
    default from the one it replaces, if it has the name of one.

    Raises:
        InvalidInput: names the file, the policy and the field.
    """
    read: dict[str, Policy] = {}
    for key, fields in _section(path, "policies", dict).items():
        where = f"{path}: policy {key!r}"
        if not isinstance(key, str):
            raise InvalidInput(f"{where}: the name is not text; put it in quotes")
        if not isinstance(fields, dict):
            raise InvalidInput(f"{where}: expected fields and their values, such as review_threshold: 0.5")
        base = fields.pop(BASED_ON, key)
        if base != key and not (isinstance(base, str) and base in POLICIES):
            raise InvalidInput(f"{where}, field {BASED_ON}: {base!r} is none of {', '.join(sorted(POLICIES))}")
        inherited = POLICIES[base].model_dump() if base in POLICIES else {}
        read[key] = _parsed(Policy, {**inherited, **fields, "name": key}, where, columns, within={"segments": Segment})
    return read


def read_rules(path: Path, columns: Columns | None = None) -> HardRules:
    """Read hard rules from a YAML file: a list under ``rules``.

    Args:
        columns: what rules may ask; by default of what ships.

    ``in_file`` in a condition stands for the lines of a text file beside it, as ``any_of``.

    Raises:
        InvalidInput: names the file, the rule and the field.
    """
    rules = []
    for position, fields in enumerate(_section(path, "rules", list), start=1):
        if not isinstance(fields, dict):
            raise InvalidInput(f"{path}: rule {position}: expected name, decision, expires and when")
        named = fields.get("name")
        where = f"{path}: rule {named!r}" if named else f"{path}: rule {position}"
        for part in ("when", "unless"):
            if isinstance(fields.get(part), dict):
                fields[part] = {
                    column: _with_lines(condition, path.parent, f"{where}, field {part}.{column}")
                    for column, condition in fields[part].items()
                }
        rules.append(_parsed(HardRule, fields, where, columns, within={"when": Condition, "unless": Condition}))
    return _parsed(HardRules, {"rules": rules}, str(path), columns, within={})


def typed_rule(text: str, decision: str, columns: Columns) -> HardRule:
    """A rule whose conditions somebody has typed: YAML, column to condition, as under ``when`` in a file of rules.

    It is for trying, and has no day on which it ends. Files can't be named in it.

    Raises:
        InvalidInput: names the field.
    """
    try:
        when = yaml.load(text, Loader=_FlatLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInput(f"the conditions are no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(when, dict) or not all(isinstance(column, str) for column in when):
        raise InvalidInput("the conditions: expected a column and its condition on each line, such as country: RO")
    fields = {"name": "typed", "decision": decision, "expires": date.max, "when": when}
    return _parsed(HardRule, fields, "the rule", columns, within={"when": Condition})


def _with_lines(condition: object, folder: Path, where: str) -> object:
    if not isinstance(condition, dict) or IN_FILE not in condition:
        return condition
    name = condition[IN_FILE]
    if "any_of" in condition or not isinstance(name, str):
        raise InvalidInput(f"{where}: {IN_FILE} names one file, and takes the place of any_of")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidInput(
            f"{where}: {name} lies elsewhere; {IN_FILE} names a file beside the rules, or in a folder below"
        )
    lines = [line.strip() for line in _text(path, f"{where}: ").splitlines()]
    values = [line for line in lines if line and not line.startswith("#")]
    if not values:
        raise InvalidInput(f"{where}: {folder / name} lists nothing; a rule without values could never apply")
    return {**{key: value for key, value in condition.items() if key != IN_FILE}, "any_of": values}


_Section = TypeVar("_Section", list[object], dict[object, object])


def _section(path: Path, key: str, kind: type[_Section]) -> _Section:
    """What stands under the one key that the file may have."""
    text = _text(path)
    try:
        content = load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or set(content) != {key} or not isinstance(content[key], kind):
        shape = "a list of them" if kind is list else "each by its name"
        raise InvalidInput(f"{path}: expected the key {key} alone, and under it {shape}")
    found: _Section = content[key]
    return found


def _text(path: Path, where: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{where}{path} can't be read: {error}. Check the path.") from error


class _FlatLoader(StrictLoader):
    """As deep as a condition is, and without aliases: what strangers type can't grow when it is read."""

    deepest = _DEEPEST

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="aliases can't be used here")
        return super().compose_node(parent, index)


def _parsed(
    model: type[Model],
    fields: Mapping[Any, object],
    where: str,
    columns: Columns | None,
    *,
    within: Mapping[str, type[BaseModel]],
) -> Model:
    try:
        return model.model_validate(fields, context=None if columns is None else asked_of(columns))
    except ValidationError as error:
        faults = [_described(dict(fault), model, within) for fault in error.errors()[:3]]
        raise InvalidInput(where + "; ".join([faults[0], *(fault.lstrip(",: ") for fault in faults[1:])])) from error


def _described(fault: Mapping[str, object], model: type[BaseModel], within: Mapping[str, type[BaseModel]]) -> str:
    location = fault["loc"]
    assert isinstance(location, tuple)
    field = ".".join(str(part) for part in location)
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if fault["type"] == "extra_forbidden":
        known = within.get(str(location[0]), model) if len(location) > 1 else model
        message = f"is no such field; there are {', '.join(name for name in known.model_fields if name != 'name')}"
    elif fault["type"] == "missing":
        message = "is required"
    elif fault["type"] == "string_type":
        message += f", and {fault['input']!r} is none: put it in quotes"
    elif fault["type"] != "value_error" and isinstance(fault["input"], str | int | float):
        message += f", not {fault['input']!r}"
    return f", field {field}: {message}" if field else f": {message}"
