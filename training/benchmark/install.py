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
Size of an installation, and the time from nothing to the first separated file.

Makes a virtual environment, runs pip in it once for each `--pip`, from the root of this repository, and separates the recording that
ships twice: the first run compiles the modules that it imports, unless pip did so. The last line is JSON: sizes in MB of 10^6 bytes on
the disk, times in seconds.
"""

import argparse
import os
import shlex
import subprocess
import tempfile
import time
import venv
from pathlib import Path


ROOT = Path(__file__).parents[2]
SAMPLE = Path("tests") / "samples" / "two_voices.flac"
NUM_LARGEST = 5


def measure_size(path: Path) -> float:
    """The space that a file or a folder takes on the disk, in MB; a file with several names counts once."""
    files = {file.lstat().st_ino: file.lstat().st_blocks * 512 for file in [path, *path.rglob("*")]}
    return sum(files.values()) / 1e6


def list_largest(folder: Path) -> dict[str, float]:
    """The largest packages of an environment, and their sizes in MB."""
    [site] = folder.glob("lib/python*/site-packages")
    sizes = {path.name: measure_size(path) for path in site.iterdir()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1])[:NUM_LARGEST])


def time_command(words: list[str]) -> float:
    """Run a program in the root of this repository -> seconds; a `CalledProcessError` if it fails."""
    started = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--pip",
        action="append",
        metavar="WORDS",
        help="words after `pip install`, several times for several runs (default: the package, `.`)",
    )


def run(options: argparse.Namespace) -> dict[str, float]:
    """Install, separate twice, and print a table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "venv"
        venv.create(folder, with_pip=True)
        programs = folder / "bin"
        installs = [[str(programs / "pip"), "install", "-q", *shlex.split(words)] for words in options.pip or ["."]]
        install_s = sum(time_command(words) for words in installs)
        size = measure_size(folder)
        separate = [str(programs / "audioslots"), "separate", str(SAMPLE), "-o", f"{temporary}/out", "--force"]
        first_s, second_s = time_command(separate), time_command(separate)
        largest = list_largest(folder)
        result = {"installed_mb": round(size), "used_mb": round(measure_size(folder)), "install_s": round(install_s)}
        result |= {"first_s": round(first_s, 1), "second_s": round(second_s, 1)}
    print("| installed, MB | after two runs, MB | install, s | first run, s | second run, s |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| {' | '.join(str(value) for value in result.values())} |")
    print("\nLargest: " + ", ".join(f"{name} {value:.0f} MB" for name, value in largest.items()))
    return result
