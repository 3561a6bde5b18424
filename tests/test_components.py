"""The layers of scripts/components.py: numbers, gradients, odd inputs, storage."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam, Model, fix_random_seed
from thinc.types import Ragged

from scripts.components import (
    MAX_CACHED_WORDS,
    HashedNgrams,
    TextCatCompact,
    WordTable,
    distinct_words,
    hash_ngrams,
    quantize_rows,
    read_word_table,
    set_word_table,
    split_word,
    weighted_mean,
    word_key,
    word_vectors,
)

WIDTH = 6
WORDS = ["shares", "fall", "rise", "match", "goal", "film", "star", "gold", "##en", "##finger", "the"]
TEXTS = ["Shares fall", "goal in the match", "golden film star", "", "zzz", "Goldfinger", "the the the goal"]


def make_table(words: list[str] = WORDS, width: int = WIDTH) -> dict[str, numpy.ndarray]:
    """A table of random vectors; `the` weighs least."""
    rng = numpy.random.default_rng(0)
    words = sorted(words, key=word_key)
    codes, scales = quantize_rows(rng.normal(size=(len(words), width)))
    weights = [0.1 if word == "the" else 0.9 for word in words]
    keys = numpy.asarray(list(map(word_key, words)), dtype="uint32")
    return {"keys": keys, "codes": codes, "scales": scales, "weights": numpy.asarray(weights, dtype="float16")}


def vector_of(word: str) -> numpy.ndarray:
    """The vector that the table of `make_table` holds for a word."""
    table = make_table()
    return dequantize(table["codes"], table["scales"])[list(table["keys"]).index(word_key(word))]


@pytest.fixture
def nlp() -> Language:
    """A tokenizer."""
    return spacy.blank("en")


@pytest.fixture
def table() -> Model:
    """A WordTable layer with its arrays."""
    model = WordTable()
    set_word_table(model, make_table())
    return model


def make_model(exclusive: bool = True, window: int = 0, rows: int = 0, n_labels: int = 3) -> Model:
    """An initialized classifier whose output layers are not zero."""
    fix_random_seed(0)
    rng = numpy.random.default_rng(1)
    model = TextCatCompact(exclusive, hidden_width=4, window_size=window, word_dropout=0.0, ngram_rows=rows)
    set_word_table(model.get_ref("table"), make_table())
    docs = [spacy.blank("en")("shares fall")]
    model.initialize(X=docs, Y=numpy.zeros((1, n_labels), dtype="float32"))
    for layer, name in [(model.get_ref("output"), "W"), *((ngrams, "E") for ngrams in model.layers[1:])]:
        layer.set_param(name, rng.normal(scale=0.3, size=layer.get_param(name).shape).astype("float32"))
    return model


def dequantize(codes: numpy.ndarray, scales: numpy.ndarray) -> numpy.ndarray:
    """The values that 4-bit codes stand for."""
    levels = numpy.concatenate([codes & 15, codes >> 4], axis=1)
    return (levels.astype("float32") - 7.5) * scales.astype("float32")[:, None]


def test_quantization_error_is_bounded() -> None:
    vectors = numpy.random.default_rng(0).normal(size=(500, 64)).astype("float32")
    vectors[0] = 0
    vectors[1] *= 1e-2
    codes, scales = quantize_rows(vectors)
    error = dequantize(codes, scales) - vectors
    assert (codes.dtype, codes.shape, scales.dtype) == (numpy.uint8, (500, 32), numpy.float16)
    assert not error[0].any()
    assert (numpy.sqrt((error**2).mean(axis=1)) <= numpy.abs(vectors).max(axis=1) / 15).all()
    # The best single scale for normally distributed values leaves 1.15 % of their variance.
    assert 0.005 < (error[2:] ** 2).mean() < 0.0115


def test_words_are_found_whatever_their_case(nlp: Language, table: Model) -> None:
    words, index, lengths = distinct_words([nlp("Goal goal"), nlp("the film")])
    vectors = word_vectors(table, words, nlp.vocab.strings)
    assert lengths.tolist() == [2, 2]
    assert index[0] == index[1]
    assert vectors.shape == (3, WIDTH + 1)
    numpy.testing.assert_array_equal(vectors[index[0], :-1], vector_of("goal"))
    assert vectors[index[2], -1] == pytest.approx(0.1, abs=1e-4)


def test_an_unknown_word_is_the_mean_of_its_pieces(nlp: Language, table: Model) -> None:
    words, index, _ = distinct_words([nlp("Goldfinger")])
    vectors = word_vectors(table, words, nlp.vocab.strings)
    expected = (vector_of("gold") + vector_of("##finger")) / 2
    numpy.testing.assert_allclose(vectors[index[0], :-1], expected, rtol=1e-6)
    assert vectors[index[0], -1] == 1.0


def test_split_word_takes_the_longest_piece_and_passes_over_gaps() -> None:
    rows = {"gold": 1, "go": 2, "##en": 3, "##n": 4}
    assert split_word("golden", lambda piece: rows.get(piece, -1)) == [1, 3]
    assert split_word("goldxen", lambda piece: rows.get(piece, -1)) == [1, 3]
    assert split_word("xyz", lambda piece: rows.get(piece, -1)) == []
    assert len(split_word("n" * 1000, lambda piece: 0 if piece in ("n", "##n") else -1)) == 8


def test_a_text_without_words_is_one_token_of_zeros(nlp: Language, table: Model) -> None:
    Y, _ = table([nlp(""), nlp(" \n "), nlp("zzz")], False)
    assert Y.lengths.tolist() == [1, 1, 1]
    assert not Y.dataXd.any()


@pytest.mark.slow
def test_unknown_words_take_bounded_memory(nlp: Language, table: Model) -> None:
    for start in range(0, MAX_CACHED_WORDS + 2000, 1000):
        words, _, _ = distinct_words([nlp(" ".join(f"gold{i}" for i in range(start, start + 1000)))])
        word_vectors(table, words, nlp.vocab.strings)
    assert 0 < len(table.attrs["cache"].vectors) <= MAX_CACHED_WORDS


def test_word_dropout_leaves_a_word_of_each_text(nlp: Language) -> None:
    model = WordTable(word_dropout=0.9)
    set_word_table(model, make_table())
    docs = [nlp("shares fall rise goal film star")] * 200
    fix_random_seed(0)
    lengths = model(docs, True)[0].lengths
    assert lengths.min() == 1
    assert 200 < lengths.sum() < 400  # 6 * 200 * 0.1, and at least one each
    assert model(docs, False)[0].lengths.tolist() == [6] * 200


def test_weighted_mean() -> None:
    X = numpy.asarray([[1, 2, 0.5], [3, 4, 1.5], [5, 6, 0.0]], dtype="float32")
    Y, backprop = weighted_mean(10.0)(Ragged(X, numpy.asarray([2, 1], dtype="int32")), True)
    numpy.testing.assert_allclose(Y, [[25, 35], [0, 0]], rtol=1e-6)
    assert backprop(Y).dataXd.shape == X.shape


@pytest.mark.parametrize("change", ["keys", "codes", "unsorted"])
def test_a_broken_table_is_refused(change: str) -> None:
    broken = make_table()
    if change == "unsorted":
        broken["keys"] = broken["keys"][::-1]
    else:
        broken[change] = broken[change].astype("float32")
    with pytest.raises(ValueError, match="word table's"):
        set_word_table(WordTable(), broken)


def test_a_missing_table_is_named(nlp: Language) -> None:
    with pytest.raises(ValueError, match="read_word_table"):
        TextCatCompact(True).initialize(X=[nlp("goal")], Y=numpy.zeros((1, 2), dtype="float32"))


@pytest.mark.parametrize("rows", [0, 64])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("window", [0, 1, 2])
def test_prediction_equals_the_layers(nlp: Language, exclusive: bool, window: int, rows: int) -> None:
    model = make_model(exclusive, window, rows)
    docs = list(map(nlp, TEXTS))
    expected, _ = model(docs, True)
    predicted = model.predict(docs)
    assert predicted.shape == (len(docs), 3)
    numpy.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    if exclusive:
        numpy.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("rows", [0, 64])
def test_batch_equals_single(nlp: Language, window: int, rows: int) -> None:
    model = make_model(window=window, rows=rows)
    docs = list(map(nlp, TEXTS))
    single = numpy.vstack([model.predict([doc]) for doc in docs])
    numpy.testing.assert_allclose(model.predict(docs), single, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("window", "rows"), [(0, 0), (1, 64)])
def test_gradients_are_those_of_the_loss(nlp: Language, exclusive: bool, window: int, rows: int) -> None:
    """Compare with finite differences of the cross-entropy; spaCy's textcat passes `prediction - target`."""
    model = make_model(exclusive, window, rows)
    hidden, output = model.get_ref("hidden"), model.get_ref("output")
    # Away from the kink of the rectifier at 0, where a text without words would stand.
    hidden.set_param("b", numpy.asarray([0.3, -0.3, 0.2, 0.1], dtype="float32"))
    docs = [nlp(text) for text in TEXTS if text]
    target = numpy.eye(3, dtype="float32")[numpy.arange(len(docs)) % 3]

    def loss() -> float:
        p = model.predict(docs).astype("float64")
        others = 0 if exclusive else ((1 - target) * numpy.log(1 - p)).sum()
        return float(-(target * numpy.log(p)).sum() - others)

    def loss_with(layer: Model, name: str, i: int, change: float) -> float:
        value = layer.get_param(name)
        moved = value.copy()
        moved.flat[i] += change
        layer.set_param(name, moved)
        result = loss()
        layer.set_param(name, value)
        return result

    Y, backprop = model(docs, True)
    backprop(Y - target)
    step = 2e-3
    for layer in (hidden, output, *model.layers[1:]):
        for name in layer.param_names:
            gradient = layer.get_grad(name).ravel()
            for i in numpy.random.default_rng(2).choice(gradient.size, size=min(8, gradient.size), replace=False):
                numeric = (loss_with(layer, name, i, step) - loss_with(layer, name, i, -step)) / (2 * step)
                assert gradient[i] == pytest.approx(numeric, abs=2e-3, rel=1e-2), (layer.name, name, i)


