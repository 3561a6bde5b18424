"""The corpus is honest (no text on two sides), reproducible, and bad input is named by file and line."""

import json
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.data.corpus import clean_raw
from scripts.data.formats import Example, count_labels
from scripts.data.labels import check_labels, check_rare, keep_learnable, resolve_mode
from scripts.data.published import group_versions, read_bbc
from scripts.data.splits import assert_honest, complete_splits, drop_repeated, normalize, take_share
from scripts.experiments.grids import copy
from tests.conftest import ROOT, message, toy_records


def example(text, label="a", raw=(), group=""):
    return Example(text, (label,), "test", raw, group)


def read_docs(path):
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


# Duplicates and splits


def test_normalize_ignores_case_and_punctuation():
    assert normalize("Blair 'backs'  the DEAL!") == normalize("blair backs, the deal") == "blair backs the deal"
    assert normalize("???") == "???"
    assert normalize("I\u015eIKLAR \u0130STANBUL") == normalize("\u0131\u015f\u0131klar istanbul")
    assert normalize("caf\u00e9") == normalize("cafe\u0301") != normalize("cafe")


@pytest.mark.parametrize(
    ("one", "other"), [("ข่าว", "ข้าว"), ("लड़का आया", "लड़के आये"), ("So good 😀", "So good 😡"), ("新闻", "新 闻 好")]
)
def test_normalize_keeps_what_tells_texts_apart(one, other):
    assert normalize(one) != normalize(other)
    assert normalize(one) == normalize(f" {one}!")


def test_repeats_are_found_through_each_other():
    a, b, c = example("One", raw=("x y",)), example("one!", raw=("z",)), example("Two", raw=("Z",))
    assert drop_repeated([a, b, c]) == [a]


def test_repeats_that_disagree_are_all_dropped():
    assert drop_repeated([example("One", "a"), example("one", "b"), example("Two", "a")]) == [example("Two", "a")]


def test_versions_of_an_article_form_a_group():
    words = [f"w{i}" for i in range(40)]
    versions = group_versions(
        [
            example("first", raw=(" ".join(words),)),
            example("second", raw=(" ".join(words[:30] + ["new"] * 10),)),
            example("third", raw=("something else entirely, with words of its own",)),
        ]
    )
    assert versions[0].group == versions[1].group != versions[2].group


def test_split_is_stratified_and_does_not_depend_on_order():
    examples = [example(f"text {i}", "ab"[i % 4 == 0]) for i in range(200)]
    rest, cut = take_share(examples, 0.3)
    assert {e.text for e in cut} == {e.text for e in take_share(examples[::-1], 0.3)[1]}
    assert len(rest) + len(cut) == 200
    assert sum(e.labels == ("b",) for e in cut) == 15
    assert len(cut) == 60


def test_groups_are_not_split():
    examples = [example(f"text {i}", group=f"g{i // 5}") for i in range(100)]
    rest, cut = take_share(examples, 0.5)
    assert not {e.group for e in rest} & {e.group for e in cut}


def test_given_test_set_clears_train_and_dev():
    splits = complete_splits(
        {"train": [example(f"t {i}") for i in range(50)] + [example("Held OUT")], "test": [example("held out")]}
    )
    assert [e.text for e in splits["test"]] == ["held out"]
    assert "Held OUT" not in {e.text for split in ("train", "dev") for e in splits[split]}
    assert len(splits["dev"]) == 5


def test_raw_text_holds_no_held_out_text():
    splits = {
        "train": [example("Train text", raw=("own body", "Dev body line"))],
        "dev": [example("dev text", raw=("dev body LINE",))],
        "test": [example("Four words of test")],
    }
    extra = ["He said: four words of test, again", "Dev Text", "a dev text inside is too short to tell", "fine"]
    assert list(clean_raw(splits, extra)) == [
        "Train text",
        "own body",
        "a dev text inside is too short to tell",
        "fine",
    ]


