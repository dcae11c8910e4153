# SPDX-License-Identifier: Apache-2.0
"""Save and load weights: safetensors files that carry their architecture with them."""
import json
from pathlib import Path

from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import CheckpointError, CrossviewError
from crossview_ros.model_store import find_model, WEIGHTS
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel, TwoViewModel
import torch

FORMAT = 'crossview_1'


def save_weights(path: str | Path, config: ModelConfig, weights: dict[str, torch.Tensor],
                 dtype: torch.dtype = torch.float16) -> None:
    """
    Write weights with their architecture in the header.

    :param weights: State dict of a `MultiTaskModel`; floats are stored as ``dtype``.
    """
    from safetensors.torch import save_file
    tensors = {name: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
               for name, value in weights.items()}
    save_file(tensors, str(path),
              {'format': FORMAT, 'architecture': json.dumps(to_dict(config))})
    Path(path).chmod(0o644)   # safetensors makes files that only their owner can read


def load_multi_task(path: str | Path) -> MultiTaskModel:
    """
    Load a model with all its heads: eval mode, float32, CPU.

    :param path: Name in models/, model folder, or .safetensors file.
    :raises CheckpointError: If it is missing, damaged, or does not fit its own architecture.
    """
    path = find_model(path)
    path = path / WEIGHTS if path.is_dir() else path
    tensors, metadata = _read(path)
    if metadata.get('format') != FORMAT or 'architecture' not in metadata:
        raise CheckpointError(f'{path}: expected a {FORMAT} weight file with its architecture in '
                              f'the header, got {metadata}; was it written by this package?')
    try:
        config = from_dict(ModelConfig, json.loads(metadata['architecture']), str(path))
    except (CrossviewError, ValueError) as error:
        raise CheckpointError(f'{path}: its architecture cannot be read: {error}') from error
    with torch.device('meta'):
        model = MultiTaskModel(config)
    _check_fits(path, tensors, model.state_dict())
    model.load_state_dict({k: v.float() if v.is_floating_point() else v
                           for k, v in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def load_model(path: str | Path, task: str | None = None) -> MultiTaskModel | TwoViewModel:
    """
    Load one task's model: eval mode, float32, CPU.

    :param path: Name in models/, model folder, or .safetensors file.
    :param task: Which head; may be left out where there is only one.
    :raises CheckpointError: As `load_multi_task`, or if the task is missing or ambiguous.
    """
    model = load_multi_task(path)
    if task is None and len(model.tasks) > 1:
        raise CheckpointError(f"'{path}' has several tasks; pass task= one of {model.tasks}")
    return model.task(task or model.tasks[0])


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open, SafetensorError
    try:
        with safe_open(str(path), framework='pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{path}: expected a safetensors weight file, but it cannot be read '
                              f'({error}); is it complete? Fetch or export it again') from error


def _check_fits(path: Path, tensors: dict, expected: dict) -> None:
    missing = sorted(set(expected) - set(tensors))
    extra = sorted(set(tensors) - set(expected))
    wrong = [f'{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}'
             for name in expected if name in tensors and
             tensors[name].shape != expected[name].shape]
    faults = [f'{title} {", ".join(names[:3])}{" ..." if len(names) > 3 else ""}'
              for title, names in (('missing', missing), ('unknown', extra), ('shape', wrong))
              if names]
    if faults:
        raise CheckpointError(f'{path}: the weights do not fit their architecture: '
                              f'{"; ".join(faults)}; export the model again')
