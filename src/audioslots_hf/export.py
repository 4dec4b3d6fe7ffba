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
"""Export of a model to one file that runs without this package: ONNX, or PyTorch's own exported program."""

import contextlib
import importlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as fx_config
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.utils.logging import tqdm

from .files import replacing
from .jobs import make_folder
from .pipeline_audio_separation import AudioSeparationPipeline
from .shipped import find_checkpoint


SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
OUTPUT_NAME = "estimates"
# the name of the description inside a .pt2 file
DESCRIPTION_FILE = "audioslots.json"
# the largest accepted difference from the model, as a share of the peak of its estimates
TOLERANCE = 1e-4
# number of timed runs; the fastest counts, because other processes may use the machine
NUM_RUNS = 3

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class InputShape:
    """Input shape of the exported function without the batch: a `chunk` or, with a `length_step`, any multiple of that."""

    chunk: tuple[int, ...]
    length_step: int | None = None
    min_length: int | None = None

    @classmethod
    def of(cls, pipeline: AudioSeparationPipeline) -> "InputShape":
        """The shape of the features of a chunk, and the dimensions of it that may vary."""
        config = pipeline.model.config
        features = pipeline.feature_extractor(torch.zeros(1, config.chunk_length), sampling_rate=config.sampling_rate)
        chunk = tuple(features[pipeline.model.main_input_name].shape[1:])
        if config.input_length_step == 1:
            raise ValueError(
                "A model with an `input_length_step` of 1 cannot be exported: torch.export cannot vary its frames."
            )
        return cls(chunk, config.input_length_step, config.min_input_length)

    @property
    def dynamic_shapes(self) -> tuple[dict[int, Dim]]:
        """The argument `dynamic_shapes` of `torch.export.export`."""
        if self.length_step is None:
            return ({0: Dim("batch_size")},)
        frames = Dim("num_steps", min=self.min_length // self.length_step)
        return ({0: Dim("batch_size"), 1: self.length_step * frames},)

    @property
    def axes(self) -> list[str | int]:
        """A name for each dimension that may vary, a size for each fixed one."""
        return ["batch_size", *(self.chunk if self.length_step is None else ("num_samples",))]

    def describe(self) -> str:
        """The constraints as readable text."""
        text = f"({', '.join(map(str, self.axes))})"
        if self.length_step is None:
            return text
        return f"{text}, num_samples a multiple of {self.length_step}, at least {self.min_length}"

    def examples(self) -> list[torch.Tensor]:
        """Noise in two shapes: a chunk, and a length whose frames fill their segments exactly, which is a special case."""
        if self.length_step is None:
            return [torch.randn(batch_size, *self.chunk) for batch_size in (1, 3)]
        return [
            torch.randn(1, max(self.min_length, *self.chunk)),
            torch.randn(3, 2 * self.min_length - self.length_step),
        ]

    def traced_example(self) -> torch.Tensor:
        """Input for tracing: a batch of two, because tracing would treat a batch size of one as a constant."""
        return torch.randn(2, *(self.chunk if self.length_step is None else (3 * self.min_length,)))


class EstimatesOnly(nn.Module):
    """A model as a function of one tensor."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.model(inputs).estimates


@torch.library.custom_op("audioslots::lstm", mutates_args=())
def _opaque_lstm(
    inputs: torch.Tensor,
    states: list[torch.Tensor],
    weights: list[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    `torch.lstm` as an operator that tracing does not decompose.

    Tracing unrolls the original step by step. This is slow along the frames of a segment, and along the segments it would
    fix their number.
    """
    return torch.lstm(inputs, states, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first)


@_opaque_lstm.register_fake
def _shapes_of_lstm(
    inputs: torch.Tensor,
    states: list[torch.Tensor],
    weights: list[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The outputs of [`_opaque_lstm`], without values."""
    size = states[0].shape[-1] * (2 if bidirectional else 1)
    return inputs.new_empty((*inputs.shape[:2], size)), torch.empty_like(states[0]), torch.empty_like(states[1])


class OpaqueLstm(TorchFunctionMode):
    """Replaces `torch.lstm` by [`_opaque_lstm`]."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
        if func is torch.lstm:
            return _opaque_lstm(*args)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress the log messages of the exporters about their internals."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def require_packages(export_format: str) -> None:
    """Raise an `ImportError` that names the fix, before any work is done."""
    for name in ("onnx", "onnxscript") if export_format == "onnx" else ():
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f'Export to ONNX needs {name}: pip install "audioslots-hf[export]"') from error


def plan_export(model: str | Path | None, export_format: str, output: Path | None, force: bool) -> Path:
    """
    Check the options before the model is loaded -> the file to write.

    Raises:
        `ValueError`: an unknown format, a wrong suffix, or a file that exists.
        `ImportError`: a package that the format needs is missing.
        `OSError`: the folder cannot be created or written to.
    """
    if export_format not in SUFFIXES:
        raise ValueError(f"`--format` is {export_format!r}: it must be one of {', '.join(SUFFIXES)}.")
    require_packages(export_format)
    suffix = SUFFIXES[export_format]
    if output is None:
        output = Path(Path(find_checkpoint(model)).resolve().name + suffix)
    if output.suffix != suffix:
        raise ValueError(f"The output {output} must end in {suffix} for the format {export_format}.")
    if output.is_dir():
        raise ValueError(f"The output {output} is a folder: choose a file.")
    if output.exists() and not force:
        raise ValueError(f"{output} exists: pass --force to overwrite it, or choose another file.")
    make_folder(output.parent)
    return output


def describe_model(pipeline: AudioSeparationPipeline, shape: InputShape) -> dict[str, str | int]:
    """Metadata of the exported function, stored in its file: the sizes that a caller needs."""
    config = pipeline.model.config
    description = {
        "model_type": config.model_type,
        "sampling_rate": config.sampling_rate,
        "chunk_length": config.chunk_length,
        "num_sources": config.num_sources,
        "input_name": pipeline.model.main_input_name,
        "input_shape": shape.describe(),
        "output_name": OUTPUT_NAME,
        "feature_extractor": json.dumps(pipeline.feature_extractor.to_dict(), sort_keys=True),
    }
    if shape.length_step is not None:
        description |= {"num_samples_multiple": shape.length_step, "num_samples_min": shape.min_length}
    return description


def trace_model(function: nn.Module, shape: InputShape) -> ExportedProgram:
    """The graph of a model, with every LSTM as one [`_opaque_lstm`]."""
    # otherwise the program would reject lengths because of the memory layout of their tensors, on which it does not depend
    oblivious = fx_config.patch(backed_size_oblivious=True)
    with torch.no_grad(), OpaqueLstm(), oblivious:
        program = torch.export.export(
            function, (shape.traced_example(),), dynamic_shapes=shape.dynamic_shapes, strict=False
        )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            # the source locations of the nodes are half of a small file, and reveal folders of this machine
            for name in ("stack_trace", "nn_module_stack", "source_fn_stack"):
                node.meta.pop(name, None)
    return program


def write_torch_export(program: ExportedProgram, path: Path, description: dict, shape: InputShape) -> None:
    """Write a .pt2 file."""
    for node in program.graph.nodes:
        if node.target is torch.ops.audioslots.lstm.default:
            # same arguments and results, and available without this package
            node.target = torch.ops.aten.lstm.input
    program.graph_module.recompile()
    torch.export.save(program, path, extra_files={DESCRIPTION_FILE: json.dumps(description, indent=2)})


def _write_onnx(program: ExportedProgram, path: Path, description: dict, shape: InputShape) -> None:
    """Write an .onnx file that holds its weights."""
    import onnx
    from onnxscript.function_libs.torch_lib.ops.core import aten_lstm

    onnx_program = torch.onnx.export(
        program,
        input_names=[description["input_name"]],
        output_names=[OUTPUT_NAME],
        custom_translation_table={
            torch.ops.audioslots.lstm.default: aten_lstm,
            torch.ops.aten.mean.dim: _translate_mean,
        },
        dynamo=True,
        verbose=False,
    )
    model = onnx_program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
    # replace the exporter's generated names of sizes
    del model.graph.value_info[:]
    _rename_axes(model.graph.input[0], shape.axes)
    _rename_axes(model.graph.output[0], ["batch_size", "num_sources", *shape.axes[1:]])
    onnx.helper.set_model_props(model, {name: str(value) for name, value in description.items()})
    onnx.save_model(model, path)


def _translate_mean(inputs, dim=None, keepdim=False, *, dtype=None):  # noqa: ANN001, ANN202
    """
    `torch.mean` in ONNX, one axis after another.

    ONNX Runtime accumulates a mean over all axes in a single float32, which loses two digits in a layer over four seconds of
    audio.
    """
    from onnxscript import opset18

    if not dim or not keepdim or dtype is not None:
        raise NotImplementedError(f"mean over {dim} with keepdim={keepdim} and dtype={dtype}")
    for axis in sorted(dim, reverse=True):
        inputs = opset18.ReduceMean(inputs, opset18.Constant(value_ints=[axis]), keepdims=1)
    return inputs


def _rename_axes(value, names: list[str | int]) -> None:  # noqa: ANN001
    """Name the dimensions of an ONNX value that have no fixed size."""
    for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if dimension.HasField("dim_param"):
            dimension.dim_param = name


def open_torch_export(path: Path) -> Function:
    """The function in a .pt2 file."""
    return torch.export.load(path).module()


def open_onnx(path: Path) -> Function | None:
    """The function in an .onnx file, or `None` without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])


def _relative_difference(function: Function, reference: Function, inputs: torch.Tensor) -> float:
    """The largest difference between two functions, as a share of the reference's peak."""
    expected = reference(inputs)
    return ((function(inputs) - expected).abs().max() / expected.abs().max()).item()


def real_time_factor(function: Function, inputs: torch.Tensor, duration_s: float) -> str:
    """Seconds of work per second of audio."""
    # the first pass is slower: it selects kernels
    function(inputs)
    elapsed_s = []
    for _ in range(NUM_RUNS):
        started = time.perf_counter()
        function(inputs)
        elapsed_s.append(time.perf_counter() - started)
    return f"{min(elapsed_s) / duration_s:.4f} ({duration_s / min(elapsed_s):.1f}x real time)"


@torch.no_grad()
def compare_functions(
    exported: Function | None, eager: Function, examples: list[torch.Tensor], duration_s: float
) -> dict[str, str]:
    """
    Compare the exported function with the model.

    Raises:
        `ValueError`: their outputs differ.
    """
    if exported is None:
        return {"maximum difference": 'not verified: pip install "audioslots-hf[export]"'}
    differences = [_relative_difference(exported, eager, inputs) for inputs in examples]
    # also true for NaN
    if not all(difference <= TOLERANCE for difference in differences):
        raise ValueError(
            f"its output differs from the model's by {max(differences):.1e} of the peak, more than {TOLERANCE:.0e}"
        )
    shapes = " and ".join(str(tuple(inputs.shape)) for inputs in examples)
    return {
        "maximum difference": f"{max(differences):.1e} of the peak, on {shapes}",
        "real-time factor, eager": real_time_factor(eager, examples[0], duration_s),
        "real-time factor, exported": real_time_factor(exported, examples[0], duration_s),
    }


def export_model(pipeline: AudioSeparationPipeline, export_format: str, path: Path) -> dict[str, str]:
    """
    Write a model to one file, and compare the outputs of the file with those of the model.

    The file holds the model alone, from its main input, `(batch_size, num_samples)` or `(batch_size, num_bins, num_frames)`,
    to `estimates`. Feature extraction before and after stays with the caller, and speaker embeddings are left out. The batch
    may have any size. The time-domain families take any multiple of the encoder's stride, of at least half a segment. The
    other families take the length of a chunk.

    Args:
        pipeline ([`AudioSeparationPipeline`]):
            As from [`load_separator`], on the CPU and in float32.
        export_format (`str`):
            `"onnx"` or `"torch-export"`.
        path (`Path`):
            File to write, overwritten if it exists.

    Returns:
        `dict` of names to values with their units, ready to print.

    Raises:
        `ValueError`: the model cannot be exported, or the outputs of the file differ; no file is left in either case.
    """
    write, open_file = {
        "onnx": (_write_onnx, open_onnx),
        "torch-export": (write_torch_export, open_torch_export),
    }[export_format]
    model, config = pipeline.model.eval(), pipeline.model.config
    function, shape = EstimatesOnly(model), InputShape.of(pipeline)
    try:
        with replacing(path) as temporary, tqdm(total=3, unit="step", disable=None) as bar:
            with silence():
                bar.set_description("tracing")
                program = trace_model(function, shape)
                bar.update()
                bar.set_description("writing")
                write(program, temporary, describe_model(pipeline, shape), shape)
                exported = open_file(temporary)
            bar.update()
            bar.set_description("comparing")
            comparison = compare_functions(
                exported, function, shape.examples(), config.chunk_length / config.sampling_rate
            )
            bar.update()
    except OSError:
        raise
    except Exception as error:
        # the exporters raise errors of all kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"The {config.model_type} model cannot be exported to {export_format}: {reason}") from error
    return {
        "file": str(path),
        "input": f"{model.main_input_name} {shape.describe()}",
        "size": f"{path.stat().st_size / 2**20:.2f} MiB",
        **comparison,
    }


__all__ = [
    "DESCRIPTION_FILE",
    "EstimatesOnly",
    "Function",
    "InputShape",
    "NUM_RUNS",
    "OUTPUT_NAME",
    "OpaqueLstm",
    "SUFFIXES",
    "TOLERANCE",
    "compare_functions",
    "describe_model",
    "export_model",
    "open_onnx",
    "open_torch_export",
    "plan_export",
    "real_time_factor",
    "require_packages",
    "silence",
    "trace_model",
    "write_torch_export",
]
