"""Vectors, their spellings, pruning, coverage and neighbours: small tables with known contents, and a toy training."""

from collections import Counter

import numpy as np
import pytest
import spacy
import srsly
from gensim.models import word2vec
from spacy.cli.init_pipeline import init_vectors_cli
from spacy.tokens import DocBin
from spacy.training.initialize import convert_vectors
from spacy.vectors import Vectors

from scripts.common.skipping import reason_to_skip
from scripts.vectors.learn_vectors import MAX_SENTENCE, TokenFile, group_spellings
from scripts.vectors.neighbours import nearest
from scripts.vectors.tokenize_raw import BATCH, BATCH_CHARS, batches
from scripts.vectors.words import add_keys, lower_counts
from tests.conftest import message


@pytest.fixture
def raw(tmp_path):
    """300 lines: `goal` keeps company with `match` and `cup`, `bank` with `profit` and `shares`."""
    generator = np.random.default_rng(0)
    sets = [["goal", "match", "cup", "The"], ["bank", "profit", "shares", "The"]]
    lines = [" ".join(generator.permutation(sets[i % 2])) + f" {i % 7}" for i in range(300)]
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": line} for line in [*lines, "Goal GOAL rareword\u00a0\n x"]])
    srsly.write_json(
        tmp_path / "task.json", {"lang": "en", "exclusive": True, "labels": ["a", "b"], "examples": {"train": 9}}
    )
    return tmp_path / "raw.jsonl"


WORDS = ("tokens.txt", "counts.json")
LOADED = ("words.txt", "spellings.json", "table", "--task", "task.json")
PRUNED = ("full", "words.txt", "spellings.json", "pruned", "coverage.json", "train.spacy")


def tokenize(run, *extra):
    return run("tokenize_raw", "raw.jsonl", *WORDS, "--task", "task.json", *extra)


def train(run, *extra):
    tokenize(run)
    return run("learn_vectors", *WORDS, "v/words.txt", "v/spellings.json", "--dim", 16, "--epochs", 30, *extra)


def read_table(path):
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    words = {line.split(" ")[0]: np.array(line.split(" ")[1:], dtype=float) for line in lines}
    assert header == f"{len(words)} 16"
    return words


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("model", ["skipgram", "cbow", "fasttext"])
def test_vectors_learn_which_words_keep_company(raw, run, tmp_path, model):
    assert train(run, "--model", model).returncode == 0
    words = read_table(tmp_path / "v" / "words.txt")
    assert next(iter(words)) == "the"  # the most frequent first: pruning relies on it
    assert not {"rareword", "The", "\n"} & set(words)
    if model != "fasttext":  # subwords of ten words say nothing
        assert cosine(words["goal"], words["cup"]) > cosine(words["goal"], words["bank"])


def test_vectors_are_the_same_in_every_run(raw, run, tmp_path):
    train(run, "--seed", 3)
    first = (tmp_path / "v" / "words.txt").read_bytes()
    train(run, "--seed", 3)
    assert (tmp_path / "v" / "words.txt").read_bytes() == first
    train(run, "--seed", 4)
    assert (tmp_path / "v" / "words.txt").read_bytes() != first


def test_no_word_is_frequent_enough(raw, run, tmp_path):
    error = message(train(run, "--min-count", 1000))
    assert "occur 1000 times or more" in error and "--vars.vectors_min_count" in error
    assert not (tmp_path / "v" / "words.txt").exists()


