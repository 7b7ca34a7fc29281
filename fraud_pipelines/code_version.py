"""Code versions: a hash of what a function computes with, which a change of words leaves as it is.

From the functions that an asset calls, everything is followed that they name: functions, classes and constants of
this project, the SQL files they read, and the views and macros that those use. What is hashed is the syntax tree, so
that comments, docstrings, the messages of errors and descriptions of fields don't count. Of features, whose
declarations are mostly words, the plan's version says what they are computed from.

Not followed is what computes nothing that is stored: the warehouse and the registry, settings, figures and their words,
and the table of backends, which names every detector there is; an asset names its own. The version speaks of code:
settings, policies and libraries are not in it.
"""

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

_PACKAGE: Final = "fraud_pipelines"
_ROOT: Final = Path(__file__).parent
_SCHEMA: Final = _ROOT / "storage" / "schema.sql"

_NOT_FOLLOWED: Final = (
    *("storage", "engines", "errors", "settings", "environment", "bootstrap", "cli", "review", "code_version"),
    *(
        "evaluation.figures",
        "evaluation.chart",
        "evaluation.colours",
        "evaluation.guards",
        "evaluation.promotion_words",
    ),
    *("decisions.alert_delivery", "decisions.webhook", "detection.backends", "detection.serving"),
)
_DECLARATIONS: Final = ("plan",)
_ONLY_FOLLOWED: Final = ("defs",)
"""Assets call what computes; how they show it is not what they compute."""

_WORDS: Final = {"description", "title", "help"}
"""Arguments that hold words."""

Place = tuple[str, str]
"""A module of the project and a name at its top level."""


@dataclass(frozen=True)
class _Module:
    """The top level of a module: what is defined, and what is imported from elsewhere in the project."""

    path: Path
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)


def code_version(function: Callable[..., object], computes: Iterable[type] = ()) -> str:
    """12 hexadecimal digits for all that ``function`` computes with, equal in every process.

    Args:
        function: of an asset, at the top level of its module.
        computes: classes that it reaches by a name in a table, such as the detector of a backend.
    """
    start = [(function.__module__, function.__name__)]
    start += [(each.__module__, each.__name__) for each in computes]
    kept = _kept()
    key = " ".join(f"{module}.{name}" for module, name in start)
    if key not in kept:
        kept[key] = _version(start)
        _keep(kept)
    version, declared = kept[key]
    return hashlib.sha256(f"{version} {_features()}".encode()).hexdigest()[:12] if declared else version


def _version(start: Iterable[Place]) -> tuple[str, bool]:
    """A hash of all that is reached from there, and whether declarations of features are among it."""
    reached, sql, declared = _reached(start)
    content = [f"{module}.{name} {_read((module, name)).shape}" for module, name in sorted(reached)]
    content += [f"{path.name} {_plain_sql(path.read_text())}" for path in sorted(sql)]
    content += _stored_sql("\n".join(content))
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12], declared


def _features() -> str:
    from fraud_pipelines.plan.compile import plan_in_force
    from fraud_pipelines.settings import Settings

    return plan_in_force(Settings.from_environment()).version


_KEPT: Final = Path(cache_from_source(__file__)).with_name("code_versions.json")
"""Beside Python's own compiled files: to read all sources anew takes a third of a second, each time Dagster loads."""


@cache
def _kept() -> dict[str, tuple[str, bool]]:
    """Versions by what they start from, as another process left them, unless a source has changed since."""
    try:
        kept = json.loads(_KEPT.read_text())
    except (OSError, ValueError):
        return {}
    versions: dict[str, tuple[str, bool]] = kept["versions"] if kept.get("sources") == _sources() else {}
    return versions


def _keep(versions: Mapping[str, tuple[str, bool]]) -> None:
    aside = _KEPT.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # An installation that may not be written to reads its sources each time.
        _KEPT.parent.mkdir(exist_ok=True)
        aside.write_text(json.dumps({"sources": _sources(), "versions": versions}))
        aside.replace(_KEPT)


@cache
def _sources() -> str:
    """A hash of the sizes and times of all sources, as Python tells that a compiled file is up to date."""
    files = sorted(path for ending in ("py", "sql") for path in _ROOT.rglob(f"*.{ending}"))
    states = [(str(path), state.st_size, state.st_mtime_ns) for path in files for state in [path.stat()]]
    return hashlib.sha256(repr((sys.version_info, states)).encode()).hexdigest()


