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
import sys

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel
from transformers.dynamic_module_utils import get_imports

from audioslots_hf import VoiceEncoderConfig, VoiceEncoderEnsembleConfig, VoiceEncoderEnsembleModel, VoiceEncoderModel
from audioslots_hf.voice_encoders import load_voice_encoder
from tests.test_model_files import change, change_weights
from tests.test_voice_encoder import TINY, TINY_ENCODERS, build_ensemble, draw_speech


@pytest.fixture
def model() -> VoiceEncoderEnsembleModel:
    return build_ensemble()


@torch.no_grad()
def test_the_cosine_is_the_mean_of_the_cosines_of_the_encoders(model):
    speech = draw_speech(4)
    weights = torch.rand(4, model.config.num_frames(16000), generator=torch.Generator().manual_seed(2))
    embeddings = model(speech, frame_weights=weights).embeddings
    alone = [encoder(speech, frame_weights=weights).embeddings for encoder in model.encoders]
    torch.testing.assert_close(embeddings @ embeddings.T, sum(one @ one.T for one in alone) / 2)


@torch.no_grad()
def test_one_encoder_equals_itself(model):
    single = VoiceEncoderEnsembleModel(VoiceEncoderEnsembleConfig(encoders=[TINY])).eval()
    single.encoders[0].load_state_dict(model.encoders[0].state_dict())
    speech = draw_speech()
    assert torch.equal(single(speech).embeddings, model.encoders[0](speech).embeddings)


@torch.no_grad()
def test_hidden_states_are_those_of_one_encoder_after_the_other(model):
    speech = draw_speech()
    hidden_states = model(speech, output_hidden_states=True).hidden_states
    alone = [state for encoder in model.encoders for state in encoder(speech, output_hidden_states=True).hidden_states]
    assert [state.shape[1] for state in hidden_states] == [12, 12, 12, 8, 8, 8]
    assert all(torch.equal(*states) for states in zip(hidden_states, alone, strict=True))
    assert model(speech).hidden_states is None
    [embeddings] = model(speech, return_dict=False)
    assert torch.equal(embeddings, model(speech).embeddings)


@pytest.mark.parametrize(
    "load", [VoiceEncoderEnsembleModel.from_pretrained, AutoModel.from_pretrained, load_voice_encoder]
)
@torch.no_grad()
def test_saving_and_loading_is_exact(model, tmp_path, load):
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert type(loaded) is VoiceEncoderEnsembleModel and not loaded.training
    assert loaded.config.encoders == model.config.encoders
    speech = draw_speech()
    assert torch.equal(loaded(speech).embeddings, model(speech).embeddings)


@pytest.mark.parametrize("dtype, loss", [(torch.bfloat16, 5e-3), (torch.float16, 1e-4)])
@torch.no_grad()
def test_half_precision_is_close(model, tmp_path, dtype, loss):
    model.save_pretrained(tmp_path)
    half, speech = load_voice_encoder(tmp_path, dtype=dtype), draw_speech()
    embeddings = half(speech).embeddings
    # of three or four digits in each layer
    assert {parameter.dtype for parameter in half.parameters()} == {dtype} and embeddings.dtype == torch.float32
    assert ((embeddings * model(speech).embeddings).sum(dim=1) > 1 - loss).all()


def test_fresh_weights_are_those_of_fresh_encoders():
    deviations = []
    for build in (
        lambda: VoiceEncoderEnsembleModel(VoiceEncoderEnsembleConfig(encoders=[{}])).encoders[0],
        lambda: VoiceEncoderModel(VoiceEncoderConfig()),
    ):
        torch.manual_seed(0)
        deviations.append([parameter.std().item() for parameter in build().parameters() if parameter.numel() > 1000])
    assert deviations[0] == pytest.approx(deviations[1], rel=0.1)


def test_an_encoder_may_be_a_configuration_and_the_file_holds_all_its_settings(tmp_path):
    config = VoiceEncoderEnsembleConfig(encoders=[VoiceEncoderConfig(**TINY), {"embedding_size": 12}])
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text("utf-8"))["encoders"]
    assert saved[0].items() >= TINY.items() and saved[0].keys() == saved[1].keys() and saved[1]["n_fft"] == 512
    again = VoiceEncoderEnsembleConfig.from_pretrained(tmp_path)
    assert again.encoders == config.encoders == saved and again.embedding_size == 8 + 12
    single = again.encoder_configs[0]
    assert type(single) is VoiceEncoderConfig
    for name in ("sampling_rate", "frame_length"):
        assert getattr(again, name) == getattr(single, name)
    assert again.num_frames(16001) == single.num_frames(16001)
    # also those that are assigned later
    again.encoders = [{"embedding_size": 12}, {}]
    assert again.embedding_size == 12 + VoiceEncoderConfig().embedding_size and again.sampling_rate == 16000


