"""Pretraining: the weights arrive in training, and what would silently go wrong is an error."""

import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
import spacy
import srsly
from spacy.cli._util import import_code
from spacy.training.initialize import convert_vectors, init_nlp
from spacy.util import load_config
from thinc.api import Adam, fix_random_seed

from scripts.common.cli import UserError
from scripts.components import create_pretrain_vectors
from scripts.training.inputs import check_inputs
from tests.conftest import ROOT, fit_linear_model, message, toy_records

CODE = ROOT / "scripts" / "components.py"
SMALL = {
    "components.textcat.model.tok2vec.embed.width": 16,
    "components.textcat.model.tok2vec.encode.width": 16,
    "components.textcat.model.tok2vec.embed.rows": [50, 50, 50, 50],
    "paths.init_tok2vec": "training/small/weights.bin",
}
TABLE = {"paths.pretraining_vectors": "table"}
FILES = ["weights.bin", "weights.cfg", "weights.jsonl"]


@pytest.fixture(params=["pretrain-chars", "pretrain-vectors"])
def variant(request):
    return request.param


@pytest.fixture
def project(toy_assets, run, tmp_path):
    """The toy corpus, its linear model, and vectors for words that occur in it."""
    assert run("convert", "toy", "corpus").returncode == 0
    fit_linear_model(run)
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    lines = [f"{word} " + " ".join(map(str, row)) for word, row in zip(["goal", "bank", "actor"], vectors, strict=True)]
    (tmp_path / "words.txt").write_text("3 8\n" + "\n".join(lines) + "\n", encoding="utf-8")
    nlp = spacy.blank("en")
    convert_vectors(nlp, tmp_path / "words.txt", truncate=-1, prune=-1)
    nlp.to_disk(tmp_path / "table")
    return tmp_path


@pytest.fixture
def small(make_variant, variant):
    """A variant with fewer and narrower layers, `small`; what it learns in pretraining is in the toy project."""
    values = SMALL | (TABLE if variant == "pretrain-vectors" else {})
    return make_variant("small", variant, code=CODE, values=values)


def compose(run, variant, output, *settings):
    process = run("compose", variant, output, "--max-epochs", 1, *settings)
    assert process.returncode == 0, process.output


def tok2vec_params(nlp):
    layer = nlp.get_pipe("textcat").model.get_ref("tok2vec")
    return {(i, name): node.get_param(name).copy() for i, node in enumerate(layer.walk()) for name in node.param_names}


def test_the_weights_arrive_and_are_not_the_blank_ones(project, run, small, caplog):
    assert run("pretrain", small, "--epochs", 2).returncode == 0
    folder = project / "training" / "small"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert load_config(folder / "weights.cfg", interpolate=True)["pretraining"]["max_epochs"] == 2
    compose(run, small, "train.cfg")
    compose(run, small, "blank.cfg", "--set", "paths.init_tok2vec=null")
    with caplog.at_level(logging.ERROR):
        import_code(CODE)
        trained, blank = (
            init_nlp(load_config(project / name, interpolate=False)) for name in ("train.cfg", "blank.cfg")
        )
    layer = blank.get_pipe("textcat").model.get_ref("tok2vec")
    before = tok2vec_params(blank)
    layer.from_bytes((folder / "weights.bin").read_bytes())
    pretrained, arrived = tok2vec_params(blank), tok2vec_params(trained)
    assert arrived.keys() == pretrained.keys()
    for key, value in arrived.items():
        np.testing.assert_array_equal(value, pretrained[key])
    assert any((value != before[key]).any() for key, value in arrived.items() if value.size > 100)


@pytest.mark.slow
def test_a_text_may_have_several_labels(project, run, small, toy_assets):
    records = [{"text": r["text"], "labels": [r["label"], "odd"][: 1 + i % 2]} for i, r in enumerate(toy_records())]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    assert run("convert", "toy", "corpus").returncode == 0
    fit_linear_model(run)
    for step, *options in (("pretrain", "--epochs", 1), ("train", "--max-epochs", 1)):
        process = run(step, small, *options)
        assert process.returncode == 0, process.output
    nlp = spacy.load(project / "training" / "small" / "model-best")
    assert set(nlp("a goal").cats) == {"film", "money", "odd", "sport"}


@pytest.mark.slow
def test_what_was_trained_from_weights_needs_no_vectors_at_run_time(project, run, small):
    assert run("pretrain", small, "--epochs", 1).returncode == 0
    process = run("train", small, "--max-epochs", 1)
    assert process.returncode == 0, process.output
    shutil.move(project / "table", project / "elsewhere")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import scripts.components"
    load = f"{code}; import spacy; nlp = spacy.load('training/small/model-best')"
    script = f"{load}; print(nlp.vocab.vectors.size, sum(nlp('a goal').cats.values()))"
    result = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True)
    size, total = result.stdout.split()
    assert int(size) == 0 and float(total) == pytest.approx(1)


