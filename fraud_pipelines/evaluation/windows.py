"""Windows: what the scores of a model, or the decisions of a policy, over some days come to.

Of the payments that aren't known as frauds the levels of their scores are enough; the known frauds stand one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_pipelines.evaluation.cards import Ranked
from fraud_pipelines.evaluation.intervals import KnownFrauds
from fraud_pipelines.evaluation.lateness import Reported, known_late
from fraud_pipelines.evaluation.levels import Levels, changes, levels_of, payments_above
from fraud_pipelines.evaluation.ranked import Floats, Places

MOST_CARDS: Final = 1_500
"""Cards kept of a day. With a hundred looked at a day for a fortnight, no more than 1,400 can matter."""

FRAUD_COLUMNS: Final = ("event_date", "user_id", "amount", "score", "raw_score", "alert", "late")


@dataclass(frozen=True)
class DaySummary:
    """What one day's scores of a model come to, whatever is known of the payments.

    ``cards`` are the users by their highest score, at most `MOST_CARDS`; ``versions`` those of the model that scored;
    ``alert_levels`` those of a policy's decisions.
    """

    event_date: date
    transactions: int
    alerts: int
    levels: Levels
    cards: Sequence[str]
    versions: Sequence[int] = ()
    alert_levels: Levels | None = None


@dataclass(frozen=True)
class Window:
    """The days of one model or policy in one channel.

    ``frauds`` are the known ones, with `FRAUD_COLUMNS` and, from the warehouse, ``transaction_id``.
    """

    days: Sequence[DaySummary]
    frauds: pl.DataFrame
    labelled: int
    alerts_labelled: int

    @property
    def transactions(self) -> int:
        return sum(day.transactions for day in self.days)

    @property
    def alerts(self) -> int:
        return sum(day.alerts for day in self.days)

    @property
    def payments(self) -> dict[date, int]:
        """Transactions by day."""
        return {day.event_date: day.transactions for day in self.days}

    def cards(self, most: int) -> Ranked:
        """The cards of each day that rank highest."""
        return {day.event_date: list(day.cards[:most]) for day in self.days}

    @property
    def exact(self) -> bool:
        return all(day.levels.exact for day in self.days)

    @cached_property
    def known(self) -> KnownFrauds:
        """The known frauds, the most suspicious first, with their places among all payments."""
        return _ranked(self._rows, [day.levels for day in self.days])

    def known_on(self, day: DaySummary) -> KnownFrauds:
        """The known frauds of one of the days, with their places among its payments."""
        of_day = self._days == np.datetime64(day.event_date)
        return _ranked({name: values[of_day] for name, values in self._rows.items()}, [day.levels])

    @cached_property
    def _days(self) -> npt.NDArray[np.datetime64]:
        days: npt.NDArray[np.datetime64] = self.frauds["event_date"].to_numpy()
        return days

    @cached_property
    def _rows(self) -> dict[str, npt.NDArray[Any]]:
        rows = {name: self.frauds[name].to_numpy() for name in ("amount", "score", "alert", "late")}
        raw_score = self.frauds["raw_score"].fill_null(-np.inf).to_numpy()
        user = np.unique(self.frauds["user_id"].to_numpy(), return_inverse=True)[1]
        return {**rows, "raw_score": raw_score, "user": user}


@dataclass(frozen=True)
class ScoredDay:
    """A day's payments at the scores of one model: ``levels`` of all; of those with a label ``labelled``, (n,), and of
    the known frauds among these ``frauds`` and for how many each stands, ``weights``, both (frauds,)."""

    day: date
    levels: Levels
    labelled: Floats
    frauds: Floats
    weights: Floats


def stand_for(frauds: KnownFrauds | pl.DataFrame, reported: Reported) -> Floats:
    """How many frauds each known one stands for."""
    late = frauds.late if isinstance(frauds, KnownFrauds) else known_late(frauds)
    counts: Floats = np.where(late, reported.frauds_per_chargeback, 1.0)
    return counts


def window_of(outcomes: pl.DataFrame) -> Window:
    """From a row a payment, as `evaluation.outcomes` reads them."""
    frauds = outcomes.filter("is_fraud").with_columns(late=pl.Series(known_late(outcomes.filter("is_fraud"))))
    return Window(
        days=[summary_of(rows) for rows in outcomes.sort("event_date").partition_by("event_date", maintain_order=True)],
        frauds=frauds.select(*FRAUD_COLUMNS, *({"transaction_id"} & set(frauds.columns))),
        labelled=int(outcomes["labelled"].sum()),
        alerts_labelled=int((outcomes["alert"] & outcomes["labelled"]).sum()),
    )


def summary_of(rows: pl.DataFrame, alert_levels: Levels | None = None) -> DaySummary:
    """From the payments of one day: ``event_date``, ``user_id``, ``score``, ``raw_score``, ``alert`` and, of a model,
    ``model_version``."""
    versions = rows["model_version"].unique().sort().to_list() if "model_version" in rows.columns else []
    return DaySummary(
        event_date=rows["event_date"][0],
        transactions=rows.height,
        alerts=int(rows["alert"].sum()),
        levels=levels_of(rows["score"].to_numpy(), rows["raw_score"].fill_null(-np.inf).to_numpy()),
        cards=_cards(rows),
        versions=versions,
        alert_levels=alert_levels,
    )


def _cards(rows: pl.DataFrame) -> list[str]:
    """The users by their highest score, of equals the one whose id comes first."""
    by_rank = rows.select("user_id", "score", pl.col("raw_score").fill_null(-np.inf))
    most = 20 * MOST_CARDS
    if rows.height > 2 * most:
        highest = by_rank.filter(pl.col("score") >= by_rank["score"].top_k(most).min())
        by_rank = highest if highest["user_id"].n_unique() >= MOST_CARDS else by_rank
    first = by_rank.sort(["score", "raw_score", "user_id"], descending=[True, True, False]).unique(
        "user_id", keep="first", maintain_order=True
    )
    return first["user_id"].head(MOST_CARDS).to_list()


def _ranked(rows: dict[str, npt.NDArray[Any]], days: Sequence[Levels]) -> KnownFrauds:
    # Of equal rank in one order, so that the order of the rows doesn't show in the last digit.
    order = np.lexsort((rows["amount"], rows["user"], -rows["raw_score"], -rows["score"]))
    score, raw_score = rows["score"][order], rows["raw_score"][order]
    above, at = payments_above(days, score, raw_score)
    level = np.concatenate(([0], np.cumsum(changes(score, raw_score))))[: len(order)]
    frauds_above = np.searchsorted(level, level, side="left")
    frauds_at = np.searchsorted(level, level, side="right") - frauds_above
    places = Places(
        level=level,
        above=np.maximum(above - frauds_above, 0).astype(np.float64),
        tied=np.maximum(at - frauds_at, 0).astype(np.float64),
        others=float(sum(levels.total for levels in days) - len(order)),
    )
    return KnownFrauds(rows["user"][order], rows["amount"][order], rows["alert"][order], rows["late"][order], places)
