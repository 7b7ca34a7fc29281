"""The steps by which a day's features are computed in shards: of users, and of the other entities they have in common.

1. `cut_by_other_keys` reads a shard of users and hands what the folds of other entities read to the shards of those.
2. `fold_other_entities` folds a shard of another key, and hands each row's features back to the shard of its user.
3. `fold_users_of_shard` folds the users, joins what was handed back, and writes the features.

The folds are those of `features.engine`. A key is whole within its shard and its rows keep their order, so that every
number is the same to the bit, however many shards there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from fraud_pipelines.features.engine import (
    Beside,
    checked,
    columns_and_counts,
    empty_columns,
    fold_others,
    fold_users,
    transactions_read,
)
from fraud_pipelines.features.feature_plan import FeaturePlan, feature_plan
from fraud_pipelines.features.history import History, history_schema
from fraud_pipelines.features.keys import key_columns, keys_of
from fraud_pipelines.features.known_labels import LabelLookup
from fraud_pipelines.features.label_events import label_aggregates, with_label_features
from fraud_pipelines.features.label_files import EventFiles, read_events
from fraud_pipelines.features.narrow_files import (
    KEY,
    POSITION,
    REFUND,
    TIMESTAMP,
    TRANSACTION,
    beside_of,
    packed_columns,
    read_part,
    unpacked_columns,
    write_parts,
)
from fraud_pipelines.features.ordering import EntityRows, in_time
from fraud_pipelines.features.population import COUNTS, Population
from fraud_pipelines.features.program import EntityProgram
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.row_files import RowFiles, write_rows
from fraud_pipelines.transactions.kinds import refunds_in

Key = tuple[str, ...]

USER: Final[Key] = ("user_id",)


def is_users_own(key: Key) -> bool:
    """Whether all rows of such a key are of one user, and so in one shard of users."""
    return USER[0] in key


def other_keys(compiled: FeaturePlan) -> list[Key]:
    """The keys that rows of several users have in common, each once, in the order of the plan."""
    return list(dict.fromkeys(each.entity.key for each in compiled.programs if not is_users_own(each.entity.key)))


def shard_column(key: Key) -> str:
    """The column beside the transactions that holds the shard of their ``key``."""
    return f"_shard of {' '.join(key)}"


def names_beside(compiled: FeaturePlan) -> list[str]:
    """The features that come from other shards: all of entities that aren't the users' own."""
    folded = [name for each in compiled.programs if not is_users_own(each.entity.key) for name in each.names]
    looked_up = [
        each.name
        for entity in with_label_features(compiled.plan.entities)
        if not is_users_own(entity.key)
        for each in label_aggregates(entity)
    ]
    return folded + looked_up


# ---- 1


@dataclass(frozen=True)
class Cut:
    """A shard of users to cut anew. ``transactions`` have a `shard_column` for each other key beside their columns;
    ``population`` are the counts of earlier days.
    """

    plan: Plan
    transactions: RowFiles
    population: RowFiles
    shards: int
    folder: Path


@dataclass(frozen=True)
class CutShard:
    """What a cut found: the counts that its rows add to the population, the columns without a value, and a file with a
    part for each shard of the other key, by the key.
    """

    counts: pl.DataFrame
    empty: set[str]
    parts: dict[Key, Path]


def cut_by_other_keys(work: Cut) -> CutShard:
    """The first step.

    Raises:
        InvalidInput: as `engine.compute_features`.
    """
    work.folder.mkdir(parents=True)
    compiled = feature_plan(work.plan)
    stored = work.transactions.read_all()
    rows = checked(stored, compiled.plan)
    columns, counts = columns_and_counts(rows, compiled, _population(work.population))
    refunds = refunds_in(rows)
    parts = {}
    for number, key in enumerate(other_keys(compiled)):
        programs = _programs_of(compiled, key)
        keys = keys_of(rows, key)
        told = pl.DataFrame(
            {
                POSITION: pl.Series(np.arange(rows.height, dtype=np.int64)),
                TIMESTAMP: rows["timestamp"].to_physical(),
                TRANSACTION: rows["transaction_id"],
                KEY: keys,
                REFUND: refunds if refunds is not None else pl.repeat(False, rows.height, eager=True),
                **packed_columns(columns, programs),
            }
        )
        known = keys.is_not_null()
        path = work.folder / f"{number}.arrow"
        write_parts(
            told.filter(known), stored[shard_column(key)].filter(known).cast(pl.Int64).to_numpy(), work.shards, path
        )
        parts[key] = path
    counts = counts.group_by(list(COUNTS)[:-1]).agg(pl.col("payments").sum())
    return CutShard(counts, empty_columns(rows, work.plan), parts)


# ---- 2


@dataclass(frozen=True)
class OtherShard:
    """A shard of another key: the files with its part, one a shard of users; the histories by the name of the pass, and
    the label events by that of the entity.
    """

    plan: Plan
    key: Key
    shard: int
    parts: tuple[Path, ...]
    histories: Mapping[str, RowFiles]
    events: Mapping[str, EventFiles]
    day: date
    folder: Path


@dataclass(frozen=True)
class OtherFolded:
    """A file with the features of each row, one part a shard of users, and the new states by the name of the pass."""

    beside: Path
    histories: dict[str, RowFiles]


def fold_other_entities(work: OtherShard) -> OtherFolded:
    """The second step."""
    work.folder.mkdir(parents=True)
    compiled = feature_plan(work.plan)
    programs = _programs_of(compiled, work.key)
    read = [read_part(path, work.shard) for path in work.parts]
    shard = np.repeat(np.arange(len(read)), [part.height for part in read])
    rows = pl.concat(read, rechunk=True)
    del read
    order = in_time(rows)
    payments = rows[KEY].set(rows[REFUND], None) if rows[REFUND].any() else rows[KEY]
    runs = {
        each.entity.name: EntityRows.of(rows[KEY] if each.sees_refunds else payments, order, ascending=False)
        for each in programs
    }
    timestamp = rows[TIMESTAMP].to_numpy()
    columns = unpacked_columns(rows)
    position = rows[POSITION]
    del rows
    changed: dict[str, History] = {}
    beside = fold_others(programs, columns, timestamp, runs, _histories(programs, work.histories), changed)
    found = {name: beside.values[:, at] for at, name in enumerate(beside.names)}
    for lookup, codes in _lookups(compiled, [work.key], runs, work.events):
        code = codes.astype(np.int64)
        found |= lookup.features(code, code >= 0, timestamp)
    path = work.folder / "beside.arrow"
    write_parts(pl.DataFrame({POSITION: position, **found}), shard, len(work.parts), path)
    return OtherFolded(path, _written(changed, work.day, work.folder))


# ---- 3


@dataclass(frozen=True)
class UserShard:
    """A shard of users: its transactions, the files with what other entities' folds gave for them (part ``shard``), and
    the histories and label events of the users' own entities, as in `OtherShard`.

    ``unknown`` are the features that are null throughout, since too little of the past is known.
    """

    plan: Plan
    shard: int
    transactions: RowFiles
    population: RowFiles
    beside: tuple[Path, ...]
    histories: Mapping[str, RowFiles]
    events: Mapping[str, EventFiles]
    unknown: tuple[str, ...]
    day: date
    folder: Path


@dataclass(frozen=True)
class UsersFolded:
    """The features and new states of a shard, and how many rows, users, new users, and nulls of a feature there are."""

    features: RowFiles
    histories: dict[str, RowFiles]
    rows: int
    users: int
    new_users: int
    nulls: dict[str, int]


def fold_users_of_shard(work: UserShard) -> UsersFolded:
    """The third step."""
    work.folder.mkdir(parents=True)
    whole = feature_plan(work.plan)
    compiled = whole.only([each for each in whole.programs if is_users_own(each.entity.key)])
    rows = checked(work.transactions.read_all(), work.plan)
    columns, _ = columns_and_counts(rows, compiled, _population(work.population))
    order = in_time(rows)
    users = compiled.users.entity.name
    runs = {name: EntityRows.of(keys, order, ascending=name == users) for name, keys in compiled.keys(rows).items()}
    rows = transactions_read(rows, compiled)
    timestamp = rows["timestamp"].to_physical().to_numpy()
    histories = _histories(compiled.programs, work.histories)
    changed: dict[str, History] = {}
    own = fold_others(
        [each for each in compiled.programs if each is not compiled.users], columns, timestamp, runs, histories, changed
    )
    others = names_beside(whole)
    values = beside_of(work.beside, work.shard, rows.height, others)
    beside = Beside(own.names + others, np.hstack([own.values, values]) if own.names else values)
    del own, values
    keys = [each.entity.key for each in compiled.programs]
    lookups = _lookups(compiled, keys, runs, work.events)
    nulls = dict.fromkeys(work.plan.features, 0)
    written: list[RowFiles] = []
    height = 0
    types = work.plan.feature_types
    pieces = fold_users(compiled, rows, columns, runs[users], histories, lookups, beside, changed)
    for number, piece in enumerate(pieces):
        features = piece.with_columns(pl.lit(None, types[name]).alias(name) for name in work.unknown)
        height += features.height
        for name, count in features.select(pl.col(name).null_count() for name in nulls).row(0, named=True).items():
            nulls[name] += count
        written.append(write_rows(features, work.folder / f"features-{number:05d}.parquet"))
    met = runs[users].keys
    known = int(met.is_in(histories[users].keys.implode()).sum())
    return UsersFolded(
        RowFiles.joined(written), _written(changed, work.day, work.folder), height, len(met), len(met) - known, nulls
    )


# ---- parts


def _programs_of(compiled: FeaturePlan, key: Key) -> list[EntityProgram]:
    return [each for each in compiled.programs if each.entity.key == key]


def _population(files: RowFiles) -> Population:
    return Population.of_counts([files.read(COUNTS)])


def _histories(programs: Sequence[EntityProgram], files: Mapping[str, RowFiles]) -> dict[str, History]:
    return {
        each.entity.name: History.from_frame(each, files[each.entity.name].read(history_schema(each)))
        for each in programs
    }


def _lookups(
    compiled: FeaturePlan, keys: Sequence[Key], runs: Mapping[str, EntityRows], events: Mapping[str, EventFiles]
) -> list[tuple[LabelLookup, "np.typing.NDArray[np.int32]"]]:
    """The label features of entities with these keys, and the position of each row's entity in the lookup's."""
    found = []
    for entity in with_label_features(compiled.plan.entities):
        if entity.key in keys:
            of_entity = runs[entity.name]
            told = pl.DataFrame(key_columns(of_entity.keys.alias("key"), entity.key))
            found.append((LabelLookup.of(entity, read_events(entity, events[entity.name]), told), of_entity.codes))
    return found


def _written(changed: Mapping[str, History], day: date, folder: Path) -> dict[str, RowFiles]:
    """The states as they are stored, in a file for each pass."""
    return {
        name: write_rows(history.frame.with_columns(event_date=pl.lit(day)), folder / f"history-{number}.parquet")
        for number, (name, history) in enumerate(changed.items())
    }
