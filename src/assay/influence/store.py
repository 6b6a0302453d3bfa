"""Where measured rows go: memory, or arrays on disk that survive a kill.

A store is a folder: one ``.npy`` file an array, readable by ``np.load(...,
mmap_mode="r")``; ``manifest.json``, which says what it is of; and ``done.jsonl``, one
line for every finished batch with a checksum of its rows. Rows are written before
their line, so a kill at any moment costs the batches under way and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assay.errors import AssayError
from assay.util.files import replacing, write_json

try:
    import fcntl
except ImportError:  # Windows: two scans of one folder are not kept apart there.
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("assay")

FORMAT = 1
Rows = NDArray[np.float32]
Batches = Sequence[Sequence[int]]


class RowStore(Protocol):
    """What `score_rows` writes to."""

    @property
    def arrays(self) -> dict[str, Rows]:
        """Array name to what was measured, ``(rows, columns)``."""

    def todo(self, batches: Batches) -> list[int]:
        """Numbers of the batches that are not finished."""

    def write(self, batch: int, positions: Sequence[int], rows: Rows) -> None:
        """Keep the ``(b, width)`` rows of a batch, all columns side by side."""


class MemoryStore:
    """Rows in memory, for small jobs and tests."""

    def __init__(self, rows: int, columns: Mapping[str, int]) -> None:
        self.columns = dict(columns)
        self.arrays = {n: np.zeros((rows, w), np.float32) for n, w in columns.items()}

    def todo(self, batches: Batches) -> list[int]:
        """Return every batch."""
        return list(range(len(batches)))

    def write(self, batch: int, positions: Sequence[int], rows: Rows) -> None:
        """Keep a batch's rows."""
        for name, part in _split(rows, self.columns).items():
            self.arrays[name][list(positions)] = part


def _split(rows: Rows, columns: Mapping[str, int]) -> dict[str, Rows]:
    parts, first = {}, 0
    for name, width in columns.items():
        parts[name] = rows[:, first : first + width]
        first += width
    return parts


def _digest(batches: Batches) -> str:
    text = json.dumps([list(b) for b in batches])
    return hashlib.sha256(text.encode()).hexdigest()


