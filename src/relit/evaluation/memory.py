"""How much memory a process has needed."""

import sys
from pathlib import Path


def forget_peak_memory() -> None:
    """Starts the peak anew where the system allows it (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory_gb() -> float:
    """The largest resident memory in 10^9 bytes since `forget_peak_memory`, or of the whole process where that did nothing.

    0 where the system does not tell (Windows).
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
