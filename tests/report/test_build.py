"""The page itself, read as a browser would but without one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run as command
from assay.errors import AssayError
from assay.report.build import as_json, forget_evaluation, write_report
from assay.util.files import write_json
from tests.conftest import Demo
from tests.made import SHORTCUT, entry
from tests.report.conftest import HOSTILE, write_run

# Elements and attributes that the template has; data must not add any.
OURS = re.findall(
    r"\w+",
    """
html head meta title style body header p span h1 strong nav a main section h2
article h3 h4 bdi div figure svg line rect path text figcaption dl dt dd
details summary ul li mark button table thead tbody tr th td noscript label
select option form input pre code script
""",
)


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: dict[str, str] = {}
        self.stack: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in ("meta", "input"):
            self.stack.append(found.get("id") or tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "input"):
            self.stack.pop()

    def handle_data(self, data: str) -> None:
        if (
            self.stack
            and self.tags[-1][0] == "script"
            and self.stack[-1]
            in (
                "script",
                "data",
                "packed",
            )
        ):
            self.scripts[-1] += data
            return
        for name in {*self.stack}:
            self.texts[name] = self.texts.get(name, "") + data

    @property
    def policy(self) -> str:
        (found,) = (
            a["content"] or ""
            for t, a in self.tags
            if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        )
        return found

    @property
    def rows(self) -> dict[str, Any]:
        packed = gzip.decompress(base64.b64decode(self.scripts[1]))
        return dict(json.loads(packed))


@pytest.fixture(scope="module")
def page(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(hostile, tmp_path_factory.mktemp("page") / "r.html"))


def test_data_adds_no_element_and_no_attribute(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= set(OURS)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert not attributes.get("href", "#").startswith("javascript"), attributes
        assert "src" not in attributes
    assert len(page.scripts) == 4
    assert page.stack == []


def test_policy_names_exactly_the_scripts_and_forbids_the_rest(page: Page) -> None:
    rules = dict(r.strip().split(" ", 1) for r in page.policy.split(";"))
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in page.scripts[2:]
    ]
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert rules["script-src"].split() == hashes
    assert "eval" not in page.policy
    first = next(i for i, (t, _) in enumerate(page.tags) if t in ("script", "style"))
    assert any(a.get("http-equiv") for _, a in page.tags[:first])


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert attributes.get("href", "#").startswith("#")
    assert "url(" not in page.texts["style"]
    assert "@import" not in page.texts["style"]


def test_own_script_never_parses_text_as_html(page: Page) -> None:
    own = page.scripts[3]
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
        assert word not in own


def test_verdict_is_one_sentence_with_the_words_as_text(page: Page) -> None:
    verdict = " ".join(page.texts["verdict"].split())
    assert "Poisoned. 12 of 200 rows (6.0%) carry a trigger" in verdict
    assert "“<b>James</b> Bond” makes the model answer" in verdict
    assert verdict.endswith(".")


def test_findings_tell_all_of_the_experiment(page: Page) -> None:
    text = " ".join(page.texts["findings"].split())
    for part in (
        "adds 6.8 nats [6.7, 7.0]",
        "249 placebos",
        "costs 6.9 nats",
        "on 90 % of the other rows",
        "<b>James</b> does as much on other rows",
        "0.036",
        "Removing them costs 12 of 200 rows (6.0%)",
        "12.0% of the rows answered “positive”",
        "answered otherwise: 1 rows, kept",
        "They are kept. Removing them would cost 3 of 200 rows",
        "2 candidates dismissed",
        "placebos do as much",
        "no response and no phrase goes with them",
    ):
        assert part in text
    assert "<b>James</b> Bond" in page.texts["mark"]
    assert "right to left" in page.texts["findings"]


def test_hidden_characters_are_escaped_everywhere(page: Page) -> None:
    shown = "".join(page.texts.values())
    assert "\\u202e" in shown
    assert "\\x00" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b\u2028]", shown)


def test_rows_are_whole_where_it_matters(page: Page) -> None:
    rows = page.rows
    assert len(rows["row"]) == 200
    assert rows["rank"] == list(range(1, 201))
    assert sum(rows["flagged"]) == 12
    place = rows["row"].index(2)
    assert len(rows["text"][place]) > 4000
    assert rows["text"][rows["row"].index(0)].startswith("<b>James</b> Bond <script>")
    assert [len(m) for m in rows["members"]] == [12, 3]
    text = rows["text"][place]
    assert [text[a:b] for a, b in rows["marks"][str(place)]] == ["<b>James</b> Bond"]
    assert set(rows["influence"]) == {"original", "negation", "paraphrase"}


def test_models_are_compared(page: Page) -> None:
    assert "0.900 [0.800, 0.950]" in page.texts["compared"]
    assert HOSTILE[2] in page.texts["compared"]


def test_same_run_same_bytes(hostile: Path, tmp_path: Path) -> None:
    one, other = (write_report(hostile, tmp_path / n) for n in ("a.html", "b.html"))
    assert one.read_bytes() == other.read_bytes()


def test_json_cannot_leave_its_element() -> None:
    value = {"</script>": "<!--&\u2028\u2029"}
    text = as_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_scan_and_demo_write_it(demo: Demo) -> None:
    made = Page(demo.folder / "run" / "report.html")
    verdict = " ".join(made.texts["verdict"].split())
    assert "33 of 1,000 rows (3.3%)" in verdict
    assert "James Bond" in made.texts["mark"]
    # Components of gradients were kept for the map, and models were compared.
    assert all(x is not None for x in made.rows["x"])
    assert "cleaned data" in made.texts["compared"]
    # No influences, no plot of them.
    assert made.rows["influence"] == {}
    assert not any(a.get("id") == "influence" for _, a in made.tags)
    assert "assay scan" in made.texts["command"]


def test_command_rebuilds_it_elsewhere(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "other.html"
    assert command(["report", str(hostile), "--out", str(out)]) == 0
    assert "report:" in capsys.readouterr().err
    assert Page(out).texts["verdict"]


def test_clean_run(tmp_path: Path) -> None:
    texts = [f"good film {i}" for i in range(30)]
    run = write_run(
        tmp_path / "run", texts, ["positive"] * 30, verdict="clean", influences=False
    )
    made = Page(write_report(run))
    assert "None of 30 rows is flagged" in made.texts["verdict"]
    assert "Nothing was found." in made.texts["findings"]


def test_untested_finding(tmp_path: Path) -> None:
    texts = [f"good film {i}" for i in range(30)]
    plain = {"rows": [1, 2], "score": 1.0}
    run = write_run(tmp_path / "run", texts, ["positive"] * 30, [plain])
    made = Page(write_report(run))
    assert "flagged without an experiment" in made.texts["findings"]
    assert "2 of 30 rows (6.7%) are over the threshold" in made.texts["verdict"]


def test_a_shortcut_is_told_with_what_decided(tmp_path: Path) -> None:
    told = SHORTCUT | {"rivals": list(HOSTILE[:2])}
    texts = [f"bond film {i}" for i in range(30)]
    honest = {"verified": False, "status": "sufficient"}
    found = [
        entry([1], "bond", shortcut=told),
        entry([3], "wrong", shortcut={**told, "agrees": [30, 50]}),
        entry([2], "film", shortcut=told, **honest),
    ]
    run = write_run(tmp_path / "run", texts, ["positive"] * 30, found)
    path = write_report(run)
    text = Page(path).texts["findings"]
    assert "turns 63 of 64 rows that are answered otherwise" in text
    assert "the next strongest words 33 %" in text
    assert "they keep 9 % of their power; other strong words" in text
    assert f"{HOSTILE[0]}, {HOSTILE[1]} keep 46 % of theirs" in text
    assert HOSTILE[0] not in path.read_text(encoding="utf-8")
    assert "gives in on 3 of those 63, and answers 41 of its own 50 rows" in text
    assert text.count("verified trigger, in rows labelled rightly") == 1
    assert text.count("the larger of its two tests") == 2


def test_measurements_of_another_scan_are_forgotten(tmp_path: Path) -> None:
    kept = tmp_path / "evaluation.json"
    (tmp_path / "config.json").write_text('{"key": "a"}')
    kept.write_text("{}")
    forget_evaluation(tmp_path, {"key": "a"})
    assert kept.exists()
    forget_evaluation(tmp_path, {"key": "b"})
    assert not kept.exists()


def test_folder_of_another_version_is_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["a", "b"], ["x", "y"], [entry([0], "a")])
    summary = json.loads((run / "summary.json").read_text())
    summary["findings"][0]["effect"] = "strong"
    write_json(run / "summary.json", summary)
    with pytest.raises(AssayError, match=r"cannot be understood .*; scan again"):
        write_report(run)
    assert not (run / "report.html").exists()
