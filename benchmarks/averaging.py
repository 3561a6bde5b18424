"""What averaging a fine-tuned transformer with where it started brings, by the share of what it has learned.

    python -m benchmarks.averaging training/bbc/transformer corpus/bbc

prints for each share macro-F1 and log loss on dev and test, the loss also once the factor is applied that calibrates on
dev. Without the linear model, if the pipeline carries one. What was learned is worked out from the stored pipeline,
which is an average itself since `train.json` says so.
"""

import sys
from pathlib import Path

import spacy
from spacy.cli._util import import_code
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from scripts.common.files import read_json
from scripts.common.finished import BEST, CONFIG, FACTS
from scripts.evaluation.thresholds import COMPONENT, best_threshold, given_labels, gold_and_scores, macro_f1
from scripts.linear.mixing import logits_of
from scripts.training.choosing import SHARES, calibrate, log_losses, read_numbers, write_numbers


def main(run: Path, corpus: Path) -> None:
    """Print the table."""
    import_code("scripts/components.py")
    nlp, facts = spacy.load(run / BEST), read_json(run / FACTS)
    exclusive, model = nlp.get_pipe_meta(COMPONENT).factory == "textcat", nlp.get_pipe(COMPONENT).model
    if "mixed" in model.attrs:
        model.attrs["mixed"] = False
    before, learned = read_numbers(init_nlp(load_config(run / CONFIG))), read_numbers(nlp)
    if known := facts.get("averaged"):
        # On a straight line from where it started, beyond the average, is what was learned.
        average = learned._replace(layer={name: value / known["factor"] for name, value in learned.layer.items()})
        write_numbers(nlp, before, average, 1 / known["share"])
        learned = read_numbers(nlp)
    print("| share | F1 dev | loss dev | calibrated | F1 test | loss test | calibrated |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for share in sorted(SHARES, reverse=True):
        write_numbers(nlp, before, learned, share)
        cells, factor, threshold = [], 1.0, None
        for split in ("dev", "test"):
            gold, scores = gold_and_scores(nlp, corpus / f"{split}.spacy")
            logits = logits_of(scores, exclusive)
            if split == "dev":
                factor, _ = calibrate(gold, logits, exclusive)
                threshold = None if exclusive else best_threshold(gold, scores)
            losses = (log_losses(gold, times * logits, exclusive).mean() for times in (1.0, factor))
            f1 = macro_f1(gold, given_labels(scores, threshold))
            cells += [f"{value:.3f}" for value in (f1, *losses)]
        print(f"| {share} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
