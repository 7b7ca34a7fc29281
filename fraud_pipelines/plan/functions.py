"""The functions that an aggregate may be computed by, by the name that ``how`` gives.

Every module of `fraud_pipelines.plan.aggregates` adds those of its ``FUNCTIONS``.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Final

from fraud_pipelines.plan import aggregates
from fraud_pipelines.plan.folding.function import Function


def _found() -> dict[str, Function]:
    functions: dict[str, Function] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(aggregates.__path__)):
        declared: Mapping[str, Function] = importlib.import_module(f"{aggregates.__name__}.{module}").FUNCTIONS
        twice = functions.keys() & declared.keys()
        if twice:
            raise RuntimeError(f"aggregates.{module} declares {sorted(twice)}, which another module declares, too")
        functions |= declared
    return functions


FUNCTIONS: Final[Mapping[str, Function]] = _found()
