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
transformers' own tests, from its source distribution, as a package beside ours.

The distribution is no part of this repository: `.ci/fetch_transformers_tests` downloads that of the installed version.
"""

import contextlib
import fnmatch
import functools
import importlib
import importlib.util
import os
import re
import sys
import types
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path

import transformers


FOLDER = Path(__file__).parents[1] / ".transformers-tests"
PACKAGE = "transformers_tests"
REMEDY = "run .ci/fetch_transformers_tests"


def find_fault() -> str | None:
    """The reason why transformers' tests cannot run, or `None`."""
    if not (FOLDER / "tests" / "test_modeling_common.py").is_file():
        return f"transformers' tests are not in {FOLDER.name}: {REMEDY}"
    found = re.search(r"^Version: (.*)$", (FOLDER / "PKG-INFO").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or found[1] != transformers.__version__:
        return f"{FOLDER.name} lacks the tests of transformers {transformers.__version__}: {REMEDY}"
    if importlib.util.find_spec("parameterized") is None:
        return "transformers' tests need parameterized, a package of the extra [dev]"
    return None


def _add_module(name: str, path: list[str] | None = None, **names: object) -> None:
    """A module without a file, which holds the given names; a package if it has a path."""
    module = types.ModuleType(name)
    if path is not None:
        module.__path__ = path
    module.__dict__.update(names)
    sys.modules[name] = module


def _add_packages() -> None:
    """
    Make a package of transformers' folder `tests`.

    The distribution lacks three modules that others import. They get small substitutes: our models generate no text, and
    tests/common.py exports every family.
    """
    _add_module(PACKAGE, [str(FOLDER / "tests")])
    for folder in ("exporters", "generation", "utils"):
        _add_module(f"{PACKAGE}.{folder}", [])
    _add_module(f"{PACKAGE}.exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
    _add_module(f"{PACKAGE}.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
    options = {"return_dict": False, "output_hidden_states": True, "output_attentions": True, "dtype": "float16"}
    options |= {"architectures": ["Model"], "id2label": {0: "voice"}, "label2id": {"voice": 0}}
    _add_module(f"{PACKAGE}.utils.test_configuration_utils", config_common_kwargs=options)


def load_module(name: str) -> types.ModuleType:
    """A module of transformers' folder `tests`, on the CPU unless TRANSFORMERS_TEST_DEVICE names another device."""
    os.environ.setdefault("TRANSFORMERS_TEST_DEVICE", "cpu")
    if PACKAGE not in sys.modules:
        _add_packages()
    with warnings.catch_warnings():
        # marks that transformers' own settings declare
        warnings.simplefilter("ignore")
        return importlib.import_module(f"{PACKAGE}.{name}")


def list_tests(test_class: type) -> list[str]:
    """The names of the tests of a class."""
    return sorted(name for name in dir(test_class) if name.startswith("test_") and callable(getattr(test_class, name)))


def guard_tests(test_class: type, skipped: dict[str, tuple[str, ...]]) -> None:
    """
    Let the tests of a class be skipped for our reasons, and for no other.

    Args:
        test_class (`type`):
            A class with transformers' tests, which are replaced.
        skipped (`dict[str, tuple[str, ...]]`):
            For each reason the names of the tests that skip themselves because of it, where `*` matches any characters. A
            test that lacks an entry and skips itself fails, as does one that has an entry and does not skip itself. Tests
            that need another machine, such as one with a GPU, need no entry.
    """
    reasons = {pattern: reason for reason, patterns in skipped.items() for pattern in patterns}
    for name in list_tests(test_class):
        test = getattr(test_class, name)
        if not getattr(test, "__unittest_skip__", False):
            found = [reason for pattern, reason in reasons.items() if fnmatch.fnmatchcase(name, pattern)]
            setattr(test_class, name, _guard(test, found[0] if found else None))


def _guard(test: Callable, reason: str | None) -> Callable:
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        # a part that is skipped or fails is the whole test
        self.subTest = lambda *args, **kwargs: contextlib.nullcontext()
        try:
            test(self)
        except unittest.SkipTest as skip:
            if reason is None:
                raise AssertionError(f"The test skips itself ({skip}): give it a reason in the table.") from skip
            raise unittest.SkipTest(reason) from skip
        if reason is not None:
            raise AssertionError(f"The test passes: remove it from the table, where it is skipped because {reason}.")

    return run
