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
"""The site of the documentation, its notebook and its picture."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest
from ruamel.yaml import YAML


ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"
# what a browser fetches by itself
FETCHED = re.compile(r"<(?:script|img|audio|source|iframe|link)\b[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^>]*>")


def list_pages(entries: list) -> list[str]:
    """The pages of a nav, at any depth."""
    pages = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        pages += [value] if isinstance(value, str) else list_pages(value)
    return pages


def test_every_page_of_the_documentation_has_a_place_in_the_site():
    pages = list_pages(YAML(typ="safe").load((ROOT / "website" / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    assert len(set(pages)) == len(pages)


def test_the_pages_of_the_site_are_links_into_the_repository():
    links = [path for path in (ROOT / "website" / "pages").rglob("*") if path.is_symlink()]
    assert len(links) > 10
    for path in links:
        assert not path.readlink().is_absolute() and path.resolve().is_relative_to(ROOT) and path.exists(), path


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5 and all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_the_picture_of_the_architecture_is_a_drawing_without_other_files():
    text = (ROOT / "docs" / "waveform.svg").read_text("utf-8")
    names = {element.text for element in xml.etree.ElementTree.fromstring(text).iter() if element.text}
    assert {"Read", "Resample", "Cut", "Model", "Join", "Tracks", "Voice encoder"} <= names
    assert "href" not in text and "url(http" not in text


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_pages_load_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    # no proxy answers there: a build that asks the network fails
    network = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | network | {"PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "website/mkdocs.yml", "-d", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "docs/models.html", "reference/models.html"} <= {
        path.relative_to(tmp_path).as_posix() for path in pages
    }
    for path in [*pages, *tmp_path.rglob("*.css")]:
        text = path.read_text("utf-8")
        assert not FETCHED.search(text) and not re.search(r"url\(['\"]?(?:https?:)?//", text), path
    models = (tmp_path / "reference" / "models.html").read_text("utf-8")
    # an argument that only the decorator of the class documents
    assert "summary_length" in models
    check_notebook((tmp_path / "examples" / "first_steps.html").read_text("utf-8"))


def check_notebook(page: str) -> None:
    """The outputs of the notebook are in its page: sounds, two pictures, scores, and the people."""
    assert page.count("data:audio/wav") == 6 and page.count("output_") == 2
    improvements = [float(number) for number in re.findall(r"SI-SNRi (-?[\d.]+) dB", page)]
    assert len(improvements) == 2 and min(improvements) > 5
    people = re.findall(r"source_\d \[(.*?)\]", page)
    assert len(people) == 2 and all(person.count(" to ") >= 1 for person in people)
    assert "Warning" not in page and str(ROOT) not in page
