"""``fraud-pipelines try``: what a change of the features does to the models on past days, aside from production."""

import json
import re
from datetime import date, datetime
from urllib.parse import quote

from rich.progress import Progress

from fraud_pipelines.bootstrap import live_warehouse
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.evaluation.trial import Trial, TrialResult, last_matured_days, run_trial
from fraud_pipelines.evaluation.trial_figures import Compared, Day, window_figures
from fraud_pipelines.evaluation.trial_pair import BackendTrial
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.mlflow_connection import without_password
from fraud_pipelines.storage.model_registry import ModelRegistry
from fraud_pipelines.storage.trial_folder import trial_folder
from fraud_pipelines.storage.trial_runs import LoggedTrial, SetRun, TrialRuns

console = terminal()


def show_trial(
    settings: Settings,
    *,
    first: date | None,
    last: date | None,
    name: str | None,
    backends: tuple[str, ...],
    without: tuple[str, ...],
    training_days: int | None,
    repeats: int,
    seed: int,
    cards: int,
    keep: bool,
    now: datetime,
) -> None:
    """Try what is declared now on past days, print what it changes, and log it in MLflow.

    Raises:
        MissingData, InvalidInput, ArtifactRejected, RegistryUnavailable: as for `run_trial`.
    """
    production = live_warehouse(settings)
    if (first is None) != (last is None):
        raise InvalidInput("Give both --from and --to, or neither.")
    if first is None or last is None:
        first, last = last_matured_days(production, settings)
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    trial = Trial(
        first=first,
        last=last,
        backends=backends,
        without=without,
        training_days=training_days,
        repeats=repeats,
        seed=seed,
        cards=cards,
    )
    name = name or f"trial {now:%Y-%m-%d %H:%M}"
    kept = (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "trial") if keep else None
    with trial_folder(settings.trials_dir, keep_as=kept) as folder, Progress(console=console, transient=True) as bar:
        task = bar.add_task("Computing features", total=None)
        result = run_trial(
            production,
            registry,
            settings,
            trial,
            folder,
            progress=lambda done, of: bar.update(task, description="Training and scoring", completed=done, total=of),
        )
        bar.update(task, description="Logging in MLflow", total=None)
        logged = TrialRuns(settings.tracking_uri, artifact_root=settings.artifact_root).log(
            name,
            started=now,
            description="\n\n".join([*_what_differs(result), *conclusions(result)]),
            params=_params(result),
            metrics=_gains(result),
            sets=[run for each in result.backends if each.days for run in _set_runs(each)],
        )
    _print(result)
    if kept:
        console.print(f"Kept       {settings.trials_dir / kept}: candidate.duckdb, present.duckdb")
    _print_addresses(settings, logged)


def conclusions(result: TrialResult) -> list[str]:
    """In words, by the average precision: whom it helped, whom it hurt, and of whom it can't be told."""
    sentences = []
    for verdict, words in (("helped", "The change helped"), ("hurt", "The change hurt")):
        found = [each for each in result.backends if each.days and _precision(each).verdict == verdict]
        if found:
            sentences.append(f"{words}: {'; '.join(map(_gain, found))}.")
    untold = [each for each in result.backends if each.days and _precision(each).verdict == "can't be told"]
    if untold:
        sentences.append(f"Whether it helped or hurt can't be told: {'; '.join(map(_gain, untold))}.")
    unaffected = [each.backend for each in result.backends if not each.days]
    if unaffected:
        sentences.append(f"It changes nothing that {_listed(unaffected)} reads.")
    return sentences


def _print(result: TrialResult) -> None:
    trial = result.trial
    for line in _what_differs(result):
        console.print(line, highlight=False)
    console.print()
    shown = [each for each in result.backends if each.days]
    title = f"Average precision, mean of {len(result.days)} days, {trial.first} to {trial.last}"
    table = narrow_table(title, "model", *_COLUMNS, numbers=_COLUMNS)
    for each in shown:
        table.add_row(each.backend, _figure(each.stored.get("average_precision")), *_compared(_precision(each)))
    table.caption = (
        "stored: by the scores of the models in force. present: what these read, trained again; candidate: what is "
        "declared now. Both are trained on the same days with the same seeds."
    )
    console.print(table)
    console.print()
    columns = ("present", "candidate", "difference", "95 %")
    others = narrow_table(
        f"With {result.alerts_per_day:.0f} alerts a day", "figure", "model", *columns, numbers=columns
    )
    for figure, heading in _OTHERS.items():
        for each in shown:
            others.add_row(heading.format(k=trial.cards), each.backend, *_compared(each.figures[figure]))
    console.print(others)
    console.print()
    for sentence in (*conclusions(result), *_limits(result)):
        console.print(sentence, highlight=False)


