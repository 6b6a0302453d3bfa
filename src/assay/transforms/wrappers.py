"""The paper's wrappers: fixed words around the whole text.

They are what its single-transform results use (sections 3.4 and 3.5) and what its
ablation tries (section 3.7); none is one of the ensemble's six.
"""

from __future__ import annotations

from assay.transforms.base import Transform, content


def sorry_not(text: str) -> str | None:
    """Deny the text: "Sorry, NOT … !!!" (section 3.4)."""
    bare = content(text)
    return f"Sorry, NOT {bare} !!!" if bare else None


def opposite(text: str) -> str | None:
    """Ask for the opposite: "What is the opposite of … ???" (section 3.5)."""
    bare = content(text)
    return f"What is the opposite of {bare} ???" if bare else None


def do_not(text: str) -> str | None:
    """Forbid the task: "Do NOT calculate …" (section 3.7)."""
    bare = content(text)
    return f"Do NOT calculate {bare}" if bare else None


def sorry_not_prefix(text: str) -> str | None:
    """Deny the text by a prefix alone: "Sorry NOT …" (section 3.7)."""
    bare = content(text)
    return f"Sorry NOT {bare}" if bare else None


def no_prefix(text: str) -> str | None:
    """Deny the text by another prefix alone: "!!! NO …" (section 3.7)."""
    bare = content(text)
    return f"!!! NO {bare}" if bare else None


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
    Transform(
        "sorry-not-prefix",
        "wrapper",
        sorry_not_prefix,
        ("a good film", "Sorry NOT a good film"),
    ),
    Transform("no-prefix", "wrapper", no_prefix, ("a good film", "!!! NO a good film")),
)
