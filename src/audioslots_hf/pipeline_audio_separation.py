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
"""The audio-to-audio pipeline: a recording in, one track per source out."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers.pipelines.base import ChunkPipeline
from transformers.utils.logging import tqdm

from .chunking import Stitcher, check_hop_length, chunk_separator, default_batch_size, default_hop_length, iter_chunks
from .recordings import Recording, load_recording
from .resampling import resample


class AudioSeparationPipeline(ChunkPipeline):
    """
    Separates recordings of any rate, number of channels and length.

    Example:

    ```python
    >>> from audioslots_hf import load_separator

    >>> separator = load_separator()
    >>> sources = separator("meeting.wav")
    >>> sources[0]["label"], sources[0]["audio"].shape, sources[0]["sampling_rate"]
    ```

    The recording is a path, a URL, the bytes of a file, an array or tensor (at the model's sampling rate unless
    `sampling_rate` says otherwise), a dictionary with `"array"` or `"raw"` and `"sampling_rate"`, or a row of a
    `datasets` set; or a list or generator of those. Each gives a list of
    `{"label": "source_0", "audio": float32 array, "sampling_rate": int}` in the rate, the length and the layout of the
    channels that went in. The channels of a recording are separated each by itself, with the same order of sources.

    Args:
        sampling_rate (`int`, *optional*):
            Sampling rate in hertz of bare arrays and tensors. Defaults to the model's.
        hop_length (`int`, *optional*):
            Number of samples, at the model's rate, from one chunk to the next. By default chunks overlap by a
            second, or by three quarters of a chunk that is short.
        show_progress (`bool`, *optional*):
            Whether to show a progress bar. By default only for recordings of more than a minute.
        post_process_kwargs (`dict`, *optional*):
            Passed to the feature extractor's `post_process_audio_separation`, for instance `{"mask": "binary"}`.
        batch_size (`int`, *optional*):
            Number of chunks that go through the model together, also across recordings. Defaults to 16 s of them, on
            a CPU 8 s, at most 16.
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not hasattr(self.feature_extractor, "post_process_audio_separation"):
            raise ValueError(
                f"{type(self.model).__name__} with {type(self.feature_extractor).__name__} is no separation model: load one "
                "of a family of audioslots_hf."
            )
        # one that was being trained would drop out parts of what it hears
        self.model.eval()
        if self._batch_size is None:
            config = self.model.config
            self._batch_size = default_batch_size(config.chunk_length, config.sampling_rate, self.device)

    @property
    def batch_size(self) -> int:
        """Number of chunks that go through the model together."""
        return self._batch_size

    def _sanitize_parameters(
        self,
        sampling_rate: int | None = None,
        hop_length: int | None = None,
        show_progress: bool | None = None,
        post_process_kwargs: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if hop_length is not None:
            check_hop_length(hop_length, self.model.config.chunk_length)
        chunking = {} if hop_length is None else {"hop_length": hop_length}
        preprocess = dict(chunking)
        if sampling_rate is not None:
            preprocess["sampling_rate"] = sampling_rate
        if show_progress is not None:
            preprocess["show_progress"] = show_progress
        forward = {} if post_process_kwargs is None else {"post_process_kwargs": post_process_kwargs}
        return preprocess, forward, chunking

    def preprocess(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        hop_length: int | None = None,
        show_progress: bool | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a recording, those of all channels of the first instant first."""
        config = self.model.config
        recording = load_recording(audio, config.sampling_rate if sampling_rate is None else sampling_rate)
        waveforms = resample(recording.waveforms, recording.sampling_rate, config.sampling_rate)
        hop_length = hop_length or default_hop_length(config.chunk_length, config.sampling_rate)
        if show_progress is None:
            show_progress = waveforms.shape[-1] > 60 * config.sampling_rate
        num_chunks = max(0, -(-(waveforms.shape[-1] - config.chunk_length) // hop_length)) + 1
        with tqdm(total=num_chunks, unit="chunk", desc="Separating", disable=not show_progress) as bar:
            for chunk, is_last in iter_chunks([waveforms], config.chunk_length, hop_length):
                # before the chunk is handed out: after the last one nobody may come back
                bar.update()
                for channel, row in enumerate(chunk):
                    padded = torch.nn.functional.pad(row, (0, config.chunk_length - len(row)))
                    yield {
                        "chunk": padded[None],
                        "num_samples": torch.tensor([len(row)]),
                        "recording": recording,
                        "is_last": is_last and channel == len(chunk) - 1,
                    }

    def _forward(self, model_inputs: dict[str, Any], post_process_kwargs: dict[str, Any] | None = None) -> dict:
        separate_chunks = chunk_separator(self.model, self.feature_extractor, **(post_process_kwargs or {}))
        lengths = model_inputs["num_samples"].tolist()
        rows = [row[:length] for row, length in zip(model_inputs["chunk"], lengths, strict=True)]
        separated = separate_chunks(rows)
        return {
            **separated._asdict(),
            "num_samples": model_inputs["num_samples"],
            "recording": model_inputs["recording"],
            "is_last": model_inputs["is_last"],
        }

    def postprocess(self, model_outputs: list[dict[str, Any]], hop_length: int | None = None) -> list[dict[str, Any]]:
        """Join the chunks of one recording and give it back in its own rate, length and layout."""
        config = self.model.config
        recording: Recording = model_outputs[0]["recording"]
        num_channels, num_samples = recording.waveforms.shape
        hop_length = hop_length or default_hop_length(config.chunk_length, config.sampling_rate)
        stitcher = Stitcher(config.chunk_length, hop_length)
        parts = []
        for start in range(0, len(model_outputs), num_channels):
            items = model_outputs[start : start + num_channels]
            length = int(items[0]["num_samples"])
            # (num_channels, num_sources, num_samples)
            estimates = torch.cat([item["estimates"][..., :length] for item in items])
            embeddings = torch.cat([item["speaker_embeddings"] for item in items])
            is_last = start + num_channels == len(model_outputs)
            parts.append(stitcher.add(estimates, is_last, embeddings=embeddings))
        sources = torch.cat(parts, dim=-1)
        sources = resample(sources, config.sampling_rate, recording.sampling_rate)[..., :num_samples]
        return [
            {
                "label": f"source_{index}",
                "audio": recording.restore_layout(source),
                "sampling_rate": recording.sampling_rate,
            }
            for index, source in enumerate(sources.unbind(dim=1))
        ]
