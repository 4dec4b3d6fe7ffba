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
"""The page of [`demo`] as a Space of the Hub: a folder with the page, its requirements, its card and this package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData

from .command_line import HUB_NAME
from .demo import require_gradio


TIMEOUT_S = 900
APP = """from audioslots_hf.demo import build_demo, launch


# the host and the port come from the environment of the Space
launch(build_demo({model!r}), host=None)
"""
TEXT = """# Separate voices

A recording of several voices in, one track per voice out, with audioslots-hf. Separate only recordings that you may process.
"""
# the Space has gradio from its card; torch without CUDA, because Spaces without a GPU are the default
REQUIREMENTS = """--extra-index-url https://download.pytorch.org/whl/cpu
torch>=2.11
transformers>=5.17
numpy
scipy
soundfile>=0.13
av>=14
matplotlib
"""
# the default of Spaces is older than this package takes
PYTHON_VERSION = "3.11"
PROGRAM = """
import os, runpy
from audioslots_hf import demo
assert os.path.samefile(os.path.dirname(demo.__file__), "audioslots_hf"), "the package is not that of the Space"
# builds the page, and does not serve it
demo.launch = lambda page, host: None
runpy.run_path("app.py", run_name="__main__")
"""


def write_space(folder: Path, model: str | None = None) -> None:
    """
    Write the page as a Space of the Hub, with this package inside.

    Args:
        folder (`Path`):
            A new or an empty folder.
        model (`str`, *optional*):
            The model that is chosen at first: a shipped checkpoint, or a repository on the Hub.

    Raises:
        `ImportError`: gradio is missing, whose version the card names.
    """
    require_gradio()
    import gradio

    data = SpaceCardData(
        title="Separate voices",
        emoji="🗣",
        colorFrom="indigo",
        colorTo="blue",
        sdk="gradio",
        sdk_version=gradio.__version__,
        python_version=PYTHON_VERSION,
        app_file="app.py",
        license="apache-2.0",
        models=[model] if model and HUB_NAME.fullmatch(model) else None,
        tags=["source-separation", "speech-separation"],
        short_description="One track per voice of a recording",
    )
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "app.py": APP.format(model=model),
        "requirements.txt": REQUIREMENTS,
        "README.md": str(SpaceCard(f"---\n{data}\n---\n\n{TEXT}")),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    package = Path(__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))


def check_space(folder: Path) -> None:
    """
    Build the page of a Space in a process of its own, with the package in its folder.

    Raises:
        `ValueError`: it fails, for instance because its model cannot be loaded.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        process = subprocess.run(
            [sys.executable, "-B", "-c", PROGRAM],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"The page did not start within {TIMEOUT_S} s: nothing was uploaded.") from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise ValueError(f"The page of the Space does not start: {lines[-1].removeprefix('ValueError: ')}")


__all__ = ["APP", "PROGRAM", "PYTHON_VERSION", "REQUIREMENTS", "TEXT", "TIMEOUT_S", "check_space", "write_space"]
