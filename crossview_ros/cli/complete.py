# SPDX-License-Identifier: Apache-2.0
"""Verb complete: hide most of one image and rebuild it with the help of another view."""
import argparse
from pathlib import Path
from typing import Any, NamedTuple

HELP = 'show cross-view completion: a masked image, its reference, the completion, the truth'
PANEL_INCH = 3.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('target', metavar='TARGET', type=Path, help='image to hide and rebuild')
    parser.add_argument('reference', metavar='REFERENCE', type=Path,
                        help='image of the same scene from another place')
    parser.add_argument('--model', required=True, metavar='M',
                        help='pre-training model: name, model folder, run folder or weight file')
    parser.add_argument('--out', required=True, type=Path, metavar='PNG', help='picture to write')
    parser.add_argument('--mask-ratio', type=_ratio, default=None, metavar='R',
                        help="share of the target's patches to hide (default: the model's)")
    parser.add_argument('--seed', type=int, default=0, help='of the hidden patches (default: 0)')


def run(args: argparse.Namespace) -> int:
    """Write the picture and print how good the completion is."""
    from crossview_ros.data.io import read_image
    model = load_completion(args.model)
    images = [read_image(path) for path in (args.target, args.reference)]
    result = complete(model, *images, args.mask_ratio, args.seed)
    _draw(result.panels, args.out)
    rows, cols = result.panels['truth'].shape[:2]
    print(f'picture   {args.out}\n'
          f'size      {rows}x{cols} (h x w)\n'
          f'hidden    {result.num_hidden} of {result.num_patches} patches')
    for label, value, unit in result.scores:
        print(f'{label:<34}{value:>8.3f}  {unit}')
    return 0


class Completion(NamedTuple):
    """A completed image and how good it is."""

    panels: dict[str, Any]                      # title -> (H, W, 3) uint8 RGB
    num_hidden: int
    num_patches: int
    scores: list[tuple[str, float, str]]        # label, value, unit


def load_completion(source: str) -> Any:
    """
    Load a pre-training model (`CroCo`) in eval mode.

    :param source: Run folder, or what `load_model` takes.
    :raises CheckpointError: If it is another kind of model.
    """
    from crossview_ros.errors import CheckpointError
    from crossview_ros.networks.checkpoint import load_model
    from crossview_ros.networks.croco import CroCo, CroCoConfig
    from crossview_ros.training.setup import load_run
    refusal = (f"'{source}' is no pre-training model; 'complete' needs one that rebuilds images, "
               'as crossview pretrain trains it')
    if not (Path(source) / 'config.yaml').is_file():
        try:
            model = load_model(source)
        except CheckpointError as error:   # missing, damaged, or of several tasks
            raise CheckpointError(f'{refusal} ({error})') from error
        if not isinstance(model, CroCo):
            raise CheckpointError(refusal)
        return model
    _, architecture, weights, _ = load_run(Path(source))
    if not isinstance(architecture, CroCoConfig):
        raise CheckpointError(refusal)
    model = CroCo(architecture)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def complete(model: Any, target: Any, reference: Any, mask_ratio: float | None = None,
             seed: int = 0) -> Completion:
    """
    Hide most of the target and rebuild it.

    :param model: A `CroCo`.
    :param target: (H, W, 3) uint8 RGB, any size; ``reference`` alike.
    :param mask_ratio: Share of patches to hide; None takes the model's.
    :raises ConfigError: If that hides no patch.
    """
    from crossview_ros.errors import ConfigError
    from crossview_ros.networks.patches import patchify, random_mask
    from crossview_ros.training.pixel_loss import pixel_loss, reconstruct
    import torch
    patch = model.config.patch_size
    size_hw = working_size(model.config, target.shape[:2])
    views = [_network_input(image, size_hw) for image in (target, reference)]
    num_patches = size_hw[0] * size_hw[1] // patch ** 2
    mask = random_mask(1, num_patches, mask_ratio or model.config.mask_ratio,
                       generator=torch.Generator().manual_seed(seed))
    if not mask.any():
        raise ConfigError(f'a mask ratio of {mask_ratio} hides none of the {num_patches} '
                          'patches; raise it')
    truth = patchify(views[0], patch)
    with torch.inference_mode():
        patches = model(*views, mask).patches
        blank = model(views[0], torch.zeros_like(views[1]), mask).patches
    shown = {'masked target': reconstruct(torch.zeros_like(truth), views[0], patch, mask, False),
             'reference': views[1],
             'completion': reconstruct(patches, views[0], patch, mask), 'truth': views[0]}
    panels = {title: _pixels(image) for title, image in shown.items()}
    scores = [('loss of hidden patches', float(pixel_loss(patches, truth, mask)), '-'),
              ('loss with a blank reference', float(pixel_loss(blank, truth, mask)), '-'),
              ('PSNR of hidden patches',
               _psnr_db(panels['completion'], panels['truth'], float(mask.float().mean())), 'dB')]
    return Completion(panels, int(mask.sum()), num_patches, scores)


