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
import csv
import json

import pytest
import torch
from transformers import AutoModel

from audioslots_hf import (
    AudioSlotsConfig,
    AudioSlotsFeatureExtractor,
    AudioSlotsForAudioSeparation,
    GalrConfig,
    GalrForAudioSeparation,
    WaveformFeatureExtractor,
)
from tests.conftest import SAMPLES, TINY_DUAL_PATH, tiny_audioslots_config
from training import publish, run_evaluation
from training.arguments import MixtureArguments, SettingsError
from training.data import Mixture, load_mixtures, read_metadata
from training.evaluation import evaluate_mixture, evaluate_mixtures, oracle_separator, summarize


@pytest.fixture(scope="module")
def mixtures() -> list[Mixture]:
    listed = MixtureArguments(metadata=str(SAMPLES / "valid.csv"), root=str(SAMPLES / "speech"))
    mixtures = load_mixtures(listed, 16000, num_sources=2)
    return [mixtures[index] for index in range(len(mixtures))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model of two sources at the rate of the samples, with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = tiny_audioslots_config(sampling_rate=16000, chunk_length=4000, n_fft=512, hop_length=250)
    AudioSlotsForAudioSeparation(config).save_pretrained(folder)
    AudioSlotsFeatureExtractor(chunk_length=4000, n_fft=512, hop_length=250).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def waveform_checkpoint(tmp_path_factory):
    """A GALR at the rate of the samples, with random weights."""
    folder = tmp_path_factory.mktemp("galr")
    torch.manual_seed(0)
    values = {**TINY_DUAL_PATH, "sampling_rate": 16000, "chunk_length": 16000, "num_attention_heads": 2}
    GalrForAudioSeparation(GalrConfig(**values)).save_pretrained(folder)
    WaveformFeatureExtractor(chunk_length=16000).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("protocol", ["practical", "paper"])
def test_the_oracle_separates_without_a_model(mixtures, protocol):
    feature_extractor = AudioSlotsFeatureExtractor()
    scores = summarize(evaluate_mixtures(mixtures, None, feature_extractor, protocol))
    assert scores["num_mixtures"] == 2
    # about what magnitude masks can do: 12 to 13 dB on the test set of the paper
    assert 8 < scores["si_snri"] < 20


def test_the_papers_protocol_orders_chunks_that_the_practical_one_cannot(mixtures):
    """A model that knows the magnitudes, but swaps its slots from chunk to chunk."""
    feature_extractor = AudioSlotsFeatureExtractor()
    mixture = mixtures[0]
    scores = {}
    for protocol, hop_length in (("paper", 8000), ("unordered", 8000)):
        oracle = oracle_separator(mixture.references, feature_extractor, hop_length)

        def swap(chunks, oracle=oracle):
            estimates = oracle(chunks)
            estimates[1::2] = estimates[1::2].flip(1)
            return estimates

        scores[protocol] = evaluate_mixture(mixture, swap, 8000, hop_length, protocol)["si_snri"]
    assert scores["paper"] > scores["unordered"] + 5


def test_an_autoencoder_is_scored_by_its_reconstructions(mixtures):
    """A bottleneck that loses nothing reaches the oracle."""
    feature_extractor = AudioSlotsFeatureExtractor()

    class Identity(torch.nn.Module):
        config = AudioSlotsConfig(num_slots=1)
        device = torch.device("cpu")

        def forward(self, input_features, **kwargs):
            return type("Outputs", (), {"estimates": input_features[:, None]})

    for protocol in ("practical", "paper"):
        scores = [summarize(evaluate_mixtures(mixtures, m, feature_extractor, protocol)) for m in (Identity(), None)]
        assert scores[0]["si_snri"] == pytest.approx(scores[1]["si_snri"], abs=1e-3)


def test_a_random_model_does_not_separate(mixtures, checkpoint):
    model = AutoModel.from_pretrained(checkpoint)
    feature_extractor = AudioSlotsFeatureExtractor(chunk_length=4000, n_fft=512, hop_length=250)
    assert abs(summarize(evaluate_mixtures(mixtures, model, feature_extractor))["si_snri"]) < 2


def test_unknown_protocols_are_named(mixtures):
    with pytest.raises(ValueError, match="'oracle'.*practical, paper"):
        list(evaluate_mixtures(mixtures, None, AudioSlotsFeatureExtractor(), "oracle"))


def run(checkpoint, output, *options):
    arguments = ["--model", checkpoint, "--root", SAMPLES / "speech", "--metadata", SAMPLES / "valid.csv"]
    run_evaluation.main([str(word) for word in [*arguments, "--output", output, *options]])
    return json.loads((output / "results.json").read_text())


def test_the_command_writes_results_that_agree_with_their_rows(checkpoint, tmp_path, capsys):
    results = run(checkpoint, tmp_path)
    assert set(results["rows"]) == {"oracle_practical", "model_practical", "oracle_paper", "model_paper"}
    for name, row in results["rows"].items():
        with open(tmp_path / f"{name}.csv", newline="") as file:
            values = [float(line["si_snri"]) for line in csv.DictReader(file)]
        assert row["num_mixtures"] == len(values) == 2
        assert row["si_snri"] == pytest.approx(sum(values) / 2)
    rows = results["rows"]
    expected = rows["model_paper"]["si_snri"] / rows["oracle_paper"]["si_snri"]
    assert results["ratio_to_oracle"]["paper"] == pytest.approx(expected)
    assert results["weights"]["num_parameters"] == AutoModel.from_pretrained(checkpoint).num_parameters()
    assert "model_practical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-mixtures", "0"], "--num-mixtures is 0"),
        (["--root", "nowhere"], "nowhere"),
        (["--device", "abacus"], "abacus"),
        (["--model", "nobody/nothing"], "nobody/nothing"),
    ],
)
def test_bad_options_are_named_before_any_work(checkpoint, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit):
        run(checkpoint, tmp_path / "out", *options)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_metadata_of_another_number_of_sources_is_refused():
    with pytest.raises(SettingsError, match="2 sources, but the model has 3"):
        read_metadata(SAMPLES / "valid.csv", SAMPLES / "speech", num_sources=3)


