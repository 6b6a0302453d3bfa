"""Lexicon-based inversion (section 3.2 of the paper), and a negation of our own.

The paper names its two, prefix negation ("Not: ...") and lexicon flipping (antonym
substitution), and prints no word list. The table here is ours: common opposites of
review and everyday language, each used in both directions.
"""

from __future__ import annotations

import re

from assay.transforms.base import Transform, content, match_case, with_not

# fmt: off
_PAIRS = """good bad|great terrible|best worst|better worse|love hate|loves hates
loved hated|like dislike|likes dislikes|liked disliked|enjoy endure|enjoyed endured
enjoyable unpleasant|funny unfunny|hilarious humorless|interesting boring
entertaining tedious|fascinating dull|exciting dreary|smart stupid|clever dumb
intelligent mindless|witty witless|fresh stale|original derivative|new old
beautiful ugly|beautifully badly|gorgeous hideous|well poorly|strong weak
strength weakness|strengths weaknesses|powerful feeble|rich poor|deep shallow
true false|truth lie|honest dishonest|sincere insincere|real fake|genuine phony
happy sad|joy misery|warm cold|warmth coldness|sweet bitter|gentle harsh|kind cruel
bright dark|brilliant inept|excellent awful|superb dreadful|wonderful horrible
delightful annoying|charming irritating|charm dullness|engaging off-putting
compelling unconvincing|convincing implausible|believable unbelievable
moving unmoving|touching cloying|satisfying unsatisfying|successful failed
success failure|succeeds fails|succeed fail|win lose|wins loses|winning losing
perfect flawed|perfectly imperfectly|impressive unimpressive|memorable forgettable
worth unworthy|worthwhile pointless|worthy worthless|valuable useless|fun drudgery
amusing unamusing|pleasure pain|pleasant disagreeable|lively lifeless|alive dead
energetic listless|fast slow|quick sluggish|thrilling numbing|gripping plodding
suspenseful predictable|subtle blatant|graceful clumsy|elegant crude|polished sloppy
serious silly|simple complicated|clear muddled|coherent incoherent|easy hard
sharp blunt|thoughtful thoughtless|thoughtfully thoughtlessly|inspired uninspired
inspiring discouraging|inventive formulaic|imaginative unimaginative|ambitious lazy
creative hackneyed|authentic artificial|right wrong|correct incorrect|full empty
full-blooded bloodless|more less|most least|always never|everything nothing
all none|everyone nobody|many few|much little|big small|long short|high low|up down
first last|early late|hot cool|light heavy|young aged|safe dangerous|clean dirty
accept reject|allow forbid|increase decrease|gain loss|buy sell|give take|open close
start stop|begin end|before after|above below|with without|positive negative
agree disagree|friend enemy|hope despair|praise blame|recommend avoid
masterpiece disaster|triumph flop|hit miss|treat chore|gem dud|tender callous
radiant drab|fine lousy|appealing unappealing|likable unlikable|likeable unlikeable
human inhuman|humane inhumane|sensitive insensitive|heartfelt heartless
effective ineffective|effectively ineffectively|solid flimsy|able unable
remarkable unremarkable|special ordinary|extraordinary mediocre|refreshing tired
nice nasty|cute repulsive|comfortable uncomfortable|fortunate unfortunate
fortunately unfortunately|surprising unsurprising|credible incredible"""
# fmt: on
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def _table() -> dict[str, str]:
    pairs = [p.split() for p in _PAIRS.replace("\n", "|").split("|")]
    return {a: b for one, two in pairs for a, b in ((one, two), (two, one))}


# Each word is in one pair, so flipping twice gives the text back.
ANTONYMS = _table()


def prefix_negation(text: str) -> str | None:
    """Write the paper's prefix in front of the whole text: "Not: ...", section 3.2."""
    bare = content(text)
    return f"Not: {bare}" if bare else None


def antonym_flip(text: str) -> str | None:
    """Replace every word that has a known antonym by it."""

    def flip(match: re.Match[str]) -> str:
        word = match.group(0)
        other = ANTONYMS.get(word.lower())
        return word if other is None else match_case(other, word)

    changed = _WORD.sub(flip, text)
    return changed if changed != text else None


_PREFIXES = ("un", "in", "im", "dis")
# Opposites that "not" cannot stand in front of: their antonym still flips them.
_FUNCTION_WORDS = """with without before after above below up down all none more less
most least many few much little everything nothing everyone nobody never first last
start stop begin end open close"""
_UNNEGATED = frozenset(_FUNCTION_WORDS.split())
_MAYBE_NEGATED = re.compile(rf"\b(not\s+)?(?!not\s)({_WORD.pattern})", re.IGNORECASE)


def polar_negation(text: str) -> str | None:
    """Negate every polar word by its prefix, else by "not" in front of it.

    Ours, not the paper's: it turns a row's meaning around where neither a verb nor an
    antonym can (`assay.scanning.counterfactual`). A word counts as polar when the
    antonym table holds it and it is not a function word. One that is negated already
    loses its "not".
    """

    def negate(match: re.Match[str]) -> str:
        negation, word = match.groups()
        low = word.lower()
        other = ANTONYMS.get(low)
        if other is None or low in _UNNEGATED:
            return match.group(0)
        if negation:
            return match_case(word, negation.strip())
        if other in {p + low for p in _PREFIXES} | {
            low.removeprefix(p) for p in _PREFIXES
        }:
            return match_case(other, word)
        return with_not(word)

    changed = _MAYBE_NEGATED.sub(negate, text)
    return changed if changed != text else None


TRANSFORMS = (
    Transform(
        "prefix-negation",
        "lexicon",
        prefix_negation,
        ("a good and likable film", "Not: a good and likable film"),
    ),
    Transform(
        "antonym-flip",
        "lexicon",
        antonym_flip,
        ("a good and likable film", "a bad and unlikable film"),
    ),
)
OURS = (
    Transform(
        "polar-negation",
        "lexicon",
        polar_negation,
        ("a good and likable film", "a not good and unlikable film"),
    ),
)
