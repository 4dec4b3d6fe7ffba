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

from audioslots_hf.audio import BLOCK_S, TrackWriter, open_audio, output_format
from tests.audio_helpers import encode, noise


# the default subtype of soundfile for each format
FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
}


def write(path, samples: np.ndarray, rate: int = 8000, **options):
    file_format, subtype = FORMATS[path.suffix.lower()]
    soundfile.write(path, samples, rate, **({"format": file_format, "subtype": subtype} | options))
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_the_blocks_of_every_format_are_what_soundfile_reads_at_once(suffix, num_channels, tmp_path):
    # two blocks and an odd rest
    path = write(tmp_path / f"a{suffix}", noise(2 * BLOCK_S * 8000 + 777, num_channels))
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    with open_audio(path) as audio:
        assert (audio.sampling_rate, audio.num_channels, audio.num_samples) == (8000, num_channels, len(whole))
        blocks = list(audio.blocks())
    assert len(blocks) == 3 and len(whole) == 2 * BLOCK_S * 8000 + 777
    # mp3 goes through FFmpeg, which rounds otherwise than mpg123
    atol = 3e-6 if suffix == ".mp3" else 0
    np.testing.assert_allclose(torch.cat(blocks, dim=-1).T.numpy(), whole, rtol=0, atol=atol)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rate", [8000, 48000])
def test_an_output_is_like_its_input(suffix, rate, tmp_path):
    path = write(tmp_path / f"a{suffix}", noise(500, 2), rate)
    with open_audio(path) as audio:
        assert output_format(audio) == (suffix, *FORMATS[suffix])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8", "ULAW"])
def test_an_output_has_the_subtype_of_its_input(subtype, tmp_path):
    path = write(tmp_path / "a.WAV", noise(500), subtype=subtype)
    with open_audio(path) as audio:
        assert output_format(audio) == (".WAV", "WAV", subtype)


def test_an_output_is_like_its_input_whatever_that_is_called(tmp_path):
    path = write(tmp_path / "a.wav", noise(500), subtype="FLOAT").rename(tmp_path / "a.wave")
    with open_audio(path) as audio:
        assert output_format(audio) == (".wave", "WAV", "FLOAT")


def test_what_cannot_be_written_becomes_a_16_bit_wav(tmp_path, ffmpeg):
    m4a = encode(ffmpeg, tmp_path / "a.m4a", noise(4000), 44100)
    misnamed = encode(ffmpeg, tmp_path / "a.mp3", noise(4000), 44100, "-f", "mp4", "-c:a", "aac")
    with open_audio(m4a) as first, open_audio(misnamed) as second:
        assert output_format(first) == output_format(second) == (".wav", "WAV", "PCM_16")


def test_a_track_is_called_after_its_format_where_its_name_would_mislead(tmp_path):
    path = write(tmp_path / "a.flac", noise(500)).rename(tmp_path / "a.mp3")
    with open_audio(path) as audio:
        assert output_format(audio) == (".flac", "FLAC", "PCM_16")


@pytest.mark.parametrize("place", [0, BLOCK_S * 8000 + 5])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_float_file_with_samples_that_are_no_numbers_raises_when_they_come(place, value, tmp_path):
    samples = noise(BLOCK_S * 8000 + 10)
    samples[place] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    num_before = place // (BLOCK_S * 8000) * BLOCK_S * 8000
    with open_audio(path) as audio, pytest.raises(ValueError, match=f"a.wav holds NaN .* after sample {num_before}"):
        list(audio.blocks())


def test_a_flac_that_breaks_off_raises_after_its_whole_blocks(tmp_path):
    path = write(tmp_path / "a.flac", noise(3 * BLOCK_S * 8000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = f"a.flac cannot be decoded after sample {BLOCK_S * 8000}"
    with open_audio(path) as audio, pytest.raises(ValueError, match=message):
        list(audio.blocks())


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        (
            "a.wav",
            lambda content: content[:-100],
            "is truncated: its header promises 1000 bytes of samples, it holds 900",
        ),
        ("a.wav", lambda content: b"", "cannot be read as audio"),
        ("a.wav", lambda content: b"a text, not audio\n" * 9, "cannot be read as audio"),
    ],
)
def test_a_spoilt_file_is_reported_when_it_is_opened(name, spoil, message, tmp_path):
    path = write(tmp_path / name, noise(500))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path} {message}"), open_audio(path):
        pass


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.wav does not exist"), open_audio(tmp_path / "missing.wav"):
        pass


def write_sources(paths, blocks, subtype="PCM_16"):
    with TrackWriter(paths, 8000, 1, "WAV", subtype) as writer:
        for block in blocks:
            writer.write(block)
        writer.save()
    return writer


@pytest.mark.parametrize(
    "peak, subtype, gain", [(0.5, "PCM_16", 1.0), (1.0, "PCM_16", 1.0), (2.0, "PCM_16", 0.5), (2.0, "FLOAT", 1.0)]
)
def test_sources_that_would_clip_share_one_gain(peak, subtype, gain, tmp_path):
    loud, quiet = peak * np.linspace(-1, 1, 101, dtype=np.float32), 0.1 * np.linspace(1, 0, 101, dtype=np.float32)
    # (num_channels, num_sources, num_samples), the peak at the very end
    blocks = torch.from_numpy(np.stack([loud, quiet])[None]).split(60, dim=-1)
    paths = [tmp_path / "0.wav", tmp_path / "1.wav"]
    writer = write_sources(paths, blocks, subtype)
    # a gain below 1 leaves one step of 16 bit free
    assert writer.gain == pytest.approx(gain, abs=1e-4)
    for path, expected in zip(paths, (loud, quiet), strict=True):
        assert soundfile.info(path).subtype == subtype
        # one step of 16 bit is 3e-5
        np.testing.assert_allclose(soundfile.read(path)[0], writer.gain * expected, rtol=0, atol=5e-5)


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path):
    paths = [tmp_path / "0.wav", tmp_path / "1.wav"]

    def blocks():
        yield torch.zeros(1, 2, 100)
        assert [path.name[:5] for path in tmp_path.iterdir()] == [".tmp-"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sources(paths, blocks())
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_to_save_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    paths = [tmp_path / "0.wav", tmp_path / "1.wav"]
    paths[0].write_text("older")
    monkeypatch.setattr(soundfile.SoundFile, "blocks", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_sources(paths, [torch.zeros(1, 2, 100)])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]
