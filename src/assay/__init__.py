"""Find poisoned examples in instruction fine-tuning data."""

from typing import TYPE_CHECKING

from assay.errors import AssayError
from assay.util.version import VERSION

if TYPE_CHECKING:
    from assay.api import Report, scan

__all__ = ["AssayError", "Report", "__version__", "scan"]

__version__ = VERSION


def __getattr__(name: str) -> object:
    # Torch takes seconds to import, which neither --help nor --version needs.
    if name in ("Report", "scan"):
        from assay import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
