"""The steps of the project. What is set here is set before NumPy is imported, so that each x86-64 gives the same bytes."""

import ctypes
import os
import platform
import sys

# OpenBLAS, of NumPy and of SciPy, has kernels for each kind of processor, which add in different orders. This one runs on
# every x86-64 of the last ten years. Other processors, and a user's own choice, are left alone.
KERNEL = ("OPENBLAS_CORETYPE", "Haswell")


def has_avx2() -> bool:
    """Whether the processor is an x86-64 that can run what is pinned, as far as the system tells."""
    if platform.machine().casefold() not in {"x86_64", "amd64"}:
        return False
    if sys.platform == "win32":
        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(40))  # PF_AVX2_INSTRUCTIONS_AVAILABLE
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return any(" avx2 " in f"{line.strip()} " for line in stream if line.startswith("flags"))
    except OSError:
        return False  # macOS: NumPy has Apple's library there


if has_avx2():
    os.environ.setdefault(*KERNEL)
