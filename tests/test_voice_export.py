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

import pytest
import torch

from audioslots_hf import VoiceEncoderConfig, VoiceEncoderEnsembleModel, VoiceEncoderModel
from audioslots_hf.voice_encoders import load_voice_encoder
from tests.test_voice_encoder import TINY
from training.voice.export import export, main


@torch.no_grad()
def test_several_encoders_are_exported_as_an_ensemble(tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    sources = [tmp_path / "first", tmp_path / "second"]
    for source, size in zip(sources, (8, 12), strict=True):
        VoiceEncoderModel(VoiceEncoderConfig(**TINY | {"embedding_size": size})).save_pretrained(source)
    monkeypatch.setattr("training.voice.export.VOICES_DIR", tmp_path)
    main([*map(str, sources), "--name", "both"])
    folder = tmp_path / "both"
    assert f"The voice encoder is in {folder}" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded, noise = load_voice_encoder(folder), torch.randn(2, 16000)
    assert type(loaded) is VoiceEncoderEnsembleModel and loaded.dtype == torch.float32
    assert json.loads((folder / "config.json").read_text("utf-8"))["architectures"] == ["VoiceEncoderEnsembleModel"]
    alone = torch.cat([load_voice_encoder(source)(noise).embeddings for source in sources], dim=1) / 2**0.5
    # weights in half precision
    torch.testing.assert_close(loaded(noise).embeddings, alone, rtol=0, atol=1e-2)
    # an ensemble and one more are an ensemble of three
    assert len(load_voice_encoder(export([folder, sources[0]], tmp_path / "three")).encoders) == 3


def test_encoders_that_do_not_fit_each_other_are_not_exported(tmp_path, capsys):
    sources = [tmp_path / "first", tmp_path / "second"]
    for source, hop_length in zip(sources, (160, 80), strict=True):
        VoiceEncoderModel(VoiceEncoderConfig(**TINY | {"hop_length": hop_length})).save_pretrained(source)
    with pytest.raises(SystemExit):
        main([*map(str, sources), "--name", "both"])
    assert "`hop_length` is 160 in `encoders[0]` but 80 in `encoders[1]`" in capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "missing"), "--name", "both"])
    assert f"{tmp_path / 'missing'} is no folder" in capsys.readouterr().err
