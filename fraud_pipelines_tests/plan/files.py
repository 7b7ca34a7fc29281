"""Declarations files for tests."""

from pathlib import Path
from textwrap import dedent

from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.plan.problems import InvalidDeclarations


def written(folder: Path, text: str, name: str = "fraud.yaml") -> Path:
    """A file with ``text``, whose indentation is removed."""
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


def plan_of(folder: Path, text: str) -> Plan:
    return compile_plan(written(folder, text))


def problems_of(folder: Path, text: str) -> list[tuple[int, str, str]]:
    """Line, key and message of each problem; the file is the one that was read."""
    path = written(folder, text)
    try:
        compile_plan(path)
    except InvalidDeclarations as invalid:
        error = invalid
    else:
        return []
    assert {problem.file for problem in error.problems} == {str(path)}
    assert str(error).splitlines() == [
        f"{path}:{problem.line}: " + (f"{problem.key}: " if problem.key else "") + problem.message
        for problem in error.problems
    ]
    return [(problem.line, problem.key, problem.message) for problem in error.problems]
