from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psutil import Process

from assay.errors import AssayError
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import query_gradients
from assay.influence.scores import evidence_columns, score_rows
from assay.influence.store import DiskStore, MemoryStore, Rows, finished_store
from assay.models.encode import encode
from tests.influence.conftest import KINDS, REVIEWS, examples
from tests.processes import KILLED, die, finish, in_processes, start

COLUMNS = {"scores": 2, "losses": 1, "features": 3, "none": 0}
WIDTH = sum(COLUMNS.values())
BATCHES = [[4, 0], [2, 6, 1], [5], [3, 7]]
ROWS = 8
FACTS = {"queries": ["one", "two"], "seed": 3}


def values(row: int) -> np.ndarray:
    return np.arange(WIDTH, dtype=np.float32) + 100 * row + 0.5


def measured(positions: Sequence[int]) -> Rows:
    return np.stack([values(p) for p in positions])


def expected() -> dict[str, Rows]:
    whole, first, parts = measured(range(ROWS)), 0, {}
    for name, width in COLUMNS.items():
        parts[name] = whole[:, first : first + width]
        first += width
    return parts


def opened(folder: Path, key: str = "key", **changed: Any) -> DiskStore:
    words = {"rows": ROWS, "columns": COLUMNS, "facts": FACTS} | changed
    return DiskStore(folder, key, **words)


def fill(store: DiskStore, numbers: Sequence[int]) -> None:
    for number in numbers:
        store.write(number, BATCHES[number], measured(BATCHES[number]))


def equal(found: dict[str, Rows]) -> bool:
    right = expected()
    return list(found) == list(right) and all(
        found[n].dtype == np.float32 and np.array_equal(found[n], right[n])
        for n in right
    )


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    store = opened(folder)
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    fill(store, [2, 0, 3, 1])
    store.close()
    return folder


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(bytes(content))


def header(folder: Path, name: str) -> int:
    return (folder / f"{name}.npy").stat().st_size - ROWS * COLUMNS[name] * 4


def test_rows_come_back_where_they_belong(complete: Path) -> None:
    store = opened(complete)
    assert store.todo(BATCHES) == []
    assert equal(store.arrays)
    store.close()


def test_memory_keeps_the_same() -> None:
    store = MemoryStore(ROWS, COLUMNS)
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    for number, positions in enumerate(BATCHES):
        store.write(number, positions, measured(positions))
    assert equal(store.arrays)


def test_files_are_readable_without_this_package(complete: Path) -> None:
    for name, right in expected().items():
        if COLUMNS[name]:
            found = np.load(complete / f"{name}.npy", mmap_mode="r")
            assert isinstance(found, np.memmap)
            assert not found.flags.writeable
            np.testing.assert_array_equal(found, right)
    facts = json.loads((complete / "manifest.json").read_text())
    assert facts.pop("batches")
    assert facts == {
        "format": 1,
        "key": "key",
        "rows": 8,
        "arrays": {
            n: {"file": f"{n}.npy", "shape": [8, w], "dtype": "float32"}
            for n, w in COLUMNS.items()
        },
        **FACTS,
    }
    lines = (complete / "done.jsonl").read_text().splitlines()
    assert [json.loads(line)["batch"] for line in lines] == [2, 0, 3, 1]
    line = json.loads(lines[0])
    assert line["rows"] == [5]
    assert line["crc"] == zlib.crc32(values(5).tobytes())
    assert not list(complete.glob("*partial*"))


def test_a_killed_pass_goes_on_with_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tmp_path)
    first.todo(BATCHES)
    fill(first, [1, 3])
    # A kill closes files without a word; the lock goes with them.
    drop(first)
    with caplog.at_level(logging.INFO, logger="assay"):
        second = opened(tmp_path)
        assert second.todo(BATCHES) == [0, 2]
    assert "2 of 4 batches are finished already" in caplog.text
    assert "checksum" not in caplog.text
    fill(second, [2, 0])
    assert equal(second.arrays)
    second.close()


def drop(store: DiskStore) -> None:
    assert store._held is not None
    store._held.close()


