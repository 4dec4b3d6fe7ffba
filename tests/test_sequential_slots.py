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
import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

from audioslots_hf import SlotGalrConfig, load_separator
from audioslots_hf.chunking import ChannelAligner, SeparatedChunks, Stitcher
from audioslots_hf.separator import CarriedSlots, Separator
from tests.audio_helpers import noise
from tests.conftest import tiny_waveform_feature_extractor
from tests.test_modeling_slot_galr import TINY, trained_model
from tests.training_helpers import debug_arguments, read_log
from training.loop import check_objective, train
from training.model import build_config
from training.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random SlotGALR in which every chunk depends on the one before."""
    folder = tmp_path_factory.mktemp("sequential")
    trained_model(SlotGalrConfig(**TINY, sequential_slots=True)).save_pretrained(folder)
    tiny_waveform_feature_extractor().save_pretrained(folder)
    return folder


@pytest.fixture
def pipeline(folder):
    return load_separator(folder, device="cpu", num_speakers="outputs")


def build(pipeline, **options):
    return Separator(pipeline.model, pipeline.feature_extractor, **options)


@pytest.mark.parametrize("num_channels", [1, 2])
def test_file_stream_and_pipeline_give_the_same(pipeline, num_channels, tmp_path):
    audio = noise(num_channels, 5000)
    expected = build(pipeline, batch_size=1).separate(torch.from_numpy(audio))
    for batch_size in (3, 16):
        parts = build(pipeline, batch_size=batch_size).stream(torch.from_numpy(audio).split(333, dim=-1))
        # other batch sizes sum in another order
        torch.testing.assert_close(torch.cat(list(parts), dim=-1), expected, atol=1e-5, rtol=0)
    soundfile.write(tmp_path / "audio.wav", audio.T, 8000, subtype="FLOAT")
    several = pipeline([str(tmp_path / "audio.wav"), {"array": audio, "sampling_rate": 8000}], batch_size=7)
    for sources in several:
        tracks = torch.from_numpy(np.stack([source["audio"] for source in sources])).view(2, -1, 5000)
        torch.testing.assert_close(tracks.transpose(0, 1), expected, atol=1e-5, rtol=0)


def test_the_pipeline_takes_its_options(pipeline):
    audio = noise(3000)
    default = np.stack([source["audio"] for source in pipeline(audio)])
    for options in ({"chunk_hop_length": 800}, {"passes": 2}):
        tracks = np.stack([source["audio"] for source in pipeline(audio, **options)])
        assert np.abs(tracks - default).max() > 1e-4
        np.testing.assert_allclose(tracks.sum(axis=0), audio, rtol=0, atol=1e-5)


def test_every_recording_begins_anew_also_in_a_common_batch(pipeline):
    recordings = [torch.from_numpy(noise(channels, length)) for channels, length in ((1, 2900), (2, 900), (1, 3000))]
    separator = build(pipeline, batch_size=4)
    chunks = (chunk for number, audio in enumerate(recordings) for chunk in separator.cut([audio], recording=number))
    parts = [[], [], []]
    for part, chunk in separator.stream_chunks(chunks):
        parts[chunk.recording].append(part)
    for audio, found in zip(recordings, parts, strict=True):
        torch.testing.assert_close(torch.cat(found, dim=-1), build(pipeline).separate(audio), atol=1e-5, rtol=0)


def test_a_gap_of_any_length_changes_nothing_behind_it(pipeline):
    before, behind = torch.from_numpy(noise(2, 1600)).unsqueeze(1).unbind()
    separator = build(pipeline, chunk_hop_length=800)
    found = []
    for num_chunks in (1, 40):
        audio = torch.cat([before, torch.zeros(1, 800 * num_chunks), behind], dim=-1)
        found.append(separator.separate(audio)[..., -1600:])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    # a recording that begins behind the gap is another one
    assert (separator.separate(behind) - found[0]).abs().max() > 1e-2


def test_the_state_is_that_of_the_last_chunk_of_each_channel(pipeline):
    audio = torch.from_numpy(noise(2, 2000))
    separator = build(pipeline, chunk_hop_length=400)
    carried = CarriedSlots()
    [*chunks, last] = separator.cut([audio])
    separator.separate_chunks(chunks, carried)
    slots = carried.slots
    assert slots.shape == (2, 2, 16)
    separator.separate_chunks(chunks[-1:], carried)
    assert not torch.equal(carried.slots, slots)
    separator.separate_chunks([last], carried)
    assert carried.slots is None


def test_the_order_of_the_model_is_not_changed():
    estimates = torch.from_numpy(noise(3, 1, 2, 40))
    stitcher = Stitcher(40, 40, 8000, keeps_order=True)
    for index, chunk in enumerate((estimates[0], estimates[0].flip(1), estimates[2])):
        # but for rounding in the window
        torch.testing.assert_close(stitcher.add(SeparatedChunks(chunk), index == 2), chunk)


def test_channels_keep_their_order_also_where_one_is_silent():
    low, high = torch.from_numpy(noise(2, 3, 800))
    low = low.cumsum(-1) / 10
    aligner = ChannelAligner()
    for index in range(3):
        near = torch.stack([low[index], high[index]])
        # the first channel is silent in the second chunk
        chunk = torch.stack([near * (index != 1), 0.5 * near.flip(0)])
        assert torch.equal(aligner.align(chunk)[1], 0.5 * near)


def sequential_arguments(output_dir, *overrides):
    settings = {
        "model_type": "slot_galr",
        **TINY,
        "sampling_rate": 16000,
        "chunk_length": 4000,
        "sequential_slots": True,
    }
    turns = "{type: turns, share: 1.0}"
    arguments = debug_arguments(
        output_dir,
        "num_chunks=2",
        "batch_size=1",
        "max_steps=2",
        "log_steps=1",
        f"augmentations=[{turns}]",
        *overrides,
    )
    arguments.model = settings
    return arguments


def test_training_on_chunks_of_turns_resumes_exactly_and_reaches_the_projection(tmp_path):
    settings = ("valid_steps=2", "num_valid_mixtures=1")
    whole = train(sequential_arguments(tmp_path / "whole", *settings))
    for _ in range(2):
        train(sequential_arguments(tmp_path / "parts", *settings, "max_minutes=0"))
    for key in ("loss", "valid_si_snri"):
        assert read_log(tmp_path / "parts", key) == read_log(tmp_path / "whole", key) != {}
    assert AutoModel.from_pretrained(whole).model.slots.previous_proj.weight.abs().max() > 0


def test_mixtures_of_mixtures_do_not_train_sequential_slots(tmp_path):
    arguments = sequential_arguments(tmp_path, "objective=mixit")
    with pytest.raises(SettingsError, match="'mixit'.*sequential_slots"):
        check_objective(arguments, build_config(arguments.model))
