"""What of the machine a training may use."""

from thinc.api import require_gpu

from scripts.common.cli import UserError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # what limits them


def check_gpu(gpu_id: int) -> None:
    """Make sure that the GPU can be used; -1 means the CPU and passes.

    Raises:
        UserError: there is no such GPU, or CuPy or PyTorch cannot use it.
    """
    if gpu_id < 0:
        return
    try:
        require_gpu(gpu_id)
    except Exception as error:
        raise UserError(
            f"GPU {gpu_id} cannot be used: {error} Leave out `--vars.gpu_id {gpu_id}` to train on the CPU, "
            "or install the GPU packages (docs/variants.md)."
        ) from None
