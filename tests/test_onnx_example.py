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
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

import onnx_separate
from audioslots_hf import export, load_separator
from audioslots_hf.cli import main


SPEECH = Path(__file__).parent / "samples" / "two_voices.flac"
# nearly nothing, less than a chunk of four seconds, exactly one, one sample more, and three chunks
LENGTHS = [1, 700, 64000, 64001, 113600]


class EagerSession:
    """A session of ONNX Runtime that runs the model itself."""

    def __init__(self, pipeline):
        self.model = pipeline.model
        description = export.describe_model(pipeline, export.InputShape.of(pipeline))
        self.metadata = {name: str(value) for name, value in description.items()}

    def get_modelmeta(self):
        return SimpleNamespace(custom_metadata_map=self.metadata)

    @torch.inference_mode()
    def run(self, names, inputs):
        assert names == ["estimates"]
        return [self.model(torch.from_numpy(inputs["input_values"])).estimates.numpy()]


def check_against_the_pipeline(session, pipeline, atol: float):
    speech = soundfile.read(SPEECH, dtype="float32")[0]
    for length in LENGTHS:
        expected = np.stack([source["audio"] for source in pipeline(speech[:length])])
        found = onnx_separate.separate(session, speech[:length])
        assert found.shape == (2, length) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol * np.abs(expected).max())
    # silence has no level
    assert not onnx_separate.separate(session, np.zeros(70000, np.float32)).any()


def test_the_rules_of_the_example_are_those_of_the_pipeline():
    pipeline = load_separator(device="cpu", num_speakers="outputs")
    # the level is summed in float64 here
    check_against_the_pipeline(EagerSession(pipeline), pipeline, atol=1e-5)


@pytest.mark.slow
def test_the_example_on_an_exported_file_equals_the_pipeline(tmp_path):
    path = tmp_path / "model.onnx"
    assert main(["export", "--format", "onnx", "-o", str(path)]) == 0
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pipeline = load_separator(device="cpu", num_speakers="outputs")
    check_against_the_pipeline(session, pipeline, atol=export.TOLERANCE)
    onnx_separate.main(str(path), str(SPEECH), str(tmp_path / "separated"))
    for index, source in enumerate(pipeline(str(SPEECH))):
        written, rate = soundfile.read(tmp_path / f"separated_source_{index}.wav", dtype="float32")
        np.testing.assert_allclose(written, source["audio"], rtol=0, atol=1e-4 * np.abs(source["audio"]).max())
        assert rate == 16000


def test_an_order_that_changes_from_chunk_to_chunk_is_restored():
    tracks = np.random.default_rng(0).standard_normal((3, 100))
    assert onnx_separate.find_order(tracks[[2, 0, 1]], tracks) == [1, 2, 0]


@pytest.mark.parametrize(
    "metadata, mixture, message",
    [
        ({"input_name": "input_features"}, np.zeros(8), "The model does not take waveforms"),
        ({"input_name": "input_values"}, np.zeros(0), r"The mixture has the shape \(0,\): give one channel"),
        ({"input_name": "input_values"}, np.zeros((2, 8)), r"The mixture has the shape \(2, 8\): give one channel"),
    ],
)
def test_a_wrong_input_of_the_example_gets_a_sentence(metadata, mixture, message):
    session = SimpleNamespace(get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=metadata))
    with pytest.raises(ValueError, match=message):
        onnx_separate.separate(session, mixture)


def test_a_file_at_another_rate_gets_a_sentence(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.zeros(8), 44100)
    metadata = SimpleNamespace(custom_metadata_map={"sampling_rate": "16000"})
    session = SimpleNamespace(get_modelmeta=lambda: metadata)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **kwargs: session)
    with pytest.raises(SystemExit, match="a.wav has 44100 Hz and the model 16000 Hz: resample it first"):
        onnx_separate.main("model.onnx", str(tmp_path / "a.wav"), "separated")
