"""scripts/encoder/embed.py: interrupted work goes on where it was, and ends as if it had not been interrupted."""

import numpy as np
import pytest

pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

from scripts.encoder import embed as module
from scripts.encoder.embed import Cache, embed
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
