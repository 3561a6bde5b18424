"""Look at a data set before training on it: what will go wrong, what may, and `spacy debug data`.

Errors are what `convert` would refuse; warnings are what makes scores bad or untrue. Both go to a summary and to JSON.
"""

import contextlib
import io
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from spacy.cli.debug_data import debug_data
from wasabi import msg

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, write_json, write_text
from scripts.common.locks import check_dataset
from scripts.data.corpus import blank_pipeline, check_assets, read_dataset, write_corpus
from scripts.data.estimates import estimate
from scripts.data.formats import AUTO, NONE, Example, Notes, Options, Splits, read_raw
from scripts.data.labels import all_examples, check_labels, find_joined, keep_learnable, resolve_mode
from scripts.data.language import (
    ENOUGH_WORDS,
    language_shares,
    likelier,
    resolve_language,
    sample_texts,
    word_pattern,
)
from scripts.data.splits import MAX_SHINGLE_HOLDERS, NEAR_DUPLICATE, assert_honest, complete_splits, normalize, shingles
from scripts.encoder.encoders import is_weights_folder, resolve
from scripts.encoder.languages import why_unfit
from scripts.evaluation.scores import detectable
from scripts.linear.svm import is_large
from scripts.training.config import compose_config, task_settings
from scripts.vectors.words import MIN_COUNT

FEW_TO_TRAIN = 20  # examples of a label; below, even pretrained encoders guess
FEW_TO_SCORE = 10  # of a label in dev or test; below, its F1 moves by whole tenths
FEW_TEXTS = 2000  # labelled; below, one split leaves too few to test
MOST_DEV, LEFT_DEV = 0.5, 0.1  # texts for each of train, and what of both is enough
NEAR_COPY_WORDS = 15  # of a text, at the least, to be told from another in nearly the same words
PERCENTILES = (50, 90, 99, 100)
# Of linear, for each label of a text of so many words: one fit to 600,000 of them took 7.5 s of an AMD EPYC.
LINEAR_SECONDS, SHORT_TEXT = 1e-4, 20
SHOWN = 5  # cases of one finding that are listed


class Findings:
    """Errors and warnings, each with the cases behind it."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def add(self, level: str, kind: str, text: str, cases: Sequence[str] = ()) -> None:
        """Note one finding.

        Args:
            level: `error` or `warning`.
            kind: a short name, for programs.
            text: what it is and what to do.
            cases: where; the first few are kept.
        """
        self.items.append({"level": level, "kind": kind, "text": text, "cases": list(cases[:SHOWN])})

    def attempt(self, kind: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a step; what the user must mend becomes an error, and the result None."""
        try:
            return step(*arguments)
        except UserError as error:
            self.add("error", kind, str(error))
            return None

    @property
    def errors(self) -> int:
        """The number of errors."""
        return sum(item["level"] == "error" for item in self.items)


def label_counts(splits: Splits) -> dict[str, dict[str, int]]:
    """Examples of each label in each split, most frequent labels first; `(none)` counts texts without a label."""
    by_split = {
        split: Counter(label for e in examples for label in e.labels or ("(none)",))
        for split, examples in splits.items()
    }
    total: Counter[str] = sum(by_split.values(), Counter())
    return {label: {split: counts[label] for split, counts in by_split.items()} for label, _ in total.most_common()}


def find_few(counts: dict[str, dict[str, int]], findings: Findings) -> None:
    """Note labels with too few examples to learn or to score them."""
    for split, limit, what in (
        ("train", FEW_TO_TRAIN, "to learn from; add some, or merge labels"),
        ("dev", FEW_TO_SCORE, "to choose settings by; a larger dev set tells more"),
        ("test", FEW_TO_SCORE, "for a score that means something"),
    ):
        rarest = sorted((n.get(split, 0), label) for label, n in counts.items())
        few = [f"{label}: {count}" for count, label in rarest if count < limit]
        if few:
            text = f"{len(few)} label(s) with fewer than {limit} examples in {split} {what}"
            findings.add("warning", f"few_in_{split}", text, few)


