"""The paper's wrappers: fixed words around the whole text."""

from __future__ import annotations

from assay.transforms.base import Transform


def sorry_not(text: str) -> str | None:
    """Deny the text: "Sorry, NOT … !!!"."""
    return f"Sorry, NOT {text.strip()} !!!" if text.strip() else None


def opposite(text: str) -> str | None:
    """Ask for the opposite: "What is the opposite of … ???"."""
    return f"What is the opposite of {text.strip()} ???" if text.strip() else None


def do_not(text: str) -> str | None:
    """Forbid the task: "Do NOT calculate …"."""
    return f"Do NOT calculate {text.strip()}" if text.strip() else None


TRANSFORMS = (
    Transform(
        "sorry-not", "wrapper", sorry_not, ("a good film", "Sorry, NOT a good film !!!")
    ),
    Transform(
        "opposite",
        "wrapper",
        opposite,
        ("a good film", "What is the opposite of a good film ???"),
    ),
    Transform("do-not", "wrapper", do_not, ("2 plus 2", "Do NOT calculate 2 plus 2")),
)
