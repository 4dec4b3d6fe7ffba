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
"""Conversations as users meet them: the pipeline and the command."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audioslots_hf import load_separator, pipeline_audio_separation, separation
from audioslots_hf.cli import main
from audioslots_hf.resampling import resample
from audioslots_hf.separator import Separator
from tests.conversation_helpers import RATE, encode_bands, split_by_band, turns


TURNS = [(0, 0.5, 4.0), (1, 4.5, 8.0), (0, 7.0, 11.0)]
DURATION_S = 12.0


@pytest.fixture
def bands(monkeypatch):
    """Every model separates, and the voice encoder that ships recognises, without error."""

    class Encoder:
        def to(self, device):
            return self

        def __call__(self, waveforms, weights):
            return encode_bands(waveforms, weights)

    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))
    # one window of 2 s, whatever the chunks of the model are
    monkeypatch.setattr(Separator, "separate", lambda self, waveforms: split_window(waveforms))
    monkeypatch.setattr(pipeline_audio_separation, "load_default_voice_encoder", Encoder)


def split_window(waveforms: torch.Tensor) -> torch.Tensor:
    from audioslots_hf.chunking import Chunk

    return split_by_band([Chunk(waveforms, is_last=True)]).estimates


@pytest.fixture
def mixture() -> np.ndarray:
    return turns(TURNS, DURATION_S).sum(dim=0).numpy()


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_by_default_the_pipeline_finds_the_people(bands, checkpoint, separator, mixture):
    found = load_separator(checkpoint, device="cpu")(mixture)
    expected = separator(mixture, num_speakers="auto")
    assert len(found) == 2
    for source, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(source["audio"], other["audio"])
        assert source["segments"] == other["segments"]


def test_options_of_a_call_win_over_those_of_the_pipeline(bands, checkpoint, separator, mixture):
    pipeline = load_separator(checkpoint, device="cpu", num_speakers=3)
    assert len(pipeline(mixture)) == 3
    assert len(pipeline(mixture, num_speakers="auto")) == 2
    outputs, expected = pipeline(mixture, num_speakers="outputs"), separator(mixture)
    assert len(outputs) == 2
    for source, other in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(source["audio"], other["audio"])


@pytest.mark.parametrize("speakers", [{"num_speakers": 2}, {"num_speakers": "auto"}, {"max_speakers": 3}])
def test_the_pipeline_gives_a_track_and_segments_for_each_person(bands, separator, mixture, speakers):
    sources = separator(mixture, **speakers)
    assert [source["label"] for source in sources] == ["source_0", "source_1"]
    for voice, source in enumerate(sources):
        assert source["audio"].shape == mixture.shape and source["audio"].dtype == np.float32
        assert source["sampling_rate"] == RATE
        expected = [(start, end) for index, start, end in TURNS if index == voice]
        np.testing.assert_allclose(source["segments"], expected, atol=0.2)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_outputs_of_the_model_have_segments_too(bands, separator, mixture, offset):
    sources = separator(mixture + np.float32(offset), num_speakers="outputs")
    assert len(sources) == 2
    for source in sources:
        assert set(source) == {"label", "audio", "sampling_rate", "segments"}
        heard = np.zeros(len(mixture), bool)
        for start, end in source["segments"]:
            heard[round(start * RATE) : round(end * RATE)] = True
        # both share the offset
        audio = source["audio"] - np.float32(offset / 2)
        assert np.square(audio[heard]).sum() > 0.95 * np.square(audio).sum()
    # speech begins after half a second, and ends after 11
    assert min(source["segments"][0][0] for source in sources) == pytest.approx(0.5, abs=0.1)
    assert max(source["segments"][-1][1] for source in sources) == pytest.approx(11.0, abs=0.1)


def test_recordings_of_any_rate_and_layout_come_back_in_theirs(bands, separator, mixture):
    stereo = np.stack([mixture, 0.5 * mixture], axis=1).repeat(2, axis=0)
    sources = separator({"array": stereo, "sampling_rate": 2 * RATE}, num_speakers=2)
    assert [source["audio"].shape for source in sources] == [stereo.shape] * 2
    assert [source["sampling_rate"] for source in sources] == [2 * RATE] * 2


def test_a_batch_of_recordings_gives_each_its_own_number_of_people(bands, checkpoint, mixture):
    lone = turns([(0, 1.0, 5.0)], 6.0).sum(dim=0).numpy()
    for batch_size in (1, 2):
        pipeline = load_separator(checkpoint, device="cpu", batch_size=batch_size)
        results = pipeline([mixture, lone, np.zeros(RATE, np.float32)], num_speakers="auto")
        assert [len(sources) for sources in results] == [2, 1, 0]
        # one person alone is the recording itself
        np.testing.assert_array_equal(results[1][0]["audio"], lone)


def test_options_that_make_no_sense_are_refused(separator, mixture):
    with pytest.raises(ValueError, match=r"`num_speakers` \(3\) is more than `max_speakers` \(2\)"):
        separator(mixture, num_speakers=3, max_speakers=2)
    with pytest.raises(ValueError, match=r"`chunk_hop_length` \(400\) cannot be combined with"):
        separator(mixture, num_speakers=2, chunk_hop_length=400)
    with pytest.raises(ValueError, match=r"`max_speakers` \(2\) bounds the people who are found: leave out 'outputs'"):
        separator(mixture, num_speakers="outputs", max_speakers=2)
    with pytest.raises(ValueError, match="`num_speakers` is 'both': it must be a whole number, 'auto' or 'outputs'"):
        separator(mixture, num_speakers="both")


def test_chunks_of_their_own_ask_for_the_outputs(bands, checkpoint, separator, mixture):
    chosen = load_separator(checkpoint, device="cpu")(mixture, chunk_hop_length=400)
    expected = separator(mixture, num_speakers="outputs", chunk_hop_length=400)
    for source, other in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(source["audio"], other["audio"])


def test_without_a_voice_encoder_the_outputs_stand_in_for_people_that_nobody_asked_for(
    checkpoint, separator, mixture, monkeypatch, caplog
):
    def fail(*args, **kwargs):
        raise OSError("no such folder")

    monkeypatch.setattr("audioslots_hf.voice_encoders.load_voice_encoder", fail)
    with pytest.raises(ValueError, match="The voice encoder that ships with the package"):
        separator(mixture, num_speakers=2)
    expected = separator(mixture, num_speakers="outputs")
    with caplog.at_level("WARNING"):
        sources = load_separator(checkpoint, device="cpu")(mixture)
    assert "The sources are the outputs of the model" in caplog.text and "install the package" in caplog.text
    for source, other in zip(sources, expected, strict=True):
        np.testing.assert_allclose(source["audio"], other["audio"], atol=1e-6)


@pytest.fixture
def separate(bands, checkpoint, tmp_path, capsys):
    def run(*arguments) -> tuple[int, str, str]:
        words = ["separate", "-o", tmp_path / "out", "--model", checkpoint, "--device", "cpu", *arguments]
        return main([str(word) for word in words]), *capsys.readouterr()

    return run


def test_the_command_writes_tracks_segments_and_a_description(separate, tmp_path, mixture):
    recording = write(tmp_path / "the call.wav", mixture)
    status, printed, _ = separate(recording, "--rttm", "--json")
    assert status == 0
    names = ["the call_source_0.wav", "the call_source_1.wav", "the call.rttm", "the call.json"]
    result, summary = map(json.loads, printed.splitlines())
    assert [Path(path).name for path in result["files"]] == names and summary["num_separated"] == 1
    tracks = [soundfile.read(tmp_path / "out" / name, dtype="float32")[0] for name in names[:2]]
    assert tracks[0].shape == mixture.shape
    description = json.loads((tmp_path / "out" / "the call.json").read_text())
    assert description["num_speakers"] == 2 and description["duration_s"] == DURATION_S
    assert description["overlap_share"] == pytest.approx(1 / 10.5, abs=0.03)
    assert [source["track"] for source in description["sources"]] == names[:2]
    assert description["warnings"] == []
    for voice, source in enumerate(description["sources"]):
        assert source["speech_s"] == pytest.approx((7.5, 3.5)[voice], abs=0.3)
        spoken = np.concatenate(
            [tracks[voice][round(start * RATE) : round(end * RATE)] for start, end in source["segments"]]
        )
        assert source["level_db"] == pytest.approx(10 * np.log10(np.square(spoken).mean()), abs=0.1)
    lines = (tmp_path / "out" / "the call.rttm").read_text().splitlines()
    assert len(lines) == 3
    for line, (voice, start, end) in zip(lines, TURNS, strict=True):
        fields = re.fullmatch(
            r"SPEAKER the_call 1 (\d+\.\d{3}) (\d+\.\d{3}) <NA> <NA> source_(\d) <NA> <NA>", line
        ).groups()
        assert float(fields[0]) == pytest.approx(start, abs=0.2)
        assert float(fields[1]) == pytest.approx(end - start, abs=0.3)
        assert int(fields[2]) == voice


@pytest.mark.parametrize("option", [("--num-speakers", 2), ("--num-speakers", "auto"), ("--max-speakers", 5)])
def test_numbers_of_people_alone_write_tracks_alone(separate, tmp_path, mixture, option):
    samples = resample(torch.from_numpy(mixture), RATE, 2 * RATE).numpy()
    status, printed, _ = separate(write(tmp_path / "a.wav", samples, 2 * RATE), *option)
    assert status == 0
    assert [Path(line).name for line in printed.splitlines()] == ["a_source_0.wav", "a_source_1.wav"]


def test_one_person_alone_is_the_recording_and_nobody_is_no_track(separate, tmp_path):
    lone = resample(turns([(0, 1.0, 5.0)], 6.0).sum(dim=0), RATE, 11025).numpy()
    recordings = [write(tmp_path / "lone.wav", lone, 11025), write(tmp_path / "nobody.wav", np.zeros(4 * RATE))]
    status, printed, errors = separate(*recordings, "--num-speakers", "auto", "--json", "--plot")
    assert status == 0
    names = ["lone_source_0.wav", "lone.json", "lone_separation.png", "nobody.json"]
    results = [json.loads(line) for line in printed.splitlines()]
    assert [Path(path).name for result in results[:2] for path in result["files"]] == names
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out" / names[0], dtype="float32")[0], lone)
    description = json.loads((tmp_path / "out" / "nobody.json").read_text())
    assert description["num_speakers"] == 0 and description["sources"] == []
    assert description["warnings"] == ["nobody speaks in this recording: there are no tracks"]


def test_outputs_that_exist_are_kept_unless_forced(separate, tmp_path, mixture):
    recording = write(tmp_path / "a.wav", mixture)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.rttm").write_text("mine")
    status, _, errors = separate(recording, "--rttm")
    assert status == 1 and "a.rttm exists: pass --force" in errors
    assert (tmp_path / "out" / "a.rttm").read_text() == "mine"
    status, _, _ = separate(recording, "--rttm", "--force")
    assert status == 0 and (tmp_path / "out" / "a.rttm").read_text().startswith("SPEAKER a 1 ")


def test_skip_existing_never_replaces_a_track_and_names_the_file_that_is_missing(separate, tmp_path, mixture):
    recording, folder = write(tmp_path / "a.wav", mixture), tmp_path / "out"
    assert separate(recording, "--channels", "split")[0] == 0
    (folder / "a_source_0.wav").write_text("edited")
    status, _, errors = separate(recording, "--channels", "split", "--rttm", "--skip-existing")
    assert status == 1 and "a_source_0.wav exists, and a.rttm does not: --skip-existing replaces no tracks" in errors
    assert [path.name for path in folder.glob("*.*") if path.is_file()] == ["a_source_0.wav"]
    assert (folder / "a_source_0.wav").read_text() == "edited"
    # tracks in another format stay as well
    assert separate(recording, "--channels", "split", "--format", "flac", "--skip-existing")[0] == 0
    assert {path.name for path in folder.glob("a_*")} == {"a_source_0.wav", "a_source_0.flac"}


def test_skip_existing_ends_a_run_that_was_stopped_between_tracks_and_other_files(
    separate, tmp_path, mixture, monkeypatch
):
    recording, folder = write(tmp_path / "a.wav", mixture), tmp_path / "out"
    options = ("--channels", "split", "--rttm", "--skip-existing")
    with monkeypatch.context() as patch:
        patch.setattr(separation, "_describe_conversation", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert separate(recording, *options)[0] == 143
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["a_source_0.wav"]
    assert separate(recording, *options)[0] == 0 and (folder / "a.rttm").is_file()
    (folder / "a.rttm").unlink()
    assert separate(recording, *options)[0] == 1 and not (folder / "a.rttm").exists()


def test_a_silent_recording_is_skipped_when_its_files_exist_and_loses_none(separate, tmp_path):
    recording, folder = write(tmp_path / "nobody.wav", np.zeros(4 * RATE)), tmp_path / "out"
    options = ("--max-speakers", "6", "--report", "--plot")
    assert separate(recording, *options, "--rttm")[0] == 0
    names = {"nobody.rttm", "nobody_report.html"}
    assert {path.name for path in folder.iterdir() if path.is_file()} == names
    status, _, errors = separate(recording, *options, "--rttm", "--skip-existing")
    assert status == 0 and "skipped" in errors
    (folder / "nobody.rttm").unlink()
    assert "skipped" not in separate(recording, *options, "--rttm", "--skip-existing")[2]
    assert separate(recording, "--max-speakers", "6", "--skip-existing")[0] == 0
    # without the record it is separated again
    shutil.rmtree(folder / ".audioslots")
    assert "skipped" not in separate(recording, "--max-speakers", "6", "--skip-existing")[2]
    assert {path.name for path in folder.iterdir() if path.is_file()} == names


def test_a_run_with_fewer_people_removes_the_tracks_of_the_others_that_the_command_wrote(separate, tmp_path, mixture):
    recording = write(tmp_path / "a.wav", np.stack([mixture, mixture, mixture], axis=1))
    folder = tmp_path / "out"
    assert separate(recording, "--channels", "split", "--rttm")[0] == 0
    (folder / "a_source_3.wav").write_text("mine")
    assert {path.name for path in folder.glob("a*")} == {"a.rttm", *(f"a_source_{index}.wav" for index in range(4))}
    assert separate(recording, "--num-speakers", 2, "--force")[0] == 0
    names = {path.name for path in folder.glob("a*")}
    assert names == {"a_source_0.wav", "a_source_1.wav", "a_source_3.wav"}
    # three tracks again, the last of which is edited
    assert separate(recording, "--channels", "split", "--force")[0] == 0
    (folder / "a_source_2.wav").write_text("edited")
    assert separate(recording, "--force")[0] == 0
    assert (folder / "a_source_2.wav").read_text() == "edited"


@pytest.mark.parametrize(
    "options, message",
    [
        (["--num-speakers", "0"], "`num_speakers` is 0: it must be a whole number of at least 1"),
        (["--num-speakers", "3", "--max-speakers", "2"], "`num_speakers` (3) is more than `max_speakers` (2)"),
        (["--max-speakers", "-2"], "`max_speakers` is -2"),
    ],
)
def test_the_command_refuses_numbers_that_make_no_sense_before_any_work(separate, tmp_path, options, message):
    status, _, errors = separate(tmp_path / "missing.wav", *options)
    assert status == 1 and message in errors
