"""What may be written, and over what: `check_outputs` decides for every command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.errors import AssayError
from assay.util.files import check_outputs, is_taken


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text("rows")
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    return tmp_path


def test_what_is_new_or_an_empty_folder_may_be_written() -> None:
    Path("empty").mkdir()
    outputs = [Path("new.jsonl"), Path("new/folder/clean.jsonl"), Path("empty")]
    check_outputs(outputs, ["data.jsonl", "model", "owner/name", None])
    assert not any(map(is_taken, outputs))


@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to nothing"])
def test_what_is_there_already_is_replaced_only_when_asked(kind: str) -> None:
    out = Path("out")
    if kind == "folder":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    elif kind == "file":
        out.write_text("")
    else:
        Path("other").write_text("")
        out.symlink_to("other" if kind == "link" else "nowhere")
    with pytest.raises(AssayError, match=r"^out: exists already; .* --overwrite to"):
        check_outputs([Path("new"), out], ["data.jsonl"])
    check_outputs([Path("new"), out], ["data.jsonl"], overwrite=True)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_neither_a_file_nor_a_folder_stays(kind: str) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    for overwrite in (False, True):
        with pytest.raises(AssayError, match=f"^{kind}: is a device or a pipe"):
            check_outputs([Path(kind)], [], overwrite=overwrite)


def alias(kind: str, target: Path) -> Path:
    """Another name of a file or folder."""
    other = Path("alias")
    if kind == "symbolic link":
        other.symlink_to(target)
    elif kind == "hard link":
        os.link(target, other)
    elif kind == "link in between":
        Path("between").symlink_to(".")
        return "between" / target
    elif kind == "absolute":
        return target.absolute()
    elif kind == "with dots":
        return Path("model") / ".." / target
    else:
        return target
    return other


ALIASES = ["itself", "absolute", "with dots", "symbolic link", "link in between"]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", [*ALIASES, "hard link"])
def test_an_input_is_never_written_over(kind: str, swapped: bool) -> None:
    output, source = Path("data.jsonl"), alias(kind, Path("data.jsonl"))
    if swapped:
        output, source = source, output
    for overwrite in (False, True):
        with pytest.raises(AssayError, match="is read by the same command"):
            check_outputs([output], [str(source)], overwrite=overwrite)


@pytest.mark.parametrize("kind", ALIASES)
def test_nor_is_a_folder_that_is_read(kind: str) -> None:
    with pytest.raises(AssayError, match="is read by the same command"):
        check_outputs([alias(kind, Path("model"))], ["model"], overwrite=True)
    with pytest.raises(AssayError, match="is read by the same command"):
        check_outputs([Path("model/config.json")], ["model"], overwrite=True)


@pytest.mark.parametrize("kind", ALIASES)
@pytest.mark.parametrize("source", ["model/config.json", "model/deep/rows.jsonl"])
def test_nor_is_a_folder_around_what_is_read(source: str, kind: str) -> None:
    Path(source).parent.mkdir(exist_ok=True)
    Path(source).write_text("")
    message = "holds model.*, which the same command reads"
    with pytest.raises(AssayError, match=message):
        check_outputs([alias(kind, Path("model"))], [source], overwrite=True)
    # Beside it is as good as anywhere.
    check_outputs([Path("model/new.jsonl")], [source])
    check_outputs([Path("model/new")], ["model"])


def test_a_model_whose_files_are_links_into_the_output_is_read_from_there() -> None:
    Path("linked").mkdir()
    Path("linked/config.json").symlink_to("../model/config.json")
    with pytest.raises(AssayError, match=r"holds linked/config.json, which"):
        check_outputs([Path("model")], ["linked"], overwrite=True)
    # Where only the name is in the output, the name would be lost.
    Path("outer").mkdir()
    Path("outer/data.jsonl").symlink_to("../data.jsonl")
    with pytest.raises(AssayError, match=r"outer: holds outer/data.jsonl, which"):
        check_outputs([Path("outer")], ["outer/data.jsonl"], overwrite=True)


def test_results_do_not_mix_with_a_folder_that_is_read() -> None:
    output = Path("model/clean.jsonl")
    with pytest.raises(AssayError, match=r"^model: is read by the same command"):
        check_outputs([output], ["model"], folder=Path("model"), overwrite=True)
    check_outputs([output], ["model/config.json"], folder=Path("model"))
    check_outputs([Path("model/run/x")], ["model"], folder=Path("model/run"))


def test_patterns_stand_for_their_files() -> None:
    for output in ("data.jsonl", "model/config.json"):
        with pytest.raises(AssayError, match="is read by the same command"):
            check_outputs([Path(output)], ["**/*.json*"], overwrite=True)
    # A file may be called like a pattern.
    Path("a[1].jsonl").write_text("")
    with pytest.raises(AssayError, match="is read by the same command"):
        check_outputs([Path("a[1].jsonl")], ["a[1].jsonl"], overwrite=True)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "", "the list", "a/" * 3000])
def test_a_name_that_no_file_can_have_is_no_input(name: str) -> None:
    check_outputs([Path("new.jsonl")], [name])
