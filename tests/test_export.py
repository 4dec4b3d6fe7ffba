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
import json
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from audioslots_hf import (
    AudioSlotsForAudioSeparation,
    DprnnConfig,
    DprnnForAudioSeparation,
    GalrConfig,
    GalrForAudioSeparation,
    export,
    load_separator,
)
from audioslots_hf.cli import main
from audioslots_hf.command_export import FORMATS
from tests.conftest import (
    TINY_DUAL_PATH,
    tiny_audioslots_config,
    tiny_audioslots_feature_extractor,
    tiny_waveform_feature_extractor,
)


TINY = TINY_DUAL_PATH | {"num_hidden_layers": 1}
FAMILIES = {
    "galr": lambda: GalrForAudioSeparation(GalrConfig(**TINY, num_attention_heads=2)),
    "dprnn": lambda: DprnnForAudioSeparation(DprnnConfig(**TINY)),
    "audioslots": lambda: AudioSlotsForAudioSeparation(tiny_audioslots_config()),
    "slot_attention": lambda: AudioSlotsForAudioSeparation(tiny_audioslots_config(slot_module="slot_attention")),
}
# the shortest there is, frames that fill their segments (36, 396) and that do not, a chunk, and more than that
LENGTHS = [20, 24, 36, 396, 400, 800, 2404]


def save_checkpoint(family: str, folder: Path) -> Path:
    torch.manual_seed(0)
    FAMILIES[family]().save_pretrained(folder)
    time_domain = family in ("galr", "dprnn")
    make = tiny_waveform_feature_extractor if time_domain else tiny_audioslots_feature_extractor
    make().save_pretrained(folder)
    return folder


def examples(family: str) -> list[torch.Tensor]:
    if family in ("galr", "dprnn"):
        return [torch.randn(batch_size, length) for batch_size in (1, 4) for length in LENGTHS]
    return [torch.randn(batch_size, 64, 16) for batch_size in (1, 2, 5)]