def _reached(start: Iterable[Place]) -> tuple[set[Place], set[Path], bool]:
    """Definitions to hash, SQL files, and whether declarations of features are among what is used."""
    waiting, seen = list(start), set[Place]()
    reached, sql, declared = set[Place](), set[Path](), False
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        name, module = place[1], place[0].removeprefix(f"{_PACKAGE}.")
        if _within(module, _DECLARATIONS):
            declared = True
        elif not _within(module, _NOT_FOLLOWED) and name in _module(place[0]).definitions:
            if not _within(module, _ONLY_FOLLOWED):
                reached.add(place)
                sql |= _sql_files(place)
            waiting += _uses(place)
    return reached, sql, declared


@cache
def _module(name: str) -> _Module:
    path = _ROOT.joinpath(*name.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    module = _Module(path)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom | ast.If):
            module.imports.update(_imported(node))
        for defined in _names(node):
            module.definitions.setdefault(defined, []).append(node)
    return module


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top level defines, those below an ``if`` included."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.If(body=body, orelse=other):
            for inner in (*body, *other):
                yield from _names(inner)


def _imported(node: ast.AST) -> dict[str, Place]:
    """Name → place of what a statement, or anything in it, imports from the project."""
    found = dict[str, Place]()
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and (each.module or "").startswith(_PACKAGE):
            found |= {alias.asname or alias.name: (each.module or "", alias.name) for alias in each.names}
    return found


@dataclass(frozen=True)
class _Read:
    """A definition without its words: its syntax tree as text, the names and the texts in it, and its own imports."""

    shape: str
    names: frozenset[str]
    texts: frozenset[str]
    imports: Mapping[str, Place]


@cache
def _read(place: Place) -> _Read:
    parts: list[str] = []
    names, texts, imports = set[str](), set[str](), dict[str, Place]()
    waiting: list[object] = list(reversed(_module(place[0]).definitions[place[1]]))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            names.add(node.id)
            parts.append(node.id)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                texts.add(node.value)
            parts.append(repr(node.value))
        elif isinstance(node, ast.ImportFrom):
            imports |= _imported(node)
        elif isinstance(node, ast.AST):
            parts.append(type(node).__name__)
            waiting += reversed(_fields(node))
        elif isinstance(node, list):
            # Where one list ends is not where the next does.
            parts.append(str(len(node)))
            waiting += reversed(node)
        else:
            parts.append(str(node))
    return _Read(" ".join(parts), frozenset(names), frozenset(texts), imports)


def _fields(node: ast.AST) -> list[object]:
    """What a node is made of, but for words, the types of arguments, and whether a name is read or written."""
    names = node._fields
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return [node.exc.func]
    words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    words = words or (isinstance(node, ast.keyword) and node.arg in _WORDS)
    if words or isinstance(node, ast.expr_context):
        names = ()
    elif isinstance(node, ast.arg):
        names = ("arg",)
    elif isinstance(node, ast.FunctionDef):
        names = ("name", "args", "body", "decorator_list")
    return [value for name in names if (value := getattr(node, name, None)) is not None]


@cache
def _uses(place: Place) -> tuple[Place, ...]:
    """What a definition names: places in the project."""
    module, read = _module(place[0]), _read(place)
    known = {**module.imports, **read.imports}
    local = [(place[0], name) for name in read.names & module.definitions.keys() - known.keys()]
    return (*(known[name] for name in read.names & known.keys()), *local)


def _sql_files(place: Place) -> set[Path]:
    """SQL files beside the module that the definition names, with or without their ending."""
    texts = _read(place).texts
    beside = _module(place[0]).path.parent.glob("*.sql")
    return {path for path in beside if texts & {path.name, path.stem}}


def _plain_sql(text: str) -> str:
    return " ".join(re.sub(r"--.*", "", text).split())


@cache
def _views_and_macros() -> dict[str, str]:
    statements = re.findall(
        r"^CREATE OR REPLACE (?:VIEW|MACRO) ([a-z_.]+).*?;$", _SCHEMA.read_text(), re.MULTILINE | re.DOTALL
    )
    bodies = re.finditer(
        r"^CREATE OR REPLACE (?:VIEW|MACRO) [a-z_.]+.*?;$", _SCHEMA.read_text(), re.MULTILINE | re.DOTALL
    )
    return dict(zip(statements, (_plain_sql(body[0]) for body in bodies), strict=True))


def _stored_sql(text: str) -> list[str]:
    """The views and macros that the text names, and those that they name."""
    known, found = _views_and_macros(), set[str]()
    waiting = [text]
    while waiting:
        within = waiting.pop()
        for name in known.keys() - found:
            if name in within:
                found.add(name)
                waiting.append(known[name])
    return [known[name] for name in sorted(found)]


def _within(module: str, parts: Iterable[str]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)
