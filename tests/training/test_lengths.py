"""How long a training is: the least number of updates, and what the user says instead; and where its scores start."""

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import load_config, load_model_from_config

import scripts.components  # noqa: F401  registers the architectures
from scripts.components import in_turn, learn_by_cross_entropy, set_base_rates
from tests.conftest import ROOT


def composed(tmp_path, run, n_texts, *extra):
    facts = {"lang": "en", "exclusive": True, "labels": ["a", "b"], "examples": {"train": n_texts}}
    (tmp_path / "corpus").mkdir(exist_ok=True)
    srsly.write_json(tmp_path / "corpus" / "task.json", facts | {"words": {"train": {"mean": 2.0}}})
    docs = [spacy.blank("en")(f"Text {i}") for i in range(n_texts)]
    DocBin(docs=docs).to_disk(tmp_path / "corpus" / "train.spacy")
    process = run("compose", "compact", "c.cfg", "--configs", ROOT / "configs", *extra)
    assert process.returncode == 0, process.output
    return load_config(tmp_path / "c.cfg", interpolate=True)


def test_few_texts_get_more_passes(tmp_path, run):
    config = composed(tmp_path, run, 20)
    training, rate = config["training"], config["training"]["optimizer"]["learn_rate"]
    assert training["max_epochs"] == 1000, "20 texts are one update"
    assert rate["total_steps"] == 1000 and rate["warmup_steps"] == 100
    assert training["eval_frequency"] == int(0.97 * 1000 / 12)


def test_the_configs_own_passes_are_kept_where_they_are_more(tmp_path, run):
    config = composed(tmp_path, run, 20, "--set", "task.min_updates=30")
    assert config["training"]["max_epochs"] == 40


@pytest.mark.parametrize("epochs", [2, 9000])
def test_passes_that_the_user_names_are_neither_raised_nor_cut(tmp_path, run, epochs):
    config = composed(tmp_path, run, 20, "--max-epochs", epochs)
    assert (config["training"]["max_epochs"], config["training"]["max_steps"]) == (epochs, 0)
    assert config["training"]["optimizer"]["learn_rate"]["total_steps"] == epochs


@pytest.mark.parametrize(
    ("exclusive", "expected"),
    [(True, np.log([31 / 42, 11 / 42])), (False, np.log([30.5 / 10.5, 10.5 / 30.5]))],
)
def test_scores_start_at_the_shares_of_the_labels(tmp_path, exclusive, expected):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("textcat" if exclusive else "textcat_multilabel", name="textcat", config={
        "model": {"@architectures": "textcat_ladder.TextCatCompact.v1", "exclusive_classes": exclusive, "nO": 2}
    })  # fmt: skip
    for label in ("often", "rare"):
        pipe.add_label(label)
    docs = [nlp.make_doc(f"text {i}") for i in range(40)]
    for i, doc in enumerate(docs):
        doc.cats = {"rare": float(i % 4 == 0), "often": float(i % 4 != 0)}
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    set_base_rates(tmp_path / "train.spacy")(nlp)
    assert pipe.model.get_ref("output").get_param("b") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_model_of_spacys_own_learns_by_cross_entropy(tmp_path, exclusive):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("textcat" if exclusive else "textcat_multilabel", name="textcat", config={
        "model": {
            "@architectures": "spacy.TextCatReduce.v1",
            "exclusive_classes": exclusive,
            "use_reduce_first": False, "use_reduce_last": False, "use_reduce_max": False, "use_reduce_mean": True,
            "tok2vec": {"@architectures": "spacy.HashEmbedCNN.v2", "pretrained_vectors": None, "width": 8, "depth": 1,
                        "embed_size": 50, "window_size": 1, "maxout_pieces": 2, "subword_features": False},
        }
    })  # fmt: skip
    docs = [nlp.make_doc(f"text {i}") for i in range(40)]
    for i, doc in enumerate(docs):
        doc.cats = {"often": float(i % 4 != 0), "rare": float(i % 4 == 0)}
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    nlp.initialize(lambda: [Example(nlp.make_doc(doc.text), doc) for doc in docs])
    before = nlp.to_bytes()
    in_turn(learn_by_cross_entropy(tmp_path / "train.spacy"))(nlp)
    assert (nlp.to_bytes() == before) == exclusive
    scores, backprop = pipe.model.begin_update(docs[:1])
    backprop(gradient := np.asarray([[0.5, -0.25]], dtype="float32"))
    # The bias's gradient is the gradient of the logits, not made small by the slope of the logistic function.
    assert pipe.model.get_ref("output_layer").get_grad("b") == pytest.approx(gradient[0])
    if not exclusive:
        assert scores[0] == pytest.approx([30.5 / 41, 10.5 / 41])
    # As it is stored, it loads as it would without.
    again = load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert again("text 1").cats == pytest.approx(nlp("text 1").cats)
