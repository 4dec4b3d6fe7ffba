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
"""The temporary folders that killed runs left behind."""

import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from .files import LOCK_NAME, PREFIX, is_locked
from .jobs import OUTPUT_ENDING


# A folder without a lock is that of a run that begins, or, on Windows, of any run.
MIN_AGE_S = 24 * 3600
# of the files in a working folder of `separate`
NAME = re.compile(rf"{LOCK_NAME}\.new|\d+\.w64|.+?{OUTPUT_ENDING}")


def remove_leftovers(folders: Iterable[Path]) -> int:
    """
    Remove the temporary folders of runs that were killed, and leave those of runs that live.

    Args:
        folders (iterable of `Path`):
            Output folders.

    Returns:
        The number of temporary folders removed.
    """
    num_removed = 0
    for folder in folders:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
        for name in names:
            if _is_abandoned(folder / name):
                # another run may remove it at the same time
                shutil.rmtree(folder / name, ignore_errors=True)
                num_removed += 1
    return num_removed


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder is the working folder of a run that is no more."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        names = [path.name for path in folder.iterdir()]
        if LOCK_NAME in names:
            with open(folder / LOCK_NAME, "rb") as lock:
                return is_locked(lock.fileno()) is False
        # a folder of somebody else holds other files
        is_ours = all(NAME.fullmatch(name) for name in names)
        return is_ours and time.time() - folder.stat().st_mtime > MIN_AGE_S
    except OSError:
        # another run removed it, or it is another user's
        return False


__all__ = [
    "MIN_AGE_S",
    "NAME",
    "remove_leftovers",
]