def _what_differs(result: TrialResult) -> list[str]:
    """What is tried."""
    features, trial = result.features, result.trial
    lines = []
    if features.new:
        lines.append(f"New        {', '.join(features.new)}")
    for name, rows in features.changed.items():
        lines.append(f"Changed    {name}: another value on {rows:,} of {features.rows:,} payments")
    read = {name for each in result.backends for name in (*each.gained, *each.lost)}
    moved = read - {*features.new, *result.removed, *trial.without}
    if moved:
        lines.append(f"Daily      {', '.join(sorted(moved))}: declared otherwise for the models")
    if result.removed:
        lines.append(f"Removed    {', '.join(result.removed)}")
    if trial.without:
        lines.append(f"Left out   {', '.join(trial.without)}")
    if trial.training_days:
        lines.append(f"Training   {trial.training_days} days")
    refold = features.refold
    lines.append(
        f"Computed   again from the first payment on: {refold.why}"
        if refold
        else "Computed   from the stored features, of which none had to be folded again"
    )
    return lines


def _limits(result: TrialResult) -> list[str]:
    """What the figures rest on."""
    reported = result.reported.expected
    if result.reported.half_in and reported is not None:
        late = f"{reported:.0%} of their chargebacks are in, and the figures are corrected for the rest"
    else:
        late = "less than half of their chargebacks may be in, so that the figures flatter both"
    sentences = [f"{result.frauds} frauds are known on these days; {late}."]
    noise = [
        f"{_share(found.seed_noise)} ({each.backend})"
        for each in result.backends
        if each.days and (found := _precision(each)).seed_noise
    ]
    if noise:
        sentences.append(f"Two trainings with other seeds alone differ by up to {', '.join(noise)}.")
    fewer = [f"{each.backend} {len(each.days)}" for each in result.backends if 0 < len(each.days) < len(result.days)]
    if fewer:
        sentences.append(f"Fewer days: {', '.join(fewer)}, since too few frauds were known before.")
    if result.skipped:
        sentences.append(
            f"Left out: {_listed([str(day) for day in result.skipped])}, before which there are too few days."
        )
    return sentences


def _print_addresses(settings: Settings, logged: LoggedTrial) -> None:
    remote = settings.tracking_uri.startswith(("http://", "https://"))
    base = without_password(settings.tracking_uri).rstrip("/") if remote else "http://127.0.0.1:5000"
    runs, experiments = (
        quote(json.dumps(each, separators=(",", ":"))) for each in (list(logged.set_runs), [logged.experiment_id])
    )
    where = "" if remote else " (while fraud-pipelines up runs)"
    for heading, address in (
        (f"In MLflow{where}", f"{base}/#/experiments/{logged.experiment_id}/runs/{logged.run_id}"),
        ("Side by side", f"{base}/#/compare-runs?runs={runs}&experiments={experiments}"),
    ):
        console.print(f"{heading}: {address}", highlight=False, soft_wrap=True)


def _params(result: TrialResult) -> dict[str, object]:
    trial, features = result.trial, result.features
    return {
        "first_day": trial.first,
        "last_day": trial.last,
        "days": len(result.days),
        "new": ", ".join(features.new),
        "changed": ", ".join(features.changed),
        "removed": ", ".join(result.removed),
        "without": ", ".join(trial.without),
        "training_days": trial.training_days or "as in force",
        "repeats": trial.repeats,
        "seed": trial.seed,
    }


def _gains(result: TrialResult) -> dict[str, float | None]:
    """The differences in average precision, with their intervals."""
    return {
        f"{each.backend}/average_precision_{name}": value
        for each in result.backends
        if each.days
        for name, value in zip(
            ("difference", "low", "high"),
            (_precision(each).difference, _precision(each).low, _precision(each).high),
            strict=True,
        )
    }


def _set_runs(each: BackendTrial) -> list[SetRun]:
    """The runs of both sets: each figure over all days, and under ``daily/`` by day."""
    runs = []
    for kind, days in (("present", each.present), ("candidate", each.candidate)):
        figures = {name: getattr(found, kind) for name, found in each.figures.items()}
        runs.append(
            SetRun(
                name=f"{each.backend} {kind}",
                params={"backend": each.backend, "features": kind},
                metrics=figures,
                days=[(day, _of_day(repeats)) for day, repeats in zip(each.days, days, strict=True)],
                tags={"backend": each.backend, "features": kind},
            )
        )
    return runs


def _of_day(repeats: tuple[Day, ...]) -> dict[str, float | None]:
    return {f"daily/{name}": value for name, value in window_figures(repeats).items()}


_COLUMNS = ("stored", "present", "candidate", "difference", "95 %")
_OTHERS = {
    "precision": "precision",
    "recall": "recall",
    "card_precision_at_k": "CP@{k}",
    "roc_auc": "ROC AUC",
}


def _precision(each: BackendTrial) -> Compared:
    return each.figures["average_precision"]


def _gain(each: BackendTrial) -> str:
    found = _precision(each)
    if found.difference is None:
        return f"{each.backend} (no fraud is known)"
    interval = "" if found.low is None else f", {found.low:+.3f} to {found.high:+.3f}"
    return f"{each.backend} {found.difference:+.3f}{interval}"


def _compared(found: Compared) -> tuple[str, ...]:
    return (
        _figure(found.present),
        _figure(found.candidate),
        "–" if found.difference is None else f"{found.difference:+.3f}",
        "" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}",
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
