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
"""The files around the code say the same as the code: linters, continuous integration, citation, contributing."""

import re
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from audioslots_hf import __version__


ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read_yaml(name: str) -> dict:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def test_the_hooks_before_a_commit_have_the_pinned_linters():
    hooks = read_yaml(".pre-commit-config.yaml")["repos"][0]["hooks"]
    hooked = {package for hook in hooks for package in hook["additional_dependencies"]}
    linters = {
        item
        for item in PROJECT["project"]["optional-dependencies"]["dev"]
        if re.match(r"ruff|.*mlinter|hadolint", item)
    }
    assert hooked == linters and all("==" in package for package in linters)
    gates = re.search(r'echo "== gates"\n(.*?)echo', (ROOT / ".ci" / "run").read_text("utf-8"), re.DOTALL)[1]
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in hooks]
    assert entries == [line.removesuffix(" --check") for line in gates.splitlines()]


def test_continuous_integration_runs_the_script_and_nothing_else():
    [job] = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    [python] = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert PROJECT["project"]["requires-python"] == f">={python}"


def test_the_citation_names_this_version_and_the_papers_of_the_families():
    citation = read_yaml("CITATION.cff")
    # the keys that the schema of version 1.2.0 requires
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == PROJECT["project"]["version"] == __version__
    assert citation["title"] == PROJECT["project"]["name"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["project"]["authors"]
    ]
    cited = {paper["identifiers"][0]["value"].removeprefix("arXiv:") for paper in citation["references"]}
    families = (ROOT / "README.md").read_text("utf-8").split("## ")[0]
    assert cited == set(re.findall(r"arxiv\.org/abs/([\d.]+)", families))
    for paper in citation["references"]:
        assert paper["title"] and paper["type"] in ("article", "conference-paper")
        assert all({"family-names", "given-names"} == set(author) for author in paper["authors"])


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.stem != "config"], ids=lambda path: path.stem)
def test_the_templates_of_issues_are_forms_that_ask_for_something(path):
    form = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    identifiers = [field["id"] for field in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(field["attributes"]["label"] for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_every_file_that_contributing_names_exists():
    names = re.findall(r"`((?:src|training|tests|docs|\.github|\.ci)/[^`<*]+)`", CONTRIBUTING)
    assert len(names) > 10
    for name in names:
        assert (ROOT / name).exists(), name


def test_contributing_holds_its_own_rules():
    assert len(re.findall(r"^\d+\. ", CONTRIBUTING, re.MULTILINE)) == 10
    assert PROJECT["project"]["optional-dependencies"]["dev"] and '-e ".[train,plot,dev]"' in CONTRIBUTING
    text = re.sub(r"```.*?```|^\|.*?$|^#.*?$", "", CONTRIBUTING, flags=re.DOTALL | re.MULTILINE)
    for sentence in re.split(r"(?<=[.:])\s+|\n\n|\n\* |\n\d+\. ", text):
        assert len(sentence.split()) <= 30, sentence
