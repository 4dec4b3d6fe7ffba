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
import itertools

import pytest
import torch

from audioslots_hf.chunking import Chunk, OverlapAdd, SeparatedChunks, Stitcher, align_channels, iter_chunks, reorder
from audioslots_hf.separator import Separator, default_batch_size
from tests.audio_helpers import noise


CHUNK_LENGTH = 40
RATE = 16000


class Sizes:
    """The parts of a feature extractor that a separator needs without a model."""

    def __init__(self, chunk_length: int):
        self.chunk_length, self.sampling_rate = chunk_length, RATE


class FakeSeparator(Separator):
    """A separator with a function in place of the model, which is given the rows of each batch."""

    device = torch.device("cpu")

    def __init__(self, separate_rows, chunk_length: int, chunk_hop_length: int, batch_size: int = 16, **kwargs):
        super().__init__(None, Sizes(chunk_length), chunk_hop_length, batch_size, **kwargs)
        self.separate_rows = separate_rows

    def separate_chunks(self, chunks: list[Chunk]) -> SeparatedChunks:
        return self.separate_rows([row for chunk in chunks for row in chunk.samples])


class PermutingOracle:
    """
    Gives the true sources of each chunk, in an order drawn anew for every chunk of every channel.

    Args:
        sources (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`):
            The true sources.
        chunk_hop_length (`int`):
            Number of samples from one chunk to the next.
        embeddings (`torch.Tensor` of shape `(num_channels, num_sources, embedding_size)`, *optional*):
            Embeddings that identify the speakers.
    """

    def __init__(self, sources: torch.Tensor, chunk_hop_length: int, embeddings: torch.Tensor | None = None):
        self.sources = sources
        self.chunk_hop_length = chunk_hop_length
        self.embeddings = embeddings
        self.generator = torch.Generator().manual_seed(0)
        self.orders = []

    def __call__(self, chunks: list[torch.Tensor]) -> SeparatedChunks:
        embeddings = []
        estimates = torch.zeros(len(chunks), self.sources.shape[1], max(len(chunk) for chunk in chunks))
        for row, chunk in enumerate(chunks):
            index, channel = divmod(len(self.orders), len(self.sources))
            start = index * self.chunk_hop_length
            true = self.sources[channel, :, start : start + len(chunk)]
            torch.testing.assert_close(true.sum(dim=0), chunk)
            self.orders.append(torch.randperm(len(true), generator=self.generator))
            estimates[row, :, : len(chunk)] = true[self.orders[-1]]
            if self.embeddings is not None:
                embeddings.append(self.embeddings[channel, self.orders[-1]])
        return SeparatedChunks(estimates, torch.stack(embeddings) if embeddings else None)


def two_tracks(chunks: list[torch.Tensor]) -> SeparatedChunks:
    """Shares that depend on the place in the chunk, so that only a right join adds up."""
    padded = torch.nn.utils.rnn.pad_sequence(chunks, batch_first=True)
    shares = torch.linspace(0.1, 0.9, CHUNK_LENGTH)[: padded.shape[-1]]
    estimates = torch.stack([padded * shares, padded * (1 - shares)], dim=1)
    return SeparatedChunks(estimates)


def make_sources(num_channels: int, num_sources: int, num_samples: int = 333) -> torch.Tensor:
    sources = torch.from_numpy(noise(1, num_sources, num_samples))
    # each further channel is quieter
    return sources * torch.tensor([1.0, 0.3, 0.7])[:num_channels, None, None]


@pytest.mark.parametrize("delay", [0, 20, 200])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_channels_keep_one_order_also_when_delayed_or_inverted(delay, sign):
    noise = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    # a low and a high source
    near = torch.stack([noise[0].cumsum(-1) / 10, noise[1].diff(append=noise[1, -1:])])
    far = 0.5 * sign * near.roll(delay, dims=-1)
    assert torch.equal(align_channels(torch.stack([near, far.flip(0)])), torch.stack([near, far]))


@pytest.mark.parametrize("num_channels, expected", [(1, 6), (2, 6), (3, 6), (8, 8)])
def test_batches_hold_no_more_rows_than_asked_for_but_one_chunk_at_least(num_channels, expected):
    sizes = []

    def separate_chunks(chunks):
        sizes.append(len(chunks))
        estimates = torch.stack([torch.stack([chunk, chunk]) for chunk in chunks])
        return SeparatedChunks(estimates)

    FakeSeparator(separate_chunks, 100, 100, batch_size=6).separate(torch.randn(num_channels, 4000))
    assert max(sizes) == expected


