# SPDX-License-Identifier: Apache-2.0
"""What verb evaluate has for depth alone: networks of one view, data sets, published protocols."""
import argparse
from collections.abc import Callable
from typing import Any

from crossview_ros.cli.console import FrameBar, positive_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('--dataset', metavar='NAME',
                        help='layout of each PATH: kitti_depth, listed_depth, nyuv2, ...; scores '
                        'models of one view (default: pairs with calibration)')
    parser.add_argument('--split', default='test', help='of --dataset (default: test)')
    parser.add_argument('--option', dest='options', action='append', default=[],
                        metavar='KEY=VALUE', help='of the reader of --dataset, e.g. raw_root=DIR, '
                        'png_scale=1000; may be repeated')
    parser.add_argument('--crop', default='none', choices=('none', 'garg', 'eigen', 'nyu'),
                        help='which pixels count; nyu is of 480x640 (default: none: all)')
    parser.add_argument('--kb-crop', action='store_true',
                        help='first cut the bottom 352 rows and central 1216 columns out, as for '
                        'KITTI; images are shown to models of one view so')
    parser.add_argument('--min-depth', type=positive_number, default=1e-3, metavar='M',
                        help='true depth that counts is above it [m] (default: 0.001)')
    parser.add_argument('--max-depth', type=positive_number, default=80.0, metavar='M',
                        help='and below it [m]: KITTI 80 (default), NYU 10')
    parser.add_argument('--flip-test', action='store_true',
                        help='average with the answer for the mirrored image (models of one view)')


def figures(args: argparse.Namespace) -> Callable[[Any, Any], dict[str, Any]]:
    """
    Return what compares an answer with its truth.

    :raises ConfigError: If flags of networks meet answers from files, or the range is empty.
    """
    from crossview_ros.errors import ConfigError
    from crossview_ros.geometry.windows import bottom_window, KITTI_HW
    from crossview_ros.metrics.depth_protocol import protocol_metrics
    if args.estimate and (args.dataset or args.flip_test):
        raise ConfigError('--dataset and --flip-test are for models, --estimate brings answers')
    protocol = _protocol(args)

    def cut(depth: Any) -> Any:
        if not args.kb_crop or depth.shape == KITTI_HW:
            return depth
        x, y, width, height = bottom_window(depth.shape)
        return depth[y:y + height, x:x + width]
    return lambda depth, truth: protocol_metrics(cut(depth), cut(truth), protocol)


def is_monocular(args: argparse.Namespace) -> bool:
    """
    Tell whether one view at a time is scored.

    :raises ConfigError: If models of one and of two views are mixed.
    """
    from crossview_ros.errors import ConfigError
    from crossview_ros.evaluation import monocular
    if args.dataset is not None:
        return True
    kinds = {model: monocular.is_monocular(model) for model in args.models}
    if len({*kinds.values(), *(False for _ in args.baselines)}) > 1:
        raise ConfigError('models of one and of two views are scored one after the other, got '
                          f'{", ".join((*kinds, *args.baselines))}')
    if args.flip_test and not any(kinds.values()):
        raise ConfigError('--flip-test is for models of one view')
    return any(kinds.values())


def score(args: argparse.Namespace, files: Callable[[], list[Any]],
          note: Callable[[str], None]) -> list[Any]:
    """
    Score models of one view.

    :param files: Returns the pairs of the paths, where no data set is named.
    :param note: As for `score_monocular`.
    """
    from crossview_ros.errors import ConfigError
    from crossview_ros.evaluation.monocular import left_views, MonocularMethod, score_monocular
    if not args.models or args.baselines or args.scale != 1 or args.size or args.mode != 'single':
        raise ConfigError('depth from one view needs --model, at the size of the images: no '
                          '--baseline, --scale, --size or --mode')
    samples = _dataset(args) if args.dataset else left_views(files())
    methods = [MonocularMethod(model, args.device, args.flip_test)
               for model in dict.fromkeys(args.models)]
    with FrameBar('evaluate', 'sample') as bar:
        return score_monocular(samples, methods, _protocol(args), args.kb_crop, bar.update, note)


def _protocol(args: argparse.Namespace) -> Any:
    from crossview_ros.errors import ConfigError
    from crossview_ros.metrics.depth_protocol import DepthProtocol
    try:
        return DepthProtocol(args.crop, args.min_depth, args.max_depth)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _dataset(args: argparse.Namespace) -> Any:
    """Open a data set of images with depth."""
    from crossview_ros.data.datasets import DATASETS
    from crossview_ros.errors import ConfigError
    if args.dataset not in DATASETS or len(args.paths) != 1:
        raise ConfigError(f"expected one PATH and a data set among {', '.join(DATASETS)}, got "
                          f"{len(args.paths)} and '{args.dataset}'")
    options = dict(_option(text) for text in args.options)
    try:
        samples = DATASETS[args.dataset](args.paths[0], args.split, **options)
    except TypeError as error:   # an option that the reader does not have
        raise ConfigError(f'--dataset {args.dataset}: impossible options {options}: {error}') \
            from error
    if not hasattr(samples[0], 'depth'):
        raise ConfigError(f'--dataset {args.dataset} has no depth')
    return samples


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition('=')
    try:
        return name, float(value)
    except ValueError:
        return name, value
