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
"""Load a pipeline by the name of its model."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import pipeline
from transformers.utils.hub import cached_file

from . import registration  # noqa: F401, the pipeline finds its model in transformers' registry
from .bars import hiding_bars
from .families import FAMILIES
from .model_files import (
    CONFIG_NAME,
    FEATURE_EXTRACTOR_NAME,
    HUB_ARGUMENTS,
    BrokenModelError,
    check_types,
    find_weights,
    read_json,
)
from .pipeline_audio_separation import AudioSeparationPipeline
from .shipped import find_checkpoint, list_checkpoints


def load_separator(model: str | Path | None = None, **pipeline_kwargs) -> AudioSeparationPipeline:
    """
    Load the audio-to-audio pipeline with a model of any family.

    Returns the same pipeline as `pipeline("audio-to-audio", model=...)`, but always runs the code of this package:
    checkpoints with a pipeline as remote code load without `trust_remote_code`.

    Args:
        model (`str` or `Path`, *optional*):
            Name of a shipped checkpoint, a folder, or a repository on the Hub. Defaults to the shipped default, which
            needs no network.
        pipeline_kwargs:
            Passed to [`~transformers.pipeline`], for instance `device`, `dtype`, `batch_size` or `revision`.

    Raises:
        `ValueError`: the checkpoint cannot be found or loaded.
    """
    checkpoint = find_checkpoint(model)
    try:
        _check_settings_files(checkpoint, pipeline_kwargs)
        # downloads are over, and had their bars
        with hiding_bars():
            return pipeline(
                "audio-to-audio", model=checkpoint, pipeline_class=AudioSeparationPipeline, **pipeline_kwargs
            )
    except BrokenModelError as error:
        raise ValueError(str(error)) from error
    except StrictDataclassError as error:
        # the first line names the check, the last line the fault
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"The model {checkpoint!r} has an invalid configuration: {reason}") from error
    except ImportError:
        raise
    # files of strangers make transformers fail in ways that no list of errors holds
    except Exception as error:
        raise ValueError(f"The model {checkpoint!r} cannot be loaded: {explain(error, checkpoint)}") from error


def _check_settings_files(checkpoint: str, pipeline_kwargs: dict[str, Any]) -> None:
    """Download the files of a model, and raise a `ValueError` if it is not one of this package."""
    options = {**pipeline_kwargs, **(pipeline_kwargs.get("model_kwargs") or {})}
    options = {name: value for name, value in options.items() if name in HUB_ARGUMENTS}
    path = cached_file(checkpoint, CONFIG_NAME, **options)
    # transformers raises no error for this file of a folder
    if path is None:
        raise ValueError(f"the folder holds no {CONFIG_NAME}, so it is no model.")
    config = read_json(path, CONFIG_NAME)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"its `model_type` is {model_type!r}, which is no separation model of this package: {', '.join(FAMILIES)}."
        )
    check_types(config, CONFIG_NAME)
    feature_extractor = read_json(cached_file(checkpoint, FEATURE_EXTRACTOR_NAME, **options), FEATURE_EXTRACTOR_NAME)
    check_types(feature_extractor, FEATURE_EXTRACTOR_NAME)
    find_weights(checkpoint, options)


def explain(error: Exception, checkpoint: str) -> str:
    """One line about an error in loading."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # transformers puts the traceback of each class that it tried into one message
    raised = [line.removeprefix("ValueError: ") for line in lines if line.startswith("ValueError: ")]
    reason = raised[-1] if raised else lines[0]
    if isinstance(error, OSError) and not (Path(checkpoint) / "config.json").is_file():
        return (
            f"it is neither a shipped checkpoint ({', '.join(list_checkpoints())}) nor a folder with a model, and the Hub "
            f"returned: {reason}"
        )
    if isinstance(error, AttributeError | KeyError | TypeError):
        return f"{type(error).__name__}: {reason}"
    return reason


__all__ = ["explain", "load_separator"]
