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
from scipy.special import expit, log_softmax, softmax
from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import Adam, Model, fix_random_seed
from thinc.types import Ragged

from scripts import components
from scripts.components import (
    MAX_CACHED_WORDS,
    HashedNgrams,
    TextCatCompact,
    TextStarts,
    WordTable,
    _blocks,
    _compact_predict,
    _trained_layers,
    distinct_words,
    hash_ngrams,
    linear_logits,
    mix_linear,
    quantize_rows,
    read_word_table,
    set_linear,
    set_word_table,
    split_word,
    weighted_mean,
    word_key,
    word_vectors,
)
from scripts.linear.svm import fit_linear
from tests.conftest import toy_records

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


# A depth, and the neighbours that the one layer sees without depth.
LAYERS = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]
V1 = Path(__file__).parent / "compact_v1.npz"


def make_model(
    exclusive: bool = True, window: int = 0, rows: int = 0, depth: int = 0, learns: str = "labels", linear: bool = False
) -> Model:
    """An initialized classifier of three labels whose output layers are not zero."""
    fix_random_seed(0)
    rng = numpy.random.default_rng(1)
    settings = {"hidden_width": 4, "window_size": window, "word_dropout": 0.0, "ngram_rows": rows}
    model = TextCatCompact(exclusive, **settings, depth=depth, learns=learns, linear=linear)
    set_word_table(model.get_ref("table"), make_table())
    nlp = spacy.blank("en")
    if linear:
        texts = [nlp(record["text"]) for record in toy_records()]
        gold = numpy.eye(3)[numpy.arange(len(texts)) // (len(texts) // 3)]
        set_linear(model.get_ref("linear"), fit_linear(texts, gold, exclusive).arrays)
    model.initialize(X=[nlp("shares fall")], Y=numpy.zeros((1, 3), dtype="float32"))
    for layer, name in [(model.get_ref("output"), "W"), *((ngrams, "E") for ngrams in _trained_layers(model)[1:])]:
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
@pytest.mark.parametrize(("depth", "window"), LAYERS)
def test_prediction_equals_the_layers(nlp: Language, exclusive: bool, depth: int, window: int, rows: int) -> None:
    model = make_model(exclusive, window, rows, depth)
    docs = list(map(nlp, TEXTS))
    expected, _ = model(docs, True)
    predicted = model.predict(docs)
    assert predicted.shape == (len(docs), 3)
    numpy.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    if exclusive:
        numpy.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_linear_model_has_a_say_once_it_is_mixed(nlp: Language, exclusive: bool, depth: int) -> None:
    model = make_model(exclusive, rows=64, depth=depth, learns="logits", linear=True)
    docs = [*map(nlp, TEXTS), nlp("the striker and the bank")]
    own, _ = model(docs, True)
    numpy.testing.assert_allclose(_compact_predict(model, docs), own, rtol=1e-5, atol=1e-6)
    linear = linear_logits(model.get_ref("linear"), docs)
    assert numpy.abs(linear[-1] - linear[3]).max() > 0.1, "it knows these words"
    mix_linear(model, 0.5, 2.0, 0.25)
    mixed = 0.5 * own + 2.0 * linear + 0.25
    numpy.testing.assert_allclose(_compact_predict(model, docs), mixed, rtol=1e-4, atol=1e-4)
    expected = softmax(mixed, axis=1) if exclusive else expit(mixed)
    numpy.testing.assert_allclose(model.predict(docs), expected, atol=1e-4)


@pytest.mark.parametrize(("depth", "window"), LAYERS)
@pytest.mark.parametrize("rows", [0, 64])
def test_batch_and_order_do_not_matter(nlp: Language, depth: int, window: int, rows: int) -> None:
    model = make_model(window=window, rows=rows, depth=depth)
    docs = list(map(nlp, TEXTS))
    single = numpy.vstack([model.predict([doc]) for doc in docs])
    numpy.testing.assert_allclose(model.predict(docs), single, rtol=1e-5, atol=1e-6)
    order = [4, 0, 3, 6, 2, 5, 1]
    for is_train in (False, True):
        scores, _ = model([docs[i] for i in order], is_train)
        numpy.testing.assert_allclose(scores, single[order], rtol=1e-5, atol=1e-6)


def test_long_texts_come_in_smaller_batches(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    model, docs = make_model(depth=2), list(map(nlp, TEXTS))
    expected, sizes = model.predict(docs), []
    logits = components._compact_logits

    def count(model: Model, docs: list) -> numpy.ndarray:
        sizes.append([len(doc) for doc in docs])
        return logits(model, docs)

    monkeypatch.setattr(components, "MAX_WORDS_AT_ONCE", 5)
    monkeypatch.setattr(components, "_compact_logits", count)
    numpy.testing.assert_allclose(model.predict(docs), expected, rtol=1e-5, atol=1e-6)
    assert len(sizes) > 1 and sum(sizes, []) == [len(doc) for doc in docs]
    assert all(len(part) == 1 or sum(part) <= 5 for part in sizes)


def test_with_a_depth_words_are_read_in_their_order(nlp: Language) -> None:
    texts = ["goal shares fall", "shares goal fall", "goal shares", "the film goal shares fall rise star gold match"]
    flat, reads = (make_model(depth=depth).predict(list(map(nlp, texts))) for depth in (0, 2))
    numpy.testing.assert_allclose(flat[0], flat[1], atol=1e-6)
    assert numpy.abs(reads[0] - reads[1]).max() > 0.005


@pytest.mark.parametrize("depth", [0, 2])
def test_texts_without_words_get_a_score(nlp: Language, depth: int) -> None:
    model = make_model(depth=depth)
    empty, space, unknown = model.predict([nlp(""), nlp("  "), nlp("zzz")])
    numpy.testing.assert_allclose(empty, unknown, atol=1e-6)
    assert numpy.isfinite(space).all()
    numpy.testing.assert_allclose(model.predict([nlp("")])[0], empty, atol=1e-6)
    Y, backprop = model([nlp("")], True)
    backprop(Y - 1)
    assert all(numpy.isfinite(node.get_grad(name)).all() for node in model.walk() for name in node.grad_names)


@pytest.mark.parametrize(("exclusive", "learns"), [(True, "labels"), (False, "labels"), (True, "logits")])
@pytest.mark.parametrize(("window", "rows"), [(0, 0), (1, 64)])
def test_gradients_are_those_of_the_loss(nlp: Language, exclusive: bool, learns: str, window: int, rows: int) -> None:
    """Compare with finite differences of the cross-entropy, or of half of the squared error of the logits.

    spaCy's textcat passes `prediction - target`.
    """
    model = make_model(exclusive, window, rows, learns=learns)
    hidden, output = model.get_ref("hidden"), model.get_ref("output")
    # Away from the kink of the rectifier at 0, where a text without words would stand.
    hidden.set_param("b", numpy.asarray([0.3, -0.3, 0.2, 0.1], dtype="float32"))
    docs = [nlp(text) for text in TEXTS if text]
    target = numpy.eye(3, dtype="float32")[numpy.arange(len(docs)) % 3]

    def loss() -> float:
        if learns == "logits":
            return float(numpy.square(_compact_predict(model, docs).astype("float64") - target).sum() / 2)
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


def read_by_hand(model: Model, docs: list[Doc], params: dict[str, numpy.ndarray]) -> numpy.ndarray:
    """The logits of a model with a depth, text by text, in 64 bits, from the parameters of `parameters`."""
    result = []
    for doc in docs:
        words, index, _ = distinct_words([doc])
        known = word_vectors(model.get_ref("table"), words, doc.vocab.strings)[index].astype("float64")
        weights = known[:, -1:]
        mean = (known[:, :-1] * weights).sum(axis=0) * model.attrs["mean_scale"] / max(weights.sum(), 1e-6)
        x = known @ params["hidden W"].T + params["hidden b"]
        for number in range(model.attrs["depth"]):
            around = numpy.pad(x, ((1, 1), (0, 0)))
            seen = numpy.concatenate([around[:-2], around[1:-1], around[2:]], axis=1)
            x = x + numpy.maximum(seen @ params[f"{number} W"].T + params[f"{number} b"], 0)
        features = numpy.concatenate([mean, x.max(axis=0), x.mean(axis=0)])
        result.append(params["output W"] @ features + params["output b"])
    return numpy.asarray(result)


def parameters(model: Model) -> dict[str, tuple[Model, str]]:
    """Where the trained parameters of a model with a depth are."""
    layers = {"hidden": model.get_ref("hidden"), "output": model.get_ref("output")}
    layers |= {str(number): block for number, block in enumerate(_blocks(model))}
    return {f"{layer} {name}": (node, name) for layer, node in layers.items() for name in "Wb"}


@pytest.mark.parametrize(("exclusive", "learns"), [(True, "labels"), (False, "labels"), (True, "logits")])
@pytest.mark.parametrize("depth", [1, 2])
def test_what_reads_is_what_it_says_and_so_are_its_gradients(
    nlp: Language, exclusive: bool, learns: str, depth: int
) -> None:
    """Compare with the same in 64 bits: its values, and the finite differences of its loss."""
    model = make_model(exclusive, depth=depth, learns=learns)
    rng = numpy.random.default_rng(5)
    for block in _blocks(model):
        block.set_param("b", rng.normal(scale=0.3, size=4).astype("float32"))
    docs = [nlp(text) for text in TEXTS]
    target = numpy.eye(3)[numpy.arange(len(docs)) % 3]
    where = parameters(model)
    params = {key: node.get_param(name).astype("float64") for key, (node, name) in where.items()}
    assert len(params) == 4 + 2 * depth
    numpy.testing.assert_allclose(
        _compact_predict(model, docs), read_by_hand(model, docs, params), rtol=1e-4, atol=1e-5
    )

    def loss() -> float:
        logits = read_by_hand(model, docs, params)
        if learns == "logits":
            return float(numpy.square(logits - target).sum() / 2)
        if exclusive:
            return float(-(target * log_softmax(logits, axis=1)).sum())
        return float(numpy.logaddexp(0, numpy.where(target, -logits, logits)).sum())

    Y, backprop = model(docs, True)
    backprop(Y - target.astype("float32"))
    for key, (node, name) in where.items():
        for i, found in enumerate(node.get_grad(name).ravel()):
            value, sides = params[key].flat[i], []
            for change in (1e-6, -1e-6):
                params[key].flat[i] = value + change
                sides.append(loss())
            params[key].flat[i] = value
            assert found == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-3, abs=1e-4), (key, i)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("depth", [0, 2])
def test_learning_logits_comes_near_them(nlp: Language, exclusive: bool, depth: int) -> None:
    model = make_model(exclusive, depth=depth, learns="logits")
    docs = [nlp(text) for text in TEXTS if text]
    target = numpy.random.default_rng(3).normal(scale=3, size=(len(docs), 3)).astype("float32")
    optimizer, errors = Adam(0.02), []
    for _ in range(150):
        Y, backprop = model(docs, True)
        backprop(Y - target)
        model.finish_update(optimizer)
        errors.append(float(numpy.square(_compact_predict(model, docs) - target).mean()))
    assert errors[-1] < 0.1 * errors[0] and errors[-1] < 1
    logits = _compact_predict(model, docs)
    expected = softmax(logits, axis=1) if exclusive else expit(logits)
    numpy.testing.assert_allclose(model.predict(docs), expected, atol=1e-5)  # a pipeline gives probabilities


def test_what_it_learns_must_be_known() -> None:
    with pytest.raises(ValueError, match="learns must be one of labels, logits, it is 'both'"):
        TextCatCompact(True, learns="both")


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_bytes_hold_all_of_a_model(nlp: Language, depth: int) -> None:
    model = make_model(False, rows=64, depth=depth, learns="logits", linear=True)
    mix_linear(model, 0.5, 2.0, 0.25)
    docs = list(map(nlp, TEXTS))
    blank = TextCatCompact(False, hidden_width=4, ngram_rows=64, depth=depth, learns="logits", linear=True)
    loaded = blank.from_bytes(model.to_bytes())
    numpy.testing.assert_array_equal(loaded.predict(docs), model.predict(docs))
    assert loaded.to_bytes() == model.to_bytes()


def test_a_pipeline_of_version_1_gives_the_same_scores(nlp: Language) -> None:
    """The file holds a model's bytes and its scores by scripts/components.py of commit fd0e4f3, before version 2."""
    model = registry.architectures.get("textcat_ladder.TextCatCompact.v1")(
        True, hidden_width=4, window_size=1, ngram_rows=8
    )
    with numpy.load(V1) as arrays:
        model.from_bytes(arrays["model"].tobytes())
        docs = list(map(nlp, TEXTS))
        numpy.testing.assert_allclose(model.predict(docs), arrays["scores"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("depth", "window"), [(0, 0), (0, 1), (2, 0)])
def test_what_is_kept_of_words_is_that_of_the_present_parameters(nlp: Language, depth: int, window: int) -> None:
    model = make_model(window=window, depth=depth)
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


def make_pipeline(nlp: Language, folder: Path, factory: str, depth: int | None = None) -> Language:
    """A pipeline trained for a few steps on two labels; of version 1 without a depth."""
    numpy.savez(folder / "table.npz", **make_table())
    exclusive = factory == "textcat"
    architecture = {"@architectures": "textcat_ladder.TextCatCompact.v1", "exclusive_classes": exclusive}
    if depth is not None:
        architecture |= {"@architectures": "textcat_ladder.TextCatCompact.v2", "depth": depth}
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
@pytest.mark.parametrize("depth", [None, 0, 2])
def test_trained_pipeline_is_stored_whole_to_the_last_bit(
    nlp: Language, tmp_path: Path, factory: str, depth: int | None
) -> None:
    make_pipeline(nlp, tmp_path, factory, depth)
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


def test_only_the_start_of_a_long_text_is_learned_from(tmp_path):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("one two  three, four"), nlp.make_doc("short")]
    for doc in docs:
        doc.cats = {"a": 1.0}
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    found = list(TextStarts(tmp_path / "train.spacy", 4)(nlp))
    assert [example.text for example in found] == ["one two  three", "short"]
    assert all(example.reference.cats == {"a": 1.0} and len(example.predicted) <= 4 for example in found)
