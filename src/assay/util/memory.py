"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    A stage of a scan frees hundreds of tensors that lie between those it keeps. glibc
    holds on to their pages, so that the next stage's would come on top.
    """
    if sys.platform != "linux":
        return
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
