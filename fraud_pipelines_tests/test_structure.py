"""The structure: imports run one way, there is no circle, and only the shell knows Dagster."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import fraud_pipelines
from fraud_pipelines.plan.compile import shipped_plan
from fraud_pipelines.transactions.schema import FURTHER_COLUMNS

PACKAGE = Path(fraud_pipelines.__file__).parent

LAYERS = ("plan", "transactions", "features", "detection", "decisions", "evaluation", "streaming")
"""Each may import those before it; evaluation and streaming stand beside each other."""

SHELL = ("defs", "definitions", "bootstrap", "cli")
BESIDE = (
    "storage",
    "engines",
    "settings",
    "errors",
    "environment",
    "code_version",
    "pages",
    "settings_tables",
    "strict_yaml",
    "web",
    "review",
)


@cache
def modules() -> list[str]:
    """Every module, by its name below the package."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(part for part in path.parts if part != "__init__") for path in paths)


def file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str, *, everywhere: bool) -> Iterator[str]:
    """The modules that it imports: ``everywhere``, or when it is loaded."""
    tree = ast.parse(file_of(module).read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from members
            if not own(iter(members)):
                yield node.module


def own(names: Iterator[str]) -> set[str]:
    known = set(modules())
    below = {name.removeprefix("fraud_pipelines.") for name in names if name.startswith("fraud_pipelines.")}
    return below & known


@pytest.mark.parametrize("module", [name for name in modules() if name.split(".")[0] in LAYERS])
def test_a_layer_imports_only_those_below_it(module: str) -> None:
    layer = module.split(".", maxsplit=1)[0]
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], *BESIDE} - ({"evaluation"} if layer == "streaming" else set())
    found = {name.split(".")[0] for name in own(imports(module, everywhere=True))}
    assert found <= allowed


def test_no_module_waits_for_itself_to_load() -> None:
    graph = {module: own(imports(module, everywhere=False)) - {module} for module in modules()}
    waiting = dict(graph)
    while ready := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert not waiting


def test_only_the_shell_imports_dagster() -> None:
    knows = {
        module
        for module in modules()
        if any(name.split(".")[0] == "dagster" for name in imports(module, everywhere=True))
    }
    assert {module.split(".")[0] for module in knows} <= set(SHELL)
    assert "defs.jobs" in knows


WRITES = re.compile(
    r"\b(INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|UPDATE\s+\S+\s+(AS\s+\S+\s+)?SET|COMMENT\s+ON"
    r"|ALTER\s+TABLE|DROP\s+(TABLE|VIEW)|CREATE\s+(OR\s+REPLACE\s+)?(TABLE|VIEW|MACRO)|COPY\s+\S+\s+(TO|FROM))\b"
)


def texts(module: str) -> Iterator[str]:
    """Every text in the code of a module, with the pieces of a formatted one put together."""
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            pieces = (piece.value if isinstance(piece, ast.Constant) else "piece" for piece in node.values)
            yield "".join(str(piece) for piece in pieces)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads have no names to look at here")
def test_to_import_the_stream_starts_no_threads_of_polars() -> None:
    """Else a process that is forked after the import waits for them for ever."""
    asked = "import fraud_pipelines.streaming.drain, pathlib; "
    asked += "print([task.read_text() for task in pathlib.Path('/proc/self/task').glob('*/comm')])"
    threads = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=300)
    assert "python" in threads.stdout
    assert "polars-0" not in threads.stdout


def test_only_the_storage_writes_by_sql_of_its_own() -> None:
    of_dagster = {"defs.instance_storage"}
    writing = {
        module
        for module in modules()
        if not module.startswith("storage") and any(WRITES.search(text) for text in texts(module))
    }
    sql = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.sql")
        if path.relative_to(PACKAGE).parts[0] != "storage" and WRITES.search(path.read_text())
    }
    assert (writing, sql) == (of_dagster, set())
    assert any(WRITES.search(text) for text in texts("storage.connection"))


def columns_named(prefixes: tuple[str, ...] = ("",)) -> set[tuple[str, str]]:
    """Modules, and the columns that a transaction may lack which they name in their code."""
    optional = {each.name for each in shipped_plan().attributes if not each.required}
    return {
        (module, node.value)
        for module in modules()
        if module.startswith(prefixes) and module != "features.earlier_histories"
        for node in ast.walk(ast.parse(file_of(module).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in optional
    }


NAMES_COLUMNS = {
    "transactions.schema": "what ships, which a test holds equal to shipped.yaml",
    "transactions.simulator.simulation": "the columns that simulated payments have",
    "cli.stream": "payments that are made up for a demonstration",
    "cli.compiling": "payments that are made up to compile the fold",
    "detection.schema": "the original's table of features",
    "decisions.policies": "the hash of a segment covers these two, empty or not, since before there were declarations",
    "decisions.reasons": "words for the features that ship",
    "decisions.review_queue": "the columns that a list of payments shows",
    "evaluation.weekly.report": "the cuts that the report of a week always has",
    "review.choosing": "the columns that the form of a list always has",
    "transactions.null_words": "names that tell somebody, declared or not",
}
"""Who else names a column that the plan could tell, and what for."""


def test_who_names_a_column_that_the_plan_knows_says_what_for() -> None:
    named = {module for module, column in columns_named() if column not in FURTHER_COLUMNS}
    assert named - {"plan.types"} == NAMES_COLUMNS.keys()


def test_the_engine_knows_no_column_by_name_that_it_could_know_from_the_plan() -> None:
    named = columns_named(("features.", "plan."))
    # What a refund is the plan has to know: which aggregates see it follows from their conditions. So it does by what
    # payments are alike: a first one is compared with those.
    of_sqlglot = ("features.expression_rows", "kind")
    assert named - {of_sqlglot} <= {("plan.types", name) for name in (*FURTHER_COLUMNS, "merchant_category")}
