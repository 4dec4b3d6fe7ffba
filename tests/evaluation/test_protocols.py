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

import pytest
import torch
from transformers import AutoModel

from audioslots_hf import (
    AudioSlotsConfig,
    AudioSlotsFeatureExtractor,
    WaveformFeatureExtractor,
)
from audioslots_hf.chunking import SeparatedChunks
from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.metrics import si_snr
from audioslots_hf.voice_encoders import load_voice_encoder
from tests.conftest import SAMPLES
from training.data.libri2mix import read_metadata
from training.data.mixtures import Mixture
from training.evaluation.protocols import PEOPLE, People, join_mixtures
from training.evaluation.scoring import evaluate_mixtures, score_estimates, summarize
from training.evaluation.separators import OracleSeparator
from training.settings import SettingsError


@pytest.mark.parametrize("protocol", ["order_by_tracker", "order_by_references"])
def test_the_oracle_separates_without_a_model(mixtures, protocol):
    feature_extractor = AudioSlotsFeatureExtractor()
    scores = summarize(evaluate_mixtures(mixtures, None, feature_extractor, protocol))
    assert scores["num_mixtures"] == 2
    # about the limit of magnitude masks: 12 to 13 dB on the test set of the paper
    assert 8 < scores["si_snri"] < 20


def test_references_order_chunks_that_the_tracker_cannot(mixtures):
    """A model that knows the magnitudes, but swaps its slots from chunk to chunk."""

    class SwappingOracle(OracleSeparator):
        def separate_chunks(self, chunks):
            estimates = super().separate_chunks(chunks).estimates.clone()
            estimates[1::2] = estimates[1::2].flip(1)
            return SeparatedChunks(estimates)

    scores = {}
    for name, order_by_references in (("order_by_references", True), ("unordered", False)):
        separator = SwappingOracle(
            AudioSlotsFeatureExtractor(), chunk_hop_length=8000, order_by_references=order_by_references
        )
        (separated,) = join_mixtures(mixtures[:1], separator)
        scores[name] = score_estimates(*separated)["si_snri"]
    assert scores["order_by_references"] > scores["unordered"] + 5


