"""scripts/machines/machine.py: products of matrices in trainings are NumPy's, on one thread."""

import pytest
from thinc.api import get_current_ops
from threadpoolctl import threadpool_info, threadpool_limits

from scripts.machines.machine import products_by_numpy
from scripts.training import fitting, pretrain
from tests.conftest import ROOT


def products() -> tuple[bool, set[int]]:
    """Whether BLIS makes them, and the threads of other libraries that could."""
    return get_current_ops().use_blis, {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_numpy_takes_over_on_one_thread_and_gives_back() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = products()
        with products_by_numpy(-1):
            assert products() == (False, {1})
        assert products() == before == (True, {2})
        with pytest.raises(OSError, match="full"), products_by_numpy(-1):
            raise OSError("full")
        assert products() == before
        with products_by_numpy(0):
            assert products() == before, "on a GPU nothing is to be changed"


@pytest.mark.parametrize(
    ("module", "name", "command"),
    [
        (fitting, "spacy_train", ("train", "bow", "--max-epochs", 1)),
        (pretrain, "spacy_pretrain", ("pretrain", "pretrain-chars", "--epochs", 1)),
    ],
)
def test_what_trains_learns_so(toy_assets, run, tmp_path, monkeypatch, module, name, command) -> None:
    for folder in ("configs", "scripts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    assert run("convert", "toy", "corpus").returncode == 0
    assert run("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "training/linear/linear.npz").returncode == 0
    seen, original = [], getattr(module, name)

    def learn(*arguments, **named):
        seen.append(products())
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, learn)
    with threadpool_limits(2, user_api="blas"):
        assert run(*command).returncode == 0
        assert seen == [(False, {1})]
        assert products() == (True, {2})
