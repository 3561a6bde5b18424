"""Registered functions of this project. One self-contained file, for `--code` and `spacy package --code`.

`textcat_ladder.TextCatCompact.v2` classifies a text by frozen word vectors. The vectors stand in a quantized table
inside the model: one row for each frequent word and for each word piece, with the word's weight. A word without a row
gets the mean of its pieces. The features of a text are the weighted mean of its vectors (Arora et al. 2017, "A simple
but tough-to-beat baseline for sentence embeddings") and the maximum over its tokens of a learned layer, or, where it
reads, the maximum and the mean of residual layers that see a word between its neighbours. Only these and the output are
trained.

`textcat_ladder.TextCatLinear.v1` classifies a text by TF-IDF of words, pairs and pieces of words, and a linear support
vector machine that has been fitted before (scripts.linear.fit_linear). Its words are hashed, its weights have 8 bits.

`textcat_ladder.TextCatWithLinear.v1` adds that linear model to any other text classifier.

`textcat_ladder.TextCatOnnx.v1` classifies a text by a fine-tuned transformer on numbers of 8 bits and fewer, without
PyTorch: ONNX Runtime does the work. It has been made of a trained transformer before (scripts.compress.export_int8), or
has been taught by one (scripts.distillation.imitate).

`textcat_ladder.PretrainVectors.v1` and `textcat_ladder.PretrainSentences.v1` are objectives for `spacy pretrain`; a
trained pipeline needs nothing of them.
"""

import ctypes
import os
import platform
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

import numpy
import srsly
from spacy import registry
from spacy.attrs import IS_SPACE, LOWER
from spacy.language import Language
from spacy.ml.models.multi_task import get_vectors_loss
from spacy.strings import StringStore, get_string_id
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus, Example
from spacy.vocab import Vocab
from thinc.api import (
    CosineDistance,
    Dropout,
    Linear,
    Logistic,
    Maxout,
    Model,
    Ops,
    Relu,
    chain,
    concatenate,
    expand_window,
    list2array,
    reduce_max,
    reduce_mean,
    residual,
    softmax_activation,
    with_array,
    zero_init,
)
from thinc.types import Floats2d, Ints1d, Ragged

TABLE_PARAMS = {"keys": ("uint32", 1), "codes": ("uint8", 2), "scales": ("float16", 1), "weights": ("float16", 1)}
# Shares of a row's largest value that the 16 levels may span: fewer large values are cut, all others get finer.
CLIPPING = (1.0, 0.9, 0.8, 0.7, 0.6)
MAX_PIECES = 8  # of an unknown word; longer ones are hardly words
MAX_PIECE_LENGTH = 24  # characters
# These bound the memory that a long-running pipeline takes: unknown words, and what all words contribute to the scores.
MAX_CACHED_WORDS = 20_000
MAX_CACHED_BYTES = 32_000_000
# Words of texts that are classified at a time, unless one text has more: each takes up to 8 KB where the model reads.
MAX_WORDS_AT_ONCE = 1 << 17
LOGISTIC = "logistic"  # thinc's name of the layer
LEARNS = ("labels", "logits")  # what TextCatCompact is trained with
# The arrays of a linear model: name, type, dimensions.
LINEAR_PARAMS = {
    "keys": ("uint32", 1),
    "weights": ("int8", 2),
    "idf": ("uint8", 1),
    "scales": ("float32", 2),
    "bias": ("float32", 1),
}
LINEAR_ROWS = 1 << 22  # that features are hashed to; the first half for words and pairs, the second for pieces of words
PIECE_SIZES = (3, 4, 5)  # characters
# Characters that say as much as a word elsewhere, kana and the common ideographs, have pieces of 1 and 2, too.
DENSE_CHARACTERS = (0x3040, 0xA000)
MAX_WORD_LENGTH = 10_000  # characters of a word that are looked at; where nothing splits words, a text is one
CHUNK_FLOATS = 1 << 20  # of what is looked up at a time
MAX_TAUGHT_WORDS = 2_000_000  # of labelled texts that are repeated beside a teacher's sentences
CHUNK_LETTERS = 1 << 19  # of words that are split into pieces at a time
_MULTIPLIER = numpy.uint64(0x9E3779B97F4A7C15)
# The arrays of a transformer for ONNX Runtime: name, type, dimensions. And its numbers.
ONNX_PARAMS = {
    "graph": ("uint8", 1),
    "tokenizer": ("uint8", 1),
    "codes": ("uint8", 3),
    "scales": ("float16", 2),
    "W": ("float32", 2),
    "b": ("float32", 1),
}
ONNX_NUMBERS = ("max_words", "max_pieces", "parameters")
# Word pieces, padding included, that go through the transformer at a time: more of them leave the processor's cache.
ONNX_BATCH = 512


# The quantized table


def quantize_rows(vectors: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Round each value to one of 16 levels, -7.5, -6.5 ... 7.5 times the scale of its row: 4 bits a value.

    Args:
        vectors: float, shape (rows, width), width even, values below 1e5.

    Returns:
        uint8 codes, shape (rows, width / 2): the first half of the values in the low 4 bits, the second half in the
        high ones. And float16 scales, shape (rows,). Of some scales the one with the least squared error is taken, so
        the root mean square of a row's errors is at most 1/15 of its largest value (half a step of the largest scale;
        usually it is half of that).
    """
    best = numpy.full(len(vectors), numpy.inf)
    levels = numpy.zeros(vectors.shape, dtype="uint8")
    scales = numpy.zeros(len(vectors), dtype="float16")
    for share in CLIPPING:
        trial = (numpy.abs(vectors).max(axis=1) * (share / 7.5)).astype("float16")
        steps = numpy.maximum(trial.astype("float32"), 1e-8)[:, None]
        rounded = numpy.clip(numpy.rint(vectors / steps + 7.5), 0, 15)
        errors = numpy.square((rounded - 7.5) * steps - vectors).sum(axis=1)
        better = errors < best
        best[better], scales[better] = errors[better], trial[better]
        levels[better] = rounded[better]
    half = vectors.shape[1] // 2
    return levels[:, :half] | levels[:, half:] << 4, scales


def unpack_rows(codes: numpy.ndarray, scales: numpy.ndarray, out: Floats2d) -> None:
    """Write into `out`, shape (rows, width), what `quantize_rows` has rounded."""
    half = codes.shape[1]
    out[:, :half] = codes & 15
    out[:, half:] = codes >> 4
    out -= 7.5
    out *= scales[:, None]


def word_key(word: str) -> int:
    """The table's key of a lower-cased word or `##piece`: the lower half of spaCy's 64-bit hash of it.

    Half is enough: with 30,000 rows, one unknown word in 140,000 meets a wrong row.
    """
    return get_string_id(word) & 0xFFFFFFFF


def split_word(word: str, find: Callable[[str], int]) -> list[int]:
    """The rows of a word's pieces: the longest match from the left, as in WordPiece, passing over what is not known.

    Args:
        word: lower-cased.
        find: gives the row of a piece (`piece` at the start of the word, `##piece` after it), or -1.
    """
    rows: list[int] = []
    start = 0
    while start < len(word) and len(rows) < MAX_PIECES:
        for end in range(min(len(word), start + MAX_PIECE_LENGTH), start, -1):
            row = find(word[start:end] if start == 0 else f"##{word[start:end]}")
            if row >= 0:
                rows.append(row)
                start = end
                break
        else:
            start += 1
    return rows


class _Unstored:
    """What a layer remembers: no dict, so that thinc does not store it. A copy, and another process, begin anew.

    Attributes:
        fetched: arrays of the layer, and what they are on the CPU: on a GPU to fetch them takes time.
    """

    fetched: tuple[list[Any], dict[str, numpy.ndarray]] = ([], {})

    def __reduce__(self) -> tuple:
        return type(self), ()

    def fetch(self, model: Model, names: Sequence[str]) -> dict[str, numpy.ndarray]:
        """The layer's arrays of these names on the CPU, the same ones as long as the layer's are the same."""
        known, fetched = self.fetched
        own = [model.get_param(name) for name in names]
        if len(known) != len(own) or any(one is not other for one, other in zip(known, own, strict=True)):
            fetched = dict(zip(names, map(_on_cpu, own), strict=True))
            self.fetched = own, fetched
        return fetched


class _Cache(_Unstored):
    """What has been computed for words, by hash.

    Attributes:
        vectors: of unknown words.
        rows: the words' rows in `scores` and `units`.
        scores: the word's weight, and its share of the mean in the scores of the classes times its weight.
        units: what it gives to each unit of the layer, as the token itself and as each neighbour.
        state: tells for which parameters of the model `scores` and `units` are.
        lock: for the attributes from `rows` on, as several threads may predict at a time.
    """

    def __init__(self) -> None:
        self.vectors: dict[int, numpy.ndarray] = {}
        self.rows: dict[int, int] = {}
        self.scores = self.units = None
        self.state: tuple = ()
        self.lock = Lock()


def WordTable(word_dropout: float = 0.0) -> Model[list[Doc], Ragged]:
    """Look up the tokens' frozen vectors in the quantized table.

    The output is a Ragged of shape (tokens, width + 1): the last column holds the token's weight. A text without
    words gets one token of zeros, so that each text has a maximum. While training, each token is left out with a
    probability of `word_dropout` times the dropout that the training sets, so that the model does not lean on single
    words.

    The parameters are set by `set_word_table`: `keys` (uint32, sorted), `codes` (uint8), `scales` and `weights`
    (float16).
    """
    return Model(
        "word_table",
        _word_table_forward,
        init=_word_table_init,
        dims={"nO": None},
        params=dict.fromkeys(TABLE_PARAMS),
        attrs={"word_dropout": word_dropout, "dropout_rate": 1.0, "cache": _Cache()},
    )


def _word_table_init(model: Model, X: Any = None, Y: Any = None) -> None:
    if not model.has_param("keys"):
        raise ValueError(
            "The word table is missing. Build it (scripts.encoder.quantize), and name it in [initialize.before_init]: "
            '@callbacks = "textcat_ladder.read_word_table.v1", path = ...'
        )


def set_word_table(model: Model, table: dict[str, numpy.ndarray]) -> None:
    """Give a WordTable layer its arrays.

    Raises:
        ValueError: an array is missing, or their types or shapes do not fit.
    """
    check_arrays(table, TABLE_PARAMS, "word table")
    if len({len(table[name]) for name in TABLE_PARAMS}) > 1:
        raise ValueError("The word table's arrays must have one row for each key.")
    if not (numpy.diff(table["keys"].astype("int64")) > 0).all():
        raise ValueError("The word table's keys must be sorted and distinct.")
    for name in TABLE_PARAMS:
        model.set_param(name, model.ops.asarray(table[name]))
    model.set_dim("nO", 2 * table["codes"].shape[1] + 1, force=True)
    model.attrs["cache"] = _Cache()


def _rows_of(model: Model, keys: numpy.ndarray) -> numpy.ndarray:
    """The rows of 64-bit hashes, -1 where there is none."""
    rows, found = _find_rows(model.get_param("keys"), (keys & 0xFFFFFFFF).astype("uint32"))
    return model.ops.xp.where(found, rows, -1)


def _dequantize(model: Model, rows: numpy.ndarray) -> Floats2d:
    """The vectors and, in the last column, the weights of rows; zeros for row -1."""
    codes, scales, weights = (model.get_param(name) for name in ("codes", "scales", "weights"))
    vectors = model.ops.alloc2f(len(rows), 2 * codes.shape[1] + 1, zeros=False)
    found = rows >= 0
    unpack_rows(codes[rows], scales[rows] * found, vectors[:, :-1])
    vectors[:, -1] = weights[rows] * found
    return vectors


def _compose_unknown(model: Model, word: str) -> numpy.ndarray:
    """The mean vector of a word's pieces with the weight of a rare word, 1; zeros if no piece is known."""
    xp = model.ops.xp

    def find(piece: str) -> int:
        return int(_rows_of(model, xp.asarray([get_string_id(piece)], dtype="uint64"))[0])

    rows = split_word(word, find) if not word.isspace() else []
    if not rows:
        return xp.zeros(model.get_dim("nO"), dtype="float32")
    vector = _dequantize(model, xp.asarray(rows)).mean(axis=0)
    vector[-1] = 1.0
    return vector


