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

from audioslots_hf.audio import open_audio
from audioslots_hf.containers import is_exact
from audioslots_hf.recordings import load_recording
from tests.audio_helpers import encode, noise, with_data_size, with_unknown_length


def wav(num_samples: int = 1000, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(num_samples), 16000, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return file.getvalue()


def with_riff_size(content: bytes, num_bytes: int) -> bytes:
    return content[:4] + num_bytes.to_bytes(4, "little") + content[8:]


CLOSED = wav()
# content, sentence
ODD_WAVS = {
    "unclosed": (
        with_riff_size(with_data_size(CLOSED, 0), 0),
        "was not closed: its header says that it holds no samples",
    ),
    "header counted": (with_data_size(CLOSED, len(CLOSED)), "as if its header were counted: all are read"),
    "riff size alone": (with_riff_size(CLOSED, 0), None),
    "streamed": (with_riff_size(with_data_size(CLOSED, 0xFFFFFFFF), 0xFFFFFFFF), None),
}


@pytest.mark.parametrize("name", ODD_WAVS)
def test_a_wav_with_a_wrong_header_is_read_to_its_end_with_a_warning(tmp_path, caplog, name):
    content, sentence = ODD_WAVS[name]
    (tmp_path / "a.wav").write_bytes(content)
    expected = soundfile.read(io.BytesIO(CLOSED), dtype="float32")[0]
    np.testing.assert_array_equal(load_recording(tmp_path / "a.wav", 16000).waveforms[0].numpy(), expected)
    assert (sentence in caplog.text) if sentence else not caplog.text


@pytest.mark.parametrize("behind", [CLOSED, b"\x01" * 500])
def test_what_lies_behind_the_samples_of_a_wav_is_told(caplog, behind):
    assert load_recording(CLOSED + behind, 16000).waveforms.shape == (1, 1000)
    assert f"holds {len(behind)} bytes behind its samples" in caplog.text


def test_a_chunk_behind_the_samples_is_no_fault(caplog):
    assert load_recording(CLOSED + b"LIST" + (4).to_bytes(4, "little") + b"INFO", 16000).waveforms.shape == (1, 1000)
    assert caplog.text == ""


def test_an_mp3_in_a_wav_is_read_with_a_warning(tmp_path, ffmpeg, caplog):
    path = encode(ffmpeg, tmp_path / "a.wav", noise(16000), 16000, "-c:a", "libmp3lame")
    assert load_recording(path, 16000).waveforms.shape[1] >= 16000
    assert "a.wav is an MP3 in a wav" in caplog.text


def test_a_flac_that_does_not_say_how_long_it_is_is_read(tmp_path):
    content = wav(5000, format="FLAC")
    assert is_exact(io.BytesIO(content)) and not is_exact(io.BytesIO(with_unknown_length(content)))
    expected = load_recording(content, 16000).waveforms
    np.testing.assert_array_equal(load_recording(with_unknown_length(content), 16000).waveforms, expected)


def test_a_wav_is_a_wav_whatever_it_is_called(tmp_path):
    for name in ("a.raw", "a.mp3", "a.m4a", "a.gsm", "a"):
        (tmp_path / name).write_bytes(CLOSED)
        with open_audio(tmp_path / name) as audio:
            assert (audio.sampling_rate, audio.num_samples) == (16000, 1000)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 999_983, 2**31 - 1])
def test_a_rate_that_cannot_be_meant_is_refused_before_any_work(rate):
    content = bytearray(CLOSED)
    content[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(ValueError, match="has a sampling rate of|cannot be read as audio"):
        load_recording(bytes(content), 16000)


def test_channels_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match="has 100 channels: 1 to 64 are supported"):
        file = io.BytesIO()
        soundfile.write(file, noise(10, 100), 16000, format="WAV")
        load_recording(file.getvalue(), 16000)


@pytest.mark.parametrize("num_samples", [2**36 - 1, 2**30])
def test_a_flac_that_promises_more_than_it_holds_takes_no_memory_for_it(num_samples):
    content = bytearray(wav(5000, format="FLAC"))
    content[21] = content[21] & 0xF0 | num_samples >> 32
    content[22:26] = (num_samples & 0xFFFFFFFF).to_bytes(4, "big")
    with pytest.raises(ValueError, match="hours of audio|is truncated|cannot be decoded"):
        load_recording(bytes(content), 16000)


def test_a_small_file_of_endless_silence_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("audioslots_hf.bounds.FREE_NUM_VALUES", 100_000)
    soundfile.write(tmp_path / "bomb.flac", np.zeros(2_000_000, np.int16), 16000)
    with pytest.raises(ValueError, match="bomb.flac holds more than .* samples in .* bytes, .* `audioslots separate`"):
        load_recording(tmp_path / "bomb.flac", 16000)
    with open_audio(tmp_path / "bomb.flac") as audio:
        assert sum(block.shape[1] for block in audio.blocks()) == 2_000_000


@pytest.mark.parametrize("change", ["append", "replace"])
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, change):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(400_000))
    with open_audio(path) as audio, pytest.raises(ValueError, match="a.wav changed while it was read"):
        for _ in audio.blocks():
            if change == "append":
                with open(path, "ab") as file:
                    file.write(bytes(100))
            else:
                (tmp_path / "b.wav").write_bytes(CLOSED)
                (tmp_path / "b.wav").replace(path)
