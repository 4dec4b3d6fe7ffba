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
import http.server
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots_hf import ffmpeg as ffmpeg_module
from audioslots_hf.audio import open_audio
from audioslots_hf.ffmpeg import FfmpegSound, TimedFile
from audioslots_hf.recordings import load_recording
from tests.audio_helpers import decode, encode, list_ffmpegs, noise, run_ffmpeg, tones


def read_all(path: Path) -> np.ndarray:
    """A file as the package reads it, `(num_samples, num_channels)`."""
    with open_audio(path) as audio:
        return np.concatenate([block.T.numpy() for block in audio.blocks()])


# name of the file, rate, number of channels, options of ffmpeg
FILES = [
    ("a.m4a", 16000, 1, ["-c:a", "aac"]),
    ("high.m4a", 96000, 2, ["-c:a", "aac"]),
    ("surround.m4a", 48000, 6, ["-c:a", "aac"]),
    ("a.mp4", 44100, 2, ["-c:a", "aac"]),
    ("a.aac", 44100, 1, ["-c:a", "aac"]),
    ("a.m4b", 22050, 1, ["-c:a", "aac", "-f", "mp4"]),
    ("a.3gp", 16000, 1, ["-c:a", "aac"]),
    ("a.mkv", 32000, 2, ["-c:a", "pcm_s24le"]),
    ("a.webm", 48000, 2, ["-c:a", "libopus"]),
    ("a.oga", 44100, 2, ["-c:a", "libvorbis"]),
    ("a.opus", 48000, 1, ["-c:a", "libopus"]),
    ("a.mp3", 44100, 2, ["-c:a", "libmp3lame"]),
    ("stream.mp3", 22050, 1, ["-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"]),
    ("a.mp2", 48000, 2, ["-c:a", "mp2"]),
    ("a.wma", 44100, 2, ["-c:a", "wmav2"]),
    ("a.ac3", 48000, 6, ["-c:a", "ac3"]),
    ("float.w64", 16000, 1, ["-c:a", "pcm_f32le"]),
    ("high.w64", 96000, 6, ["-c:a", "pcm_f32le"]),
    ("mp3.wav", 16000, 1, ["-c:a", "libmp3lame"]),
    ("float.wav", 96000, 4, ["-c:a", "pcm_f32le"]),
    ("a.au", 16000, 1, []),
    ("a.snd", 16000, 1, ["-f", "au"]),
    ("a.aifc", 16000, 2, ["-c:a", "pcm_mulaw", "-f", "aiff"]),
    ("alac.caf", 44100, 2, ["-c:a", "alac"]),
    ("a.flac", 44100, 2, []),
    ("a.wv", 44100, 2, []),
    ("a.tta", 44100, 2, []),
    ("misnamed.mp3", 16000, 1, ["-c:a", "aac", "-f", "mp4"]),
    ("misnamed.ogg", 48000, 1, ["-c:a", "libopus", "-f", "webm"]),
]
# AAC and Opus fill their last frame up, which some versions of ffmpeg leave out; and they round otherwise on another machine
MAX_PADDING = 2048


