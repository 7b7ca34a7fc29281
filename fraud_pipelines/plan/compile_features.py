"""Features by expression: parsed, ordered by what they read, and typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fraud_pipelines.plan.declared import DeclaredFeature, parsed
from fraud_pipelines.plan.expressions import ExpressionChecker, InvalidExpression, Parsed
from fraud_pipelines.plan.problems import unknown
from fraud_pipelines.plan.registry import MAX_FEATURES, Names, Place
from fraud_pipelines.plan.roles import UnfitRole, modelled, role_of_type
from fraud_pipelines.plan.types import ExpressionPlan


@dataclass(frozen=True)
class _Draft:
    place: Place
    declared: DeclaredFeature
    parsed: Parsed


@dataclass
class FeatureCompiler:
    """Compiles the section ``features`` of each file in turn; problems go to where they stand.

    Attributes:
        columns: columns and aggregates → their DuckDB types.
        names: which are taken.
        checker: reads SQL.
        canonical: feature → its expression, the same whatever its layout.
        declared: the features in the order in which they were declared.
    """

    columns: Mapping[str, str]
    names: Names
    checker: ExpressionChecker
    canonical: dict[str, str] = field(default_factory=dict)
    declared: list[str] = field(default_factory=list)
    _drafts: dict[str, _Draft] = field(default_factory=dict)

    def add(self, name: str, place: Place, fields: object) -> None:
        """One feature of one file."""
        declared = parsed(DeclaredFeature, place.source, place.key, fields)
        expression = self._parsed(place, declared) if declared else None
        if not self.names.within("features", MAX_FEATURES, place):
            self.names.broken.add(name)
            return
        # The one feature that may bear a column's name is the column itself.
        is_column = expression is not None and expression.column == name and name in self.columns
        if is_column and name not in self._drafts and self._is_attribute(name):
            pass
        elif not self.names.take(name, place):
            return
        if declared is None or expression is None:
            self.names.broken.add(name)
            return
        self._drafts[name] = _Draft(place, declared, expression)
        self.declared.append(name)
        self.canonical[name] = expression.canonical

    def expressions(self) -> tuple[ExpressionPlan, ...]:
        """What came out, each after those it reads."""
        types = dict(self.columns)
        plans = {}
        for name in self._order():
            plan = self._typed(name, self._drafts[name], types)
            if plan is None:
                self.names.broken.add(name)
            else:
                plans[name] = plan
                types.setdefault(name, plan.sql_type)
        return tuple(plans.values())

    def _is_attribute(self, name: str) -> bool:
        return self.names.taken[name].key[0] == "attributes"

    def _parsed(self, place: Place, declared: DeclaredFeature) -> Parsed | None:
        try:
            return self.checker.parse(declared.sql)
        except InvalidExpression as error:
            place.report(str(error), "sql")
            return None

    def _order(self) -> list[str]:
        """The features, each after those it reads; one in a cycle, which is reported, is left out."""
        waiting = {name: self._waits_for(name) for name in self._drafts}
        ordered: list[str] = []
        while waiting:
            ready = [name for name, others in waiting.items() if not others & waiting.keys()]
            if not ready:
                cycle = _cycle(waiting)
                around = " reads ".join([*cycle, cycle[0]])
                self._drafts[cycle[0]].place.report(f"is computed from itself: {around}", "sql")
                self.names.broken |= set(cycle)
            for name in ready or cycle:
                del waiting[name]
            ordered += ready
        return ordered

    def _waits_for(self, name: str) -> set[str]:
        reads = set(self._drafts[name].parsed.reads)
        return reads - {name} if name in self.columns else reads

    def _typed(self, name: str, draft: _Draft, types: Mapping[str, str]) -> ExpressionPlan | None:
        place, declared, expression = draft.place, draft.declared, draft.parsed
        missing = [each for each in expression.reads if each not in types]
        for each in missing:
            if each not in self.names.broken:
                place.report(unknown(each, "column or feature", types), "sql")
        if missing:
            return None
        try:
            value_type, sql_type = self.checker.result_type(expression, types)
            model = modelled(declared, value_type, role=role_of_type(value_type), direction="high")
        except InvalidExpression as error:
            place.report(str(error), "sql")
            return None
        except UnfitRole as unfit:
            place.report(unfit.message, unfit.key)
            return None
        if model and model.role == "binary":
            value_type, sql_type = "integer", "TINYINT"
        return ExpressionPlan(
            name=name,
            sql=declared.sql,
            model=model,
            type=value_type,
            description=declared.description,
            phrase=declared.phrase,
            sql_type=sql_type,
            reads=expression.reads,
            null_rule=declared.null_rule,
        )


def _cycle(waiting: Mapping[str, set[str]]) -> list[str]:
    """One circle among features that wait for each other, from the one that was declared first."""
    path: list[str] = [next(iter(waiting))]
    while True:
        others = waiting[path[-1]] & waiting.keys()
        following = next(name for name in waiting if name in others)
        if following in path:
            break
        path.append(following)
    circle = path[path.index(following) :]
    first = min(range(len(circle)), key=lambda place: list(waiting).index(circle[place]))
    return circle[first:] + circle[:first]
