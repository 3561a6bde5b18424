"""What of the machine a training may use."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits

from scripts.common.cli import UserError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # what limits them


def peak_rss_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    if sys.platform == "linux":
        # ru_maxrss survives exec and would count the parent's memory; the kernel's VmHWM does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if platform.system() == "Windows":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def products_by_numpy(gpu_id: int) -> Iterator[None]:
    """Within it, thinc multiplies matrices on the CPU by what NumPy does it by, on one thread, and not by BLIS.

    The BLIS that comes with spaCy has no kernels for processors from AMD Zen 4 on, and takes generic ones, which need
    two to three times as long (explosion/cython-blis, issue 53, has it of Zen 3). On one thread, as with BLIS, sums do
    not hang on the number of cores.

    Args:
        gpu_id: GPU that is used; -1 for the CPU. On a GPU nothing is changed.
    """
    if gpu_id >= 0:
        yield
        return
    # Not before it is needed: it brings PyTorch along.
    from thinc.api import use_ops

    with threadpool_limits(1, user_api="blas"), use_ops("numpy", use_blis=False):
        yield


def check_gpu(gpu_id: int) -> None:
    """Make sure that the GPU can be used; -1 means the CPU and passes.

    Raises:
        UserError: there is no such GPU, or CuPy or PyTorch cannot use it.
    """
    if gpu_id < 0:
        return
    # Not before it is needed: it brings PyTorch along.
    from thinc.api import require_gpu

    try:
        require_gpu(gpu_id)
    except Exception as error:
        raise UserError(
            f"GPU {gpu_id} cannot be used: {error} Leave out `--vars.gpu_id {gpu_id}` to train on the CPU, "
            "or install the GPU packages (docs/variants.md)."
        ) from None
