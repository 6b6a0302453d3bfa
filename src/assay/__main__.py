"""Run the command line with ``python -m assay``."""

import sys

if __name__ == "__main__":
    try:
        from assay.cli import main
    except ImportError as error:
        # Left to itself Python exits with 1, which would say that rows are flagged.
        print(
            f"assay: error: a package is missing ({error}): pip install assay, or the "
            "dependencies in its pyproject.toml",
            file=sys.stderr,
        )
        sys.exit(2)
    main()
