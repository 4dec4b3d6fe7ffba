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
"""The model of a run: from the settings to its configuration, its weights and its feature extractor."""

import contextlib
import dataclasses
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModel, FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from audioslots_hf.configuration_dual_path import DualPathConfig
from audioslots_hf.loading import find_checkpoint, list_checkpoints
from audioslots_hf.modeling_dual_path import DualPathRecurrentBlock
from audioslots_hf.modeling_galr import GalrAttentiveBlock
from audioslots_hf.registration import FAMILIES

from .arguments import TrainingArguments
from .settings import SettingsError, build


def build_config(values: dict[str, Any]) -> PreTrainedConfig:
    """
    The configuration of the model to train: of the family that `model_type` names, or that of `pretrained` with changes.

    Raises:
        `SettingsError`: an unknown family or checkpoint, or a misspelt field, which transformers would swallow.
    """
    values = dict(values)
    inherited = load_pretrained_values(values.pop("pretrained", None))
    model_type = inherited.pop("model_type", None) or values.get("model_type", "audioslots")
    if values.pop("model_type", model_type) != model_type:
        raise SettingsError(f"`model.model_type` differs from that of `model.pretrained`, {model_type}: leave it out.")
    if model_type not in FAMILIES:
        raise SettingsError(f"`model.model_type` ({model_type!r}) must be one of {', '.join(FAMILIES)}.")
    config_class = FAMILIES[model_type][0]
    values = {config_class.attribute_map.get(name, name): value for name, value in values.items()}
    types = list_fields(config_class)
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"Unknown key `model.{unknown[0]}`: {config_class.__name__} has no such field.")
    values = {
        name: build(float, value, f"model.{name}") if types[name] is float else value for name, value in values.items()
    }
    try:
        return config_class(**(inherited | values))
    except StrictDataclassError as error:
        raise SettingsError(f"The model cannot be built: {error}") from error


def list_fields(config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """The types of what describes a model of a family, by name; not what transformers notes down about any model."""
    noted = {item.name for item in dataclasses.fields(PreTrainedConfig)}
    return {item.name: item.type for item in dataclasses.fields(config_class) if item.name not in noted}


def load_pretrained_values(name: str | None) -> dict[str, Any]:
    """The `model_type` and the fields of a checkpoint's configuration; none without a name."""
    if name is None:
        return {}
    try:
        config = AutoConfig.from_pretrained(find_checkpoint(name))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"`model.pretrained` ({name}) is none of the shipped checkpoints ({', '.join(list_checkpoints())}), no folder "
            f"with a model, and the Hub gave none: {str(error).strip().splitlines()[0]}"
        ) from error
    own = config.to_diff_dict().keys() & list_fields(type(config)).keys()
    return {"model_type": config.model_type} | {name: getattr(config, name) for name in own}


def build_model(config: PreTrainedConfig, arguments: TrainingArguments) -> PreTrainedModel:
    """
    A fresh model, or one with the weights of `pretrained`, that computes as the settings and the machine ask for.

    Layers that a dual-path `pretrained` has not, added by `num_hidden_layers`, do nothing until they are trained; speaker
    embeddings that an AudioSlots has not, added by `speaker_embedding_size`, begin at random.

    Raises:
        `SettingsError`: the weights of `pretrained` are of other shapes than the configuration asks for.
    """
    name = arguments.model.get("pretrained")
    if name is None:
        model = AutoModel.from_config(config)
    else:
        checkpoint = find_checkpoint(name)
        try:
            # training keeps float32 weights, also of a checkpoint in half precision
            model, found = AutoModel.from_pretrained(
                checkpoint, config=config, dtype=torch.float32, output_loading_info=True
            )
        except RuntimeError as error:
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit: change no sizes under `model`. {error}"
            ) from error
        before = AutoConfig.from_pretrained(checkpoint)
        new_layers = list_new_layers(model, before)
        added = {f"{prefix}.{key}" for prefix, layer in new_layers.items() for key in layer.state_dict()}
        if getattr(before, "speaker_embedding_size", None) == 0 and config.speaker_embedding_size > 0:
            added.add("speaker_proj.weight")
        # what a folder lacks by its own configuration is damage, and no new layer
        if unlike := sorted({*found["missing_keys"]} ^ added | {*found["unexpected_keys"]}):
            raise SettingsError(
                f"The weights of `model.pretrained` ({name}) do not fit, {unlike[0]} for one: change no sizes under `model`; "
                "only a GALR or a DPRNN may get more layers, and an AudioSlots speaker embeddings that it has not."
            )
        for layer in new_layers.values():
            silence_layer(layer)
    if arguments.gradient_checkpointing:
        # transformers 5.17 knows only the old name
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    if arguments.mixed_precision == "bf16" and not torch.accelerator.is_available():
        # on a CPU, the backward pass of PyTorch's own attention takes some ten times as long in bfloat16 as in float32
        model.set_attn_implementation("eager")
    return model


def list_new_layers(model: PreTrainedModel, before: PreTrainedConfig) -> dict[str, nn.Module]:
    """The layers, by their names, that a dual-path model has beyond those of a checkpoint's configuration."""
    if not isinstance(before, DualPathConfig):
        return {}
    first = before.num_hidden_layers
    return {f"model.layers.{index}": layer for index, layer in enumerate(model.model.layers[first:], first)}


@torch.no_grad()
def silence_layer(layer: nn.Module) -> None:
    """Let a layer pass on what comes in: a model that it is added to computes what it did before, and learns from there."""
    # the last module of each residual branch
    ends = [block.norm for block in layer.modules() if isinstance(block, DualPathRecurrentBlock)]
    ends += [block.frame_proj for block in layer.modules() if isinstance(block, GalrAttentiveBlock)]
    for end in ends:
        end.weight.zero_()
        end.bias.zero_()


def build_feature_extractor(config: PreTrainedConfig, pretrained: str | None = None) -> FeatureExtractionMixin:
    """The feature extractor that fits a model's configuration, with the masks of a checkpoint."""
    extractor_class = FAMILIES[config.model_type][2]
    feature_extractor = extractor_class.from_config(config)
    if pretrained is not None and hasattr(feature_extractor, "mask_exponent"):
        # which no configuration of a model knows; a folder of weights alone has the default
        with contextlib.suppress(OSError):
            before = extractor_class.from_pretrained(find_checkpoint(pretrained))
            feature_extractor.mask_exponent = before.mask_exponent
    return feature_extractor
