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
import os
import subprocess
import sys

import pytest

from audioslots_hf.files import working_folder
from audioslots_hf.leftovers import remove_leftovers


def test_the_folder_of_a_killed_process_is_removed(tmp_path):
    pytest.importorskip("fcntl")
    code = (
        "import os, sys; from pathlib import Path; from audioslots_hf.files import working_folder\n"
        "with working_folder(Path(sys.argv[1])) as folder: (folder / '0.w64').touch(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    assert remove_leftovers([tmp_path]) == 1 and list(tmp_path.iterdir()) == []


def test_the_folder_of_a_process_that_lives_stays(tmp_path):
    with working_folder(tmp_path) as folder:
        assert remove_leftovers([tmp_path]) == 0 and folder.is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names, age_h, num_removed", [([], 1, 0), ([], 48, 1), (["mine.txt"], 48, 0)])
def test_a_folder_without_a_lock_goes_when_it_is_old_and_holds_nothing_else(tmp_path, names, age_h, num_removed):
    folder = tmp_path / ".tmp-old"
    folder.mkdir()
    for name in ["0.w64", *names]:
        (folder / name).touch()
    then = folder.stat().st_mtime - 3600 * age_h
    os.utime(folder, (then, then))
    assert remove_leftovers([tmp_path]) == num_removed and folder.exists() == (num_removed == 0)
