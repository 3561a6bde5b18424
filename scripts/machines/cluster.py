"""Ray, an engine for more than one machine; optional. What several scripts need of it: a connection, and packed files.

Sources: https://docs.ray.io/en/latest/ray-core/api/doc/ray.init.html (addresses, usage statistics) and
https://docs.ray.io/en/latest/ray-core/handling-dependencies.html (`py_modules`).
"""

import io
import logging
import os
import socket
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import PINS
from scripts.common.archives import extract, open_archive
from scripts.common.cli import UserError

ENGINES = ("local", "ray")
LOCAL = "local"  # Ray's own word for an address: start a Ray of one's own on this machine
# No statistics sent home, and few words on the terminal but our own.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "ERROR"}


def check_engine(engine: str) -> None:
    """Refuse the name of an engine that does not exist.

    Raises:
        UserError: there is none of this name.
    """
    if engine not in ENGINES:
        raise UserError(f"There is no engine {engine!r}, only {' and '.join(ENGINES)}.")


def knock(address: str) -> None:
    """See whether anyone listens at HOST:PORT. Ray itself would try for two minutes, then end this process.

    Raises:
        UserError: nobody does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"{address}: no Ray cluster answers there ({error}). Give HOST:PORT of its head, as `ray start --head` "
            "prints it, `auto`, or `local`."
        ) from None


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected; this project's `scripts` can be imported on every machine of the cluster.

    Args:
        address: HOST:PORT of a cluster, `auto` for the one that this machine belongs to, or `local`.

    Raises:
        UserError: Ray is not installed, or no cluster answers at the address.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError("The engine `ray` needs Ray. Install it: pip install -r requirements-ray.txt") from None
    if address not in (LOCAL, "auto"):
        knock(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={
                # A worker may share no disk with us: Ray copies the package to it.
                "py_modules": [str(Path(__file__).parent.parent)],
                # It imports NumPy before the package.
                "env_vars": {name: os.environ[name] for name in PINS if name in os.environ},
            },
            **own,
        )
    # What no cluster, a wrong token, or another version of Ray or Python raises differs from case to case.
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{address}: no Ray cluster that we can join. Start one with `ray start`, and run this on one of its "
            f"machines, with the same Python and Ray as on the others. ({reason:.300})"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def pack(root: Path, names: Iterable[str]) -> bytes:
    """Files and folders below a folder as the bytes of a tar archive; those that do not exist are left out."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            if (root / name).exists():
                archive.add(root / name, name, filter=lambda item: None if "__pycache__" in item.name else item)
    return stream.getvalue()


def unpack(data: bytes, root: Path) -> None:
    """Write what `pack` packed below a folder.

    Raises:
        UserError: it is damaged, or holds what could write elsewhere.
    """
    try:
        with open_archive(io.BytesIO(data)) as archive:
            extract(archive, root)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"What came from another machine of the cluster is damaged: {error}. Run it again.") from None
