"""The head of a README as the Hugging Face hub writes it: YAML between two lines of three dashes.

See https://huggingface.co/docs/hub/datasets-cards.
"""

import re
from typing import Any

import srsly

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---(?:\n|\Z)", re.S)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """What the head of a README says, nothing if there is none or it is broken; and the text below it."""
    front = FRONT_MATTER.match(text)
    if front is None:
        return {}, text
    try:
        card = srsly.yaml_loads(front[1])
    except ValueError:
        card = {}
    return card if isinstance(card, dict) else {}, text[front.end() :]
