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
"""Atomic writing of files and folders: write in a temporary folder, then rename."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


PREFIX = ".tmp-"
LOCK_NAME = "lock"


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """
    A hidden temporary folder, locked for as long as this process needs it and lives.

    Its name is of its own, so that two runs never write the same file. [`~leftovers.remove_leftovers`] removes those of dead processes.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        # under another name until it is locked, so that no other run takes it for that of a dead process
        with open(folder / f"{LOCK_NAME}.new", "wb") as lock:
            if is_locked(lock.fileno()) is False:
                (folder / f"{LOCK_NAME}.new").rename(folder / LOCK_NAME)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_locked(descriptor: int) -> bool | None:
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """
    Yield a temporary path for a file or a folder, which is renamed to `path` when the block ends without an error.

    It has the name of `path`, in a [`working_folder`] beside it. After an error `path` is unchanged and the temporary content is removed.
    """
    with replacing_all([path]) as [temporary]:
        yield temporary


@contextmanager
def replacing_all(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """
    [`replacing`] for several files or folders of one folder: all of them are complete before any is renamed.

    The first is renamed last, so that where it exists, even after a run that was killed, all exist.
    """
    paths = list(paths)
    with working_folder(paths[0].parent) as folder:
        temporaries = [folder / path.name for path in paths]
        yield temporaries
        for temporary, path in reversed(list(zip(temporaries, paths, strict=True))):
            rename(temporary, path)


def rename(temporary: Path, path: Path) -> None:
    """
    Rename a complete file or folder, so that it is never absent or incomplete, even after a power failure.

    A folder cannot replace another one in one step. Its files replace those of the other folder one by one; then the other
    files of that folder are removed. So neither folder may contain folders.
    """
    is_folder = temporary.is_dir()
    for written in (*(temporary.iterdir() if is_folder else ()), temporary):
        sync(written)
    if is_folder and path.exists():
        names = {file.name for file in temporary.iterdir()}
        for name in names:
            (temporary / name).replace(path / name)
        temporary.rmdir()
        for stale in [file for file in path.iterdir() if file.name not in names]:
            remove(stale)
        sync(path)
    else:
        temporary.replace(path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on disk."""
    # Windows cannot open folders
    if path.is_file() or os.name == "posix":
        descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def as_system_path(path: Path) -> Path | bytes:
    """A path for libraries that encode names strictly: on some disks there are names that are not valid Unicode."""
    return os.fsencode(path) if os.name == "posix" else path


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically; names of files in it that are not valid Unicode stay as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write one line per dictionary and one column per key; NaN and missing values become empty cells."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        names = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        # only NaN differs from itself
        writer.writerows({key: value if value == value else None for key, value in row.items()} for row in rows)


__all__ = [
    "LOCK_NAME",
    "PREFIX",
    "as_system_path",
    "is_locked",
    "remove",
    "rename",
    "replacing",
    "replacing_all",
    "sync",
    "working_folder",
    "write_csv",
    "write_text",
]
