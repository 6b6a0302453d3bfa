import pytest

from assay.data.corpus import Corpus, Example


def corpus() -> Corpus:
    rows = [
        Example(f"e{i}", i, "", f"text {i}", "yes", record={"n": i}) for i in (0, 1)
    ]
    return Corpus(tuple(rows), "alpaca", "jsonl", "x.jsonl")


def test_edit_changes_one_field_and_keeps_the_record():
    example = corpus().examples[0]
    assert example.edit(text="new").response == "yes"
    assert example.edit(response="").response == ""
    assert example.edit(text="new").record is example.record


def test_select_keeps_row_numbers():
    assert [e.row for e in corpus().select([1]).examples] == [1]
    assert len(corpus().select([])) == 0


def test_map_and_with_examples_keep_the_rest():
    changed = corpus().map(lambda e: e.edit(text="x"))
    assert [e.text for e in changed.examples] == ["x", "x"]
    assert corpus().with_examples(changed.examples) == changed


@pytest.mark.parametrize("part", [{"text": "other"}, {"response": "no"}])
def test_hash_sees_every_edit_and_the_order(part):
    first = corpus()
    edited = first.with_examples([first.examples[0].edit(**part), first.examples[1]])
    hashes = {c.content_hash() for c in (first, edited, first.select([1, 0]))}
    assert len(hashes) == 3
    assert corpus().content_hash() == first.content_hash()
