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
"""Runs the notebook when the site is built, and makes a page of it."""

import tempfile
from pathlib import Path, PurePosixPath

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for each notebook, with its outputs; a cell that fails ends the build."""
    for path in [PurePosixPath(file.src_uri) for file in files if file.src_uri.endswith(".ipynb")]:
        notebook = run_notebook(Path(config.docs_dir, path).resolve())
        page, resources = MarkdownExporter().from_notebook_node(notebook)
        for name, content in {f"{path.stem}.md": page, **resources["outputs"]}.items():
            files.append(File.generated(config, str(path.with_name(name)), content=content))


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in its own folder."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        # files in place of ports, which another process may take before the kernel does
        config = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})
        NotebookClient(notebook, config=config, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook
