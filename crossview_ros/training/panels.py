# SPDX-License-Identifier: Apache-2.0
"""Pictures for people who watch a run: completions, disparity and flow beside the truth."""
import math

from crossview_ros.networks.croco import CroCo
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.patches import blank
from crossview_ros.training.augmentation import middle
from crossview_ros.training.pixel_loss import reconstruct
from crossview_ros.training.run_config import RunConfig
import torch
from torch import nn, Tensor

ROWS = 4   # samples in a panel
# of a task: the two views in the order of the network, and the truth
VIEWS = {'stereo': ('left', 'right', 'disparity'), 'flow': ('previous', 'left', 'flow')}


@torch.no_grad()
def panels(config: RunConfig, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """
    Draw the first samples of a validation batch, one below the other.

    :param batch: On the device of the model; images normalised.
    :return: Pictures (3, H, W) in [0, 1] on the CPU by name; none of models without a picture.
    """
    batch = {name: value[:ROWS] for name, value in batch.items()}
    if config.data.validation_mode == 'tiled':   # whole images: a window of them is shown
        if any(s < c for s, c in zip(batch['left'].shape[-2:], config.data.crop_hw)):
            return {}
        batch = middle(batch, config.data.crop_hw)
    if isinstance(model, CroCo):
        return {'completion': _completion(config, model, batch)}
    if not isinstance(model, MultiTaskModel):
        return {}
    return {task: _matching(model, task, batch) for task in model.tasks
            if task in VIEWS and set(VIEWS[task]) <= set(batch)}


def _completion(config: RunConfig, model: CroCo, batch: dict[str, Tensor]) -> Tensor:
    """Show from left to right: masked target, completion, target, reference."""
    target, mask = batch['target'], batch['mask']
    patch = model.config.patch_size
    grid_hw = target.shape[-2] // patch, target.shape[-1] // patch
    withheld = config.completion.reference == 'withheld'
    output = model(target, None if withheld else batch['reference'], mask)
    completed = reconstruct(output.patches.float(), target, patch,
                            mask if config.pixel_loss.masked_only else None,
                            config.pixel_loss.normalised)
    views = [blank(target, mask, grid_hw), completed, target, batch['reference']]
    return _grid([_colours(view, model) for view in views])


def _matching(model: MultiTaskModel, task: str, batch: dict[str, Tensor]) -> Tensor:
    """Show from left to right: first view, estimate, truth, expected error."""
    first, second, truth = (batch[name] for name in VIEWS[task])
    prediction = model.task(task)(first, second)
    draw = disparity_colours if task == 'stereo' else flow_colours
    greatest = truth.nan_to_num(0.0).flatten(1).abs().amax(1).clamp(min=1.0)[:, None, None, None]
    columns = [_colours(first, model), draw(prediction.value.float() / greatest),
               draw(truth / greatest)]
    if prediction.log_scale is not None:   # 1 px is half as bright as certainty
        columns.append((1 / (1 + prediction.log_scale.float().exp())).expand(-1, 3, -1, -1))
    return _grid(columns)


def disparity_colours(share: Tensor) -> Tensor:
    """Map (B, 1, H, W) shares of the greatest disparity: far blue, near red, unknown black."""
    known = torch.isfinite(share)
    x = share.nan_to_num(0.0).clamp(0, 1)
    colours = torch.cat([(1.5 - (4 * x - centre).abs()).clamp(0, 1) for centre in (3, 2, 1)], 1)
    return torch.where(known, colours, 0.0)


def flow_colours(share: Tensor) -> Tensor:
    """Map (B, 2, H, W) shares of the greatest flow: direction to hue, length to saturation."""
    known = torch.isfinite(share).all(1, keepdim=True)
    u, v = share.nan_to_num(0.0).unbind(1)
    angle = torch.atan2(v, u)[:, None]
    length = torch.hypot(u, v)[:, None].clamp(max=1)
    hues = torch.cat([0.5 + 0.5 * torch.cos(angle - turn * 2 * math.pi / 3)
                      for turn in range(3)], 1)
    return torch.where(known, 1 - length * (1 - hues), 0.0)


def _colours(image: Tensor, model: nn.Module) -> Tensor:
    """Undo the normalisation."""
    norm = getattr(model, 'normalisation', None) or model.config.normalisation
    mean, std = (torch.tensor(values, device=image.device)[:, None, None]
                 for values in (norm.mean, norm.std))
    return image.float() * std + mean


def _grid(columns: list[Tensor]) -> Tensor:
    """Put images (B, 3, H, W) beside each other, samples below each other."""
    rows = torch.cat([column.float() for column in columns], 3)   # (B, 3, H, columns W)
    return torch.cat(list(rows), 1).clamp(0, 1).cpu()
