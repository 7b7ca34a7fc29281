"""The decorator every daily asset shares: owner, partitions, pool, group, retries, and failures a person can act on."""

import functools
from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from fraud_pipelines.bootstrap import WAREHOUSE_POOL
from fraud_pipelines.code_version import code_version
from fraud_pipelines.defs.partitions import SETTINGS, daily_partitions
from fraud_pipelines.defs.times import ON_TIME
from fraud_pipelines.errors import FraudPipelinesError, RegistryUnavailable, WarehouseBusy

_RETRIES = dg.RetryPolicy(
    max_retries=3,
    delay=SETTINGS.retry_pause_seconds,
    backoff=dg.Backoff.EXPONENTIAL,
    jitter=dg.Jitter.PLUS_MINUS,
)
"""For what passes: a file that another process holds, a server that is out of reach. By default a step goes on for
about ten minutes, the waits for the file included.

It is not given to the assets: Dagster would try a step again that was cancelled, too."""


def layer_asset(
    layer: str,
    noun: str,
    *,
    deps: Iterable[dg.AssetDep | dg.AssetKey] = (),
    kinds: Iterable[str] = ("duckdb",),
    checks: Sequence[dg.AssetCheckSpec] = (),
    computes: Iterable[type] = (),
    partitions: dg.PartitionsDefinition | None = None,
    freshness: dg.FreshnessPolicy | None = None,
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """An asset ``layer/noun``. Its docstring is its description in the UI.

    A :class:`FraudPipelinesError` becomes a ``dg.Failure`` with the same message, so that the run page shows
    the cause and the remedy instead of a stack of frames.

    Args:
        computes: classes that its code version covers beside what the function names, see `code_version`.
    """

    def decorate(function: Callable[..., dg.MaterializeResult]) -> dg.AssetsDefinition:
        asset: dg.AssetsDefinition = dg.asset(
            key=dg.AssetKey([layer, noun]),
            group_name=layer,
            deps=list(deps),
            kinds=set(kinds),
            owners=[SETTINGS.owner],
            partitions_def=partitions,
            pool=WAREHOUSE_POOL,
            check_specs=list(checks),
            code_version=code_version(function, computes),
            freshness_policy=freshness,
        )(as_failure(function))
        return asset

    return decorate


daily_asset = functools.partial(layer_asset, partitions=daily_partitions, freshness=ON_TIME)
"""An asset with one partition a day, which is to be there in time."""


def as_failure(function: Callable[..., dg.MaterializeResult]) -> Callable[..., dg.MaterializeResult]:
    """Make a :class:`FraudPipelinesError` of ``function`` a ``dg.Failure`` with the same message.

    After one that passes by itself, the step is tried again, in a while.
    """

    @functools.wraps(function)
    def compute(context: dg.AssetExecutionContext, *args: object, **kwargs: object) -> dg.MaterializeResult:
        try:
            return function(context, *args, **kwargs)
        except FraudPipelinesError as error:
            failure = dg.Failure(description=str(error), allow_retries=False)
            failure.__cause__ = error
            if isinstance(error, WarehouseBusy | RegistryUnavailable):
                raise _retry(context.op_execution_context.retry_number) from failure
            raise failure from error
        except RuntimeError as error:
            # What DuckDB makes of the exception that Dagster raises to cancel a run.
            if str(error) == "Query interrupted":
                raise dg.DagsterExecutionInterruptedError from error
            raise

    return compute


def _retry(retries: int) -> dg.RetryRequested:
    """The request to try a step again that has been tried again so often."""
    pause = max(_RETRIES.calculate_delay(retries + 1), 0)
    return dg.RetryRequested(max_retries=_RETRIES.max_retries, seconds_to_wait=pause)


def blocking_check(key: dg.AssetKey, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that stops what lies downstream when it fails."""
    return dg.AssetCheckSpec(name=name, asset=key, description=description, blocking=True)


def warning_check(key: dg.AssetKey, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that is shown when it fails, and stops nothing."""
    return dg.AssetCheckSpec(name=name, asset=key, description=description, blocking=False)


def verdict(
    spec: dg.AssetCheckSpec, passed: bool, metadata: dict[str, dg.MetadataValue] | None = None
) -> dg.AssetCheckResult:
    """The result of ``spec``: an error where it blocks, else a warning."""
    return dg.AssetCheckResult(
        check_name=spec.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN,
        metadata=metadata or {},
    )
