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
import sys

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel
from transformers.dynamic_module_utils import get_imports

import audioslots_hf
from audioslots_hf import VoiceEncoderConfig, VoiceEncoderEnsembleConfig, VoiceEncoderEnsembleModel, VoiceEncoderModel
from audioslots_hf.modeling_voice_encoder import log_mel_spectrogram, mel_filters
from audioslots_hf.shipped import list_checkpoints
from audioslots_hf.voice_encoders import (
    DEFAULT_VOICE_ENCODER,
    VOICES_DIR,
    list_voice_encoders,
    load_voice_encoder,
)
from tests.conftest import SAMPLES
from training.data.audio import read_audio


TINY = {
    "num_mel_bins": 16,
    "conv_channels": 4,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "pooling_size": 16,
    "attention_size": 8,
    "embedding_size": 8,
}


# encoders with other windows, bands and widths
TINY_ENCODERS = [TINY, TINY | {"n_fft": 400, "num_mel_bins": 24, "hidden_size": 8, "embedding_size": 12}]


def build_single() -> VoiceEncoderModel:
    torch.manual_seed(0)
    return as_trained(VoiceEncoderModel(VoiceEncoderConfig(**TINY)))


def build_ensemble() -> VoiceEncoderEnsembleModel:
    torch.manual_seed(0)
    return as_trained(VoiceEncoderEnsembleModel(VoiceEncoderEnsembleConfig(encoders=TINY_ENCODERS)))


def as_trained(model: torch.nn.Module) -> torch.nn.Module:
    """With statistics as after training, which a fresh model has not"""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture
def model() -> VoiceEncoderModel:
    return build_single()


@pytest.fixture(params=[(build_single, 8), (build_ensemble, 20)], ids=["single", "ensemble"])
def encoder(request) -> tuple[torch.nn.Module, int]:
    """A voice encoder of either kind, and the width of its embeddings"""
    build, size = request.param
    return build(), size