def find_few_texts(splits: Splits, findings: Findings) -> None:
    """Recommend cross-validation where a single test set tells little."""
    total, tested = sum(map(len, splits.values())), len(splits["test"])
    if tested and total < FEW_TEXTS:
        findings.add(
            "warning",
            "few_texts",
            f"{total:,} labelled texts, of which {tested} are tested: two variants must differ by some "
            f"{100 * detectable(tested):.1f} points of accuracy to be told apart. Cross-validation tests all of them, "
            f"once each, and can tell some {100 * detectable(total):.1f} points: --vars.grid folds, for experiment and "
            "compare (docs/measured.md)",
        )


def find_large_dev(splits: Splits, counts: dict[str, dict[str, int]], findings: Findings) -> None:
    """Note a dev set most of which would be of more use for training; of no label would too few texts remain."""
    dev, train = len(splits["dev"]), len(splits["train"])
    rarest = min((n.get("dev", 0) for label, n in counts.items() if label != "(none)"), default=0)
    if dev > MOST_DEV * train and rarest * LEFT_DEV * (dev + train) / dev >= FEW_TO_SCORE:
        text = (
            f"dev has {dev:,} texts, train {train:,}. All but linear and compact learn from train alone: move most "
            "of dev there; a tenth of all is enough to choose by"
        )
        findings.add("warning", "large_dev", text)


def find_repeats(given: Splits, findings: Findings) -> None:
    """Note texts that occur more than once, apart from case and punctuation, and those with different labels."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in all_examples(given):
        groups[normalize(example.text)].append(example)
    repeated = [members for members in groups.values() if len(members) > 1]
    conflicts = [members for members in repeated if len({example.labels for example in members}) > 1]
    if conflicts:
        cases = [
            f"{members[0].text!r:.60}: " + " | ".join(f"{e.source}: {e.labels}" for e in members[:3])
            for members in conflicts
        ]
        text = (
            f"{len(conflicts)} text(s) with conflicting labels; convert leaves those in train out. Decide on one label"
        )
        findings.add("warning", "conflicting_labels", text, cases)
    if repeated:
        cases = [f"{' = '.join(e.source for e in members[:3])}: {members[0].text!r:.60}" for members in repeated]
        text = f"{len(repeated)} text(s) more than once; convert keeps one, and none that stands in dev or test"
        findings.add("warning", "repeated_texts", text, cases)


def near_duplicates(held_out: Sequence[Example], others: Sequence[Example]) -> Iterator[tuple[Example, Example]]:
    """Pairs of a held-out and another text that share half of the five-word runs of the shorter one.

    Texts of fewer than `NEAR_COPY_WORDS` words are passed over, and so are runs that many texts share: people put
    the same question in nearly the same words. Only the runs of the held-out texts are kept in memory.
    """
    runs = [shingles(example.text) if is_long(example) else set() for example in held_out]
    holders = defaultdict(list)
    for index, found in enumerate(runs):
        for run in found:
            holders[run].append(index)
    others = [other for other in others if is_long(other)]
    uses = Counter(run for other in others for run in shingles(other.text) if run in holders)
    for other in show_progress(others, desc="near-copies", unit=" texts"):
        own = {run for run in shingles(other.text) if uses[run] + len(holders.get(run, ())) <= MAX_SHINGLE_HOLDERS}
        shared = Counter(index for run in own for index in holders.get(run, ()))
        for index, count in shared.items():
            if count >= NEAR_DUPLICATE * min(len(own), len(runs[index])):
                yield held_out[index], other


def is_long(example: Example) -> bool:
    """Whether a text has so many words that it does not resemble another by chance."""
    return len(normalize(example.text).split()) >= NEAR_COPY_WORDS


def find_near_duplicates(splits: Splits, findings: Findings) -> None:
    """Note dev or test texts that have a near-copy in train (or test texts that have one in dev)."""
    for held, others in (("test", ("train", "dev")), ("dev", ("train",))):
        pairs = list(near_duplicates(splits[held], [example for split in others for example in splits[split]]))
        if pairs:
            texts = len({first.source for first, _ in pairs})
            cases = [f"{a.source} ~ {b.source}: {a.text!r:.60}" for a, b in pairs]
            findings.add(
                "warning",
                f"near_duplicates_{held}",
                f"{texts} of {len(splits[held])} {held} texts share half of their five-word runs with a text of "
                f"{' or '.join(others)}; their score flatters. If the split is your own, split by document; an "
                "official test set stays as it is: leave such texts out of train",
                cases,
            )


# Length and language


def open_tokenizer(encoder: str) -> tuple[Any, int] | None:
    """An encoder's tokenizer, and how many word pieces it can read; None if it is not on this machine."""
    folder = Path(resolve(encoder))
    tokenizer, config = folder / "tokenizer.json", folder / "config.json"
    if not (tokenizer.is_file() and config.is_file()):
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    counter = Tokenizer.from_file(str(tokenizer))
    counter.no_truncation()
    counter.no_padding()
    return counter, read_json(config).get("max_position_embeddings", 512)