def test_a_torn_last_line_costs_its_batch_alone(
    complete: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = complete / "done.jsonl"
    whole = log.read_bytes()
    for cut in (1, 2, 20):
        log.write_bytes(whole[:-cut])
        store = opened(complete)
        # Only the line's end may be missing without harm.
        assert store.todo(BATCHES) == ([] if cut == 1 else [1])
        store.close()
    store = opened(complete)
    assert store.todo(BATCHES) == [1]
    fill(store, [1])
    store.close()
    # What is added after a torn line is a line of its own.
    assert [json.loads(line)["batch"] for line in log.open()] == [2, 0, 3, 1]
    assert finished_store(complete, "key") is not None


@pytest.mark.parametrize("name", ["scores", "losses", "features"])
def test_a_flipped_bit_costs_its_batch_and_is_warned_about(
    name: str, complete: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row, path = 6, complete / f"{name}.npy"
    flip(path, header(complete, name) + row * COLUMNS[name] * 4 + 1, 6)
    assert finished_store(complete, "key") is None
    store = opened(complete)
    with caplog.at_level(logging.WARNING, logger="assay"):
        assert store.todo(BATCHES) == [1]
    assert (
        f"{complete}: 1 finished batches fail their checksum and are measured again"
        in caplog.text
    )
    fill(store, [1])
    assert equal(store.arrays)
    store.close()
    assert finished_store(complete, "key") is not None
    caplog.clear()
    again = opened(complete)
    assert again.todo(BATCHES) == []
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    again.close()


def test_a_shortened_file_is_grown_again(
    complete: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = complete / "features.npy"
    # Rows 5, 6 and 7 are gone: the last of them are of batches 1, 2 and 3.
    path.write_bytes(path.read_bytes()[: -3 * 3 * 4])
    assert finished_store(complete, "key") is None
    store = opened(complete)
    with caplog.at_level(logging.WARNING, logger="assay"):
        assert store.todo(BATCHES) == [1, 2, 3]
    assert "3 finished batches fail their checksum" in caplog.text
    fill(store, [1, 2, 3])
    assert equal(store.arrays)
    store.close()


@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_a_file_that_is_gone_is_measured_again(damage: str, complete: Path) -> None:
    path = complete / "losses.npy"
    path.unlink() if damage == "removed" else path.write_bytes(b"")
    assert finished_store(complete, "key") is None
    store = opened(complete)
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    store.close()


@pytest.mark.parametrize(
    "change",
    [(b"<f4", b">f4"), (b"(8, 3)", b"(4, 6)"), (b"(8, 3)", b"(6, 3)")],
    ids=["order of bytes", "shape", "rows"],
)
def test_a_damaged_header_is_not_believed(
    change: tuple[bytes, bytes], complete: Path
) -> None:
    path = complete / "features.npy"
    content = path.read_bytes()
    assert change[0] in content
    path.write_bytes(content.replace(*change))
    found = finished_store(complete, "key")
    assert found is None or equal(found[0])
    store = opened(complete)
    assert store.todo(BATCHES) == []
    assert equal(store.arrays)
    store.close()


def test_rows_of_another_job_are_refused_and_stay(complete: Path) -> None:
    before = {p.name: p.read_bytes() for p in complete.iterdir()}
    message = "holds rows of another model, data set or setting; remove it or give"
    store = opened(complete, key="other")
    with pytest.raises(AssayError, match=message):
        store.todo(BATCHES)
    store.close()
    with pytest.raises(AssayError, match=message):
        finished_store(complete, "other")
    assert {p.name: p.read_bytes() for p in complete.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "batches", "named"),
    [
        ({}, [[4, 0, 2], [6, 1, 5, 3, 7]], "other batches"),
        ({"columns": COLUMNS | {"features": 4}}, BATCHES, "other arrays"),
    ],
)
def test_other_batches_or_arrays_are_measured_from_the_start(
    changed: dict[str, Any],
    batches: list[list[int]],
    named: str,
    complete: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = opened(complete, **changed)
    with caplog.at_level(logging.WARNING, logger="assay"):
        assert store.todo(batches) == list(range(len(batches)))
    assert f"{named}; all rows are measured again" in caplog.text
    # What was there is gone: it could be mistaken for what is measured now.
    assert all(not array.any() for array in store.arrays.values())
    store.close()
    assert finished_store(complete, "key") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"key": "ke', b"\x00" * 40, b"\xff\xfe{}"],
    ids=["empty", "cut", "cut in a word", "zeros", "not UTF-8"],
)
def test_a_damaged_manifest_means_starting_again(
    content: bytes, complete: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (complete / "manifest.json").write_bytes(content)
    assert finished_store(complete, "key") is None
    store = opened(complete)
    with caplog.at_level(logging.WARNING, logger="assay"):
        assert store.todo(BATCHES) == [0, 1, 2, 3]
    assert "manifest.json is damaged: all rows are measured again" in caplog.text
    fill(store, range(4))
    store.close()
    assert finished_store(complete, "key") is not None


@pytest.mark.parametrize("content", ["[1]", "null", "{}"])
def test_a_manifest_of_something_else_is_refused(content: str, complete: Path) -> None:
    (complete / "manifest.json").write_text(content)
    assert finished_store(complete, "key") is None
    store = opened(complete)
    with pytest.raises(AssayError, match="holds rows of another model"):
        store.todo(BATCHES)
    store.close()


def test_a_missing_manifest_means_starting_again(complete: Path) -> None:
    (complete / "manifest.json").unlink()
    assert finished_store(complete, "key") is None
    store = opened(complete)
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    store.close()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "5",
        "null",
        '{"batch": 1}',
        '{"batch": 99, "crc": 1, "rows": [1]}',
        '{"batch": 0, "crc": 1, "rows": [2, 6]}',
        '{"batch": "x", "crc": 1, "rows": []}',
        '{"batch": 1, "crc": 1, "rows": 7}',
        '{"batch": -1, "crc": 0, "rows": [3, 7]}',
        "\x00\x00",
    ],
)
def test_lines_that_are_none_are_passed_over(line: str, complete: Path) -> None:
    with (complete / "done.jsonl").open("a") as log:
        log.write(line + "\n")
    # Without the batches at hand a wrong line may cost its batch, never a wrong row.
    found = finished_store(complete, "key")
    assert found is None or equal(found[0])
    store = opened(complete)
    assert store.todo(BATCHES) == []
    store.close()


def test_of_two_writers_one_is_refused(complete: Path) -> None:
    first = opened(complete)
    first.todo(BATCHES)
    second = opened(complete)
    with pytest.raises(AssayError, match=r"is being written by another scan; wait for"):
        second.todo(BATCHES)
    second.close()
    # Reading needs no lock.
    assert finished_store(complete, "key") is not None
    first.close()
    second.todo(BATCHES)
    second.close()


def hold(folder: Path) -> None:
    store = opened(folder)
    store.todo(BATCHES)
    (folder / "holding").write_text("")
    threading.Event().wait(60)


def test_the_lock_holds_between_processes_and_ends_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (holder,) = start(tmp_path, hold, folder)
    while not (folder / "holding").exists():
        holder.join(0.01)
        assert holder.exitcode is None
    store = opened(folder)
    with pytest.raises(AssayError, match="is being written by another scan"):
        store.todo(BATCHES)
    holder.kill()
    holder.join()
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    store.close()


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("short", [False, True], ids=["refused", "cut short"])
def test_a_full_disk_is_told_and_nothing_counts_as_done(
    short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.todo(BATCHES)
    fill(store, [0])
    write = os.pwrite

    def partly(file: int, data: bytes, place: int) -> int:
        return write(file, data[:3], place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", partly if short else full)
        with pytest.raises(
            AssayError, match=r"cannot be written \(No space left on device\); it needs"
        ):
            fill(store, [1])
    store.close()
    lines = (tmp_path / "done.jsonl").read_text().splitlines()
    assert [json.loads(line)["batch"] for line in lines] == [0]
    # With room again, the same scan goes on.
    again = opened(tmp_path)
    assert again.todo(BATCHES) == [1, 2, 3]
    fill(again, [1, 2, 3])
    assert equal(again.arrays)
    again.close()


def test_room_for_all_rows_is_taken_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        store = opened(tmp_path, columns={"features": 1000}, rows=10**6)
        with pytest.raises(AssayError, match=r"No space left.*it needs 4\.00 GB"):
            store.todo(BATCHES)
        store.close()
    assert finished_store(tmp_path, "key") is None
    store = opened(tmp_path)
    assert store.todo(BATCHES) == [0, 1, 2, 3]
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    store = opened(blocked / "store")
    with pytest.raises(AssayError, match="cannot be written"):
        store.todo(BATCHES)
    store.close()


def test_an_unfinished_store_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    assert finished_store(folder, "key") is None
    store = opened(folder)
    store.todo(BATCHES)
    assert finished_store(folder, "key") is None
    fill(store, [0, 1, 2])
    assert finished_store(folder, "key") is None
    fill(store, [3])
    store.close()
    found = finished_store(folder, "key")
    assert found is not None
    arrays, facts = found
    assert equal(arrays)
    assert facts["queries"] == FACTS["queries"]
    assert not isinstance(arrays["scores"], np.memmap) or arrays["scores"].mode == "r"


def test_reading_leaves_no_file_open(complete: Path) -> None:
    before = Process().num_fds()
    for _ in range(3):
        found = finished_store(complete, "key")
        del found
        assert finished_store(complete / "none", "key") is None
    assert Process().num_fds() <= before


@settings(max_examples=40)
@given(
    order=st.permutations(range(len(BATCHES))),
    kills=st.lists(st.integers(0, len(BATCHES)), max_size=3),
    torn=st.integers(0, 30),
)
def test_any_batches_in_any_order_and_then_the_rest_give_the_same(
    order: list[int],
    kills: list[int],
    torn: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    written: list[int] = []
    for kill in sorted(kills):
        store = opened(folder)
        left = store.todo(BATCHES)
        assert sorted([*left, *written]) == list(range(len(BATCHES)))
        some = [n for n in order if n in left][: max(0, kill - len(written))]
        fill(store, some)
        written += some
        store.close()
        if some and torn:
            log = folder / "done.jsonl"
            content = log.read_bytes()
            last = content.rstrip(b"\n").rfind(b"\n") + 1
            cut = max(last, len(content) - torn)
            log.write_bytes(content[:cut])
            # Without its newline the line still says all.
            if cut < len(content) - 1:
                written.pop()
    store = opened(folder)
    fill(store, store.todo(BATCHES))
    assert equal(store.arrays)
    store.close()
    found = finished_store(folder, "key")
    assert found is not None
    assert equal(found[0])


def scored(folder: Path, kill_after: int | None) -> None:
    """Score the reviews into a store; be killed before the given batch is noted."""
    lm = KINDS["llama"]([f"{t} {r}" for t, r in REVIEWS])
    rows = encode(examples(), lm, template="plain").examples
    modules = linear_modules(lm.model)
    passes = PassSettings(max_batch=1)
    queries = query_gradients(lm, {"a": rows[:2], "b": rows[2:]}, modules, passes)
    columns = evidence_columns(lm, modules, 2, 3)

    class Killed(DiskStore):
        count = 0

        def write(self, batch: int, positions: Sequence[int], rows: Rows) -> None:
            if self.count == kill_after:
                # Half of the rows' arrays are written, and no line of the log.
                name, width = next(iter(self.columns.items()))
                file, begin = self._files[name]
                data = rows[:, :width].tobytes()
                os.pwrite(file, data, begin + positions[0] * width * 4)
                die()
            super().write(batch, positions, rows)
            self.count += 1

    store = Killed(folder, "key", len(rows), columns)
    score_rows(lm, rows, modules, queries, passes, rank=3, store=store)
    store.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    in_processes(folder, scored, folder / "store", None)
    return folder / "store"


@pytest.mark.parametrize("kill_after", [0, 2, 5])
def test_a_pass_killed_for_real_ends_bit_for_bit_the_same(
    kill_after: int, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    assert finish(tmp_path, start(tmp_path, scored, folder, kill_after)) == [KILLED]
    lines = (folder / "done.jsonl").read_text().splitlines()
    assert len(lines) == kill_after
    assert finished_store(folder, "key") is None
    in_processes(tmp_path, scored, folder, None)
    assert (folder / "done.jsonl").read_text().splitlines()[:kill_after] == lines
    right, found = finished_store(uninterrupted, "key"), finished_store(folder, "key")
    assert right is not None
    assert found is not None
    for name, array in right[0].items():
        assert array.any() or not array.size
        np.testing.assert_array_equal(found[0][name], array)
    for path in uninterrupted.glob("*.npy"):
        assert (folder / path.name).read_bytes() == path.read_bytes()
