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
import io
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import EntryNotFoundError, StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline
from transformers.dynamic_module_utils import get_imports
from transformers.pipelines import PIPELINE_REGISTRY

from audioslots_hf import (
    AudioSeparationPipeline,
    AudioSlotsForAudioSeparation,
    AudioSlotsModel,
    GalrConfig,
    GalrForAudioSeparation,
    GalrModel,
    SlotGalrConfig,
    load_separator,
)
from audioslots_hf.model_files import BrokenModelError
from audioslots_hf.shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT
from tests.audio_helpers import noise
from tests.conftest import (
    TINY_DUAL_PATH,
    tiny_audioslots_config,
    tiny_waveform_feature_extractor,
)


@pytest.fixture
def galr():
    torch.manual_seed(0)
    return GalrForAudioSeparation(GalrConfig(**TINY_DUAL_PATH, summary_length=4, num_attention_heads=2)).eval()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Remote code of this test alone."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


def read_config(folder) -> dict:
    return json.loads((folder / "config.json").read_text("utf-8"))


def save(model, folder):
    model.save_pretrained(folder)
    tiny_waveform_feature_extractor().save_pretrained(folder)
    return folder


def stack(sources):
    return np.stack([source["audio"] for source in sources])


WITHOUT_PACKAGE = """
import sys
import numpy as np
import torch
from transformers import AutoModel, pipeline
saved, base, mixture, again, result = sys.argv[1:]
separator = pipeline("audio-to-audio", model=saved, trust_remote_code=True, device="cpu", num_speakers="outputs")
assert "transformers_modules" in type(separator).__module__, type(separator)
np.save(result, np.stack([track["audio"] for track in separator(np.load(mixture))]))
model = AutoModel.from_pretrained(base, trust_remote_code=True)
assert type(model).__name__ == "GalrModel", type(model)
separator.model.save_pretrained(again + "/whole")
separator.feature_extractor.save_pretrained(again + "/whole")
separator.model.model.save_pretrained(again + "/base")
loaded = pipeline("audio-to-audio", model=again + "/whole", trust_remote_code=True, device="cpu", num_speakers="outputs")
assert np.array_equal(np.stack([track["audio"] for track in loaded(np.load(mixture))]), np.load(result))
assert type(AutoModel.from_pretrained(again + "/base", trust_remote_code=True)).__name__ == "GalrModel"
"""


def test_parts_saved_one_by_one_open_as_a_pipeline_where_the_package_is_not_installed(galr, tmp_path, bare_processes):
    saved = save(galr, tmp_path / "saved")
    galr.model.save_pretrained(tmp_path / "base")
    np.save(tmp_path / "mixture.npy", noise(2001))
    paths = [tmp_path / name for name in ("base", "mixture.npy", "again", "tracks.npy")]
    bare_processes.run(WITHOUT_PACKAGE, saved, *paths)
    # saved there, opened here
    for folder in (saved, tmp_path / "again" / "whole"):
        tracks = stack(
            pipeline("audio-to-audio", model=str(folder), device="cpu", num_speakers="outputs")(noise(2001))
        )
        # another process may sum with another number of threads
        np.testing.assert_allclose(np.load(tmp_path / "tracks.npy"), tracks, atol=1e-6)


def test_a_model_taken_out_of_a_saved_pipeline_and_saved_again_opens(galr, tmp_path):
    load_separator(save(galr, tmp_path / "first"), device="cpu").save_pretrained(tmp_path / "second")
    second = pipeline("audio-to-audio", model=str(tmp_path / "second"), device="cpu")
    save(second.model, tmp_path / "third")
    # as older versions saved it: the entry without its code
    old = shutil.copytree(tmp_path / "third", tmp_path / "old")
    for file in old.glob("*.py"):
        file.unlink()
    third = [load_separator(tmp_path / name, device="cpu") for name in ("third", "old")]
    for separator in (second, *third):
        assert type(separator) is AudioSeparationPipeline
        np.testing.assert_array_equal(stack(separator(noise(2001))), stack(second(noise(2001))))


def test_the_entry_of_the_pipeline_and_its_code_are_saved_together_or_not_at_all(galr, tmp_path):
    entry = {"audio-to-audio": {"impl": "pipeline_audio_separation.AudioSeparationPipeline", "pt": ["AutoModel"]}}
    entry["audio-to-audio"]["type"] = "audio"
    separator = load_separator(save(galr, tmp_path / "parts"), device="cpu")
    separator.save_pretrained(tmp_path / "pipeline")
    for name in ("parts", "pipeline"):
        folder = tmp_path / name
        # nothing of this machine, as the place of the default checkpoint
        assert read_config(folder)["custom_pipelines"] == entry
        assert {"pipeline_audio_separation.py", "separator.py", "recordings.py"} <= {
            p.name for p in folder.glob("*.py")
        }
        imported = {name for file in folder.glob("*.py") for name in get_imports(file)} - set(sys.stdlib_module_names)
        assert imported <= {"torch", "numpy", "transformers", "huggingface_hub"}
    separator.model.model.save_pretrained(tmp_path / "base")
    separator.model.config.save_pretrained(tmp_path / "config")
    for name in ("base", "config"):
        assert "custom_pipelines" not in read_config(tmp_path / name)


