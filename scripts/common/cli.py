"""Errors for users, and command lines that show them as one message."""

import logging
import sys
from collections.abc import Callable

import typer
from wasabi import msg


class UserError(Exception):
    """Something the user can mend. The message names the place and the mend; no traceback is shown."""


def is_apt(record: logging.LogRecord) -> bool:
    """Whether a warning of transformers applies: long texts are cut into windows, so no index goes wrong."""
    return "indexing errors" not in record.getMessage()


def run_cli(command: Callable[..., None]) -> None:
    """Run a function as a Typer command line; a `UserError` becomes one message and exit status 1."""
    logging.getLogger("transformers.tokenization_utils_base").addFilter(is_apt)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except UserError as error:
        msg.fail(str(error))
        sys.exit(1)
