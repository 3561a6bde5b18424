"""Published data sets in forms of their own, as toy files; and what is counted when raw text is cleaned."""

import io
import shutil
import tarfile
import zipfile
from collections import Counter

import pytest

from scripts.common.cli import UserError
from scripts.data.corpus import clean_raw, read_dataset
from scripts.data.formats import Example, Notes, Options
from scripts.data.published import (
    RATED_ARCHIVE,
    RATED_MEMBER,
    RATED_PACKAGE,
    READERS,
    find_reader,
    read_gnad,
    read_sst2,
    read_trec,
)
from tests.conftest import ROOT


def rated(member, lines):
    """The package vaderSentiment with one file of ratings."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        info = tarfile.TarInfo(RATED_MEMBER.format(member))
        info.size = len(lines)
        tar.addfile(info, io.BytesIO(lines))
    with zipfile.ZipFile(outer, "w") as package:
        package.writestr(RATED_ARCHIVE, inner.getvalue())
    return {RATED_PACKAGE: outer.getvalue()}


FILES = {
    "sst2": {
        "stsa.binary.train": b"1 a fine film\r\n\r\n0 caf\xc3\xa9 scenes , dull\n",
        "stsa.binary.dev": b"0 no 1 likes it\n",
        "stsa.binary.test": b"1 good\n",
    },
    "trec": {"TREC.train": b"HUM:ind Who is Ren\xe9 ?\nNUM:date When : now ?\n", "TREC.test": b"LOC:city Where ?\n"},
    "gnad": {"test.csv": "Web;'Schnell; und groß'\nSport;Österreich siegt\n".encode()},
    # By their hashes the documents 1 of amazon and 2 of tweets are test.
    "amazon": rated(
        "amazonReviewSnippets",
        b"2_1\t0.55\tcaf\xe9 is fine\r\n2_2\t-2\tdull\r\n1_1\t-0.5\tblue\r\n1_2\t-0.6\tbad\r\n",
    ),
    "tweets": rated("tweets", b"1\t3.1\tYay :)\n2\t-1.5\tnay\n"),
}


def write(folder, name, **changed):
    folder = folder / name
    folder.mkdir()
    for file, content in (FILES[name] | changed).items():
        (folder / file).write_bytes(content)
    return folder


def labelled(splits):
    return {split: [(example.text, example.labels) for example in examples] for split, examples in splits.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sst2", {
            "train": [("a fine film", ("positive",)), ("café scenes , dull", ("negative",))],
            "dev": [("no 1 likes it", ("negative",))], "test": [("good", ("positive",))]}),
        ("trec", {
            "train": [("Who is René ?", ("HUM",)), ("When : now ?", ("NUM",))], "test": [("Where ?", ("LOC",))]}),
        ("gnad", {"train": [("Schnell; und groß", ("Web",)), ("Österreich siegt", ("Sport",))]}),
        ("amazon", {
            "train": [("café is fine", ("positive",)), ("dull", ("negative",))], "test": [("bad", ("negative",))]}),
        ("tweets", {"train": [("Yay :)", ("positive",))], "test": [("nay", ("negative",))]}),
    ],
)  # fmt: skip
def test_each_form_is_read(tmp_path, name, expected):
    folder = write(tmp_path, name)
    assert labelled(READERS[name](folder)) == expected
    assert labelled(read_dataset(folder, Options(), Notes())) == expected, "by the folder's name"


def test_a_text_knows_its_line_blank_ones_counted(tmp_path):
    (_, second) = read_sst2(write(tmp_path, "sst2"))["train"]
    assert second.source.endswith("stsa.binary.train, line 3")


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("sst2", "stsa.binary.dev", b"1 good\n2 bad\n", r"binary\.dev, line 2: expected 0 or 1.*found '2 bad'"),
        ("sst2", "stsa.binary.test", b"1\n", r"binary\.test, line 1: expected 0 or 1, a space and a text, found '1'"),
        ("trec", "TREC.train", b"HUM:ind Who ?\nHUM Who ?\n", r"TREC\.train, line 2: expected CLASS:subclass"),
        ("trec", "TREC.test", b":ind Who ?\n", r"TREC\.test, line 1: expected CLASS:subclass, a space and a question"),
        ("gnad", "test.csv", b"Web;a\nWeb;b;c\n", r"test\.csv, record 2: expected a section.*found 'Web;b;c'"),
        ("tweets", RATED_PACKAGE, rated("tweets", b"1\t3\ta\n2\tb\n")[RATED_PACKAGE], r"line 2: expected an id"),
        ("tweets", RATED_PACKAGE, rated("other", b"")[RATED_PACKAGE], r"\.zip: is not as published .*fetch it"),
        ("amazon", RATED_PACKAGE, FILES["amazon"][RATED_PACKAGE][:-30], r"\.zip: is not as published .*fetch it again"),
        ("sst2", "stsa.binary.train", b"1 caf\xe9\n", r"binary\.train: is not utf-8 .*fetch it again"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path, name, file, content, said):
    with pytest.raises(UserError, match=said):
        READERS[name](write(tmp_path, name, **{file: content}))


def test_a_long_broken_line_is_cut_short(tmp_path):
    with pytest.raises(UserError) as error:
        read_trec(write(tmp_path, "trec", **{"TREC.train": b"x" * 5000}))
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("reader", [read_sst2, read_trec, read_gnad, READERS["amazon"]])
def test_a_missing_file_says_how_to_fetch_it(tmp_path, reader):
    with pytest.raises(UserError, match="no such file. Fetch it: python -m spacy project assets . --extra"):
        reader(tmp_path)


@pytest.mark.parametrize("name", ["bbc", "bbc-articles"])
def test_what_lies_in_the_folder_of_a_data_set_that_comes_in_a_package_is_read(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "README.md").write_text("News.", encoding="utf-8")
    assert find_reader(folder) is READERS[name]
    (folder / "train.jsonl").write_text('{"text": "the goal", "label": "a"}', encoding="utf-8")
    assert find_reader(folder) is None


def test_own_data_beside_the_readme_of_others_are_said_to_go_by_it(tmp_path, run):
    folder = tmp_path / "assets" / "bbc"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "assets" / "bbc" / "README.md", folder)
    lines = [f'{{"text": "text {i}", "label": "{"ab"[i % 2]}"}}' for i in range(40)]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    note = "the README of the published 'bbc', by whose language and licence your data go"
    assert note in " ".join(run("convert", "bbc", "corpus").output.split())
    (folder / "README.md").write_text("- **Licence.** Ours.", encoding="utf-8")
    assert note not in " ".join(run("convert", "bbc", "corpus").output.split())


@pytest.mark.parametrize("name", ["tweets", "amazon", "trec"])
def test_somebodys_own_data_may_have_the_name_of_a_published_one(tmp_path, run, name):
    folder = tmp_path / "assets" / name
    folder.mkdir(parents=True)
    lines = [
        f'{{"text": "the {label} of day {i}", "label": "{label}"}}' for i in range(20) for label in ("goal", "bank")
    ]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    file = next(iter(FILES[name]))
    asset = f"assets:\n  - dest: assets/{name}/{file}\n    checksum: abc\n"
    (tmp_path / "project.yml").write_text(asset, encoding="utf-8")
    process = run("convert", name, "corpus")
    assert process.returncode == 0 and "2 labels" in process.output, process.output
    # As soon as one of the published files is there, it is the published data set.
    (folder / file).write_bytes(FILES[name][file])
    process = run("convert", name, "corpus")
    assert process.returncode == 1 and f"{file}: its checksum is" in " ".join(process.output.split())


def test_the_step_says_it_in_one_message(tmp_path, run):
    (tmp_path / "assets").mkdir()
    write(tmp_path / "assets", "trec", **{"TREC.test": b"nothing\n"})
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    process = run("convert", "trec", "corpus")
    assert process.returncode == 1 and process.output.count("TREC.test, line 1: expected CLASS:subclass") == 1
    assert not (tmp_path / "corpus" / "task.json").exists()


# Raw text


def splits(train=(), dev=(), test=()):
    sides = {"train": train, "dev": dev, "test": test}
    return {split: [Example(text, ("x",), "here") for text in texts] for split, texts in sides.items()}


def test_what_is_dropped_is_counted_by_its_reason():
    parts = splits(["Own text", "own TEXT!"], ["dev text"], ["Four words of test"])
    extra = ["Dev: text", "He said: four words of test, again", "new", "New.", "  new "]
    dropped = Counter()
    assert list(clean_raw(parts, extra, dropped)) == ["Own text", "new"]
    assert dropped == {"equal a dev or test text": 1, "hold a dev or test text": 1, "repeat an earlier line": 3}


def test_a_repeated_line_is_kept_once_where_it_came_first():
    lines = ["b", "a", "B", "c", "a"]
    assert list(clean_raw(splits(), lines)) == ["b", "a", "c"]


def test_only_so_many_lines_are_remembered(monkeypatch):
    monkeypatch.setattr("scripts.data.corpus.MAX_KNOWN_LINES", 2)
    dropped = Counter()
    assert list(clean_raw(splits(), ["a", "b", "c", "a", "b", "c"], dropped)) == ["a", "b", "c", "c"]
    assert dropped == {"repeat an earlier line": 2}
