"""``fraud-pipelines token``: which token is stored in place of an id."""

import click

from fraud_pipelines.settings import Settings


@click.command()
@click.argument("value")
def token(value: str) -> None:
    """Print the token of an id.

    Rules, policies and SQL are about stored values: with FRAUD_PII_KEY they name tokens.
    """
    from fraud_pipelines.errors import MissingData
    from fraud_pipelines.plan.tokens import Tokens

    key = Settings.from_environment().token_key
    if not key:
        raise MissingData("FRAUD_PII_KEY is not set: ids are stored as they are.")
    click.echo(Tokens(key).of(value))
