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
import copy
import shutil
import sys
import types
import warnings
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline
from transformers.dynamic_module_utils import get_imports
from transformers.pipelines.pt_utils import KeyDataset

from audioslots_hf import AudioSeparationPipeline, load_separator
from audioslots_hf import shipped as shipped_checkpoints
from audioslots_hf.metrics import score_separation
from tests.audio_helpers import noise, serve, tones
from tests.conftest import SAMPLES


RATES = [8000, 11025, 16000, 22050, 44100, 48000]
LAYOUTS = {
    "mono": lambda channels: channels[0],
    "channels_first": lambda channels: channels,
    "channels_last": lambda channels: channels.T,
}


def stack(sources: list[dict]) -> np.ndarray:
    """The tracks of one recording, the sources first."""
    return np.stack([source["audio"] for source in sources])


def assert_same_sources(found: list[dict], expected: list[dict]):
    assert [source["sampling_rate"] for source in found] == [source["sampling_rate"] for source in expected]
    # convolutions of other batch sizes round differently
    np.testing.assert_allclose(stack(found), stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("convert", [np.ascontiguousarray, lambda audio: torch.from_numpy(audio.copy())])
def test_tracks_come_back_in_the_rate_the_length_and_the_layout_that_went_in(separator, rate, layout, convert):
    num_samples = int(0.37 * rate) | 1
    audio = LAYOUTS[layout](np.stack([tones(num_samples, rate), 0.5 * tones(num_samples, rate)]))
    sources = separator({"array": convert(audio), "sampling_rate": rate})
    assert [source["label"] for source in sources] == ["source_0", "source_1"]
    for source in sources:
        assert source["sampling_rate"] == rate
        assert isinstance(source["audio"], np.ndarray) and source["audio"].dtype == np.float32
        assert source["audio"].shape == audio.shape
        assert np.abs(source["audio"]).max() > 1e-3
    # exact at the model's rate, else up to the ripple of the filters there and back
    np.testing.assert_allclose(stack(sources).sum(axis=0), audio, rtol=0, atol=1e-5 if rate == 8000 else 2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_default_dtype_of_torch_changes_no_track(separator, dtype):
    # several chunks, at another rate than the model's
    audio = {"array": noise(9000), "sampling_rate": 22050}
    expected = stack(separator(dict(audio)))
    torch.set_default_dtype(dtype)
    try:
        np.testing.assert_array_equal(stack(separator(dict(audio))), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("num_samples", [1, 2, 399, 401, 799, 800, 801, 1201, 2001])
def test_estimates_of_any_length_add_up_to_the_mixture_at_the_model_rate(separator, num_samples):
    audio = noise(num_samples)
    tracks = stack(separator(audio))
    assert tracks.shape == (2, num_samples)
    # float32 rounding of an STFT and its inverse
    np.testing.assert_allclose(tracks.sum(axis=0), audio, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_one_sample_comes_back_as_one_sample(separator, rate):
    tracks = stack(separator(np.array([0.5], dtype=np.float32), sampling_rate=rate))
    assert tracks.shape == (2, 1) and np.isfinite(tracks).all()


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("shape", [(3001,), (2, 3001), (3001, 2)])
def test_silence_comes_back_silent(separator, rate, shape):
    tracks = stack(separator({"array": np.zeros(shape, dtype=np.float32), "sampling_rate": rate}))
    assert tracks.shape == (2, *shape) and not tracks.any()


def test_a_dc_offset_is_taken_off_before_the_model_and_shared_by_the_tracks(separator):
    samples = noise(8000)
    tracks = [
        np.stack([source["audio"] for source in separator(samples + offset)])
        for offset in (np.float32(0.5), np.float32(-0.75))
    ]
    # float32 has seven digits
    np.testing.assert_allclose(tracks[0] - 0.25, tracks[1] + 0.375, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tracks[0].sum(axis=0), samples + 0.5, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_dc_offset_costs_the_shipped_model_nothing():
    mixture, rate = soundfile.read(SAMPLES / "two_voices.flac", dtype="float32")
    names = [SAMPLES / f"two_voices_source_{index}.flac" for index in range(2)]
    references = torch.stack([torch.from_numpy(soundfile.read(name, dtype="float32")[0]) for name in names])
    scores = {}
    for offset in (0.0, 0.05, 0.2):
        sources = load_separator(device="cpu")({"array": mixture + np.float32(offset), "sampling_rate": rate})
        estimates = torch.stack([torch.from_numpy(source["audio"]) for source in sources])
        scores[offset] = score_separation(estimates[None], references[None])["si_snr"].mean().item()
    # of 2 and 12 dB that it cost as part of the level
    assert scores[0.0] - min(scores.values()) < 0.05


def test_both_channels_have_the_same_order_and_their_own_level(separator):
    audio = noise(2001)
    left, right = stack(separator(np.stack([audio, 0.1 * audio]))).transpose(1, 0, 2)
    # each channel is normalized by itself, so its level does not change the input of the model
    np.testing.assert_allclose(0.1 * left, right, rtol=0, atol=1e-5)


def test_both_layouts_of_the_same_channels_give_the_same_tracks(separator):
    audio = noise(2, 2001)
    first, last = stack(separator(audio)), stack(separator(audio.T))
    np.testing.assert_allclose(first, last.transpose(0, 2, 1), rtol=0, atol=0)


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "speech.wav"
    soundfile.write(path, noise(1501), 11025, subtype="FLOAT")
    return path


def read_samples(path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def undecoded_rows(path) -> dict:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"audio": [str(path)]})
    return dataset.cast_column("audio", datasets.Audio(decode=False))


@pytest.mark.parametrize(
    "make",
    [
        str,
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: {"array": read_samples(path), "sampling_rate": 11025},
        lambda path: {"raw": torch.from_numpy(read_samples(path)), "sampling_rate": 11025},
        lambda path: {"raw": read_samples(path).tolist(), "sampling_rate": 11025},
        lambda path: {"path": str(path), "bytes": None},
        lambda path: {"path": None, "bytes": path.read_bytes()},
        lambda path: undecoded_rows(path)[0],
    ],
    ids=["str", "Path", "bytes", "array", "tensor", "list", "path-row", "bytes-row", "dataset-row"],
)
def test_every_form_of_a_recording_gives_the_same_tracks(separator, wav, make):
    expected = separator(read_samples(wav), sampling_rate=11025)
    assert_same_sources(separator(make(wav)), expected)
    assert_same_sources(separator([make(wav)])[0], expected)


def test_a_url_gives_the_tracks_of_its_file(separator, wav):
    with serve(wav.parent) as address:
        assert_same_sources(separator(f"{address}/speech.wav"), separator(wav))


def test_a_column_of_a_dataset_streams_through(separator, wav):
    (sources,) = separator(KeyDataset(undecoded_rows(wav), "audio"))
    assert_same_sources(sources, separator(wav))


def mixed_bag(path) -> list:
    return [path, noise(3333), {"array": noise(2, 2001), "sampling_rate": 16000}, noise(1), noise(801, 2)]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_list_and_a_generator_give_the_same_as_one_by_one(checkpoint, separator, wav, batch_size):
    batched = load_separator(checkpoint, device="cpu", batch_size=batch_size, num_speakers="outputs")
    one_by_one = [separator(audio) for audio in mixed_bag(wav)]
    from_list = batched(mixed_bag(wav))
    from_generator = batched(audio for audio in mixed_bag(wav))
    assert isinstance(from_list, list) and not isinstance(from_generator, list)
    for found in (from_list, list(from_generator)):
        assert len(found) == len(one_by_one)
        for sources, expected in zip(found, one_by_one, strict=True):
            assert_same_sources(sources, expected)


class HighFromLow(torch.nn.Module):
    """Embeddings of two speakers who change places where the sound changes."""

    def __init__(self, slots_of_low: torch.Tensor, slots_of_high: torch.Tensor):
        super().__init__()
        self.axis = slots_of_high - slots_of_low
        self.middle = (slots_of_high + slots_of_low) / 2

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        is_high = ((slots - self.middle) * self.axis).sum(dim=(1, 2)) > 0
        return torch.where(is_high[:, None, None], 20 * torch.eye(2).flip(0), 20 * torch.eye(2))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_speaker_embeddings_order_the_tracks_as_they_do_in_a_stream(separator, batch_size):
    low, high = torch.from_numpy(noise(2, 2, 2000))
    low, high = torch.nn.functional.avg_pool1d(low, 9, stride=1, padding=4), high.diff(append=high[:, -1:])
    audio = torch.cat([low, high], dim=1)
    model, feature_extractor = separator.model, separator.feature_extractor
    plain = torch.from_numpy(stack(separator({"array": audio, "sampling_rate": 8000})))
    slots = [model(**feature_extractor(x[:1, :800], sampling_rate=8000)).last_hidden_state for x in (low, high)]
    model.speaker_proj = HighFromLow(*slots)
    tracks = torch.from_numpy(stack(separator({"array": audio, "sampling_rate": 8000}, batch_size=batch_size)))
    streamed = separator.separator.separate(audio)
    torch.testing.assert_close(tracks, streamed.transpose(0, 1), rtol=0, atol=1e-5)
    # here they change places, which overlap and spectrum do not see
    assert (tracks - plain).abs().max() > 1e-3


@pytest.mark.parametrize("batch_size, num_batches", [(1, 7), (4, 2), (None, 1)])
def test_chunks_go_through_the_model_in_batches(separator, monkeypatch, batch_size, num_batches):
    sizes = []
    forward = separator.model.forward

    def count(input_features, **features):
        sizes.append(len(input_features))
        return forward(input_features, **features)

    monkeypatch.setattr(separator.model, "forward", count)
    separator(noise(800 + 6 * 200), batch_size=batch_size)
    assert sum(sizes) == 7 and len(sizes) == num_batches and max(sizes) <= (batch_size or 16)


def test_the_hop_and_the_mask_can_be_chosen(separator):
    audio = noise(2001)
    default = stack(separator(audio))
    for options in ({"chunk_hop_length": 300}, {"chunk_hop_length": 800}, {"post_process_kwargs": {"mask": "binary"}}):
        tracks = stack(separator(audio, **options))
        assert np.abs(tracks - default).max() > 1e-3
        np.testing.assert_allclose(tracks.sum(axis=0), audio, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"chunk_hop_length": 801}, "`chunk_hop_length` is 801"),
        ({"chunk_hop_length": 0}, "`chunk_hop_length` is 0"),
        ({"sampling_rate": 0}, "`sampling_rate` is 0"),
        ({"post_process_kwargs": {"mask": "soft"}}, "`mask` is 'soft'"),
    ],
)
def test_an_option_that_makes_no_sense_raises(separator, options, message):
    with pytest.raises(ValueError, match=message):
        separator(noise(100), **options)


def test_progress_shows_for_long_recordings_or_on_request(separator, capfd, monkeypatch):
    separator(noise(2001))
    assert capfd.readouterr().err == ""
    for batch_size in (1, 16):
        separator(noise(2001), show_progress=True, batch_size=batch_size)
        assert "Separating: 100%" in capfd.readouterr().err
    # a minute and a bit, in as few chunks as can be
    long = noise(60 * 8000 + 1)
    separator(long, chunk_hop_length=800, batch_size=64)
    assert "601/601" in capfd.readouterr().err
    separator(long, chunk_hop_length=800, batch_size=64, show_progress=False)
    assert capfd.readouterr().err == ""


def test_a_model_fresh_from_training_separates_without_dropout(separator):
    model = copy.deepcopy(separator.model).train()
    fresh = AudioSeparationPipeline(model=model, feature_extractor=separator.feature_extractor)
    assert not model.training
    assert_same_sources(fresh(noise(2001), num_speakers="outputs"), separator(noise(2001)))


def test_transformers_own_pipeline_gives_the_same_as_load_separator(checkpoint, separator):
    plain = pipeline("audio-to-audio", model=str(checkpoint), device="cpu", num_speakers="outputs")
    assert isinstance(plain, AudioSeparationPipeline)
    assert_same_sources(plain(noise(2001)), separator(noise(2001)))


@pytest.fixture
def shipped(checkpoint, tmp_path, monkeypatch):
    """The tiny checkpoint, as if it were the only one that ships."""
    (tmp_path / "tiny").symlink_to(checkpoint)
    monkeypatch.setattr(shipped_checkpoints, "CHECKPOINTS_DIR", tmp_path)
    monkeypatch.setattr(shipped_checkpoints, "DEFAULT_CHECKPOINT", "tiny")


def test_a_shipped_checkpoint_is_found_by_its_name_and_none_is_the_default(shipped, checkpoint):
    assert shipped_checkpoints.list_checkpoints() == ["tiny"]
    for name in (None, "tiny", checkpoint, str(checkpoint)):
        assert load_separator(name, device="cpu").model.config.chunk_length == 800


def test_a_path_is_a_folder_though_a_shipped_checkpoint_has_its_name(shipped, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped_checkpoints.find_checkpoint(Path("./tiny")) == "tiny"
    assert shipped_checkpoints.find_checkpoint("tiny") == str(tmp_path / "tiny")


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("config.json", '{"model_type": "galr", "segment_length": 63}', r"`segment_length` \(63\) must be even"),
        (
            "model.safetensors",
            "no weights",
            "cannot be loaded: model.safetensors is no complete file of weights: Error",
        ),
    ],
)
def test_a_spoilt_checkpoint_is_told_from_a_missing_one(shipped, checkpoint, tmp_path, file, content, message):
    folder = shutil.copytree(checkpoint, tmp_path / "spoilt")
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=f"'{folder}' .*{message}") as info:
        load_separator(folder, device="cpu")
    assert "shipped" not in str(info.value) and "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["no-such/model", "a b/c d/e"])
