"""scripts/encoder/embed.py: interrupted work goes on where it was, and ends as if it had not been interrupted."""

import numpy as np
import pytest

pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import torch
from transformers import AutoModel, AutoTokenizer

from scripts.encoder import embed as module
from scripts.encoder.embed import Cache, embed, text_encoder, unit_rows
from scripts.encoder.encoders import load_encoder
from tests.encoder.test_transformer import make_encoder

TEXTS = [f"goal number {i} " + "and match " * (i % 7) for i in range(30)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture
def batches(monkeypatch):
    """Small batches, and how many have been encoded; the fourth is the last before the power fails."""
    monkeypatch.setattr(module, "BATCH", 4)
    done = []
    append = Cache.append

    def count(self, vectors):
        append(self, vectors)
        done.append(len(vectors))
        if len(done) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "append", count)
    return done


def test_vectors_are_of_the_last_layer_or_of_all_that_differs_between_texts(encoder):
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    with torch.inference_mode():
        given = [model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True) for text in TEXTS]
    layers = np.array([[layer[0].mean(dim=0).numpy() for layer in states.hidden_states] for states in given])
    assert layers.shape[1] == 1 + model.config.num_hidden_layers > 2, "with the vectors of the word pieces"
    assert text_encoder(*load_encoder(str(encoder)))(TEXTS) == pytest.approx(unit_rows(layers[:, -1]), abs=1e-5)
    means = layers.mean(axis=1)
    expected = unit_rows((means - means.mean(axis=0)) / means.std(axis=0))
    assert embed(encoder, TEXTS) == pytest.approx(expected, abs=1e-3)
    assert embed(encoder, TEXTS[:1] * 2) == pytest.approx(0, abs=1e-3), "nothing differs"


@pytest.mark.parametrize("cut", [0, 1, 700], ids=["between batches", "within a batch", "within an earlier one"])
def test_goes_on_where_it_was(tmp_path, encoder, batches, cut):
    expected, part = embed(encoder, TEXTS), tmp_path / "x.part"
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, TEXTS, part)
    with part.open("ab") as stream:
        stream.truncate(part.stat().st_size - cut)
    assert np.array_equal(embed(encoder, TEXTS, part), expected)
    assert len(batches) == 8 + (cut > 0)
    assert np.array_equal(embed(encoder, TEXTS, part), expected)
    assert len(batches) == 8 + (cut > 0), "all is there"


def test_a_cache_is_of_certain_texts_and_one_encoder(tmp_path, encoder, batches):
    part = tmp_path / "x.part"
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, TEXTS, part)
    other = make_encoder(tmp_path / "other", layers=1)
    for folder, texts in ((encoder, [*TEXTS[1:], "another"]), (other, TEXTS)):
        assert np.array_equal(embed(folder, texts, part), embed(folder, texts))
    part.write_bytes(b"of another program")
    assert np.array_equal(embed(encoder, TEXTS, part), embed(encoder, TEXTS))
