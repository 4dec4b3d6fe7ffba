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
"""Environments that hold some installed packages and their dependencies only, without any download."""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def make_environment(folder: Path, names: Iterable[str]) -> None:
    """Fill a folder with links to installed packages and to all that they require."""
    folder.mkdir()
    for package in list_closure(names).values():
        for entry in {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}:
            link = folder / entry
            # several packages share a folder of a namespace
            if not link.exists():
                link.symlink_to(package.locate_file(entry))


def list_closure(names: Iterable[str]) -> dict[str, Distribution]:
    """Installed packages and those that they require, by their names."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            # one for another system
            continue
        extras = ["", *requirement.extras]
        for word in found[name].requires or []:
            other = Requirement(word)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(other)
    return found


def run_in(folder: Path, code: str, *arguments: str | Path, **variables: str) -> str:
    """Run Python with the packages of a folder only -> its output; fail with its errors."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", **variables}
    process = subprocess.run(
        # without the folder of the packages of this interpreter
        [sys.executable, "-S", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder.parent,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
