"""Whether a pipeline gives the same on another processor, real or emulated.

    python -m benchmarks.processors training/bbc/transformer-int8/model-best corpus/bbc/dev.spacy here.npy
    qemu-x86_64 -cpu Haswell .venv/bin/python -m benchmarks.processors \
        training/bbc/transformer-int8/model-best corpus/bbc/dev.spacy here.npy

labels the first texts of a DocBin. The first call writes their scores to the file, further ones compare with it.
"""

import os
import platform
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from scripts.evaluation.measure import hide_torch  # noqa: E402

hide_torch()

import numpy as np  # noqa: E402
import spacy  # noqa: E402
from spacy.tokens import DocBin  # noqa: E402
from spacy.util import import_file  # noqa: E402

TEXTS = 40  # an emulated processor is slow


def main(model: str, texts: str, path: str) -> None:
    """Write the scores of a pipeline, or compare them."""
    import_file("python_code", "scripts/components.py")
    nlp = spacy.load(model)
    docs = nlp.pipe([doc.text for doc in DocBin().from_disk(texts).get_docs(nlp.vocab)][:TEXTS])
    scores = np.array([list(doc.cats.values()) for doc in docs])
    if not Path(path).is_file():
        np.save(path, scores)
        return
    other = np.load(path)
    same = (scores.argmax(axis=1) == other.argmax(axis=1)).mean()
    print(
        f"{platform.machine()}: scores differ by {np.abs(scores - other).max():.1g} at most, {same:.1%} of labels equal"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
