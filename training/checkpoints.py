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
"""Files of a run: checkpoints to resume from, models and the log, all written atomically."""

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.files import remove, rename, replacing, sync, write_text
from audioslots_hf.leftovers import remove_leftovers

from .arguments import TrainingArguments
from .settings import SettingsError


# Settings that may differ when a run is resumed: they change neither the model nor its training data.
CHANGEABLE = {
    "compile",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "log_steps",
    "max_minutes",
    "mixtures",
    "num_kept_checkpoints",
    "num_valid_mixtures",
    "num_workers",
    "output_dir",
    "patience",
    "save_steps",
    "speech",
    "valid",
    "valid_steps",
    "validate_first",
}


@dataclass
class RunState:
    """The state of a run that determines its next steps, apart from weights and optimizer."""

    step: int = 0
    best_score: float = -math.inf
    # scores of the validation before the first step, if there is one, and of the newest validation
    first_score: float | None = None
    last_score: float | None = None
    # number of successive validations without improvement
    num_stale_validations: int = 0
    # losses since the last line of the log, one for each part of a step, averaged over the processes
    losses: list[float] = field(default_factory=list)
    # the mixtures that the scores belong to; None in a checkpoint older than this field
    validated_on: str | None = None
    # whether the best model belongs to other mixtures; it stays until a model is validated on these
    keeps_best: bool = False

    def validate_on(self, mixtures: str) -> None:
        """Reset the best score if it belongs to other mixtures, because the scores are not comparable."""
        if self.validated_on not in (None, mixtures):
            self.keeps_best = self.keeps_best or self.best_score > -math.inf
            self.best_score, self.num_stale_validations = -math.inf, 0
            self.first_score = self.last_score = None
        self.validated_on = mixtures


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folders = [path for path in output_dir.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(folders, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def check_same_run(output_dir: Path, arguments: TrainingArguments) -> None:
    """
    Check that a run continues with its original settings.

    Raises:
        `SettingsError`: names the first setting that differs.
    """
    path = output_dir / "arguments.json"
    if not path.exists() or not list_checkpoints(output_dir):
        return
    # a run older than a setting has its default
    before = {item.name: item.default for item in fields(arguments) if item.default is not MISSING}
    before |= json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(arguments.to_dict()))
    for key in sorted(set(now) - CHANGEABLE):
        if before.get(key) != now[key]:
            raise SettingsError(
                f"{output_dir} holds a run with `{key}` {before.get(key)}, not {now[key]}: resume it with the same value, or "
                "choose another output_dir."
            )


def prepare_output(output_dir: Path, arguments: TrainingArguments) -> None:
    """Write the settings, and remove files that a killed run wrote after its last checkpoint."""
    output_dir.mkdir(parents=True, exist_ok=True)
    for leftover in output_dir.glob(_temporary_name(Path("checkpoint-*")).name):
        remove(leftover)
    remove_leftovers([output_dir])
    write_text(output_dir / "arguments.json", json.dumps(arguments.to_dict(), indent=2))
    checkpoints = list_checkpoints(output_dir)
    cut_log(output_dir / "log.jsonl", load_state(checkpoints[-1]).step if checkpoints else -1)


def cut_log(path: Path, last_step: int) -> None:
    """Drop the lines after `last_step`, which a resumed run writes again, and an incomplete last line."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = []
    for line in lines:
        if not line.endswith("\n") or json.loads(line)["step"] > last_step:
            break
        kept.append(line)
    if kept != lines:
        write_text(path, "".join(kept))


def save_model(folder: Path, model: PreTrainedModel, feature_extractor: FeatureExtractionMixin) -> None:
    """Write a model and its feature extractor to a folder, atomically."""
    with replacing(folder) as temporary:
        model.save_pretrained(temporary)
        feature_extractor.save_pretrained(temporary)


def save_plain_models(accelerator: Accelerator, feature_extractor: FeatureExtractionMixin) -> None:
    """Make every checkpoint loadable by `from_pretrained` as well, for any number of processes."""

    def save(models: list, weights: list, folder: str) -> None:
        model = accelerator.unwrap_model(models[0])
        # Otherwise the names would be those of the wrapper for several processes. Cloned, because on a GPU the weights of an
        # LSTM are views of one buffer, of which Accelerate would save only the first.
        weights[:] = [{name: weight.clone() for name, weight in model.state_dict().items()}]
        if accelerator.is_main_process:
            model.save_without_weights(folder)
            feature_extractor.save_pretrained(folder)

    def load(models: list, folder: str) -> None:
        # Accelerate itself would load the models that remain in the list
        accelerator.unwrap_model(models.pop()).load_state_dict(load_file(Path(folder) / "model.safetensors"))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _temporary_name(path: Path) -> Path:
    """The name of a checkpoint that is not complete, the same in all processes, which write it together."""
    return path.with_name(f".tmp-{path.name}")


def save_checkpoint(accelerator: Accelerator, output_dir: Path, state: RunState, num_kept: int) -> None:
    """Write a checkpoint to a temporary folder, rename it, and remove the oldest ones."""
    folder = output_dir / f"checkpoint-{state.step}"
    temporary = _temporary_name(folder)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    # every process writes a part of the checkpoint
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
        if (log := output_dir / "log.jsonl").exists():
            # a resumed run does not write the lines up to here again
            sync(log)
        rename(temporary, folder)
        for old in list_checkpoints(output_dir)[:-num_kept]:
            # a partly deleted folder must not look like a checkpoint
            remove(old.rename(_temporary_name(old)))
    accelerator.wait_for_everyone()


def load_state(checkpoint: Path) -> RunState:
    """The state of the run at a checkpoint."""
    return RunState(**json.loads((checkpoint / "state.json").read_text(encoding="utf-8")))


def resume(accelerator: Accelerator, arguments: TrainingArguments) -> RunState:
    """
    Load the newest checkpoint, if any, and return the state of the run.

    Raises:
        `SettingsError`: the run began with other settings.
    """
    output_dir = Path(arguments.output_dir)
    check_same_run(output_dir, arguments)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        prepare_output(output_dir, arguments)
    accelerator.wait_for_everyone()
    checkpoints = list_checkpoints(output_dir)
    if not checkpoints:
        return RunState(validated_on=describe_validation(arguments))
    accelerator.load_state(str(checkpoints[-1]))
    # checkpoints are always written between two optimizer steps, for any number of parts of a step
    accelerator.step = 0
    accelerator.print(f"Resuming from {checkpoints[-1]}")
    state = load_state(checkpoints[-1])
    if arguments.valid is not None:
        state.validate_on(describe_validation(arguments))
    return state


def describe_validation(arguments: TrainingArguments) -> str | None:
    """A description of the validation mixtures of a run; `None` without `valid`."""
    values = arguments.to_dict()
    return None if arguments.valid is None else json.dumps([values["valid"], values["num_valid_mixtures"]])
