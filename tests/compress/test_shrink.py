"""Fewer layers, fewer word pieces: what is kept is as before."""

import json
from collections import Counter

import numpy as np
import pytest
import srsly

pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from scripts.common.skipping import Unsuited
from scripts.compress.pieces import add_frequent, read_texts, trim_tokenizer, unseen_share
from scripts.compress.shrink import layer_stack
from tests.conftest import message, toy_records
from tests.encoder.test_transformer import TEXTS, hidden_states, make_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


# Layers


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_first_layers_stay_with_their_weights(kind, tmp_path, run):
    make_encoder(tmp_path / "deep", kind, layers=5)
    process = run("shrink", "deep", "out", "--layers", 3)
    assert process.returncode == 0 and "3 layers" in process.output
    old = layer_stack(AutoModel.from_pretrained(tmp_path / "deep"))[2]
    new = layer_stack(AutoModel.from_pretrained(tmp_path / "out"))[2]
    assert len(new) == 3
    for mine, theirs in zip(new, old[:3], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))


# Word pieces


def test_trimmed_vocabulary_cuts_known_text_as_before(encoder, tmp_path, run):
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in TEXTS])
    process = run("shrink", encoder, "out", "--text", "raw.jsonl")
    assert process.returncode == 0, process.output
    old, new = AutoTokenizer.from_pretrained(encoder), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert [new.tokenize(text) for text in TEXTS] == [old.tokenize(text) for text in TEXTS]
    assert (new.tokenize("goal"), new.tokenize("zebra")) == (["goal"], ["z", "##e", "##b", "##r", "##a"])
    assert old.tokenize("zebra") == ["zebra"]
    kept = set(new.get_vocab())
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##z", "goal", "shares"} <= kept
    assert not {"[unused0]", "striker", "##ing"} & kept
    assert len(new) == AutoModel.from_pretrained(tmp_path / "out").config.vocab_size < len(old)
    # The same vectors for the same pieces, between the renumbered [CLS] and [SEP].
    assert torch.allclose(hidden_states(encoder, TEXTS), hidden_states(tmp_path / "out", TEXTS), atol=1e-6)
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < (encoder / "model.safetensors").stat().st_size


def test_rare_pieces_can_go(encoder, tmp_path, run):
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": "goal goal coach"}])
    run("shrink", encoder, "out", "--text", "raw.jsonl", "--min-count", 2)
    kept = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    assert "goal" in kept and "coach" not in kept


def test_few_texts_tell_too_little_and_the_first_pieces_of_the_vocabulary_stay(encoder, tmp_path, run):
    srsly.write_jsonl(tmp_path / "own.jsonl", [{"text": "goal"}])
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": "goal"}])
    old = AutoTokenizer.from_pretrained(encoder)
    all_seen = run("shrink", encoder, "out", "--text", "own.jsonl")
    assert all_seen.returncode == 0, all_seen.output
    before = set(AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab())
    process = run("shrink", encoder, "out", "--text", "own.jsonl", "--text", "raw.jsonl", "--least", len(before) + 3)
    assert process.returncode == 0 and "100.0% would be word pieces" in process.output, process.output
    kept = set(AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab())
    first = sorted(set(old.get_vocab()) - before, key=old.get_vocab().get)
    added = [piece for piece in first if not piece.startswith("[")][: len(kept - before)]
    assert before < kept and len(added) >= 3 and kept - before == set(added)


def test_the_share_of_pieces_to_come_is_that_of_those_seen_once():
    """On texts from a known distribution it comes near to what is true of new ones."""
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.5, (2, 3000)), 10_000).astype(str)
    own, new = Counter(words[0].tolist()), words[1]
    truth = np.mean([word not in own for word in new.tolist()])
    assert truth > 0.05 and unseen_share(own, Counter()) == pytest.approx(truth, rel=0.25)
    # Nothing is unseen of what further texts have.
    assert unseen_share(own, own) == 0 and unseen_share(Counter(), Counter()) == 0


def test_places_without_a_piece_are_not_kept():
    vocabulary = ["[PAD]", "[unused7]", "the", "a", "##s", "of", "##ing", "rare"]
    assert add_frequent({"rare"}, vocabulary, "##", 5) == {"rare", "a", "##s", "the", "of"}
    assert add_frequent({"rare"}, vocabulary, "##", 2) == {"rare", "a", "##s"}


def test_other_post_processors_are_renumbered(encoder):
    state = json.loads((encoder / "tokenizer.json").read_text(encoding="utf-8"))
    state["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 5], "cls": ["[CLS]", 4]}
    rows = trim_tokenizer(state, set())
    assert state["post_processor"]["cls"] == ["[CLS]", rows.index(4)]
    assert Tokenizer.from_str(json.dumps(state)).encode("a").tokens[:3] == ["[CLS]", "a", "[SEP]"]


def test_texts_of_both_kinds_of_files(tmp_path, toy_assets, run):
    run("convert", "toy", "corpus")
    texts = set(read_texts([tmp_path / "corpus" / "train.spacy"]))
    assert texts < {record["text"] for record in toy_records()}
    assert texts <= set(read_texts([tmp_path / "corpus" / "raw.jsonl"]))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere", "out"), "nowhere: no encoder there"),
        (("ENCODER", "out", "--layers", "3"), "--layers 3: the encoder in"),
        (("ENCODER", "out", "--layers", "-1"), "has 2 layers"),
        (("ENCODER", "out", "--text", "none.jsonl"), "none.jsonl: no such file"),
    ],
)
def test_shrink_errors(arguments, expected, encoder, run):
    assert expected in message(run("shrink", *(str(encoder) if a == "ENCODER" else a for a in arguments)))


def test_other_vocabularies_are_not_trimmed():
    with pytest.raises(Unsuited, match="that of this encoder is WordLevel. Take another encoder"):
        trim_tokenizer({"model": {"type": "WordLevel"}}, set())