def percentiles(values: Sequence[int]) -> dict[str, int]:
    """Some percentiles of whole numbers, by nearest rank."""
    return {f"p{p}": int(np.percentile(values, p, method="higher")) for p in PERCENTILES}


def find_language(words: Counter[str], lang: str, findings: Findings) -> dict[str, float]:
    """Note a language other than the set one, going by stop words; return the shares of the three likeliest."""
    if words.total() < ENOUGH_WORDS:
        return {}
    shares = language_shares(words)
    own = shares.get(lang)
    if best := likelier(shares, lang):
        findings.add(
            "warning",
            "language",
            f"lang is {lang!r}, but {shares[best]:.0%} of the words are stop words of {best!r}, only {own:.0%} of "
            f"{lang!r}. Correct it: --vars.lang {best}",
        )
    return {name: round(value, 4) for name, value in list(shares.items())[:3]} | ({lang: round(own, 4)} if own else {})


def measure_texts(splits: Splits, lang: str, encoder: str, raw: bool, findings: Findings) -> dict[str, Any]:
    """Percentiles of the texts' lengths, in words and, if it can be, in the encoder's word pieces; language.

    With `raw` there is raw text besides, which has words enough.
    """
    nlp = blank_pipeline(lang)
    counter = open_tokenizer(encoder)
    words: Counter[str] = Counter()
    lengths, pieces = [], []
    examples = all_examples(splits)
    for example in show_progress(examples, desc="lengths", unit=" texts"):
        tokens = nlp.make_doc(example.text)
        lengths.append(len(tokens))
        words.update(token.lower_ for token in tokens if token.is_alpha or word_pattern().fullmatch(token.text))
        if counter:
            pieces.append(len(counter[0].encode(example.text).ids))
    result: dict[str, Any] = {"words": percentiles(lengths)}
    if counter:
        limit = counter[1]
        long = sum(count > limit for count in pieces)
        result |= {"word_pieces": percentiles(pieces), "encoder": encoder, "encoder_limit": limit, "over_limit": long}
        if long:
            findings.add(
                "warning",
                "long_texts",
                f"{long} text(s) have more than the {limit} word pieces that {encoder} can read at once. Transformers "
                "read the start of a text, in windows: max_words in configs/transformer.cfg",
            )
        if reason := why_unfit(encoder, lang, counter[0], [example.text for example in examples]):
            findings.add("warning", "encoder_language", reason)
    if not raw and sum(count >= MIN_COUNT for count in words.values()) < 2:
        findings.add(
            "warning",
            "few_words",
            f"Hardly a word occurs {MIN_COUNT} times. Without raw text, vectors, pruned, floret, distilled, "
            "pretrain-vectors and compact-domain are skipped, and the other compact* know the encoder's words alone.",
        )
    result["stop_word_shares"] = find_language(words, lang, findings)
    return result


