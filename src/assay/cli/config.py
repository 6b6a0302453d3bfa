"""Options from a YAML file, and a run's options as such a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as brief
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
import yaml

from assay.errors import AssayError
from assay.util.files import replacing
from assay.util.messages import reason, shortened

EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text (in quotes where YAML reads it as something else)",
    Path: "a path",
    list: "a list of texts",
}
# Said anew each time: what to print, and permission to replace a run.
NOT_SAVED = {"config", "json", "quiet", "overwrite"}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of options.

    Raises:
        AssayError: It cannot be read, or holds something other than options.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated(path, yaml.compose(text, Loader=yaml.SafeLoader))
        found = yaml.safe_load(text)
    except OSError as error:
        raise AssayError(f"{path}: cannot be read ({reason(error)})") from None
    except UnicodeDecodeError:
        raise AssayError(f"{path}: not UTF-8 text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else f"{path}"
        problem = getattr(error, "problem", None) or reason(error)
        raise AssayError(f"{place}: not valid YAML ({problem})") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise AssayError(f"{path}: expected options, one 'name: value' a line")
    return {str(key): value for key, value in found.items()}


def _refuse_repeated(path: Path, node: yaml.Node | None) -> None:
    """Refuse options that are given more than once, of which the last would count."""
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, _ in node.value:
        # Both spellings are one option.
        name = str(key.value).replace("_", "-")
        line = key.start_mark.line + 1
        if name in lines:
            raise AssayError(
                f"{path}:{line}: {shortened(repr(key.value), 60)} stands in line "
                f"{lines[name]} already; keep one of them"
            )
        lines[name] = line


def _key(param: Any) -> str:
    """Name of an option in a file: its long flag without the dashes."""
    return next((o for o in param.opts if o.startswith("--")), param.name).lstrip("-")


def _kind(hint: Any) -> type:
    if isinstance(hint, UnionType):
        (hint,) = (h for h in get_args(hint) if h is not NoneType)
    return get_origin(hint) or hint


def _fits(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(_fits(v, str) for v in value)
    if kind is float and isinstance(value, str):
        # YAML takes 5e-5 for text: it wants a point in a number.
        try:
            float(value)
        except ValueError:
            return False
        return True
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float))
    # No command line can hold a zero byte, nor the name of a file.
    return isinstance(value, str) and "\0" not in value


def options_in(path: Path, ctx: typer.Context) -> dict[str, Any]:
    """Read a command's options from a file, by parameter.

    Raises:
        AssayError: An option is unknown, or a value is not what it takes.
    """
    params = {_key(p): p for p in ctx.command.params if p.name != "config"}
    assert ctx.command.callback is not None
    hints = get_type_hints(inspect.unwrap(ctx.command.callback))
    options = {}
    for key, value in read_yaml(path).items():
        param = params.get(key.replace("_", "-"))
        if param is None or param.name is None:
            near = get_close_matches(key.replace("_", "-"), params, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else "see its --help"
            raise AssayError(
                f"{path}: assay {ctx.info_name} has no option {key!r}; {hint}"
            )
        if value is None:
            continue
        kind = _kind(hints[param.name])
        if not _fits(value, kind):
            raise AssayError(
                f"{path}: {key}: expected {EXPECTED[kind]}, not {brief(value)}"
            )
        try:
            param.process_value(ctx, value)
        except AssayError as error:
            raise AssayError(f"{path}: {key}: {error}") from None
        except Exception as error:
            # Of the option parser's own types, such as a number out of range.
            shown = getattr(error, "message", None)
            if shown is None:
                raise
            raise AssayError(f"{path}: {key}: {shown}") from None
        options[param.name] = value
    return options


def _load(ctx: typer.Context, value: Path | None) -> Path | None:
    if value is not None:
        ctx.default_map = options_in(Path(value), ctx)
    return value


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        # Before the others: it gives them their values.
        is_eager=True,
        callback=_load,
        help="YAML file of options, by their names here; flags win over it.",
    ),
]


def save_options(ctx: typer.Context, run: Path, resolved: Mapping[str, Any]) -> None:
    """Write a command's options to ``options.yaml``, which ``--config`` reads.

    Args:
        ctx: The command's context, with the values of its options.
        run: Run folder.
        resolved: Values of options that were chosen since, by parameter.

    Raises:
        AssayError: The file cannot be written.
    """
    options = {}
    for param in ctx.command.params:
        value = {**ctx.params, **resolved}.get(str(param.name))
        if _key(param) in NOT_SAVED or value is None:
            continue
        if isinstance(value, (list, tuple)):
            value = list(value)
        options[_key(param)] = str(value) if isinstance(value, Path) else value
    with replacing(run / "options.yaml") as partial:
        partial.write_text(
            f"# assay {ctx.info_name} --config FILE takes these options again.\n"
            + yaml.safe_dump(options, sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )
