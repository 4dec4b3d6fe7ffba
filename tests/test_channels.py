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
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audioslots_hf import load_separator
from audioslots_hf.channels import CHANNELS, ChannelActivity
from audioslots_hf.cli import build_parser, main
from tests.audio_helpers import noise, with_data_size
from tests.conversation_helpers import RATE, turns


TURNS = [(0, 0.5, 4.0), (1, 4.5, 8.0), (0, 7.0, 11.0)]
DURATION_S = 12.0


@pytest.fixture
def call() -> np.ndarray:
    """A telephone call, one person on each channel: (num_samples, 2)"""
    return turns(TURNS, DURATION_S).T.numpy()


def listen(waveforms: np.ndarray, block_length: int = 10 * RATE) -> ChannelActivity:
    """What channels hold, of (num_samples, num_channels) in blocks."""
    heard = ChannelActivity(RATE)
    blocks = torch.from_numpy(np.ascontiguousarray(waveforms.T, np.float32)).split(block_length, dim=-1)
    np.testing.assert_array_equal(torch.cat(list(heard.watch(blocks)), dim=-1).numpy(), waveforms.T)
    return heard


def mix(call: np.ndarray, leak_db: float) -> np.ndarray:
    """Each voice also in the other channel, at this level."""
    return (call + 10 ** (leak_db / 20) * call[:, ::-1]).astype(np.float32)


def hum(call: np.ndarray) -> np.ndarray:
    """Independent noise in each channel, 40 dB below the speech."""
    return (call + 0.01 * call.std() * noise(*call.shape)).astype(np.float32)


@pytest.mark.parametrize("leak_db", [-np.inf, -30, -20])
def test_channels_with_a_voice_each_are_separate_even_with_crosstalk_and_noise(call, leak_db):
    assert listen(hum(mix(call, leak_db))).are_separate()


@pytest.mark.parametrize("leak_db", [-12, -6, 0])
def test_panned_voices_are_not_separate(call, leak_db):
    assert not listen(hum(mix(call, leak_db))).are_separate()


@pytest.mark.parametrize("channels", [1, 2])
def test_one_voice_is_not_separate_whatever_the_other_channel_holds(call, channels):
    lone = call[:, :1].repeat(channels, axis=1)
    assert not listen(lone).are_separate()
    others = np.concatenate([lone, np.zeros_like(lone), 0.01 * noise(len(lone), 1)], axis=1).astype(np.float32)
    assert not listen(others[:, : channels + 1]).are_separate()


def test_steady_noise_in_both_channels_is_not_separate():
    assert not listen(0.1 * noise(4 * RATE, 2)).are_separate()


def test_three_microphones_are_separate_only_if_every_pair_is():
    voices = turns([(0, 0.5, 3.0), (1, 3.5, 6.0), (2, 6.5, 9.0), (0, 9.5, 11.5)], DURATION_S, num_voices=3).T.numpy()
    assert listen(voices).are_separate()
    assert not listen(np.concatenate([voices, voices[:, :1]], axis=1)).are_separate()


def test_who_speaks_does_not_depend_on_the_blocks_and_is_right_with_crosstalk(call):
    noisy = hum(mix(call, -25))
    plans = [listen(noisy, length).plan() for length in (10 * RATE, 1234, 7)]
    for plan in plans:
        np.testing.assert_array_equal(plan.activity, plans[0].activity)
    # segments reach a little beyond the speech, and syllables have pauses of 0.08 s
    np.testing.assert_allclose(plans[0].segments[0], [(0.5, 4.0), (7.0, 11.0)], atol=0.15)
    np.testing.assert_allclose(plans[0].segments[1], [(4.5, 8.0)], atol=0.15)
    assert plans[0].duration_s == DURATION_S