@pytest.mark.parametrize("program", ["system", "static"])
@pytest.mark.parametrize("name, rate, num_channels, options", FILES, ids=[file[0] for file in FILES])
def test_a_file_is_read_as_an_independent_decoder_reads_it(tmp_path, program, name, rate, num_channels, options):
    if program not in list_ffmpegs():
        pytest.skip("there is no such ffmpeg")
    gains = np.linspace(1, 0.5, num_channels)
    path = encode(list_ffmpegs()[program], tmp_path / name, tones(rate // 2, rate)[:, None] * gains, rate, *options)
    expected, found = decode(list_ffmpegs()[program], path, num_channels), read_all(path)
    assert abs(len(found) - len(expected)) <= MAX_PADDING and len(expected) > 0.4 * rate
    length = min(len(found), len(expected))
    np.testing.assert_allclose(found[:length], expected[:length], rtol=0, atol=2e-4)
    assert np.square(found).sum() == pytest.approx(np.square(expected).sum(), rel=1e-3)
    with open_audio(path) as audio:
        assert (audio.sampling_rate, audio.num_channels, audio.num_samples) == (rate, num_channels, len(found))
    np.testing.assert_array_equal(load_recording(path.read_bytes(), 8000).waveforms.T.numpy(), found)
    row = {"audio": {"bytes": path.read_bytes(), "path": "elsewhere"}}
    assert load_recording(row, 8000).waveforms.shape == found.T.shape


@pytest.mark.parametrize(
    "suffix, codec", [("mp3", "libmp3lame"), ("ogg", "libvorbis"), ("opus", "libopus"), ("flac", "flac")]
)
def test_of_appended_recordings_all_are_read(tmp_path, ffmpeg, suffix, codec):
    parts = [
        encode(ffmpeg, tmp_path / f"{number}.{suffix}", level * noise(48000, seed=number), 48000, "-c:a", codec)
        for number, level in enumerate((1, 0.3))
    ]
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = read_all(path)
    # the frames with the length of each file, and the padding of the encoder, remain
    assert 95000 < len(found) < 96000 + 6 * 1152
    expected = [np.square(read_all(part)).sum() for part in parts]
    assert np.square(found[:48000]).sum() == pytest.approx(expected[0], rel=0.05)
    assert np.square(found[-46000:]).mean() == pytest.approx(expected[1] / 48000, rel=0.1)


def test_what_goes_on_in_another_form_is_converted_to_the_first(tmp_path, ffmpeg, caplog):
    first = encode(ffmpeg, tmp_path / "1.mp3", noise(44100), 44100)
    second = encode(ffmpeg, tmp_path / "2.mp3", noise(22050, 2), 22050)
    (tmp_path / "both.mp3").write_bytes(first.read_bytes() + second.read_bytes())
    found = read_all(tmp_path / "both.mp3")
    assert found.shape[1] == 1 and len(found) == pytest.approx(88200, abs=5000)
    # the decoder gives the first frame of the second part the rate of the first
    assert re.search(r"both.mp3 changes to \d+ Hz, stereo: it is converted to 44100 Hz, mono.", caplog.text)


def test_of_several_streams_the_one_that_is_taken_is_named(tmp_path, ffmpeg, caplog):
    for number, samples in enumerate((noise(8000), noise(8000, 2))):
        soundfile.write(tmp_path / f"{number}.wav", samples, 8000)
    inputs = [word for number in range(2) for word in ("-i", tmp_path / f"{number}.wav")]
    run_ffmpeg(ffmpeg, *inputs, "-map", 0, "-map", 1, "-metadata:s:a:1", "language=fra", tmp_path / "a.mkv")
    found = read_all(tmp_path / "a.mkv")
    taken = 1 if found.shape[1] == 1 else 2
    assert "a.mkv holds 2 streams of audio (1: " in caplog.text and "2 channels, fra" in caplog.text
    assert f"number {taken} is taken" in caplog.text


@pytest.fixture
def requests(tmp_path, monkeypatch):
    """The requests to a server on this machine; the test runs in its own folder."""
    monkeypatch.chdir(tmp_path)
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        asked.append(server.server_port)
        yield asked
        server.shutdown()
        thread.join()


def test_a_name_is_a_name_whatever_it_looks_like(tmp_path, ffmpeg, requests):
    content = encode(ffmpeg, tmp_path / "plain.m4a", tones(8000, 16000), 16000).read_bytes()
    encode(ffmpeg, tmp_path / "secret.m4a", tones(16000, 16000), 16000)
    length = len(read_all(Path("plain.m4a")))
    port = requests.pop()
    names = ["12:30 a.m4a", "concat:secret.m4a", "file:secret.m4a", "subfile,,start,0,end,0,,:secret.m4a", "-i.m4a"]
    for name in [*names, f"http:/127.0.0.1:{port}/x.m4a", f"tcp:127.0.0.1:{port}.m4a", "pipe:0.m4a"]:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        assert len(read_all(path)) == length, name
    assert requests == []


def test_a_playlist_opens_no_other_file(tmp_path, ffmpeg, requests):
    for name in ("secret.ts", "secret.m4a"):
        encode(ffmpeg, tmp_path / name, tones(8000, 16000), 16000)
    address = f"http://127.0.0.1:{requests.pop()}/secret.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    contents = {
        "local": hls.format(f"file://{tmp_path}/secret.ts"),
        "remote": hls.format(address),
        "concat": "ffconcat version 1.0\nfile secret.m4a\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nm=audio {address.split(':')[2][:5]} RTP/AVP 0\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{address}</BaseURL></MPD>',
    }
    for name, content in contents.items():
        for suffix in (".m4a", ".m3u8", ".mp3"):
            path = tmp_path / f"{name}{suffix}"
            path.write_text(content)
            with pytest.raises(ValueError, match=f"{path} cannot be read as audio"):
                read_all(path)
    assert requests == []


def test_a_video_without_sound_and_what_cannot_be_decoded_are_reported(tmp_path, ffmpeg):
    run_ffmpeg(ffmpeg, "-f", "lavfi", "-i", "testsrc=d=0.1:s=64x64", "-c:v", "mpeg4", tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="film.mp4 cannot be read as audio: it holds no stream of audio"):
        read_all(tmp_path / "film.mp4")
    content = encode(ffmpeg, tmp_path / "a.mp3", noise(16000), 16000).read_bytes()
    (tmp_path / "cut.mp3").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut.mp3 is truncated: its header promises 16000 samples"):
        read_all(tmp_path / "cut.mp3")
    content = encode(ffmpeg, tmp_path / "a.m4a", noise(160000), 16000, "-movflags", "faststart").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut.m4a is truncated: its header promises 160000 samples"):
        read_all(tmp_path / "cut.m4a")


def test_decoding_ends_at_its_deadline(tmp_path, ffmpeg, monkeypatch):
    path = encode(ffmpeg, tmp_path / "a.m4a", noise(160000), 16000)
    monkeypatch.setattr(ffmpeg_module, "MAX_DECODING_S", 0.05)
    with open(path, "rb") as file:
        timed = TimedFile(file, "a.m4a")
        assert timed.read(10)
        time.sleep(0.06)
        with pytest.raises(ValueError, match="a.m4a cannot be decoded: it gave no samples for 0.05 s"):
            timed.read(10)

    class Slow(TimedFile):
        def read(self, num_bytes: int) -> bytes:
            time.sleep(0.06)
            return super().read(num_bytes)

    monkeypatch.setattr(ffmpeg_module, "TimedFile", Slow)
    with open(path, "rb") as file, pytest.raises(ValueError, match="it gave no samples for 0.05 s"):
        FfmpegSound(file, "a.m4a")
