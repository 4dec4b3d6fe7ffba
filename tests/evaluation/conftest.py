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
"""Mixtures and tiny models at their rate, which the tests of the evaluation share."""

import pytest
import torch

from audioslots_hf import (
    AudioSlotsFeatureExtractor,
    AudioSlotsForAudioSeparation,
    GalrConfig,
    GalrForAudioSeparation,
    WaveformFeatureExtractor,
)
from tests.conftest import SAMPLES, TINY_DUAL_PATH, tiny_audioslots_config
from training.arguments import MixtureArguments
from training.data.mixtures import Mixture, load_mixtures


@pytest.fixture(scope="module")
def mixtures() -> list[Mixture]:
    listed = MixtureArguments(metadata=str(SAMPLES / "valid.csv"), root=str(SAMPLES / "speech"))
    mixtures = load_mixtures(listed, 16000, num_sources=2)
    return [mixtures[index] for index in range(len(mixtures))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model of two sources at the rate of the samples, with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = tiny_audioslots_config(sampling_rate=16000, chunk_length=4000, n_fft=512, hop_length=250)
    AudioSlotsForAudioSeparation(config).save_pretrained(folder)
    AudioSlotsFeatureExtractor(chunk_length=4000, n_fft=512, hop_length=250).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def waveform_checkpoint(tmp_path_factory):
    """A GALR at the rate of the samples, with random weights."""
    folder = tmp_path_factory.mktemp("galr")
    torch.manual_seed(0)
    values = {**TINY_DUAL_PATH, "encoder_kernel_size": 64, "num_attention_heads": 2}
    values |= {"sampling_rate": 16000, "chunk_length": 16000}
    GalrForAudioSeparation(GalrConfig(**values)).save_pretrained(folder)
    WaveformFeatureExtractor(chunk_length=16000).save_pretrained(folder)
    return folder
