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
import subprocess
import sys
from pathlib import Path

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
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout + process.stderr == ""
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [
            line for line in lines if line.startswith(("import torchaudio", "from torchaudio", "import torchcodec"))
        ]


def test_every_source_file_has_the_licence_header():
    root = Path(__file__).parents[1]
    files = [*SOURCES, *root.glob("training/**/*.py"), *root.glob("tests/**/*.py")]
    missing = [
        str(path) for path in files if path.stat().st_size and "Apache License" not in path.read_text("utf-8")[:200]
    ]
    assert missing == []
