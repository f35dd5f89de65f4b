"""Mapping files from disk; every problem of a file at once, each as `path:line: where: what`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ValidationError

from salesforce_sync.errors import InvalidMapping
from salesforce_sync.mapping.model import MappingFile

OVERRIDE_VARIABLE = "SALESFORCE_SYNC_MAPPINGS"  # environment variable: a folder whose files win over the shipped ones
SHADOW = "~shadow"  # at the end of the name of a flow that writes nothing: see engine/two_way/shadow.py
SHIPPED = Path(__file__).resolve().parents[3] / "include" / "mappings"


def load_mapping(name: str) -> MappingFile:
    """The mapping of this name (`peerspot/activities`), from the override folder or the shipped one. Of a mapping both
    ways, `<name>/to_vendor` and `<name>/to_salesforce` are its two directions. A flow in the shadow has the mapping
    that it is the shadow of. InvalidMapping says what is wrong."""
    name = name.replace(SHADOW, "")
    folders = _folders()
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return read_mapping(path)
    if flow := flow_of(name):
        return load_mapping(flow).one_way("to_vendor" if name.endswith("/to_vendor") else "to_salesforce")
    searched = " or ".join(str(folder) for folder in folders)
    raise InvalidMapping(
        f"There is no mapping {name!r} in {searched}.",
        fix=f"Create {name}.yaml there, or correct the DAG's mapping name.",
    )


def is_mapping(name: str) -> bool:
    """Whether there is a mapping of this name."""
    return any((folder / f"{name.replace(SHADOW, '')}.yaml").is_file() for folder in _folders())


def flow_of(name: str) -> str:
    """The mapping both ways that this is a direction of; "" when it is none."""
    flow, _, direction = name.rpartition("/")
    return flow if direction in ("to_salesforce", "to_vendor") and is_mapping(flow) else ""


def _folders() -> list[Path]:
    return [Path(folder) for folder in (os.environ.get(OVERRIDE_VARIABLE),) if folder] + [SHIPPED]


_PLAIN: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it is there: a tenth of the time


class _Loader(_PLAIN):  # type: ignore[misc]
    """Takes plain texts as they are written: `NO`, `0123`, `12:30:00` and `1.10` are texts, as their readers expect. Only true and false,
    null and whole numbers are more than text; YAML 1.1, which PyYAML follows, has a dozen further spellings."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


def read_mapping(path: Path) -> MappingFile:
    """The mapping in this file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = _Loader(text)
        tree = loader.get_single_node()
        raw = None if tree is None else loader.construct_document(tree)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidMapping(f"{path}:{line}: not YAML: {error.problem}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidMapping(f"{path}:{line}: not UTF-8.", fix="Save the file as UTF-8.") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InvalidMapping(f"{path}:{line}: not YAML: a character that no text file should hold.") from error
    if doubled := _doubled(tree):
        raise InvalidMapping("\n".join(f"{path}:{line}: {key}: is here twice" for line, key in doubled))
    if not isinstance(raw, dict) or tree is None:
        raise InvalidMapping(f"{path}:1: a mapping file holds keys and values.")
    try:
        return MappingFile.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(path, tree, item) for item in error.errors()]
        raise InvalidMapping("\n".join(problems), fix="docs/mapping-reference.md lists every key.") from error


def _doubled(node: yaml.Node | None) -> list[tuple[int, str]]:
    """(line, key) of each key that stands in its mapping already: YAML would take the last one and drop the others."""
    if isinstance(node, yaml.SequenceNode):
        return [found for item in node.value for found in _doubled(item)]
    if not isinstance(node, yaml.MappingNode):
        return []
    seen, found = set(), []
    for key, value in node.value:
        if key.value in seen:
            found.append((key.start_mark.line + 1, str(key.value)))
        if isinstance(key, yaml.ScalarNode):
            seen.add(key.value)
        found += _doubled(value)
    return found


def _problem(path: Path, tree: yaml.Node, item: Any) -> str:
    place = [part for part in item["loc"] if not str(part).startswith("function-")]
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] == "missing":
        message = "missing"
    return f"{path}:{_line(tree, place)}: {'.'.join(str(part) for part in place)}: {message}"


def _line(tree: yaml.Node, place: list[Any]) -> int:
    """The line of the deepest part of `place` that is in the file, from 1."""
    node, line = tree, tree.start_mark.line
    for part in place:
        following = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, following = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            following = node.value[part]
            line = following.start_mark.line
        if following is None:
            break
        node = following
    return line + 1
