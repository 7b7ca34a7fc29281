"""Options that say where a page listens, and under which names it may be asked for."""

import click

PORT = click.IntRange(1, 65_535)
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
allow_host_option = click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name the pages may be asked for under, as behind a proxy; FRAUD_ALLOWED_HOSTS has more.",
)
