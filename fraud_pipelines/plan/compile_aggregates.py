"""Entities and their aggregates: from what is declared to what is computed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fraud_pipelines.plan.declared import DeclaredAggregate, DeclaredEntity, parsed
from fraud_pipelines.plan.expressions import SQL_TYPES, ExpressionChecker, InvalidExpression, Parsed
from fraud_pipelines.plan.folding.function import Function
from fraud_pipelines.plan.functions import FUNCTIONS
from fraud_pipelines.plan.names import aggregate_name, name_problem
from fraud_pipelines.plan.problems import listed, unknown
from fraud_pipelines.plan.registry import MAX_ENTITIES, MAX_FEATURES, Names, Place
from fraud_pipelines.plan.roles import LABELS_GROUP, UnfitRole, modelled
from fraud_pipelines.plan.spans import rows_or_span
from fraud_pipelines.plan.types import KIND, WITH_REFUNDS, Aggregate, Attribute, ColumnType, EntityPlan

MAX_KEY_COLUMNS: Final = 4


@dataclass
class EntityDraft:
    """An entity while its declarations are gathered from several files; ``key`` is None where it is unusable."""

    name: str
    key: tuple[str, ...] | None
    aggregates: list[Aggregate] = field(default_factory=list)


@dataclass
class AggregateCompiler:
    """Compiles the section ``entities`` of each file in turn; problems go to where they stand.

    ``options`` are those of functions that the installation's settings give, by name, where a declaration doesn't.
    """

    attributes: Mapping[str, Attribute]
    names: Names
    checker: ExpressionChecker
    options: Mapping[str, float]
    drafts: dict[str, EntityDraft] = field(default_factory=dict)
    conditions: dict[str, Parsed] = field(default_factory=dict)
    """What ``where`` says → what was read of it."""

    def add(self, name: str, place: Place, fields: object) -> None:
        """One entity of one file."""
        if not isinstance(fields, Mapping):
            place.report("expected the keys key and aggregates")
            return
        own = {key: value for key, value in fields.items() if key != "aggregates"}
        draft = self._draft(name, place, parsed(DeclaredEntity, place.source, place.key, own))
        aggregates = fields.get("aggregates")
        if not isinstance(aggregates, list) or not aggregates:
            place.report("expected a list of aggregates", "aggregates")
            return
        for position, each in enumerate(aggregates):
            self._add_aggregate(draft, Place(place.source, (*place.key, "aggregates", position)), each)

    def entities(self) -> tuple[EntityPlan, ...]:
        """What came out, in order."""
        return tuple(
            EntityPlan(draft.name, draft.key, tuple(draft.aggregates)) for draft in self.drafts.values() if draft.key
        )

    def _draft(self, name: str, place: Place, declared: DeclaredEntity | None) -> EntityDraft:
        known = self.drafts.get(name)
        key = self._key(declared.key, place) if declared and declared.key is not None else None
        if known:
            if key and known.key and key != known.key:
                place.report(f"{name} has the key {listed(known.key)} already; choose another name", "key")
            return known
        problem = name_problem(name, self.names.key_words - {"user"})
        if name.endswith(WITH_REFUNDS):
            problem = f"a name that ends in {WITH_REFUNDS} is reserved: an entity's history with refunds has it"
        if problem:
            place.report(problem)
            key = None
        elif declared and declared.key is None:
            place.report("is required: a text column, or a list of them", "key")
        if not self.names.within("entities", MAX_ENTITIES, place):
            key = None
        self.drafts[name] = EntityDraft(name, key)
        return self.drafts[name]

    def _key(self, columns: list[str], place: Place) -> tuple[str, ...] | None:
        sound = True
        for column in columns:
            attribute = self.attributes.get(column)
            if attribute and attribute.type != "text":
                place.report(f"{column} is of type {attribute.type}; an entity's key must be text", "key")
            elif attribute is None and column not in self.names.broken:
                place.report(unknown(column, "column of a transaction", self.attributes), "key")
            sound = sound and attribute is not None and attribute.type == "text"
        if len(set(columns)) < len(columns):
            place.report(f"names {listed([each for each in columns if columns.count(each) > 1][:1])} twice", "key")
            return None
        if len(columns) > MAX_KEY_COLUMNS:
            place.report(f"has {len(columns)} columns; {MAX_KEY_COLUMNS} at most", "key")
            return None
        return tuple(columns) if sound else None

    def _add_aggregate(self, draft: EntityDraft, place: Place, fields: object) -> None:
        declared = parsed(DeclaredAggregate, place.source, place.key, fields)
        if declared is None:
            self.names.broken |= _likely_names(draft.name, fields)
            return
        windows = declared.over if isinstance(declared.over, list) else [declared.over]
        several = isinstance(declared.over, list)
        names = [
            aggregate_name(draft.name, declared.of, declared.how, window, declared.name, listed=several)
            for window in dict.fromkeys(windows)
        ]
        at = ("name",) if declared.name is not None else ()
        # All are tried: each that can't have its name is a problem of its own.
        allowed = [
            self.names.within("features", MAX_FEATURES, place) and self.names.take(name, place, *at) for name in names
        ]
        sound = self._sound(draft, place, declared)
        if not (sound and all(allowed) and draft.key):
            self.names.broken |= set(names)
            return
        function = FUNCTIONS[declared.how]
        try:
            model = modelled(
                declared,
                result_type(function),
                role=function.role,
                direction=function.direction,
                group=LABELS_GROUP if function.labels else draft.name,
            )
        except UnfitRole as unfit:
            place.report(unfit.message, unfit.key)
            self.names.broken |= set(names)
            return
        defaults = {name: self.options.get(name, each.default) for name, each in function.options.items()}
        options = {name: float(declared.options.get(name, default)) for name, default in defaults.items()}
        for name, window in zip(names, windows, strict=True):
            draft.aggregates.append(
                Aggregate(
                    name=name,
                    how=declared.how,
                    of=tuple(declared.of),
                    over=None if window is None else rows_or_span(window),
                    where=declared.where,
                    where_reads=self.conditions[declared.where].reads if declared.where else (),
                    options=options,
                    model=model,
                    description=declared.description,
                    phrase=declared.phrase,
                )
            )

    def _sound(self, draft: EntityDraft, place: Place, declared: DeclaredAggregate) -> bool:
        function = FUNCTIONS[declared.how]
        checks = (
            self._of_fits(draft, place, declared, function),
            _over_fits(place, declared, function),
            _options_fit(place, declared, function),
            declared.where is None or self._where_fits(place, declared.how, declared.where),
        )
        return all(checks) and self._same_rows(draft, place, declared)

    def _same_rows(self, draft: EntityDraft, place: Place, declared: DeclaredAggregate) -> bool:
        """Whether what it aggregates, if that is an aggregate, sees refunds where this one does, and only there."""
        sees = declared.where is not None and KIND in self.conditions[declared.where].reads
        for aggregate in draft.aggregates:
            if aggregate.name in declared.of and aggregate.sees_refunds != sees:
                told = "sees refunds, since its condition asks for the kind" if aggregate.sees_refunds else "sees none"
                place.report(f"{aggregate.name} {told}; {KIND} must stand in both conditions or in neither", "of")
                return False
        return True

    def _of_fits(self, draft: EntityDraft, place: Place, declared: DeclaredAggregate, function: Function) -> bool:
        if len(declared.of) != function.columns:
            wanted = {0: "no column", 1: "one column"}.get(function.columns, f"{function.columns} columns")
            place.report(f"{declared.how} takes {wanted}, not {len(declared.of)}", "of")
            return False
        sound = True
        above = {aggregate.name: aggregate for aggregate in draft.aggregates}
        for column in declared.of:
            value_type = self._type(column, above)
            if value_type and value_type not in function.types:
                place.report(f"{declared.how} takes {_kinds(function)}; {column} is of type {value_type}", "of")
            elif value_type is None and column not in self.names.broken:
                place.report(self._unknown(column, draft, above), "of")
            sound = sound and value_type in function.types
        if len(set(declared.of)) < len(declared.of):
            place.report(f"names {declared.of[0]} twice", "of")
            sound = False
        return sound

    def _type(self, column: str, above: Mapping[str, Aggregate]) -> ColumnType | None:
        if column in self.attributes:
            return self.attributes[column].type
        function = FUNCTIONS[above[column].how] if column in above else None
        return result_type(function) if function and not function.labels else None

    def _unknown(self, column: str, draft: EntityDraft, above: Mapping[str, Aggregate]) -> str:
        if column in above:
            return f"{column} is computed from labels, after the others; it can't be aggregated"
        if column in self.names.taken:
            return f"{column} is no aggregate of {draft.name} above this one, nor a column of the transaction"
        return unknown(column, "column of a transaction, and no aggregate above", [*self.attributes, *above])

    def _where_fits(self, place: Place, how: str, where: str) -> bool:
        if not FUNCTIONS[how].where:
            place.report(f"{how} takes no condition", "where")
            return False
        try:
            condition = self.checker.parse(where)
            strange = [name for name in condition.reads if name not in self.attributes]
            if strange:
                if strange[0] not in self.names.broken:
                    place.report(self._not_own(strange[0]), "where")
                return False
            types = {name: SQL_TYPES[self.attributes[name].type] for name in condition.reads}
            _, sql_type = self.checker.result_type(condition, types)
        except InvalidExpression as error:
            place.report(str(error), "where")
            return False
        if sql_type != "BOOLEAN":
            place.report(f"must be true or false of a row, and is of type {sql_type}", "where")
            return False
        self.conditions[where] = condition
        return True

    def _not_own(self, name: str) -> str:
        if name in self.names.taken:
            return f"{name} is a feature; a condition looks at columns of the transaction"
        return unknown(name, "column of a transaction", self.attributes)


def result_type(function: Function) -> ColumnType:
    """What kind of value a function gives."""
    return "number" if function.sql_type == "DOUBLE" else "integer"


def _over_fits(place: Place, declared: DeclaredAggregate, function: Function) -> bool:
    windows = declared.over if isinstance(declared.over, list) else [declared.over]
    told = {"rows": "a number of rows, such as 5", "span": "a span, such as 24h"}
    wanted = told.get(function.over, "a number of rows, such as 5, or a span, such as 24h")
    if function.over == "none":
        if declared.over is not None:
            place.report(f"{declared.how} takes no window", "over")
        return declared.over is None
    if declared.over is None:
        place.report(f"{declared.how} needs a window: {wanted}", "over")
        return False
    read = [rows_or_span(window) for window in windows]
    for window, value in zip(windows, read, strict=True):
        if function.over != "either" and isinstance(value, int) != (function.over == "rows"):
            place.report(f"{declared.how} takes {wanted}, not {window!r}", "over")
            return False
    if len(set(read)) < len(read):
        place.report(f"two of {listed([str(window) for window in windows])} are equal", "over")
        return False
    return True


def _options_fit(place: Place, declared: DeclaredAggregate, function: Function) -> bool:
    sound = True
    for name, value in declared.options.items():
        option = function.options.get(name)
        problem = None
        if option is None:
            problem = unknown(name, f"option of {declared.how}", function.options)
        elif not option.minimum <= value <= option.maximum:
            problem = f"{value:g} is not between {option.minimum:g} and {option.maximum:g}"
        elif option.whole and value != int(value):
            problem = f"{value:g} is no whole number"
        if problem:
            place.report(problem, "options", name)
            sound = False
    return sound


def _kinds(function: Function) -> str:
    return "a number" if "text" not in function.types else "text, a number or a boolean"


def _likely_names(entity: str, fields: object) -> set[str]:
    """The names that an unusable declaration would have given, as far as they can be told."""
    if not isinstance(fields, Mapping):
        return set()
    over: Any = fields.get("over")
    windows: Iterable[Any] = over if isinstance(over, list) else [over]
    of, name = fields.get("of", []), fields.get("name")
    columns = [of] if isinstance(of, str) else of if isinstance(of, list) else []
    given = name if isinstance(name, str) else None
    how, several = str(fields.get("how")), isinstance(over, list)
    columns = [str(column) for column in columns]
    return {aggregate_name(entity, columns, how, window, given, listed=several) for window in windows}
