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
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from audioslots_hf.recordings import load_recording
from tests.audio_helpers import noise, serve, with_data_size


class Decoder:
    """A value of a decoded Audio column of `datasets`, with torchcodec's two names for its samples."""

    def __init__(self, samples, sampling_rate):
        self.data, self.sample_rate = torch.from_numpy(samples), sampling_rate

    def get_all_samples(self):
        return self


def dataset_row(columns: dict, decode_path: bool = False) -> dict:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({name: [value] for name, value in columns.items()})
    if decode_path:
        dataset = dataset.cast_column("audio", datasets.Audio(decode=False))
    return dataset[0]


# from a file and its samples to every form one may hold them in
FORMS = {
    "str": lambda path, samples: str(path),
    "Path": lambda path, samples: path,
    "bytes": lambda path, samples: path.read_bytes(),
    "bytearray": lambda path, samples: bytearray(path.read_bytes()),
    "array": lambda path, samples: {"array": samples, "sampling_rate": 11025},
    "raw": lambda path, samples: {"raw": torch.from_numpy(samples), "sampling_rate": np.int64(11025)},
    "list": lambda path, samples: {"array": samples.tolist(), "sampling_rate": 11025.0},
    "decoder": lambda path, samples: {"audio": Decoder(samples, 11025)},
    "BytesIO": lambda path, samples: io.BytesIO(path.read_bytes()),
    "open file": lambda path, samples: path.open("rb"),
    "samples": lambda path, samples: SimpleNamespace(data=torch.from_numpy(samples), sample_rate=11025),
    "tuple": lambda path, samples: (11025, samples),
    "row of path": lambda path, samples: dataset_row({"audio": str(path), "text": "hello"}),
    "row of numbers": lambda path, samples: dataset_row({"audio": samples, "sampling_rate": 11025}),
    "row of columns": lambda path, samples: dataset_row({"array": samples, "sampling_rate": 11025}),
    "undecoded row": lambda path, samples: dataset_row({"audio": str(path)}, decode_path=True),
    "row of bytes": lambda path, samples: {"audio": {"bytes": path.read_bytes(), "path": "elsewhere.wav"}},
    "row of struct": lambda path, samples: {"audio": {"array": samples, "path": None, "sampling_rate": 11025}},
}


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return noise(501)


@pytest.fixture(scope="module")
def path(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "speech.wav"
    soundfile.write(path, samples, 11025, subtype="FLOAT")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form, path, samples):
    recording = load_recording(FORMS[form](path, samples), sampling_rate=8000)
    assert (recording.sampling_rate, recording.layout) == (11025, "mono")
    assert recording.waveforms.dtype == torch.float32
    assert recording.waveforms.tolist() == [samples.tolist()]


@pytest.mark.parametrize("convert", [np.array, torch.from_numpy, np.ndarray.tolist])
def test_bare_samples_have_the_rate_that_is_given(convert, samples):
    recording = load_recording(convert(samples), sampling_rate=22050)
    assert recording.sampling_rate == 22050
    assert recording.waveforms.tolist() == [samples.tolist()]


@pytest.mark.parametrize("rate", [np.int32(44100), np.uint16(44100), 44100.0])
def test_a_rate_becomes_a_plain_number(rate, samples):
    for recording in (load_recording(samples, rate), load_recording({"audio": samples, "sampling_rate": None}, rate)):
        assert type(recording.sampling_rate) is int and recording.sampling_rate == 44100


def test_a_url_is_downloaded_and_a_bad_one_is_reported(path, samples):
    with serve(path.parent) as address:
        recording = load_recording(f"{address}/speech.wav", sampling_rate=8000)
        with pytest.raises(ValueError, match="missing.wav cannot be downloaded: .*404"):
            load_recording(f"{address}/missing.wav", sampling_rate=8000)
        with pytest.raises(ValueError, match="cannot be downloaded"):
            load_recording(f"{address}/a name with blanks.wav", sampling_rate=8000)
    assert recording.waveforms.tolist() == [samples.tolist()]
    with pytest.raises(ValueError, match="cannot be downloaded"):
        load_recording(f"{address}/speech.wav", sampling_rate=8000)


@pytest.mark.parametrize(
    "shape, layout, num_channels",
    [
        ((50,), "mono", 1),
        ((1, 50), "channels_first", 1),
        ((2, 50), "channels_first", 2),
        ((50, 2), "channels_last", 2),
        ((50, 1), "channels_last", 1),
    ],
)
@pytest.mark.parametrize("convert", [np.array, torch.from_numpy])
def test_the_layout_is_found_and_restored(shape, layout, num_channels, convert):
    samples = noise(*shape)
    recording = load_recording(convert(samples), sampling_rate=8000)
    assert recording.layout == layout
    assert recording.waveforms.shape == (num_channels, 50)
    np.testing.assert_array_equal(recording.restore_layout(recording.waveforms), samples)


@pytest.mark.parametrize("num_samples", [1, 2, 50])
def test_a_stereo_file_has_two_channels_however_short(num_samples, tmp_path):
    samples = noise(num_samples, 2)
    soundfile.write(tmp_path / "stereo.wav", samples, 8000, subtype="FLOAT")
    recording = load_recording(tmp_path / "stereo.wav", sampling_rate=8000)
    assert recording.layout == "channels_first"
    assert recording.waveforms.tolist() == samples.T.tolist()