@pytest.mark.parametrize(
    "encoders, message",
    [
        ([], "`encoders` has 0 items"),
        ([{}] * 17, "`encoders` has 17 items: an ensemble has 1 to 16"),
        (5, "'encoders'"),
        ([{}, 5], r"`encoders\[1\]` \(5\) must be a dictionary"),
        ([{"num_heads": 2}], r"`encoders\[0\]` has `num_heads`, which is no setting of an encoder: sampling_rate"),
        ([{}, {"num_mel_bins": 30}], r"`encoders\[1\]`: .*`num_mel_bins` \(30\) must be a multiple of 4"),
        ([{"hidden_size": "8"}], r"`encoders\[0\]`: .*Field 'hidden_size' expected int, got str"),
        ([{"hidden_size": 0}], r"`encoders\[0\]`: .*'hidden_size'.* must be a positive integer"),
        ([{}, {"hop_length": 80}], r"`hop_length` is 160 in `encoders\[0\]` but 80 in `encoders\[1\]`"),
        ([{}, {"sampling_rate": 8000}], r"`sampling_rate` is 16000 in `encoders\[0\]` but 8000 in `encoders\[1\]`"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(encoders, message):
    with pytest.raises(StrictDataclassError, match=message):
        VoiceEncoderEnsembleConfig(encoders=encoders)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"encoders": [{"hidden_size": 10**9}]},
            r"`hidden_size` \(1000000000\) in `encoders\[0\]` of config.json must be from 0",
        ),
        ({"encoders": [{}] * 2000}, "`encoders` in config.json has 2000 items"),
        ({"encoders": [TINY, TINY]}, "its weights do not fit config.json: encoders.1"),
        ({"encoders": [TINY, {"hop_length": 80}]}, "`hop_length` is 160"),
        ({"encoders": "x"}, "'encoders'"),
        (
            {"embedding_size": 5},
            "`embedding_size` in config.json is no setting: VoiceEncoderEnsembleConfig computes it",
        ),
        ({"num_frames": 5}, "`num_frames` in config.json is no setting: it is a method"),
        ({"model_type": "audioslots_voice_encoder"}, "tensors of VoiceEncoderModel"),
        ({"model_type": "wav2vec2"}, "its `model_type` is 'wav2vec2', which is no voice encoder of this package"),
        ({"model_type": ["x"]}, r"its `model_type` is \['x'\]"),
    ],
)
def test_a_file_that_cannot_be_is_refused_by_name(model, tmp_path, settings, message):
    model.save_pretrained(tmp_path)
    change(tmp_path / "config.json", **settings)
    with pytest.raises(ValueError, match=f"The voice encoder .* cannot be loaded: .*({message})"):
        load_voice_encoder(tmp_path)


def test_broken_weights_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    change_weights(tmp_path, lambda tensors, name: tensors[name].view(-1)[:1].fill_(float("nan")))
    with pytest.raises(ValueError, match="The voice encoder .* hold NaN"):
        load_voice_encoder(tmp_path)
    change_weights(tmp_path, lambda tensors, name: tensors.pop(name))
    with pytest.raises(ValueError, match="its weights lack 1 of the"):
        load_voice_encoder(tmp_path)


def test_the_auto_classes_know_it_and_it_travels_alone(tmp_path):
    config = AutoConfig.for_model("audioslots_voice_encoder_ensemble", encoders=TINY_ENCODERS)
    assert isinstance(config, VoiceEncoderEnsembleConfig)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert files == [
        "configuration_voice_encoder.py",
        "configuration_voice_ensemble.py",
        "modeling_voice_encoder.py",
        "modeling_voice_ensemble.py",
        "stft.py",
    ]
    imported = {name for file in files for name in get_imports(tmp_path / file)} - sys.stdlib_module_names
    assert imported == {"huggingface_hub", "torch", "transformers"}


WITHOUT_PACKAGE = """
import sys
import torch
from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
torch.save(model(torch.load(sys.argv[2])).embeddings.detach(), sys.argv[3])
"""


@torch.no_grad()
def test_the_code_of_a_repository_embeds_where_the_package_is_not_installed(model, tmp_path, bare_processes):
    model.save_pretrained(tmp_path / "model")
    speech = draw_speech()
    torch.save(speech, tmp_path / "speech.pt")
    bare_processes.run(WITHOUT_PACKAGE, tmp_path / "model", tmp_path / "speech.pt", tmp_path / "embeddings.pt")
    assert torch.equal(torch.load(tmp_path / "embeddings.pt"), model(speech).embeddings)
