# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
Reading of settings from yaml files and the command line into a dataclass, independent of the schema.

A file may name another one as its `base`; `key=value` overrides reach every key. pydantic checks types and ranges.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from .settings_help import explain


# For `__pydantic_config__` of a dataclass of settings; the docstring below a field describes it.
STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

Schema = TypeVar("Schema")
Bound = TypeVar("Bound")


def check_range(bounds: list[Bound]) -> list[Bound]:
    """The bounds, or a `ValueError` if the first is above the second."""
    if bounds != sorted(bounds):
        raise ValueError(f"{bounds} must be [lowest, highest].")
    return bounds


# a setting [lowest, highest], of bounds of a type: `Range[float]`
Range = Annotated[list[Bound], Field(min_length=2, max_length=2), AfterValidator(check_range)]


class SettingsError(ValueError):
    """Invalid settings, speech or lists of mixtures; the message names the fix."""


def describe_error(error: Exception) -> str:
    """The message of an error, without the traceback that a `DataLoader` prepends to the error of a worker."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if text.startswith("Caught ") else text


def load_settings(schema: type[Schema], path: str | Path, overrides: list[str]) -> Schema:
    """
    Read a yaml file and its bases, and apply overrides such as `batch_size=8` or `speech.0.root=DIR`.

    Raises:
        `SettingsError`: the first unknown or missing key, value of a wrong type or out of range, or override without `=`.
        `OSError`: a file cannot be read.
    """
    values = read_yaml(Path(path))
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise SettingsError(f"The override {override!r} has no `=`: write key=value.")
        set_value(values, key, parse_yaml(value, override))
    return build(schema, values)


def read_yaml(path: Path, readers: tuple[Path, ...] = ()) -> dict[str, Any]:
    """
    The keys of a file, merged into those of the file that it names as `base`, relative to its own folder.

    Args:
        path (`Path`):
            The file.
        readers (`tuple` of `Path`):
            The files that have it as their base, directly or not.
    """
    if path.resolve() in readers:
        raise SettingsError(f"{readers[-1]} has {path} as its `base`, which leads back to {path}: remove one of them.")
    values = parse_yaml(path.read_bytes(), str(path))
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no keys, such as output_dir.")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise SettingsError(f"`base` ({base!r}) of {path} must be the path of a yaml file.")
    if not (path.parent / base).is_file():
        raise SettingsError(f"`base` ({base}) of {path} does not exist in {path.parent}.")
    return merge(read_yaml(path.parent / base, (*readers, path.resolve())), values)


def parse_yaml(text: str | bytes, name: str) -> Any:
    """Plain values from YAML 1.2, in which 1e-3 is a number, `no` a string, and a key that is there twice an error."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        # of a duplicate key, without its values
        problem = error.problem.partition(" with value")[0]
        raise SettingsError(f"{name} is not valid yaml: {problem}, in line {error.problem_mark.line + 1}") from error
    except YAMLError as error:
        raise SettingsError(f"{name} is not valid yaml: {error}") from error


def merge(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Both, key by key at any depth; where both have a value or a list, that of `values`."""
    merged = dict(base)
    for key, value in values.items():
        is_nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if is_nested else value
    return merged


def set_value(values: Any, key: str, value: Any) -> None:
    """Set the dotted `key`; positions in lists are numbers, and null becomes keys."""
    *parents, last = key.split(".")
    for position, name in enumerate(parents):
        if isinstance(values, dict):
            if values.get(name) is None:
                values[name] = {}
            values = values[name]
        else:
            values = values[list_position(values, name, key, parents[:position])]
    if isinstance(values, dict):
        values[last] = value
    else:
        values[list_position(values, last, key, parents)] = value


def list_position(values: Any, name: str, key: str, parents: list[str]) -> int:
    """The position that `name` is in the list below `parents`."""
    parent = ".".join(parents)
    if not isinstance(values, list):
        raise SettingsError(f"Unknown key `{key}`: `{parent}` holds no keys.")
    if not name.isdecimal() or int(name) >= len(values):
        raise SettingsError(f"Unknown key `{key}`: `{parent}` has {len(values)} entries, from `{parent}.0` on.")
    return int(name)


def build(schema: type[Schema], values: Any, prefix: str = "") -> Schema:
    """
    An instance of a type from plain values: those of `schema` if it is a dataclass, or a single value under `prefix`.

    Raises:
        `SettingsError`: names the first key that does not fit.
    """
    for key, value in walk(values, prefix):
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"`{key}` ({value}) must be a finite number.")
    try:
        # strict, but an object is a dataclass and 1 a float
        return TypeAdapter(schema).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError(explain(error.errors(), schema, values, prefix)) from error


def walk(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values that hold no others, with their keys in full."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from walk(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values