def distinct_words(docs: Sequence[Doc]) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """The distinct lower-cased words of a batch.

    Returns:
        Their hashes, uint64; for each token the index of its word; and the number of tokens of each text, at least 1:
        a text without tokens has one, whose hash is 0, that of the empty string.
    """
    arrays = [doc.to_array(LOWER) for doc in docs]
    lengths = numpy.fromiter(map(len, arrays), dtype="int32", count=len(arrays))
    if not lengths.all():
        nothing = numpy.zeros(1, dtype="uint64")
        arrays = [array if len(array) else nothing for array in arrays]
        lengths = lengths.clip(1)
    return *numpy.unique(numpy.concatenate(arrays), return_inverse=True), lengths


def word_vectors(model: Model, words: numpy.ndarray, strings: StringStore) -> Floats2d:
    """The vectors of words, given by their hashes: shape (words, width + 1)."""
    rows = _rows_of(model, model.ops.asarray(words))
    vectors = _dequantize(model, rows)
    cache = model.attrs["cache"].vectors
    for i in (rows < 0).nonzero()[0].tolist():
        word = int(words[i])
        vector = cache.get(word)
        if vector is None:
            if len(cache) >= MAX_CACHED_WORDS:
                cache.clear()
            vector = cache[word] = _compose_unknown(model, strings[word])
        vectors[i] = vector
    return vectors


def _drop_words(model: Model, index: Ints1d, lengths: Ints1d) -> tuple[Ints1d, Ints1d]:
    """Leave out tokens at random, but no text's last one."""
    ops = model.ops
    keep = ops.get_dropout_mask((len(index), 1), model.attrs["word_dropout"] * model.attrs["dropout_rate"])[:, 0] > 0
    ends = lengths.cumsum()
    keep[ends[ops.reduce_sum(ops.asarray2f(keep[:, None]), lengths)[:, 0] == 0] - 1] = True
    return index[keep], ops.asarray1i(ops.reduce_sum(ops.asarray2f(keep[:, None]), lengths)[:, 0])


def _word_table_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Ragged, Callable]:
    words, index, lengths = distinct_words(docs)
    vectors = word_vectors(model, words, docs[0].vocab.strings)
    index, lengths = model.ops.asarray1i(index), model.ops.asarray1i(lengths)
    if is_train and model.attrs["word_dropout"] * model.attrs["dropout_rate"] > 0:
        index, lengths = _drop_words(model, index, lengths)
    return Ragged(vectors[index], lengths), lambda gradient: []


# Words and word pairs


def HashedNgrams(rows: int, size: int = 2) -> Model[list[Doc], Floats2d]:
    """A linear model on a text's runs of 1 to `size` lower-cased words, spaces left out, in a hashed table.

    Output: shape (texts, nO), the sum of the rows that a text's runs fall on; zeros for a text without words. The
    parameter `E`, shape (rows, nO), is trained from zero. Runs that share a row share its values (Weinberger et al.
    2009, "Feature hashing for large scale multitask learning").
    """
    return Model(
        "hashed_ngrams",
        _ngrams_forward,
        init=_ngrams_init,
        dims={"nO": None},
        params={"E": None},
        attrs={"rows": rows, "size": size},
    )


def _ngrams_init(model: Model, X: Any = None, Y: Any = None) -> None:
    if Y is not None:
        model.set_dim("nO", Y.shape[1])
    model.set_param("E", model.ops.alloc2f(model.attrs["rows"], model.get_dim("nO")))