def assert_equal_to_the_model(function, folder: Path, family: str):
    model = load_separator(folder, device="cpu").model
    with torch.no_grad():
        for inputs in examples(family):
            expected = model(inputs).estimates
            # float32 in another order of sums
            torch.testing.assert_close(function(inputs), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


def run_onnx(path: Path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    name = properties["input_name"]
    return lambda inputs: torch.from_numpy(session.run(["estimates"], {name: inputs.numpy()})[0]), properties


def run_torch_export(path: Path):
    files = {export.DESCRIPTION_FILE: ""}
    program = torch.export.load(path, extra_files=files)
    return program.module(), json.loads(files[export.DESCRIPTION_FILE])


RUN = {"onnx": run_onnx, "torch-export": run_torch_export}
# by default only the quickest
CASES = [
    pytest.param("galr", "onnx", marks=pytest.mark.slow),
    ("audioslots", "torch-export"),
    pytest.param("galr", "torch-export", marks=pytest.mark.slow),
    pytest.param("audioslots", "onnx", marks=pytest.mark.slow),
    pytest.param("dprnn", "onnx", marks=pytest.mark.slow),
    pytest.param("dprnn", "torch-export", marks=pytest.mark.slow),
    pytest.param("slot_attention", "onnx", marks=pytest.mark.slow),
    pytest.param("slot_attention", "torch-export", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("family, export_format", CASES)
def test_the_command_writes_a_file_that_equals_the_model(tmp_path, capsys, family, export_format):
    folder = save_checkpoint(family, tmp_path / "model")
    path = tmp_path / "out" / f"model{export.SUFFIXES[export_format]}"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    assert main(["export", str(folder), "--format", export_format, "-o", str(path), "--force"]) == 0
    printed = {line[:38].strip(): line[38:] for line in capsys.readouterr().out.splitlines()}
    assert printed["file"] == str(path) and printed["size"] == f"{path.stat().st_size / 2**20:.2f} MiB"
    assert printed["maximum difference"].split()[1:4] == ["of", "the", "peak,"]
    assert printed["real-time factor, eager"].endswith("x real time)")
    assert printed["real-time factor, exported"].endswith("x real time)")
    # nothing beside it: no second file with the weights, nothing temporary
    assert list(path.parent.iterdir()) == [path]

    function, description = RUN[export_format](path)
    assert_equal_to_the_model(function, folder, family)
    time_domain = family in ("galr", "dprnn")
    expected = {
        "model_type": family if time_domain else "audioslots",
        "sampling_rate": 8000,
        "chunk_length": 800,
        "num_sources": 2,
        "input_name": "input_values" if time_domain else "input_features",
    }
    if time_domain:
        expected |= {"num_samples_multiple": 4, "num_samples_min": 20}
    assert {name: str(description[name]) for name in expected} == {k: str(v) for k, v in expected.items()}
    assert json.loads(description["feature_extractor"])["chunk_length"] == 800
    # information about the location of the package during tracing
    assert str(Path(export.__file__).parent).encode() not in path.read_bytes()
    if export_format == "onnx":
        check_onnx(path, time_domain)


def check_onnx(path: Path, time_domain: bool):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    shapes = [
        [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    rest = ["num_samples"] if time_domain else [64, 16]
    assert shapes == [["batch_size", *rest], ["batch_size", 2, *rest]]
    # one float32 is too little for a mean over a whole recording: one axis at a time
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    axes = [constants[node.input[1]] for node in model.graph.node if node.op_type == "ReduceMean"]
    assert all(axis.shape == (1,) for axis in axes)
    # one operator for each, and not a loop over its steps
    operators = {node.op_type for node in model.graph.node}
    assert "Loop" not in operators and ("LSTM" in operators) == time_domain


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--format", "onnx", "-o", "a.pt2"], "The output a.pt2 must end in .onnx for the format onnx."),
        (
            ["--format", "torch-export", "-o", "a.onnx"],
            "The output a.onnx must end in .pt2 for the format torch-export.",
        ),
        (["--format", "onnx", "-o", "folder.onnx"], "The output folder.onnx is a folder: choose a file."),
        (["--format", "onnx"], "mine.onnx exists: pass --force to overwrite it, or choose another file."),
    ],
)
def test_a_wrong_option_is_reported_before_any_work(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "mine.onnx").write_text("mine")
    # no such model: it is not even looked for
    assert main(["export", "nobody/mine", *arguments]) == 1
    assert capsys.readouterr().err == f"audioslots: error: {message}\n"
    assert (tmp_path / "mine.onnx").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


def test_an_unknown_format_is_refused_by_the_command_and_by_the_function(capsys):
    assert list(FORMATS) == list(export.SUFFIXES)
    with pytest.raises(SystemExit) as info:
        main(["export", "nobody/mine", "--format", "tflite"])
    assert info.value.code == 2 and "'tflite' is none of onnx, torch-export" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`--format` is 'tflite': it must be one of onnx, torch-export."):
        export.plan_export(None, "tflite", None, force=False)


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_a_missing_package_is_reported_before_any_work(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", "nobody/mine", "--format", "onnx"]) == 1
    message = f'Export to ONNX needs {name}: pip install "audioslots-hf[export]"'
    assert capsys.readouterr().err == f"audioslots: error: {message}\n"


def write_wrong(program, path, description, shape):
    """Replace a writer: write a file that nothing reads."""
    path.write_text("wrong")


def test_a_file_that_differs_from_the_model_is_not_kept(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "trace_model", lambda function, shape: None)
    monkeypatch.setattr(export, "write_torch_export", write_wrong)
    monkeypatch.setattr(export, "open_torch_export", lambda path: lambda inputs: torch.zeros(()))
    words = ["export", str(checkpoint), "--format", "torch-export", "-o", str(tmp_path / "a.pt2")]
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "audioslots: error: The audioslots model cannot be exported to torch-export: its output differs from the model's by "
        "1.0e+00 of the peak, more than 1e-04"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_traced_is_reported_by_name(separator, tmp_path, monkeypatch):
    # numpy in the middle of a forward pass has no graph
    decoder = separator.model.decoder
    monkeypatch.setattr(decoder, "forward", lambda slots: torch.from_numpy(slots.numpy()))
    with pytest.raises(ValueError, match="The audioslots model cannot be exported to torch-export: ."):
        export.export_model(separator, "torch-export", tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_exported_is_reported_at_once(tmp_path, monkeypatch):
    pipeline = load_separator(save_checkpoint("galr", tmp_path / "galr"), device="cpu")
    pipeline.model.config.encoder_kernel_size = 2
    monkeypatch.setattr(export, "trace_model", None)
    with pytest.raises(ValueError, match="`input_length_step` of 1 cannot be exported"):
        export.export_model(pipeline, "onnx", tmp_path / "a.onnx")


def test_without_a_runtime_the_file_is_kept_and_said_not_to_be_verified(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export.open_onnx(Path("a.onnx")) is None
    values = export.compare_functions(None, torch.relu, [torch.ones(1)], 1.0)
    assert values == {"maximum difference": 'not verified: pip install "audioslots-hf[export]"'}
