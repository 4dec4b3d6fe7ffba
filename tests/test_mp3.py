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
import io

import numpy as np
import pytest
import soundfile

from audioslots_hf.mp3 import promised_samples, read_frame, skip_tags
from audioslots_hf.recordings import load_recording
from tests.audio_helpers import noise, tones


# title, cover and the like, a kilobyte of them
ID3_TAG = b"ID3\x03\x00\x00" + bytes([0, 0, 8, 7]) + bytes(8 * 128 + 7)


def encode(rate: int, num_channels: int, mode: str) -> bytes:
    """Three seconds that begin softly, so that a changing bit rate is guessed too low."""
    samples = np.concatenate([tones(rate, rate) / 50, noise(2 * rate)])
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples] * num_channels, axis=1), rate, format="MP3", bitrate_mode=mode)
    return file.getvalue()


def without_length(content: bytes) -> bytes:
    """An MP3 as a stream has it: without the first frame, which holds its length and no sound."""
    start = skip_tags(io.BytesIO(content))
    frame = read_frame(content, start)
    assert content[start + frame.data_start :].startswith((b"Xing", b"Info"))
    return content[:start] + content[start + frame.num_bytes :]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_a_file_that_does_not_say_how_long_it_is_is_read_whole(rate, num_channels, mode):
    content = encode(rate, num_channels, mode)
    assert promised_samples(io.BytesIO(content)) == 3 * rate
    expected = load_recording(content, rate).waveforms
    assert expected.shape == (num_channels, 3 * rate)
    for tag in (b"", ID3_TAG):
        assert promised_samples(io.BytesIO(tag + without_length(content))) is None
        found = load_recording(tag + without_length(content), rate).waveforms
        # an encoder adds a frame and the delay of its filters in front, and pads the last frame
        delay = found.shape[1] - expected.shape[1]
        assert 0 <= delay < 3 * 1152
        errors = [(found[:, d : d + expected.shape[1]] - expected).abs().max() for d in range(min(delay, 1200) + 1)]
        assert min(errors) < 1e-5


def test_a_file_that_says_how_long_it_is_wrongly_is_still_truncated():
    content = encode(16000, 1, "CONSTANT")
    with pytest.raises(ValueError, match="the given bytes is truncated: its header promises 48000 samples"):
        load_recording(content[: len(content) // 2], 16000)


@pytest.mark.parametrize(
    "end", [b"TAG" + bytes(125), b"APETAGEX" + bytes(5000), b"\xff\xfb\x90", bytes(5000), ID3_TAG]
)
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_what_lies_behind_an_mp3_costs_no_sound(mode, end):
    for content in (encode(16000, 1, mode), without_length(encode(16000, 1, mode))):
        expected = load_recording(content, 16000).waveforms
        found = load_recording(content + end, 16000).waveforms
        # a broken frame may be concealed with one of silence
        assert 0 <= found.shape[1] - expected.shape[1] <= 1152
        assert (found[:, : expected.shape[1]] - expected).abs().max() < 1e-6


def test_an_mp3_that_was_appended_to_another_is_read():
    content = encode(16000, 1, "VARIABLE")
    first = load_recording(content, 16000).waveforms
    both = load_recording(content + content, 16000).waveforms
    assert (both[:, : first.shape[1]] - first).abs().max() < 1e-6
    # the padding of the encoders remains in the middle
    assert 2 * 48000 <= both.shape[1] < 2 * 48000 + 4 * 1152
    assert both[:, -40000:].std().item() == pytest.approx(first[:, -40000:].std().item(), rel=0.1)


@pytest.mark.parametrize("content", [b"", b"ID3", b"\xff\xfb", b"\xff\xfb\xf0\x00" + bytes(2000), bytes(2000)])
def test_what_holds_no_frame_promises_nothing(content):
    assert promised_samples(io.BytesIO(content)) is None
