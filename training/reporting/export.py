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
"""Turns a trained model into a shipped checkpoint."""

import json
import re
import shutil
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel

from audioslots_hf.cards import FACTS_NAME
from audioslots_hf.families import FAMILIES
from audioslots_hf.files import replacing

from .cards import CHECKPOINTS_DIR


CHECKPOINT_NAME = re.compile(r"[a-zA-Z0-9][\w.-]*")
MODEL_FILES = ("model.safetensors", "config.json", "preprocessor_config.json")


def export(source: Path, name: str, mask_exponent: float | None = None, chunk_length: int | None = None) -> Path:
    """
    Copy a model into the package of this repository, with weights in half precision, and the default masks and chunks of its pipeline.

    The facts for its card, `card.yaml`, and the card stay; `python -m training.publish card` writes the card from the facts and the
    results, and needs both.

    The configuration states float32, so the model computes in float32: half precision is slow on a CPU. The remote code that
    `save_pretrained` adds is left out, because it is the package itself.

    Raises:
        `ValueError`: the name is invalid, the source is not a model, a value does not apply to its family, or the model cannot
            separate with the new values. An existing checkpoint then stays.
    """
    if not CHECKPOINT_NAME.fullmatch(name):
        raise ValueError(f"--name is {name!r}: use letters, digits, '-', '_' and '.', as in galr-cpu.")
    if missing := [file for file in MODEL_FILES if not (source / file).is_file()]:
        raise ValueError(f"{source} holds no model: {missing[0]} is missing.")
    model_type = json.loads((source / "config.json").read_text(encoding="utf-8"))["model_type"]
    if (family := FAMILIES.get(model_type)) is None:
        raise ValueError(f"{source} holds a model of {model_type}: it must be one of {', '.join(FAMILIES)}.")
    if mask_exponent is not None and not family.feature_extractor_class.mask_kinds:
        raise ValueError(f"--mask-exponent does not apply to a model of {model_type}: leave it out.")
    if chunk_length is not None and family.config_class.from_pretrained(source).input_length_step is None:
        raise ValueError(
            f"--chunk-length does not apply to a model of {model_type}, whose chunk length is fixed: leave it out."
        )
    weights = load_file(source / "model.safetensors")
    halves = {key: value.to(torch.float16) if value.is_floating_point() else value for key, value in weights.items()}
    target = CHECKPOINTS_DIR / name
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        save_file(halves, temporary / "model.safetensors", metadata={"format": "pt"})
        for file in ("config.json", "preprocessor_config.json"):
            values = json.loads((source / file).read_text(encoding="utf-8"))
            for name in ("auto_map", "custom_pipelines"):
                values.pop(name, None)
            if file == "config.json":
                values["dtype"] = "float32"
            elif mask_exponent is not None:
                values["mask_exponent"] = mask_exponent
            if chunk_length is not None:
                values["chunk_length"] = chunk_length
            text = json.dumps(values, indent=2, sort_keys=True) + "\n"
            (temporary / file).write_text(text, encoding="utf-8")
        (temporary / "README.md").write_text(f"# {name}\n", encoding="utf-8")
        for kept in ("README.md", FACTS_NAME):
            if (target / kept).exists():
                shutil.copy(target / kept, temporary)
        check_separates(temporary)
    return target


@torch.inference_mode()
def check_separates(folder: Path) -> None:
    """
    Separate a chunk of noise with a model.

    Raises:
        `ValueError`: the model cannot be loaded, or cannot separate.
    """
    try:
        model, feature_extractor = AutoModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
        features = feature_extractor(torch.randn(model.config.chunk_length))
        sources = feature_extractor.post_process_audio_separation(model(**features), features)
        if not sources.isfinite().all():
            raise ValueError("its output for noise contains NaN or infinite values.")
    except (OSError, RuntimeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"The model cannot separate: {error}") from error