@pytest.mark.parametrize("num_samples", [1, 39, 40, 41, 60, 61, 333])
@pytest.mark.parametrize("chunk_hop_length", [13, 20, 40])
@pytest.mark.parametrize("block_length", [1, 7, 1000])
def test_chunk_k_starts_at_k_hops_and_the_last_one_reaches_the_end(num_samples, chunk_hop_length, block_length):
    samples = torch.arange(num_samples)[None]
    chunks = list(iter_chunks(samples.split(block_length, dim=-1), CHUNK_LENGTH, chunk_hop_length))
    for index, (chunk, is_last) in enumerate(chunks):
        start = index * chunk_hop_length
        assert chunk.tolist() == samples[:, start : start + CHUNK_LENGTH].tolist()
        assert is_last == (start + CHUNK_LENGTH >= num_samples) == (index == len(chunks) - 1)


@pytest.mark.parametrize("chunk_hop_length", [0, -1, 41, 20.0])
def test_a_hop_that_leaves_gaps_raises(chunk_hop_length):
    message = f"`chunk_hop_length` is {chunk_hop_length}: it must be a whole number between 1 and the chunk length 40"
    with pytest.raises(ValueError, match=message):
        list(iter_chunks([torch.zeros(1, 50)], CHUNK_LENGTH, chunk_hop_length))
    with pytest.raises(ValueError, match=message):
        Stitcher(CHUNK_LENGTH, chunk_hop_length, RATE)


