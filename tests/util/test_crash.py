"""What nobody foresaw: one line, exit status 2, and a traceback that is kept."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import assay
from assay.cli import run as command
from assay.scanning import measure as gather
from assay.util.crash import explain, is_out_of_memory
from tests.conftest import Small
from tests.processes import finish, start

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow

FAULT = "assay: error: a fault of assay, not of yours: "


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def raising(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


class Hostile(Exception):
    def __str__(self) -> str:
        return "\x1b[2J[bold]\u202eevil\nassay: error: forged" + "x" * 1000


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


def deep(level: int = 0) -> int:
    return deep(level + 1) + 1


UNFORESEEN: list[tuple[BaseException, str]] = [
    (KeyError("a"), "KeyError: 'a'; please report it with the full traceback, whi"),
    (ValueError("two\nlines"), "ValueError: two lines; please"),
    (AssertionError(), "AssertionError; please"),
    (EOFError("the end"), "EOFError: the end; please"),
    (RecursionError("too deep"), "RecursionError: too deep; please"),
    (SystemExit(1), "SystemExit: 1; please"),
    (SystemExit(0), "SystemExit: 0; please"),
    (OSError("without a number"), "OSError: without a number; please"),
    (Mute(), "Mute; please"),
    (Hostile(), "Hostile: \\x1b[2J[bold]\\u202eevil assay: error: forgedxxx"),
]


@pytest.mark.parametrize(
    ("error", "message"), UNFORESEEN, ids=[type(e).__name__ for e, _ in UNFORESEEN]
)
def test_an_unforeseen_exception_is_one_line_and_status_2(
    error: BaseException,
    message: str,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.cli.options.read", raising(error))
    assert command(["scan", "x\x1b.jsonl", "--model", "m"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(FAULT + message)
    assert len(line) < 600
    assert not set(line) & set("\x1b\u202e")
    (kept,) = temporary.iterdir()
    assert line.endswith(f"with the full traceback, which is in {kept}")
    assert kept.name.startswith("assay-traceback-")
    assert kept.stat().st_mode & 0o777 == 0o600
    text = kept.read_text()
    assert "scan x\\x1b.jsonl --model m" in text
    assert "Traceback (most recent call last)" in text
    assert "raise error" in text
    assert not set(text) & set("\x1b\u202e")


def test_tracebacks_never_replace_each_other(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.cli.options.read", deep)
    for _ in range(3):
        assert command(["attack", "x.jsonl", "--out", str(temporary / "out")]) == 2
    assert len(list(temporary.iterdir())) == 3


def test_a_traceback_that_cannot_be_kept_costs_nothing_else(
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.cli.options.read", raising(KeyError("a")))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("tempfile.mkstemp", raising(full))
    assert command(["plan", "x.jsonl", "--model", "m"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(FAULT + "KeyError: 'a'; the full traceback could not be ke")
    assert "(No space left on device): set TMPDIR to a folder" in line


def test_a_run_keeps_it_in_its_log(
    small: Small,
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("assay.scanning.measure.score_rows", raising(Hostile()))
        assert command(small.scan_words(out)) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(FAULT + "Hostile: ")
        assert line.endswith(f"which is in {out / 'log.txt'}")
        text = (out / "log.txt").read_text()
        assert " ERROR a fault of assay\nTraceback (most recent call last)" in text
        assert "tests.util.test_crash.Hostile" in text
        assert not set(text) & set("\x1b\u202e")
        assert list(temporary.iterdir()) == []
        # In Python the exception is what it was, and says where its traceback is, too.
        with pytest.raises(Hostile) as caught:
            assay.scan(small.rows, model=small.model, run=out, rank=2)
        note = caught.value.__notes__[-1]
        assert str(out / "log.txt") in note
    # A fault of assay is mended, and the scan goes on.
    assert command(small.scan_words(out)) in (0, 1)


def test_a_package_that_is_missing_is_named(
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, told in (("torch", "a package is missing (x)"), ("assay.x", "a fault")):
        error = ModuleNotFoundError("x", name=name)
        monkeypatch.setattr("assay.cli.options.read", raising(error))
        assert command(["scan", "x.jsonl", "--model", "m"]) == 2
        assert capsys.readouterr().err.startswith(f"assay: error: {told}")


class OutOfMemoryError(RuntimeError):
    """As CUDA's is called."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc.cpp:121] . DefaultCPUAllocator: can't "),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("words", "lower"),
    [
        (["scan", "x", "--model", "m"], "lower --token-budget, --max-length or --rank"),
        (["plan", "x", "--model", "m"], "lower --token-budget, --max-length or --rank"),
        (["tune", "x", "--base-model", "m", "--out", "no"], "lower --batch-size (and"),
        (["evaluate", "x", "--model", "m"], "lower --max-length, or give --bf16"),
        (["attack", "x", "--out", "no"], "the data do not fit"),
    ],
)
def test_without_memory_it_says_what_to_lower(
    error: Exception,
    words: list[str],
    lower: str,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "DefaultCPUAllocator" in str(error):
        error.args = (error.args[0] + "allocate memory: you tried to allocate 9 bytes",)
    monkeypatch.setattr("assay.cli.options.read", raising(error))
    assert command(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"assay: error: out of memory ({type(error).__name__}")
    assert lower in line
    assert list(temporary.iterdir()) == []


def test_torch_says_so_in_these_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(OSError(errno.ENOENT, "no such file"))


def test_when_another_process_has_gone_it_is_no_fault(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = RuntimeError("[gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    assert explain(gone, ["scan"]).startswith("a fault of assay")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "another process of this command has ended" in explain(gone, ["scan"])
    assert explain(ValueError("x"), ["scan"]).startswith("a fault of assay")


def faulty_scan(words: list[str], rank: str, folder: Path) -> None:
    """Scan in one of several processes, one of which has a fault."""
    if os.environ["RANK"] == rank:
        gather.score_rows = raising(KeyError("gone"))
    sys.stderr = (folder / f"err-{os.environ['RANK']}").open("w")
    sys.argv = ["assay", *words]
    assay.cli.main()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_each_ends_with_2(
    rank: str, small: Small, tmp_path: Path
) -> None:
    words = small.scan_words(tmp_path / "run")
    statuses = finish(
        tmp_path,
        start(tmp_path, faulty_scan, words, rank, tmp_path, processes=2),
    )
    assert statuses == [2, 2]
    told = (tmp_path / f"err-{rank}").read_text().splitlines()[-1]
    assert told.startswith(FAULT + "KeyError: 'gone'; please report it")
    place = Path(told.rpartition(" in ")[2])
    assert (place == tmp_path / "run" / "log.txt") == (rank == "0")
    assert "KeyError" in place.read_text()
    if rank == "1":
        place.unlink()
    other = (tmp_path / f"err-{'1' if rank == '0' else '0'}").read_text()
    assert "another process of this command has ended" in other.splitlines()[-1]


CHILD = """
import sys
import assay.cli
def read(*_, **__):
    raise {error}
assay.cli.options.read = read
sys.argv = ["assay", "scan", "x.jsonl", "--model", "m"]
assay.cli.main()
"""


def child(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        **options,
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [("KeyError('a')", 2), ("SystemExit(1)", 2), ("KeyboardInterrupt", 130)],
)
def test_the_process_ends_with_the_status(
    error: str, status: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = child(CHILD.format(error=error), env=environment)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert len(list(tmp_path.iterdir())) == (status == 2)


PRINTING = """
import sys
from assay.cli import app, main
from assay.cli.evaluate import show_models
def plain():
    print("{}")
    return 1
def table():
    show_models({"model": {"accuracy": {"value": 1, "low": 1, "high": 1}}})
    return 1
app.command("plain")(plain)
app.command("table")(table)
main()
"""


@pytest.mark.parametrize("word", ["plain", "table", "--version", "--help"])
def test_a_reader_that_goes_away_is_told_of(word: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", PRINTING, word],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == (
        "assay: error: the reader of the output closed it before everything was written"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("word", ["plain", "table", "--version"])
def test_a_result_that_cannot_be_written_is_told_of(word: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING, word],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "assay: error: No space left on device\n"


@pytest.mark.parametrize("word", ["plain", "table"])
def test_a_result_that_is_read_keeps_its_status(word: str) -> None:
    done = subprocess.run([sys.executable, "-c", PRINTING, word], capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_a_verdict_that_nobody_reads_is_no_verdict(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = small.scan_words(tmp_path / "run", "--json", "--no-verify")
    assert command(words) in (0, 1)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Closed())
        assert command(words) == 2
    # Nor is one told to a terminal that is gone.
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", Closed())
        assert command(words) == 2


def test_closed_streams_cost_no_status(tmp_path: Path) -> None:
    run = f"{sys.executable} -m assay"
    for words, status in (("--version", 0), ("scan", 2), ("", 2)):
        for closed in (">&-", ">&- 2>&- <&-"):
            done = subprocess.run(["sh", "-c", f"{run} {words} {closed}"], cwd=tmp_path)
            assert done.returncode == status, closed