def test_texts_without_a_repeated_word_are_passed_over(raw, run, tmp_path):
    """Names, or a language whose words nothing splits: what learns from vectors is skipped, the workflow goes on."""
    srsly.write_jsonl(raw, [{"text": f"name{i}"} for i in range(90)])
    assert tokenize(run).returncode == 0
    process = train(run)
    assert process.returncode == 0 and "Skipped. Only 0 of the raw text's words occur 3 times" in process.output
    floret = run("learn_floret", *WORDS, "f/table.floret", "f/table", "--task", "task.json")
    assert floret.returncode == 0 and "Skipped. None of the raw text's words occurs 3 times" in floret.output
    (tmp_path / "task.json").write_text('{"lang": "en"}', encoding="utf-8")
    load = run("load_vectors", "v/words.txt", "v/spellings.json", "v/table", "--task", "task.json")
    prune = run("prune_vectors", "v/table", "v/words.txt", "v/spellings.json", "p/table", "p/coverage.json", WORDS[0])
    table = run("quantize", "counts.json", "table.npz", "--vectors", "v/words.txt")
    missing = run("quantize", "counts.json", "table.npz", "--vectors", "v/words.txt", "--encoder", "nowhere")
    assert "nowhere" not in missing.output, "of a table that is not built"
    near = run("neighbours", "f/table", "counts.json", "n.json")
    assert near.returncode == 0 and "Skipped. None of the raw text's words" in near.output
    for process in (load, prune, table, missing):
        assert process.returncode == 0 and "Skipped. Only 0" in process.output, process.output
    assert reason_to_skip([tmp_path / "p" / "table"]) == reason_to_skip([tmp_path / "f" / "table.floret"]).replace(
        "None of the raw text's words occurs", "Only 0 of the raw text's words occur"
    )


def test_several_threads_learn_as_well(raw, run, tmp_path):
    assert train(run, "--workers", 3).returncode == 0
    words = read_table(tmp_path / "v" / "words.txt")
    assert list(words)[:1] == ["the"] and len(words) == 14
    assert cosine(words["goal"], words["cup"]) > cosine(words["goal"], words["bank"])


def test_no_raw_text(raw, run, tmp_path):
    raw.write_text("", encoding="utf-8")
    assert "raw.jsonl: holds no words" in message(tokenize(run))
    assert not (tmp_path / "tokens.txt").exists()
    raw.unlink()
    assert "raw.jsonl: no such file" in message(tokenize(run))
    assert "counts.json: no such file. Make it with the command `tokenize-raw`" in message(
        run("learn_vectors", *WORDS, "v/words.txt", "v/spellings.json")
    )


def test_tokens_are_those_of_the_pipeline_without_spaces(raw, run, tmp_path):
    tokenize(run)
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 301
    assert lines[-1] == "goal goal rareword x"
    spellings = srsly.read_json(tmp_path / "counts.json")
    assert (spellings["Goal"], spellings["GOAL"], spellings["The"]) == (1, 1, 300)
    assert lower_counts(tmp_path / "counts.json")["goal"] == 152
    assert sum(spellings.values()) == sum(len(line.split()) for line in lines)


def test_long_texts_come_in_parts_that_gensim_takes_whole(tmp_path):
    words = [f"w{i}" for i in range(2 * MAX_SENTENCE + 5)]
    (tmp_path / "tokens.txt").write_text(" ".join(words) + "\na b\n", encoding="utf-8")
    parts = list(TokenFile(tmp_path / "tokens.txt", len(words) + 2, 1))
    assert [len(part) for part in parts] == [MAX_SENTENCE, MAX_SENTENCE, 5, 2]
    assert [word for part in parts for word in part] == [*words, "a", "b"]
    assert MAX_SENTENCE <= word2vec.MAX_WORDS_IN_BATCH