def test_an_unknown_model_is_reported_with_the_shipped_ones(shipped, monkeypatch, name):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=rf"'{name}' cannot be loaded: .*shipped checkpoint \(tiny\)") as info:
        load_separator(name)
    assert "\n" not in str(info.value)


@pytest.fixture
def saved_pipeline(separator, tmp_path, monkeypatch):
    """A folder as `pipe.save_pretrained` writes it: with the code of the pipeline, and config.json naming it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    separator.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "pipeline_audio_separation.py").is_file()
    return tmp_path / "saved"


def test_a_saved_pipeline_loads_without_trusting_its_code(separator, saved_pipeline):
    loaded = load_separator(saved_pipeline, device="cpu", num_speakers="outputs")
    assert type(loaded) is AudioSeparationPipeline
    assert_same_sources(loaded(noise(2001)), separator(noise(2001)))


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": True}], ids=["plain", "trusting"])
def test_plain_pipeline_runs_the_code_of_the_package_for_a_saved_pipeline(separator, saved_pipeline, options):
    plain = pipeline("audio-to-audio", model=str(saved_pipeline), device="cpu", num_speakers="outputs", **options)
    assert type(plain) is AudioSeparationPipeline
    assert_same_sources(plain(noise(2001)), separator(noise(2001)))


def test_separating_warns_about_nothing(separator, wav):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        separator([wav, {"array": np.frombuffer(noise(900).tobytes(), dtype=np.float32), "sampling_rate": 16000}])


def test_a_generator_is_consumed_as_results_are_taken(separator):
    taken = []

    def recordings():
        for index in range(100):
            taken.append(index)
            yield noise(801)

    results = separator(recordings(), batch_size=2)
    assert not isinstance(results, types.GeneratorType | list)
    next(iter(results))
    # the first is peeked at, and one more waits
    assert len(taken) <= 4


SEPARATE_WITHOUT_PACKAGE = """
import sys
import numpy as np
from transformers import pipeline
separator = pipeline("audio-to-audio", model=sys.argv[1], trust_remote_code=True, device="cpu", num_speakers="outputs")
np.save(sys.argv[3], np.stack([track["audio"] for track in separator(np.load(sys.argv[2]))]))
"""


def test_a_saved_pipeline_works_where_the_package_is_not_installed(
    separator, saved_pipeline, tmp_path, bare_processes
):
    mixture = noise(3001)
    np.save(tmp_path / "mixture.npy", mixture)
    bare_processes.run(SEPARATE_WITHOUT_PACKAGE, saved_pipeline, tmp_path / "mixture.npy", tmp_path / "tracks.npy")
    expected = np.stack([track["audio"] for track in separator(mixture)])
    # another process may sum with another number of threads
    np.testing.assert_allclose(np.load(tmp_path / "tracks.npy"), expected, atol=1e-6)


def test_the_files_of_a_saved_pipeline_import_only_what_transformers_users_have(saved_pipeline):
    files = sorted(saved_pipeline.glob("*.py"))
    assert {"pipeline_audio_separation.py", "separator.py", "chunking.py", "recordings.py", "resampling.py"} <= {
        f.name for f in files
    }
    imported = {name for file in files for name in get_imports(file)} - set(sys.stdlib_module_names)
    assert imported <= {"torch", "numpy", "transformers", "huggingface_hub"}
