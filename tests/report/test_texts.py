from __future__ import annotations

from assay.report.texts import pieces, shortened


def joined(found: list) -> str:
    return "".join(f"[{p['text']}]" if p["marked"] else p["text"] for p in found)


def test_places_are_marked() -> None:
    found = joined(pieces("see James Bond act", [(4, 14)], 100))
    assert found == "see [James Bond] act"
    assert joined(pieces("a b c", [(0, 1), (4, 5)], 100)) == "[a] b [c]"
    assert joined(pieces("abcd", [(0, 2), (1, 3)], 100)) == "[ab][c]d"
    assert joined(pieces("plain", [], 100)) == "plain"


def test_long_texts_are_cut_around_the_first_place() -> None:
    text = "x" * 1000 + "TRIGGER" + "y" * 1000
    found = joined(pieces(text, [(1000, 1007)], 300))
    assert found == "…" + "x" * 120 + "[TRIGGER]" + "y" * 173 + "…"
    assert joined(pieces("z" * 50, [], 10)) == "z" * 10 + "…"
    # A place beyond the cut is left out.
    found = joined(pieces("a" + "b" * 50, [(0, 1), (40, 41)], 10))
    assert found == "[a]" + "b" * 9 + "…"


def test_hidden_characters_show_and_places_hold() -> None:
    text = "\u202ea\x00 James\u200b Bond\nnext"
    start = text.index("James")
    found = joined(pieces(text, [(start, start + 11)], 100))
    assert found == "\\u202ea\\x00 [James\\u200b Bond]\nnext"


def test_shortened_is_one_line() -> None:
    assert shortened("a\n\n  b\tc", 10) == "a b c"
    assert shortened("word " * 50, 12) == "word word w…"
    assert shortened("a\u202eb", 10) == "a\\u202eb"
