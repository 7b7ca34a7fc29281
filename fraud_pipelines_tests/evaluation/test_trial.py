"""A trial: past days trained and scored aside, like for like, and production as it was."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from fraud_pipelines.detection.backends import MODEL_NAMES
from fraud_pipelines.errors import InvalidInput, MissingData
from fraud_pipelines.evaluation.trial import Trial, TrialResult, last_matured_days, run_trial
from fraud_pipelines.evaluation.trial_arms import Arm, models_in_force
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.opening import warehouse_at
from fraud_pipelines.storage.trial_folder import trial_folder
from fraud_pipelines.storage.warehouse import Warehouse
from fraud_pipelines_tests.evaluation.production import FIRST, LAST, make_production, registry_of, state_of


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("production") / "data",
        training_days=3,
        min_training_days=2,
        label_delay_days=3,
        evaluation_days=4,
    )
    make_production(settings)
    return settings


@pytest.fixture
def warehouse(production: Settings) -> Warehouse:
    return warehouse_at(production.warehouse_path, wait_seconds=5)


def try_out(settings: Settings, trial: Trial, folder: Path, **further: object) -> TrialResult:
    return run_trial(
        warehouse_at(settings.warehouse_path, wait_seconds=5),
        registry_of(settings),
        settings,
        trial,
        folder,
        **further,  # type: ignore[arg-type]
    )


def test_a_feature_left_out_is_tried_on_the_matured_days_and_production_stays_as_it_is(
    production: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    before = state_of(production)
    first, last = last_matured_days(warehouse, production)

    result = try_out(production, Trial(first, last, without=("user_z",), repeats=2), tmp_path)

    assert state_of(production) == before
    assert (first, last) == (LAST - timedelta(days=6), LAST - timedelta(days=3))
    assert len(result.days) == 4
    assert result.features.refold is None
    assert not result.features.new
    assert not result.features.changed
    assert [each.backend for each in result.backends] == ["isolation_forest", "ecod"]
    for each in result.backends:
        assert (each.gained, each.lost) == ((), ("user_z",))
        found = each.figures["average_precision"]
        assert found.present is not None
        assert found.difference is not None
        assert found.low is not None
        assert found.low < found.difference < (found.high or 0)
        assert each.stored["average_precision"] is not None
    forest, ecod = (each.figures["average_precision"] for each in result.backends)
    assert forest.seed_noise
    assert ecod.seed_noise == 0  # it draws nothing


def test_the_present_set_trained_with_productions_seed_is_production_to_the_bit(
    production: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    trial = Trial(LAST, LAST, without=("user_z",), repeats=1)
    result = try_out(production, trial, tmp_path)
    present = Arm(result.features.present, production, production.training_days, as_declared=False)
    for model in models_in_force(warehouse, registry_of(production), LAST).values():
        plan, schema = present.plan(model, LAST)
        scores = present.score(model, LAST, present.fit(plan, schema, seed=0))
        stored = warehouse.read(
            "SELECT transaction_id, raw_score FROM scoring.transaction_scores WHERE event_date = ? AND model_name = ?",
            [LAST, MODEL_NAMES[model.backend]],
        )
        assert scores.sort("transaction_id").equals(stored.sort("transaction_id"))


def test_the_same_seed_gives_the_same_figures_and_another_one_others(production: Settings, tmp_path: Path) -> None:
    days = LAST - timedelta(days=4), LAST - timedelta(days=3)
    found = [
        try_out(
            production,
            Trial(*days, backends=("isolation_forest",), without=("user_z",), repeats=1, seed=seed),
            tmp_path / str(number),
        )
        for number, seed in enumerate((0, 0, 1))
    ]
    assert found[0].backends[0].candidate == found[1].backends[0].candidate
    assert found[0].backends[0].candidate != found[2].backends[0].candidate


def test_others_write_to_production_while_models_are_trained(
    production: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    written: list[int] = []

    def write(done: int, of: int) -> None:
        with warehouse.transaction() as connection:
            connection.execute("INSERT INTO raw.stale_days SELECT event_date, '', now()::TIMESTAMP FROM raw.stale_days")
        written.append(done)

    trial = Trial(LAST, LAST, backends=("ecod",), without=("user_z",), repeats=1)
    try_out(production, trial, tmp_path, progress=write)
    assert written == [0, 1]


def test_a_trial_that_is_interrupted_leaves_nothing_behind(production: Settings) -> None:
    before = state_of(production)

    def interrupt(done: int, of: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), trial_folder(production.trials_dir, keep_as="kept") as folder:
        try_out(production, Trial(FIRST, LAST, without=("user_z",), repeats=1), folder, progress=interrupt)
    assert state_of(production) == before
    assert not production.trials_dir.exists()


def test_days_that_would_be_scored_by_models_that_saw_them_are_left_out(production: Settings, tmp_path: Path) -> None:
    trial = Trial(FIRST, FIRST + timedelta(days=3), backends=("ecod",), without=("user_z",), repeats=1)
    result = try_out(production, trial, tmp_path)
    assert result.skipped == (FIRST, FIRST + timedelta(days=1))
    with pytest.raises(MissingData, match="2 days before"):
        try_out(production, Trial(FIRST, FIRST, without=("user_z",)), tmp_path / "first")


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (Trial(LAST, LAST), "--without"),
        (Trial(LAST, LAST, without=("user_zz",)), "did you mean user_z"),
        (Trial(LAST, LAST, without=("is_night",)), "reads is_night"),
        (Trial(LAST, LAST, backends=("suod",)), "isolation_forest, ecod"),
        (Trial(LAST + timedelta(days=1), LAST + timedelta(days=1)), "No model was in use"),
    ],
)
def test_what_can_not_be_tried_is_said_before_anything_is_trained(
    production: Settings, tmp_path: Path, trial: Trial, message: str
) -> None:
    with pytest.raises((InvalidInput, MissingData), match=message):
        try_out(production, trial, tmp_path)


def test_longer_training_is_a_trial_of_its_own(production: Settings, tmp_path: Path) -> None:
    trial = Trial(LAST, LAST, backends=("ecod",), training_days=6, repeats=1)
    (ecod,) = try_out(production, trial, tmp_path).backends
    assert (ecod.gained, ecod.lost, ecod.days) == ((), (), (LAST,))


def test_the_folder_of_a_killed_trial_goes_with_the_next_and_a_running_ones_stays(tmp_path: Path) -> None:
    killed = tmp_path / ".unfinished-killed"
    killed.mkdir(parents=True)
    (killed / "lock").touch()
    with trial_folder(tmp_path) as running, trial_folder(tmp_path, keep_as="kept") as other:
        (other / "present.duckdb").touch()
        assert running.exists()
        assert not killed.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["present.duckdb"]


def test_the_changed_features_are_found_by_their_values(production: Settings, tmp_path: Path) -> None:
    """As if the stored ones were of an earlier declaration."""
    copy = Settings(**production.model_dump() | {"data_dir": tmp_path / "data"})
    copy.warehouse_path.parent.mkdir(parents=True)
    copy.warehouse_path.write_bytes(production.warehouse_path.read_bytes())
    with warehouse_at(copy.warehouse_path).transaction() as connection:
        connection.execute("UPDATE features.transaction_features SET is_night = 1 - is_night WHERE amount > 100")
        count = connection.execute("SELECT count(*) FROM features.transaction_features WHERE amount > 100").fetchall()
        connection.execute("ALTER TABLE features.transaction_features DROP COLUMN amount_lag_1")
    trial = Trial(LAST, LAST, backends=("ecod",), without=("user_z",), repeats=1)
    every = run_trial(
        warehouse_at(copy.warehouse_path), registry_of(production), copy, trial, tmp_path / "trial"
    ).features
    whole = warehouse_at(production.warehouse_path).read(
        "SELECT transaction_id, is_night, amount_lag_1 FROM features.transaction_features ORDER BY 1"
    )
    assert every.new == ("amount_lag_1",)
    assert every.refold is not None
    assert every.refold.names == ("amount_lag_1",)
    assert every.changed.keys() == {"is_night"}
    assert 0 < every.changed["is_night"] <= count[0][0]
    computed = every.candidate.read("SELECT * FROM features.transaction_features ORDER BY transaction_id")
    assert computed.select(whole.columns).equals(whole, null_equal=True)
    assert isinstance(computed["amount_lag_1"].dtype, pl.Float64)
