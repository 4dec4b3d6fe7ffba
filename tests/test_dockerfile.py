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
"""The image: its copied files are enough to install the package, and it runs the command as a user without rights."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
CONTEXT = (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def copied_files() -> list[str]:
    """The sources of the instructions that copy from the repository."""
    return [word for line in LINES if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]]


def test_the_image_runs_the_command_as_a_user_without_rights():
    assert 'ENTRYPOINT ["audioslots"]' in LINES
    user = next(line for line in LINES if line.startswith("USER "))
    assert int(re.fullmatch(r"USER (\d+):\d+", user)[1]) > 0 and LINES.index(user) < LINES.index(
        'ENTRYPOINT ["audioslots"]'
    )


def test_the_context_of_the_image_holds_what_it_copies_and_nothing_else():
    assert CONTEXT[0] == "*"
    assert {line.removeprefix("!") for line in CONTEXT if line.startswith("!")} == set(copied_files())


@pytest.mark.slow
def test_the_package_can_be_built_from_the_files_of_the_image(tmp_path):
    for name in copied_files():
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "wheel",
        ".",
    ]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    [wheel] = (tmp_path / "wheel").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("model.safetensors") for name in names) and "_audioslots_command.py" in names
