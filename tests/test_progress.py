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
"""How far a separation is, and cancelling it."""

import threading

import numpy as np
import pytest
import torch

from audioslots_hf import SeparationCancelled, pipeline_audio_separation
from audioslots_hf.chunking import Chunk
from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.jobs import OutputChoices, SeparationJob
from audioslots_hf.progress import Progress
from audioslots_hf.separation import separate_conversation, separate_file
from audioslots_hf.separator import Separator
from tests.audio_helpers import noise
from tests.cli_helpers import files_in, write
from tests.conversation_helpers import RATE, encode_bands, split_by_band, turns


# 1 s in chunks of 0.1 s, 0.025 s apart
SAMPLES = noise(8000)


class Encoder:
    def to(self, device):
        return self

    def __call__(self, waveforms, weights):
        return encode_bands(waveforms, weights)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """Tells bands of noise apart at once."""
    monkeypatch.setattr(pipeline_audio_separation, "load_default_voice_encoder", Encoder)


def assert_grows_to_the_end(fractions: list[float]):
    assert fractions[0] == 0 and fractions[-1] == 1 and fractions == sorted(fractions)
    assert fractions.count(1) == 1 and len(set(fractions)) > 3


def separate_in_memory(separator, **watchers):
    return separator.separator.separate(torch.from_numpy(SAMPLES)[None], **watchers)


def separate_people_in_memory(separator, **watchers):
    return separator.conversation_separator(2).separate(torch.from_numpy(SAMPLES)[None].tile(4), **watchers)[0]


def separate_by_pipeline(separator, **watchers):
    return separator(SAMPLES, **watchers)


def separate_people_by_pipeline(separator, **watchers):
    return separator(np.tile(SAMPLES, 4), num_speakers=2, **watchers)


ROUTES = [separate_in_memory, separate_people_in_memory, separate_by_pipeline, separate_people_by_pipeline]


@pytest.fixture(params=ROUTES)
def route(request):
    return request.param


def test_the_reported_fraction_grows_from_0_to_1_and_changes_no_result(separator, route):
    fractions = []
    watched = route(separator, on_progress=fractions.append, cancel=threading.Event())
    assert_grows_to_the_end(fractions)
    expected = route(separator)
    if isinstance(watched, torch.Tensor):
        assert torch.equal(watched, expected)
    else:
        for source, other in zip(watched, expected, strict=True):
            np.testing.assert_array_equal(source["audio"], other["audio"])


def test_an_event_that_is_set_cancels_before_any_work(separator, route, monkeypatch):
    monkeypatch.setattr(Separator, "separate_chunks", None)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(SeparationCancelled, match="The separation was cancelled"):
        route(separator, cancel=cancel)


def test_another_thread_cancels_a_separation_that_would_last_for_minutes(separator):
    started, cancel, outcome = threading.Event(), threading.Event(), []

    def run():
        try:
            separator.separator.separate(torch.zeros(1, 2**22), lambda fraction: fraction and started.set(), cancel)
        except SeparationCancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    cancel.set()
    thread.join(60)
    assert len(outcome) == 1 and not thread.is_alive()


def test_the_end_of_each_recording_of_a_list_is_reported(separator):
    fractions = []
    separator([SAMPLES, SAMPLES], on_progress=fractions.append)
    # they share batches, so that the second may begin before the first ends
    assert fractions.count(1) == 2 and fractions[-1] == 1


@pytest.mark.parametrize("num_passes", [1, 2])
@pytest.mark.parametrize("limit", [None, 0.1, 0.6])
def test_a_cancelled_file_leaves_nothing(separator, tmp_path, monkeypatch, num_passes, limit):
    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))
    monkeypatch.setattr(Separator, "separate", lambda self, block: split_by_band([Chunk(block, True)]).estimates)
    # blocks of files have 10 s
    mixture = turns([(voice % 2, start, start + 4) for voice, start in enumerate(range(0, 30, 5))], 30.0).sum(dim=0)
    job = SeparationJob(write(tmp_path / "a.wav", mixture.numpy(), RATE), tmp_path / "out")
    job.folder.mkdir()
    cancel, fractions = threading.Event(), []

    def follow(fraction: float):
        fractions.append(fraction)
        if limit is not None and fraction > limit:
            cancel.set()

    progress = Progress(follow, cancel, num_passes)
    choices = OutputChoices(rttm=num_passes == 2)

    def run():
        if num_passes == 1:
            # without overlap, because it has many chunks
            disjoint = Separator(separator.model, separator.feature_extractor, chunk_hop_length=800)
            return separate_file(job, disjoint, choices, progress)
        return separate_conversation(
            job, ConversationSeparator(separator.separator, encode_bands, 2), choices, progress
        )

    if limit is None:
        assert len(run().paths) >= 2
        assert_grows_to_the_end(fractions)
    else:
        with pytest.raises(SeparationCancelled):
            run()
        assert files_in(tmp_path / "out") == [] and fractions[-1] < 1
