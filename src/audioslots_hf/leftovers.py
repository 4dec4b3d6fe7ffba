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
"""The temporary folders of runs, and those that killed runs left behind."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .files import remove
from .jobs import OUTPUT_ENDING


PREFIX = ".separating-"
LOCK_NAME = "lock"
# A folder without a lock is that of a run that begins, or, on Windows, of any run.
MIN_AGE_S = 24 * 3600
OUTPUT_NAME = re.compile(rf"\.tmp-(.+?){OUTPUT_ENDING}")


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder, locked for as long as this process needs it and lives."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        # under another name until it is locked, so that no other run takes it for that of a dead process
        with open(folder / f"{LOCK_NAME}.new", "wb") as lock:
            if _is_locked(lock.fileno()) is False:
                (folder / f"{LOCK_NAME}.new").rename(folder / LOCK_NAME)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_locked(descriptor: int) -> bool | None:
    """Whether another process has locked a file; if not, this one locks it. `None` where files cannot be locked."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # some network drives have no locks
        return None
    return False


def remove_leftovers(folders: Iterable[Path], stems: dict[Path, set[str]]) -> int:
    """
    Remove the temporary files of runs that were killed.

    Args:
        folders (iterable of `Path`):
            Output folders.
        stems (`dict`):
            For each folder the names, without suffix, of the recordings whose tracks this run writes there.

    Returns:
        The number of temporary files and folders removed.
    """
    num_removed = 0
    for folder in folders:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith((PREFIX, ".tmp-"))]
        for name in names:
            match = OUTPUT_NAME.fullmatch(name)
            is_output = match is not None and match[1] in stems.get(folder, ())
            if is_output or (name.startswith(PREFIX) and _is_abandoned(folder / name)):
                remove(folder / name)
                num_removed += 1
    return num_removed


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder is the temporary one of a run that is no more, and holds nothing but its files."""
    try:
        names = [path.name for path in folder.iterdir()]
        if folder.is_symlink() or any(not re.fullmatch(r"lock(\.new)?|\d+\.w64", name) for name in names):
            return False
        if LOCK_NAME in names:
            with open(folder / LOCK_NAME, "rb") as lock:
                return _is_locked(lock.fileno()) is False
        return time.time() - folder.stat().st_mtime > MIN_AGE_S
    except OSError:
        # another run removed it, or it is another user's
        return False


__all__ = [
    "remove_leftovers",
    "working_folder",
]