def test_integer_samples_are_scaled():
    recording = load_recording({"array": np.array([0, 2**14], dtype=np.int16), "sampling_rate": 8000}, 8000)
    assert recording.waveforms.tolist() == [[0.0, 0.5]]


@pytest.mark.parametrize(
    "file_format, subtype", [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
def test_the_bytes_of_every_format_keep_their_length(file_format, subtype):
    file = io.BytesIO()
    soundfile.write(file, noise(1234, 2), 16000, format=file_format, subtype=subtype)
    recording = load_recording(file.getvalue(), sampling_rate=8000)
    assert recording.waveforms.shape == (2, 1234) and recording.sampling_rate == 16000


@pytest.mark.parametrize(
    "audio, message",
    [
        (None, "type NoneType is not supported"),
        (("a.wav",), "type tuple is not supported"),
        ({"array": np.zeros(3)}, "'array' has no 'sampling_rate'"),
        ({"raw": np.zeros(3), "sampling_rate": None}, "'raw' has no 'sampling_rate'"),
        ({"audio": np.zeros(3), "sampling_rate": -1}, "`sampling_rate` is -1: it must be a positive"),
        ({"array": np.zeros(3), "sampling_rate": 0}, "`sampling_rate` is 0: it must be a positive"),
        ({"array": np.zeros(3), "sampling_rate": "16000"}, "`sampling_rate` is '16000': it must be a positive"),
        (
            {"array": np.zeros(3), "sampling_rate": 1},
            "The audio has a sampling rate of 1 Hz: 1000 to 768000 Hz are supported",
        ),
        (io.StringIO("text"), "is open as text: open it in binary mode"),
        ({"text": "hello"}, r"has the keys \['text'\]: it needs 'array'"),
        ({"bytes": None, "path": None}, "it needs 'array' and 'sampling_rate', or 'path'"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\) is not supported"),
        (np.zeros(0), "empty"),
        (np.zeros((0, 2)), "empty"),
        ([], "empty"),
        (np.array([np.nan]), "1 NaN"),
        (b"this is a text", "the given bytes cannot be read as audio"),
        (b"", "the given bytes cannot be read as audio"),
    ],
)
def test_what_is_no_recording_raises_and_says_why(audio, message):
    with pytest.raises(ValueError, match=message):
        load_recording(audio, sampling_rate=8000)


def test_a_missing_file_and_a_folder_are_reported_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'missing.wav'} does not exist"):
        load_recording(tmp_path / "missing.wav", sampling_rate=8000)
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a folder: name a file"):
        load_recording(str(tmp_path), sampling_rate=8000)


def truncate(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


@pytest.mark.parametrize(
    "suffix, spoil, message",
    [
        (".wav", truncate, "truncated: its header promises 40000 bytes"),
        (".aiff", truncate, "truncated: its header promises"),
        (".au", truncate, "truncated: its header promises"),
        (".rf64", truncate, "truncated: its header promises"),
        (".w64", truncate, "truncated: its header promises"),
        (".mp3", truncate, "truncated: its header promises 20000 samples"),
        (
            ".mp3",
            lambda content: b"A text, not audio.\n" * 50,
            "cannot be read as audio: Invalid data found",
        ),
        (".mp3", lambda content: b"", "cannot be read as audio: it is empty"),
        (".flac", truncate, "cannot be decoded after sample 0"),
        (".wav", lambda content: b"A text, not audio.\n" * 50, "cannot be read as audio"),
        (".raw", lambda content: content[44:], "cannot be read as audio"),
        (".wav", lambda content: content[:44], "truncated: its header promises 40000 bytes of samples, it holds 0"),
        (
            ".wav",
            lambda content: with_data_size(content[:44], 0),
            "cannot be read as audio|empty: it holds no samples",
        ),
    ],
)
def test_a_spoilt_file_is_reported_by_name(suffix, spoil, message, tmp_path):
    path = tmp_path / f"spoilt{suffix}"
    file = io.BytesIO()
    soundfile.write(file, noise(20000), 8000, format="WAV" if suffix == ".raw" else suffix[1:])
    path.write_bytes(spoil(file.getvalue()))
    with pytest.raises(ValueError, match=f"spoilt{suffix} .*({message})"):
        load_recording(path, sampling_rate=8000)


@pytest.mark.parametrize("num_bytes", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_streamed_wav_which_promises_the_largest_size_is_read_whole(num_bytes):
    file = io.BytesIO()
    soundfile.write(file, noise(100), 8000, format="WAV", subtype="PCM_16")
    recording = load_recording(with_data_size(file.getvalue(), num_bytes), sampling_rate=8000)
    assert recording.waveforms.shape == (1, 100)


def test_without_soundfile_the_message_names_the_fix(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match="pip install soundfile"):
        load_recording(path, sampling_rate=8000)


@pytest.mark.parametrize("sampling_rate", [0, -8000, 16000.7, float("nan")])
def test_a_rate_that_is_none_is_refused(sampling_rate):
    with pytest.raises(ValueError, match="it must be a positive whole number of hertz"):
        load_recording(np.zeros(10, np.float32), sampling_rate=sampling_rate)
