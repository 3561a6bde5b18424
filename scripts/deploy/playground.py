"""Start the playground: try all trained variants on a text of yours, in the browser."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.deploy.answers import MAX_UPLOAD_MB, find_variants

APP = Path(__file__).with_name("playground_app.py")


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def start_streamlit() -> None:
    """Run Streamlit's command line with sys.argv."""
    from streamlit.web.cli import main

    main()


def playground(
    training: Annotated[Path, typer.Argument(help="Folder of the trained variants.")],
    address: Annotated[str, typer.Option(help="Who can reach it: localhost, or 0.0.0.0 for all.")] = "localhost",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8501,
) -> None:
    """Serve the playground until it is stopped with Ctrl+C."""
    if not is_installed("streamlit"):
        raise UserError("The playground needs Streamlit: pip install -r requirements-play.txt")
    variants, missing = find_variants(training, Path("."))
    if not variants:
        raise UserError(f"{training}: no trained variant. Train one first: python -m spacy project run bow")
    if missing:
        msg.info(f"Not trained, left out: {', '.join(missing)}")
    settings = {
        "server.address": address,
        "server.port": port,
        "server.headless": "true",  # else the first start asks for an e-mail address
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        # One for each scheme: a single colour would make the page light for all.
        "theme.light.primaryColor": "#0a6c74",
        "theme.dark.primaryColor": "#59c6c4",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    sys.argv = ["streamlit", "run", str(APP), *options, "--", str(training)]
    # In this process, so that nothing is left behind when it is stopped, however that is done.
    start_streamlit()


if __name__ == "__main__":
    run_cli(playground)