@pytest.mark.parametrize("window", [0, 1])
def test_what_is_kept_of_words_is_that_of_the_present_parameters(nlp: Language, window: int) -> None:
    model = make_model(window=window)
    docs = list(nlp.pipe(TEXTS))
    for name, factor in [("output", 1), ("output", -2), ("hidden", 0.5)]:
        layer = model.get_ref(name)
        layer.set_param("W", layer.get_param("W") * factor)
        numpy.testing.assert_allclose(model.predict(docs), model(docs, is_train=True)[0], atol=1e-6)
        numpy.testing.assert_array_equal(model.predict(docs[1:2]), model.predict(docs[1:2]))


def test_what_is_kept_of_words_takes_bounded_memory(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.components.MAX_CACHED_BYTES", 8 * 4 * (1 + 3 + 4))
    model = make_model()
    alone = [make_model().predict([nlp(text)])[0] for text in TEXTS]
    for _ in range(2):
        for text, scores in zip(TEXTS, alone, strict=True):
            numpy.testing.assert_allclose(model.predict([nlp(text)])[0], scores, atol=1e-6)
    assert len(model.get_ref("table").attrs["cache"].scores) == 8
    model.predict([nlp(" ".join(f"word{i}" for i in range(20)))])
    assert len(model.get_ref("table").attrs["cache"].scores) == 20, "a batch is never cut"


def test_threads_may_predict_at_a_time(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.components.MAX_CACHED_BYTES", 40 * 4 * (1 + 3 + 4))
    texts = [f"{WORDS[i % 11]} gold{i} {WORDS[i % 7]} film{i % 50}" for i in range(300)]
    docs = [[nlp(text)] for text in texts]
    model, single = make_model(), make_model()
    alone = [single.predict(batch) for batch in docs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for scores, expected in zip(pool.map(model.predict, docs), alone, strict=True):
                numpy.testing.assert_allclose(scores, expected, atol=1e-6)


def test_ngrams_do_not_cross_texts_and_spaces_do_not_count(nlp: Language) -> None:
    rows, owners = hash_ngrams([nlp("Shares fall  today"), nlp(" "), nlp("fall")], 2**20, 2)
    assert owners.tolist() == [0, 0, 0, 2, 0, 0]
    assert len(set(rows.tolist())) == 5  # shares, fall (twice), today, shares fall, fall today
    assert rows[1] == rows[3]
    assert sorted(hash_ngrams([nlp("shares FALL today ")], 2**20, 2)[0]) == sorted(rows[[0, 1, 2, 4, 5]])
    (pair,) = set(hash_ngrams([nlp("fall shares")], 2**20, 2)[0]) - set(rows)
    assert pair not in rows  # the order of words counts


def test_ngrams_sum_their_rows(nlp: Language) -> None:
    model = HashedNgrams(16, size=3)
    model.initialize(X=[], Y=numpy.zeros((1, 2), dtype="float32"))
    model.set_param("E", numpy.random.default_rng(0).normal(size=(16, 2)).astype("float32"))
    doc = nlp("one two three four")
    rows, _ = hash_ngrams([doc], 16, 3)
    assert len(rows) == 4 + 3 + 2
    numpy.testing.assert_allclose(model.predict([doc, nlp("")]), [model.get_param("E")[rows].sum(axis=0), [0, 0]], 1e-5)


def make_pipeline(nlp: Language, folder: Path, factory: str) -> Language:
    """A pipeline trained for a few steps on two labels."""
    numpy.savez(folder / "table.npz", **make_table())
    exclusive = factory == "textcat"
    architecture = {"@architectures": "textcat_ladder.TextCatCompact.v1", "exclusive_classes": exclusive}
    nlp.add_pipe(factory, config={"model": architecture})
    nlp.config["initialize"]["before_init"] = {
        "@callbacks": "textcat_ladder.read_word_table.v1",
        "path": str(folder / "table.npz"),
        "component": factory,
    }
    texts = {"shares fall": "a", "shares rise": "a", "goal in match": "b", "match goal": "b"}
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: float(name == label) for name in "ab"}})
        for text, label in texts.items()
    ]
    fix_random_seed(0)
    nlp.initialize(lambda: examples, sgd=Adam(0.01))
    for _ in range(40):
        nlp.update(examples, drop=0.1)
    return nlp