def words_of(docs: Sequence[Doc]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The hashes of the lower-cased words of texts, spaces left out, and which text each stands in; shape (words,)."""
    arrays = [doc.to_array([LOWER, IS_SPACE]).reshape((-1, 2)) for doc in docs]
    texts = numpy.repeat(numpy.arange(len(docs)), list(map(len, arrays)))
    words, spaces = numpy.concatenate(arrays).T
    return words[spaces == 0], texts[spaces == 0]


def hash_ngrams(docs: Sequence[Doc], rows: int, size: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The row of each run of words, and the index of the text that it stands in; both int, shape (runs,)."""
    words, texts = words_of(docs)
    runs, parts = words, [(words, texts)]
    for length in range(1, size):
        # The product is that of 64-bit integers, whose upper half depends on all bits; the order of words counts.
        runs = (runs[:-1] * numpy.uint64(0x9E3779B97F4A7C15)) ^ words[length:]
        same = texts[length:] == texts[:-length]
        parts.append((runs[same], texts[length:][same]))
    hashes, owners = (numpy.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ((hashes * numpy.uint64(0xD6E8FEB86659FD93)) >> numpy.uint64(33)).astype("int64") % rows, owners


def _ngrams_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    ops = model.ops
    rows, owners = map(ops.asarray1i, hash_ngrams(docs, model.attrs["rows"], model.attrs["size"]))
    E = model.get_param("E")
    Y = ops.alloc2f(len(docs), E.shape[1])
    ops.scatter_add(Y, owners, E[rows])

    def backprop(gradient: Floats2d) -> list:
        dE = ops.alloc2f(*E.shape)
        ops.scatter_add(dE, rows, gradient[owners])
        model.inc_grad("E", dE)
        return []

    return Y, backprop


# The classifier


def weighted_mean(scale: float = 1.0) -> Model[Ragged, Floats2d]:
    """The mean of the vectors of a text, weighted by the last column, times `scale`; zeros if all weights are 0.

    Input: Ragged, shape (tokens, width + 1). Output: shape (texts, width). The vectors are frozen: the gradient ends
    here.
    """
    return Model("weighted_mean", _weighted_mean_forward, attrs={"scale": scale})


def _weighted_mean_forward(model: Model, X: Ragged, is_train: bool) -> tuple[Floats2d, Callable]:
    weights = X.dataXd[:, -1:]
    sums = model.ops.reduce_sum(model.ops.as_contig(X.dataXd[:, :-1] * weights), X.lengths)
    total = model.ops.reduce_sum(model.ops.as_contig(weights), X.lengths)

    def backprop(gradient: Floats2d) -> Ragged:
        return Ragged(model.ops.alloc2f(*X.dataXd.shape), X.lengths)

    return sums * (model.attrs["scale"] / total.clip(1e-6)), backprop


@registry.architectures("textcat_ladder.TextCatCompact.v1")
def TextCatCompactV1(
    exclusive_classes: bool,
    hidden_width: int = 128,
    window_size: int = 0,
    mean_scale: float = 5.0,
    word_dropout: float = 0.5,
    ngram_rows: int = 0,
    linear: bool = False,
    nO: int | None = None,
) -> Model[list[Doc], Floats2d]:
    """`TextCatCompact` as it was: without depth. For pipelines that were trained with it."""
    return TextCatCompact(
        exclusive_classes, hidden_width, window_size, 0, mean_scale, word_dropout, ngram_rows, linear, nO=nO
    )


@registry.architectures("textcat_ladder.TextCatCompact.v2")
def TextCatCompact(
    exclusive_classes: bool,
    hidden_width: int = 128,
    window_size: int = 0,
    depth: int = 0,
    mean_scale: float = 5.0,
    word_dropout: float = 0.5,
    ngram_rows: int = 0,
    linear: bool = False,
    learns: str = "labels",
    nO: int | None = None,
) -> Model[list[Doc], Floats2d]:
    """Classify texts by frozen, quantized word vectors: their weighted mean, and what layers make of them, pooled.

    With a depth of 0 there is one layer, and its maximum over the text: the sum of what single words say. With more,
    that many residual layers follow, each of which sees a word between its neighbours (a convolution of 3 words), and
    their maximum and mean over the text are taken: the model reads.

    Args:
        exclusive_classes: softmax over the classes if true, one logistic function for each if not. The gradient is
            that of the cross-entropy in both cases.
        hidden_width: units of a layer.
        window_size: at a depth of 0, the layer sees each token with so many neighbours on each side. 0 suits topics; 1
            suits tasks where word order matters and there are thousands of examples.
        depth: number of residual layers.
        mean_scale: factor of the weighted mean, whose values are else far smaller than the layer's.
        word_dropout: share of the tokens left out at random in training, in units of the pipeline's `[training]
            dropout`: at a dropout of 0.3, 0.5 leaves out 0.15 of them.
        ngram_rows: rows of a hashed table of words and word pairs, a linear model whose scores are added before the
            softmax; 0 for none. It learns exact words and phrases, given thousands of examples.
        linear: whether a frozen linear model on exact words and pieces of words has a say (see `LinearScores`). The
            rest is trained without it; then `mix_linear` gives either its weight.
        learns: in training, from `labels`, or `logits`: targets that are a teacher's logits, by the squared error (Ba
            and Caruana 2014, "Do deep nets really need to be deep?").
        nO: number of classes; set from the labels.

    The pipeline's `[training] dropout` is applied to the features. The word table is read once, before training, by
    `textcat_ladder.read_word_table.v1`; after that it is part of the model.
    """
    if learns not in LEARNS:
        raise ValueError(f"learns must be one of {', '.join(LEARNS)}, it is {learns!r}.")
    table = WordTable(word_dropout)
    output = Linear(nO=nO, init_W=zero_init)
    if depth:
        # Linear, so that a word's values can be kept, as those that it gives to its neighbours.
        hidden = Linear(nO=hidden_width)
        read = (with_array(Relu(hidden_width, 3 * hidden_width)) for _ in range(depth))
        blocks = [residual(chain(expand_window(1), layer)) for layer in read]
        layers = chain(with_array(hidden), *blocks, concatenate(reduce_max(), reduce_mean()))
    else:
        hidden = Relu(nO=hidden_width)
        window = (expand_window(window_size),) if window_size else ()
        layers = chain(*window, with_array(hidden), reduce_max())
    features = chain(table, concatenate(weighted_mean(mean_scale), layers))
    scores = LinearScores() if linear else None
    trained = [chain(features, Dropout(), output), *([HashedNgrams(ngram_rows)] if ngram_rows else [])]
    model = Model(
        "textcat_compact",
        _compact_forward,
        init=_compact_init,
        layers=[*trained, *([scores] if scores else [])],
        dims={"nO": None},
        attrs={
            "multi_label": not exclusive_classes,
            "window_size": 1 if depth else window_size,
            "depth": depth,
            "mean_scale": mean_scale,
            "learns": learns,
            "mixed": False,
        },
        refs={
            "table": table,
            "features": features,
            "hidden": hidden,
            "output": output,
            "output_layer": output,
            "linear": scores,
        },  # fmt: skip
    )
    if nO is not None:
        model.set_dim("nO", nO)
    return model


def _compact_init(model: Model, X: Any = None, Y: Any = None) -> None:
    _word_table_init(model.get_ref("table"))
    _init_layers(model, X, Y)


def _init_layers(model: Model, X: Any = None, Y: Any = None) -> None:
    """Of a model whose layers all see the texts and give a score for each label."""
    for layer in model.layers:
        layer.initialize(X=X, Y=Y)
    if Y is not None:
        model.set_dim("nO", Y.shape[1], force=True)


def _activate(model: Model, logits: Floats2d) -> Floats2d:
    return model.ops.sigmoid(logits) if model.attrs["multi_label"] else model.ops.softmax(logits)


def _compact_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    if not is_train:
        return _activate(model, _compact_predict(model, docs)), lambda gradient: []
    scores, callbacks = zip(*(layer(docs, is_train) for layer in _trained_layers(model)), strict=True)
    logits = sum(scores[1:], scores[0])

    def backprop(gradient: Floats2d) -> list:
        # spaCy's textcat passes scores - truth: with respect to the logits that is the gradient of the cross-entropy,
        # and where the truth is a teacher's logits and they are the scores, that of the squared error.
        for callback in callbacks:
            callback(gradient)
        return []

    return logits if model.attrs.get("learns") == "logits" else _activate(model, logits), backprop


def _trained_layers(model: Model) -> list[Model]:
    """The layers of a TextCatCompact whose scores are added, without the linear model, which is frozen."""
    return [layer for layer in model.layers if layer is not linear_part(model)]


def linear_part(model: Model) -> Model | None:
    """The linear model of a TextCatCompact or a TextCatWithLinear, if it has one."""
    return model.maybe_get_ref("linear")


def mix_linear(model: Model, own: float, linear: float, bias: float = 0.0) -> None:
    """Give the two parts of a trained TextCatCompact or TextCatWithLinear their weights, in place.

    Done twice, the factors multiply.

    Args:
        model: one with a linear model.
        own: factor of the logits that were trained.
        linear: factor of the linear model's logits.
        bias: added to the logits of all labels.
    """
    scores = model.get_ref("linear")
    if "own" in model.attrs:
        model.attrs["bias"] = model.attrs["bias"] * own + bias
        model.attrs["own"] *= own
    else:  # They become part of the parameters.
        output = model.get_ref("output")
        output.set_param("W", output.get_param("W") * own)
        output.set_param("b", output.get_param("b") * own + bias)
        for ngrams in _trained_layers(model)[1:]:
            ngrams.set_param("E", ngrams.get_param("E") * own)
    for name in ("scales", "bias"):
        scores.set_param(name, scores.get_param(name) * linear)
    scores.attrs["cache"] = _LinearCache()
    model.attrs["mixed"] = True


def _by_place(layer: Model, places: int) -> Floats2d:
    """The weights of a layer on windows, for one word instead: shape (places * units, values), place by place."""
    width = layer.get_dim("nI") // places
    return layer.get_param("W").reshape((-1, places, width)).transpose((1, 0, 2)).reshape((-1, width))


def _blocks(model: Model) -> list[Model]:
    """The residual layers of a model with a depth, each a Relu on windows of three words."""
    return (
        [node for node in model.get_ref("features").walk() if node.name == "relu"] if model.attrs.get("depth") else []
    )


def _word_parts(model: Model, vectors: Floats2d) -> tuple[Floats2d, Floats2d]:
    """All that depends on one word alone, from the words' vectors: see `_Cache.scores` and `_Cache.units`."""
    ops = model.ops
    hidden, W = model.get_ref("hidden"), model.get_ref("output").get_param("W")
    width = vectors.shape[1] - 1
    weights = ops.as_contig(vectors[:, -1:])
    shares = ops.gemm(ops.as_contig(vectors[:, :-1]), ops.as_contig(W[:, :width]), trans2=True) * weights
    places = 2 * model.attrs["window_size"] + 1
    if blocks := _blocks(model):
        own = ops.affine(vectors, hidden.get_param("W"), hidden.get_param("b"))
        units = ops.xp.concatenate([own, ops.gemm(own, _by_place(blocks[0], places), trans2=True)], axis=1)
    else:
        units = ops.gemm(vectors, _by_place(hidden, places), trans2=True)
    return ops.xp.concatenate([weights, shares], axis=1), units


def _known_parts(model: Model, words: numpy.ndarray, strings: StringStore) -> tuple[Floats2d, Floats2d, numpy.ndarray]:
    """Two tables with the parts of words, given by their hashes, and the words' rows there.

    Most words of a batch have occurred before, and since their vectors are frozen, their parts are still the same.
    """
    ops, table, hidden = model.ops, model.get_ref("table"), model.get_ref("hidden")
    cache = table.attrs["cache"]
    params = [layer.get_param("W") for layer in (hidden, model.get_ref("output"), *_blocks(model)[:1])]
    # Training changes the parameters in place; their sums tell.
    state = tuple(float(param.sum()) for param in params)
    with cache.lock:
        if cache.state != state:
            cache.rows, cache.scores, cache.state = {}, None, state
        rows = [cache.rows.get(word, -1) for word in words.tolist()]
        missing = [i for i, row in enumerate(rows) if row < 0]
        if missing:
            n_scores, places = 1 + model.get_dim("nO"), 2 * model.attrs["window_size"] + 1
            n_units = hidden.get_dim("nO") * (places + bool(model.attrs.get("depth")))
            room = max(len(words), MAX_CACHED_BYTES // (4 * (n_scores + n_units)))
            if cache.scores is None or len(cache.rows) + len(missing) > len(cache.scores):
                cache.rows, missing = {}, list(range(len(words)))
                cache.scores, cache.units = (ops.alloc2f(room, n, zeros=False) for n in (n_scores, n_units))
            new = slice(len(cache.rows), len(cache.rows) + len(missing))
            cache.scores[new], cache.units[new] = _word_parts(model, word_vectors(table, words[missing], strings))
            for i, row in zip(missing, range(new.start, new.stop), strict=True):
                cache.rows[int(words[i])] = rows[i] = row
        return cache.scores, cache.units, numpy.asarray(rows)


def _sum_places(ops: Ops, given: Floats2d, window: int, owners: Ints1d) -> Floats2d:
    """What each token gets from itself and its neighbours in its text.

    Args:
        ops: of the model.
        given: what each token gives to the one `window` places after it, ..., to the one `window` places before it:
            shape (tokens, (2 * window + 1) * units).
        window: neighbours on each side.
        owners: the number of each token's text.

    Returns:
        shape (tokens, units).
    """
    n_units = given.shape[1] // (2 * window + 1)
    tokens = ops.as_contig(given[:, window * n_units : (window + 1) * n_units])
    for offset in range(1, window + 1):
        same = (owners[offset:] == owners[:-offset])[:, None]
        before, after = window - offset, window + offset
        tokens[offset:] += given[:-offset, before * n_units : (before + 1) * n_units] * same
        tokens[:-offset] += given[offset:, after * n_units : (after + 1) * n_units] * same
    return tokens


def _compact_predict(model: Model, docs: Sequence[Doc]) -> Floats2d:
    """The logits. Long texts come in smaller batches, so that memory does not grow with their number."""
    parts: list[list[Doc]] = [[]]
    room = MAX_WORDS_AT_ONCE
    for doc in docs:
        if parts[-1] and len(doc) > room:
            parts.append([])
            room = MAX_WORDS_AT_ONCE
        parts[-1].append(doc)
        room -= len(doc)
    if len(parts) == 1:
        return _compact_logits(model, docs)
    return model.ops.xp.concatenate([_compact_logits(model, part) for part in parts])


def _compact_logits(model: Model, docs: Sequence[Doc]) -> Floats2d:
    """The logits of a batch, in a cheaper order than in training: what a word alone decides is done once for each."""
    ops = model.ops
    hidden, output = model.get_ref("hidden"), model.get_ref("output")
    words, index, lengths = distinct_words(docs)
    scores, units, rows = _known_parts(model, words, docs[0].vocab.strings)
    # Before it goes to a GPU: CuPy repeats by no numbers that are there.
    owners = ops.asarray1i(numpy.repeat(numpy.arange(len(docs)), lengths if model.attrs["window_size"] else 0))
    index, lengths = ops.asarray1i(rows[index]), ops.asarray1i(lengths)
    # The mean.
    sums = ops.reduce_sum(scores[index], lengths)
    logits = sums[:, 1:] * (model.attrs["mean_scale"] / sums[:, :1].clip(1e-6))
    # The layers: each word as the token itself and as its neighbours.
    window, n_units, given = model.attrs["window_size"], hidden.get_dim("nO"), units[index]
    if blocks := _blocks(model):
        tokens, given = ops.as_contig(given[:, :n_units]), given[:, n_units:]
        for number, block in enumerate(blocks):
            if number:
                given = ops.gemm(tokens, _by_place(block, 3), trans2=True)
            tokens += ops.relu(_sum_places(ops, given, 1, owners) + block.get_param("b"))
        features = ops.xp.concatenate([ops.reduce_max(tokens, lengths)[0], ops.reduce_mean(tokens, lengths)], axis=1)
    else:
        tokens = _sum_places(ops, given, window, owners)
        # The maximum may come first: neither the bias nor the rectifier changes the order.
        features = ops.relu(ops.reduce_max(tokens, lengths)[0] + hidden.get_param("b"))
    W = output.get_param("W")
    logits += ops.affine(features, ops.as_contig(W[:, -features.shape[1] :]), output.get_param("b"))
    for ngrams in _trained_layers(model)[1:]:
        logits += ngrams.predict(docs)
    if model.attrs.get("mixed"):
        logits += ops.asarray2f(linear_logits(model.get_ref("linear"), docs))
    return logits


@registry.callbacks("textcat_ladder.read_word_table.v1")
def read_word_table(
    path: Path, linear: Path | None = None, component: str = "textcat"
) -> Callable[[Language], Language]:
    """For `[initialize.before_init]`: read the table (.npz, made by scripts.encoder.quantize) into a component's model.

    A trained pipeline holds the table and never asks for the file.

    Args:
        path: the table.
        linear: the linear model, if the component's model has one; see `read_linear`.
        component: name of the text classifier.
    """

    def before_init(nlp: Language) -> Language:
        with numpy.load(path, allow_pickle=False) as arrays:
            table = {name: arrays[name] for name in TABLE_PARAMS if name in arrays}
        set_word_table(nlp.get_pipe(component).model.get_ref("table"), table)
        return read_linear(linear, component, "linear")(nlp) if linear else nlp

    return before_init


@registry.callbacks("textcat_ladder.set_base_rates.v1")
def set_base_rates(path: Path, component: str = "textcat") -> Callable[[Language], Language]:
    """For `[initialize.after_init]`: a component's scores start at the shares of the labels in a corpus (.spacy).

    Started at zero, a bias moves by no more than the sum of the learning rates, and until then the features learn that
    most labels are rare.
    """

    def after_init(nlp: Language) -> Language:
        pipe = nlp.get_pipe(component)
        texts = [doc.cats for doc in DocBin().from_disk(path).get_docs(nlp.vocab)]
        counts = numpy.asarray([sum(cats[label] for cats in texts) for label in pipe.labels])
        if pipe.model.attrs["multi_label"]:
            bias = numpy.log(counts + 0.5) - numpy.log(len(texts) - counts + 0.5)
        else:
            bias = numpy.log((counts + 1) / (len(texts) + len(counts)))
        output = pipe.model.get_ref("output_layer")
        output.set_param("b", output.ops.asarray1f(bias.astype("float32")))
        return nlp

    return after_init


@registry.callbacks("textcat_ladder.cross_entropy.v1")
def learn_by_cross_entropy(path: Path, component: str = "textcat") -> Callable[[Language], Language]:
    """For `[initialize.after_init]`: where texts may have several labels, a model of spaCy's own learns as others do.

    spaCy's loss passes scores - truth, the gradient of the cross-entropy with respect to the logits; thinc's logistic
    function multiplies it by its slope, which makes it that of the squared error: next to nothing for a score near 0
    that should be 1, so rare labels are hardly learned (Golik et al. 2013, "Cross-entropy vs. squared error training").
    And its weights start at random, where those of thinc's softmax start at nothing. Here they start at nothing, so
    scores start at the labels' shares, see `set_base_rates`. Where labels exclude each other, all is as it should be.

    Nothing of it is stored.

    Args:
        path: of the corpus (.spacy).
        component: name of the text classifier.
    """

    def after_init(nlp: Language) -> Language:
        model = nlp.get_pipe(component).model
        if not model.attrs["multi_label"]:
            return nlp
        for node in [node for node in model.walk() if node.name == LOGISTIC]:
            model.replace_node(node, Model(LOGISTIC, _logistic_forward))
        output = model.get_ref("output_layer")
        output.set_param("W", output.ops.alloc_f(output.get_param("W").shape))
        return set_base_rates(path, component)(nlp)

    return after_init


def _logistic_forward(model: Model, logits: Floats2d, is_train: bool) -> tuple[Floats2d, Callable]:
    return model.ops.sigmoid(logits), lambda gradient: gradient


@registry.callbacks("textcat_ladder.in_turn.v1")
def in_turn(*callbacks: Callable[[Language], Language]) -> Callable[[Language], Language]:
    """For `[initialize.after_init]`: several functions, one after another."""

    def after_init(nlp: Language) -> Language:
        for callback in callbacks:
            nlp = callback(nlp)
        return nlp

    return after_init


# The linear model


def hash_rows(hashes: numpy.ndarray) -> numpy.ndarray:
    """Spread hashes, uint64, over half of the rows: from 0 to LINEAR_ROWS / 2 - 1, int64, same shape.

    By multiply-shift hashing (Dietzfelbinger et al. 1997, "A reliable randomized algorithm for the closest-pair
    problem").
    """
    mixed = (hashes ^ (hashes >> numpy.uint64(32))) * _MULTIPLIER
    return (mixed >> numpy.uint64(66 - LINEAR_ROWS.bit_length())).astype("int64")


def count_words(docs: Sequence[Doc]) -> tuple[numpy.ndarray, tuple, tuple]:
    """The lower-cased words of texts, and pairs of neighbours; spaces are left out.

    Returns:
        The hashes of the distinct words, uint64; then, for each word that a text has, the text, the index of the word
        and its value, 1 + the log of its count; and the same for pairs, with their rows. All sorted by text.
    """
    tokens, texts = words_of(docs)
    words, index = numpy.unique(tokens, return_inverse=True)
    pairs = hash_rows(tokens[:-1] * numpy.uint64(3) + (tokens[1:] ^ _MULTIPLIER))
    together = texts[1:] == texts[:-1]
    return words, _count(texts, index, len(words)), _count(texts[:-1][together], pairs[together], LINEAR_ROWS)


def _count(texts: numpy.ndarray, features: numpy.ndarray, n_features: int) -> tuple:
    keys, counts = numpy.unique(texts * n_features + features, return_counts=True)
    return *numpy.divmod(keys, max(n_features, 1)), 1 + numpy.log(counts.astype("float32"))


def cut_words(words: Sequence[str]) -> Iterator[slice]:
    """Cut words into parts whose pieces fit into little memory: where words have no spaces between, each is a text."""
    letters = numpy.cumsum([min(len(word), MAX_WORD_LENGTH) for word in words], dtype="int64")
    starts = numpy.unique(letters // CHUNK_LETTERS, return_index=True)[1].tolist()
    yield from map(slice, starts, [*starts[1:], len(words)])


def split_pieces(words: Sequence[str]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The pieces of words: the runs of 3 to 5 characters in a word with a space on either side.

    Args:
        words: at least one.

    Returns:
        The pieces' rows, and the indices of their words: int64, shape (pieces,).
    """
    padded = [f" {word[:MAX_WORD_LENGTH]} " for word in words]
    letters = numpy.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="uint32").astype("uint64")
    owners = numpy.repeat(numpy.arange(len(padded)), list(map(len, padded)))
    dense = (letters >= DENSE_CHARACTERS[0]) & (letters < DENSE_CHARACTERS[1])
    found, hashes, all_dense = [], numpy.zeros_like(letters), numpy.ones(len(letters), dtype=bool)
    for size in range(1, min(max(PIECE_SIZES), len(letters)) + 1):
        # A run's hash is made of that of the run without the last character.
        n = len(letters) - size + 1
        hashes = (hashes[:n] + letters[size - 1 :] + numpy.uint64(1)) * _MULTIPLIER
        hashes ^= hashes >> numpy.uint64(29)
        all_dense = all_dense[:n] & dense[size - 1 :]
        wanted = (owners[:n] == owners[size - 1 :]) & (all_dense | (size in PIECE_SIZES))
        found.append((LINEAR_ROWS // 2 + hash_rows(hashes[wanted]), owners[:n][wanted]))
    pieces, index = map(numpy.concatenate, zip(*found, strict=True))
    return pieces, index


# Running it


class _LinearCache(_Unstored):
    """What words contribute, by hash.

    Attributes:
        weights: the layer's array that the rest is for.
        rows: the words' rows in `parts`.
        parts: see `_linear_parts`.
        lock: several threads may predict at a time. Rows that another thread was given are never written again.
    """

    def __init__(self) -> None:
        self.weights: numpy.ndarray | None = None
        self.rows: dict[int, int] = {}
        self.parts = numpy.zeros((0, 0), dtype="float32")
        self.lock = Lock()


def LinearScores() -> Model[list[Doc], Floats2d]:
    """The logits of a frozen linear model on TF-IDF of words, pairs of words, and pieces of words.

    Output: shape (texts, nO). A text's words and pairs have a length of 1 together, and so have its pieces. The
    length of the pieces is that of the words' pieces, as if words had none in common, so that it can be had by word.
    A text without words gets the bias.

    The parameters are set by `set_linear`, for the rows that are kept: `keys`, uint32, shape (kept,), sorted;
    `weights`, int8, shape (kept, nO); `idf`, uint8, shape (kept,), in any unit; `scales`, float32, shape (2, nO), of
    the weights of either half; `bias`, float32, shape (nO,). What calibrates the logits is part of the scales and the
    bias.
    """
    return Model(
        "linear_scores",
        _linear_forward,
        init=_linear_init,
        dims={"nO": None},
        params=dict.fromkeys(LINEAR_PARAMS),
        attrs={"cache": _LinearCache()},
    )


def _linear_init(model: Model, X: Any = None, Y: Any = None) -> None:
    if not model.has_param("weights"):
        raise ValueError(
            "The linear model is missing. Fit it (scripts.linear.fit_linear), and name it in [initialize.before_init]: "
            '@callbacks = "textcat_ladder.read_linear.v1", path = ...'
        )
    if Y is not None and Y.shape[1] != model.get_dim("nO"):
        raise ValueError(f"The linear model was fitted to {model.get_dim('nO')} labels, here are {Y.shape[1]}.")


def check_arrays(arrays: dict[str, numpy.ndarray], expected: dict[str, tuple[str, int]], owner: str) -> None:
    """Make sure that arrays have the types and dimensions that a layer expects.

    Raises:
        ValueError: one is missing, or another.
    """
    for name, (dtype, ndim) in expected.items():
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.ndim != ndim:
            raise ValueError(f"The {owner}'s {name!r} must be {dtype}, {ndim}-dimensional.")


def set_linear(model: Model, arrays: dict[str, numpy.ndarray]) -> None:
    """Give a LinearScores layer its arrays.

    Raises:
        ValueError: an array is missing, or their types or shapes do not fit.
    """
    check_arrays(arrays, LINEAR_PARAMS, "linear model")
    rows, n_labels = arrays["weights"].shape
    shapes = [(rows,), (rows,), (2, n_labels), (n_labels,)]
    if not rows or [arrays[name].shape for name in ("keys", "idf", "scales", "bias")] != shapes:
        raise ValueError("The linear model's arrays must fit one another, and hold a row.")
    if not (numpy.diff(arrays["keys"].astype("int64")) > 0).all():
        raise ValueError("The linear model's keys must be sorted and distinct.")
    model.set_dim("nO", n_labels, force=True)
    for name in LINEAR_PARAMS:
        model.set_param(name, model.ops.asarray(arrays[name]))


def _sum_rows(
    table: numpy.ndarray, rows: numpy.ndarray, values: numpy.ndarray, texts: numpy.ndarray, n_texts: int
) -> numpy.ndarray:
    """For each text the sum of its rows times their values: float32, shape (n_texts, width). Texts are sorted."""
    sums = numpy.zeros((n_texts, table.shape[1]), dtype="float32")
    step = max(1, CHUNK_FLOATS // table.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        inside, starts = numpy.unique(texts[part], return_index=True)
        sums[inside] += numpy.add.reduceat(table[rows[part]] * values[part, None], starts, axis=0)
    return sums


def _find_rows(keys: numpy.ndarray, rows: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Where rows stand among those that are kept, and whether they do."""
    found = keys.searchsorted(rows).clip(0, len(keys) - 1)
    return found, keys[found] == rows


def _linear_parts(words: numpy.ndarray, strings: StringStore, params: dict[str, numpy.ndarray]) -> numpy.ndarray:
    """All that depends on a word alone, given its hash, for a count of 1.

    Returns:
        float32, shape (words, 2 nO + 2): the scores of the word, and of its pieces; the squared lengths of both.
    """
    texts = [strings[word] for word in words.tolist()]
    return numpy.vstack([_parts_of(words[part], texts[part], params) for part in cut_words(texts)])


def _parts_of(words: numpy.ndarray, texts: Sequence[str], params: dict[str, numpy.ndarray]) -> numpy.ndarray:
    """What `_linear_parts` says of some words, given the texts of their hashes, too."""
    keys, weights, idf, scales = (params[name] for name in ("keys", "weights", "idf", "scales"))
    own, known = _find_rows(keys, hash_rows(words))
    own_idf = idf[own].astype("float32") * known
    pieces, index = split_pieces(texts)
    order = index.argsort(kind="stable")
    pieces, index, counts = _merge(pieces[order], index[order])
    pieces, known = _find_rows(keys, pieces)
    pieces, index, values = pieces[known], index[known], counts[known] * idf[pieces[known]]
    return numpy.hstack(
        [
            weights[own] * own_idf[:, None] * scales[0],
            _sum_rows(weights, pieces, values, index, len(words)) * scales[1],
            numpy.square(own_idf)[:, None],
            numpy.bincount(index, numpy.square(values), len(words)).astype("float32")[:, None],
        ]
    )


def _merge(pieces: numpy.ndarray, index: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """The distinct pieces of each word, the indices of their words, and how often they occur in it."""
    keys, counts = numpy.unique(index * LINEAR_ROWS + pieces, return_counts=True)
    return keys % LINEAR_ROWS, keys // LINEAR_ROWS, counts.astype("float32")


def _linear_rows(
    cache: _LinearCache, words: numpy.ndarray, strings: StringStore, params: dict[str, numpy.ndarray]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A table with the parts of words, given by their hashes, and the words' rows there."""
    width = 2 * params["weights"].shape[1] + 2
    with cache.lock:
        if cache.weights is not params["weights"]:
            cache.weights, cache.rows, cache.parts = params["weights"], {}, numpy.zeros((0, width), dtype="float32")
        rows = [cache.rows.get(word, -1) for word in words.tolist()]
        missing = [i for i, row in enumerate(rows) if row < 0]
        if missing:
            if len(cache.rows) + len(missing) > len(cache.parts):
                room = max(len(words), min(MAX_CACHED_WORDS, MAX_CACHED_BYTES // (4 * width)))
                cache.rows, cache.parts = {}, numpy.empty((room, width), dtype="float32")
                missing = list(range(len(words)))
            first = len(cache.rows)
            cache.parts[first : first + len(missing)] = _linear_parts(words[missing], strings, params)
            for row, i in enumerate(missing, first):
                cache.rows[int(words[i])] = rows[i] = row
        return cache.parts, numpy.asarray(rows, dtype="int64")


def linear_logits(model: Model, docs: Sequence[Doc]) -> numpy.ndarray:
    """The calibrated logits of a LinearScores layer: float32, shape (texts, nO). Always on the CPU."""
    if not docs:
        return numpy.zeros((0, model.get_dim("nO")), dtype="float32")
    params = model.attrs["cache"].fetch(model, tuple(LINEAR_PARAMS))
    weights, scales = params["weights"], params["scales"]
    words, (texts, index, values), (pair_texts, pairs, pair_values) = count_words(docs)
    n, n_labels = len(docs), weights.shape[1]
    scores, lengths = numpy.zeros((n, 2 * n_labels), dtype="float32"), numpy.zeros((n, 2))
    if len(words):
        parts, rows = _linear_rows(model.attrs["cache"], words, docs[0].vocab.strings, params)
        rows = rows[index]
        scores = _sum_rows(parts, rows, values, texts, n)[:, :-2]
        for block in range(2):
            squares = numpy.square(values) * parts[rows, 2 * n_labels + block]
            lengths[:, block] = numpy.bincount(texts, squares, n)
    pairs, known = _find_rows(params["keys"], pairs)
    pair_texts, pairs = pair_texts[known], pairs[known]
    pair_values = pair_values[known] * params["idf"][pairs]
    scores[:, :n_labels] += _sum_rows(weights, pairs, pair_values, pair_texts, n) * scales[0]
    lengths[:, 0] += numpy.bincount(pair_texts, numpy.square(pair_values), n)
    lengths = numpy.sqrt(lengths).clip(1e-6).astype("float32")
    return scores[:, :n_labels] / lengths[:, :1] + scores[:, n_labels:] / lengths[:, 1:] + params["bias"]


def _on_cpu(array: Any) -> numpy.ndarray:
    return array if isinstance(array, numpy.ndarray) else array.get()


def _linear_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    return model.ops.asarray2f(linear_logits(model, docs)), lambda gradient: []


@registry.architectures("textcat_ladder.TextCatLinear.v1")
def TextCatLinear(exclusive_classes: bool, nO: int | None = None) -> Model[list[Doc], Floats2d]:
    """A text classifier that is a frozen linear model on TF-IDF features (see `LinearScores`, its ref `scores`).

    Args:
        exclusive_classes: True for `textcat`, False for `textcat_multilabel`.
        nO: number of classes; set from the labels.

    Training changes nothing. The model is read once, before training, by `textcat_ladder.read_linear.v1`.
    """
    return frozen_classifier(LinearScores(), exclusive_classes, nO)


@registry.architectures("textcat_ladder.TextCatWithLinear.v1")
def TextCatWithLinear(exclusive_classes: bool, model: Model[list[Doc], Floats2d]) -> Model[list[Doc], Floats2d]:
    """Any text classifier, and a frozen linear model on exact words and pieces of words (see `LinearScores`).

    What is trained is the classifier, as if it were alone. Then `mix_linear` gives either its weight: from there on the
    scores are those of the sum of both logits.

    Args:
        exclusive_classes: as of the classifier.
        model: the classifier, whose output are probabilities.

    The linear model is read once, before training, by `textcat_ladder.read_linear.v1`, `ref = "linear"`.
    """
    scores = LinearScores()
    refs = {name: model.maybe_get_ref(name) for name in model.ref_names}
    return Model(
        "textcat_with_linear",
        _with_linear_forward,
        init=_init_layers,
        layers=[model, scores],
        dims={"nO": None},
        attrs={"multi_label": not exclusive_classes, "own": 1.0, "bias": 0.0, "mixed": False},
        refs={**refs, "linear": scores},
    )


def _with_linear_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    trained, scores = model.layers
    if is_train or not model.attrs["mixed"]:
        return trained(docs, is_train)
    ops, full = model.ops, [i for i, doc in enumerate(docs) if len(doc)]
    logits = ops.asarray2f(linear_logits(scores, docs)) + model.attrs["bias"]
    if full:  # many layers of thinc's fail at a text without a word
        found = trained.predict([docs[i] for i in full])
        # Up to what does not matter to softmax, the logits are the logarithms; a score may be 0 or 1 by rounding.
        own = ops.xp.log(found.clip(1e-12, None))
        if model.attrs["multi_label"]:
            own -= ops.xp.log((1 - found).clip(1e-12, None))
        logits[ops.asarray1i(full)] += model.attrs["own"] * own
    return _activate(model, logits), lambda gradient: []


def frozen_classifier(scores: Model[list[Doc], Floats2d], exclusive_classes: bool, nO: int | None) -> Model:
    """A classifier of a layer that gives logits and learns nothing: its refs `scores` and `output_layer`."""
    model = chain(scores, softmax_activation() if exclusive_classes else Logistic())
    model.set_ref("scores", scores)
    model.set_ref("output_layer", scores)
    model.attrs["multi_label"] = not exclusive_classes
    if nO is not None:
        scores.set_dim("nO", nO)
    return model


def read_arrays(path: Path, names: Iterable[str], pipe: Any) -> dict[str, numpy.ndarray]:
    """Arrays of a .npz file, those of these names that it has; its labels become those of a text classifier.

    Raises:
        ValueError: that has other labels already, or these in another order.
    """
    with numpy.load(path, allow_pickle=False) as arrays:
        labels = arrays["labels"].tolist()
        for label in labels:
            pipe.add_label(label)
        if list(pipe.labels) != labels:
            raise ValueError(f"{path}: its labels are not those of {pipe.name!r}, or in another order.")
        return {name: arrays[name] for name in names if name in arrays}


@registry.callbacks("textcat_ladder.read_linear.v1")
def read_linear(path: Path, component: str = "textcat", ref: str = "scores") -> Callable[[Language], Language]:
    """For `[initialize.before_init]`: read the linear model (.npz, made by scripts.linear.fit_linear) into a component.

    The component gets the labels in the order of the file. A trained pipeline never asks for the file.

    Args:
        path: the file.
        component: name of the text classifier.
        ref: of its model, the LinearScores layer.

    Raises (when called):
        ValueError: the component has other labels already, or these in another order.
    """

    def before_init(nlp: Language) -> Language:
        pipe = nlp.get_pipe(component)
        set_linear(pipe.model.get_ref(ref), read_arrays(path, LINEAR_PARAMS, pipe))
        return nlp

    return before_init


# A transformer without PyTorch


class _Engine(_Unstored):
    """What runs a transformer: ONNX Runtime's session and the tokenizer. Opened when a text comes, in each process.

    A session lives in one process, and its forks open their own.

    Attributes:
        opened: the process, the graph's array, the session and the tokenizer. Set at once: threads need no lock.
    """

    def __init__(self) -> None:
        self.opened: tuple = (None, None, None, None)
        _ENGINES.add(self)

    def open(self, graph: numpy.ndarray, tokenizer: numpy.ndarray) -> tuple[Any, Any]:
        """The session and the tokenizer.

        Raises:
            ImportError: a package is missing.
            ValueError: what is stored is broken.
        """
        opened = self.opened
        if opened[0] != os.getpid() or opened[1] is not graph:
            opened = self.opened = (os.getpid(), graph, *_open_engine(graph, tokenizer))
        return opened[2:]


_ENGINES: WeakSet[_Engine] = WeakSet()


def _keep_sessions() -> None:
    """In a fork: never end the sessions of the process before. That waits for their threads, which are not here."""
    for engine in _ENGINES:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine.opened))


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_keep_sessions)


def _open_engine(graph: numpy.ndarray, tokenizer: numpy.ndarray) -> tuple[Any, Any]:
    try:
        from onnxruntime import InferenceSession, SessionOptions
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(
            f"This pipeline's transformer needs a package more ({error}): python -m pip install onnxruntime tokenizers"
        ) from None
    options = SessionOptions()
    # As the libraries below other models: what the variable says, or else all cores.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    # Threads that wait do not keep a core busy: others may need it, such as more processes of the same pipeline.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    try:
        return (
            InferenceSession(zlib.decompress(_on_cpu(graph).tobytes()), options, providers=["CPUExecutionProvider"]),
            Tokenizer.from_str(zlib.decompress(_on_cpu(tokenizer).tobytes()).decode("utf-8")),
        )
    except Exception as error:  # of classes that ONNX Runtime and tokenizers do not share
        raise ValueError(
            f"The pipeline's transformer is broken or too new for this onnxruntime ({str(error).splitlines()[0]}). Get "
            "the pipeline again, or update: python -m pip install -U onnxruntime tokenizers"
        ) from None


def OnnxScores() -> Model[list[Doc], Floats2d]:
    """The logits of a fine-tuned transformer, run by ONNX Runtime on the CPU. Output: shape (texts, nO).

    It does what spacy-transformers and `spacy.TextCatReduce.v1` do: a text's first words go through the transformer in
    overlapping windows (see `first_words`), each word gets the mean of its pieces, the text the mean of its words, and
    the labels a linear layer of that. A text without words gets the bias.

    The parameters are set by `set_onnx`. `graph` is the ONNX model, compressed by zlib: from the `vectors` of pieces,
    their `mask` (0 for padding) and their `shares` to the sum of its outputs times the shares. `tokenizer` is the
    tokenizer's JSON, compressed. `codes`, (pieces, groups, half a group's values), and `scales`, (pieces, groups), are
    the pieces' vectors in groups of values, each as `quantize_rows` rounds it. `W` and `b` are the linear layer's.

    The attributes are `max_words` that are read of a text (0 for all), `max_pieces` of a window, and how many
    `parameters` the transformer has.
    """
    return Model(
        "onnx_scores",
        _onnx_forward,
        init=_onnx_init,
        dims={"nO": None},
        params=dict.fromkeys(ONNX_PARAMS),
        attrs={"engine": _Engine(), **dict.fromkeys(ONNX_NUMBERS, 0)},
    )


def _onnx_init(model: Model, X: Any = None, Y: Any = None) -> None:
    if not model.has_param("graph"):
        raise ValueError(
            "There is no transformer to run. This variant is not trained by itself: make its file with export-int8 or "
            "imitate (the workflows transformer-int8 and transformer-distilled do), and name it in "
            "[initialize.before_init]: "
            '@callbacks = "textcat_ladder.read_onnx.v1", path = ...'
        )
    if Y is not None and Y.shape[1] != model.get_dim("nO"):
        raise ValueError(f"The transformer was trained on {model.get_dim('nO')} labels, here are {Y.shape[1]}.")


def set_onnx(model: Model, arrays: dict[str, numpy.ndarray]) -> None:
    """Give an OnnxScores layer its arrays and numbers.

    Raises:
        ValueError: one is missing, or their types or shapes do not fit.
    """
    check_arrays(arrays, ONNX_PARAMS, "transformer")
    if missing := [name for name in ONNX_NUMBERS if name not in arrays]:
        raise ValueError(f"The transformer's {missing[0]!r} is missing.")
    if arrays["codes"].shape[:2] != arrays["scales"].shape or len(arrays["W"]) != len(arrays["b"]):
        raise ValueError("The transformer's arrays must fit one another.")
    model.set_dim("nO", len(arrays["b"]), force=True)
    for name in ONNX_PARAMS:
        model.set_param(name, model.ops.asarray(arrays[name]))
    for name in ONNX_NUMBERS:
        model.attrs[name] = int(arrays[name])


def cut_up(
    docs: Sequence[Doc], tokenizer: Any, max_words: int, max_pieces: int
) -> tuple[list[numpy.ndarray], list[numpy.ndarray], list[int]]:
    """Texts as windows of word pieces.

    Args:
        docs: texts.
        tokenizer: with special pieces, without padding and without truncation (a `tokenizers.Tokenizer`).
        max_words: see `first_words`.
        max_pieces: of a window; more are cut off.

    Returns:
        For each window its pieces' numbers, int64; the share of each piece in the mean of its text, float32, so that
        the shares of all windows of a text have a sum of 1, or less if a word has no pieces; and the index of the text.
    """
    numbers, offsets, starts, words, texts = [], [], [], [], []
    lengths = numpy.fromiter((min(len(doc), max_words or len(doc)) for doc in docs), dtype="int64", count=len(docs))
    first_word = lengths.cumsum() - lengths
    position = 0  # of a window, in all of them one after the other
    for i, (doc, spans) in enumerate(zip(docs, first_words(max_words)(docs), strict=True)):
        places = doc.to_array("IDX").astype("int64")
        for span in spans:
            encoding = tokenizer.encode(span.text)
            numbers.append(numpy.asarray(encoding.ids[:max_pieces], dtype="int64"))
            offsets.append(numpy.asarray(encoding.offsets[:max_pieces], dtype="int64") + position)
            starts.append(places[span.start : span.end] + (position - span.start_char))
            words.append(numpy.arange(span.start, span.end) + first_word[i])
            texts.append(i)
            position += span.end_char - span.start_char
    if not texts:
        return [], [], []
    begin, end = numpy.concatenate(offsets).T
    places, word_of = numpy.concatenate(starts), numpy.concatenate(words)
    # A piece belongs to each word that it has a character of; the space behind a word is the word's. Special pieces
    # have no characters.
    first = places.searchsorted(begin, "right") - 1
    counts = numpy.where(end > begin, places.searchsorted(end - 1, "right") - first, 0)
    pieces = numpy.repeat(numpy.arange(len(begin)), counts)
    place = numpy.repeat(first - counts.cumsum() + counts, counts) + numpy.arange(len(pieces))
    owners = word_of[place]
    text_of = numpy.repeat(numpy.arange(len(docs)), lengths)
    shares = 1 / (numpy.bincount(owners, minlength=len(text_of)).clip(1) * lengths[text_of])
    weights = numpy.bincount(pieces, shares[owners], len(begin)).astype("float32")
    return numbers, numpy.split(weights, numpy.cumsum([len(window) for window in numbers])[:-1]), texts


def batch_windows(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The indices of windows in batches of like length: at most `ONNX_BATCH` pieces with the padding, or one window."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > ONNX_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def pad_windows(
    numbers: Sequence[numpy.ndarray], weights: Sequence[numpy.ndarray], batch: Sequence[int]
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Some windows as a batch, (windows, pieces): pieces' numbers, which are no padding (int64), shares (float32)."""
    shape = len(batch), max(len(numbers[i]) for i in batch)
    ids, mask, shares = (numpy.zeros(shape, dtype=dtype) for dtype in ("int64", "int64", "float32"))
    for row, i in enumerate(batch):
        n = len(numbers[i])
        ids[row, :n], mask[row, :n], shares[row, :n] = numbers[i], 1, weights[i]
    return ids, mask, shares


def encode_windows(
    session: Any,
    find_vectors: Callable[[numpy.ndarray], numpy.ndarray],
    numbers: Sequence[numpy.ndarray],
    weights: Sequence[numpy.ndarray],
    texts: Sequence[int],
    n_texts: int,
) -> numpy.ndarray:
    """The features of texts: float32, shape (n_texts, width); zeros for a text without windows.

    Args:
        session: of ONNX Runtime, with a graph as `OnnxScores` describes it.
        find_vectors: gives the vectors of pieces' numbers, shape (rows,) -> (rows, width).
        numbers: of the pieces, and the other arguments as `cut_up` returns them.
        weights: of the pieces.
        texts: that the windows are of.
        n_texts: number of texts.
    """
    features: numpy.ndarray | None = None
    for batch in batch_windows([len(window) for window in numbers]):
        ids, mask, shares = pad_windows(numbers, weights, batch)
        vectors = find_vectors(ids.ravel()).reshape((*ids.shape, -1))
        (sums,) = session.run(None, {"vectors": vectors, "mask": mask, "shares": shares})
        if features is None:
            features = numpy.zeros((n_texts, sums.shape[1]), dtype="float32")
        numpy.add.at(features, [texts[i] for i in batch], sums)
    return features if features is not None else numpy.zeros((n_texts, 0), dtype="float32")


def onnx_logits(model: Model, docs: Sequence[Doc]) -> numpy.ndarray:
    """The logits of an OnnxScores layer: float32, shape (texts, nO)."""
    params = model.attrs["engine"].fetch(model, ("codes", "scales", "W", "b"))
    session, tokenizer = model.attrs["engine"].open(*(model.get_param(name) for name in ("graph", "tokenizer")))

    def find_vectors(ids: numpy.ndarray) -> numpy.ndarray:
        codes, scales = params["codes"][ids], params["scales"][ids]
        vectors = numpy.empty((scales.size, 2 * codes.shape[-1]), dtype="float32")
        unpack_rows(codes.reshape((scales.size, -1)), scales.ravel(), vectors)
        return vectors.reshape((len(ids), -1))

    windows = cut_up(docs, tokenizer, model.attrs["max_words"], model.attrs["max_pieces"])
    features = encode_windows(session, find_vectors, *windows, len(docs))
    return features @ params["W"].T + params["b"] if features.size else numpy.tile(params["b"], (len(docs), 1))


def _onnx_forward(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    return model.ops.asarray2f(onnx_logits(model, docs)), lambda gradient: []


@registry.architectures("textcat_ladder.TextCatOnnx.v1")
def TextCatOnnx(exclusive_classes: bool, nO: int | None = None) -> Model[list[Doc], Floats2d]:
    """A text classifier that is a frozen fine-tuned transformer, run by ONNX Runtime (see `OnnxScores`, ref `scores`).

    Args:
        exclusive_classes: True for `textcat`, False for `textcat_multilabel`.
        nO: number of classes; set from the labels.

    Training changes nothing. The model is read once, before training, by `textcat_ladder.read_onnx.v1`. The packages
    onnxruntime and tokenizers are needed when a text comes.
    """
    return frozen_classifier(OnnxScores(), exclusive_classes, nO)


@registry.callbacks("textcat_ladder.read_onnx.v1")
def read_onnx(path: Path, linear: Path | None = None, component: str = "textcat") -> Callable[[Language], Language]:
    """For `[initialize.before_init]`: read a transformer (.npz, made by `export-int8` or `imitate`) into a component.

    The component gets the labels in the order of the file. A trained pipeline never asks for the file.

    Args:
        path: the file.
        linear: the linear model, if the component's model is a TextCatWithLinear; see `read_linear`.
        component: name of the text classifier.

    Raises (when called):
        ValueError: there is no such file, or the component has other labels already, or these in another order.
    """

    def before_init(nlp: Language) -> Language:
        if not Path(path).is_file():
            raise ValueError(
                f"{path}: no such file. `export-int8` or `imitate` makes it: run the variant's whole workflow."
            )
        pipe = nlp.get_pipe(component)
        set_onnx(pipe.model.get_ref("scores"), read_arrays(path, (*ONNX_PARAMS, *ONNX_NUMBERS), pipe))
        return read_linear(linear, component, "linear")(nlp) if linear else nlp

    return before_init


# Long texts, for transformers


@registry.misc("textcat_ladder.first_words.v1")
def first_words(max_words: int, window: int = 128, stride: int = 96) -> Callable[[Sequence[Doc]], list[list[Span]]]:
    """For `get_spans` of a transformer: the start of each text in overlapping windows.

    Up to `max_words` that is what `spacy-transformers.strided_spans.v1` gives.

    Args:
        max_words: read of a text; 0 for all.
        window: words of a window.
        stride: words from the start of one window to that of the next.
    """

    def get_spans(docs: Sequence[Doc]) -> list[list[Span]]:
        spans = []
        for doc in docs:
            end = min(len(doc), max_words or len(doc))
            starts = range(0, max(end - window, 0) + stride, stride) if end else ()
            spans.append([doc[start : min(start + window, end)] for start in starts if start < end])
        return spans

    return get_spans


@registry.layers("textcat_ladder.first_rows.v1")
def first_rows(max_rows: int, scale: float = 1.0) -> Model[list[Floats2d], list[Floats2d]]:
    """Pass on the first rows of each array: of the words that a transformer has read, see `first_words`.

    Args:
        max_rows: 0 for all.
        scale: factor of all values. With Adam, whose steps do not depend on the size of gradients, a linear layer on
            top learns as if its learning rate were so many times that of the layers below.
    """
    return Model("first_rows", _first_rows_forward, attrs={"max_rows": max_rows, "scale": scale})


def _first_rows_forward(model: Model, arrays: list[Floats2d], is_train: bool) -> tuple[list[Floats2d], Callable]:
    limit, scale = model.attrs["max_rows"], model.attrs["scale"]
    cut = bool(limit) and any(len(array) > limit for array in arrays)
    if not cut and scale == 1:
        return arrays, lambda gradients: gradients

    def backprop(gradients: list[Floats2d]) -> list[Floats2d]:
        if not cut:
            return [gradient * scale for gradient in gradients]
        results = [model.ops.alloc2f(*array.shape) for array in arrays]
        for result, gradient in zip(results, gradients, strict=True):
            result[:limit] = gradient * scale
        return results

    return [(array[:limit] if cut else array) * scale for array in arrays], backprop


@registry.misc("textcat_ladder.words_read.v1")
def words_read(max_words: int) -> Callable[[Example], int]:
    """For `get_length` of a batcher: the words of a text that a transformer reads, see `first_words`."""
    return lambda example: min(len(example), max_words or len(example))


# Memory, while transformers are trained


def find_trim() -> Callable[[int], int] | None:
    """The C library's function that gives freed memory back to the system; None where it is not glibc."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None


@registry.callbacks("textcat_ladder.trim_memory.v1")
def trim_memory(every: int = 10) -> Callable[[Language, dict[str, Any]], None]:
    """For `[training.before_update]`: give freed memory back to the system now and then.

    Batches of ever other lengths leave free memory in pieces, and glibc keeps them: up to 3 GB in a hundred updates of
    a small transformer, of which little is used. Without glibc nothing is done.

    Args:
        every: so many updates.
    """
    trim = find_trim()

    def before_update(nlp: Language, info: dict[str, Any]) -> None:
        if trim and info["step"] % every == 0:
            trim(0)

    return before_update


def has_bfloat16() -> bool:
    """Whether the processor multiplies numbers of 16 bits faster than those of 32: by AMX, or AMD's AVX512-BF16.

    A product takes a third of the time on an AMD Zen 4. On an Intel Xeon that has AVX512-BF16, but no AMX (a virtual
    machine may hide it), it takes 1.6 to 2 times as long. And not if `ONEDNN_MAX_CPU_ISA` says that machines are to
    calculate alike.
    """
    import torch

    def has(name: str) -> bool:
        return hasattr(torch.cpu, name) and bool(getattr(torch.cpu, name)())

    if os.environ.get("ONEDNN_MAX_CPU_ISA"):
        return False
    return has("_is_amx_tile_supported") or (has("_is_avx512_bf16_supported") and is_amd())


def is_amd() -> bool:
    """Whether the processor is one of AMD's."""
    path = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (path.read_text(encoding="utf-8") if path.exists() else platform.processor())


def bears_bfloat16(encoder: Any) -> bool:
    """Whether a Transformers encoder can calculate with numbers of 16 bits: the first DeBERTa's masks do not fit."""
    import torch

    ids = torch.ones((1, 2), dtype=torch.long, device=encoder.device)
    try:
        with torch.inference_mode(), torch.autocast(encoder.device.type, dtype=torch.bfloat16):
            encoder(input_ids=ids, attention_mask=ids)
    except RuntimeError:
        return False
    return True


def use_bfloat16(encoder: Any) -> bool:
    """Let a Transformers encoder on the CPU multiply numbers of 16 bits, where processor and encoder can.

    Its weights and what it gives stay in single precision. It is undone by `del encoder.forward`.

    Returns:
        Whether it does.
    """
    import torch

    if encoder.device.type != "cpu" or not has_bfloat16() or not bears_bfloat16(encoder):
        return False
    forward = encoder.forward

    def forward_in_half(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = forward(*args, **kwargs)
        for name, value in outputs.items():
            # NumPy, by which spaCy goes on, does not know these numbers.
            if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
                outputs[name] = value.float()
        return outputs

    encoder.forward = forward_in_half
    return True


@registry.callbacks("textcat_ladder.bfloat16.v1")
def train_in_bfloat16(component: str = "transformer") -> Callable[[Language], Language]:
    """For `[initialize.after_init]`: a transformer learns as with mixed precision, but on the CPU, where that can.

    An update takes a third of the time. What is stored is as without it.
    """

    def after_init(nlp: Language) -> Language:
        use_bfloat16(nlp.get_pipe(component).model.transformer)
        return nlp

    return after_init


# Pretraining


@registry.architectures("textcat_ladder.PretrainVectors.v1")
def create_pretrain_vectors(maxout_pieces: int, hidden_size: int) -> Callable[[Vocab, Model], Model]:
    """For `[pretraining.objective]`: each word, seen as it stands, is to give its own vector.

    spaCy's PretrainVectors.v1 has the same head and loss, but hides 15 % of the words and learns from those alone. On a
    few hundred thousand words that teaches next to nothing, for there are too few guesses. Here every word counts, and
    the hashed features of words learn to stand in for the table of vectors, which is then not needed any more.

    Args:
        maxout_pieces: of the head's layer.
        hidden_size: its width.
    """

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        width = vocab.vectors.shape[1]
        if not width:
            raise ValueError("The vectors objective needs vectors: set [paths] vectors to a table.")
        hidden = Maxout(hidden_size, tok2vec.get_dim("nO"), nP=maxout_pieces, normalize=True, dropout=0.0)
        model = chain(tok2vec, list2array(), hidden, Linear(width, hidden_size, init_W=zero_init))
        model.set_ref("tok2vec", tok2vec)
        # Words without a vector have a target of zeros, which does not count.
        model.attrs["loss"] = partial(get_vectors_loss, distance=CosineDistance(normalize=True, ignore_zeros=True))
        return model

    return create_objective


@registry.architectures("textcat_ladder.PretrainSentences.v1")
def create_pretrain_sentences(path: Path) -> Callable[[Vocab, Model], Model]:
    """For `[pretraining.objective]`: the features of a text, mapped linearly, are to point where its vector does.

    The vectors are those of a frozen encoder: sentence embeddings are distilled into the layers that are pretrained
    (as Reimers and Gurevych 2020, "Making monolingual sentence embeddings multilingual", do, here by the cosine).

    Args:
        path: vectors of the texts (.npz, made by scripts.distillation.encode): `keys`, the sorted hashes of the texts,
            uint64, shape (texts,), and `vectors`, float, shape (texts, width). Read only when the pretraining starts.

    Raises:
        ValueError: a text has no vector there.
    """

    def create_objective(vocab: Vocab, features: Model) -> Model:
        with numpy.load(path, allow_pickle=False) as arrays:
            keys, vectors = arrays["keys"], arrays["vectors"]
        distance = CosineDistance(normalize=True)

        def loss(ops: Ops, docs: Sequence[Doc], guesses: Floats2d) -> tuple[float, Floats2d]:
            wanted = numpy.asarray([get_string_id(doc.text) for doc in docs], dtype="uint64")
            rows, known = _find_rows(keys, wanted)
            if missing := (~known).nonzero()[0].tolist():
                raise ValueError(f"{path}: no vector of the text {docs[missing[0]].text!r}. Encode the texts again.")
            gradient, value = distance(guesses, ops.asarray2f(vectors[rows].astype("float32")))
            return value, gradient

        model = chain(features, Linear(vectors.shape[1]))
        model.set_ref("tok2vec", features)  # what `spacy pretrain` stores
        model.attrs["loss"] = loss
        return model

    return create_objective


# Learning from a teacher


def soften(cats: dict[str, float], temperature: float, exclusive: bool) -> dict[str, float]:
    """Probabilities for logits, at a temperature (Hinton et al. 2015, "Distilling the knowledge in a neural network").

    Logits are divided by the temperature: above 1 the second choices count for more, below 1 for less.
    """
    values = numpy.asarray(list(cats.values()), dtype="float64") / temperature
    powers = numpy.exp(values - values.max()) if exclusive else 1 / (1 + numpy.exp(-values))
    return dict(zip(cats, (powers / powers.sum() if exclusive else powers).tolist(), strict=True))


@registry.readers("textcat_ladder.TextStarts.v1")
def TextStarts(path: Path, max_words: int) -> Callable[[Language], Iterator[Example]]:
    """Labelled texts (.spacy) for training, of longer ones the first `max_words` words.

    One text of 50,000 words among hundreds would take most of a training's time.
    """

    def read(nlp: Language) -> Iterator[Example]:
        for example in Corpus(path)(nlp):
            if len(example.reference) > max_words:
                start = example.reference[:max_words].as_doc()
                start.cats = example.reference.cats
                example = Example(nlp.make_doc(start.text), start)
            yield example

    return read


@registry.readers("textcat_ladder.RawTexts.v1")
def RawTexts(path: Path, max_words: int) -> Callable[[Language], Iterator[Example]]:
    """Texts without labels (`{"text": ...}` a line) for pretraining; longer ones in parts of `max_words` words.

    `spacy.JsonlCorpus.v1` leaves them out.
    """

    def read(nlp: Language) -> Iterator[Example]:
        for record in srsly.read_jsonl(path):
            text = record["text"]
            for begin in range(0, len(text), nlp.max_length):
                doc = nlp.make_doc(text[begin : begin + nlp.max_length])
                for first in range(0, len(doc), max_words):
                    part = doc[first : first + max_words].as_doc()
                    yield Example(part, part.copy())

    return read


@registry.readers("textcat_ladder.TaughtCorpus.v2")
def TaughtCorpus(
    path: Path,
    sentences: Path,
    copies: Path,
    learns: str = "labels",
    teacher_weight: float = 0.5,
    temperature: float = 1.0,
    component: str = "textcat",
) -> Callable[[Language], Iterator[Example]]:
    """Texts with a teacher's logits (made by scripts.distillation.teach), alone or beside texts with their labels.

    Only spaCy's check that targets are 0 or 1 is switched off, in the one object that is trained: the trained pipeline
    is a plain textcat.

    Args:
        path: labelled texts (.spacy).
        sentences: of raw text, with the teacher's logits (.spacy); may hold none.
        copies: the labelled texts and altered copies of them, with the teacher's logits (.spacy).
        learns: `logits`: the teacher's texts of both kinds, with its logits as targets (see `TextCatCompact`).
            `labels`: the labelled texts and the sentences, or the copies where there are none, with the teacher's
            probabilities as targets; the gradient of spaCy's textcat, `prediction - target`, is that of the
            cross-entropy then, too. The component's model must learn the same.
        teacher_weight: for `labels`, the teacher's share of all examples, more than 0 and less than 1. The labelled
            texts, or, if it is the teacher that has fewer, the teacher's, are repeated as often as comes next to it;
            labelled texts that are long, which the teacher's sentences are not, less often.
        temperature: for `labels`, of the teacher's probabilities, see `soften`.
        component: name of the text classifier.
    """
    if learns not in LEARNS:
        raise ValueError(f"learns must be one of {', '.join(LEARNS)}, it is {learns!r}.")
    if not 0 < teacher_weight < 1:
        raise ValueError(f"teacher_weight must be more than 0 and less than 1, it is {teacher_weight}.")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, it is {temperature}.")

    def read(nlp: Language) -> Iterator[Example]:
        exclusive = True
        # Who counts the updates beforehand has a pipeline without components.
        if nlp.has_pipe(component):
            expected = nlp.get_pipe(component).model.attrs.get("learns", LEARNS[0])
            if expected != learns:
                raise ValueError(
                    f"The corpus gives {learns}, but the model learns {expected}. Set both `learns` alike."
                )
            nlp.get_pipe(component)._validate_categories = lambda examples: None
            exclusive = nlp.get_pipe_meta(component).factory == "textcat"
        if learns == "logits":
            yield from Corpus(sentences)(nlp)
            yield from Corpus(copies)(nlp)
            return
        gold = list(Corpus(path)(nlp))
        soft = list(Corpus(sentences)(nlp)) or list(Corpus(copies)(nlp))
        if not gold or not soft:
            raise ValueError(f"{copies if gold else path}: holds no texts.")
        for example in soft:
            example.reference.cats = soften(example.reference.cats, temperature, exclusive)
        # How often a labelled text stands for each of the teacher's, to give the labelled ones their share.
        ratio = len(soft) * (1 - teacher_weight) / (len(gold) * teacher_weight)
        most = MAX_TAUGHT_WORDS // max(1, sum(len(example.reference) for example in gold))
        yield from gold * max(1, min(round(ratio), most))
        yield from soft * max(1, round(1 / ratio))

    return read
