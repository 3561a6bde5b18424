"""Tasks for the annotation tool Prodigy: a choice among all labels, with an answer filled in that can be changed.

Source: https://prodi.gy/docs/api-interfaces#choice. What Prodigy makes of them, `convert` reads as files `annotated*`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scripts.common.files import whole_file, write_jsonl


def make_task(
    text: str, labels: Sequence[str], accept: Sequence[str], exclusive: bool, meta: dict[str, Any]
) -> dict[str, Any]:
    """A choice task.

    Args:
        text: what is to be labelled.
        labels: all of them.
        accept: those filled in.
        exclusive: whether only one can be chosen.
        meta: what is shown beside the text.
    """
    return {
        "text": text,
        "options": [{"id": label, "text": label} for label in labels],
        "accept": list(accept),
        "config": {"choice_style": "single" if exclusive else "multiple"},
        "meta": meta,
    }


def write_tasks(path: Path, tasks: Iterable[dict[str, Any]]) -> None:
    """Write tasks, one a line, whole or not at all."""
    with whole_file(path) as temporary:
        write_jsonl(temporary, tasks)


def say(labels: Sequence[str]) -> str:
    """Labels as one text."""
    return ", ".join(labels) or "(none)"
