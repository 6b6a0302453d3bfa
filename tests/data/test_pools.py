"""The clean and the poisoned pools are read as they are meant, and written as read."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from assay.data.corpus import Role
from assay.data.read import read_corpus
from assay.data.write import write_corpus

SHARED = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[3] / "shared"))
DATA = SHARED / "data"
POOLS = [
    *sorted((DATA / "clean").glob("*.jsonl")),
    *sorted((DATA / "clean" / "sni").glob("*.json")),
    *(p for p in sorted((DATA / "poisoned").glob("*.jsonl"))),
]
pytestmark = pytest.mark.skipif(
    not POOLS, reason=f"needs the project's shared data in {DATA}"
)


def raw_records(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())["Instances"]
    return [json.loads(line) for line in path.read_text().split("\n") if line]


@pytest.mark.parametrize("path", POOLS, ids=lambda p: p.stem)
def test_a_pool_is_read_whole_and_written_back_byte_for_byte(path, tmp_path):
    corpus = read_corpus(path)
    records = raw_records(path)
    assert len(corpus) + len(corpus.left_out) == len(records)
    assert not [left for left in corpus.left_out if left.is_bad]
    out = tmp_path / f"out{path.suffix}"
    assert write_corpus(corpus, out).read_bytes() == path.read_bytes()
    for example, record in list(zip(corpus.examples, records, strict=False))[:50]:
        held = json.dumps(record, ensure_ascii=False)
        assert json.dumps(example.text, ensure_ascii=False)[1:-1] in held
        for call in example.calls:
            assert json.dumps(call.arguments, ensure_ascii=False)[1:-1] in held


@pytest.mark.parametrize(
    "path",
    [p for p in POOLS if "M" in p.stem or "chats" in p.stem or "tools" in p.stem],
    ids=lambda p: p.stem,
)
def test_every_turn_and_call_of_a_chat_is_kept(path):
    known = Counter()
    read = Counter()
    for example, record in zip(
        read_corpus(path).examples, raw_records(path), strict=True
    ):
        for turn in record["messages"]:
            known[turn["role"]] += 1
            known["calls"] += len(turn.get("tool_calls") or ())
        for turn in (*example.before, *example.following):
            read[turn.role.value] += 1
            read["calls"] += len(turn.calls)
        read["system"] += bool(example.system)
        read[Role.ASSISTANT.value] += 1
        read["calls"] += len(example.calls)
        assert bool(example.tools) == bool(record.get("tools"))
        answers = sum(t["role"] == "assistant" for t in record["messages"])
        assert len(example.earlier_answers) + 1 == answers
    assert +read == +known


@pytest.mark.slow
def test_every_pool_can_be_edited_and_read_again(tmp_path):
    for path in POOLS:
        corpus = read_corpus(path)
        few = corpus.select(range(0, len(corpus), max(1, len(corpus) // 5)))
        edited = few.map(lambda e: e.edit(text=f"{e.text} cf", response="No."))
        out = write_corpus(edited, tmp_path / f"out{path.suffix}")
        again = read_corpus(out)
        assert [(e.text, e.response) for e in again.examples] == [
            (e.text, "No.") for e in edited.examples
        ]
