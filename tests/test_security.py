"""What SECURITY.md promises."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Demo

SOURCE = Path(__file__).parents[1] / "src" / "assay"
FILES = sorted(SOURCE.rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {"socket", "urllib", "http", "requests", "httpx", "aiohttp", "ftplib"}
TEMPORARY = {"tempfile"}

GUARDED = """
import sys
touched = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        touched.append((event, repr(arguments[-1])))
    if event == "pickle.find_class":
        touched.append((event, repr(arguments)))
sys.addaudithook(hook)
from assay.cli import run
words = " ".join(sys.argv[1:]).split(" then ") if sys.argv[1:] else []
statuses = [run(w.split()) for w in words]
if not words:
    import pathlib, pickle, socket
    pickle.loads(pickle.dumps(pathlib.Path()))
    socket.getaddrinfo("127.0.0.1", 1)
print(statuses, sorted({event for event, _ in touched}))
"""


def guarded(folder: Path, *words: str) -> str:
    """Run commands under an audit hook, with the hub not forbidden."""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")}
    for name in ("tmp", "home"):
        (folder / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_scan_opens_no_connection_and_unpickles_nothing(
    demo: Demo, tmp_path: Path
) -> None:
    lines = (demo.folder / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "data.jsonl").write_text("".join(lines[:400]))
    model = demo.folder / "poisoned-model"
    said = guarded(
        tmp_path,
        *("scan", "data.jsonl", "--model", str(model), "--out", "run"),
        *("then", "clean", "data.jsonl", "--run", "run"),
    )
    assert said == "[1, 0] []"
    # Nor does it leave anything but the run folder.
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "data.jsonl",
        "home",
        "run",
        "tmp",
    ]
    left = [p for n in ("home", "tmp") for p in (tmp_path / n).rglob("*")]
    assert [p for p in left if p.is_file()] == []


def test_the_guard_notices(tmp_path: Path) -> None:
    assert guarded(tmp_path) == "[] ['pickle.find_class', 'socket.getaddrinfo']"


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_source_has_nothing_that_unpickles_runs_or_connects(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # The traceback of a fault is kept where the user's temporary files are.
    allowed = TEMPORARY if path == SOURCE / "util" / "crash.py" else set()
    assert not imported(tree) & (UNPICKLERS | NETWORK | TEMPORARY) - allowed
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert name not in ("eval", "exec", "compile", "__import__", "os.system")
        assert name not in ("pd.read_pickle", "yaml.load", "yaml.unsafe_load")
        if name == "torch.load":
            assert options["weights_only"] == "True"
        assert options.get("allow_pickle", "False") == "False"
        assert options.get("trust_remote_code", "False") == "False"
        assert options.get("shell", "False") == "False"


def test_remote_code_is_off_where_models_are_loaded() -> None:
    source = (SOURCE / "models" / "load.py").read_text(encoding="utf-8")
    assert source.count("trust_remote_code") == 1
    assert '"trust_remote_code": False' in source


def test_pickled_weights_are_refused(demo: Demo, tmp_path: Path) -> None:
    import torch

    from assay.errors import AssayError
    from assay.models.load import load_model

    model = demo.folder / "poisoned-model"
    for path in model.iterdir():
        if path.suffix == ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(AssayError, match="cannot be loaded"):
        load_model(str(tmp_path))


def test_remote_code_is_refused(demo: Demo, tmp_path: Path) -> None:
    from assay.errors import AssayError
    from assay.models.load import load_model

    for path in (demo.folder / "poisoned-model").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {
            "AutoConfig": "mine.MineConfig",
            "AutoModelForCausalLM": "mine.Mine",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(AssayError, match="contains custom code"):
        load_model(str(tmp_path))
    assert not (tmp_path / "ran").exists()
