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
"""The files of a model, checked before any of it is built: what they claim decides about work and memory."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from .bounds import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE
from .families import FAMILIES, Family
from .separator import check_chunk_length


CONFIG_NAME = "config.json"
FEATURE_EXTRACTOR_NAME = "preprocessor_config.json"
# A settings file has a few hundred bytes, an index a hundred bytes for each tensor.
MAX_JSON_BYTES = 2**24
MAX_COUNT = 1_000
MAX_SIZE = 2**16
MAX_CHUNK_S = 600
DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")
# keyword arguments of a pipeline that decide about where its files come from
HUB_ARGUMENTS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
MAX_NAMES = 3


def check_model_files(checkpoint: str, pipeline_kwargs: dict[str, Any]) -> None:
    """
    Check the files of a checkpoint against bounds and against one another, without an allocation of what they claim.

    Args:
        checkpoint (`str`):
            A folder, or a repository on the Hub, from which only the files are fetched that loading needs anyway.
        pipeline_kwargs (`dict`):
            Keyword arguments of the pipeline.

    Raises:
        `OSError`: there is no such checkpoint. `ValueError`: with the fault.
    """
    options = {**pipeline_kwargs, **(pipeline_kwargs.get("model_kwargs") or {})}
    options = {name: value for name, value in options.items() if name in HUB_ARGUMENTS}
    settings = _read_json(cached_file(checkpoint, CONFIG_NAME, **options), CONFIG_NAME)
    family = _find_family(settings)
    _check_settings(settings, CONFIG_NAME)
    _check_names(settings, family.config_class, CONFIG_NAME)
    config = family.config_class.from_dict(settings)
    settings = _read_json(cached_file(checkpoint, FEATURE_EXTRACTOR_NAME, **options), FEATURE_EXTRACTOR_NAME)
    _check_settings(settings, FEATURE_EXTRACTOR_NAME)
    _check_names(settings, family.feature_extractor_class, FEATURE_EXTRACTOR_NAME)
    _check_feature_extractor(settings, config)
    _check_shapes(build_skeleton(family, config), _read_shapes(checkpoint, options))


def _read_json(path: str, name: str) -> dict[str, Any]:
    """A settings file as a dictionary, or a `ValueError` that names it."""
    file = Path(path)
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{name} has {file.stat().st_size:,} bytes: at most {MAX_JSON_BYTES:,} are read.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds a {type(content).__name__} instead of an object with settings.")
    return content


def _find_family(settings: dict[str, Any]) -> Family:
    """The family that a configuration names, or a `ValueError` if it is none of a separation model."""
    model_type = settings.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"its `model_type` is {model_type!r}, which is no separation model of this package: {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]


def _check_settings(settings: dict[str, Any], name: str) -> None:
    """
    Raise a `ValueError` if a number in a settings file is beyond all reason, or its dtype is unknown.

    The types and the small print are left to the configurations, which check them when they are built.
    """
    for field in ("dtype", "torch_dtype"):
        dtype = settings.get(field)
        if dtype is not None and (not isinstance(dtype, str) or dtype.removeprefix("torch.") not in DTYPES):
            raise ValueError(f"`{field}` ({dtype!r}) in {name} must be one of {', '.join(DTYPES)}.")
    if settings.get("quantization_config") is not None or settings.get("return_dict", True) is not True:
        raise ValueError(
            f"{name} sets `quantization_config` or `return_dict`, which models of this package do not have."
        )
    for field, value in settings.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            low, high = _find_bounds(field, settings)
            if not (math.isfinite(number) and low <= number <= high):
                raise ValueError(f"`{field}` ({value}) in {name} must be from {low} to {high}.")
        if isinstance(value, list) and len(value) > MAX_COUNT:
            raise ValueError(f"`{field}` in {name} has {len(value)} items: at most {MAX_COUNT} are taken.")


def _check_names(settings: dict[str, Any], owner: type, name: str) -> None:
    """Raise a `ValueError` if a setting would take the place of a method."""
    for field in settings:
        if callable(getattr(owner, field, None)):
            raise ValueError(f"`{field}` in {name} is no setting: it is a method of {owner.__name__}.")


def _find_bounds(field: str, settings: dict[str, Any]) -> tuple[int, int]:
    """The smallest and the largest value that a field may have."""
    if field == "sampling_rate":
        return MIN_SAMPLING_RATE, MAX_SAMPLING_RATE
    if field == "chunk_length":
        rate = settings.get("sampling_rate")
        return 1, MAX_CHUNK_S * (rate if isinstance(rate, int) else MIN_SAMPLING_RATE * 16)
    return 0, MAX_COUNT if field.startswith("num_") or field.endswith(("_layers", "_depths")) else MAX_SIZE


def _check_feature_extractor(settings: dict[str, Any], config: PreTrainedConfig) -> None:
    """Raise a `ValueError` if settings of the feature extractor differ from the model's, or their type is wrong."""
    for field in ("sampling_rate", "chunk_length", "n_fft", "hop_length", "compression_exponent"):
        if field not in settings or not hasattr(config, field):
            continue
        value, expected = settings[field], getattr(config, field)
        if type(value) is not type(expected):
            raise ValueError(f"`{field}` ({value!r}) in {FEATURE_EXTRACTOR_NAME} must be like {expected!r}.")
        if field == "chunk_length":
            # some models take shorter chunks than those of their training
            check_chunk_length(value, config)
        elif value != expected:
            raise ValueError(f"`{field}` is {value} in {FEATURE_EXTRACTOR_NAME} but {expected} in {CONFIG_NAME}.")


