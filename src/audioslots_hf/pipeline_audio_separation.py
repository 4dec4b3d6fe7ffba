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
"""The audio-to-audio pipeline: from a recording to one track per source."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pipelines.base import ChunkPipeline
from transformers.utils.logging import get_logger, tqdm

from .channels import check_channels, find_fault, hear_channels
from .chunking import Chunk, SeparatedChunks, check_chunk_hop_length
from .conversation import ConversationSeparator, VoiceEncoder
from .forks import use_one_thread_if_forked
from .model_files import check_feature_extractor
from .online import OnlineConversation
from .passes import check_passes
from .progress import Progress, showing_progress
from .recordings import Recording, load_recording
from .resampling import resample
from .saving import complete_card
from .separator import Separator, check_chunk_length
from .speakers import parse_speakers, wants_outputs
from .tracks import format_tracks, restore_tracks
from .waveforms import check_options, to_rate


logger = get_logger(__name__)

# longer recordings have a progress bar
MAX_QUIET_S = 60.0
OPTIONS = (
    "sampling_rate",
    "chunk_hop_length",
    "show_progress",
    "post_process_kwargs",
    "passes",
    "num_speakers",
    "max_speakers",
    "channels",
    "on_progress",
    "cancel",
)


class AudioSeparationPipeline(ChunkPipeline):
    """
    Separates recordings of any sampling rate, number of channels and length.

    Example:

    ```python
    >>> from audioslots_hf import load_separator

    >>> separator = load_separator()
    >>> sources = separator("meeting.wav")
    >>> sources[0]["label"], sources[0]["audio"].shape, sources[0]["sampling_rate"]
    ```

    The recording is a path, a URL, the bytes of a file, an open file, an array, a tensor, `(sampling_rate, array)`, or a row of
    a `datasets` set. A dictionary with `"array"` or `"raw"` and `"sampling_rate"` is accepted too, and so are a list or
    generator of recordings, a `datasets` set and a column of it. `sampling_rate` applies to arrays and tensors, and defaults
    to the model's. The result for each is a list of
    `{"label": "source_0", "audio": float32 array, "sampling_rate": int, "segments": list}` with the sampling rate, length and
    channel layout of the input; segments are the starts and ends of speech in seconds. There is one source for each person, silent
    where that person is: as many as are found, none if nobody speaks. Each channel of a recording is separated by itself, with the
    same order of sources.

    Args:
        sampling_rate (`int`, *optional*):
            Sampling rate in hertz of bare arrays and tensors. Defaults to the model's.
        chunk_hop_length (`int`, *optional*):
            Number of samples, at the model's rate, from one chunk to the next: only for `num_speakers="outputs"`, which it implies.
            By default such chunks overlap by a second, short ones by three quarters of a chunk.
        show_progress (`bool`, *optional*):
            Whether to show a progress bar. By default only for recordings longer than a minute.
        post_process_kwargs (`dict`, *optional*):
            Passed to the feature extractor's `post_process_audio_separation`, for instance `{"mask": "binary"}`.
        passes (`int`, *optional*, defaults to 1):
            2 or 4 average the estimates of so many passes, see [`Separator`].
        num_speakers (`int`, `"auto"` or `"outputs"`, *optional*):
            Number of people who speak. By default, and by `"auto"`, it is found. `"outputs"` gives the outputs of the model as they are,
            as many as it has; they follow the voices from chunk to chunk only. So does the default where SciPy or the voice encoder
            is missing, with a warning.
        max_speakers (`int`, *optional*, defaults to 6):
            The most people who may be found.
        channels (`str`, *optional*, defaults to `"each"`):
            `"each"` separates every channel, `"mix"` the mean of all channels, which gives tracks of one channel. `"split"` takes
            each channel as the track of a person, as in two-channel telephone calls, and computes only its segments.
        on_progress (callable, *optional*):
            Called with the finished fraction of a recording, from 0 to 1, in the thread of the separation. With
            `num_speakers="outputs"` the recordings of a list share batches, so that one may begin before the last one ends.
        cancel (`threading.Event`, *optional*):
            Another thread sets it to stop the separation, which then raises [`~progress.SeparationCancelled`].
        batch_size (`int`, *optional*):
            Number of chunks per forward pass. Defaults to 16 s of audio (8 s on a CPU), at most
            16 chunks.
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._process = os.getpid()
        self._voice_encoder: VoiceEncoder | None = None
        # by names, because a class of the Hub differs from that of the package
        is_base = not hasattr(self.model, "growable_fields")
        if is_base or not hasattr(self.feature_extractor, "post_process_audio_separation"):
            raise ValueError(
                f"{type(self.model).__name__} with {type(self.feature_extractor).__name__} is not a separation model: load a "
                "model of audioslots_hf."
            )
        check_feature_extractor(self.feature_extractor, self.model.config)
        check_chunk_length(self.feature_extractor.chunk_length, self.model.config)
        # dropout must be off, even for a model passed in training mode
        self.model.eval()
        if self._batch_size is None:
            self._batch_size = Separator(self.model, self.feature_extractor).batch_size

    def _upload_modified_files(self, working_dir: str, *args: Any, **kwargs: Any) -> Any:
        # transformers writes a card without a task into the folder that it uploads
        complete_card(working_dir, self.model.config.model_type)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @property
    def batch_size(self) -> int:
        """Number of chunks per forward pass."""
        return self._batch_size

    @property
    def separator(self) -> Separator:
        """A [`Separator`] for audio at the model's sampling rate, whole or in blocks."""
        return Separator(self.model, self.feature_extractor, batch_size=self.batch_size)

    @property
    def voice_encoder(self) -> VoiceEncoder:
        """Tells the people of a conversation apart: the one of the package or the repository, unless another was set."""
        if self._voice_encoder is None:
            from .voice_encoders import load_voice_encoder_beside

            encoder = load_voice_encoder_beside(self.model) or load_default_voice_encoder()
            self._voice_encoder = encoder.to(self.device)
        return self._voice_encoder

    @voice_encoder.setter
    def voice_encoder(self, encoder: VoiceEncoder) -> None:
        self._voice_encoder = encoder

    def conversation_separator(
        self,
        num_speakers: int | str | None = None,
        max_speakers: int | None = None,
        post_process_kwargs: dict[str, Any] | None = None,
        passes: int = 1,
    ) -> ConversationSeparator:
        """A separator of conversations with the pipeline's model and voice encoder, for audio at the model's sampling rate."""
        separator = Separator(
            self.model,
            self.feature_extractor,
            batch_size=self.batch_size,
            post_process_kwargs=post_process_kwargs,
            passes=passes,
        )
        return ConversationSeparator(separator, self.voice_encoder, *parse_speakers(num_speakers, max_speakers))

    def online_conversation(
        self, num_speakers: int | str | None = None, max_speakers: int | None = None
    ) -> OnlineConversation:
        """A separator of conversations that go on, for blocks of audio at the model's sampling rate."""
        return OnlineConversation(self.separator, self.voice_encoder, *parse_speakers(num_speakers, max_speakers))

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Separate one recording, or many; a generator and a `datasets` set give an iterator, a list and a column give a list."""
        kind = type(inputs)
        if kind.__module__.partition(".")[0] == "datasets" and hasattr(inputs, "__iter__"):
            if isinstance(inputs, Mapping):
                raise ValueError(f"A {kind.__name__} holds several sets, {', '.join(inputs)}: separate one of them.")
            # `datasets[...]` gave a list before it gave a column
            inputs = list(inputs) if kind.__name__ == "Column" else (row for row in inputs)
        if isinstance(inputs, list) and not inputs:
            return []
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self,
        sampling_rate: int | None = None,
        chunk_hop_length: int | None = None,
        show_progress: bool | None = None,
        post_process_kwargs: dict[str, Any] | None = None,
        passes: int | None = None,
        num_speakers: int | str | None = None,
        max_speakers: int | None = None,
        channels: str | None = None,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_options(options, OPTIONS)
        if channels is not None:
            check_channels(channels, num_speakers, max_speakers)
        if chunk_hop_length is not None:
            check_chunk_hop_length(chunk_hop_length, self.feature_extractor.chunk_length)
        if passes is not None:
            check_passes(passes, self.model.config)
        if num_speakers is None and max_speakers is not None:
            num_speakers = "auto"
        # only those that are given: others may have been given to the pipeline before
        speakers = _keep_given(
            num_speakers=num_speakers, max_speakers=max_speakers, chunk_hop_length=chunk_hop_length, channels=channels
        )
        wants_outputs(num_speakers, max_speakers, chunk_hop_length)
        both = speakers | _keep_given(show_progress=show_progress, on_progress=on_progress, cancel=cancel)
        forward = _keep_given(post_process_kwargs=post_process_kwargs, passes=passes)
        rate = {} if sampling_rate is None else {"sampling_rate": to_rate(sampling_rate)}
        return both | rate, forward, both | forward

    def preprocess(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        chunk_hop_length: int | None = None,
        num_speakers: int | str | None = None,
        max_speakers: int | None = None,
        show_progress: bool | None = None,
        channels: str = "each",
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[dict[str, Any]]:
        """
        Yield a recording whole, because its people are found in all of it.

        For the outputs of the model, yield its chunks in order of time, for all channels in turn.
        """
        use_one_thread_if_forked(self._process)
        progress = Progress(on_progress, cancel)
        separator = Separator(self.model, self.feature_extractor, chunk_hop_length)
        rate = separator.sampling_rate
        recording = load_recording(audio, rate if sampling_rate is None else sampling_rate)
        if warning := find_fault(recording.waveforms, recording.sampling_rate, channels):
            logger.warning(f"In this recording {warning}.")
        if channels == "mix":
            recording = Recording(recording.waveforms.mean(dim=0, keepdim=True), recording.sampling_rate, "mono")
        is_cut = wants_outputs(num_speakers, max_speakers, chunk_hop_length) and channels != "split"
        # slots that go from chunk to chunk need them in order, which batches across recordings do not keep
        if not is_cut or self.model.config.sequential_slots:
            yield {"recording": recording, "is_last": True}
            return
        waveforms = resample(recording.waveforms, recording.sampling_rate, rate)
        if show_progress is None:
            show_progress = recording.duration_s > MAX_QUIET_S
        num_hops = -(-(waveforms.shape[-1] - separator.chunk_length) // separator.chunk_hop_length)
        num_chunks = max(0, num_hops) + 1
        with tqdm(total=num_chunks, unit="chunk", desc="Separating", disable=not show_progress) as bar:
            for index, chunk in enumerate(separator.cut([waveforms])):
                progress.report(index / num_chunks)
                # before the yield: the consumer may not resume after the last chunk
                bar.update()
                for channel, row in enumerate(chunk.samples):
                    padded = torch.nn.functional.pad(row, (0, separator.chunk_length - len(row)))
                    yield {
                        "chunk": padded[None],
                        "num_samples": torch.tensor([len(row)]),
                        "recording": recording,
                        "is_last": chunk.is_last and channel == len(chunk.samples) - 1,
                    }

    def _forward(
        self,
        model_inputs: dict[str, Any],
        post_process_kwargs: dict[str, Any] | None = None,
        passes: int = 1,
    ) -> dict[str, Any]:
        # a recording as a whole comes without chunks
        if "chunk" not in model_inputs:
            return model_inputs
        separator = Separator(
            self.model, self.feature_extractor, post_process_kwargs=post_process_kwargs, passes=passes
        )
        lengths = model_inputs["num_samples"].tolist()
        # each row is one channel of a chunk
        chunks = [
            Chunk(row[None, :length], is_last=False)
            for row, length in zip(model_inputs["chunk"], lengths, strict=True)
        ]
        separated = separator.separate_chunks(chunks)
        return {
            "estimates": separated.estimates,
            "embeddings": separated.embeddings,
            "num_samples": model_inputs["num_samples"],
            "recording": model_inputs["recording"],
            "is_last": model_inputs["is_last"],
        }

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        chunk_hop_length: int | None = None,
        num_speakers: int | str | None = None,
        max_speakers: int | None = None,
        show_progress: bool | None = None,
        channels: str = "each",
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Separate a whole recording, or join its chunks; restore its sampling rate, length and layout."""
        recording: Recording = model_outputs[0]["recording"]
        if channels == "split" or "estimates" in model_outputs[0]:
            result = self._join(model_outputs, chunk_hop_length, channels == "split")
            if on_progress is not None:
                on_progress(1.0)
            return result
        if show_progress is None:
            show_progress = recording.duration_s > MAX_QUIET_S
        with showing_progress(on_progress, show_progress) as report:
            if self.separates_people(num_speakers, max_speakers, chunk_hop_length):
                speakers = {"num_speakers": num_speakers, "max_speakers": max_speakers}
                return self._separate_conversation(recording, report, cancel, **speakers, **options)
            return self._separate_whole(recording, report, cancel, chunk_hop_length=chunk_hop_length, **options)

    def separates_people(
        self,
        num_speakers: int | str | None = None,
        max_speakers: int | None = None,
        chunk_hop_length: int | None = None,
    ) -> bool:
        """
        Whether these options of a call give people; by default outputs, and a warning, only without SciPy or a voice encoder.

        Raises:
            `ValueError`: the options make no sense together.
        """
        if wants_outputs(num_speakers, max_speakers, chunk_hop_length):
            return False
        if num_speakers is not None or max_speakers is not None:
            return True
        try:
            import scipy  # noqa: F401

            return self.voice_encoder is not None
        except (ImportError, ValueError) as error:
            logger.warning(f"The sources are the outputs of the model, as by `num_speakers='outputs'`. {error}")
            return False

    def _join(
        self, model_outputs: list[dict[str, Any]], chunk_hop_length: int | None, split: bool
    ) -> list[dict[str, Any]]:
        """The result of a recording whose chunks are separated, or whose channels are the tracks."""
        recording: Recording = model_outputs[0]["recording"]
        if split:
            mono = Recording(recording.waveforms, recording.sampling_rate, "mono")
            # a copy, so that tracks do not change with the input
            heard = hear_channels(recording.waveforms, recording.sampling_rate)
            return format_tracks(mono, recording.waveforms.clone()[None], heard.plan().segments)
        num_channels = len(recording.waveforms)
        separator = Separator(self.model, self.feature_extractor, chunk_hop_length)
        stitcher = separator.build_stitcher()
        parts = []
        for start in range(0, len(model_outputs), num_channels):
            items = model_outputs[start : start + num_channels]
            is_last = start + num_channels == len(model_outputs)
            parts.append(stitcher.add(_gather_channels(items), is_last))
        return restore_tracks(recording, torch.cat(parts, dim=-1), separator.sampling_rate)

    def _separate_whole(
        self,
        recording: Recording,
        on_progress: Callable[[float], None] | None,
        cancel: threading.Event | None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """The result of a recording by a model whose slots go from chunk to chunk."""
        separator = Separator(self.model, self.feature_extractor, batch_size=self.batch_size, **options)
        waveforms = resample(recording.waveforms, recording.sampling_rate, separator.sampling_rate)
        return restore_tracks(recording, separator.separate(waveforms, on_progress, cancel), separator.sampling_rate)

    def _separate_conversation(
        self,
        recording: Recording,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        **speakers: Any,
    ) -> list[dict[str, Any]]:
        """One source for each person of a conversation, in the recording's own rate, length and layout."""
        separator = self.conversation_separator(**speakers)
        waveforms = resample(recording.waveforms, recording.sampling_rate, separator.sampling_rate)
        tracks, plan = separator.separate(waveforms, on_progress, cancel)
        if plan.num_voices == 0:
            logger.warning("Nobody speaks in this recording: there are no sources.")
        if plan.num_voices == 1:
            return format_tracks(recording, recording.waveforms.unsqueeze(1), plan.segments)
        tracks = resample(tracks, separator.sampling_rate, recording.sampling_rate)
        return format_tracks(recording, tracks[..., : recording.waveforms.shape[-1]], plan.segments)


def load_default_voice_encoder() -> PreTrainedModel:
    """The voice encoder that ships with the package."""
    try:
        from .voice_encoders import load_voice_encoder

        return load_voice_encoder()
    except (ImportError, OSError) as error:
        raise ValueError(
            "The voice encoder that ships with the package audioslots_hf, which tells people apart, cannot be loaded: install the "
            "package, set `voice_encoder` of the pipeline, or pass `num_speakers='outputs'`."
        ) from error


def _keep_given(**options: Any) -> dict[str, Any]:
    """The options that are not `None`."""
    return {name: value for name, value in options.items() if value is not None}


def _gather_channels(items: list[dict[str, Any]]) -> SeparatedChunks:
    """Join the items of one chunk, one per channel."""
    length = int(items[0]["num_samples"])
    estimates = torch.cat([item["estimates"][..., :length] for item in items])
    if items[0]["embeddings"] is None:
        return SeparatedChunks(estimates)
    return SeparatedChunks(estimates, torch.cat([item["embeddings"] for item in items]))


__all__ = ["AudioSeparationPipeline", "load_default_voice_encoder"]
