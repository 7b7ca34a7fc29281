"""``fraud-pipelines backup``, ``restore`` and ``relocate``: an installation in another place, as of one moment."""

import shutil
from pathlib import Path

import click

from fraud_pipelines.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=_FOLDER)
def backup(folder: Path) -> None:
    """Copy all that is stored into FOLDER, while runs go on.

    Tables, landing zones, settings in the data directory, models, Dagster's records; not .env. FOLDER must not exist.
    """
    from fraud_pipelines.bootstrap import publication_of
    from fraud_pipelines.recovery.backup import back_up

    settings = Settings.from_environment()
    publication_of(settings).settle()
    copy = back_up(settings, folder)
    files = len(copy.manifest.files)
    click.echo(f"{copy.folder}: {copy.bytes / 1e6:,.1f} MB in {files:,} files, in {copy.seconds:.1f} s.")
    for each in copy.manifest.left_out:
        click.echo(f"Not in it: {each}. Back them up there.")


@click.command()
@click.argument("folder", type=_FOLDER)
def restore(folder: Path) -> None:
    """Make an installation of the backup in FOLDER.

    It is made where the settings say, by default in ./data, where nothing may be.
    """
    settings = Settings.from_environment()
    _restore(settings, folder)
    click.echo(f"Restored into {settings.data_dir}. fraud-pipelines doctor says whether all is well.")


@click.command()
@click.argument("folder", type=_FOLDER)
def relocate(folder: Path) -> None:
    """Copy the installation to FOLDER, ready for use.

    On this machine: for another one, use backup and restore. What is stored here stays as it is.
    """
    from fraud_pipelines.bootstrap import publication_of
    from fraud_pipelines.recovery.backup import back_up

    settings, target = Settings.from_environment(), folder.expanduser().resolve()
    publication_of(settings).settle()
    copy = back_up(settings, target.with_name(f"{target.name}.moving"))
    try:
        _restore(Settings(data_dir=target, warehouse=settings.warehouse), copy.folder)
    finally:
        shutil.rmtree(copy.folder, ignore_errors=True)
    click.echo(f"{target} is ready: set FRAUD_DATA_DIR={target}. What was stored since the copy began is only here.")


def _restore(settings: Settings, folder: Path) -> None:
    import dagster as dg

    from fraud_pipelines.bootstrap import prepare_dagster_home, publication_of
    from fraud_pipelines.defs.abandoned_runs import close_restored_runs
    from fraud_pipelines.recovery import restore as recovery

    manifest = recovery.restore(settings, folder)
    publication_of(settings).settle()
    prepare_dagster_home(settings.dagster_home)
    with dg.DagsterInstance.get() as instance:
        for run in close_restored_runs(instance):
            partition = run.tags.get("dagster/partition")
            click.echo(f"A run was under way: {run.job_name}{f' for {partition}' if partition else ''}. Run it again.")
    click.echo(f"The backup is of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC.")
    for each in manifest.left_out:
        click.echo(f"Not in it: {each}.")
