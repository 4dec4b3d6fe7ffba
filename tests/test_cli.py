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
import os
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile

from audioslots_hf import jobs, separation
from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.cli import main
from audioslots_hf.separator import Separator
from tests.audio_helpers import decode, encode, noise, tones
from tests.cli_helpers import NUM_SAMPLES, files_in, replace_model, write


# (suffix, subtype, rate, decibels between the input and the error of the sum of the tracks)
FORMATS = [
    # 16 bit alone, at the model's rate
    (".wav", "PCM_16", 8000, 60),
    # the ripple of the filters there and back
    (".wav", "PCM_16", 48000, 50),
    (".wav", "PCM_24", 44100, 50),
    (".wav", "FLOAT", 16000, 50),
    (".w64", "PCM_16", 8000, 60),
    (".flac", "PCM_24", 22050, 50),
    (".flac", "PCM_16", 11025, 50),
    # lossy: each track is coded once more, with noise that hides below its own tones only
    (".ogg", "VORBIS", 16000, 25),
    (".opus", "OPUS", 48000, 25),
    (".mp3", "MPEG_LAYER_III", 44100, 25),
]


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("suffix, subtype, rate, min_snr_db", FORMATS)
def test_every_format_comes_back_as_it_went_in(separate, tmp_path, suffix, subtype, rate, min_snr_db, num_channels):
    # the second channel is quieter
    samples = tones(int(0.6 * rate) | 1, rate)[:, None] * np.array([1.0, 0.5])[:num_channels]
    path = write(tmp_path / f"speech{suffix}", samples, rate, subtype=subtype)
    status, output, _ = separate(path)
    tracks = [tmp_path / "out" / f"speech_source_{index}{suffix}" for index in range(2)]
    assert status == 0 and output.splitlines() == [str(track) for track in tracks]
    assert files_in(tmp_path / "out") == [track.name for track in tracks]
    before = soundfile.info(path)
    for track in tracks:
        after = soundfile.info(track)
        for name in ("format", "subtype", "samplerate", "channels", "frames"):
            assert getattr(after, name) == getattr(before, name), name
    total = sum(soundfile.read(track, always_2d=True)[0] for track in tracks)
    mixture = soundfile.read(path, always_2d=True)[0]
    snr_db = 10 * np.log10(np.square(mixture).sum() / np.square(total - mixture).sum())
    assert snr_db > min_snr_db


def test_voice_mail_which_cannot_be_rewound_comes_back(separate, tmp_path):
    path = write(tmp_path / "voice.wav", tones(8000, 8000), subtype="GSM610")
    assert not soundfile.SoundFile(path).seekable()
    assert separate(path, "--plot")[0] == 0
    for index in range(2):
        assert soundfile.info(tmp_path / "out" / f"voice_source_{index}.wav").subtype == "GSM610"
    total = sum(soundfile.read(tmp_path / "out" / f"voice_source_{index}.wav", 8000)[0] for index in range(2))
    mixture = soundfile.read(path, 8000)[0]
    assert 10 * np.log10(np.square(mixture).sum() / np.square(total - mixture).sum()) > 10


def test_the_command_gives_what_the_pipeline_gives(separate, separator, tmp_path):
    path = write(tmp_path / "speech.wav", noise(40001, 2), 48000, subtype="FLOAT")
    assert separate(path, "--batch-size", "3")[0] == 0
    for index, source in enumerate(separator(path)):
        track = soundfile.read(tmp_path / "out" / f"speech_source_{index}.wav", dtype="float32")[0]
        # convolutions of other batch sizes round differently
        np.testing.assert_allclose(track.T, source["audio"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 48000])
@pytest.mark.parametrize("samples", [np.array([[0.5, 0.5]]), np.array([0.5]), np.zeros((3001, 2))])
def test_one_sample_and_silence_come_back_as_such(separate, tmp_path, samples, rate):
    assert separate(write(tmp_path / "a.wav", samples, rate))[0] == 0
    for index in range(2):
        track = soundfile.read(tmp_path / "out" / f"a_source_{index}.wav")[0]
        assert track.shape == samples.shape and np.isfinite(track).all()
        assert samples.any() or not track.any()


