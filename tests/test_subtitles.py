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

import numpy as np
import pytest
import transformers
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    pipeline,
)

from audioslots_hf.subtitles import Cue, format_srt, format_vtt, join_segments, split_cue, transcribe_sources
from tests.test_readme import CODE, PAGES, ROOT


@pytest.fixture
def recognizer(tmp_path):
    """A pipeline of transformers with a tiny wav2vec 2.0 of random weights, which spells letters."""
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    return pipeline(
        "automatic-speech-recognition",
        model=Wav2Vec2ForCTC(config),
        tokenizer=Wav2Vec2CTCTokenizer(tmp_path / "vocab.json"),
        feature_extractor=Wav2Vec2FeatureExtractor(),
        device="cpu",
    )


def test_the_page_runs_and_writes_subtitles_of_both_people(recognizer, tmp_path, monkeypatch):
    [code] = [
        code for language, code in CODE.findall(PAGES["transcripts.md"].read_text("utf-8")) if language == "python"
    ]
    asked = []

    def build(task, model):
        asked.append((task, model))
        return recognizer

    monkeypatch.setattr(transformers, "pipeline", build)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(code, namespace)
    assert asked == [("automatic-speech-recognition", "openai/whisper-small")]
    assert {cue.speaker for cue in namespace["cues"]} == {"source_0", "source_1"}
    spoken = {source["label"]: source["segments"] for source in namespace["sources"]}
    for cue in namespace["cues"]:
        assert any(start <= cue.start and cue.end <= end for start, end in join_segments(spoken[cue.speaker]))
    srt, vtt = ((tmp_path / f"meeting.{kind}").read_text("utf-8") for kind in ("srt", "vtt"))
    assert "Anna: " in srt and "Boris: " in srt and vtt.startswith("WEBVTT\n\n") and "<v Anna>" in vtt


def test_a_recognizer_hears_each_utterance_alone_at_its_own_rate():
    heard = []

    class Recognizer:
        class feature_extractor:  # noqa: N801
            sampling_rate = 16000

        def __call__(self, audio, **options):
            heard.append((len(audio["raw"]), audio["sampling_rate"], float(np.abs(audio["raw"]).max()), options))
            return {"text": f" word {len(heard)} "}

    samples = np.zeros(8000 * 10, np.float32)
    samples[8000:16000] = 0.5
    sources = [
        {"label": "source_1", "audio": samples, "sampling_rate": 8000, "segments": [(5.0, 5.01), (9.9, 10.0)]},
        # channels last
        {
            "label": "source_0",
            "audio": np.stack([samples, 0 * samples], axis=1),
            "sampling_rate": 8000,
            "segments": [(1.0, 1.5), (1.7, 2.0)],
        },
    ]
    cues = transcribe_sources(sources, Recognizer(), generate_kwargs={"language": "en"})
    assert cues == [
        Cue(1.0, 2.0, "source_0", "word 3"),
        Cue(5.0, 5.01, "source_1", "word 1"),
        Cue(9.9, 10.0, "source_1", "word 2"),
    ]
    # with 0.2 s around it, at least 0.4 s, and within the recording
    assert [length for length, *_ in heard] == [round(0.41 * 16000), round(0.4 * 16000), round(1.4 * 16000)]
    assert {rate for _, rate, *_ in heard} == {16000}
    # the mean of the channels
    assert heard[2][2] == pytest.approx(0.25, rel=0.3) and heard[0][3] == {"generate_kwargs": {"language": "en"}}


def test_utterances_without_words_give_no_cue():
    source = {"label": "source_0", "audio": np.zeros(8000), "sampling_rate": 8000, "segments": [(0.1, 0.9)]}
    assert transcribe_sources([source], lambda audio: {"text": "  "}) == []


def test_short_pauses_join_segments_and_long_speech_is_cut():
    assert join_segments([(0.0, 1.0), (1.5, 2.0), (4.0, 5.0)]) == [(0.0, 2.0), (4.0, 5.0)]
    assert join_segments([(0.0, 60.0)]) == [(0.0, 20.0), (20.0, 40.0), (40.0, 60.0)]
    assert join_segments([(0.0, 20.0), (20.5, 30.0)]) == [(0.0, 20.0), (20.5, 30.0)]
    assert join_segments([]) == []


def test_long_cues_are_cut_between_words_and_share_the_time():
    parts = split_cue(Cue(10.0, 20.0, "source_0", "one two three four"), max_characters=8)
    assert [part.text for part in parts] == ["one two", "three", "four"]
    np.testing.assert_allclose([part.start for part in parts], [10, 14.375, 17.5])
    assert parts[-1].end == 20.0 and parts[0].end == parts[1].start
    assert split_cue(Cue(0.0, 1.0, "source_0", "x" * 200))[0].text == "x" * 200


def test_subtitles_have_the_form_of_srt_and_webvtt():
    cues = [Cue(0.5, 2.25, "source_0", "Tea & milk?"), Cue(3661.0, 3662.9996, "source_1", "Yes.")]
    assert format_srt(cues, {"source_0": "Anna"}) == (
        "1\n00:00:00,500 --> 00:00:02,250\nAnna: Tea & milk?\n\n2\n01:01:01,000 --> 01:01:03,000\nsource_1: Yes.\n\n"
    )
    assert format_vtt(cues, {"source_0": "Anna <A>"}) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.250\n<v Anna &lt;A&gt;>Tea &amp; milk?\n\n"
        "01:01:01.000 --> 01:01:03.000\n<v source_1>Yes.\n\n"
    )
