"""What a daily detector is trained on: the trailing days before the day that it is to score."""

from dataclasses import dataclass, field
from datetime import date, timedelta

from fraud_pipelines.detection.backends import backend_by_name
from fraud_pipelines.detection.daily_models import TrainingPlan
from fraud_pipelines.detection.default_schema import daily_schema, grouped_schema
from fraud_pipelines.detection.detectors.interface import Parameters
from fraud_pipelines.detection.known_frauds import known_frauds, known_frauds_digest
from fraud_pipelines.detection.training import training_window
from fraud_pipelines.detection.training_inputs import inputs_digest
from fraud_pipelines.features.frames import days_with_features, features_digest, sample_features
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.storage.warehouse import Warehouse


@dataclass(frozen=True)
class DetectorTraining:
    """How the detector of a day is trained: on all of its window's transactions, or a sample of more.

    One that judges groups of features is shown the known frauds besides, of days that it isn't trained on: they say
    which groups frauds show in.
    """

    backend: str
    parameters: Parameters
    contamination: float
    training_days: int
    min_training_days: int
    sample_rows: int
    label_delay_days: int
    declared: Plan = field(repr=False)

    def inputs(self, warehouse: Warehouse, day: date) -> str:
        """A digest of all that `plan` would read for ``day`` and is trained with."""
        with warehouse.connect(read_only=True) as connection:
            read = features_digest(connection, day - timedelta(days=self.training_days), day)
            if self._groups:
                read += known_frauds_digest(connection, day, label_delay_days=self.label_delay_days)
        schema = grouped_schema(self.declared) if self._groups else daily_schema(self.declared)
        return inputs_digest(self, self.backend, day, repr((read, schema, self.declared.version_of(schema))))

    @property
    def _groups(self) -> bool:
        return backend_by_name(self.backend).reads_groups

    def plan(self, warehouse: Warehouse, day: date) -> TrainingPlan:
        """The plan for ``day``.

        Raises:
            MissingData: no features are stored up to and including the day.
        """
        with warehouse.connect(read_only=True):
            window = training_window(
                day,
                days_with_features(warehouse),
                training_days=self.training_days,
                min_training_days=self.min_training_days,
            )
            sample = sample_features(warehouse, window.days[0], window.days[-1], most=self.sample_rows)
            frauds = known_frauds(warehouse, day, label_delay_days=self.label_delay_days) if self._groups else None
        return TrainingPlan(
            backend=self.backend,
            day=day,
            window=window,
            features=sample.rows,
            rows_in_window=sample.total,
            parameters=self.parameters,
            contamination=self.contamination,
            declared=self.declared,
            frauds=frauds,
        )