def test_the_pipeline_splits_channels_without_the_model(separator, call, monkeypatch):
    monkeypatch.setattr(type(separator.model), "forward", None)
    sources = separator({"array": call.T, "sampling_rate": RATE}, channels="split")
    assert [source["label"] for source in sources] == ["source_0", "source_1"]
    for source, samples in zip(sources, call.T, strict=True):
        np.testing.assert_array_equal(source["audio"], samples)
        assert source["sampling_rate"] == RATE
    np.testing.assert_allclose(sources[1]["segments"], [(4.5, 8.0)], atol=0.1)


def test_a_silent_channel_keeps_its_track_without_segments(separator, call):
    call[:, 0] = 0
    sources = separator({"array": call, "sampling_rate": RATE}, channels="split")
    assert [len(source["segments"]) for source in sources] == [0, 1]


def test_mixed_channels_are_separated_as_their_mean(separator):
    stereo = 0.1 * noise(2, 3000)
    mixed = separator(stereo, channels="mix")
    expected = separator(stereo.mean(axis=0))
    assert [source["audio"].shape for source in mixed] == [(3000,)] * 2
    for source, other in zip(mixed, expected, strict=True):
        np.testing.assert_array_equal(source["audio"], other["audio"])


def test_the_choice_of_a_loaded_pipeline_holds_until_a_call_changes_it(checkpoint, call):
    pipeline = load_separator(checkpoint, device="cpu", channels="split")
    np.testing.assert_array_equal(pipeline(call)[0]["audio"], call[:, 0])
    assert pipeline(call, channels="each")[0]["audio"].shape == call.shape


def test_invalid_choices_are_refused(separator, call):
    with pytest.raises(ValueError, match="`channels` is 'left': it must be one of each, mix, split"):
        separator(call, channels="left")
    with pytest.raises(ValueError, match="`channels` is 'split': every channel is a person then"):
        separator(call, channels="split", num_speakers=2)


def test_the_pipeline_warns_of_separate_channels_unless_they_are_split(separator, call, caplog):
    hint = "the channels are already separate voices: use channels='split'"
    for channels, is_told in (("split", False), ("mix", False), ("each", True)):
        separator({"array": call, "sampling_rate": RATE}, channels=channels)
        assert (hint in caplog.text) == is_told


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_the_command_splits_channels_without_a_model_and_describes_them(tmp_path, call, capsys):
    recording = write(tmp_path / "call.wav", call, 11025)
    arguments = ["separate", recording, "-o", tmp_path / "out", "--channels", "split", "--rttm", "--json"]
    assert main([str(word) for word in [*arguments, "--model", "no-such/model"]]) == 0
    names = ["call_source_0.wav", "call_source_1.wav", "call.rttm", "call.json"]
    result, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert [Path(path).name for path in result["files"]] == names
    for name, samples in zip(names, call.T, strict=False):
        np.testing.assert_array_equal(soundfile.read(tmp_path / "out" / name, dtype="float32")[0], samples)
    description = json.loads((tmp_path / "out" / "call.json").read_text())
    assert description["warnings"] == [] and description["num_speakers"] == 2
    scale = RATE / 11025
    np.testing.assert_allclose(description["sources"][1]["segments"], [[4.5 * scale, 8.0 * scale]], atol=0.1)
    assert len((tmp_path / "out" / "call.rttm").read_text().splitlines()) == 3


def test_the_lines_of_json_tell_who_speaks_and_warn(separate, tmp_path, call):
    recording = write(tmp_path / "call.wav", call)
    status, printed, _ = separate(recording, "--channels", "split", "--json")
    line = json.loads(printed.splitlines()[0])
    assert status == 0 and line["recording"] == str(recording) and line["warnings"] == []
    assert [source["label"] for source in line["sources"]] == ["source_0", "source_1"]
    np.testing.assert_allclose(line["sources"][1]["segments"], [[4.5, 8.0]], atol=0.1)
    status, printed, _ = separate(recording, "--json", "--force")
    line = json.loads(printed.splitlines()[0])
    assert status == 0 and line["warnings"] == ["the channels are already separate voices: use --channels split"]


