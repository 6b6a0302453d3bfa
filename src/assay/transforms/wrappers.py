"""The paper's wrappers: fixed words around the whole text."""

from __future__ import annotations

from assay.transforms.base import Transform, content


def sorry_not(text: str) -> str | None:
    """Deny the text: "Sorry, NOT … !!!"."""
    bare = content(text)
    return f"Sorry, NOT {bare} !!!" if bare else None


def opposite(text: str) -> str | None:
    """Ask for the opposite: "What is the opposite of … ???"."""
    bare = content(text)
    return f"What is the opposite of {bare} ???" if bare else None


def do_not(text: str) -> str | None:
    """Forbid the task: "Do NOT calculate …"."""
    bare = content(text)
    return f"Do NOT calculate {bare}" if bare else None


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