def test_the_folders_of_a_folder_are_mirrored(separate, tmp_path):
    for name in ("a.wav", "deep/er/b.flac", "deep/A.WAV"):
        write(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    single = write(tmp_path / "single.wav")
    assert separate(tmp_path / "in", single)[0] == 0
    expected = ["a_source_{}.wav", "deep/A_source_{}.WAV", "deep/er/b_source_{}.flac", "single_source_{}.wav"]
    assert files_in(tmp_path / "out") == sorted(name.format(index) for name in expected for index in range(2))


def test_hidden_files_of_a_folder_are_no_input(separate, tmp_path):
    write(tmp_path / ".in" / "a.wav", noise(900), 8000)
    for name in ("._a.wav", ".tmp-x/0.w64"):
        (tmp_path / ".in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / ".in" / name).touch()
    assert separate(tmp_path / ".in")[0] == 0
    assert files_in(tmp_path / "out") == ["a_source_0.wav", "a_source_1.wav"]


def test_the_tracks_of_an_earlier_run_are_no_input(separate, tmp_path):
    write(tmp_path / "in" / "a.wav")
    for arguments in ([], ["--force"]):
        assert separate(tmp_path / "in", *arguments, output=tmp_path / "in" / "out")[0] == 0
    assert files_in(tmp_path / "in") == ["a.wav", "out/a_source_0.wav", "out/a_source_1.wav"]


def test_a_folder_may_lie_inside_the_output(separate, tmp_path):
    write(tmp_path / "in" / "a.wav")
    assert separate(tmp_path / "in", output=tmp_path)[0] == 0
    assert files_in(tmp_path) == ["a_source_0.wav", "a_source_1.wav", "in/a.wav"]


def test_a_file_that_is_named_twice_is_separated_once(separate, tmp_path):
    path = write(tmp_path / "in" / "a.wav")
    status, output, errors = separate(path, path.parent, path)
    assert status == 0 and len(output.splitlines()) == 2 and errors.startswith("1 file, ")
    assert files_in(tmp_path / "out") == ["a_source_0.wav", "a_source_1.wav"]


def test_a_folder_where_a_track_goes_is_named_before_any_work(separate, tmp_path, monkeypatch):
    (tmp_path / "out" / "a_source_1.wav").mkdir(parents=True)
    monkeypatch.setattr(separation, "stream_estimates", None)
    status, _, errors = separate(write(tmp_path / "a.wav"), "--force")
    assert status == 1 and f"{tmp_path / 'out' / 'a_source_1.wav'} is a folder" in errors


def test_two_inputs_with_the_same_name_are_refused_before_any_work(separate, tmp_path):
    paths = [write(tmp_path / folder / "a.wav") for folder in ("one", "two")]
    status, _, errors = separate(*paths)
    assert status == 1 and f"{paths[0]} and {paths[1]} would both write" in errors
    assert not (tmp_path / "out").exists()


def test_the_same_name_in_two_formats_is_said_of_all_at_once(separate, tmp_path):
    for name in ("one", "two", "three"):
        for suffix in (".wav", ".flac", ".aiff")[: 2 if name != "three" else 3]:
            write(tmp_path / "in" / f"{name}{suffix}")
    status, _, errors = separate(tmp_path / "in")
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("one", "two"):
        assert f"{folder}/{name}.flac and {folder}/{name}.wav would both write {out}/{name}_source_0" in errors
    assert f"{folder}/three.aiff and {folder}/three.flac and {folder}/three.wav would both write" in errors
    assert status == 1 and not out.exists()


def test_names_like_those_of_tracks_are_planned_in_linear_time(tmp_path, monkeypatch):
    for index in range(1600):
        (tmp_path / f"call_{index}_source_0.wav").touch()
    # each target once, and for each file the place of the recording that it may be a track of
    asked = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, *options: asked.append(path) or resolve(path, *options))
    planned = jobs.plan_jobs(jobs.find_inputs([tmp_path], tmp_path / "out", []), tmp_path / "out")
    assert len(planned) == 1600 and len(asked) < 5 * 1600


def test_what_is_left_out_of_a_folder_is_said_in_one_line(separate, tmp_path):
    write(tmp_path / "in" / "a.wav")
    for name in ("notes.txt", "cover.jpg", ".hidden", *(f"{letter}.pdf" for letter in "uvwxyz")):
        (tmp_path / "in" / name).touch()
    status, _, errors = separate(tmp_path / "in")
    line = f"{tmp_path / 'in'}: left out 8 of 9 files, by their names: cover.jpg, notes.txt, u.pdf, v.pdf, w.pdf, ..."
    assert status == 0 and line in errors.splitlines()


def test_every_suffix_of_audio_is_taken_from_a_folder(tmp_path):
    names = [
        "amr",
        "3gp",
        "m4b",
        "oga",
        "sph",
        "aifc",
        "snd",
        "mp2",
        "gsm",
        "wav",
        "flac",
        "mp3",
        "m4a",
        "ogg",
        "opus",
        "webm",
        "mp4",
    ]
    for name in names:
        (tmp_path / f"a_{name}.{name.upper()}").touch()
    notes = []
    assert len(jobs.find_inputs([tmp_path], tmp_path / "out", notes)) == len(names) and notes == []


@pytest.mark.parametrize("num_samples", [3000, 12120])
def test_tracks_are_as_long_as_an_input_of_whole_blocks(separate, tmp_path, caplog, num_samples):
    # ADPCM of libsndfile has blocks of 505 samples here: one more for the last few
    path = write(tmp_path / "a.wav", tones(num_samples, 8000), 8000, subtype="IMA_ADPCM")
    assert separate(path)[0] == 0
    tracks = [soundfile.info(tmp_path / "out" / f"a_source_{index}.wav") for index in range(2)]
    assert [track.frames for track in tracks] == 2 * [soundfile.info(path).frames]


def test_an_input_that_changes_during_the_run_gives_no_tracks(separate, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")
    separate_chunks = Separator.separate_chunks

    def append(self, chunks):
        with open(path, "ab") as file:
            file.write(bytes(1000))
        return separate_chunks(self, chunks)

    monkeypatch.setattr(Separator, "separate_chunks", append)
    write(path, noise(12 * 16000))
    status, _, errors = separate(path)
    assert status == 1 and f"{path} changed while it was read" in errors
    assert files_in(tmp_path / "out") == []


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX's")
def test_a_pipe_is_reported(separate, tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    status, _, errors = separate(tmp_path / "a.wav")
    assert status == 1 and "a.wav is a pipe or a device, which can be read only once: save it as a file" in errors


def cut_in_half(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_a_nan(path: Path):
    write(path, np.array([0.0, np.nan, 0.0]), subtype="FLOAT")


SPOILT = [
    ("a.wav", Path.unlink, "does not exist"),
    ("a.wav", lambda path: path.write_text("A text, not audio.\n" * 99), "cannot be read as audio"),
    ("a.wav", lambda path: path.write_bytes(b""), "cannot be read as audio"),
    ("a.wav", lambda path: write(path, np.zeros(0)), "is empty: it holds no samples"),
    ("a.wav", cut_in_half, r"is truncated: its header promises 12002 bytes of samples, it holds \d+"),
    ("a.flac", cut_in_half, "cannot be decoded after sample 0"),
    ("a.mp3", cut_in_half, "is truncated: its header promises 6001 samples"),
    ("a.wav", put_a_nan, "holds NaN or infinite samples"),
    ("a.raw", lambda path: path.write_bytes(bytes(999)), "cannot be read as audio"),
    ("a.m4a", lambda path: path.write_bytes(b"A text"), "cannot be read as audio"),
]


@pytest.mark.parametrize("name, spoil, message", SPOILT)
def test_a_bad_file_is_reported_at_the_end_and_the_others_are_done(separate, tmp_path, name, spoil, message):
    bad = write(tmp_path / "bad.wav").rename(tmp_path / name) if name[2:] in ("raw", "m4a") else write(tmp_path / name)
    spoil(bad)
    others = [write(tmp_path / f"{letter}.wav") for letter in "xy"]
    status, _, errors = separate(others[0], bad, others[1])
    report = errors[errors.index("\n1 of 3 files failed:\n") :].splitlines()
    assert status == 1 and len(report) == 3
    # the error names the file, once
    assert re.match(f"  {bad} {message}", report[-1])
    assert files_in(tmp_path / "out") == [f"{letter}_source_{index}.wav" for letter in "xy" for index in range(2)]


def test_the_tracks_of_an_m4a_add_up_to_what_ffmpeg_decodes(separate, tmp_path, ffmpeg):
    path = encode(ffmpeg, tmp_path / "12:30 a.m4a", tones(8000, 8000), 8000)
    assert separate(path)[0] == 0
    tracks = [soundfile.read(tmp_path / "out" / f"12:30 a_source_{index}.wav")[0] for index in range(2)]
    mixture = decode(ffmpeg, path)[:, 0]
    # some versions remove the padding of the encoder at the end
    assert 0 <= len(tracks[0]) - len(mixture) <= 2048 and len(mixture) >= 8000
    # one step of 16 bit for each track
    np.testing.assert_allclose(sum(tracks)[: len(mixture)], mixture, rtol=0, atol=1e-4)


@pytest.mark.parametrize("subtype, clips", [("PCM_16", True), ("FLOAT", False)])
def test_tracks_that_would_clip_share_one_gain_with_a_warning(separate, tmp_path, monkeypatch, caplog, subtype, clips):
    replace_model(monkeypatch, shares=[2.0, -1.0])
    samples = np.linspace(-0.8, 0.8, NUM_SAMPLES)
    path = write(tmp_path / "loud.wav", samples, 8000, subtype=subtype)
    if clips:
        assert separate(path)[0] == 0
        assert re.search(r"loud.wav peak at 1.60 and would clip in PCM_16: .* multiplied by 0.625\.\n", caplog.text)
        assert separate(path, "--format", "ogg")[0] == 0
        assert "by 0.625. VORBIS changes peaks, so single samples may still clip: use --format flac" in caplog.text
    else:
        assert separate(path)[0] == 0
        assert "clip" not in caplog.text
    gain = 0.625 if clips else 1.0
    for index, share in enumerate([2.0, -1.0]):
        track = soundfile.read(tmp_path / "out" / f"loud_source_{index}.wav")[0]
        # five roundings to steps of 16 bit, 3e-5 each: in, twice its share, the gain, out and its scale
        np.testing.assert_allclose(track, gain * share * samples, rtol=0, atol=1.5e-4)


def test_a_folder_that_cannot_be_written_to_is_reported_before_any_work(separate, tmp_path, monkeypatch):
    # root may write everywhere, so only the question is answered differently
    monkeypatch.setattr(jobs.os, "access", lambda path, mode: False)
    status, _, errors = separate(write(tmp_path / "a.wav"))
    assert status == 1 and errors == (
        f"audioslots: error: The output folder {tmp_path / 'out'} cannot be written to: change its permissions or "
        "choose another.\n"
    )
    assert files_in(tmp_path / "out") == []


def test_an_output_that_is_a_file_is_reported(separate, tmp_path):
    path = write(tmp_path / "a.wav")
    status, _, errors = separate(path, output=path)
    assert status == 1 and f"error: The output {path} is a file, not a folder" in errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--device", "warp-drive"], "The device 'warp-drive' cannot be used"),
        (["--device", "meta"], "The device 'meta' cannot be used"),
        (["--batch-size", "0"], "`--batch-size` is 0: it must be at least 1"),
        (["--model", "no-such/model"], "The model 'no-such/model' cannot be loaded"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(separate, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    status, _, errors = separate(write(tmp_path / "a.wav"), *arguments)
    assert status == 1 and errors.startswith(f"audioslots: error: {message}") and errors.count("\n") == 1
    assert files_in(tmp_path / "out") == []


def test_a_folder_without_audio_is_reported(separate, tmp_path):
    (tmp_path / "in").mkdir()
    status, _, errors = separate(tmp_path / "in")
    assert status == 1 and f"{tmp_path / 'in'} holds no audio file (.wav, .flac" in errors


@pytest.mark.parametrize(
    "word, message",
    [
        ("-", "`-` is standard input, which is not read"),
        (
            "HTTPS://me:secret@example.org/a.wav",
            "HTTPS://example.org/a.wav is an address, and the command takes files",
        ),
    ],
)
def test_the_command_says_that_it_takes_files_only(separate, tmp_path, word, message):
    status, _, errors = separate(word)
    assert status == 1 and f"audioslots: error: {message}" in errors and not (tmp_path / "out").exists()


def test_progress_counts_the_samples_of_each_file_on_a_terminal_only(separate, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")
    _, _, errors = separate(path)
    assert "%" not in errors
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, errors = separate(path, "--force")
    assert "a.wav: 100%" in errors and "6.00k/6.00k" in errors


def test_info_prints_the_resource_use_of_a_model(checkpoint, separator, capsys):
    assert main(["info", str(checkpoint), "--device", "cpu"]) == 0
    values = {line[:38].strip(): line[38:] for line in capsys.readouterr().out.splitlines()}
    assert values["model"] == "AudioSlotsForAudioSeparation" and values["sampling rate"] == "8000 Hz"
    assert values["chunk"] == "0.1 s, one every 0.025 s" and values["sources"] == "2"
    assert values["parameters"] == f"{sum(parameter.numel() for parameter in separator.model.parameters()):,}"
    macs, unit = values["operations per second of audio"].split()
    assert unit == "GMAC" and float(macs) > 0
    factor, speed = values["real-time factor on cpu"].split(maxsplit=1)
    assert 0 < float(factor) < 10 and speed.endswith("x real time)")
    assert values["peak memory for 60 s, all included"].endswith(" MiB")


MEASURE = (
    "import resource, sys; from audioslots_hf.cli import main; status = main(sys.argv[1:]); "
    "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
)


def write_bursts(path: Path, num_minutes: int) -> Path:
    """Stereo at 48 kHz: a second of noise, a second of silence."""
    burst = np.concatenate([noise(48000, 2), np.zeros((48000, 2), np.float32)])
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        for _ in range(30 * num_minutes):
            file.write(burst)
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_recording(checkpoint, tmp_path):
    peaks = {}
    for num_minutes in (1, 6):
        path = write_bursts(tmp_path / f"{num_minutes}.wav", num_minutes)
        words = ["separate", path, "-o", tmp_path / "out", "--model", checkpoint, "--num-speakers", "outputs"]
        result = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
        status, peaks[num_minutes] = map(int, result.stdout.split()[-2:])
        assert status == 0
        info = soundfile.info(tmp_path / "out" / f"{num_minutes}_source_1.wav")
        assert (info.frames, info.samplerate, info.channels) == (num_minutes * 60 * 48000, 48000, 2)
    # five more minutes of the sources alone are 220 MB
    assert peaks[6] - peaks[1] < 150


@pytest.mark.slow
def test_the_command_keeps_freed_memory_where_glibc_lets_it(monkeypatch):
    """Asked in a process of its own, for it cannot be taken back."""
    code = "from audioslots_hf.allocator import keep_freed_memory; print(keep_freed_memory())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    has_glibc = "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "") if sys.platform == "linux" else False
    assert process.stdout.strip() == str(has_glibc)
    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_freed_memory()
