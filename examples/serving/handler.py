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
Handler of a Hugging Face inference endpoint: audio in, one track per voice out.

Copy this file and `requirements.txt` into a model repository that `push_to_hub` wrote. `app.py` serves the same handler from a machine of
your own.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
import soundfile
from transformers import Pipeline, pipeline


PARAMETERS = ("num_speakers", "max_speakers")
# the bounds of FLAC
MAX_FLAC_CHANNELS = 8
MAX_FLAC_RATE = 655_350


class EndpointHandler:
    """
    Separates recordings.

    Args:
        path (`str`, *optional*):
            Folder of the model. Defaults to the checkpoint that ships with the package.
    """

    def __init__(self, path: str = ""):
        self.separator = load(path)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Separate one recording.

        Args:
            data (`dict`):
                `"inputs"`: the bytes of an audio file, or the same in base64. `"parameters"`, *optional*: `num_speakers` and
                `max_speakers` of a conversation.

        Returns:
            One `{"label", "content-type", "blob"}` for each track, with the file in base64: the answer that
            `huggingface_hub.InferenceClient.audio_to_audio` reads. Tracks of a conversation also have `"segments"`.

        Raises:
            `ValueError`: the recording cannot be read, or a parameter is wrong.
        """
        parameters = data.get("parameters") or {}
        if unknown := sorted(set(parameters) - set(PARAMETERS)):
            raise ValueError(
                f"There is no parameter {', '.join(unknown)}: the parameters are {', '.join(PARAMETERS)}."
            )
        return encode_tracks(self.separator(read_inputs(data.get("inputs")), **parameters))


def load(path: str) -> Pipeline:
    """The pipeline of a model, by this package where it is installed, else by the code in the folder of the model."""
    try:
        from audioslots_hf import load_separator
    except ImportError:
        return pipeline("audio-to-audio", model=path, trust_remote_code=True)
    return load_separator(path or None)


def read_inputs(inputs: Any) -> bytes:
    """The bytes of a file. Text is never taken as a path or an address: clients must not read files of the server."""
    if isinstance(inputs, bytes | bytearray):
        return bytes(inputs)
    if not isinstance(inputs, str):
        raise ValueError(
            f"`inputs` is {type(inputs).__name__}: send the bytes of an audio file, or the same in base64."
        )
    try:
        return base64.b64decode(inputs, validate=True)
    except binascii.Error as error:
        raise ValueError("`inputs` is text, but not base64: send the bytes of an audio file.") from error


def encode_tracks(tracks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tracks of the pipeline as FLAC files in base64, all attenuated alike where one of them would clip."""
    peak = max((float(np.abs(track["audio"]).max()) for track in tracks), default=0.0)
    gain = (1 - 2**-15) / max(1.0, peak)
    return [encode_track(track, gain) for track in tracks]


def encode_track(track: dict[str, Any], gain: float) -> dict[str, Any]:
    """One track as a file of 16 bits: FLAC, or WAV where FLAC cannot hold its channels or its rate."""
    # the pipeline gives channels first, a file has them last
    samples, rate = gain * track["audio"].T, track["sampling_rate"]
    num_channels = 1 if samples.ndim == 1 else samples.shape[1]
    name = "FLAC" if num_channels <= MAX_FLAC_CHANNELS and rate <= MAX_FLAC_RATE else "WAV"
    file = io.BytesIO()
    soundfile.write(file, samples, rate, "PCM_16", format=name)
    blob = base64.b64encode(file.getvalue()).decode()
    encoded = {"label": track["label"], "content-type": f"audio/{name.lower()}", "blob": blob}
    return encoded | {key: track[key] for key in ("segments",) if key in track}
