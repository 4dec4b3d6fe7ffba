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
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.data.helpers import SPEECH
from training.arguments import SpeechArguments
from training.data.mixer import SpeechMixer
from training.data.prepare import Prepared, prepare
from training.data.speech import load_speech


@pytest.fixture(scope="session")
def noise_folder(tmp_path_factory) -> Path:
    """Stereo noise, shorter and longer than the speech."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for name, num_samples in (("short", 20000), ("long", 100000)):
        soundfile.write(folder / f"{name}.wav", 0.05 * rng.standard_normal((num_samples, 2)), 16000)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, noise_folder) -> Prepared:
    """Every rate, mode and type of three mixtures."""
    out = tmp_path_factory.mktemp("prepared")
    prepared = Prepared(out, "test", 2, [8000, 16000], ["min", "max"], ["mix_clean", "mix_both", "mix_single"])
    prepare(SPEECH, prepared, 3, noise_folder)
    return prepared


@pytest.fixture(scope="session")
def in_memory_speech() -> list:
    return [load_speech(SpeechArguments(str(SPEECH)), 16000, show_progress=False)]


@pytest.fixture
def build_mixer(in_memory_speech):
    def build(*augmentations, crop_length: int = 4000, **options) -> SpeechMixer:
        return SpeechMixer(in_memory_speech, 2, crop_length, 16000, augmentations, **options)

    return build


@pytest.fixture(scope="session")
def dataset_rows(prepared) -> dict[str, list[str]]:
    folder = prepared.folder(16000, "min")
    names = sorted(path.name for path in (folder / "mix_both").iterdir())
    return {column: [str(folder / column / name) for name in names] for column in ("mix_both", "s1", "s2")}
