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
"""Every block of code in the README and in docs runs, or a table says where else it does, or why not."""

import doctest
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audioslots_hf import load_separator
from audioslots_hf.cards import load_facts
from audioslots_hf.cli import build_parser, main
from audioslots_hf.separator import Separator
from tests.audio_helpers import noise
from tests.conftest import SAMPLES
from tests.pages import CODE, PAGES, ROOT, list_blocks, list_commands
from tests.test_training_readme import run as run_training
from tests.test_training_readme import workplace  # noqa: F401, a fixture


# A pattern of commands: the file that runs them instead, or that shows why nothing does.
ELSEWHERE = {
    "python3 -m venv *": ".ci/run",
    ". .venv/bin/activate": ".ci/run",
    "python -m pytest": ".ci/run",
    # tests install nothing; .ci/run installs the package with its extras
    "pip install *": ".ci/run",
    # no container is started: the linter reads the Dockerfile, and this test installs the files that it copies
    "docker *": "tests/test_dockerfile.py",
    "audioslots demo": "tests/test_demo.py",
    # they need an account, or a Hub on this machine
    "audioslots publish runs/mine/best *": "tests/test_hub.py",
    "audioslots publish *--space *": "tests/test_spaces.py",
    # one export is enough here
    "audioslots export galr-small *": "tests/test_export.py",
    "python examples/serving/app.py *": "tests/test_serving.py",
    "curl *": "tests/test_serving.py",
    "accelerate launch examples/separate_many.py *": "tests/test_separate_many.py",
    "torchrun *": "tests/test_separate_many.py",
}
# Blocks in other languages: `yaml` and `json` are read below, text shows names, and bibtex cites.
LANGUAGES = {"python", "bash", "yaml", "json", "text", "bibtex"}


def find_elsewhere(command: str) -> str | None:
    """The entry of the table for a command."""
    return next((pattern for pattern in ELSEWHERE if fnmatchcase(command, pattern)), None)


def test_the_table_of_commands_that_run_elsewhere_is_needed_and_names_files():
    found = {find_elsewhere(command) for name in PAGES for command in list_commands(name)}
    assert set(ELSEWHERE) <= found
    assert all((ROOT / place).is_file() for place in ELSEWHERE.values())
    assert {language for path in PAGES.values() for language, _ in CODE.findall(path.read_text("utf-8"))} == LANGUAGES


def test_the_commands_of_the_pages_are_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # a model that the page trains
    (tmp_path / "runs" / "finetune" / "best").mkdir(parents=True)
    commands = [command for name in PAGES for command in list_commands(name) if command.startswith("audioslots ")]
    assert {build_parser().parse_args(shlex.split(command)[1:]).command for command in commands} == {
        "separate",
        "models",
        "evaluate",
        "info",
        "export",
        "demo",
        "publish",
    }


