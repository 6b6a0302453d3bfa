import pytest

from assay.data.read import read_corpus
from assay.data.sentiment import INSTRUCTION, LABELS, generated_reviews, load_sentiment
from assay.data.write import write_corpus
from assay.errors import AssayError


def sst2(folder, train, dev=None):
    for name, lines in (("train", train), ("dev", dev or train)):
        text = "\n".join(["sentence\tlabel", *lines]) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return folder


def test_generated_reviews_are_distinct_balanced_and_seeded():
    pairs = generated_reviews(400, 1)
    assert len({text for text, _ in pairs}) == 400
    assert sum(label == "positive" for _, label in pairs) == 200
    assert pairs == generated_reviews(400, 1) != generated_reviews(400, 2)


def test_generated_train_and_test_share_no_text():
    train, test = load_sentiment(None, train_rows=50, test_rows=20)
    assert (len(train), len(test)) == (50, 20)
    assert not {e.text for e in train.examples} & {e.text for e in test.examples}
    assert {e.instruction for e in train.examples} == {INSTRUCTION}


def test_a_written_sentiment_corpus_reads_the_same(tmp_path):
    train, _ = load_sentiment(None, train_rows=20, test_rows=2)
    read = read_corpus(write_corpus(train, tmp_path / "train.jsonl"))
    assert read.examples == train.examples
    assert read.content_hash() == train.content_hash()


def test_sst2_folder(tmp_path):
    lines = [f'"{i} quoted\t{i % 2}' for i in range(10)]
    train, test = load_sentiment(sst2(tmp_path, lines), train_rows=6, test_rows=4)
    for part, rows in ((train, 6), (test, 4)):
        assert len(part) == rows
        for e in part.examples:
            number = int(e.text.removeprefix('"').split()[0])
            assert e.text == f'"{number} quoted'
            assert e.response == LABELS[number % 2]
        assert sum(e.response == "positive" for e in part.examples) == rows // 2
    again, _ = load_sentiment(tmp_path, train_rows=6, test_rows=4)
    assert again.examples == train.examples


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["fine\t1"], r"train\.tsv: fewer than 1 negative rows"),
        (["fine\t1", "odd\t-1"], r"train\.tsv:3: label '-1', expected 0 or 1"),
        (["fine\t1", "short"], r"train\.tsv:3: label None"),
    ],
)
def test_bad_rows(tmp_path, lines, message):
    with pytest.raises(AssayError, match=message):
        load_sentiment(sst2(tmp_path, lines), train_rows=2, test_rows=2)


def test_missing_file_and_column(tmp_path):
    with pytest.raises(AssayError, match=r"train\.tsv: expected .*No such file"):
        load_sentiment(tmp_path)
    (tmp_path / "train.tsv").write_text("text\tlabel\na\t1\n")
    with pytest.raises(AssayError, match=r"columns sentence and label"):
        load_sentiment(tmp_path)