@pytest.mark.parametrize("option", [("--channels", "split"), ("--num-speakers", "outputs")])
def test_a_fault_of_a_file_is_told_once_and_in_its_line_of_json(separate, tmp_path, call, caplog, option):
    recording = tmp_path / "call.wav"
    soundfile.write(recording, call[:, 0], RATE, subtype="PCM_16")
    recording.write_bytes(with_data_size(recording.read_bytes(), 0))
    status, printed, _ = separate(recording, *option, "--json", "--report", "--plot")
    fault = f"{recording} was not closed: its header says that it holds no samples. All that is there was read."
    assert status == 0 and json.loads(printed.splitlines()[0])["warnings"] == [fault]
    assert [record.getMessage() for record in caplog.records].count(fault) == 1
    page = (tmp_path / "out" / "call_report.html").read_text()
    assert "call.wav was not closed" in page and str(recording) not in page


def test_a_silent_channel_has_no_level(separate, tmp_path, call):
    call[:, 1] = 1e-5 * noise(len(call))
    write(tmp_path / "call.wav", call)
    status, printed, _ = separate(tmp_path / "call.wav", "--channels", "split", "--json")
    sources = json.loads(printed.splitlines()[0])["sources"]
    assert status == 0 and sources[0]["level_db"] < 0
    assert sources[1]["segments"] == [] and sources[1]["level_db"] is None


def test_the_command_mixes_channels(separate, tmp_path):
    stereo = 0.1 * noise(3000, 2)
    write(tmp_path / "a.wav", stereo)
    write(tmp_path / "b.wav", stereo.mean(axis=1))
    assert separate(tmp_path / "a.wav", tmp_path / "b.wav", "--channels", "mix")[0] == 0
    tracks = [soundfile.read(tmp_path / "out" / f"{name}_source_0.wav")[0] for name in "ab"]
    assert tracks[0].shape == (3000,)
    np.testing.assert_allclose(tracks[0], tracks[1], atol=1e-6)


def test_the_command_warns_of_separate_channels(separate, tmp_path, call, caplog):
    recording = write(tmp_path / "call.wav", call)
    assert separate(recording)[0] == 0
    hint = "the channels are already separate voices: use --channels split"
    assert f"{recording}: {hint}." in caplog.text


def test_channels_that_cancel_each_other_in_their_mean_are_told(separate, separator, tmp_path, call, caplog):
    voice = call.sum(axis=1)
    inverted = np.stack([voice + 0.01, 0.01 - voice + 0.005 * noise(len(voice))], axis=1).astype(np.float32)
    recording = write(tmp_path / "a.wav", inverted)
    hint = "the channels cancel each other in their mean, since some are inverted: use --channels each"
    for people in (["--num-speakers", "outputs"], ["--max-speakers", "2"]):
        status, printed, _ = separate(recording, "--channels", "mix", "--json", "--force", *people)
        assert status == 0 and json.loads(printed.splitlines()[0])["warnings"][0] == hint
    assert f"{recording}: {hint}." in caplog.text
    for samples, is_told in ((inverted, True), (call, False), (np.stack([voice, voice], axis=1), False)):
        caplog.clear()
        separator({"array": samples, "sampling_rate": RATE}, channels="mix")
        assert (
            "cancel each other in their mean, since some are inverted: use channels='each'" in caplog.text
        ) == is_told


def test_the_command_refuses_a_number_of_speakers_for_split_channels(separate, tmp_path):
    status, _, errors = separate(tmp_path / "missing.wav", "--channels", "split", "--max-speakers", "2")
    assert status == 1 and "`--channels` is 'split'" in errors


def test_the_command_offers_the_choices_of_the_pipeline(capsys):
    for channels in CHANNELS:
        words = ["separate", "a.wav", "-o", "out", "--channels", channels]
        assert build_parser().parse_args(words).channels == channels
    with pytest.raises(SystemExit):
        build_parser().parse_args(["separate", "a.wav", "-o", "out", "--channels", "left"])
