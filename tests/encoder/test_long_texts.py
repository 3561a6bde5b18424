"""Of a long text a transformer reads the start: windows, the rows that the classifier gets, and what batches count."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from scripts.components import first_rows, first_words, words_read


@pytest.fixture(scope="module")
def vocab():
    return spacy.blank("en").vocab


def text(vocab, n_words):
    return Doc(vocab, words=[f"w{i}" for i in range(n_words)])


@pytest.mark.parametrize(
    ("n_words", "limit", "windows"),
    [
        (0, 8, []),
        (3, 8, [(0, 3)]),
        (8, 0, [(0, 4), (3, 7), (6, 8)]),
        (50, 4, [(0, 4)]),
        (50, 5, [(0, 4), (3, 5)]),
        (50, 7, [(0, 4), (3, 7)]),
    ],
)
def test_windows_overlap_and_end_at_the_limit(vocab, n_words, limit, windows):
    (spans,) = first_words(limit, window=4, stride=3)([text(vocab, n_words)])
    assert [(span.start, span.end) for span in spans] == windows


@pytest.mark.parametrize("n_words", [1, 95, 96, 97, 128, 129, 300])
def test_without_a_limit_they_are_those_of_spacy(vocab, n_words):
    strided = pytest.importorskip("spacy_transformers.span_getters").configure_strided_spans(128, 96)
    docs = [text(vocab, n_words)]
    found, expected = ([(span.start, span.end) for span in spans(docs)[0]] for spans in (first_words(0), strided))
    assert found == expected


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize(("limit", "lengths"), [(0, [5, 2]), (3, [3, 2]), (9, [5, 2])])
def test_rows_beyond_the_limit_get_no_gradient(limit, lengths, scale):
    model = first_rows(limit, scale)
    arrays = [np.arange(10, dtype="float32").reshape(5, 2), np.ones((2, 2), dtype="float32")]
    outputs, backprop = model(arrays, is_train=True)
    assert [len(output) for output in outputs] == lengths and outputs[0].tolist() == (
        scale * arrays[0][: lengths[0]]
    ).tolist()
    assert outputs[0].dtype == "float32"
    gradients = backprop([np.ones_like(output) for output in outputs])
    assert [gradient.shape for gradient in gradients] == [array.shape for array in arrays]
    assert [gradient.sum() for gradient in gradients] == [2 * length * scale for length in lengths]


@pytest.mark.parametrize(("limit", "expected"), [(0, 20), (8, 8), (30, 20)])
def test_batches_count_the_words_that_are_read(vocab, limit, expected):
    doc = text(vocab, 20)
    assert words_read(limit)(Example(doc, doc)) == expected
