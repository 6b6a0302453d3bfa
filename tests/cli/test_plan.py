from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from assay.cli import run
from assay.models.load import load_model, save_model
from tests.cli.conftest import only_line
from tests.conftest import Small

INFLUENCE = ["--influence", "--query-count", "4", "--factor-rows", "20", "--rank", "2"]


def words(small: Small, out: Path, *more: str) -> list[str]:
    model = ["--model", str(small.model), "--out", str(out)]
    return ["plan", str(small.rows), *model, *INFLUENCE, *more]


def test_a_plan_is_told_in_lines_and_nothing_is_written(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(small, tmp_path / "run")) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in (
        "60 rows, ",
        "14 linear layers of ",
        # 4 of each of 7 sets, but for 3 that one of the transforms cannot change.
        "passes: 2 over 20 rows for the curvature; 1 over 25 test inputs (7 sets); 1 "
        "over 60 rows",
        "time: about ",
        "memory besides the model: ",
        "disk: ",
        "it fits",
    ):
        assert part in shown.err
    assert not (tmp_path / "run").exists()


def test_json_says_the_same(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(small, tmp_path / "run", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["rows"] == 60
    assert plan["layers"] == 14
    # Width 32, twice as wide inside: four square layers and three others a block.
    assert plan["weights"] == 2 * (4 * 32 * 32 + 3 * 32 * 64)
    # Seven sets and the one in the making.
    assert plan["memory"]["test inputs"] == 8 * plan["weights"] * 4
    assert plan["problems"] == []
    assert all(s > 0 for s in plan["seconds"].values())


def test_options_of_a_scan_change_the_plan(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(*more: str) -> dict:
        assert run(words(small, tmp_path / "run", "--json", *more)) == 0
        return json.loads(capsys.readouterr().out)

    assert plan("--first-layers", "1")["layers"] == 7
    assert plan("--modules", "q_proj")["layers"] == 2
    assert "2 over" not in plan("--attribution", "identity")["passes"][0]
    assert plan("--rank", "4")["disk"]["evidence"] > plan()["disk"]["evidence"]
    few = plan("--token-budget", "100")["memory"]["batches"]
    assert few < plan()["memory"]["batches"]
    # Later words win, and a scan without influence has one pass.
    assert plan("--no-influence")["passes"] == ["1 over 60 rows"]


def test_what_would_not_fit_exits_2(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(small, tmp_path / "run", "--max-memory", "0.001")) == 2
    shown = capsys.readouterr().err
    assert "assay: error: this scan needs 0.02 GiB of memory and 1.0 MiB are fre" in (
        shown
    )
    assert "most is for batches: lower --token-budget" in shown
    assert "it fits" not in shown
    more = ["--max-memory", "0.001", "--json"]
    assert run(words(small, tmp_path / "run", *more)) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "most is for batches" in problem


def test_an_encoder_decoder_is_planned_too(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--model", str(small.encoder_decoder), "--json", *INFLUENCE]
    assert run(["plan", str(small.rows), *chosen]) == 0
    assert json.loads(capsys.readouterr().out)["layers"] == 16


def test_tuning_first_is_part_of_the_plan(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--base-model", str(small.model), "--epochs", "3", "--json"]
    assert run(["plan", str(small.rows), *chosen]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["passes"] == ["3 over 60 rows to tune a proxy", "1 over 60 rows"]
    assert plan["seconds"]["tuning"] > 0


@pytest.mark.parametrize(
    ("more", "stages"),
    [
        ([], {"experiments"}),
        (["--base-model", "BASE"], {"experiments", "retraining"}),
        (["--base-model", "BASE", "--no-retrain"], {"experiments"}),
        (["--base-model", "BASE", "--no-verify"], set()),
        (["--base-model", "BASE", "--detector", "high-loss"], set()),
    ],
)
def test_what_follows_the_passes_is_part_of_the_plan(
    more: list[str],
    stages: set[str],
    small: Small,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [str(small.base) if word == "BASE" else word for word in more]
    words = ["plan", str(small.rows), "--model", str(small.model), *more]
    assert run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["verification"]
    assert set(found) == stages
    assert all(seconds > 0 for seconds in found.values())
    assert run(words) == 0
    told = capsys.readouterr().err
    assert ("for experiments on the model" in told) == ("experiments" in stages)
    assert ("tuned again to decide" in told) == ("retraining" in stages)


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("model", "are the same model; give what it was"),
        ("encoder_decoder", "one is of type t5, one llama"),
    ],
)
def test_a_base_of_another_build_is_refused_by_plan_and_scan(
    base: str,
    told: str,
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    chosen = ["--model", str(small.model), "--base-model", str(getattr(small, base))]
    lines = []
    for command in ("plan", "scan"):
        words = [command, str(small.rows), *chosen, "--out", str(out)]
        assert run([*words, "--no-retrain"]) == 2
        lines.append(only_line(capsys))
    assert lines[0] == lines[1]
    assert told in lines[0]
    assert not list(out.glob("evidence*"))


def test_what_cannot_be_tracked_is_named_by_plan_and_scan(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = load_model(str(small.model))
    torch.manual_seed(0)
    config = Qwen2MoeConfig(
        vocab_size=len(lm.tokenizer),
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        pad_token_id=lm.tokenizer.pad_token_id,
    )
    lm.model = Qwen2MoeForCausalLM(config)
    save_model(lm, tmp_path / "moe")
    for command in ("plan", "scan"):
        chosen = ["--model", str(tmp_path / "moe"), "--out", str(tmp_path / "run")]
        status = run([command, str(small.rows), *chosen, "--rank", "2"])
        assert status in (0, 1)
        err = capsys.readouterr().err
        assert "8 layers are tracked; left out: model.layers.0.mlp.experts." in err
        assert err.count("left out") == 1


@pytest.mark.parametrize("command", ["plan", "scan"])
def test_rows_that_are_too_long_for_the_model_are_refused(
    command: str, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = load_model(str(small.model))
    config = GPT2Config(
        vocab_size=len(lm.tokenizer),
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        pad_token_id=lm.tokenizer.pad_token_id,
    )
    lm.model = GPT2LMHeadModel(config)
    save_model(lm, tmp_path / "gpt2")
    words = [command, str(small.rows), "--model", str(tmp_path / "gpt2")]
    words += ["--out", str(tmp_path / "run"), "--rank", "2"]
    assert run(words) == 2
    err = capsys.readouterr().err
    assert "gpt2 takes 16 positions, it has " in err
    assert err.endswith("tokens; give --max-length 16\n")
    # Experiments make rows longer: these are cut to what the model takes.
    assert run([*words, "--max-length", "16"]) in (0, 1)


def test_a_model_has_to_be_named(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", str(small.rows)]) == 2
    assert "give --model" in capsys.readouterr().err


def test_a_scan_that_would_not_fit_stops_before_any_pass(
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        for stage in ("query_gradients", "fit_factors", "score_rows", "query_states"):
            patch.setattr(f"assay.scanning.measure.{stage}", started)
        for method in ("ekfac", "identity", "repsim"):
            more = ["--max-memory", "0.001", "--attribution", method]
            assert run(small.scan_words(out, *more)) == 2
            shown = capsys.readouterr().err
            assert "most is for batches: lower --token-budget" in shown
    assert [p.name for p in out.iterdir()] == ["log.txt"]
    # How much memory there is does not change what is measured: with more, it goes.
    assert run(small.scan_words(out, "--max-memory", "4")) == 1
    assert run(small.scan_words(out)) == 1
    assert "reusing earlier measurements" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["scan", "plan"])
def test_too_little_memory_to_ask_for(
    command: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--model", str(small.model), "--max-memory", "0"]
    assert run([command, str(small.rows), *chosen]) == 2
    assert "max-memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (1, [], "rows.jsonl: one row; a scan compares rows with others"),
        (4, ["--detector", "magic"], "unknown detector 'magic'; known: "),
    ],
)
def test_a_plan_refuses_what_a_scan_refuses(
    rows: int,
    more: list[str],
    message: str,
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(small.rows.open().readlines()[:rows]))
    for command in ("plan", "scan"):
        chosen = ["--model", str(small.model), "--out", str(tmp_path / "run"), *more]
        assert run([command, str(data), *chosen]) == 2
        shown = capsys.readouterr().err
        assert message in shown.splitlines()[-1]
        assert "it fits" not in shown
    assert not (tmp_path / "run").exists()
