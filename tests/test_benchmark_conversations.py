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
import argparse

import numpy as np
import pytest
import torch

from audioslots_hf.publishing import hash_weights
from audioslots_hf.shipped import CHECKPOINTS_DIR
from tests.data.helpers import write_voices
from training import report
from training.benchmark import conversations
from training.benchmark.__main__ import main
from training.benchmark.conversations import ConversationList, SpeechList, separate, summarize
from training.data.activity import fill_frames
from training.data.conversations import ConversationSimulator, ConversationStyle
from training.reporting.conversations import read_conversations
from training.reporting.rttm import read_rttm
from training.settings import SettingsError


OUTPUTS = ["--num-speakers", "outputs"]


def parse(root, *words):
    parser = argparse.ArgumentParser()
    conversations.add_arguments(parser)
    return parser.parse_args(["--root", str(root), *words])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with speech of three speakers, and none of another name."""
    folder = write_voices(tmp_path / "voices", 16000, num_voices=3)
    rows = [f"{path.relative_to(folder).as_posix()},{path.parent.name}" for path in sorted(folder.rglob("*.wav"))]
    (tmp_path / "voices.csv").write_text("\n".join(["path,speaker", *rows]) + "\n")
    monkeypatch.setattr(
        conversations,
        "SPEECH",
        {"here": SpeechList("voices", str(tmp_path / "voices.csv")), "missing": SpeechList("elsewhere", "no.csv")},
    )
    return tmp_path


@pytest.fixture
def oracle(monkeypatch):
    """A pipeline that knows the references, in the opposite order."""
    known = {}
    draw = ConversationSimulator.__getitem__

    def remember(simulator, index):
        conversation = draw(simulator, index)
        known[conversation.mixture.tobytes()] = conversation.references
        return conversation

    def pipeline(mixture, sampling_rate, show_progress, num_speakers):
        assert num_speakers == "outputs"
        return [{"audio": reference} for reference in known[mixture.tobytes()][::-1]]

    monkeypatch.setattr(ConversationSimulator, "__getitem__", remember)
    monkeypatch.setattr(conversations, "load_separator", lambda model, device: pipeline)
    return pipeline


def test_an_oracle_scores_best_in_every_list(root, oracle, capsys):
    options = parse(root, "--durations", "12", "--overlaps", "0", "30", "--recordings", "2", *OUTPUTS)
    results = conversations.run(options)
    assert list(results["lists"]) == [
        "here, 2 voices, 12 s, overlap 0 %",
        "here, 2 voices, 12 s, overlap 30 %",
        "here, 3 voices, 12 s, overlap 0 %",
        "here, 3 voices, 12 s, overlap 30 %",
        "here, 1 voice, 12 s, overlap 0 %",
    ]
    for scores in results["lists"].values():
        assert scores["si_sdr"] == 60 and scores["own_track"] == 1 and scores["swaps_per_minute"] == 0
        assert scores["count_accuracy"] == 1 and scores["der"] < 0.05 and scores["real_time_factor"] < 1
    assert results["model"] == "galr-small"
    assert capsys.readouterr().out.count("| here,") == 5


def test_the_lists_of_several_runs_are_in_one_file(root, oracle):
    path = root / "results" / "conversations.json"
    words = ["--voices", "2", "--durations", "5", *OUTPUTS, "--output", str(path)]
    first = conversations.run(parse(root, *words, "--overlaps", "20", "0", "--recordings", "1"))
    second = conversations.run(parse(root, *words, "--overlaps", "0", "--recordings", "2"))
    [result] = read_conversations(path)
    assert result["lists"] == first["lists"] | second["lists"] and len(result["lists"]) == 2
    assert result | {"lists": None} == first | {"lists": None}
    assert result["weights"]["sha256"] == hash_weights(CHECKPOINTS_DIR / "galr-small")
    assert [scores["num_recordings"] for scores in result["lists"].values()] == [1, 2]


def test_another_file_is_not_written_over(root, oracle):
    path = root / "results.json"
    path.write_text('{"rows": {}}')
    with pytest.raises(
        SettingsError, match=r"results\.json is not a file of training\.benchmark conversations --output"
    ):
        conversations.run(parse(root, "--output", str(path), *OUTPUTS))
    assert path.read_text() == '{"rows": {}}'


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--output", "voices", "voices is a folder: name a file"),
        ("--output", "voices.csv/results.json", "voices.csv is a file, not a folder"),
        ("--rttm", "voices.csv", "voices.csv is a file, not a folder"),
        ("--num-speakers", "some", "'some' is neither a whole number nor auto nor outputs nor true"),
    ],
)
def test_outputs_that_cannot_be_written_and_other_words_end_the_command_before_any_work(
    root, monkeypatch, capsys, option, value, message
):
    monkeypatch.setattr(conversations, "load_separator", lambda model, device: pytest.fail("a model is loaded"))
    value = value if option == "--num-speakers" else str(root / value)
    monkeypatch.setattr("sys.argv", ["benchmark", "conversations", "--root", str(root), option, value])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_named(root, tmp_path):
    with pytest.raises(
        SettingsError, match=r"--model: The model .* cannot be loaded: the folder holds no config\.json"
    ):
        conversations.run(parse(root, "--model", str(tmp_path / "voices")))


def test_the_report_draws_who_speaks_when_in_every_recording(root, oracle):
    results = root / "results"
    words = ["--durations", "5", "--voices", "2", *OUTPUTS, "--rttm", str(results)]
    conversations.run(parse(root, *words, "--overlaps", "20", "--recordings", "2"))
    conversations.run(parse(root, *words, "--overlaps", "0", "20", "--recordings", "1"))
    truth, tracks = (read_rttm(results / name) for name in ("truth.rttm", "tracks.rttm"))
    names = [
        f"here,_2_voices,_5_s,_overlap_{overlap}_%,_recording_{index}" for overlap, index in ((20, 1), (0, 0), (20, 0))
    ]
    assert list(truth) == list(tracks) == names
    for name in names:
        # the oracle's tracks are in another order, and the activity of its tracks is found by their level
        for voice, track in zip(truth[name], tracks[name][::-1], strict=True):
            np.testing.assert_allclose([voice[0][0], voice[-1][-1]], [track[0][0], track[-1][-1]], atol=0.1)
    report.main(["--results", str(results), "--output", str(root / "report")])
    text = (root / "report" / "report.md").read_text()
    pictures = [
        f"results_here_2_voices_5_s_overlap_{overlap}_recording_{index}.png"
        for overlap, index in ((20, 1), (0, 0), (20, 0))
    ]
    assert sorted(path.name for path in (root / "report").glob("*.png")) == sorted(pictures)
    assert all(f"({picture})" in text for picture in pictures)


def test_the_mixture_on_every_track_is_seen(root, monkeypatch):
    monkeypatch.setattr(
        conversations, "load_separator", lambda model, device: lambda mixture, **options: [{"audio": mixture}] * 2
    )
    options = parse(root, "--durations", "10", "--overlaps", "20", "--voices", "2", "--recordings", "1", *OUTPUTS)
    (scores,) = conversations.run(options)["lists"].values()
    assert scores["si_sdri"] == pytest.approx(0, abs=1e-6) and scores["own_track"] == 0


def test_quick_is_one_list(root):
    (kind,) = conversations.plan(parse(root, "--quick"))
    assert kind == ConversationList("here", ConversationStyle(2, 60.0, 0.2))


def test_segments_are_taken_where_people_are_told_apart():
    def pipeline(mixture, sampling_rate, show_progress, **options):
        return [{"audio": mixture, "segments": [(0.0, 0.5), (0.8, 1.2)]}, {"audio": mixture, "segments": []}]

    recording = np.stack([np.ones(16000, np.float32), np.zeros(16000, np.float32)])
    assert separate(pipeline, recording, "outputs")[1] is None
    tracks, activity = separate(pipeline, recording, "auto")
    # the means of the channels
    assert (tracks == 0.5).all()
    assert tracks.shape == (2, 16000)
    assert activity.sum(axis=1).tolist() == [70, 0]
    assert np.flatnonzero(fill_frames([[(0.25, 0.27)]], 100)).tolist() == [25, 26]


def test_a_pipeline_may_find_nobody():
    tracks, activity = separate(lambda mixture, **options: [], np.zeros((1, 16000), np.float32), "auto")
    assert tracks.shape == (0, 16000) and activity is None


def test_undefined_scores_are_left_out_of_means():
    rows = [
        {"si_sdri": None, "der": 0.2, "count_is_right": True},
        {"si_sdri": 4.0, "der": 0.4, "count_is_right": False},
    ]
    assert summarize(rows) == {"si_sdri": 4.0, "der": pytest.approx(0.3), "count_accuracy": 0.5}
    assert summarize(rows[:1])["si_sdri"] is None


def test_speech_that_is_not_there_is_named(root):
    options = parse(root)
    options.speech = ["missing"]
    with pytest.raises(SettingsError, match="elsewhere is no folder: missing belongs there"):
        conversations.plan(options)
    with pytest.raises(SettingsError, match="holds none of voices, elsewhere"):
        conversations.plan(parse(root / "voices"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--voices", "1", "--overlaps", "20"], "--voices 1 needs --overlaps 0"),
        (["--recordings", "0"], "at least 1"),
        (["--num-speakers", "0"], "--num-speakers is 0: it must be at least 1"),
        (["--truth", "both", "--num-speakers", "outputs"], "--num-speakers outputs tells no people apart"),
        (["--online", "--num-speakers", "outputs"], "--num-speakers outputs tells no people apart"),
        (["--truth", "both", "--online"], "leave out --online"),
        (["--truth", "both", "--num-speakers", "true", "--panning", "6"], "--truth cannot be combined with --panning"),
        (["--passes", "2", "--num-speakers", "true", "--online"], "--passes 2 cannot be combined"),
        (["--channels", "mix", "--panning", "0", "6"], "--channels mix needs --panning above 0"),
    ],
)
def test_lists_that_cannot_be_are_refused(root, words, message):
    with pytest.raises(SettingsError, match=message):
        conversations.run(parse(root, *words))


# of speakers and of utterances
SIZES = {
    "librispeech_test.csv": (10, 100),
    "speechocean762_test.csv": (16, 365),
    "prompts_speech.csv": (5, 200),
    "librispeech_valid.csv": (20, 20),
    "speechocean762_valid.csv": (12, 254),
}


@pytest.mark.parametrize("speech", conversations.SPEECH.values(), ids=lambda speech: speech.csv)
def test_the_lists_of_speech_ship(speech):
    header, *lines = (conversations.METADATA / speech.csv).read_text("utf-8").splitlines()
    assert header.startswith("path,speaker,num_samples")
    # without it, all files are read to measure it
    assert header.endswith(",loudness") or len(lines) < 100
    assert (len({line.split(",")[1] for line in lines}), len(lines)) == SIZES[speech.csv]


def test_people_on_whom_thresholds_were_chosen_are_not_among_the_default(root):
    (root / "voices").rename(root / "speech")
    lists = {
        "here": SpeechList("speech", str(root / "voices.csv")),
        "here-valid": SpeechList("speech", str(root / "voices.csv")),
    }
    conversations.SPEECH.clear()
    conversations.SPEECH.update(lists)
    options = parse(root)
    assert conversations.find_speech(options) == ["here"]
    options.speech = ["here-valid"]
    assert conversations.find_speech(options) == ["here-valid"]


def test_the_number_of_people_goes_to_the_pipeline(root, oracle, monkeypatch):
    given = []

    def pipeline(mixture, sampling_rate, show_progress, **options):
        given.append(options)
        return [{"audio": mixture, "segments": []}]

    monkeypatch.setattr(conversations, "load_separator", lambda *args, **options: pipeline)
    words = ["--durations", "5", "--overlaps", "0", "--voices", "1", "3", "--recordings", "1"]
    for option, expected in ((["auto"], ["auto", "auto"]), (["true"], [1, 3]), (["2"], [2, 2])):
        assert conversations.run(parse(root, *words, "--num-speakers", *option))["num_speakers"] in ("auto", "true", 2)
        assert [options["num_speakers"] for options in given] == expected
        given.clear()
    conversations.run(parse(root, *words))
    conversations.run(parse(root, *words, "--num-speakers", "2", "--passes", "4"))
    # by name, so that without a voice encoder there is an error, and no outputs are taken for people
    assert given == [{"num_speakers": "auto"}] * 2 + [{"num_speakers": 2, "passes": 4}] * 2


def test_the_online_form_is_scored_as_a_stream_of_short_blocks(root, monkeypatch):
    class Online:
        sampling_rate = 16000

        def __init__(self, num_speakers):
            assert num_speakers == 2
            # the third track is nobody's
            self.segments = [[(0.0, 5.0)], [(0.0, 5.0)], []]

        def stream(self, blocks):
            for block in blocks:
                assert block.shape[0] == 1 and block.shape[1] <= 1600
                yield torch.stack([block, 0.5 * block, block], dim=1)

    class Pipeline:
        def online_conversation(self, num_speakers):
            return Online(num_speakers)

    monkeypatch.setattr(conversations, "load_separator", lambda *args, **options: Pipeline())
    words = [
        "--durations",
        "5",
        "--overlaps",
        "0",
        "--voices",
        "2",
        "--recordings",
        "1",
        "--num-speakers",
        "2",
        "--online",
    ]
    results = conversations.run(parse(root, *words))
    [scores] = results["lists"].values()
    # two tracks, both of them the mixture
    assert results["online"] and scores["count_accuracy"] == 1 and scores["si_sdri"] == pytest.approx(0, abs=1e-3)


def test_rooms_have_lists_of_their_own(root):
    kinds = conversations.plan(
        parse(root, "--voices", "2", "--durations", "60", "--overlaps", "20", "--rt60", "0", "0.4")
    )
    assert [str(kind) for kind in kinds] == [
        "here, 2 voices, 60 s, overlap 20 %",
        "here, 2 voices, 60 s, overlap 20 %, room 0.4 s",
    ]


def test_panned_voices_have_lists_of_their_own(root, monkeypatch):
    draw = ConversationSimulator.__getitem__
    drawn, given = [], []

    def remember(simulator, index):
        drawn.append(draw(simulator, index))
        return drawn[-1]

    def pipeline(recording, **options):
        given.append(recording)
        return [{"audio": voice} for voice in drawn[-1].gains.T[..., None] * drawn[-1].references[:, None]]

    monkeypatch.setattr(ConversationSimulator, "__getitem__", remember)
    monkeypatch.setattr(conversations, "load_separator", lambda model, device: pipeline)
    words = ["--voices", "2", "--durations", "5", "--overlaps", "20", "--recordings", "1"]
    [(name, scores)] = conversations.run(parse(root, *words, "--panning", "6", *OUTPUTS))["lists"].items()
    assert name == "here, 2 voices, 5 s, overlap 20 %, panned by 6 dB"
    assert given[0].shape == (2, 80000) and scores["si_sdr"] == 60


@pytest.mark.parametrize("is_online", [False, True])
def test_without_the_panning_the_mean_of_the_channels_is_heard(root, monkeypatch, is_online):
    given = []

    class Pipeline:
        def __call__(self, recording, channels, **options):
            given.append(recording)
            # tracks of one channel
            return [{"audio": recording.mean(axis=0), "segments": []}] * 2 if channels == "mix" else []

        def online_conversation(self, num_speakers):
            return argparse.Namespace(sampling_rate=16000, segments=[[(0.0, 5.0)]], stream=self.stream)

        def stream(self, blocks):
            heard = torch.cat(list(blocks), dim=-1)
            given.append(heard)
            yield heard[:, None]

    monkeypatch.setattr(conversations, "load_separator", lambda model, device: Pipeline())
    words = ["--voices", "2", "--durations", "5", "--overlaps", "20", "--recordings", "1", "--panning", "6"]
    results = conversations.run(parse(root, *words, "--channels", "mix", *(["--online"] if is_online else [])))
    [scores] = results["lists"].values()
    assert results["channels"] == "mix" and scores["si_sdri"] == pytest.approx(0, abs=1e-3)
    assert given[0].shape == (1 if is_online else 2, 80000)


def test_each_truth_is_a_row_of_its_list(root, monkeypatch):
    class Form:
        truths = None

        def __init__(self, pipeline, conversation, sampling_rate, num_speakers):
            assert num_speakers == (None if pipeline == "auto" else 2)
            self.conversation, self.sampling_rate = conversation, sampling_rate
            self.mixture = torch.from_numpy(conversation.mixture)[None]

        def separate(self, waveforms):
            # one experiment is true, and the other gives the mixture to one person
            rows = self.conversation.references if self.truths else waveforms.numpy()
            tracks = torch.from_numpy(np.stack([rows[0], rows[-1]]))[None]
            return tracks, argparse.Namespace(segments=[[(0.0, 5.0)], []])

    monkeypatch.setattr(conversations, "TrueConversationSeparator", Form)
    words = ["--durations", "5", "--overlaps", "20", "--voices", "2", "--recordings", "1", "--truth", "none", "both"]
    for number in ("auto", "true"):
        monkeypatch.setattr(conversations, "load_separator", lambda *args, number=number, **options: number)
        lists = conversations.run(parse(root, *words, "--num-speakers", number))["lists"]
        assert list(lists) == [f"here, 2 voices, 5 s, overlap 20 %, truth: {truth}" for truth in ("none", "both")]
        ratios = [scores["si_sdri"] for scores in lists.values()]
        assert ratios[0] == pytest.approx(0, abs=1e-3) and ratios[1] > 20
