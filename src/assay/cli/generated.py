"""Options of commands, made of the settings that they are for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from docstring_parser import parse

from assay.util.ranges import RANGES, check_number


def number(setting: str, flag: str, help: str) -> Any:
    """Describe an option that is a number, and has the range of a setting."""

    def check(value: Any) -> Any:
        check_number(setting, value, f"{flag} {value}")
        return value

    return typer.Option(flag, callback=check, help=f"{help} ({RANGES[setting]})")


@dataclass(frozen=True)
class Fields:
    """Which fields of a settings class are options of a command; all by default.

    Attributes:
        only: Names of the fields; the others keep their defaults.
        help: Texts that are for this command, by field.
        defaults: Defaults that are for this command, by field.
    """

    only: tuple[str, ...] = ()
    help: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


@cache
def _texts(kind: type) -> dict[str, str]:
    """What the docstring of a settings class says of its fields."""
    found = parse(inspect.getdoc(kind) or "")
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in found.params}
    return {name: text.replace("``", "") for name, text in texts.items()}


def _option(about: Field[Any], hint: Any, default: Any, text: str) -> inspect.Parameter:
    """Describe a field of a settings class as an option of the same name."""
    flag = f"--{about.name.replace('_', '-')}"
    if get_origin(hint) is tuple:
        # Of these a command line takes any number.
        hint = list[get_args(hint)[0]] | None  # type: ignore[misc]
    kinds = set(get_args(hint) if isinstance(hint, UnionType) else (hint,)) - {NoneType}
    if kinds == {bool}:
        described = typer.Option(f"{flag}/--no-{flag[2:]}", help=text)
    elif kinds <= {int, float}:
        described = number(about.name, flag, text)
    else:
        described = typer.Option(flag, help=text)
    return inspect.Parameter(
        about.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if isinstance(default, tuple) else default,
        annotation=Annotated[hint, described],
    )


def _expanded(kind: type, chosen: Fields) -> Iterator[inspect.Parameter]:
    hints, texts = get_type_hints(kind), _texts(kind)
    for about in fields(kind):
        name = about.name
        if chosen.only and name not in chosen.only:
            continue
        default = chosen.defaults.get(name, about.default)
        # Python leaves docstrings out where it is told to.
        text = {**texts, **chosen.help}.get(name, "")
        yield _option(about, hints[name], default, text)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every field of the settings that it takes.

    A parameter that is annotated with `Fields` takes an object of a settings class.
    The command line has an option for each of the class's fields in its place: with the
    field's name, type, default and range, and with the text that the class's docstring
    has for it. Fields may be ``bool``, ``str``, ``int`` or ``float``, also or None, or
    ``tuple[str, ...]``, which is an option that may be repeated and empty by default.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    made: dict[str, tuple[type, list[str]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        about = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Fields)]
        if about:
            own = list(_expanded(hint.__origin__, about[0]))
            made[name] = (hint.__origin__, [p.name for p in own])
            parameters += own
        else:
            parameters.append(
                parameter.replace(annotation=hint, kind=parameter.KEYWORD_ONLY)
            )

    @wraps(command)
    def called(**options: Any) -> Any:
        for name, (kind, names) in made.items():
            given = {n: options.pop(n) for n in names}
            # What a command line repeats is a list, and nothing where it is not given.
            given = {n: tuple(v) if type(v) is list else v for n, v in given.items()}
            options[name] = kind(**{n: v for n, v in given.items() if v is not None})
        return command(**options)

    del called.__dict__["__wrapped__"]
    hinted: Any = called
    hinted.__signature__ = inspect.Signature(parameters)
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called