def test_a_base_model_saved_alone_loads_as_itself(galr, tmp_path):
    torch.manual_seed(0)
    slots = AudioSlotsForAudioSeparation(tiny_audioslots_config())
    for name, model, base_class in (("galr", galr, GalrModel), ("audioslots", slots, AudioSlotsModel)):
        model.model.save_pretrained(tmp_path / name)
        loaded, info = AutoModel.from_pretrained(tmp_path / name, output_loading_info=True)
        assert type(loaded) is type(AutoModel.from_pretrained(tmp_path / name)) is base_class
        assert not info["missing_keys"]
        assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.model.state_dict().items())
        # what is no separation model does not become one without a word
        with pytest.raises(
            BrokenModelError, match=rf"lack \d+ of the \d+ tensors of .*saved as {base_class.__name__}"
        ):
            type(model).from_pretrained(tmp_path / name)
    # its weights may still start a separation model, and a separation model a base model
    fresh, info = GalrForAudioSeparation.from_pretrained(tmp_path / "galr", output_loading_info=True)
    assert type(fresh) is GalrForAudioSeparation and info["missing_keys"]
    galr.save_pretrained(tmp_path / "whole")
    assert type(GalrModel.from_pretrained(tmp_path / "whole")) is GalrModel


def test_the_pipeline_names_a_model_that_cannot_separate(galr, tmp_path):
    galr.model.save_pretrained(tmp_path / "base")
    tiny_waveform_feature_extractor().save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="GalrModel with WaveformFeatureExtractor is not a separation model"):
        load_separator(tmp_path / "base", device="cpu")
    with pytest.raises(ValueError, match="GalrModel with WaveformFeatureExtractor is not a separation model"):
        pipeline("audio-to-audio", model=str(tmp_path / "base"), device="cpu")


def test_a_checkpoint_that_lacks_weights_is_refused_with_one_of_them(galr, tmp_path):
    folder = save(galr, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("decoder")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    for load in (AutoModel.from_pretrained, GalrForAudioSeparation.from_pretrained, load_separator):
        with pytest.raises(
            (BrokenModelError, ValueError), match="lacks? 1 of the .*decoder.filterbank.weight"
        ) as info:
            load(folder)
        assert "\n" not in str(info.value)


class Hub:
    """Takes the place of the Hub: keeps the last card that was uploaded."""

    def __init__(self):
        self.card = None

    def create_repo(self, repo_id, **kwargs):
        return SimpleNamespace(repo_id=repo_id)

    def create_commit(self, repo_id, operations, **kwargs):
        for operation in operations:
            if operation.path_in_repo == "README.md":
                with operation.as_file() as file:
                    self.card = file.read().decode()

    def create_branch(self, *args, **kwargs):
        pass


def test_cards_name_the_task_and_keep_what_stands_in_them(galr, tmp_path, monkeypatch):
    hub = Hub()
    load = ModelCard.load

    def load_card(name, **kwargs):
        if name == "somebody/model":
            if hub.card is None:
                raise EntryNotFoundError("no card")
            return ModelCard(hub.card)
        return load(name, **kwargs)

    monkeypatch.setattr(ModelCard, "load", load_card)
    monkeypatch.setattr("transformers.utils.hub.hf_api", lambda: hub)
    separator = load_separator(save(galr, tmp_path / "saved"), device="cpu")
    cards = [load(tmp_path / "saved" / "README.md")]
    for part in (galr, separator, separator.feature_extractor):
        part.push_to_hub("somebody/model")
        cards.append(ModelCard(hub.card))
    for card in cards:
        assert card.data.pipeline_tag == "audio-to-audio" and card.data.library_name == "transformers"
        assert {"source-separation", "galr"} <= set(card.data.tags)
    hub.card = "---\nlicense: mit\npipeline_tag: audio-classification\ntags:\n- mine\n---\n\nMy text\n"
    separator.push_to_hub("somebody/model")
    card = ModelCard(hub.card)
    assert "My text" in card.text and card.data.license == "mit" and card.data.tags[0] == "mine"
    assert card.data.pipeline_tag == "audio-classification"
    # a card beside the model stays too
    (tmp_path / "saved" / "README.md").write_text("my words")
    galr.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "README.md").read_text() == "my words"


def test_the_pipeline_without_a_model_is_the_shipped_default():
    separator = pipeline("audio-to-audio", device="cpu")
    assert type(separator) is AudioSeparationPipeline
    expected = load_file(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "model.safetensors")
    weights = separator.model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], weight.float()) for name, weight in expected.items())
    assert PIPELINE_REGISTRY.supported_tasks["audio-to-audio"]["default"]["model"][1] == "main"


