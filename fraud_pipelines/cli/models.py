"""``fraud-pipelines models``: which versions there are and why one is in use, and pinning one by hand."""

import getpass
import json
from datetime import datetime

from rich.markup import escape

from fraud_pipelines.bootstrap import warehouse_of
from fraud_pipelines.cli.terminal import narrow_table, terminal
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.settings import Settings
from fraud_pipelines.storage.model_registry import PINNED, ModelRegistry

console = terminal()


def show_versions(settings: Settings, model_name: str | None, *, most: int) -> None:
    """The newest versions of each model and those with an alias, and what was decided about them.

    Raises:
        InvalidInput: there is no such model.
    """
    from fraud_pipelines.detection.backends import MODEL_NAMES
    from fraud_pipelines.evaluation.promotion_words import in_words

    registry = _registry(settings)
    decided = warehouse_of(settings).read(
        "SELECT model_name, candidate_version, rule, decision, evidence FROM monitoring.model_promotions ORDER BY as_of"
    )
    verdicts = {(name, version): verdict for name, version, *verdict in decided.iter_rows()}
    if not model_name:
        _show_deciding(settings)
    for name in [model_name] if model_name else MODEL_NAMES.values():
        versions = registry.list_versions(name)
        if not versions:
            if model_name:
                raise InvalidInput(_unknown(model_name))
            continue
        aliases = registry.aliases(name)
        table = narrow_table(
            f"{name}, the newest {min(most, len(versions))} of {len(versions)} versions",
            *("version", "day", "alias", "decision"),
            numbers=("version",),
        )
        table.add_column("why")
        for version in versions:
            if version not in versions[-most:] and version.version not in aliases.values():
                continue
            rule, decision, evidence = verdicts.get((name, version.version), ("", "", "{}"))
            table.add_row(
                str(version.version),
                str(version.partition),
                "\n".join(sorted(alias for alias, number in aliases.items() if number == version.version)),
                decision,
                escape(in_words(rule, decision, json.loads(evidence)) if decision else ""),
            )
        console.print(table)
        console.print()


def _show_deciding(settings: Settings) -> None:
    """Which model decided the latest day, since when, and why."""
    from fraud_pipelines.evaluation.promotion_words import in_words

    rows = warehouse_of(settings).read(
        """
        WITH chosen AS (SELECT * FROM monitoring.model_promotions WHERE deciding_model IS NOT NULL)
        SELECT deciding_model, as_of, rule, evidence, (
            SELECT min(as_of) FROM chosen WHERE as_of > coalesce(
                (SELECT max(as_of) FROM chosen WHERE deciding_model <> latest.deciding_model), DATE '0001-01-01')
        ) AS since
        FROM chosen latest ORDER BY as_of DESC LIMIT 1
        """
    )
    for model, as_of, rule, evidence, since in rows.iter_rows():
        console.print(
            f"{model} decides {as_of}, as it has since {since}: {in_words(rule, 'chosen', json.loads(evidence))}"
        )
        console.print()


def pin(settings: Settings, model_name: str, number: int, *, by: str | None, reason: str, now: datetime) -> None:
    """Pin a version: from the next run on it is in use, whatever the promotion rule says.

    Raises:
        MissingData: there is no such version.
    """
    from fraud_pipelines.evaluation.promotion import pin_tags

    registry = _registry(settings)
    version = registry.get_version(model_name, number)
    registry.tag_version(model_name, version.version, pin_tags(by=by or getpass.getuser(), reason=reason, at=now))
    registry.set_alias(model_name, PINNED, version.version)
    console.print(
        f"{model_name}/{version.version}, trained for {version.partition}, is pinned. It scores every day that is run "
        f"from now on, the latest day again included, until fraud-pipelines models unpin {model_name}."
    )


def unpin(settings: Settings, model_name: str) -> None:
    """Leave the choice to the promotion rule again.

    Raises:
        InvalidInput: no version is pinned.
    """
    registry = _registry(settings)
    pinned = registry.aliases(model_name).get(PINNED)
    if pinned is None:
        raise InvalidInput(f"No version of {model_name} is pinned.")
    registry.set_alias(model_name, PINNED, None)
    console.print(f"{model_name}/{pinned} is no longer pinned; the next day's version is judged against it.")


def _registry(settings: Settings) -> ModelRegistry:
    return ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)


def _unknown(model_name: str) -> str:
    from fraud_pipelines.detection.backends import MODEL_NAMES

    return f"MLflow has no versions of {model_name!r}; the models are {', '.join(MODEL_NAMES.values())}."
