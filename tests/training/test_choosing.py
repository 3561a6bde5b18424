"""scripts/training/choosing.py: what dev decides."""

from types import SimpleNamespace

import numpy as np
import pytest
import spacy
from scipy.special import expit, softmax
from thinc.api import Linear, chain, softmax_activation

from scripts.training import choosing
from scripts.training.choosing import SHARES, Numbers, average, calibrate, choose, dev_losses, read_numbers


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        ([0.0, 0.0], 0),
        ([0.5, 0.5, 0.4, 0.6], 1),
        ([1.0, -0.9, 1.0, -0.9], 0),
        ([-0.1, -0.2], 0),
        ([1e-5, 1e-5, 1e-5], 0),
    ],
    ids=["a tie", "clear", "could be chance", "worse", "steady, but of nothing"],
)
def test_an_earlier_candidate_is_kept_unless_the_gain_is_clear(gains, best):
    loss = np.linspace(1, 2, len(gains))
    assert choose([loss, loss - gains]) == best
    assert choose([loss - gains, loss]) == (0 if best else int(np.mean(gains) < 0))


@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_the_loss_on_dev_is_that_of_what_is_true(tmp_path, monkeypatch, factory):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, name="textcat")
    scores = np.asarray([[0.2, 0.8], [1.0, 0.0]])
    gold = np.asarray([[False, True], [False, True]])
    monkeypatch.setattr(choosing.spacy, "load", lambda path: nlp)
    monkeypatch.setattr(choosing, "gold_and_scores", lambda nlp, dev: (gold, scores))
    worst = -np.log(1e-6)
    expected = [-np.log(0.8), worst] if factory == "textcat" else [-2 * np.log(0.8), 2 * worst]
    np.testing.assert_allclose(dev_losses(tmp_path, tmp_path), expected)


@pytest.mark.parametrize("wanted", [0.3, 2.0])
@pytest.mark.parametrize("exclusive", [True, False])
def test_logits_get_the_factor_with_the_least_loss(exclusive, wanted):
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (20_000, 3))
    if exclusive:
        gold = np.eye(3, dtype=bool)[(true + rng.gumbel(size=true.shape)).argmax(axis=1)]
        likely = softmax(true, axis=1)[gold]
    else:
        gold = rng.random(true.shape) < expit(true)
        likely = np.where(gold, expit(true), expit(-true)).prod(axis=1)
    factor, losses = calibrate(gold, true / wanted, exclusive)
    assert factor == pytest.approx(wanted, rel=0.03)
    assert losses.shape == (20_000,) and losses.mean() == pytest.approx(-np.log(likely).mean(), rel=0.01)


def test_logits_without_a_mistake_do_not_grow_without_end():
    factor, losses = calibrate(np.eye(2, dtype=bool), np.eye(2), True)
    assert 4 < factor <= 5 and (losses < 0.02).all()


@pytest.fixture
def learned():
    """What `average` asks of a pipeline with a transformer; all its numbers are 1."""
    torch = pytest.importorskip("torch")
    encoder, layer = torch.nn.Linear(3, 3), Linear(2, 3)
    encoder.register_buffer("positions", torch.arange(5))
    layer.initialize()
    classifier = chain(layer, softmax_activation())
    classifier.set_ref("output_layer", layer)
    for value in encoder.parameters():
        torch.nn.init.ones_(value)
    for name in layer.param_names:
        layer.set_param(name, np.ones_like(layer.get_param(name)))
    pipes = {"transformer": SimpleNamespace(transformer=encoder), "textcat": classifier}
    return SimpleNamespace(
        get_pipe=lambda name: SimpleNamespace(model=pipes[name]),
        get_pipe_meta=lambda name: SimpleNamespace(factory="textcat"),
    )


@pytest.mark.parametrize("best", [*SHARES, None])
def test_of_averages_the_best_on_dev_is_kept_and_calibrated(learned, monkeypatch, capsys, best):
    after = read_numbers(learned)
    before = Numbers(*({name: 0 * value for name, value in part.items()} for part in after))
    assert set(after.encoder) == {"weight", "bias"}, "only what can be averaged"
    gold = np.tile(np.eye(2, dtype=bool), (50, 1))

    def gold_and_scores(nlp, dev):
        share = float(read_numbers(nlp).layer["b"][0])
        right = 0.9 if best is not None and share == pytest.approx(best) else 0.7
        right += 0.05 * np.sin(np.arange(100))  # not all alike
        return gold, np.where(gold, right[:, None], 1 - right[:, None])

    monkeypatch.setattr(choosing, "gold_and_scores", gold_and_scores)
    found = average(learned, before, None)
    expected = SHARES[0] if best is None else best
    assert found["share"] == expected, "of equals the first"
    assert f"{expected:.1f} of what the transformer has learned" in capsys.readouterr().out
    now = read_numbers(learned)
    assert all(value.numpy() == pytest.approx(expected) for value in now.encoder.values())
    assert all(value == pytest.approx(expected * found["factor"], rel=1e-3) for value in now.layer.values())
    assert found["factor"] > 1, "all are right, and might be surer"
