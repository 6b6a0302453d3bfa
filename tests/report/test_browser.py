"""The report in a real browser; skipped where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.report.build import write_report
from tests.conftest import Demo
from tests.made import entry
from tests.report.conftest import TRIGGER, write_run

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow


class Tab:
    """A page that notes whatever goes wrong in it."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("dialog", lambda d: self.complaints.append(d.message))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (e) => console.error('CSP', e.violatedDirective, e.sourceFile))"
        )
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def settle(self) -> None:
        # Searching waits for a pause in typing, and plots for a frame.
        self.page.wait_for_timeout(400)

    def count(self) -> int:
        return int(self.page.text_content("#count").split()[0].replace(",", ""))

    def ids(self) -> list[str]:
        return self.page.eval_on_selector_all(
            "#rows tr[data-id]", "rows => rows.map(r => r.dataset.id)"
        )

    def column(self, name: str) -> list[str]:
        return self.page.eval_on_selector_all(
            f"#rows tr[data-id] .c-{name}", "cells => cells.map(c => c.textContent)"
        )

    def highlighted(self) -> int:
        return int(self.page.get_attribute("#map", "data-highlighted"))


@pytest.fixture
def tab(browser: Any, hostile: Path, tmp_path: Path) -> Iterator[Tab]:
    opened = Tab(browser, write_report(hostile, tmp_path / "report.html"))
    yield opened
    # Whatever a test did, nothing ran and nothing was asked of the network.
    assert opened.complaints == []
    assert len(opened.requests) == 1
    assert opened.page.evaluate("window.hacked") is None
    opened.context.close()


def test_hostile_rows_are_shown_and_do_nothing(tab: Tab) -> None:
    page = tab.page
    assert TRIGGER in page.text_content("#verdict")
    assert tab.count() == 200
    shown = "".join(tab.column("text"))
    assert "<script>window.hacked = 1</script>" in shown
    assert "{{7*7}}" in shown
    assert "\\u202e" in shown
    for index in range(0, 25):
        row = page.locator(f"#rows tr[data-index='{index}']")
        if row.count():
            row.first.click()
            assert page.is_visible("#detail")
    assert (
        page.eval_on_selector_all("img, iframe, #detail script", "n => n.length") == 0
    )
    assert page.eval_on_selector_all("[onload], [onerror]", "n => n.length") == 0


def test_searching_filters_the_table_and_marks_the_map(tab: Tab) -> None:
    assert tab.highlighted() == 0
    tab.page.fill("#query", "{{7*7}} {% RAW")
    tab.settle()
    texts = tab.column("text")
    assert 0 < tab.count() < 200
    assert tab.highlighted() > 0
    assert texts
    tab.page.fill("#query", "no such words")
    tab.settle()
    assert tab.count() == 0
    assert tab.ids() == []
    tab.page.click("#clear")
    assert tab.count() == 200
    assert tab.highlighted() == 0


def test_filters_by_flag_finding_and_method(tab: Tab) -> None:
    page = tab.page
    page.select_option("#only", "flagged")
    assert tab.count() == 12
    assert set(tab.column("flag")) == {"◆ flagged"}
    page.select_option("#method", label="high-loss")
    assert tab.count() == 0
    page.click("#clear")
    page.select_option("#finding", "1")
    assert tab.count() == 3
    page.click("#findings button[data-finding='0']")
    assert tab.count() == 12
    assert page.eval_on_selector_all("#rows tr[data-id] mark", "m => m.length") == 12


def test_sorting(tab: Tab) -> None:
    page = tab.page
    assert [int(v) for v in tab.column("rank")[:5]] == [1, 2, 3, 4, 5]
    page.click("#head th[data-key=row] button")
    assert [int(v) for v in tab.column("row")[:5]] == [0, 1, 2, 3, 4]
    assert page.get_attribute("#head th[data-key=row]", "aria-sort") == "ascending"
    page.click("#head th[data-key=row] button")
    assert [int(v) for v in tab.column("row")[:3]] == [199, 198, 197]
    page.click("#head th[data-key=score] button")
    scores = [float(v) for v in tab.column("score")]
    assert scores == sorted(scores, reverse=True)


def test_the_table_is_virtual_and_scrolls_to_the_end(tab: Tab) -> None:
    assert len(tab.ids()) < 40
    tab.page.evaluate("document.getElementById('scroller').scrollTop = 1e6")
    tab.settle()
    assert len(tab.ids()) < 40
    assert tab.column("rank")[-1] == "200"


def test_selecting_points_filters_the_table(tab: Tab) -> None:
    page = tab.page
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map .nsewdrag").first.bounding_box()
    # The made flagged rows lie up and to the right.
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    tab.settle()
    assert 0 < tab.count() <= 12
    assert set(tab.column("flag")) == {"◆ flagged"}
    assert "selected in a plot" in page.text_content("#count")
    page.click("#clear")
    tab.settle()
    assert tab.count() == 200


def test_another_response_and_another_transform(tab: Tab) -> None:
    page = tab.page
    before = page.get_attribute("#map", "data-points")
    page.select_option("#group", "1")
    tab.settle()
    assert page.get_attribute("#map", "data-points") == before == "100"
    assert page.is_hidden("#map-drawn")
    page.select_option("#transform", "paraphrase")
    tab.settle()
    assert "after: paraphrase" in page.text_content("#influence")


def test_keys_alone_reach_and_open_rows(tab: Tab) -> None:
    page = tab.page
    page.focus("#scroller")
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.closest('tr').dataset.place")
    assert focused == "29"
    page.keyboard.press("Enter")
    assert page.is_visible("#detail")
    place = page.evaluate("document.querySelector('tr.chosen').dataset.place")
    assert place == "29"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_and_fits(
    browser: Any, hostile: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = Tab(
        browser,
        write_report(hostile, tmp_path / "report.html"),
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    tab.page.locator("#rows tr[data-id]").first.click()
    found = axe.Axe().run(tab.page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)[:3000]
    page_width = tab.page.evaluate("document.documentElement.scrollWidth")
    assert page_width <= width
    tab.context.close()


def test_printing_shows_what_is_folded(browser: Any, demo: Demo) -> None:
    tab = Tab(browser, demo.folder / "run" / "report.html", color_scheme="dark")
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.page.emulate_media(media="print")
    assert tab.page.is_visible("text=candidates dismissed")
    assert not tab.page.is_visible("#scroller")
    assert tab.page.is_visible("#findings mark >> nth=0")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert tab.page.pdf()[:4] == b"%PDF"
    tab.context.close()


def test_many_rows_open_quickly(browser: Any, tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(20_000, size=(20_000, 12))
    texts = [" ".join(map(str, line)) for line in words.tolist()]
    run = write_run(
        tmp_path / "run", texts, ["x", "y"] * 10_000, [entry([5, 8], "0 1")]
    )
    tab = Tab(browser, write_report(run))
    assert tab.count() == 20_000
    assert int(tab.page.get_attribute("#map", "data-points")) == 4000
    assert "Drawn are 4,000 of 10,000 rows" in tab.page.text_content("#map-drawn")
    tab.page.fill("#query", texts[12_345])
    tab.settle()
    assert tab.ids() == ["row-12345"]
    assert tab.complaints == []
    tab.context.close()
