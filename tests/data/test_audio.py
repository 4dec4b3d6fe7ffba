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

from audioslots_hf.recordings import load_recording
from audioslots_hf.suffixes import AUDIO_SUFFIXES
from tests.audio_helpers import noise
from tests.data.helpers import SPEECH, files_of
from training.benchmark.robustness import make_seeds
from training.data.audio import AudioError, SpanFile, audio_length, open_file, read_audio, read_header


@pytest.mark.parametrize("sampling_rate", [8000, 11025, 16000, 24000])
def test_a_span_equals_that_of_the_whole_file(sampling_rate):
    path = files_of(SPEECH)[0]
    whole = read_audio(path, sampling_rate)
    assert len(whole) == audio_length(path, sampling_rate)
    for start, num_samples in ((0, 500), (1, 999), (7001, 4000), (len(whole) - 100, 100), (len(whole) - 100, 500)):
        span = read_audio(path, sampling_rate, start, num_samples)
        # the filter sums in another order
        np.testing.assert_allclose(span, whole[start : start + num_samples], atol=1e-6)


def test_every_format_is_read_as_the_command_reads_it(tmp_path):
    for number, (suffix, content) in enumerate(make_seeds()):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(content)
        assert path.suffix in AUDIO_SUFFIXES
        expected = load_recording(path, 1)
        for file in (path, io.BytesIO(content)):
            assert read_header(file) == (expected.waveforms.shape[1], expected.sampling_rate)
            # by another library where libsndfile reads spans of an MP3
            whole = read_audio(file, expected.sampling_rate)
            np.testing.assert_allclose(whole, expected.waveforms.mean(dim=0), atol=1e-5)
            np.testing.assert_allclose(
                read_audio(file, expected.sampling_rate, 1000, 500), whole[1000:1500], atol=1e-5
            )


def write_mp3(path, seed: int = 0) -> bytes:
    soundfile.write(path, noise(16000, seed=seed), 16000)
    return path.read_bytes()


def test_an_mp3_is_read_in_spans_only_if_it_ends_where_its_first_frame_says(tmp_path):
    path = tmp_path / "a.mp3"
    whole = write_mp3(path)
    with open_file(path) as file:
        assert isinstance(file, SpanFile)
    path.write_bytes(whole + b"TAG" + bytes(125))
    with open_file(path) as file:
        assert isinstance(file, SpanFile) and file.frames == 16000
    path.write_bytes(whole + write_mp3(tmp_path / "b.mp3", seed=1))
    assert read_header(path).num_samples > 32000 < len(read_audio(path, 16000))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match="a.mp3 is truncated: its header promises 16000 samples"):
        read_header(path)


def test_spans_of_broken_files_are_refused_with_their_name(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(64000), 16000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    # the header is whole
    assert read_header(path).num_samples == 64000
    with pytest.raises(AudioError, match="a.flac cannot be read as audio"):
        read_audio(path, 16000, 48000, 1000)
    with pytest.raises(AudioError, match="the given bytes cannot be read as audio"):
        read_audio(io.BytesIO(b"text"), 16000)
    soundfile.write(tmp_path / "rate.wav", noise(100), 1)
    with pytest.raises(AudioError, match="rate.wav has a sampling rate of 1 Hz"):
        read_header(tmp_path / "rate.wav")
    with pytest.raises(AudioError, match="is a folder"):
        read_header(tmp_path)
