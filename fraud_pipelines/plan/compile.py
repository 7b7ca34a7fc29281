"""Compiles declarations: what ships, extended by a file of the user's, into a plan."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import available_timezones

from fraud_pipelines.plan import words
from fraud_pipelines.plan.compile_aggregates import AggregateCompiler, result_type
from fraud_pipelines.plan.compile_features import FeatureCompiler
from fraud_pipelines.plan.declared import Declarations, DeclaredAttribute, parsed
from fraud_pipelines.plan.expressions import SQL_TYPES, ExpressionChecker, Parsed
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.names import sql_key_words
from fraud_pipelines.plan.plan import Plan, PlannedFeature, hashed
from fraud_pipelines.plan.problems import InvalidDeclarations, unknown
from fraud_pipelines.plan.registry import MAX_ATTRIBUTES, Names, Place
from fraud_pipelines.plan.roles import UnfitRole, modelled
from fraud_pipelines.plan.source import Source, read_source, source_of
from fraud_pipelines.plan.tokens import Tokens
from fraud_pipelines.plan.types import CURRENCY, KIND, LOCAL_TIME, SOURCE_AMOUNT, Aggregate, Attribute, EntityPlan
from fraud_pipelines.settings import LABEL_DELAY_DAYS, Settings

LOCAL_ZONE: Final = "local_zone"
TOKENISE: Final = "tokenise"
_TOKENISED: Final = ("user_id",)
"""The columns that are tokenised where no file says which, once there is a key."""
_UTC_CLOCK: Final[Mapping[str, str]] = {
    "hour_of_day": "CAST(hour(timestamp) AS TINYINT)",
    "day_of_week": "CAST(isodow(timestamp) - 1 AS TINYINT)",
}
"""Feature that ships → what it was before there were local times. Without a declared zone, it counts as that."""

SHIPPED: Final = Path(__file__).with_name("shipped.yaml")
"""The declarations that every installation begins with."""


def compile_plan(path: Path | None = None, *, label_delay_days: int = LABEL_DELAY_DAYS, pii_key: bytes = b"") -> Plan:
    """The plan of what ships, extended by the file at ``path``.

    Args:
        path: a declarations file; None for what ships alone.
        label_delay_days: after how many days an unlabelled transaction counts as legitimate
            (`Settings.label_delay_days`): the ``delay_days`` of fraud rates, unless a declaration sets it.
        pii_key: makes the tokens of columns that name a person (`Settings.pii_key`); empty where none are made.

    Raises:
        InvalidDeclarations: the file can't be used; all that is wrong with it, each thing once.
    """
    sources = [read_source(SHIPPED, "shipped.yaml")]
    if path:
        sources.append(read_source(path))
    return _plan_of(sources, {"delay_days": float(label_delay_days)}, pii_key)


def compile_text(text: str) -> Plan:
    """The plan of declarations that stand by themselves, as `Plan.text` writes them: of another day, say.

    Raises:
        InvalidDeclarations: this release can't read them, as after a function was taken away.
    """
    return _plan_of([source_of(text, "declarations")], {})


def _plan_of(sources: list[Source], options: Mapping[str, float], pii_key: bytes = b"") -> Plan:
    for source in sources:
        _check_sections(source)
    with ExpressionChecker() as checker:
        plan = _compiled(sources, checker, options, pii_key)
    problems = [problem for source in sources for problem in source.problems]
    if problems:
        raise InvalidDeclarations(problems)
    return plan


def shipped_plan() -> Plan:
    """The plan of what ships alone."""
    return _compiled_once(None, None, LABEL_DELAY_DAYS, b"")


def plan_in_force(settings: Settings) -> Plan:
    """What ships, extended by the declarations file of the installation, if it has one, with its label delay.

    A process compiles the same content of a file once.

    Raises:
        InvalidDeclarations: the file can't be used.
    """
    path, delay, key = settings.declarations_path, settings.label_delay_days, settings.token_key
    if path is None:
        return _compiled_once(None, None, delay, key)
    try:
        content = path.read_bytes()
    except OSError:  # What is wrong with it is told where it is compiled.
        return compile_plan(path, label_delay_days=delay, pii_key=key)
    return _compiled_once(path, content, delay, key)


@cache
def _compiled_once(path: Path | None, content: bytes | None, label_delay_days: int, pii_key: bytes) -> Plan:
    del content
    return compile_plan(path, label_delay_days=label_delay_days, pii_key=pii_key)


def _compiled(sources: list[Source], checker: ExpressionChecker, options: Mapping[str, float], pii_key: bytes) -> Plan:
    names = Names(sources[0], sql_key_words())
    attributes = _tokenised(_attributes(sources, names), sources, pii_key)
    entities = AggregateCompiler(attributes, names, checker, options)
    for name, place, fields in _section(sources, "entities"):
        entities.add(name, place, fields)
    aggregates = [(entity, each) for entity in entities.entities() for each in entity.aggregates]
    # What is computed from labels comes last, since the fold computes all others in one pass.
    aggregates.sort(key=lambda pair: FUNCTIONS[pair[1].how].labels)

    types = {name: SQL_TYPES[attribute.type] for name, attribute in attributes.items()}
    types |= {aggregate.name: FUNCTIONS[aggregate.how].sql_type for _, aggregate in aggregates}
    features = FeatureCompiler(types, names, checker)
    for name, place, fields in _section(sources, "features"):
        features.add(name, place, fields)
    expressions = {expression.name: expression for expression in features.expressions()}

    optional = {name for name, attribute in attributes.items() if not attribute.required}
    definitions = {name: _column_definition(attribute) for name, attribute in attributes.items()}
    planned = {}
    for entity, aggregate in aggregates:
        condition = entities.conditions[aggregate.where] if aggregate.where else None
        definitions[aggregate.name] = _definition(entity, aggregate, condition, definitions)
        feature = _planned(entity, aggregate, condition, definitions[aggregate.name], optional)
        planned[aggregate.name] = feature
        if not feature.null_rule.startswith("never null"):
            optional.add(aggregate.name)
    by_expression = {}
    for expression in expressions.values():
        reads, canonical = expression.reads, features.canonical[expression.name]
        if expression.name in _UTC_CLOCK and attributes[LOCAL_TIME].zone is None:
            earlier = checker.parse(_UTC_CLOCK[expression.name])
            reads, canonical = earlier.reads, earlier.canonical
        read = [definitions[each] for each in reads]
        definition = hashed(expression.name, "expression", canonical, expression.sql_type, read)
        # Of a feature that is a column, unchanged, what others read is the column.
        definitions.setdefault(expression.name, definition)
        by_expression[expression.name] = PlannedFeature(
            name=expression.name,
            type=expression.type,
            sql_type=expression.sql_type,
            entity=None,
            model=expression.model,
            reads=expression.reads,
            definition=definition,
            description=expression.description,
            formula=expression.sql,
            null_rule=expression.null_rule,
            phrase=expression.phrase,
        )
    planned |= {name: by_expression[name] for name in features.declared if name in by_expression}
    return Plan(tuple(attributes.values()), entities.entities(), tuple(expressions.values()), planned)


def _check_sections(source: Source) -> None:
    for section, content in source.content.items():
        if section not in Declarations.model_fields:
            source.report((section,), unknown(section, "key here", Declarations.model_fields))
        elif section == LOCAL_ZONE:
            if content is not None and not (isinstance(content, str) and content in available_timezones()):
                source.report((section,), f"{content!r} is no IANA time zone such as 'Europe/Paris'")
        elif section == TOKENISE:
            names = content if isinstance(content, list) else [content]
            if content is not None and not all(isinstance(name, str) for name in names):
                source.report((section,), "expected a list of columns, such as [user_id, card_id]")
        elif content is not None and not isinstance(content, dict):
            source.report((section,), "expected names, and under each what is declared")
    if not source.content and not source.problems:
        source.report((), "is empty; declare attributes, entities or features")


def _section(sources: list[Source], section: str) -> Iterator[tuple[str, Place, object]]:
    """What stands in a section of each file, in order."""
    for source in sources:
        content = source.content.get(section)
        for name, fields in content.items() if isinstance(content, dict) else ():
            yield name, Place(source, (section, name)), fields


def _attributes(sources: list[Source], names: Names) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    for name, place, fields in _section(sources, "attributes"):
        known = attributes.get(name)
        if known is None and not (names.within("attributes", MAX_ATTRIBUTES, place) and names.take(name, place)):
            names.broken.add(name)
            continue
        attribute = _attribute(name, place, parsed(DeclaredAttribute, place.source, place.key, fields), known)
        if known and known.required:
            place.report(f"{name} is part of every transaction and declared already; choose another name")
        elif known and attribute and attribute.type != known.type:
            place.report(f"{name} ships as {known.type} and can't be another type; choose another name", "type")
        elif attribute:
            attributes[name] = attribute
        elif not known:
            names.broken.add(name)
    return _in_zone(_with_source_amount(attributes), sources)


def _tokenised(attributes: dict[str, Attribute], sources: list[Source], key: bytes) -> dict[str, Attribute]:
    """The columns, where those that name a person make tokens of their values, if there is a key."""
    names: list[str] = list(_TOKENISED)
    for source in sources:
        declared = source.content.get(TOKENISE)
        if declared is None:
            continue
        names = [name for name in (declared if isinstance(declared, list) else [declared]) if isinstance(name, str)]
        for name in names:
            if name not in attributes:
                source.report((TOKENISE,), unknown(name, "column", attributes))
            elif attributes[name].type != "text" or name in ("transaction_id", KIND):
                source.report((TOKENISE,), f"{name} can't be tokenised: only text that names a person can")
    if not key:
        return attributes
    tokens = Tokens(key)
    return {name: replace(each, tokens=tokens) if name in names else each for name, each in attributes.items()}


def _in_zone(attributes: dict[str, Attribute], sources: list[Source]) -> dict[str, Attribute]:
    """The columns, where the local time has the zone that a file declares for all sources."""
    declared = (source.content.get(LOCAL_ZONE) for source in sources)
    zone = next((each for each in declared if isinstance(each, str)), None)
    if zone in (None, "UTC") or LOCAL_TIME not in attributes:
        return attributes
    return attributes | {LOCAL_TIME: replace(attributes[LOCAL_TIME], zone=zone)}


def _with_source_amount(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    """Where a transaction says its currency, what its source said of the amount is a column, too."""
    if CURRENCY in attributes and SOURCE_AMOUNT not in attributes:
        told = "The amount as its source said it, in its currency."
        return attributes | {SOURCE_AMOUNT: Attribute(SOURCE_AMOUNT, "number", description=told)}
    return attributes


def _attribute(
    name: str, place: Place, declared: DeclaredAttribute | None, known: Attribute | None
) -> Attribute | None:
    """A column; what the declaration leaves out of one that is ``known`` stays as it is."""
    if declared is None:
        return None
    given, base = declared.model_fields_set, known or Attribute(name, declared.type)
    minimum = declared.min if "min" in given else base.minimum
    maximum = declared.max if "max" in given else base.maximum
    sound = True
    for key, bound in (("min", declared.min), ("max", declared.max)):
        if bound is not None and declared.type not in ("number", "integer"):
            place.report(f"a column of type {declared.type} has no {key}", key)
            sound = False
    if minimum is not None and maximum is not None and minimum > maximum:
        place.report(f"min {minimum:g} lies above max {maximum:g}: no value would do", "min")
        sound = False
    try:
        model = modelled(declared, declared.type, role=None, direction="both")
    except UnfitRole as unfit:
        place.report(unfit.message, unfit.key)
        return None
    if not sound:
        return None
    return Attribute(
        name=name,
        type=declared.type,
        description=declared.description if "description" in given else base.description,
        required=declared.required if "required" in given else base.required,
        minimum=minimum,
        maximum=maximum,
        pii=declared.pii if "pii" in given else base.pii,
        model=model if given & {"role", "direction", "daily", "group"} else base.model,
    )


def _column_definition(attribute: Attribute) -> str:
    content = (attribute.name, attribute.type)
    return hashed(*content) if attribute.zone is None else hashed(*content, attribute.zone)


def _definition(
    entity: EntityPlan, aggregate: Aggregate, condition: Parsed | None, definitions: Mapping[str, str]
) -> str:
    """A hash of how an aggregate is computed."""
    function = FUNCTIONS[aggregate.how]
    return hashed(
        aggregate.name,
        aggregate.how,
        function.version,
        function.sql_type,
        entity.key,
        [definitions[each] for each in (*aggregate.of, *function.reads)],
        aggregate.over.total_seconds() if isinstance(aggregate.over, timedelta) else aggregate.over,
        (condition.canonical, [definitions[each] for each in condition.reads]) if condition else None,
        sorted(aggregate.options.items()),
    )


def _planned(
    entity: EntityPlan, aggregate: Aggregate, condition: Parsed | None, definition: str, optional: Set[str]
) -> PlannedFeature:
    function = FUNCTIONS[aggregate.how]
    return PlannedFeature(
        name=aggregate.name,
        type=result_type(function),
        sql_type=function.sql_type,
        entity=entity.name,
        model=aggregate.model,
        reads=tuple(
            dict.fromkeys((*entity.key, *aggregate.of, *function.reads, *(condition.reads if condition else ())))
        ),
        definition=definition,
        description=words.description(entity, aggregate),
        formula=words.formula(entity, aggregate),
        null_rule=words.null_rule(entity, aggregate, optional),
        phrase=aggregate.phrase,
    )
