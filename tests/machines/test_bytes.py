"""scripts/__init__.py: what is made has the same bytes on every x86-64, whatever its processor could do."""

import os
import subprocess
import sys

import pytest

import scripts
from scripts.common.files import md5_file
from tests.conftest import ROOT, toy_records

KERNELS = """
import scripts, json, numpy, scipy.linalg
from threadpoolctl import threadpool_info
blas = {info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"}
print(*sorted(blas), *numpy.show_config(mode="dicts")["SIMD Extensions"]["found"])
"""

only_x86 = pytest.mark.skipif(not scripts.has_avx2(), reason="nothing is pinned on this machine")


def python(*arguments, folder=ROOT, **env):
    """The output of a Python of its own, which has not imported NumPy yet."""
    free = {name: value for name, value in os.environ.items() if name not in scripts.PINS}
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=free | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@only_x86
def test_libraries_use_what_every_machine_has():
    assert python("-c", KERNELS) == "Haswell X86_V3"


@only_x86
def test_a_setting_of_the_user_wins():
    assert python("-c", KERNELS, OPENBLAS_CORETYPE="Nehalem").startswith("Nehalem")


@pytest.mark.parametrize("machine", ["arm64", "aarch64", "i686"])
def test_other_processors_are_left_alone(monkeypatch, machine):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    scripts.pin()
    assert "OPENBLAS_CORETYPE" not in os.environ


@only_x86
def test_so_are_x86_without_avx2_and_systems_that_do_not_tell(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    for text in ("flags\t\t: fpu sse2 avx\n", "flags: avx2x\n", None):
        path = tmp_path / "cpuinfo"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text)
        monkeypatch.setattr("builtins.open", lambda *_, path=path, **options: path.open(**options))
        assert not scripts.has_avx2()


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Words of the toy texts, and their counts."""
    folder = tmp_path_factory.mktemp("tokens")
    lines = [record["text"] for record in toy_records()] * 5
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@only_x86
@pytest.mark.slow
def test_vectors_have_the_same_bytes_however_often_and_others_with_another_kernel(tokens):
    """Learned with NumPy's and SciPy's products, exponentials and sums."""
    code = (
        "import scripts, sys, numpy as np\n"
        "from gensim.models import Word2Vec\n"
        "from gensim.models.word2vec import LineSentence\n"
        "model = Word2Vec(LineSentence('tokens.txt'), vector_size=48, workers=1, seed=0, epochs=5, min_count=1)\n"
        "vectors = model.wv.vectors\n"
        "rows = np.exp(vectors.astype('float64')) @ np.linalg.svd(vectors, full_matrices=False)[2].T\n"
        "np.save(sys.argv[1], rows)"
    )
    found = {}
    for name, env in (("pinned", {}), ("again", {"PYTHONHASHSEED": "7"}), ("other", {"OPENBLAS_CORETYPE": "Nehalem"})):
        python("-c", code, f"{name}.npy", folder=tokens, **env)
        found[name] = md5_file(tokens / f"{name}.npy")
    assert found["pinned"] == found["again"]
    assert found["other"] != found["pinned"], "the test would pass if the kernel did not matter"
