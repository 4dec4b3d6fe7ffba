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
import ast
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

import audioslots_hf
from tests.conftest import tiny_audioslots_config


SOURCES = sorted(Path(audioslots_hf.__file__).parent.glob("*.py"))


def test_importing_registers_everything(checkpoint):
    config = AutoConfig.for_model("audioslots")
    assert isinstance(config, audioslots_hf.AudioSlotsConfig)
    assert type(AutoModel.from_config(tiny_audioslots_config())) is audioslots_hf.AudioSlotsForAudioSeparation
    assert type(AutoFeatureExtractor.from_pretrained(checkpoint)) is audioslots_hf.AudioSlotsFeatureExtractor
    assert PIPELINE_REGISTRY.supported_tasks["audio-to-audio"]["impl"] is audioslots_hf.AudioSeparationPipeline


def test_importing_prints_nothing_and_needs_neither_torchaudio_torchcodec_nor_matplotlib():
    code = "import sys; sys.modules |= dict.fromkeys(['torchaudio', 'torchcodec', 'matplotlib']); import audioslots_hf.cli"
    code += ", audioslots_hf.modeling_voice_encoder, audioslots_hf.modeling_voice_ensemble"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout + process.stderr == ""
    training = SOURCES[0].parents[2] / "training"
    for path in [*SOURCES, *training.rglob("*.py")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [
            line for line in lines if line.startswith(("import torchaudio", "from torchaudio", "import torchcodec"))
        ]


START = "import resource, sys; from _audioslots_command import main\n"
LOADED = """
print(sorted({"torch", "transformers", "numpy"} & sys.modules.keys()), resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


@pytest.mark.parametrize(
    "arguments, status, output",
    [
        (["--version"], 0, audioslots_hf.__version__),
        (["--help"], 0, "usage: audioslots"),
        (["separate", "--help"], 0, "chunks per forward pass"),
        (["separate"], 2, "the following arguments are required: FILE|DIR"),
        (["separate", "a.wav", "-o", "out", "--batch-size", "0"], 1, "`--batch-size` is 0"),
        (["separate", "a.wav", "--model", "galr-smal"], 2, "did you mean 'galr-small'?"),
        (["models", "--json"], 0, '"name": "galr-small", "is_default": true'),
    ],
)
def test_the_command_answers_before_it_loads_anything(tmp_path, arguments, status, output):
    code = f"try: status = main({arguments})\nexcept SystemExit as error: status = error.code"
    process = subprocess.run(
        [sys.executable, "-c", f"{START}{code}\nprint(status){LOADED}"], capture_output=True, text=True, cwd=tmp_path
    )
    *_, printed_status, loaded = process.stdout.splitlines()
    assert output in process.stdout + process.stderr and int(printed_status) == status
    modules, cpu_s = loaded.rsplit(" ", 1)
    # of about 0.05
    assert modules == "[]" and float(cpu_s) < 0.5


@pytest.mark.parametrize(
    "imports",
    [
        # each order needs a process that loads everything; the last two are the ones that a lazy import would break
        pytest.param("import audioslots_hf; from transformers import AutoConfig, pipelines", marks=pytest.mark.slow),
        pytest.param("from transformers import AutoConfig, pipelines; import audioslots_hf", marks=pytest.mark.slow),
        "from audioslots_hf.loading import load_separator; from transformers import AutoConfig, pipelines",
        # also in the process of the command
        "import _audioslots_command, audioslots_hf.loading; from transformers import AutoConfig, pipelines",
    ],
)
def test_transformers_finds_the_families_whatever_is_imported_first(imports):
    code = (
        "print(AutoConfig.for_model('galr').model_type, *pipelines.PIPELINE_REGISTRY.check_task('audio-to-audio')[:1])"
    )
    process = subprocess.run([sys.executable, "-c", f"{imports}; {code}"], capture_output=True, text=True, check=True)
    assert process.stdout == "galr audio-to-audio\n"


def test_the_package_holds_its_public_names_and_modules_only():
    names = {name for name in dir(audioslots_hf) if not name.startswith("_")}
    modules = {path.stem for path in SOURCES}
    assert names - modules - {"sys", "TYPE_CHECKING"} == set(audioslots_hf.__all__)
    assert all(getattr(audioslots_hf, name).__name__ == name for name in audioslots_hf.__all__)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stem != "__init__"], ids=lambda path: path.stem)
def test_every_module_lists_its_public_names(path):
    """The modules of a family list its classes, as in transformers; the others list all functions and classes."""
    tree = ast.parse(path.read_text("utf-8"))
    [listed] = [ast.literal_eval(node.value) for node in tree.body if "__all__" in assigned_names(node)]
    defined = {name for node in tree.body for name in assigned_names(node)}
    assert set(listed) <= defined and len(set(listed)) == len(listed)
    if not path.stem.startswith(("configuration_", "modeling_", "feature_extraction_")):
        callables = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert {name for name in callables if not name.startswith("_")} <= set(listed)
        assert not [name for name in listed if name.startswith("_")]


def assigned_names(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, without those that it imports."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [name.id for target in targets for name in ast.walk(target or ast.Pass()) if isinstance(name, ast.Name)]


def test_every_source_file_has_the_licence_header():
    root = Path(__file__).parents[1]
    files = [*SOURCES, *(path for name in ("training", "tests", "examples") for path in root.glob(f"{name}/**/*.py"))]
    missing = [
        str(path) for path in files if path.stat().st_size and "Apache License" not in path.read_text("utf-8")[:200]
    ]
    assert missing == []
