from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from assay.util.memory import trim


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no trim")
def test_what_is_freed_between_kept_tensors_goes_back() -> None:
    # Under glibc's threshold for mappings of their own, so all in one heap.
    tensors = [torch.ones(16_000) for _ in range(4000)]
    kept = tensors[::10]
    before = resident()
    del tensors
    trim()
    assert before - resident() > 150_000_000
    assert all(t.sum() == 16_000 for t in kept)