@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_trained_pipeline_is_stored_whole_to_the_last_bit(nlp: Language, tmp_path: Path, factory: str) -> None:
    make_pipeline(nlp, tmp_path, factory)
    assert nlp("Golden shares").cats["a"] > 0.5 > nlp("the goal").cats["a"]
    nlp("goldfinger")
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "table.npz").unlink()
    loaded = spacy.load(tmp_path / "model")
    for text in TEXTS:
        assert loaded(text).cats == nlp(text).cats
    assert [doc.cats for doc in loaded.pipe(TEXTS)] == [doc.cats for doc in nlp.pipe(TEXTS)]
    loaded.to_disk(tmp_path / "again")
    first, again = ((tmp_path / name / factory / "model").read_bytes() for name in ("model", "again"))
    assert first == again
    table = loaded.get_pipe(factory).model.get_ref("table")
    assert [str(table.get_param(name).dtype) for name in ("codes", "scales")] == ["uint8", "float16"]


def test_training_is_the_same_twice(tmp_path: Path) -> None:
    scores = [make_pipeline(spacy.blank("en"), tmp_path, "textcat")("golden star").cats for _ in range(2)]
    assert scores[0] == scores[1]


def test_the_frozen_table_stays_as_it_was(nlp: Language, tmp_path: Path) -> None:
    table = make_pipeline(nlp, tmp_path, "textcat").get_pipe("textcat").model.get_ref("table")
    for name, array in make_table().items():
        numpy.testing.assert_array_equal(table.get_param(name), array)