def test_texts_that_begin_alike_are_looked_for_in_no_more_time():
    """Each line is compared with the texts of its length, not with all that begin as it does."""
    held_out = [example(f"I am writing to you about the order of number {i} and more") for i in range(3000)]
    splits = {"train": [], "dev": [], "test": held_out}
    lines = [f"I am writing to you about the order of letter {i} and more" for i in range(3000)]
    assert list(clean_raw(splits, [*lines, f"Sir! {held_out[7].text.upper()}!"])) == lines


def test_no_line_of_a_held_out_text_is_raw_text():
    splits = {
        "train": [example("Train text")],
        "dev": [],
        "test": [example("A first line of it\nThanks!\n\nand the last of it")],
    }
    extra = ["A first line, of it", "thanks", "And the last of it.", "a line of its own"]
    assert list(clean_raw(splits, extra)) == ["Train text", "thanks", "a line of its own"], "short ones tell nothing"


def test_raw_text_without_spaces_holds_no_held_out_text():
    splits = {"train": [example("训练")], "dev": [example("另一句话")], "test": [example("今天天气很好")]}
    assert list(clean_raw(splits, ["新闻:今天天气很好,专家表示欢迎", "今天天气不好"])) == ["训练", "今天天气不好"]


def test_dev_has_texts_of_rare_labels_by_turns():
    texts = [example(f"{label} {i}", label) for label in map(str, range(100, 250)) for i in range(5)]
    splits = complete_splits({"train": texts, "test": [example("another", "100")]})
    counts = {split: len(members) for split, members in splits.items()}
    assert counts == {"train": 675, "dev": 75, "test": 1}
    assert len({e.labels for e in splits["dev"]}) == 75


def test_rare_labels_stay_in_train():
    """A label of one text is learned from it; one whose texts count for still rarer labels keeps one, too."""
    texts = [example(f"text {i}", "often") for i in range(90)]
    lone, pairs = [example("alone", "lone")], []
    for i in range(20):
        pairs += [Example(f"{i} {n}", (f"both {i}", f"one {i} {n}"), "x") for n in (1, 2)]
        pairs += [Example(f"{i} {n} again", (f"one {i} {n}",), "x") for n in (1, 2)]
    given = texts + lone + pairs
    assert len({label for e in given for label in e.labels}) == len(check_labels({"train": given}, "multi"))
    splits = complete_splits({"train": given})
    assert_honest(splits)
    assert keep_learnable(splits, check_labels({"train": given}, "multi"), "multi")[2] == ""
    assert len(splits["test"]) == pytest.approx(0.255 * len(given), abs=12)
    assert lone[0] in splits["train"]


def test_rare_labels_are_no_reason_to_refuse_the_others(toy_assets, run, tmp_path):
    records = [*toy_records(), {"text": "a potato harvest", "label": "potato"}, {"text": "tea", "label": "tea"}]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    process = run("convert", "toy", "corpus")
    assert process.returncode == 0, process.output
    assert "train.jsonl, line 73: label 'potato' has 1 example(s); 1 more are rare: 'tea'. So few" in process.output
    assert {"potato", "tea"} < set(srsly.read_json(tmp_path / "corpus" / "task.json")["labels"])


@pytest.mark.parametrize(
    ("rare", "other", "refused"),
    [
        ("postive", "positive", True),
        ("py2", "py3", False),
        ("version 12", "version 13", False),
        ("cpu", "cpi", False),
        ("f-cattle", "l-cattle", False),
        ("pending_cash_payment", "pending_card_payment", False),
        ("pending_crad_payment", "pending_card_payment", True),
        ("natgas", "nat-gas", True),
    ],
)
def test_a_rare_label_that_looks_like_another(rare, other, refused):
    given = [example(f"text {i}", other) for i in range(9)] + [example(f"other {i}", "o") for i in range(9)]
    with pytest.raises(UserError, match=f"looks like {other!r}") if refused else nullcontext():
        train = [*given, example("another", rare)]
        check_rare(train, count_labels(train))


# The BBC articles


@pytest.fixture(scope="module")
def bbc():
    return complete_splits(read_bbc(ROOT / "assets" / "bbc"))


