"""Pruning: what is older than the settings keep goes, of models, runs, ticks and landed files."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.defs.pruned_runs import prune_runs, prune_ticks, shrink_databases
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.pruned import Pruned


@dataclass(frozen=True)
class Pruning:
    """What a clean-up did. ``freed`` are bytes given back by databases that were written anew."""

    done: list[Pruned]
    freed: int
    seconds: float


def prune_installation(settings: Settings, instance: dg.DagsterInstance, *, now: datetime, dry_run: bool) -> Pruning:
    """Remove what is older than is kept of models, runs, ticks and landed files. Safe to repeat, whatever dies when.

    Nothing goes that the replay of a stored decision, an alias or a pin needs. The warehouse is only read.

    Args:
        now: naive UTC.

    Raises:
        RegistryUnavailable: MLflow can't be reached; what came before it is done.
        WarehouseBusy: what decided can't be read since a run writes.
    """
    from fraud_pipelines.decisions.replay import versions_that_decided
    from fraud_pipelines.storage.model_registry import ModelRegistry
    from fraud_pipelines.storage.pruned_versions import prune_versions
    from fraud_pipelines.transactions.landed_files import prune_landed

    begun = time.monotonic()
    zones = (settings.landing_transactions, settings.landing_labels, settings.landing_rates, settings.landing_stream)
    done = [prune_landed(zones, kept_days=settings.keep_landed_days, now=now, dry_run=dry_run)]
    runs, stream_runs = settings.keep_run_days, settings.keep_stream_run_days
    done += prune_runs(instance, kept_days=runs, kept_stream_days=stream_runs, now=now, dry_run=dry_run)
    done.append(prune_ticks(instance, kept_days=settings.keep_tick_days, now=now, dry_run=dry_run))
    freed = 0 if dry_run else shrink_databases(instance)
    warehouse = live_warehouse(settings)
    if warehouse.path.exists():
        replayed = settings.keep_replay_days
        since = (now - timedelta(days=replayed)).date() if replayed else None
        needed = versions_that_decided(warehouse, since=since)
        registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
        done += prune_versions(registry, needed, kept_days=settings.keep_version_days, now=now, dry_run=dry_run)
    return Pruning(done, freed, time.monotonic() - begun)