def draw_speech(batch_size: int = 2, num_samples: int = 16000) -> torch.Tensor:
    """Noise whose level moves as that of speech does"""
    generator = torch.Generator().manual_seed(1)
    envelopes = torch.rand(batch_size, num_samples // 1000 + 1, generator=generator).repeat_interleave(1000, dim=1)
    return torch.randn(batch_size, num_samples, generator=generator) * envelopes[:, :num_samples] * 0.1


@pytest.mark.parametrize("num_samples", [16000, 16001, 15999, 32000, 500, 100])
@torch.no_grad()
def test_an_embedding_has_length_1_for_any_number_of_samples(encoder, num_samples):
    model, size = encoder
    embeddings = model(draw_speech(3, num_samples)).embeddings
    assert embeddings.shape == (3, size) and embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("gain", [1e-6, 0.01, 30.0, 1e6])
@torch.no_grad()
def test_the_level_of_a_waveform_makes_no_difference(encoder, gain):
    model, _ = encoder
    speech = draw_speech()
    torch.testing.assert_close(model(gain * speech).embeddings, model(speech).embeddings, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_samples", [16000, 16001, 16200, 16319])
@torch.no_grad()
def test_frames_of_weight_zero_behind_the_end_change_nothing(encoder, num_samples):
    model, _ = encoder
    speech = draw_speech(2, num_samples)
    padded = torch.nn.functional.pad(speech, (0, 8000))
    weights = torch.zeros(2, model.config.num_frames(num_samples + 8000))
    weights[:, : model.config.num_frames(num_samples)] = 1.0
    alone, batched = model(speech).embeddings, model(padded, frame_weights=weights).embeddings
    torch.testing.assert_close(batched, alone, rtol=0, atol=1e-5)
    assert (model(padded).embeddings - alone).abs().max() > 1e-3


@torch.no_grad()
def test_frames_of_weight_zero_are_not_heard(model):
    speech = draw_speech(1, 32000)
    other = speech.clone()
    other[:, 20000:] = speech[:, 20000:].flip(1)
    weights = torch.ones(1, model.config.num_frames(32000))
    # the window of a frame reaches half of `n_fft` beyond its pair
    weights[:, 19000 // model.config.frame_length :] = 0.0
    torch.testing.assert_close(model(speech, weights).embeddings, model(other, weights).embeddings, rtol=0, atol=1e-5)


@torch.no_grad()
def test_silence_and_no_frames_give_finite_embeddings(encoder):
    model, size = encoder
    assert torch.isfinite(model(torch.zeros(1, 8000)).embeddings).all()
    weights = torch.zeros(1, model.config.num_frames(8000))
    assert torch.equal(model(draw_speech(1, 8000), weights).embeddings, torch.zeros(1, size))


@torch.no_grad()
def test_a_batch_equals_its_rows(encoder):
    model, _ = encoder
    speech = draw_speech(4)
    rows = torch.cat([model(row[None]).embeddings for row in speech])
    torch.testing.assert_close(model(speech).embeddings, rows, rtol=0, atol=1e-5)


@torch.no_grad()
def test_bands_that_a_telephone_cuts_off_lie_at_the_floor():
    config = VoiceEncoderConfig()
    speech = torch.fft.rfft(draw_speech(1, 16000))
    speech[:, 4000:] = 0
    features = log_mel_spectrogram(torch.fft.irfft(speech), torch.ones(1, config.num_frames(16000)), config)
    assert features.shape == (1, 2 * config.num_frames(16000), 64)
    assert features[..., 52:].mean() < -1 and features[..., 5:40].mean() > 0.5


def test_every_band_hears_and_every_frequency_between_the_outer_centres_counts():
    filters = mel_filters(64, 257, 16000, torch.device("cpu"))
    assert (filters.sum(dim=0) > 0).all() and (filters.sum(dim=1)[3:240] > 0.5).all()


def test_the_gradient_reaches_every_parameter(encoder):
    model, size = encoder
    model.train()
    embeddings = model(draw_speech(4), torch.rand(4, model.config.num_frames(16000))).embeddings
    (embeddings * torch.randn(4, size)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("auto_class", [VoiceEncoderModel, AutoModel])
@torch.no_grad()
def test_saving_and_loading_is_exact(model, tmp_path, auto_class):
    model.save_pretrained(tmp_path)
    loaded = auto_class.from_pretrained(tmp_path)
    assert type(loaded) is VoiceEncoderModel and not loaded.training
    speech = draw_speech()
    assert torch.equal(loaded(speech).embeddings, model(speech).embeddings)


@torch.no_grad()
def test_bfloat16_is_close(model):
    speech = draw_speech()
    half = VoiceEncoderModel(model.config).eval()
    half.load_state_dict(model.state_dict())
    cosines = (half.to(torch.bfloat16)(speech).embeddings * model(speech).embeddings).sum(dim=1)
    # of three digits in each layer
    assert (cosines > 0.995).all()


def test_fresh_weights_let_the_signal_through():
    torch.manual_seed(0)
    model = VoiceEncoderModel(VoiceEncoderConfig()).train()
    with torch.no_grad():
        first, second = model(draw_speech(2)).embeddings
    assert torch.isfinite(first).all() and first @ second < 0.99


def test_the_default_is_small():
    model = VoiceEncoderModel(VoiceEncoderConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"num_mel_bins": 30}, "`num_mel_bins`"),
        ({"hop_length": 600}, "`hop_length`"),
        ({"hidden_size": 0}, "hidden_size"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        VoiceEncoderConfig(**fields)


def test_the_auto_classes_know_it_and_it_travels_alone(tmp_path):
    config = AutoConfig.for_model("audioslots_voice_encoder", **TINY)
    assert isinstance(config, VoiceEncoderConfig)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert files == ["configuration_voice_encoder.py", "modeling_voice_encoder.py", "stft.py"]
    imported = {name for file in files for name in get_imports(tmp_path / file)} - sys.stdlib_module_names
    assert imported == {"huggingface_hub", "torch", "transformers"}


def test_the_package_names_the_model():
    assert audioslots_hf.VoiceEncoderModel is VoiceEncoderModel


@torch.no_grad()
def test_the_shipped_encoder_tells_the_sample_voices_apart():
    encoder = load_voice_encoder()
    paths = sorted((SAMPLES / "speech").rglob("*.flac"))
    speakers = [path.parent.name for path in paths]
    crops = [torch.from_numpy(read_audio(path, 16000, num_samples=47000)) for path in paths]
    embeddings = encoder(torch.stack(crops)).embeddings
    cosines = embeddings @ embeddings.T
    is_same = torch.tensor([[one == other for other in speakers] for one in speakers])
    others = ~torch.eye(len(crops), dtype=torch.bool)
    assert len(set(speakers)) == 2 and cosines[is_same & others].min() > cosines[~is_same].max()


def test_the_shipped_encoder_is_small_and_no_checkpoint_that_separates():
    assert list_voice_encoders() == [DEFAULT_VOICE_ENCODER]
    assert DEFAULT_VOICE_ENCODER not in list_checkpoints()
    folder = VOICES_DIR / DEFAULT_VOICE_ENCODER
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    parameters = sum(parameter.numel() for parameter in load_voice_encoder().parameters())
    assert f"{parameters:,} parameters" in (folder / "README.md").read_text("utf-8")


def test_a_voice_encoder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(OSError):
        load_voice_encoder(tmp_path)