def test_bbc_sizes(bbc):
    assert {split: len(examples) for split, examples in bbc.items()} == {"train": 1327, "dev": 208, "test": 525}
    assert len({label for e in bbc["train"] for label in e.labels}) == 5


def test_bbc_sides_share_no_headline_body_or_version(bbc):
    for part in (
        lambda e: normalize(e.text),
        lambda e: normalize(" ".join(e.raw)),
        lambda e: e.group,
    ):
        sides = [{part(e) for e in bbc[split]} for split in ("train", "dev", "test")]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_bbc_raw_text_is_of_training_articles_only(bbc):
    lines = set(map(normalize, clean_raw(bbc)))
    held_out = {normalize(line) for split in ("dev", "test") for e in bbc[split] for line in (e.text, *e.raw)}
    own = {normalize(line) for e in bbc["train"] for line in (e.text, *e.raw)}
    assert not lines & held_out
    assert lines <= own and len(lines) > 7000
    everything = "\n".join(f" {line} " for line in lines)
    assert not [
        e.text for e in bbc["test"] if len(normalize(e.text).split()) > 3 and f" {normalize(e.text)} " in everything
    ]


# The command


def test_corpus_is_complete_and_the_same_twice(toy_assets, run, tmp_path):
    for folder in ("corpus", "again"):
        process = run("convert", "toy", folder)
        assert process.returncode == 0, process.output
    assert "texts to train / dev / test, 3 labels" in process.output
    files = sorted(path.name for path in (tmp_path / "corpus").iterdir())
    assert files == ["dev.spacy", "raw.jsonl", "task.json", "test.spacy", "train.spacy"]
    for name in files:
        assert (tmp_path / "corpus" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    task = srsly.read_json(tmp_path / "corpus" / "task.json")
    docs = {split: read_docs(tmp_path / "corpus" / f"{split}.spacy") for split in task["examples"]}
    assert {split: len(split_docs) for split, split_docs in docs.items()} == task["examples"]
    assert sum(task["examples"].values()) == len(toy_records())
    assert task["exclusive"] is True
    assert all(set(doc.cats) == {"film", "money", "sport"} and sum(doc.cats.values()) == 1 for doc in docs["train"])


def test_csv_and_several_labels(toy_assets, run, tmp_path):
    records = toy_records()
    srsly.write_jsonl(
        toy_assets / "train.jsonl",
        [{"text": r["text"], "cats": {"even": i % 2, "third": int(i % 3 == 0)}} for i, r in enumerate(records)],
    )
    assert run("convert", "toy", "corpus").returncode == 0
    assert srsly.read_json(tmp_path / "corpus" / "task.json")["exclusive"] is False
    (toy_assets / "train.jsonl").unlink()
    rows = "".join(f'"{r["text"]}, ""quoted""",{r["label"]}\r\n' for r in records)
    (toy_assets / "train.csv").write_bytes(b"\xef\xbb\xbftext,category\r\n" + rows.encode())
    assert run("convert", "toy", "corpus").returncode == 0
    assert srsly.read_json(tmp_path / "corpus" / "task.json")["labels"] == ["film", "money", "sport"]
    assert all(doc.text.endswith(', "quoted"') for doc in read_docs(tmp_path / "corpus" / "test.spacy"))


def test_a_row_for_each_label(toy_assets, run, tmp_path):
    """Labels of a text are put together if the mode says so; else texts with different labels are named."""
    records = toy_records()
    again = [{"text": r["text"], "label": "extra"} for r in records[::4]]
    srsly.write_jsonl(toy_assets / "train.jsonl", [*records, *again])
    assert f"{len(again)} text(s) with different labels" in run("convert", "toy", "corpus").output
    assert run("convert", "toy", "corpus", "--mode", "multi").returncode == 0
    docs = [doc for split in ("train", "dev", "test") for doc in read_docs(tmp_path / "corpus" / f"{split}.spacy")]
    assert len(docs) == len(records)
    assert sorted(sum(doc.cats.values()) for doc in docs) == [1.0] * (len(records) - len(again)) + [2.0] * len(again)
    checked = run("check", "toy", "check.json", "--config", ROOT / "configs", "--mode", "multi", "--no-probe")
    assert checked.returncode == 0 and "conflicting labels" not in checked.output

    known = docs[-1].text
    rows = [("new one", "film"), ("new one", "extra"), (known, "money"), (known, "extra")]
    (toy_assets / "annotated.csv").write_text(
        "text,label\n" + "".join(f'"{t}",{x}\n' for t, x in rows), encoding="utf-8"
    )
    assert run("convert", "toy", "corpus", "--mode", "multi").returncode == 0
    for split, text, label in (("train", "new one", "film"), ("test", known, "money")):
        (doc,) = (doc for doc in read_docs(tmp_path / "corpus" / f"{split}.spacy") if doc.text == text)
        assert {name for name, value in doc.cats.items() if value} == {label, "extra"}


def test_files_that_tell_no_split_are_named(toy_assets, run, tmp_path):
    srsly.write_jsonl(toy_assets / "heldout.jsonl", [{"text": "x", "label": "film"}])
    srsly.write_jsonl(toy_assets / "test_set.jsonl", [{"text": f"one more {i}", "label": "film"} for i in range(3)])
    assert "not read (first: assets/toy/heldout.jsonl)" in run("convert", "toy", "corpus").output
    assert [doc.text[:8] for doc in read_docs(tmp_path / "corpus" / "test.spacy")] == ["one more"] * 3


def test_hardly_any_text_left(toy_assets, run):
    repeated = [{"text": f"the same {label}", "label": label} for label in "ab" for _ in range(4)]
    for name, texts in (
        ("train", repeated),
        *((s, [{"text": s + x, "label": x} for x in "ab"]) for s in ("dev", "test")),
    ):
        srsly.write_jsonl(toy_assets / f"{name}.jsonl", texts)
    result = run("convert", "toy", "corpus")
    assert result.returncode == 1 and "Only 2 different text(s) are left in train" in message(result)


GOOD = json.dumps({"text": "good text", "label": "sport"}).encode()
BAD_LINES = {
    "broken JSON": (b'{"text": "half', "line 3: broken JSON"),
    "empty text": (b'{"text": "  ", "label": "sport"}', "line 3: `text` is missing or empty"),
    "text is a number": (b'{"text": 7, "label": "sport"}', "line 3: `text` is not text but 7"),
    "no label": (b'{"text": "a"}', "line 3: `label`"),
    "not an object": (b'["a"]', "line 3: expected an object"),
    "soft cats": (b'{"text": "a", "cats": {"sport": 0.5}}', "line 3: `cats` must map each label to 0 or 1"),
    "not UTF-8": (b'{"text": "caf\xe9", "label": "sport"}', "line 3: byte 0xe9 is not UTF-8"),
    "label with one example": (
        b'{"text": "a", "label": "spot"}',
        "line 3: label 'spot' has 1 example(s), and looks like 'sport'",
    ),
}


@pytest.mark.parametrize(("line", "expected"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_lines_are_named_and_nothing_is_lost(toy_assets, run, tmp_path, line, expected):
    assert run("convert", "toy", "corpus").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "corpus").iterdir()}
    path = toy_assets / "train.jsonl"
    path.write_bytes(b"\n".join([GOOD, GOOD.replace(b"good", b"better"), line, path.read_bytes()]))
    found = message(run("convert", "toy", "corpus"))
    assert "train.jsonl" in found and expected in found
    assert {path.name: path.read_bytes() for path in (tmp_path / "corpus").iterdir()} == before


def test_broken_raw_text_leaves_no_half_written_corpus(toy_assets, run, tmp_path):
    with (toy_assets / "raw.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"txt": "x"}\n')
    assert "raw.jsonl, line 61: no column with a known name of texts" in message(run("convert", "toy", "corpus"))
    assert not (tmp_path / "corpus").exists()


def test_unknown_label_in_test(toy_assets, run):
    srsly.write_jsonl(toy_assets / "test.jsonl", [{"text": "a", "label": "sport"}, {"text": "b", "label": "weather"}])
    found = message(run("convert", "toy", "corpus"))
    assert "test.jsonl, line 2: label 'weather' does not occur in train" in found
    assert "1 of 2 texts of test have such labels" in found


def test_few_unknown_labels_in_test_are_left_out(toy_assets, run, tmp_path):
    """Official splits of long lists of labels have some; one that is misspelt is still an error."""
    texts = [{"text": f"{i} goals in a match", "label": "sport"} for i in range(20)]
    srsly.write_jsonl(toy_assets / "test.jsonl", [*texts, {"text": "rain", "label": "weather"}])
    process = run("convert", "toy", "corpus")
    assert process.returncode == 0, process.output
    assert "1 label(s) have no text in train" in process.output and "learned: 'weather'; 1 text(s)" in process.output
    assert "left out, the first assets/toy/test.jsonl, line 21" in process.output
    assert "1 repeated, leaking or unlearnable texts left out" in process.output
    task = srsly.read_json(tmp_path / "corpus" / "task.json")
    assert task["examples"]["test"] == 20 and "weather" not in task["labels"]
    srsly.write_jsonl(toy_assets / "test.jsonl", [*texts, {"text": "rain", "label": "spot"}])
    found = message(run("convert", "toy", "corpus"))
    assert "line 21: label 'spot' does not occur in train, and looks like 'sport'. Correct it" in found


def test_a_label_that_train_has_lost():
    """Of several labels a text loses the one; a label whose only text is repeated in test is not learned."""
    given = {
        "train": [example(f"text {i}", "ab"[i % 2]) for i in range(20)] + [example("lost", "c")],
        "test": [Example("lost", ("a", "c"), "x"), *(example(f"other {i}") for i in range(20))],
    }
    labels = check_labels(given, "multi")
    splits, labels, unlearned = keep_learnable(complete_splits(given), labels, "multi")
    assert labels == ["a", "b"]
    assert "cannot be learned: 'c'; 1 text(s) of dev and test with one are counted" in unlearned
    assert len(splits["test"]) == 21
    assert count_labels(splits["test"]) == {"a": 21}
    same, _, nothing = keep_learnable(splits, labels, "multi")
    assert same == splits and not nothing


def test_one_label_only(toy_assets, run):
    srsly.write_jsonl(toy_assets / "train.jsonl", [{"text": f"text {i}", "label": "a"} for i in range(9)])
    assert "needs two or more" in message(run("convert", "toy", "corpus"))


def test_broken_csv(toy_assets, run):
    (toy_assets / "train.jsonl").unlink()
    (toy_assets / "train.csv").write_text("text,label\nfine,a\nno label here\n", encoding="utf-8")
    assert "train.csv, line 3: the number of fields differs" in message(run("convert", "toy", "corpus"))


def test_missing_data_set(toy_assets, run):
    assert "There is no data set 'nothing' in assets/" in message(run("convert", "nothing", "corpus"))


def test_empty_file(toy_assets, run):
    (toy_assets / "train.jsonl").write_text("\n", encoding="utf-8")
    assert "holds no examples" in message(run("convert", "toy", "corpus"))


def test_wrong_checksum_and_missing_asset(toy_assets, run, tmp_path):
    asset = {"dest": "assets/toy/train.jsonl", "checksum": "0" * 32}
    srsly.write_yaml(tmp_path / "project.yml", {"assets": [asset]})
    assert "project.yml expects 00000" in message(run("convert", "toy", "corpus"))
    (toy_assets / "train.jsonl").unlink()
    srsly.write_yaml(tmp_path / "project.yml", {"assets": [asset | {"url": "https://host/train.jsonl"}]})
    found = message(run("convert", "toy", "corpus"))
    assert "train.jsonl: the file is missing. Fetch it" in found and "from https://host/train.jsonl)" in found


@pytest.mark.parametrize("state", ["absent", "another"])
def test_a_workflow_ends_with_an_asset_that_could_not_be_fetched(tmp_path, state):
    """`spacy project assets` only prints a wrong checksum, and exits with 0."""
    for name in ("project.yml", "scripts", "assets/trec/README.md"):
        copy(ROOT / name, tmp_path / name)
    if state == "another":
        for split in ("train", "test"):
            (tmp_path / "assets" / "trec" / f"TREC.{split}").write_text("DESC:manner How so ?\n", encoding="utf-8")
    command = [sys.executable, "-m", "weasel", "run", "bow", ".", "--vars.dataset", "trec"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    output = " ".join((process.stdout + process.stderr).split())
    assert process.returncode == 1 and "Traceback" not in output and "train-bow" not in output
    assert output.count("✘") == 1
    assert ("the file is missing" if state == "absent" else "project.yml expects 073462e3") in output
    assert not list(tmp_path.glob("corpus/*"))


# Kinds of tasks


def several(labels, source="x"):
    return Example(f"text {labels} {source}", tuple(labels), source)


def test_mode_goes_by_the_data():
    one, two, none = several("a", "1"), several("ab", "2"), several("", "3")
    other = several("b", "4")
    assert resolve_mode({"train": [one, other]}, "auto") == ("single", "each text has exactly one label")
    assert resolve_mode({"train": [one, other], "test": [two]}, "auto") == ("multi", "2 has 2 labels")
    assert resolve_mode({"train": [one, other, none]}, "auto") == ("multi", "3 has 0 labels")
    assert resolve_mode({"train": [one, none]}, "auto") == ("binary", "the only label is 'a', and 3 is without it")
    assert resolve_mode({"train": [one, other]}, "multi") == ("multi", "as set")
    with pytest.raises(UserError, match=r"2: 2 labels \(a, b\), but the mode is single"):
        resolve_mode({"train": [one, two]}, "single")
    with pytest.raises(UserError, match="the mode is binary, but there are 2 labels and texts with several"):
        resolve_mode({"train": [one, two]}, "binary")


def test_several_labels_are_stratified_by_the_rarest():
    rng = np.random.default_rng(0)
    shares = {"often": 0.6, "some": 0.25, "rare": 0.05}
    examples = [
        Example(f"text {i}", tuple(label for label, share in shares.items() if rng.random() < share), "x")
        for i in range(800)
    ]
    rest, cut = take_share(examples, 0.25)
    assert len(rest) + len(cut) == 800 and abs(len(cut) - 200) <= 2
    for label, tolerance in (("rare", 1), ("some", 2), ("often", 12)):
        total = sum(label in e.labels for e in examples)
        assert abs(sum(label in e.labels for e in cut) - total / 4) <= tolerance, label


def test_binary_task(toy_assets, run, tmp_path):
    labels = [["urgent"] if i % 3 == 0 else [] for i in range(72)]
    srsly.write_jsonl(
        toy_assets / "train.jsonl", [r | {"labels": found} for r, found in zip(toy_records(), labels, strict=True)]
    )
    process = run("convert", "toy", "corpus")
    assert "Mode binary: the only label is 'urgent'" in process.output
    task = srsly.read_json(tmp_path / "corpus" / "task.json")
    assert (task["mode"], task["exclusive"], task["labels"]) == ("binary", False, ["urgent"])
    docs = [doc for split in task["examples"] for doc in read_docs(tmp_path / "corpus" / f"{split}.spacy")]
    assert sum(doc.cats["urgent"] for doc in docs) == 24 and len(docs) == 72


def test_repeats_are_dropped_before_the_test_set_is_cut():
    examples = [example(f"text {i}", "ab"[i % 2]) for i in range(100)]
    splits = complete_splits({"train": examples + [example(e.text.upper(), e.labels[0]) for e in examples]})
    assert sum(map(len, splits.values())) == 100


@pytest.mark.parametrize("lang", ["de", "ru", "ar", "hi", "el", "xx"])
def test_languages(toy_assets, run, tmp_path, lang):
    assert run("convert", "toy", "corpus", "--lang", lang).returncode == 0
    assert srsly.read_json(tmp_path / "corpus" / "task.json")["lang"] == lang
