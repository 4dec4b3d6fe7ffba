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
import warnings

import numpy as np
import pytest
import torch

from audioslots_hf.waveforms import batch_references, batch_waveforms, count_samples, find_offset, to_waveform
from tests.audio_helpers import noise


INTEGER_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]


@pytest.mark.parametrize("make", [np.array, lambda values, dtype: torch.tensor(values, dtype=getattr(torch, dtype))])
@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_integer_pcm_is_scaled_by_the_range_of_its_type(dtype, make):
    info = np.iinfo(dtype)
    silence = 0 if info.min < 0 else info.max // 2 + 1
    waveform = to_waveform(make([info.min, silence, silence + (info.max - silence) // 2 + 1, info.max], dtype=dtype))
    assert waveform.dtype == torch.float32
    # the largest value is one step below 1
    expected = torch.tensor([-1.0, 0.0, 0.5, 1 - 2.0 ** (1 - info.bits)])
    torch.testing.assert_close(waveform, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_64_bits_are_refused_for_nobody_records_them(dtype):
    # a list of PCM values becomes int64: scaled by its range it would be silence
    with pytest.raises(ValueError, match=f"{dtype}.*Convert PCM"):
        to_waveform(np.array([1000, 2000], dtype=dtype))


def read_only(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values.flags.writeable = False
    return values


@pytest.mark.parametrize(
    "convert",
    [
        np.float16,
        np.float32,
        np.float64,
        list,
        tuple,
        read_only,
        torch.from_numpy,
        lambda values: values.astype(">f4"),
        lambda values: values[::-1].copy()[::-1],
        lambda values: torch.from_numpy(values).to(torch.bfloat16),
        lambda values: torch.from_numpy(values).requires_grad_(),
    ],
    ids=[
        "float16",
        "float32",
        "float64",
        "list",
        "tuple",
        "read-only",
        "tensor",
        "big-endian",
        "reversed",
        "bfloat16",
        "gradient",
    ],
)
def test_floats_of_any_kind_keep_their_values_without_a_warning(convert):
    # exact in eight bits of mantissa
    values = np.array([0.5, -0.25, 1.5, 0.0], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        waveform = to_waveform(convert(values))
    assert waveform.dtype == torch.float32 and not waveform.requires_grad
    assert waveform.tolist() == values.tolist()


@pytest.mark.parametrize(
    "audio, message",
    [
        ([], r"empty: its shape is \(0,\)"),
        (np.zeros((2, 0)), r"empty: its shape is \(2, 0\)"),
        (torch.zeros(0), "empty"),
        (np.array([0.0, np.nan, np.inf]), "2 NaN or infinite samples"),
        (torch.tensor([0.0, -torch.inf]), "1 NaN or infinite samples"),
        (np.array([True, False]), "type bool is not supported"),
        (torch.tensor([True]), "type torch.bool is not supported"),
        (np.array([1j]), "type complex128 is not supported"),
        (torch.tensor([1j]), "type torch.complex64 is not supported"),
        (["speech"], "not supported"),
    ],
)
def test_invalid_audio_raises_with_the_reason(audio, message):
    with pytest.raises(ValueError, match=message):
        to_waveform(audio)


@pytest.mark.parametrize(
    "audio",
    [
        [np.ones(3), np.ones(5)],
        [torch.ones(3), torch.ones(5)],
        [[1.0, 1.0, 1.0], [1.0] * 5],
        np.array([np.ones(3), np.ones(5)], dtype=object),
    ],
)
def test_a_ragged_list_is_padded_with_zeros_and_remembers_its_lengths(audio):
    waveforms, lengths = batch_waveforms(audio, padded_length=6)
    assert waveforms.tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]
    assert lengths == [3, 5]


@pytest.mark.parametrize("lengths", [[5], [5, 5, 5], [5, 3]])
def test_lengths_become_integers_of_the_model_s_device(lengths):
    num_samples = count_samples(lengths, torch.device("cpu"))
    assert num_samples.dtype == torch.int64 and num_samples.tolist() == lengths


@pytest.mark.parametrize("audio", [np.ones(4), torch.ones(4), [1.0] * 4, np.ones((1, 4))])
def test_one_waveform_is_a_batch_of_one(audio):
    waveforms, lengths = batch_waveforms(audio, padded_length=4)
    assert waveforms.tolist() == [[1, 1, 1, 1]] and lengths == [4]


@pytest.mark.parametrize(
    "audio, message",
    [
        (np.zeros((1, 2, 3)), r"shape \(1, 2, 3\) is not supported"),
        ([np.zeros((2, 3))], r"one dimension, not the shape \(2, 3\): split the channels"),
        (np.zeros(9), "9 samples but the model takes at most 8"),
        (np.zeros((500, 2)), r"shape \(500, 2\) looks like 2 channels"),
        (None, "type NoneType is not supported"),
        ("speech.wav", "type str is not supported"),
        ({"array": np.zeros(8)}, "type dict is not supported: .*load_separator"),
        (np.zeros((0, 4)), r"empty: its shape is \(0, 4\)"),
        (np.array(1.0), "empty"),
        ([], "the list holds no waveform"),
        ([np.zeros(3), np.zeros(0)], "empty"),
    ],
)
def test_a_batch_that_does_not_fit_raises_and_says_why(audio, message):
    with pytest.raises(ValueError, match=message):
        batch_waveforms(audio, padded_length=8)


def test_audio_on_another_device_is_not_waited_for():
    """To read a value of a tensor on the meta device is an error, where on a GPU it is a wait."""
    waveforms, lengths = batch_waveforms(torch.empty(2, 100, device="meta"), padded_length=120)
    assert waveforms.shape == (2, 120) and lengths == [100, 100]
    assert batch_references(torch.empty(2, 3, 100, device="meta"), lengths, 120).shape == (2, 3, 120)


@pytest.mark.parametrize("offset, found", [(0.0, 0.0), (0.02, 0.0), (-0.05, -0.05), (0.4, 0.4)])
def test_an_offset_counts_only_beyond_that_of_speech(offset, found):
    waveform = torch.from_numpy(noise(8000))
    waveform = waveform - waveform.mean() + offset
    # noise is at -20 dB; float32 has seven digits
    assert find_offset(waveform, 8000).item() == pytest.approx(found, abs=1e-6)


def test_silence_with_an_offset_is_silence_and_a_few_samples_have_none():
    assert find_offset(torch.full((8000,), 0.3), 8000).item() == pytest.approx(0.3, abs=1e-6)
    assert find_offset(torch.zeros(8000), 8000).item() == 0.0
    assert find_offset(torch.full((799,), 0.3), 8000).item() == 0.0