def working_size(config: Any, size_hw: tuple[int, int]) -> tuple[int, int]:
    """
    Return the size that a network sees of an image: multiples of its patch.

    Cosine positions allow one size only; with RoPE the short side is that of the training and
    the long side follows the image.

    :param config: A `CroCoConfig`.
    """
    if config.position == 'cosine':
        return tuple(config.img_size)
    scale = min(config.img_size) / min(size_hw)
    patch = config.patch_size
    return tuple(max(patch, round(side * scale) // patch * patch) for side in size_hw)


def _network_input(image: Any, size_hw: tuple[int, int]) -> Any:
    """Scale an image until it covers the size, cut its centre, and normalise: (1, 3, H, W)."""
    from crossview_ros.networks.downstream import Normalisation
    import cv2
    import numpy as np
    import torch
    scale = max(wish / side for wish, side in zip(size_hw, image.shape[:2]))
    rows, cols = (max(wish, round(side * scale))
                  for wish, side in zip(size_hw, image.shape[:2]))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, (cols, rows), interpolation=kind)
    top, left = (rows - size_hw[0]) // 2, (cols - size_hw[1]) // 2
    image = image[top:top + size_hw[0], left:left + size_hw[1]].astype(np.float32) / 255
    norm = Normalisation()
    image = (image - np.float32(norm.mean)) / np.float32(norm.std)
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None]


def _pixels(image: Any) -> Any:
    """Undo the normalisation: (1, 3, H, W) to (H, W, 3) uint8 RGB."""
    from crossview_ros.networks.downstream import Normalisation
    import numpy as np
    norm = Normalisation()
    colours = image[0].numpy().transpose(1, 2, 0) * np.float32(norm.std) + np.float32(norm.mean)
    return np.rint(colours.clip(0, 1) * 255).astype(np.uint8)


def _psnr_db(completion: Any, truth: Any, hidden_share: float) -> float:
    """Return the peak signal-to-noise ratio; visible pixels are equal and count for nothing."""
    import numpy as np
    error = np.square(completion.astype(np.float64) - truth).mean() / hidden_share
    return float(10 * np.log10(255 ** 2 / max(error, 1e-12)))


def _draw(panels: dict[str, Any], path: Path) -> None:
    from crossview_ros.replay.report_canvas import INK
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    rows, cols = panels['truth'].shape[:2]
    height = PANEL_INCH * rows / cols
    figure = Figure((PANEL_INCH * len(panels), height + 0.35), dpi=120, facecolor='white',
                    layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (title, image) in zip(figure.subplots(1, len(panels)), panels.items()):
        axes.imshow(image, interpolation='nearest')
        axes.set_title(title, fontsize=11, color=INK)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format='png', metadata={'Software': None})


def _ratio(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f'expected a share between 0 and 1, got {text}')
    return value