# spaCy's own check


def run_debug_data(task: dict[str, Any], corpus: Path, configs: Path) -> str:
    """What `spacy debug data` prints about a corpus that convert would write.

    Args:
        task: its facts.
        corpus: the folder with it; a config is written there.
        configs: folder of the configs.
    """
    settings = task_settings(task) | {"paths.corpus": corpus.as_posix()}
    path = corpus / "config.cfg"
    write_text(path, compose_config(configs / "bow.cfg", settings).to_str() + "\n")
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        debug_data(path, no_format=True, silent=False)
    return output.getvalue().strip()


def inspect(
    given: Splits, wanted: str, lang: str, encoder: str, raw: bool, configs: Path, findings: Findings, probe: bool
) -> dict[str, Any]:
    """All that can be said about a data set that could be read; with `probe`, the time that trainings will take."""
    facts: dict[str, Any] = {"given": {split: len(examples) for split, examples in given.items()}}
    find_repeats(given, findings)
    mode, reason = findings.attempt("mode", resolve_mode, given, wanted) or ("multi", "")
    labels = findings.attempt("labels", check_labels, given, mode)
    if joined := find_joined(labels or ()):
        findings.add("warning", "joined_labels", joined)
    splits = findings.attempt("splits", complete_splits, given)
    if splits is None:
        return facts
    if labels and (kept := findings.attempt("labels", keep_learnable, splits, labels, mode)):
        splits, labels, unlearned = kept
        if unlearned:
            findings.add("warning", "unlearned_labels", unlearned)
    findings.attempt("splits", assert_honest, splits)
    counts = label_counts(splits)
    facts |= {
        "mode": mode,
        "mode_because": reason,
        "examples": {split: len(examples) for split, examples in splits.items()},
        "labels": counts,
    }
    find_few({label: n for label, n in counts.items() if label != "(none)"}, findings)
    find_near_duplicates(splits, findings)
    find_few_texts(splits, findings)
    find_large_dev(splits, counts, findings)
    if any(splits.values()):
        facts["length"] = measure_texts(splits, lang, encoder, raw, findings)
    if not findings.errors:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder)
            task = write_corpus(splits, labels, (), lang, "check", mode, corpus)
            msg.info(f"spacy debug data reads {sum(map(len, splits.values())):,} texts")
            facts["debug_data"] = run_debug_data(task, corpus, configs).splitlines()
            if probe:
                fits = not any(item["kind"] == "encoder_language" for item in findings.items)
                source = resolve(encoder) if fits and encoder != NONE else NONE
                known = estimate(task, corpus, configs, source if is_weights_folder(Path(source)) else None)
                facts["estimates"] = [found._asdict() for found in known]
    return facts


def show(facts: dict[str, Any], findings: Findings) -> None:
    """Print the summary."""
    if "labels" in facts:
        msg.divider(f"{facts['mode']}: {facts['mode_because']}")
        rows = [(label, *counts.values()) for label, counts in facts["labels"].items()]
        rows.append(("texts", *facts["examples"].values()))
        msg.table(rows, header=("label", *facts["examples"]), aligns=("l", "r", "r", "r"), divider=True)
    for unit in ("words", "word_pieces"):
        if unit in facts.get("length", {}):
            values = ", ".join(f"{name} {value:,}" for name, value in facts["length"][unit].items())
            msg.info(f"Length in {unit.replace('_', ' ')}: {values}")
    if "debug_data" in facts:
        msg.divider("spacy debug data")
        print("\n".join(facts["debug_data"]))
    if "estimates" in facts:
        msg.divider("Training on this machine, at most")
        rows = [
            (found["variant"], f"{found['minutes']:.1f}", f"{found['memory_bytes'] / 1e9:.1f}")
            for found in facts["estimates"]
        ]
        msg.table(rows, header=("variant", "minutes", "memory GB"), aligns=("l", "r", "r"), divider=True)
        minutes = linear_minutes(facts)
        takes = f"some {minutes:.0f} minutes" if minutes > 2 else "a minute or two at most"
        msg.info(f"linear takes {takes}. The times in help texts are those of BBC headlines.")
    msg.divider("Findings")
    for item in findings.items:
        if item["level"] == "error":
            msg.fail(item["text"])
        else:
            msg.warn(item["text"])
        for case in item["cases"]:
            print(f"    {case}")


