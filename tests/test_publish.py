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

from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.conftest import AUDIOSLOTS_CHECKPOINT
from training import publish
from training.reporting import cards, export


def test_an_exported_model_is_half_the_size_and_computes_in_float32(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CHECKPOINTS_DIR", tmp_path)
    folder = export.export(checkpoint, "tiny")
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


@pytest.mark.parametrize(
    "source, options, message",
    [
        ("nowhere", [], "nowhere holds no model: model.safetensors is missing"),
        (DEFAULT_CHECKPOINT, ["--mask-exponent", "0.5"], "--mask-exponent does not apply to a model of galr"),
        (DEFAULT_CHECKPOINT, ["--chunk-length", "12345"], "`chunk_length` (12345) must be a multiple"),
        (
            AUDIOSLOTS_CHECKPOINT,
            ["--mask-exponent", "-1"],
            "`mask_exponent` (-1.0) in preprocessor_config.json must be from 0",
        ),
        (
            AUDIOSLOTS_CHECKPOINT,
            ["--mask-exponent", "nan"],
            "`mask_exponent` (nan) in preprocessor_config.json must be from 0",
        ),
        (AUDIOSLOTS_CHECKPOINT, ["--chunk-length", "16000"], "whose chunk length is fixed"),
        # the last of the options counts
        (DEFAULT_CHECKPOINT, ["--name", ""], "--name is ''"),
        (DEFAULT_CHECKPOINT, ["--name", ".."], "--name is '..'"),
        (DEFAULT_CHECKPOINT, ["--name", "/tmp"], "--name is '/tmp'"),
        (DEFAULT_CHECKPOINT, ["--name", "a/b"], "--name is 'a/b'"),
    ],
)
def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys, source, options, message):
    source = export.CHECKPOINTS_DIR / source
    monkeypatch.setattr(export, "CHECKPOINTS_DIR", tmp_path)
    with pytest.raises(SystemExit):
        publish.main(["export", str(source), "--name", "mine", *options])
    assert message in capsys.readouterr().err.replace("\n", " ") and list(tmp_path.iterdir()) == []


def test_an_export_that_fails_keeps_the_present_checkpoint(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CHECKPOINTS_DIR", tmp_path)
    folder = export.export(checkpoint, "tiny")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="cannot separate"):
        export.export(checkpoint, "tiny", mask_exponent=0.0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_generated_part_replaces_the_text_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results:start -->\nold\n<!-- results:end -->\nafter\n")
    cards.insert_part(page, "results", "new\n")
    assert page.read_text() == "before\n<!-- results:start -->\nnew\n<!-- results:end -->\nafter\n"
    with pytest.raises(ValueError, match="limits:start"):
        cards.insert_part(page, "limits", "new\n")