def test_an_exported_model_is_half_the_size_and_computes_in_float32(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "CHECKPOINTS_DIR", tmp_path)
    folder = publish.export(checkpoint, "tiny")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    full, exported = AutoModel.from_pretrained(checkpoint), AutoModel.from_pretrained(folder)
    assert exported.dtype == torch.float32
    for name, value in full.state_dict().items():
        # half precision has 11 bits
        torch.testing.assert_close(exported.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    size = (checkpoint / "model.safetensors").stat().st_size
    assert (folder / "model.safetensors").stat().st_size < 0.75 * size


def test_results_replace_what_stands_between_the_marks(checkpoint, tmp_path):
    results = run(checkpoint, tmp_path)
    card = tmp_path / "card.md"
    card.write_text("before\n<!-- results:start -->\nold\n<!-- results:end -->\nafter\n")
    publish.insert_results(card, [results])
    text = card.read_text()
    assert text.startswith("before\n<!-- results:start -->\n") and text.endswith("<!-- results:end -->\nafter\n")
    assert "old" not in text and f"{results['rows']['model_practical']['si_snri']:.2f}" in text
    card.write_text("no marks")
    with pytest.raises(ValueError, match="results:start"):
        publish.insert_results(card, [results])
    with pytest.raises(ValueError, match="`metadata` other.csv"):
        publish.format_results([results, {**results, "metadata": "other.csv"}])


def test_a_model_of_waveforms_has_no_oracle_and_no_masks(waveform_checkpoint, checkpoint, tmp_path):
    results = run(waveform_checkpoint, tmp_path / "galr")
    assert set(results["rows"]) == {"model_practical", "model_paper"}
    assert "mask" not in results and results["model_type"] == "galr"
    table = publish.format_results([results, run(checkpoint, tmp_path / "audioslots")])
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:]
    assert names[0].endswith("(galr)") and names[1].startswith("oracle") and names[2].endswith("(audioslots)")
