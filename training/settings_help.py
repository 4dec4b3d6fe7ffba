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
"""Settings in words: the help of a command, and the messages of errors."""

import difflib
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter


# of an error of pydantic
UNKNOWN_KEY = "unexpected_keyword_argument"
# its words, and those of our messages
PLAIN_WORDS = {
    "Input should": "must",
    "should": "must",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


@dataclass
class Setting:
    """One key of a schema: its name in full, as `speech.0.root`, its type in words, and its description."""

    key: str
    kind: str
    description: str


def explain(errors: list[dict[str, Any]], schema: type, values: Any, prefix: str) -> str:
    """A sentence about the first error of pydantic that names the key, and the value or the nearest key."""
    # a misspelt key is also a missing one
    error = min(errors, key=lambda error: error["type"] != UNKNOWN_KEY)
    key = ".".join(filter(None, (prefix, *name_parts(error["loc"], values))))
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"Unknown key `{key}`: {suggest(key, schema)}."
        case "missing":
            return f"The key `{key}` is missing."
        case "union_tag_invalid":
            return f"`{key}.type` ({error['ctx']['tag']!r}) must be one of {error['ctx']['expected_tags']}."
        case "union_tag_not_found":
            return f"The key `{key}.type` is missing."
        case "value_error":
            reason = str(error["ctx"]["error"])
            return f"`{key}`: {reason}" if key else reason
    reason = error["msg"]
    for words, plain in PLAIN_WORDS.items():
        reason = reason.replace(words, plain)
    return f"`{key}` ({error['input']!r}) {reason}."


def name_parts(location: tuple[str | int, ...], values: Any) -> Iterator[str]:
    """The parts of a key, without the names of types that pydantic puts between them."""
    for position, part in enumerate(location):
        if isinstance(values, dict) and part not in values and "type" in values and part == values["type"]:
            continue
        yield str(part)
        if position < len(location) - 1 and not isinstance(values, str):
            values = values[part]


def suggest(key: str, schema: type) -> str:
    """The key that was meant, or else all that there are beside it."""
    key = re.sub(r"\.\d+\.", ".0.", key)
    known = [setting.key for setting in list_settings(schema)]
    if nearest := difflib.get_close_matches(key, known, n=1):
        return f"did you mean `{nearest[0]}`"
    siblings = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]}
    return f"the keys are {', '.join(sorted(siblings))}"


def list_settings(schema: type) -> list[Setting]:
    """All keys of a dataclass of settings, in their order, with the docstrings below its fields."""
    root = TypeAdapter(schema).json_schema()
    return list(list_properties(root, root.get("$defs", {}), ""))


def list_properties(node: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[Setting]:
    """The keys of one object of a JSON schema, and of the objects in it."""
    for name, item in node["properties"].items():
        description = item.get("description", "")
        if "const" in item:
            # the name of a type stands for all of it
            description = node.get("description", "")
        default = f", default {json.dumps(item['default'])}" if "default" in item and "const" not in item else ""
        yield Setting(f"{prefix}{name}", f"{describe_kind(item)}{default}", description)
        for infix, nested in find_objects(item, definitions):
            yield from list_properties(nested, definitions, f"{prefix}{name}.{infix}")


def find_objects(item: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects that a value may be or hold, after `0.` in a list."""
    if "$ref" in item:
        yield "", definitions[item["$ref"].rpartition("/")[2]]
    for option in (*item.get("anyOf", ()), *item.get("oneOf", ())):
        yield from find_objects(option, definitions)
    if "items" in item:
        for infix, nested in find_objects(item["items"], definitions):
            yield f"0.{infix}", nested


def describe_kind(item: dict[str, Any]) -> str:
    """The type of a value in words."""
    if options := [*item.get("anyOf", ()), *item.get("oneOf", ())]:
        return " or ".join(dict.fromkeys(map(describe_kind, options)))
    if "enum" in item or "const" in item:
        return " or ".join(item.get("enum", [item.get("const")]))
    if item.get("type") == "array":
        kind = describe_kind(item["items"])
        # names have no plural
        return f"list of {kind}" if "enum" in item["items"] else f"list of {kind}s"
    names = {"string": "text", "boolean": "true or false", "$ref": "object"}
    return names.get(item.get("type", "$ref"), item.get("type"))


def format_settings(schema: type) -> str:
    """The keys of a dataclass of settings for a command's help."""
    paragraphs = []
    for setting in list_settings(schema):
        indent = "    " * setting.key.count(".")
        text = " ".join(setting.description.split())
        lines = textwrap.wrap(text, 110, initial_indent=f"{indent}    ", subsequent_indent=f"{indent}    ")
        paragraphs.append("\n".join([f"{indent}{setting.key} ({setting.kind})", *lines]))
    return "\n".join(paragraphs)
