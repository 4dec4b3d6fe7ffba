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
"""Docstrings in Hugging Face's grammar as those that mkdocstrings reads."""

import ast
import importlib
import inspect
import re
import textwrap

import griffe


# [`~module.Name`], which transformers' own documentation makes a link of
REFERENCE = re.compile(r"\[`~?(?:\w+\.)*(\w+)`\]")
# the head of an argument, name (`type`, *optional*):, or of an error, `Name`:
HEAD = re.compile(r"^(\s*\w+ \(.*\)|[ ]+`\w+`):", re.MULTILINE)


class HuggingFaceDocstrings(griffe.Extension):
    """Adds the arguments that `auto_docstring` documents, and shows references and types without the marks of Markdown."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Change the docstring of one object."""
        text = inspect.cleandoc(obj.docstring.value) if obj.docstring else ""
        for decorator in getattr(obj, "decorators", []):
            if str(decorator.value).startswith("auto_docstring"):
                text = complete(text, ast.parse(str(decorator.value), mode="eval").body, obj.module.path)
        if text:
            text = REFERENCE.sub(r"`\1`", text)
            text = HEAD.sub(lambda head: re.sub(r"[`*]", "", head[0]), text)
            obj.docstring = obj.docstring or griffe.Docstring("", parent=obj, parser="google")
            obj.docstring.value = text


def complete(text: str, decorator: ast.expr, module: str) -> str:
    """A docstring as transformers completes it: an introduction, then the arguments below a head of their own."""
    values = {
        keyword.arg: eval(ast.unparse(keyword.value), vars(importlib.import_module(module)))
        for keyword in getattr(decorator, "keywords", [])
    }
    intro, arguments = ("", text) if HEAD.match(text) else (text, "")
    intro = values.get("custom_intro", intro)
    arguments = (values.get("custom_args", "") + arguments).strip()
    return f"{intro}\n\nArgs:\n{textwrap.indent(arguments, '    ')}".strip() if arguments else intro