def test_every_word_counts_in_the_vectors_objective(project):
    """The loss falls to nearly nothing on words that have vectors, and words without one do not count."""
    fix_random_seed(0)
    nlp = spacy.load(project / "table")
    tok2vec = nlp.add_pipe("tok2vec", config={"model": {"@architectures": "spacy.HashEmbedCNN.v2", "width": 16,
        "depth": 1, "embed_size": 50, "window_size": 1, "maxout_pieces": 2, "subword_features": True,
        "pretrained_vectors": None}}).model  # fmt: skip
    docs = [nlp.make_doc("goal bank actor"), nlp.make_doc("bank")]
    tok2vec.initialize(docs)
    model = create_pretrain_vectors(2, 16)(nlp.vocab, tok2vec)
    model.initialize(docs)
    optimizer, losses = Adam(0.01), []
    for _ in range(100):
        predictions, backprop = model.begin_update(docs)
        loss, gradient = model.attrs["loss"](model.ops, docs, predictions)
        backprop(gradient)
        model.finish_update(optimizer)
        losses.append(float(loss))
    assert losses[-1] < 0.05 * losses[0]
    loss, gradient = model.attrs["loss"](
        model.ops, [nlp.make_doc("none such")], model.predict([nlp.make_doc("none such")])
    )
    assert float(loss) == 0 and not gradient.any()


def test_vectors_objective_without_vectors(project, run, make_variant):
    values = SMALL | {"paths.pretraining_vectors": None}
    process = run("pretrain", make_variant("small", "pretrain-vectors", code=CODE, values=values))
    assert "needs vectors. Name a table in its [paths] pretraining_vectors" in message(process)


def test_only_variants_with_a_pretraining_block_can_be_pretrained(project, run):
    assert "bow.cfg: has no [pretraining] block" in message(run("pretrain", "bow", "--configs", ROOT / "configs"))


def test_who_does_not_say_where_the_weights_are_to_lie_is_told(run, make_variant):
    variant = make_variant("small", "pretrain-chars", code=CODE, values={"paths.init_tok2vec": None})
    assert "small.cfg: does not say where its weights are to lie. Name the file in its [paths] init_tok2vec" in message(
        run("pretrain", variant)
    )


def test_nothing_to_learn_from(project, run, small):
    (project / "corpus" / "raw.jsonl").write_text("", encoding="utf-8")
    assert "no words in it: nothing was learned" in message(run("pretrain", small))
    assert not list((project / "training" / "small").glob("*"))
    (project / "corpus" / "raw.jsonl").unlink()
    assert "raw.jsonl: no such file" in message(run("pretrain", small))


def test_short_texts_and_long_ones_are_learned_from(project, run, small):
    """spaCy's own reader leaves out texts of 500 words and more."""
    texts = [{"text": "goal"}, {"text": " ".join(f"goal{i}" for i in range(1200))}]
    srsly.write_jsonl(project / "corpus" / "raw.jsonl", texts)
    process = run("pretrain", small, "--epochs", 1)
    assert process.returncode == 0 and "pretrained on 1,201 words in 1 passes" in process.output, process.output


def config_with(**paths):
    tok2vec = {"@layers": "x", "width": 16}
    return {
        "paths": {},
        "components": {"textcat": {"model": {"tok2vec": tok2vec}}},
        "initialize": {"vectors": None, "init_tok2vec": None} | paths,
        "pretraining": {"component": "textcat", "layer": "tok2vec"},
    }


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(UserError, match="no vectors table"):
        check_inputs(tmp_path, config_with(vectors="none"))
    with pytest.raises(UserError, match="no pretrained weights"):
        check_inputs(tmp_path, config_with(init_tok2vec="none.bin"))
    static = config_with()
    static["components"]["textcat"]["model"]["tok2vec"] = {"*": {"a": {"@layers": "spacy.StaticVectors.v2"}}}
    with pytest.raises(UserError, match="needs word vectors"):
        check_inputs(tmp_path, static)


def test_weights_of_other_layers_are_refused(tmp_path):
    weights = tmp_path / "weights.bin"
    weights.touch()
    text = "[components]\n[components.textcat]\n[components.textcat.model]\n[components.textcat.model.tok2vec]\n"
    weights.with_suffix(".cfg").write_text(text + '@layers = "x"\nwidth = 32\n', encoding="utf-8")
    with pytest.raises(UserError, match="pretrained for other layers"):
        check_inputs(tmp_path, config_with(init_tok2vec=str(weights)))
    weights.with_suffix(".cfg").write_text(text + '@layers = "x"\nwidth = 16\n', encoding="utf-8")
    check_inputs(tmp_path, config_with(init_tok2vec=str(weights)))
    without = config_with(init_tok2vec=str(weights)) | {"pretraining": {}}
    with pytest.raises(UserError, match="spaCy ignores"):
        check_inputs(tmp_path, without)
