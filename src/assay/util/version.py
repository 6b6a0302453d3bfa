"""The version that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("assay")
except PackageNotFoundError:
    # Run from its source, by PYTHONPATH=src.
    VERSION = "0+not.installed"
