"""Find poisoned examples in instruction fine-tuning data."""

from importlib.metadata import version

__version__ = version("assay")