@pytest.mark.parametrize("num_samples", [1, 40, 41, 333])
@pytest.mark.parametrize("chunk_hop_length", [13, 20, 40])
def test_estimates_that_add_up_in_every_chunk_add_up_in_the_result(num_samples, chunk_hop_length):
    waveforms = torch.from_numpy(noise(2, num_samples))
    estimates = FakeSeparator(two_tracks, CHUNK_LENGTH, chunk_hop_length).separate(waveforms)
    assert estimates.shape == (2, 2, num_samples)
    # float32 rounding of sums of windows
    torch.testing.assert_close(estimates.sum(dim=1), waveforms, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_channels", [1, 2, 3])
@pytest.mark.parametrize("num_sources", [2, 3])
@pytest.mark.parametrize("chunk_hop_length", [130, 200, 300])
def test_shuffled_sources_are_followed_through_the_overlap(num_channels, num_sources, chunk_hop_length):
    # ten samples of noise say nothing about their source: chunks of 400
    sources = make_sources(num_channels, num_sources, 3330)
    oracle = PermutingOracle(sources, chunk_hop_length)
    estimates = FakeSeparator(oracle, 400, chunk_hop_length).separate(sources.sum(dim=1))
    assert len({tuple(order.tolist()) for order in oracle.orders}) > 1
    # without references only one order for the whole is free: that of the first chunk of the loudest channel
    torch.testing.assert_close(estimates, sources[:, oracle.orders[0]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("chunk_hop_length", [20, 40])
def test_references_put_every_chunk_in_their_order(num_channels, chunk_hop_length):
    sources = make_sources(num_channels, num_sources=3)
    # a pause longer than a chunk, over which no overlap could carry the order
    sources[..., 100:200] = 0
    oracle = PermutingOracle(sources, chunk_hop_length)
    separator = FakeSeparator(oracle, CHUNK_LENGTH, chunk_hop_length, batch_size=3, order_by_references=True)
    parts = separator.stream_chunks(separator.cut([sources.sum(dim=1)], sources))
    estimates = torch.cat([part for part, _ in parts], dim=-1)
    assert len({tuple(order.tolist()) for order in oracle.orders}) > 1
    torch.testing.assert_close(estimates, sources, rtol=0, atol=1e-6)


def test_sources_that_sound_different_are_followed_where_nothing_overlaps():
    noises = torch.from_numpy(noise(2, 40 * 400))
    # a dull and a bright source
    dull = torch.nn.functional.avg_pool1d(noises[:1], 9, stride=1, padding=4)
    sources = torch.stack([dull[0], noises[1].diff(append=noises[1, -1:])])[None]
    oracle = PermutingOracle(sources, 400)
    estimates = FakeSeparator(oracle, 400, 400).separate(sources.sum(dim=1))
    expected = sources[:, oracle.orders[0]]
    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("num_sources", [2, 3])
def test_speakers_are_known_again_by_their_embeddings_where_all_else_is_alike(num_channels, num_sources):
    """White noise of one level in disjoint chunks: neither overlap nor spectrum tells."""
    sources = make_sources(1, num_sources, 4000) * torch.tensor([1.0, 0.5])[:num_channels, None, None]
    # the quieter channel knows nobody
    embeddings = 20 * torch.eye(num_sources) * torch.tensor([1.0, 0.0])[:num_channels, None, None]
    followed = FakeSeparator(PermutingOracle(sources, 400, embeddings), 400, 400).separate(sources.sum(dim=1))
    lost = FakeSeparator(PermutingOracle(sources, 400), 400, 400).separate(sources.sum(dim=1))
    # the first chunk says which track is which
    torch.testing.assert_close(reorder(followed, sources), sources)
    assert (reorder(lost, sources) - sources).norm() > 0.5 * sources.norm()


def test_every_channel_takes_the_order_of_the_loudest():
    sources = make_sources(num_channels=1, num_sources=3)[0]
    channels = torch.stack([0.1 * sources[[2, 0, 1]], sources, 0.5 * sources[[1, 0, 2]]])
    aligned = align_channels(channels)
    torch.testing.assert_close(aligned, torch.stack([0.1 * sources, sources, 0.5 * sources]), rtol=0, atol=0)


@pytest.mark.parametrize("batch_size, block_length", [(1, 1), (3, 7), (16, 100), (7, 333)])
def test_many_small_blocks_give_the_same_as_the_whole(batch_size, block_length):
    waveforms = torch.from_numpy(noise(2, 333))
    whole = FakeSeparator(two_tracks, CHUNK_LENGTH, 20, batch_size=1000).separate(waveforms)
    blocks = FakeSeparator(two_tracks, CHUNK_LENGTH, 20, batch_size).stream(waveforms.split(block_length, dim=-1))
    # the same sums in the same order
    torch.testing.assert_close(torch.cat(list(blocks), dim=-1), whole, rtol=0, atol=0)


def test_recordings_in_common_batches_give_the_same_as_alone():
    recordings = [torch.from_numpy(noise(2, num_samples, seed=num_samples)) for num_samples in (333, 7, 40, 100)]
    sizes = []

    def separate_chunks(chunks):
        sizes.append(len(chunks))
        return two_tracks(chunks)

    separator = FakeSeparator(separate_chunks, CHUNK_LENGTH, 20, batch_size=8)
    chunks = (chunk for number, r in enumerate(recordings) for chunk in separator.cut([r], recording=number))
    parts = list(separator.stream_chunks(chunks))
    # 16 + 1 + 1 + 4 chunks of two channels, all batches but the last are full
    assert sizes == [8] * 5 + [4]
    assert [chunk.recording for _, chunk in parts if chunk.is_last] == [0, 1, 2, 3]
    for number, recording in enumerate(recordings):
        together = torch.cat([part for part, chunk in parts if chunk.recording == number], dim=-1)
        alone = FakeSeparator(two_tracks, CHUNK_LENGTH, 20).separate(recording)
        torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_samples_are_handed_out_as_soon_as_no_later_chunk_reaches_them():
    endless = itertools.repeat(torch.ones(1, 17))
    parts = list(itertools.islice(FakeSeparator(two_tracks, CHUNK_LENGTH, 20, batch_size=2).stream(endless), 50))
    assert [part.shape for part in parts] == [(1, 2, 20)] * 50


def test_a_model_gives_the_same_in_blocks_and_in_batches_of_any_size(separator):
    waveforms = torch.from_numpy(noise(2, 3001))
    parts = (separator.model, separator.feature_extractor)
    whole = Separator(*parts, chunk_hop_length=400).separate(waveforms)
    blocks = Separator(*parts, chunk_hop_length=400, batch_size=3).stream(waveforms.split(999, dim=-1))
    # convolutions of other batch sizes round differently
    torch.testing.assert_close(torch.cat(list(blocks), dim=-1), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.sum(dim=1), waveforms, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain", [1e-5, 1e4])
def test_the_order_of_sources_is_not_chosen_in_half_precision(gain):
    sources = gain * make_sources(1, 2, 4000)
    with torch.autocast("cpu", dtype=torch.float16):
        joined = FakeSeparator(PermutingOracle(sources, 200), 400, 200).separate(sources.sum(dim=1))
    # the first chunk says which track is which
    torch.testing.assert_close(reorder(joined / gain, sources / gain), sources / gain)


def test_every_sample_of_a_long_chunk_has_weight():
    """In float32 a Hann window computed as 1 - cos is 0 at the ends from about 16000 samples on: 0 / 0 is no sample."""
    for chunk_length in (16000, 64000, 960000):
        window = OverlapAdd(chunk_length, chunk_length // 2).window
        assert window.min() > 0
        torch.testing.assert_close(
            window, torch.hann_window(chunk_length + 2, periodic=False)[1:-1], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("duration_s, cpu, gpu", [(0.5, 16, 16), (4, 2, 4), (60, 1, 1)])
def test_as_many_chunks_go_together_as_the_device_can_use(duration_s, cpu, gpu):
    chunk_length = int(duration_s * 16000)
    assert default_batch_size(chunk_length, 16000, torch.device("cpu")) == cpu
    assert default_batch_size(chunk_length, 16000, torch.device("cuda")) == gpu