class Samples:
    """torchcodec's `AudioSamples`, which needs FFmpeg's libraries."""

    def __init__(self, data, sample_rate):
        self.data, self.sample_rate = data, sample_rate
        self.pts_seconds, self.duration_seconds = 0.0, data.shape[-1] / sample_rate


def test_open_files_samples_and_pairs_give_the_tracks_of_their_file(separator, tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, noise(1501), 11025, subtype="FLOAT")
    samples = soundfile.read(path, dtype="float32")[0]
    expected = stack(separator(path))
    # a buffer stands at its end when it has just been written
    buffer = io.BytesIO()
    buffer.write(path.read_bytes())
    with open(path, "rb") as file:
        for audio in (
            buffer,
            file,
            (11025, samples),
            (np.int64(11025), torch.from_numpy(samples)),
            Samples(torch.from_numpy(samples)[None], 11025),
            {"audio": Samples(torch.from_numpy(samples)[None], 11025)},
        ):
            for sources in (separator(audio), separator([audio])[0]):
                np.testing.assert_allclose(stack(sources).reshape(expected.shape), expected, rtol=0, atol=1e-5)
    pcm = (np.stack([samples, samples], axis=1) * 2**15).astype(np.int16)
    assert separator((11025, pcm))[0]["audio"].shape == (1501, 2)
    with pytest.raises(ValueError, match=r"speech.wav is closed"):
        separator(file)
    with pytest.raises(ValueError, match="open it in binary mode"):
        separator(io.StringIO("text"))
    with pytest.raises(ValueError, match="`sampling_rate` is 11025.5"):
        separator((11025.5, samples))


def test_a_data_set_and_its_column_give_the_tracks_of_each_row(separator):
    datasets = pytest.importorskip("datasets")
    rows = [{"array": noise(n).tolist(), "sampling_rate": 11025} for n in (901, 1201)]
    dataset = datasets.Dataset.from_dict({"audio": rows})
    expected = [stack(separator(row)) for row in rows]
    column, whole = separator(dataset["audio"]), separator(dataset)
    streamed = separator(dataset.to_iterable_dataset())
    assert isinstance(column, list) and not isinstance(whole, list)
    for found in (column, list(whole), list(streamed)):
        for sources, tracks in zip(found, expected, strict=True):
            np.testing.assert_allclose(stack(sources), tracks, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="A DatasetDict holds several sets, train, test"):
        separator(datasets.DatasetDict(train=dataset, test=dataset))
    assert separator([]) == []


def test_options_of_other_feature_extractors_are_refused_with_a_sentence(separator, tmp_path):
    audio = noise(800)
    for extractor in (separator.feature_extractor, tiny_waveform_feature_extractor()):
        for call in (extractor, separator):
            with pytest.raises(ValueError, match="`padding` is True. Audio is always padded"):
                call(audio, padding=True)
            with pytest.raises(ValueError, match="`sampling_rate` is '8000': it must be a positive whole number"):
                call(audio, sampling_rate="8000")
            with pytest.raises(ValueError, match="`return_tensors` is 'np'"):
                call(audio, return_tensors="np")
            with pytest.raises(ValueError, match="`windows` is 3. There is no such option"):
                call(audio, windows=3)
        assert extractor(audio, sampling_rate=np.int64(8000))["num_samples"].tolist() == [800]


def test_a_value_assigned_to_a_configuration_is_validated_and_an_invalid_one_stays_out(tmp_path):
    config = GalrConfig()
    for name, value in (
        ("num_sources", 1),
        ("hidden_size", 65),
        ("segment_length", 63),
        ("filterbank_init", "zeros"),
        ("chunk_length", "64000"),
        ("dropout", 1.0),
    ):
        before = getattr(config, name)
        with pytest.raises(StrictDataclassError, match=name):
            setattr(config, name, value)
        assert getattr(config, name) == before
    config.num_sources = 3
    config.my_note = "kept"
    assert copy.deepcopy(config).num_sources == 3 and config.my_note == "kept"
    slots = SlotGalrConfig()
    with pytest.raises(StrictDataclassError, match="num_slots"):
        slots.num_sources = 1
    # values that go together only are given together
    slots.save_pretrained(tmp_path)
    together = AutoConfig.from_pretrained(
        tmp_path,
        hop_length=320,
        chunk_length=32_000,
        n_fft=1024,
        band_widths=(8,),
        num_bands_per_width=(64,),
        num_sources=4,
    )
    assert (together.n_fft, together.num_slots, together.num_sources) == (1024, 4, 4)


def test_the_feature_extractor_of_a_saved_model_is_found_by_its_auto_class(galr, tmp_path):
    folder = save(galr, tmp_path / "saved")
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert type(extractor) is type(tiny_waveform_feature_extractor())