# tests/test_subtitles.py runs the code that would load a recognizer of speech from the Hub
@pytest.mark.parametrize(
    "code", [code for name in PAGES for code in list_blocks(name, "python") if "speech-recognition" not in code]
)
def test_the_python_of_the_pages_runs(code, monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace = {}
    exec(code, namespace)
    if "waveforms" in namespace:
        assert namespace["waveforms"].shape in ((1, 2, 8000), (1, 2, 48000), (1, 3, 48000))
    elif 'channels="split"' in code:
        # the sample has one channel
        assert [source["label"] for source in namespace["sources"]] == ["source_0"]
    else:
        assert [source["label"] for source in namespace["sources"]] == ["source_0", "source_1"]


SOURCES = sorted((ROOT / "src" / "audioslots_hf").glob("*.py"))


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if ">>> " in path.read_text("utf-8")], ids=lambda path: path.stem
)
def test_the_examples_of_docstrings_run(path, separator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("meeting.wav", noise(8000), 8000)
    # what the examples take for granted
    names = {"model": separator.model, "feature_extractor": separator.feature_extractor}
    names |= {"torch": torch, "blocks": [torch.from_numpy(noise(1, 16000))], "load_separator": load_separator}
    names |= {"Separator": Separator}
    for example in doctest.DocTestParser().get_examples(path.read_text("utf-8").replace("\n    ```", "\n")):
        exec(compile(example.source, path.name, "single"), names)


def test_the_yaml_and_the_json_of_the_pages_are_what_the_package_reads_and_writes(tmp_path):
    [facts] = [code for name in PAGES for code in list_blocks(name, "yaml")]
    (tmp_path / "card.yaml").write_text(facts, encoding="utf-8")
    assert load_facts(tmp_path).license == "apache-2.0"
    lines = [json.loads(line) for name in PAGES for code in list_blocks(name, "json") for line in code.splitlines()]
    # tests/test_command_line.py checks the same keys of the command
    assert [line["status"] for line in lines] == ["separated", "failed", "done", "error"]


@pytest.fixture
def recordings(workplace, ffmpeg) -> Path:  # noqa: F811
    """A folder where the files of the pages exist."""
    (workplace / "examples").symlink_to(ROOT / "examples")
    mixture = SAMPLES / "two_voices.flac"
    samples, rate = soundfile.read(mixture)
    sources = [soundfile.read(SAMPLES / f"two_voices_source_{index}.flac")[0] for index in range(2)]
    for name in (
        "meeting.wav",
        "interview.wav",
        "interviews/a.wav",
        "meetings/b.wav",
        "recordings/c.wav",
        "mixed/a.wav",
    ):
        (workplace / name).parent.mkdir(exist_ok=True)
        soundfile.write(workplace / name, samples, rate)
    soundfile.write(workplace / "call.wav", np.stack(sources, axis=1), rate)
    subprocess.run([ffmpeg, "-v", "error", "-i", mixture, workplace / "meeting.m4a"], check=True)
    for folder in ("separated", "true"):
        for index, source in enumerate(sources):
            (workplace / folder).mkdir(exist_ok=True)
            soundfile.write(workplace / folder / f"a_source_{index}.wav", source, rate)
    return workplace


def run(command: str, monkeypatch) -> None:
    """Run one command of a page in this process."""
    words = shlex.split(command)
    if words[0] == "audioslots":
        # successive examples write to the same folders
        again = ["--force"] if words[1] == "separate" and "--skip-existing" not in words else []
        assert main([*words[1:], *again]) == 0, command
    elif words[0] == "python" and words[1].startswith("examples/"):
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(words[1], run_name="__main__")
    else:
        run_training(command, monkeypatch)


PAGES_OF_COMMANDS = [name for name in PAGES if any(not find_elsewhere(command) for command in list_commands(name))]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES_OF_COMMANDS)
def test_the_commands_of_a_page_run_one_after_the_other(name, recordings, monkeypatch):
    for command in list_commands(name):
        if not find_elsewhere(command):
            run(command, monkeypatch)
    written = {path.parts[len(recordings.parts)] for path in recordings.rglob("*") if path.is_file()}
    assert written & {"separated", "people", "runs", "mine", "my-space", "scores"} or name == "export.md"


def test_the_messages_that_the_troubles_quote_are_those_of_the_package():
    text = PAGES["troubleshooting.md"].read_text("utf-8").split("## A message")[1].split("\n## ")[0]
    messages = re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    code = "".join(path.read_text("utf-8") for path in SOURCES)
    # literals that are continued on the next line
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    assert len(messages) > 10
    for message in messages:
        assert message in code, message


def test_the_page_of_the_installation_lists_every_extra():
    rows = re.findall(r"^\| (`.+?) \|", PAGES["install.md"].read_text("utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {extra for row in rows for extra in re.findall(r"`(\w+)`", row)} == set(project["optional-dependencies"])


@pytest.mark.parametrize(
    "path", [*PAGES.values(), ROOT / "training/README.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name
)
def test_lines_of_the_pages_are_short(path):
    text = re.sub(r"```.*?```|<!-- (\w+):start -->.*?<!-- \1:end -->", "", path.read_text("utf-8"), flags=re.DOTALL)
    for line in text.splitlines():
        assert len(line) <= 200 or line.startswith("|"), line
