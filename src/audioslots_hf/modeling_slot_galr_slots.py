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
"""The slots of SlotGALR, of a mixture alone or of the successive chunks of a recording."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_slot_galr import SlotGalrConfig
from .modeling_audioslots import AudioSlotsSlotAttentionLayer, AudioSlotsTransformerLayer, fourier_features


# strides of the map that the slot module sees, along frames and along bands
SLOT_FRAME_STRIDE, SLOT_BAND_STRIDE = 8, 5


class SlotGalrSlots(nn.Module):
    """
    The slots of a mixture: learned queries that attend to the map, through the slot module of AudioSlots.

    Sequential slots are future work of the AudioSlots paper: a projection of the slots of the chunk before is
    added to the queries, so that each slot can stay with its source.
    """

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.empty(config.num_slots, config.hidden_size))
        self.map_layer_norm = nn.LayerNorm(config.map_hidden_size, eps=config.layer_norm_eps)
        self.position_proj = nn.Linear(4 * config.num_fourier_frequencies, config.map_hidden_size)
        # CODEPATH: "transformer" is the default, "slot_attention" the ablation of the AudioSlots paper on the map
        if config.slot_module == "transformer":
            layers = [
                AudioSlotsTransformerLayer(config, config.map_hidden_size) for _ in range(config.num_hidden_layers)
            ]
        else:
            layers = [AudioSlotsSlotAttentionLayer(config, config.map_hidden_size)]
        self.layers = nn.ModuleList(layers)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        # without a bias: slots of zeros are those before a recording begins
        self.previous_proj = None
        # CODEPATH: no checkpoint ships with sequential slots; training/README.md says how to train them
        if config.sequential_slots:
            self.previous_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    @torch.no_grad()
    def ignore_previous_slots(self) -> None:
        """Begin every chunk with the learned queries alone, until the projection is trained."""
        init.zeros_(self.previous_proj.weight)

    def forward(
        self,
        hidden_states: torch.Tensor,
        input_values: torch.Tensor,
        initial_slots: torch.Tensor | None = None,
        recording_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """
        The slots of mixtures. A chunk of silence keeps the slots of the chunk before.

        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, 1, num_frames, num_bands, map_hidden_size)`):
                The map of each chunk.
            input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
                The samples of each chunk.
            initial_slots (`torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`, *optional*):
                The slots before each chunk; for a recording of several chunks, those of its first row count.
            recording_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                The recording of each chunk; by default, each is the only one of its recording.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`.

        Raises:
            `ValueError`: `initial_slots` for a model without sequential slots.
        """
        encoded = self.encode(hidden_states)
        if self.previous_proj is None:
            if initial_slots is not None:
                raise ValueError(
                    "`initial_slots` needs a model with `sequential_slots`: this one separates every chunk by itself."
                )
            return self.attend(self.queries.expand(len(encoded), -1, -1), encoded, **kwargs)
        is_silent = ~input_values.any(dim=-1)
        if initial_slots is None:
            initial_slots = torch.zeros_like(self.queries).expand(len(encoded), -1, -1)
        initial_slots = initial_slots.to(self.queries.dtype)
        if recording_ids is None:
            return self._step(initial_slots, encoded, is_silent, **kwargs)
        return self._follow(initial_slots, encoded, is_silent, recording_ids, **kwargs)

    def encode(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch_size, 1, num_frames, num_bands, map_hidden_size) -> (batch_size, num_positions, map_hidden_size)"""
        images = hidden_states.squeeze(1).permute(0, 3, 2, 1)
        pooled = nn.functional.avg_pool2d(
            images, (SLOT_BAND_STRIDE, SLOT_FRAME_STRIDE), ceil_mode=True, count_include_pad=False
        )
        _, _, num_rows, num_columns = pooled.shape
        positions = fourier_features(num_rows, num_columns, self.config.num_fourier_frequencies, like=pooled)
        encoded = self.map_layer_norm(pooled.flatten(2).transpose(1, 2))
        return encoded + self.position_proj(positions.flatten(0, 1))

    def attend(self, slots: torch.Tensor, encoded: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(batch_size, num_slots, hidden_size), (batch_size, num_positions, map_hidden_size) -> slots"""
        for _ in range(self.config.num_iterations):
            for layer in self.layers:
                slots = layer(slots, encoded, **kwargs)
        return self.layer_norm(slots)

    def _follow(
        self,
        initial_slots: torch.Tensor,
        encoded: torch.Tensor,
        is_silent: torch.Tensor,
        recording_ids: torch.Tensor,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """The slots of the chunks of several recordings, in as many steps as the longest has chunks."""
        # one row for each recording, and the place of each chunk in its own
        _, recordings = recording_ids.unique(return_inverse=True)
        places = count_earlier(recordings)
        previous = initial_slots[places == 0][recordings[places == 0].argsort()]
        slots = torch.zeros_like(initial_slots)
        for place in range(int(places.max()) + 1):
            rows = (places == place).nonzero().squeeze(1)
            found = self._step(previous[recordings[rows]], encoded[rows], is_silent[rows], **kwargs)
            previous = previous.index_copy(0, recordings[rows], found)
            slots = slots.index_copy(0, rows, found)
        return slots

    def _step(
        self,
        previous: torch.Tensor,
        encoded: torch.Tensor,
        is_silent: torch.Tensor,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        slots = self.attend(self.queries + self.previous_proj(previous), encoded, **kwargs)
        return torch.where(is_silent[:, None, None], previous, slots.to(previous.dtype))


def count_earlier(ids: torch.Tensor) -> torch.Tensor:
    """The number of earlier rows with the same id, int64 (batch_size,) -> same"""
    return (ids[:, None] == ids).tril(diagonal=-1).sum(dim=1)


def join_chunks(values: torch.Tensor, recording_ids: torch.Tensor) -> torch.Tensor:
    """
    Join the chunks of each recording in time: (num_chunks, num_sources, length) -> (num_recordings, num_sources, joined length)

    Raises:
        `ValueError`: the recordings differ in their number of chunks.
    """
    counts = recording_ids.unique(return_counts=True)[1]
    if (counts != counts[0]).any():
        raise ValueError(
            f"`recording_ids` ({recording_ids.tolist()}) give the recordings {counts.tolist()} chunks: for a loss, give all of them "
            "the same number."
        )
    rows = recording_ids.argsort(stable=True)
    return values[rows].unflatten(0, (len(counts), -1)).transpose(1, 2).flatten(2)


__all__ = ["SLOT_BAND_STRIDE", "SLOT_FRAME_STRIDE", "SlotGalrSlots", "count_earlier", "join_chunks"]