def test_read_word_table_names_what_is_wrong(nlp: Language, tmp_path: Path) -> None:
    numpy.savez(tmp_path / "table.npz", keys=make_table()["keys"])
    nlp.add_pipe(
        "textcat", config={"model": {"@architectures": "textcat_ladder.TextCatCompact.v1", "exclusive_classes": True}}
    )
    with pytest.raises(ValueError, match="'codes'"):
        read_word_table(tmp_path / "table.npz")(nlp)


@pytest.mark.slow
def test_installed_wheel_predicts_the_same_in_a_clean_process(nlp: Language, tmp_path: Path) -> None:
    """`spacy package --code` -> wheel -> install -> load by name, where the project's folder cannot be imported."""
    make_pipeline(nlp, tmp_path, "textcat").to_disk(tmp_path / "model")
    (tmp_path / "table.npz").unlink()
    (tmp_path / "packages").mkdir()
    code = Path(__file__).parent.parent / "scripts" / "components.py"
    package = ["spacy", "package", tmp_path / "model", tmp_path / "packages", "--code", code, "--name", "desk"]
    run_module(*package, "--version", "1.0.0", "--build", "wheel")
    (wheel,) = tmp_path.glob("packages/*/dist/*.whl")
    run_module("pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    script = f"import json, spacy; nlp = spacy.load('en_desk'); print(json.dumps([nlp(t).cats for t in {TEXTS!r}]))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(process.stdout) == [nlp(text).cats for text in TEXTS]


def run_module(*arguments: object) -> None:
    """Run `python -m` with some arguments; its output is shown if it fails."""
    process = subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
