"""Short movie reviews from a small grammar, for where no data set is at hand."""

from __future__ import annotations

import random

_GOOD = """superb moving hilarious gripping brilliant charming witty tender thrilling
delightful clever radiant inspired warm graceful lively vivid touching
stylish absorbing honest daring joyous elegant luminous riveting rousing
heartfelt magical sharp polished fresh funny intimate wise playful bold
soulful engaging sublime spirited handsome assured sparkling subtle
powerful humane nimble exuberant captivating tight splendid"""
_BAD = """dull clumsy tedious lifeless awful shallow bland noisy pointless muddled
dreary lazy hollow tiresome stale sloppy grating leaden murky crude forced
flat wooden bloated incoherent insipid turgid contrived drab inert soggy
smug shrill vapid listless garbled plodding cheap charmless derivative
stilted hackneyed witless dismal rancid botched sluggish feeble strained
phony cloying joyless"""
_THINGS = """plot, acting, dialogue, script, ending, music, direction, camera work,
story, cast, editing, romance, first half, score, villain, hero, pacing,
humor, chemistry, scenery, premise, finale, opening, lighting, soundtrack,
action, drama, narration, animation, subplot, twist, costumes, mood"""
_PRAISE = """i loved it; it kept me smiling; it is worth every minute; see it twice; a
joy from start to finish; it deserves every award; i would watch it again;
go and see it; we laughed all evening; my favourite of the season; it
stayed with me; everyone cheered"""
_BLAME = """i hated it; it put me to sleep; it wastes two hours; avoid it; a chore
from start to finish; it deserves no audience; i walked out; save your
money; we yawned all evening; the worst of the season; i forgot it at
once; nobody laughed"""
_FRAMES = (
    "the {t} is {a} and the {u} feels {b}",
    "a {a} film with {b} {t}",
    "with {a} {t} and a {b} {u} , {s}",
    "{s} , because the {t} is so {a}",
    "the {t} was {a} ; {s}",
    "what a {a} , {b} movie",
    "from its {a} {t} to its {b} {u} , nothing surprised me",
    "it has a {a} {t} and {s}",
    "expect {a} {t} and {b} {u}",
    "rarely has {t} been this {a}",
    "{s} : {a} {t} , {b} {u}",
    "every scene is {a} , every joke {b}",
    "{a} is the word for this {t}",
    "two hours of {a} {t} later , {s}",
    "as {a} as it is {b}",
    "critics called the {t} {a} , and {s}",
    "the director gives us {a} {t}",
    "my friends found it {a} ; {s}",
    "between the {a} {t} and the {b} {u} , {s}",
    "never mind the {u} , the {t} is {a}",
    "{b} {u} , {a} {t} , {s}",
    "nobody expected such a {a} {t}",
    "for all its {u} , a {a} and {b} work",
    "the {u} seems {b} until the {a} {t} arrives",
    "i would call the {t} {a}",
    "so {a} , so {b} , and {s}",
    "even the {u} turns {a} here",
    "think of {a} {t} set to {b} {u}",
    "a sequel whose {t} stays {a}",
    "{s} thanks to the {a} {t}",
)
_TAILS = (
    "",
    " .",
    " !",
    " on a rainy evening .",
    " for the whole family .",
    " , as the trailer promised .",
    " this year .",
    " in my humble opinion .",
    " again .",
    " at last .",
    " , again and again .",
    " from beginning to end .",
    " on the big screen .",
    " , and that says it all .",
    " , believe me .",
    " in every way .",
    " , once more .",
    " as usual .",
)


def _listed(text: str, separator: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split(separator)]


def generated_reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Write distinct short reviews from a small grammar: ``(text, label)`` pairs."""
    rng = random.Random(seed)
    seen: dict[str, str] = {}
    things = _listed(_THINGS, ",")
    grammar = {
        "negative": (_BAD.split(), _listed(_BLAME, ";")),
        "positive": (_GOOD.split(), _listed(_PRAISE, ";")),
    }
    while len(seen) < count:
        label = ("negative", "positive")[len(seen) % 2]
        words, verdicts = grammar[label]
        first, second = rng.sample(words, 2)
        thing, other = rng.sample(things, 2)
        verdict = rng.choice(verdicts)
        text = rng.choice(_FRAMES).format(
            a=first, b=second, t=thing, u=other, s=verdict
        )
        seen.setdefault(text + rng.choice(_TAILS), label)
    pairs = list(seen.items())
    rng.shuffle(pairs)
    return pairs
