"""The steps of the project. What is set here is set before anything else is imported.

NumPy is told to give the same bytes on each x86-64. Libraries have code for each kind of processor, which adds in
different orders. They choose when they are imported, and are told by environment variables, which what a step starts
inherits.
"""

import ctypes
import os
import platform
import sys

# What every x86-64 of the last ten years can do. A user's own setting is left alone.
PINS = {
    "OPENBLAS_CORETYPE": "Haswell",  # products of matrices, in NumPy and SciPy
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # exp, log and argpartition in NumPy
}


def has_avx2() -> bool:
    """Whether the processor is an x86-64 that can do what is pinned, as far as the system tells."""
    if platform.machine().casefold() not in {"x86_64", "amd64"}:
        return False
    if sys.platform == "win32":
        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(40))  # PF_AVX2_INSTRUCTIONS_AVAILABLE
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return any(" avx2 " in f"{line.strip()} " for line in stream if line.startswith("flags"))
    except OSError:
        return False  # macOS: NumPy has Apple's library there


def pin() -> None:
    """Tell the libraries, unless the user has told them."""
    if has_avx2():
        for name, value in PINS.items():
            os.environ.setdefault(name, value)


def speak() -> None:
    """Print in UTF-8: on Windows, what goes into a file or a pipe is otherwise in the letters of one language alone.

    wasabi looks at the encoding when it is imported.
    """
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").casefold().replace("-", "")
        if encoding != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")


pin()
speak()
