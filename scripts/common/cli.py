"""Errors for users, and command lines that show them as one message."""

import sys
from collections.abc import Callable

import typer
from wasabi import msg


class UserError(Exception):
    """Something the user can mend. The message names the place and the mend; no traceback is shown."""


def run_cli(command: Callable[..., None]) -> None:
    """Run a function as a Typer command line; a `UserError` becomes one message and exit status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except UserError as error:
        msg.fail(str(error))
        sys.exit(1)