def linear_minutes(facts: dict[str, Any]) -> float:
    """What fitting the linear model takes, some eight fits whose time goes with texts, their words, and labels.

    Where dev is large, that is done twice.
    """
    median = next(iter(facts["length"]["words"].values()))
    train, dev = (facts["examples"][split] for split in ("train", "dev"))
    texts = 2 * train + dev if is_large(dev, train, len(facts["labels"])) else train
    return texts * max(1.0, median / SHORT_TEXT) * len(facts["labels"]) * LINEAR_SECONDS / 60


def check(
    dataset: Annotated[str, typer.Argument(help="Name of the data set: a folder of --assets.")],
    output: Annotated[Path, typer.Argument(help="JSON file to write.")],
    assets: Annotated[Path, typer.Option(help="Folder that holds the data sets.")] = Path("assets"),
    project: Annotated[Path, typer.Option(help="File with the checksums of the assets.")] = Path("project.yml"),
    config: Annotated[Path, typer.Option(help="Folder of the configs.")] = Path("configs"),
    lang: Annotated[str, typer.Option(help="spaCy's code of the language; auto goes by README.md and words.")] = AUTO,
    encoder: Annotated[str, typer.Option(help="Encoder whose limit counts: as for `weights`.")] = NONE,
    format_: Annotated[str, typer.Option("--format", help="Form of the files; auto goes by their content.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    label_column: Annotated[str, typer.Option(help="Column of the labels, or columns of 0 and 1: a,b,c.")] = AUTO,
    label_separator: Annotated[str, typer.Option(help="Between several labels in one column.")] = NONE,
    mode: Annotated[str, typer.Option(help="single, multi or binary; auto goes by the data.")] = AUTO,
    probe: Annotated[bool, typer.Option(help="Time some updates of some variants, to say what all will take.")] = True,
) -> None:
    """Check a data set; errors end with status 1, warnings do not."""
    findings, notes = Findings(), Notes()
    options = Options(format_, text_column, label_column, label_separator, mode)
    folder = check_dataset(dataset, assets)
    findings.attempt("assets", check_assets, project, folder)
    if lang != AUTO:
        findings.attempt("language", blank_pipeline, lang)
    given = findings.attempt("reading", read_dataset, folder, options, notes)
    if given and not findings.errors:
        lang, reason = resolve_language(lang, folder, sample_texts(given))
        findings.attempt("language", blank_pipeline, lang)
        msg.info(f"Language {lang}: {reason}")
    facts: dict[str, Any] = {"dataset": dataset, "lang": lang, "formats": notes.formats}
    for line in notes.lines():
        findings.add("warning", "reading", line)
    if given and not findings.errors:
        raw = findings.attempt("raw", any, read_raw(folder, text_column)) or any(e.raw for e in given["train"])
        facts |= inspect(given, mode, lang, encoder, bool(raw), config, findings, probe)
    show(facts, findings)
    write_json(output, facts | {"findings": findings.items})
    warnings = len(findings.items) - findings.errors
    if findings.errors:
        raise UserError(
            f"{output}: {findings.errors} error(s), {warnings} warning(s). Mend the errors before training."
        )
    msg.good(f"{output}: no errors, {warnings} warning(s)")


if __name__ == "__main__":
    run_cli(check)