def test_an_autoencoder_is_scored_by_its_reconstructions(mixtures):
    """A bottleneck that loses nothing reaches the oracle."""
    feature_extractor = AudioSlotsFeatureExtractor()

    class Identity(torch.nn.Module):
        config = AudioSlotsConfig(num_slots=1)
        device = torch.device("cpu")

        def forward(self, input_features, **kwargs):
            # as any network, it makes something of silence
            is_silent = (input_features == 0).all(dim=(1, 2), keepdim=True)
            return type("Outputs", (), {"estimates": (input_features + is_silent)[:, None]})

    references = mixtures[0].references.clone()
    references[1, references.shape[1] // 2 :] = 0
    for protocol in ("order_by_tracker", "order_by_references"):
        for listed in (mixtures, [Mixture("ends early", references)]):
            results = [evaluate_mixtures(listed, model, feature_extractor, protocol) for model in (Identity(), None)]
            found, expected = (summarize(result)["si_snri"] for result in results)
            assert found == pytest.approx(expected, abs=1e-3)


def test_a_random_model_does_not_separate(mixtures, checkpoint):
    model = AutoModel.from_pretrained(checkpoint)
    feature_extractor = AudioSlotsFeatureExtractor(chunk_length=4000, n_fft=512, hop_length=250)
    assert abs(summarize(evaluate_mixtures(mixtures, model, feature_extractor))["si_snri"]) < 2


def test_unknown_protocols_are_named(mixtures):
    with pytest.raises(ValueError, match="'oracle'.*order_by_tracker, order_by_references"):
        list(evaluate_mixtures(mixtures, None, AudioSlotsFeatureExtractor(), "oracle"))


def test_mixtures_separated_together_score_as_each_alone(mixtures, checkpoint):
    models = [None, AutoModel.from_pretrained(checkpoint)]
    feature_extractor = AudioSlotsFeatureExtractor(chunk_length=4000, n_fft=512, hop_length=250)
    short = Mixture("short", mixtures[0].references[:, :1234])
    several = [short, mixtures[0], short, mixtures[1]]
    for model in models:
        for protocol in ("order_by_tracker", "order_by_references"):
            together = list(evaluate_mixtures(several, model, feature_extractor, protocol))
            alone = [next(evaluate_mixtures([mixture], model, feature_extractor, protocol)) for mixture in several]
            for first, second in zip(together, alone, strict=True):
                # other batch sizes round differently
                assert first == pytest.approx(second, abs=1e-3)


def test_mixtures_are_read_as_they_are_needed(mixtures):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield Mixture(str(len(read)), mixtures[0].references[:, :8000])

    results = evaluate_mixtures(endless(), None, AudioSlotsFeatureExtractor(), "order_by_references")
    assert [next(results)["mixture_id"] for _ in range(17)][-1] == "17"
    # batches of 16 chunks
    assert len(read) == 32


def test_metadata_of_another_number_of_sources_is_refused():
    with pytest.raises(SettingsError, match="2 sources, but the model has 3"):
        read_metadata(SAMPLES / "valid.csv", SAMPLES / "speech", num_sources=3)


def test_only_sources_that_sound_and_have_an_estimate_are_scored():
    sounds = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    mixture = Mixture("a", torch.stack([sounds[0], torch.zeros(4000), sounds[1]]))
    estimates = torch.stack([sounds[2], sounds[1] + 0.1 * sounds[0], sounds[0] + 0.1 * sounds[1]])
    scores = score_estimates(mixture, estimates)
    expected = {}
    for number, estimate in ((1, estimates[2]), (3, estimates[1])):
        reference = mixture.references[number - 1]
        ratio, of_mixture = (si_snr(signal, reference).item() for signal in (estimate, mixture.waveform))
        expected |= {f"source_{number}_si_snr": ratio, f"source_{number}_si_snri": ratio - of_mixture}
        assert scores[f"source_{number}_input_si_snr"] == of_mixture
    assert {key: scores[key] for key in expected} == expected
    # nothing is no source, and the noise is an estimate of none
    assert scores["source_2_si_snr"] is scores["source_2_si_snri"] is scores["source_2_input_si_snr"] is None
    assert (scores["num_missed"], scores["num_false"]) == (0, 1)
    assert scores["si_snri"] == pytest.approx((expected["source_1_si_snri"] + expected["source_3_si_snri"]) / 2)
    missed = score_estimates(mixture, estimates[2:])
    assert (missed["num_missed"], missed["num_false"]) == (1, 0) and missed["source_3_si_snr"] is None
    assert missed["si_snri"] == expected["source_1_si_snri"]
    nothing = score_estimates(mixture, estimates[:0])
    assert (nothing["num_missed"], nothing["num_false"], nothing["si_snri"]) == (2, 0, None)
    assert summarize([scores, missed, nothing]) == {
        "num_mixtures": 3,
        "si_snr": pytest.approx((scores["si_snr"] + missed["si_snr"]) / 2),
        "si_snri": pytest.approx((scores["si_snri"] + missed["si_snri"]) / 2),
        "num_missed": 3,
        "num_false": 1,
    }
    assert summarize([nothing])["si_snri"] is None


def test_tracks_of_people_are_scored_whatever_their_number(mixtures, waveform_checkpoint, monkeypatch):
    """A separator of people who are the references, and one more."""
    asked = []

    class Conversation(ConversationSeparator):
        def separate(self, waveform):
            asked.append((self.num_speakers, self.max_speakers))
            [mixture] = [mixture for mixture in mixtures if torch.equal(mixture.waveform, waveform[0])]
            false = torch.randn(1, len(mixture.waveform), generator=torch.Generator().manual_seed(0))
            return torch.cat([mixture.references.flip(0), false])[None], None

    monkeypatch.setattr("training.evaluation.protocols.ConversationSeparator", Conversation)
    model = AutoModel.from_pretrained(waveform_checkpoint)
    for numbers in ({}, {"num_speakers": 3}, {"max_speakers": 4}):
        people = People(torch.nn.Identity(), **numbers)
        results = list(
            evaluate_mixtures(mixtures, model, WaveformFeatureExtractor(chunk_length=16000), PEOPLE, people=people)
        )
        assert asked == [(numbers.get("num_speakers"), numbers.get("max_speakers"))] * 2
        assert people.describe() == numbers
        assert [(score["num_missed"], score["num_false"]) for score in results] == [(0, 1), (0, 1)]
        assert min(score["si_snr"] for score in results) > 100
        asked.clear()


def test_a_mixture_of_too_few_words_for_so_many_people_is_named(mixtures, waveform_checkpoint):
    short = Mixture("a word", mixtures[0].references[:, 16000:32000])
    people = People(load_voice_encoder(), num_speakers=5)
    model = AutoModel.from_pretrained(waveform_checkpoint)
    with pytest.raises(SettingsError, match="Scoring stops at a word: The recording holds too little speech for 5"):
        list(evaluate_mixtures([short], model, WaveformFeatureExtractor(chunk_length=16000), PEOPLE, people=people))
