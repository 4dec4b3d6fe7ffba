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
"""Tiny models and audio that the tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from audioslots_hf import (
    AudioSlotsConfig,
    AudioSlotsFeatureExtractor,
    AudioSlotsForAudioSeparation,
    WaveformFeatureExtractor,
    load_separator,
)
from audioslots_hf.cli import main
from tests.audio_helpers import list_ffmpegs
from tests.loopback_hub import TOKEN, run_hub
from tests.processes import BareProcesses


SAMPLES = Path(__file__).parent / "samples"
# the AudioSlots that ships beside DEFAULT_CHECKPOINT
AUDIOSLOTS_CHECKPOINT = "audioslots-small"


# one thread is faster on tiny tensors, and the processes of pytest-xdist and of the tests share the cores
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run all tests in a process per core, at most four, and named ones in this process: every process loads torch."""
    return min(4, os.cpu_count() or 1) if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def tiny_audioslots_config(**overrides) -> AudioSlotsConfig:
    """The paper's architecture with widths of a few units: 64 x 16 cells, 8 x 2 positions, 0.1 s chunks at 8 kHz."""
    values = {
        "sampling_rate": 8000,
        "chunk_length": 800,
        "n_fft": 128,
        "hop_length": 50,
        "encoder_hidden_sizes": [4, 8, 8, 8],
        "encoder_depths": [1, 1, 1, 1],
        "num_groups": 2,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 8,
        "intermediate_size": 16,
        "num_fourier_frequencies": 4,
        "decoder_hidden_size": 16,
        "decoder_num_layers": 3,
    }
    return AudioSlotsConfig(**(values | overrides))


def tiny_audioslots_feature_extractor() -> AudioSlotsFeatureExtractor:
    """The feature extractor that fits [`tiny_audioslots_config`]."""
    return AudioSlotsFeatureExtractor(sampling_rate=8000, chunk_length=800, n_fft=128, hop_length=50)


TINY_DUAL_PATH = {
    "sampling_rate": 8000,
    "chunk_length": 800,
    "hidden_size": 8,
    "encoder_kernel_size": 8,
    "segment_length": 10,
    "lstm_hidden_size": 6,
    "num_hidden_layers": 2,
}


INVALID_DUAL_PATH = [
    {"num_sources": 1},
    {"num_sources": 0},
    {"encoder_kernel_size": 7},
    {"segment_length": 9},
    {"chunk_length": 801},
    {"hidden_size": "16"},
    {"lstm_hidden_size": 0},
    {"layer_norm_eps": 0.0},
]


def tiny_waveform_feature_extractor() -> WaveformFeatureExtractor:
    """The feature extractor that fits [`TINY_DUAL_PATH`]."""
    return WaveformFeatureExtractor(sampling_rate=8000, chunk_length=800)


@pytest.fixture(scope="session")
def bare_processes() -> Iterator[BareProcesses]:
    """Processes in which our package cannot be imported."""
    processes = BareProcesses()
    yield processes
    processes.close()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A folder with a tiny model with random weights and its feature extractor."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    AudioSlotsForAudioSeparation(tiny_audioslots_config()).save_pretrained(folder)
    tiny_audioslots_feature_extractor().save_pretrained(folder)
    return folder


@pytest.fixture
def separator(checkpoint):
    """The pipeline over the tiny model, on the CPU; its outputs as they are, since random weights tell no people apart."""
    return load_separator(checkpoint, device="cpu", num_speakers="outputs")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """A program that encodes and decodes, independent of the package."""
    programs = list_ffmpegs()
    if not programs:
        pytest.skip("there is no ffmpeg: install it, or imageio-ffmpeg from PyPI")
    return next(iter(programs.values()))


@pytest.fixture
def separate(checkpoint, tmp_path, capsys):
    """Run `audioslots separate` with the tiny model -> exit status, stdout and stderr."""

    def run(*arguments, output: Path = tmp_path / "out") -> tuple[int, str, str]:
        # the last of two options counts
        words = ["separate", "-o", output, "--model", checkpoint, "--device", "cpu"]
        # random weights tell no people apart
        if not {"--rttm", "--max-speakers", "split"} & set(arguments):
            words += ["--num-speakers", "outputs"]
        words += arguments
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def hub(monkeypatch):
    """A Hub on this machine, for this process."""
    with run_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # its storage has an own protocol, which the Hub on this machine lacks
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
