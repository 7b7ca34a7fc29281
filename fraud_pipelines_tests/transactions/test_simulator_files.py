"""Where a simulation lands: whole files by day, the truth apart, and nothing left of an earlier one."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.transactions.schema import LABEL_COLUMNS, TRANSACTION_COLUMNS
from fraud_pipelines.transactions.simulator import (
    Simulation,
    SimulationConfig,
    labels_known_on,
    read_truth,
    simulate,
    write_labels,
    write_landing,
    write_simulation,
    write_truth,
)

CONFIG = SimulationConfig(first_day=date(2026, 2, 27), days=4, users=40, transactions_per_day=120, fraud_rate=0.05)
DAYS = ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(CONFIG)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_day_lands_in_a_file_of_its_name(simulation: Simulation, tmp_path: Path) -> None:
    written = write_landing(simulation, tmp_path / "landing")
    assert [path.name for path in written] == [f"{day}.parquet" for day in DAYS]
    assert sorted((tmp_path / "landing").iterdir()) == written
    assert_frame_equal(pl.concat([pl.read_parquet(path) for path in written]), simulation.transactions)
    for day, path in zip(DAYS, written, strict=True):
        assert pl.read_parquet(path)["timestamp"].dt.date().unique().to_list() == [date.fromisoformat(day)]


def test_landed_files_hold_nothing_of_the_truth(simulation: Simulation, tmp_path: Path) -> None:
    for path in write_landing(simulation, tmp_path):
        assert pl.read_parquet_schema(path) == TRANSACTION_COLUMNS


def test_writing_again_replaces_the_same_bytes(simulation: Simulation, tmp_path: Path) -> None:
    write_landing(simulation, tmp_path)
    before = contents(tmp_path)
    write_landing(simulate(CONFIG), tmp_path)
    assert contents(tmp_path) == before


def test_an_interrupted_write_leaves_the_file_as_it_was(
    simulation: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_truth(simulation, tmp_path)
    before = (tmp_path / "ground_truth.parquet").read_bytes()

    def dies_half_way(frame: pl.DataFrame, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise OSError("no space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", dies_half_way)
    with pytest.raises(OSError, match="no space"):
        write_truth(simulation, tmp_path)
    assert (tmp_path / "ground_truth.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.parquet") if not path.name.startswith(".")] == [
        "ground_truth.parquet"
    ]


def test_the_truth_comes_back_as_written(simulation: Simulation, tmp_path: Path) -> None:
    write_truth(simulation, tmp_path)
    assert_frame_equal(read_truth(tmp_path), simulation.truth)


def test_day_by_day_writes_the_same_files_as_at_once(simulation: Simulation, tmp_path: Path) -> None:
    write_landing(simulation, tmp_path / "at_once")
    written = write_simulation(CONFIG, tmp_path / "by_day", tmp_path / "truth")
    assert [path.name for path in written] == [f"{day}.parquet" for day in DAYS]
    assert contents(tmp_path / "by_day") == contents(tmp_path / "at_once")
    assert_frame_equal(read_truth(tmp_path / "truth"), simulation.truth)


def test_a_later_simulation_leaves_the_truth_of_other_days(simulation: Simulation, tmp_path: Path) -> None:
    following = CONFIG.model_copy(update={"first_day": date(2026, 3, 2), "days": 2, "seed": 8})
    earlier = simulation.truth.filter(pl.col("event_date") < date(2026, 3, 2))
    expected = pl.concat([earlier, simulate(following).truth])

    write_truth(simulation, tmp_path / "at_once")
    write_truth(simulate(following), tmp_path / "at_once")
    write_simulation(CONFIG, tmp_path / "landing", tmp_path / "by_day")
    write_simulation(following, tmp_path / "landing", tmp_path / "by_day")

    assert_frame_equal(read_truth(tmp_path / "at_once"), expected)
    assert_frame_equal(read_truth(tmp_path / "by_day"), expected)


def test_an_earlier_simulation_comes_before_a_later_one_in_the_truth(simulation: Simulation, tmp_path: Path) -> None:
    before = CONFIG.model_copy(update={"first_day": date(2026, 2, 25), "days": 2})
    write_simulation(CONFIG, tmp_path / "landing", tmp_path)
    write_simulation(before, tmp_path / "landing", tmp_path)
    assert_frame_equal(read_truth(tmp_path), pl.concat([simulate(before).truth, simulation.truth]))


def test_a_damaged_truth_stops_a_simulation_before_it_writes(tmp_path: Path) -> None:
    (tmp_path / "ground_truth.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InvalidInput, match="simulate again"):
        write_simulation(CONFIG, tmp_path / "landing", tmp_path)
    assert not (tmp_path / "landing").exists()


def test_a_missing_truth_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="Simulate transactions first"):
        read_truth(tmp_path)


def test_a_damaged_truth_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ground_truth.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InvalidInput, match="simulate again"):
        read_truth(tmp_path)


def test_a_truth_with_other_columns_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"transaction_id": ["t1"]}).write_parquet(tmp_path / "ground_truth.parquet")
    with pytest.raises(InvalidInput, match="other columns"):
        read_truth(tmp_path)


def test_labels_land_under_the_day_they_became_known(simulation: Simulation, tmp_path: Path) -> None:
    day = date(2026, 2, 28)
    decisions = simulation.truth.select("transaction_id", decision=pl.lit("review"))
    labels = labels_known_on(day, simulation.truth, decisions)
    path = write_labels(labels, tmp_path / "labels", day)
    assert path == tmp_path / "labels" / "2026-02-28.parquet"
    assert_frame_equal(pl.read_parquet(path), labels)


def test_without_labels_there_is_no_file_nor_an_old_one(simulation: Simulation, tmp_path: Path) -> None:
    day = date(2026, 2, 28)
    none = pl.DataFrame(schema=LABEL_COLUMNS)
    assert write_labels(none, tmp_path / "labels", day) is None
    decisions = simulation.truth.select("transaction_id", decision=pl.lit("block"))
    write_labels(labels_known_on(day, simulation.truth, decisions), tmp_path, day)
    assert write_labels(none, tmp_path, day) is None
    assert list(tmp_path.iterdir()) == []