class DiskStore:
    """Rows in memory-mapped arrays on disk.

    Args:
        folder: The store's folder; made if need be.
        key: What the rows are of: model, data and settings, as one hash.
        rows: N.
        columns: Array name to its columns.
        facts: Further entries of the manifest (seed, versions), for readers.

    Raises:
        AssayError: The folder holds another job's rows, is in use by another process,
            or the disk has no room.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        rows: int,
        columns: Mapping[str, int],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.columns, self.rows = folder, dict(columns), rows
        self._facts = {
            "format": FORMAT,
            "key": key,
            "rows": rows,
            "arrays": {
                n: {"file": f"{n}.npy", "shape": [rows, w], "dtype": "float32"}
                for n, w in columns.items()
            },
            **(facts or {}),
        }
        self._files: dict[str, tuple[int, int]] = {}
        self._log: IO[str] | None = None

    def todo(self, batches: Batches) -> list[int]:
        """Open the store for these batches and name those not finished.

        Every finished batch is read again and its checksum compared; what does not
        match is measured again, with a warning.
        """
        self._facts["batches"] = _digest(batches)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock()
            fresh = not self._resumes()
            for name, width in self.columns.items():
                self._open(name, width, fresh)
            if fresh:
                (self.folder / "done.jsonl").write_text("")
                write_json(self.folder / "manifest.json", self._facts)
            done = self._verified(batches)
            # Lines of what failed go, or they would be taken for the new rows'.
            lines = "".join(f"{json.dumps(d)}\n" for d in done)
            with replacing(self.folder / "done.jsonl") as partial:
                partial.write_text(lines)
            self._log = (self.folder / "done.jsonl").open("a")
        except OSError as error:
            raise self._unwritable(error) from None
        finished = {d["batch"] for d in done}
        if finished:
            log.info(
                "%s: %d of %d batches are finished already",
                self.folder.name,
                len(finished),
                len(batches),
            )
        return [i for i in range(len(batches)) if i not in finished]

    def write(self, batch: int, positions: Sequence[int], rows: Rows) -> None:
        """Write a batch's rows, then its line in the log."""
        assert self._log is not None
        checksum = 0
        try:
            for name, part in _split(rows, self.columns).items():
                file, start = self._files[name]
                size = part.shape[1] * 4
                for position, row in zip(positions, part, strict=True):
                    data = row.astype("<f4").tobytes()
                    checksum = zlib.crc32(data, checksum)
                    # Not through the map: a full disk would then be a bus error.
                    written = os.pwrite(file, data, start + position * size)
                    if written != size:
                        raise OSError(28, os.strerror(28))
            entry = {"batch": batch, "crc": checksum, "rows": list(positions)}
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Close the files; the rows stay."""
        for file, _ in self._files.values():
            os.close(file)
        self._files = {}
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._held is not None:
            self._held.close()
            self._held = None

    @property
    def arrays(self) -> dict[str, Rows]:
        """The arrays, memory-mapped and read-only, ``(rows, columns)`` each."""
        return {
            n: np.load(self.folder / f"{n}.npy", mmap_mode="r")
            if w and self.rows
            else np.zeros((self.rows, w), np.float32)
            for n, w in self.columns.items()
        }

    _held: IO[str] | None = None

    def _lock(self) -> None:
        self._held = (self.folder / ".lock").open("w")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AssayError(
                f"{self.folder} is being written by another scan; wait for it or give "
                "another --out"
            ) from None

    def _resumes(self) -> bool:
        """Whether the folder holds rows of this very job."""
        path = self.folder / "manifest.json"
        if not path.is_file():
            return False
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            log.warning("%s is damaged: all rows are measured again", path)
            return False
        if not isinstance(found, dict) or found.get("key") != self._facts["key"]:
            raise AssayError(_foreign(self.folder))
        for part in ("format", "rows", "arrays", "batches"):
            if found.get(part) != self._facts[part]:
                log.warning("%s: other %s; all rows are measured again", path, part)
                return False
        return True

    def _open(self, name: str, width: int, fresh: bool) -> None:
        path = self.folder / f"{name}.npy"
        header = _header(self.rows, width)
        size = len(header) + self.rows * width * 4
        # A shortened file is grown again; its missing rows then fail their checksum.
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._files[name] = file, len(header)
        if fresh:
            os.truncate(file, 0)
        os.pwrite(file, header, 0)
        if size > len(header) and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        os.truncate(file, size)

    def _lines(self) -> list[dict[str, Any]]:
        """Whole lines of the log; a kill can tear the last one."""
        path = self.folder / "done.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace")
        found = []
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                rows = [int(row) for row in entry["rows"]]
                found.append(
                    {"batch": int(entry["batch"]), "crc": entry["crc"], "rows": rows}
                )
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _verified(self, batches: Batches) -> list[dict[str, Any]]:
        """Lines of the log whose rows are as they were written."""
        good: dict[int, dict[str, Any]] = {}
        damaged = 0
        for entry in self._lines():
            batch, rows = entry["batch"], entry["rows"]
            if not 0 <= batch < len(batches) or rows != list(batches[batch]):
                continue
            if self._checksum(rows) == entry["crc"]:
                good[batch] = entry
            else:
                good.pop(batch, None)
                damaged += 1
        if damaged:
            log.warning(
                "%s: %d finished batches fail their checksum and are measured again",
                self.folder,
                damaged,
            )
        return list(good.values())

    def _checksum(self, positions: Sequence[int]) -> int:
        checksum = 0
        for name, width in self.columns.items():
            file, start = self._files[name]
            for position in positions:
                data = os.pread(file, width * 4, start + position * width * 4)
                checksum = zlib.crc32(data, checksum)
        return checksum

    def _unwritable(self, error: OSError) -> AssayError:
        need = sum(4 * w for w in self.columns.values()) * self.rows
        return AssayError(
            f"{self.folder}: cannot be written ({error.strerror or error}); it needs "
            f"{need / 1e9:.2f} GB"
        )


def finished_store(
    folder: Path, key: str
) -> tuple[dict[str, Rows], dict[str, Any]] | None:
    """Read a store whose rows are all there and as they were written.

    Returns:
        The arrays, memory-mapped, and the manifest; None when there is none, or some
        rows still have to be measured.

    Raises:
        AssayError: The folder holds another job's rows.
    """
    try:
        facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        columns = {n: int(a["shape"][1]) for n, a in facts["arrays"].items()}
        rows = int(facts["rows"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    if facts.get("key") != key:
        raise AssayError(_foreign(folder))
    store = DiskStore(folder, key, rows, columns)
    try:
        for name in columns:
            file = os.open(folder / f"{name}.npy", os.O_RDONLY)
            header = _header(rows, columns[name])
            store._files[name] = file, len(header)
            if os.pread(file, len(header), 0) != header:
                return None
        lines = store._lines()
        # What is damaged is told by the scan that measures it again.
        if {p for line in lines for p in line["rows"]} != set(range(rows)):
            return None
        last = {line["batch"]: line for line in lines}.values()
        if any(store._checksum(line["rows"]) != line["crc"] for line in last):
            return None
        return store.arrays, facts
    except (OSError, ValueError, EOFError):
        return None
    finally:
        store.close()


def _foreign(folder: Path) -> str:
    return (
        f"{folder} holds rows of another model, data set or setting; remove it or give "
        "another --out"
    )


def _header(rows: int, width: int) -> bytes:
    import io

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    )
    return buffer.getvalue()