def test_batches_are_bounded_by_their_texts_and_by_these_characters():
    long, short = "x" * (BATCH_CHARS // 2), "y"
    found = list(batches([long, long, short, long, *[short] * BATCH]))
    assert [len(batch) for batch in found] == [2, BATCH, 2]
    assert sum(found, []) == [long, long, short, long, *[short] * BATCH]


def test_processes_tokenize_as_one_does(tmp_path, run):
    srsly.write_json(tmp_path / "task.json", {"lang": "en"})
    texts = ({"text": f"Don't count {i}, {i % 97} or W{i}!"} for i in range(3 * BATCH + 7))
    srsly.write_jsonl(tmp_path / "raw.jsonl", texts)
    tokenize(run, "--processes", 1)
    one = [(tmp_path / name).read_bytes() for name in WORDS]
    assert tokenize(run, "--processes", 3).returncode == 0
    assert [(tmp_path / name).read_bytes() for name in WORDS] == one


def test_spellings_seen_and_capitalised():
    seen = Counter({"iPod": 2, "IPOD": 1, "ipod": 3, "Other": 1})
    assert group_spellings(["ipod", "9"], seen) == {"ipod": ["IPOD", "Ipod", "iPod"]}


def write_words(path, n=40, dim=8):
    """A table of `n` words w0, w1, … in order of frequency."""
    vectors = np.random.default_rng(1).normal(size=(n, dim)).round(4)
    lines = [f"w{i} " + " ".join(map(str, row)) for i, row in enumerate(vectors)]
    path.write_text(f"{n} {dim}\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return vectors


def make_table(folder, words, **settings):
    nlp = spacy.blank("en")
    convert_vectors(nlp, words, **{"truncate": -1, "prune": -1} | settings)
    nlp.to_disk(folder)
    return nlp


def test_pruning_keeps_the_frequent_words_and_finds_the_others_a_row(tmp_path):
    vectors = write_words(tmp_path / "words.txt")
    vocab = make_table(tmp_path / "pruned", tmp_path / "words.txt", prune=10).vocab
    assert vocab.vectors.shape == (10, 8)
    for i in range(10):
        np.testing.assert_allclose(vocab.get_vector(f"w{i}"), vectors[i], rtol=1e-5)
    kept = vectors[:10] / np.linalg.norm(vectors[:10], axis=1, keepdims=True)
    for i in range(10, 40):
        best = np.argmax(kept @ vectors[i])
        np.testing.assert_allclose(vocab.get_vector(f"w{i}"), vectors[best], rtol=1e-5)


def test_spellings_share_their_words_row(tmp_path, run):
    write_words(tmp_path / "words.txt")
    srsly.write_json(tmp_path / "task.json", {"lang": "en"})
    srsly.write_json(tmp_path / "spellings.json", {"w1": ["W1", "w2"], "unknown": ["Unknown"]})
    assert run("load_vectors", *LOADED).returncode == 0
    vocab = spacy.load(tmp_path / "table").vocab
    assert vocab.vectors.shape == (40, 8) and vocab.vectors.n_keys == 41
    assert vocab.vectors.key2row[vocab.strings["W1"]] == vocab.vectors.key2row[vocab.strings["w1"]]
    assert vocab.vectors.key2row[vocab.strings["w2"]] != vocab.vectors.key2row[vocab.strings["w1"]]
    assert not vocab["Unknown"].has_vector


def test_the_table_is_that_of_spacy_init_vectors(tmp_path, run):
    vectors = write_words(tmp_path / "words.txt")
    srsly.write_json(tmp_path / "task.json", {"lang": "de"})
    srsly.write_json(tmp_path / "spellings.json", {})
    assert run("load_vectors", *LOADED).returncode == 0
    arguments = {"prune": -1, "truncate": 0, "mode": "default", "name": None, "verbose": False, "jsonl_loc": None}
    init_vectors_cli("de", tmp_path / "words.txt", tmp_path / "expected", attr="ORTH", **arguments)
    made, expected = (spacy.load(tmp_path / name).vocab for name in ("table", "expected"))
    assert made.lang == expected.lang == "de"
    assert made.vectors.to_bytes() == expected.vectors.to_bytes() and made.vectors.shape == vectors.shape


def test_no_vectors_to_load(tmp_path, run):
    srsly.write_json(tmp_path / "task.json", {"lang": "en"})
    srsly.write_json(tmp_path / "spellings.json", {})
    assert "words.txt: no such file. Make it with the command `learn-vectors`" in message(run("load_vectors", *LOADED))


def test_coverage_counts_tokens_types_and_remapped_words(tmp_path, run):
    write_words(tmp_path / "words.txt")
    make_table(tmp_path / "full", tmp_path / "words.txt")
    nlp = spacy.blank("en")
    DocBin(docs=[nlp.make_doc("w1 w1 w20 nothing")]).to_disk(tmp_path / "train.spacy")
    srsly.write_json(tmp_path / "spellings.json", {})
    assert run("prune_vectors", *PRUNED, "--rows", 10).returncode == 0
    report = srsly.read_json(tmp_path / "coverage.json")
    for table, rows in (("before", 40), ("after", 10)):
        assert (report[table]["rows"], report[table]["keys"]) == (rows, 40)
        assert report[table]["bytes_of_rows"] == rows * 8 * 4
        assert report[table]["coverage"]["train"] == pytest.approx({"tokens": 0.75, "types": 2 / 3})
    assert report["after"]["bytes"] < report["before"]["bytes"]
    assert report["remapped"]["keys"] == 30
    assert report["remapped"]["tokens"]["train"] == 0.25
    assert 0 < report["remapped"]["mean_similarity"] < 1


def test_coverage_of_an_unpruned_table_and_of_none(tmp_path, run):
    write_words(tmp_path / "words.txt")
    make_table(tmp_path / "full", tmp_path / "words.txt")
    DocBin(docs=[spacy.blank("en").make_doc("w1")]).to_disk(tmp_path / "train.spacy")
    srsly.write_json(tmp_path / "spellings.json", {})
    assert run("prune_vectors", *PRUNED, "--rows", 100).returncode == 0
    assert srsly.read_json(tmp_path / "coverage.json")["remapped"] == {
        "keys": 0, "mean_similarity": None, "tokens": {"train": 0.0}
    }  # fmt: skip
    assert "none: no vectors table" in message(run("prune_vectors", "none", *PRUNED[1:]))


def test_a_pruned_table_gets_the_other_spellings(tmp_path, run):
    write_words(tmp_path / "words.txt")
    srsly.write_json(tmp_path / "task.json", {"lang": "en"})
    DocBin(docs=[spacy.blank("en").make_doc("W20 w1")]).to_disk(tmp_path / "train.spacy")
    srsly.write_json(tmp_path / "spellings.json", {"w1": ["W1"], "w20": ["W20"]})
    assert run("load_vectors", "words.txt", "spellings.json", "full", *LOADED[3:]).returncode == 0
    assert run("prune_vectors", *PRUNED, "--rows", 10).returncode == 0
    vocab = spacy.load(tmp_path / "pruned").vocab
    assert vocab.vectors.shape == (10, 8) and vocab.vectors.n_keys == 42
    assert vocab.vectors.key2row[vocab.strings["W20"]] == vocab.vectors.key2row[vocab.strings["w20"]]
    report = srsly.read_json(tmp_path / "coverage.json")
    assert report["after"]["coverage"]["train"]["tokens"] == 1 and report["remapped"]["tokens"]["train"] == 0.5


def test_nearest_words_without_the_word_itself():
    vocab = spacy.blank("en").vocab
    data = np.array([[1, 0], [0.9, 0.1], [0, 1]], dtype="f")
    vocab.vectors = Vectors(strings=vocab.strings, data=data, keys=["a", "b", "c"])
    found = nearest(vocab, ["a", "unseen"], ["a", "b", "c"], 1)
    assert found == {"a": [("b", pytest.approx(0.994, abs=1e-3))], "unseen": []}
    assert add_keys(vocab, {"a": ["A"]}) == 1
    assert nearest(vocab, ["A"], ["a", "b", "c"], 1)["A"][0][0] == "b"


def floret(run, *extra):
    tokenize(run)
    return run(
        "learn_floret", *WORDS, "f/t.floret", "table", "--task", "task.json", "--dim", 8, "--buckets", 50, *extra
    )


def test_floret_knows_unseen_words_and_any_spelling(raw, run, tmp_path):
    assert floret(run).returncode == 0
    lines = (tmp_path / "f" / "t.floret").read_text(encoding="utf-8").splitlines()
    assert lines[0].split()[:6] == ["50", "8", "3", "5", "2", "2166136261"]
    rows = np.array([line.split()[1:] for line in lines[1:]], dtype=float)
    assert rows.shape == (50, 8) and rows.any(axis=1).all()
    vocab = spacy.load(tmp_path / "table").vocab
    assert vocab["goalkeeping"].vector.any()
    np.testing.assert_array_equal(vocab["goal"].vector, vocab["GOAL"].vector)
    process = run("neighbours", "table", "counts.json", "n.json", "goalmatch")
    assert process.returncode == 0 and "goalmatch (not in the raw text)" in process.output
    assert len(srsly.read_json(tmp_path / "n.json")["goalmatch"]) == 5


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("--threads", 9), "10 threads or more to fill its table (on any number of cores), not 9. Set `--vars.floret"),
        (("--hashes", 5), "--vars.floret_hashes"),
        (("--min-n", 4, "--max-n", 3), "--vars.floret_min_n"),
        (("--buckets", 0), "--vars.floret_buckets"),
        (("--min-count", 10_000), "--vars.vectors_min_count"),
    ],
)
def test_floret_settings_that_would_spoil_the_vectors(raw, run, tmp_path, arguments, mend):
    assert mend in message(floret(run, *arguments))
    assert not (tmp_path / "f" / "t.floret").exists()