def build_skeleton(family: Family, config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration without any memory for its weights."""
    try:
        with torch.device("meta"):
            return family.model_class(config)
    except RuntimeError as error:
        # torch counts the values of a tensor in 64 bits
        raise ValueError(f"{CONFIG_NAME} does not describe a model that can be built: {error}") from error


def _read_shapes(checkpoint: str, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a checkpoint, from the headers of its files."""
    shapes = {}
    for path in _find_weights(checkpoint, options):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118, it is no dictionary
                shapes[name] = tuple(file.get_slice(name).get_shape())
    return shapes


def _find_weights(checkpoint: str, options: dict[str, Any]) -> list[str]:
    """The files with weights: one, or those that an index names."""
    quietly = options | {"_raise_exceptions_for_missing_entries": False}
    if single := cached_file(checkpoint, SAFE_WEIGHTS_NAME, **quietly):
        return [single]
    index = cached_file(checkpoint, SAFE_WEIGHTS_INDEX_NAME, **quietly)
    if index is None:
        raise ValueError(f"it has no {SAFE_WEIGHTS_NAME}, and no other format of weights is read.")
    parts = _read_json(index, SAFE_WEIGHTS_INDEX_NAME).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise ValueError(f"{SAFE_WEIGHTS_INDEX_NAME} has no `weight_map` from names of tensors to names of files.")
    files = sorted(set(parts.values()))
    for name in files:
        # neither another folder nor, on Windows, another drive
        if not name.endswith(".safetensors") or any(separator in name for separator in "/\\:"):
            raise ValueError(f"{SAFE_WEIGHTS_INDEX_NAME} names {name!r}, which is no file of weights beside it.")
    return [cached_file(checkpoint, name, **options) for name in files]


def _check_shapes(model: PreTrainedModel, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise a `ValueError` if tensors of a model are not among those of its files, or have other shapes."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise ValueError(
            f"its weights lack {len(missing)} of the {len(expected)} tensors of {type(model).__name__}: {_shorten(missing)}. "
            "Save the whole model, with its `save_pretrained`."
        )
    different = [
        f"{name} has the shape {list(shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if shapes[name] != shape
    ]
    if different:
        raise ValueError(f"its weights do not fit {CONFIG_NAME}: {_shorten(different)}.")


def check_finite(model: PreTrainedModel) -> None:
    """Raise a `ValueError` if weights of a model are NaN or infinite."""
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"{len(broken)} of its tensors hold NaN or infinite values: {_shorten(broken)}.")


def _shorten(names: list[str]) -> str:
    """The first of several names."""
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")


__all__ = [
    "build_skeleton",
    "check_finite",
    "check_model_files",
]
