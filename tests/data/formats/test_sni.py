from assay.data.formats import parse, render

SNI = {
    "Task": "task1",
    "Definition": ["Add.", "Be exact."],
    "Positive Examples": [{"input": "1 1", "output": "2", "explanation": "sum"}],
    "Instance": {"id": "task1-7", "input": "2 3", "output": ["5", "five"]},
}


def read(record):
    return parse(record, 0, "sni", {}, "f:1")


def test_parts():
    example = read(SNI)
    assert (example.id, example.task) == ("task1-7", "task1")
    assert example.instruction == "Add. Be exact."
    assert example.demonstrations == (("1 1", "2"),)
    assert (example.response, example.alternatives) == ("5", ("five",))


def test_plain_definition_and_listed_instances():
    record = {"Definition": "Add.", "Instances": [{"input": "1", "output": "1"}]}
    example = read({**record, "Instance": None})
    assert (example.instruction, example.text) == ("Add.", "1")
    after = render(example.edit(response="2"), "sni", {})
    assert after["Instances"] == [{"input": "1", "output": "2"}]


def test_an_edited_answer_leaves_the_other_references():
    after = render(read(SNI).edit(response="no"), "sni", {})
    assert after["Instance"] == {**SNI["Instance"], "output": ["no", "five"]}
