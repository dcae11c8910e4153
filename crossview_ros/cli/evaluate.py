# SPDX-License-Identifier: Apache-2.0
"""Score stereo, depth or flow of models, baselines or files, or a trajectory, against truth."""
import argparse
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli import evaluate_depth, evaluate_trajectory
from crossview_ros.cli.console import FrameBar, positive_number, print_rows, read_size

HELP = 'score stereo, flow or depth of models and baselines, or a trajectory, against truth'

DESCRIPTION = """
PATH is the folder of one sample (left.png, right.png, disp_gt.pfm or .png, calib.json; for flow
frame1.png, frame2.png, flow_gt.flo), a folder of such folders, or KITTI 2015. A true pixel without
an answer counts as an error of 20 px, of 100 % of the depth; epe-80% leaves out the fifth of the
pixels that a model is least sure of. The first table has a row for each
sample and their mean; the second one, for stereo and flow, pools the pixels of all samples under
the names that papers use.
"""
DEFAULT_MODEL = 'crossview_tiny'
SURE = 'epe_sure'   # of models that tell their confidence
# task -> columns of the table: metric, heading
COLUMNS = {
    'stereo': (('epe', 'epe'), (SURE, 'epe-80%'), ('bad_1', 'bad-1'), ('bad_2', 'bad-2'),
               ('bad_3', 'bad-3'), ('d1', 'D1'), ('coverage', 'coverage')),
    'flow': (('epe', 'epe'), (SURE, 'epe-80%'), ('fl_all', 'Fl'), ('coverage', 'coverage')),
    'depth': tuple((name, name) for name in (
        'd1', 'd2', 'd3', 'abs_rel', 'sq_rel', 'rmse', 'rmse_log', 'log10', 'silog', 'coverage')),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the tasks and their flags."""
    tasks = parser.add_subparsers(dest='task', required=True, metavar='TASK')
    for task in COLUMNS:
        text = f'score {task} on samples with truth'
        task_parser = tasks.add_parser(task, help=text, description=DESCRIPTION)
        _add_dense_arguments(task_parser)
        if task == 'depth':
            evaluate_depth.add_arguments(task_parser)
    evaluate_trajectory.add_arguments(tasks.add_parser(
        'trajectory', help='score a file of poses against true ones',
        description=evaluate_trajectory.__doc__))


def _add_dense_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('paths', metavar='PATH', nargs='*', type=Path,
                        help='folder with one sample or many')
    parser.add_argument('--left', '--image1', metavar='FILE', type=Path,
                        help='left or first image, in place of PATH')
    parser.add_argument('--right', '--image2', metavar='FILE', type=Path,
                        help='right or second image; goes with --left')
    parser.add_argument('--estimate', metavar='FILE', type=Path,
                        help='answer to score against --truth, in place of images: disparity or '
                        'flow [px], depth [m]; or a folder of them')
    parser.add_argument('--truth', metavar='FILE', type=Path,
                        help='true disparity or flow of the left image [px]; goes with --left; '
                        'or what --estimate is compared with')
    parser.add_argument('--truth-format', default='auto',
                        choices=('auto', 'pfm', 'png256', 'flo', 'kitti'),
                        help='of --truth (default: auto, by the suffix of the file)')
    parser.add_argument('--png-scale', type=positive_number, default=256.0, metavar='N',
                        help='value of one metre in a 16-bit PNG of depth (default: 256)')
    parser.add_argument('--calib', metavar='FILE', type=Path,
                        help='calibration of the pair; goes with --left')
    parser.add_argument('--model', dest='models', action='append', default=[], metavar='MODEL',
                        help='name or folder of a model; may be repeated (default: '
                        f'{DEFAULT_MODEL}, unless there is a --baseline)')
    parser.add_argument('--baseline', dest='baselines', action='append', default=[],
                        metavar='NAME', help='sgbm, sgbm-filled (its holes '
                        'filled along the row) or constant for stereo and depth, dis or zero for '
                        'flow; may be repeated')
    parser.add_argument('--scale', type=positive_number, default=1.0,
                        help='shrink images and truth by this factor (default: 1)')
    parser.add_argument('--size', metavar='HxW',
                        help="working size of the models [px] (default: the model's)")
    parser.add_argument('--mode', default='single', choices=('single', 'tiled'),
                        help='single: the whole image at once (default); tiled: windows of the '
                        'size that the model was trained with, as converted CroCo-Stereo and '
                        'CroCo-Flow were measured')
    parser.add_argument('--tile-overlap', type=float, metavar='F',
                        help='least share that windows have in common, [0, 1); published: 0.9, '
                        "CroCo-Flow on KITTI 0.99 (default: the model's, 0.7)")
    parser.add_argument('--sharpen', default='auto', choices=('auto', 'on', 'off'),
                        help='match once more in the full images, near what a model says '
                        '(default: auto, as the model says)')
    parser.add_argument('--backend', default='auto', help='what runs a model (default: auto)')
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'),
                        help='where it runs (default: auto)')
    parser.add_argument('--pictures', metavar='DIR', type=Path,
                        help='write a PNG of each answer, its truth and its errors')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Score every method on every sample; print a row for each, their means, the pooled ones."""
    if args.task == 'trajectory':
        return evaluate_trajectory.run(args)
    from crossview_ros.evaluation.scores import mean_scores, pooled_scores
    scores = _score_files(args) if args.estimate else _score_methods(args)
    means, pooled = mean_scores(scores), pooled_scores(scores)
    if args.json:
        _print_json(args, scores, means, pooled)
        return 0
    _print_scores(args.task, scores, means if len(scores) > len(means) else [])
    if pooled:
        _print_pooled(pooled)
    return 0


def _score_files(args: argparse.Namespace) -> list[Any]:
    from crossview_ros.errors import ConfigError
    from crossview_ros.evaluation.answers import score_files
    if not args.truth or args.paths or args.left or args.right or args.calib or args.models \
            or args.baselines or args.scale != 1:
        raise ConfigError('--estimate needs --truth, and neither images nor a method')
    return score_files(args.task, args.estimate, args.truth, args.truth_format, args.png_scale,
                       _note, _figures(args))


def _score_methods(args: argparse.Namespace) -> list[Any]:
    from crossview_ros.evaluation.scores import score_samples, TASKS
    if args.task == 'depth' and evaluate_depth.is_monocular(args):
        return evaluate_depth.score(args, lambda: _files(args, 'stereo'), _note)
    kind = TASKS[args.task].kind
    files = _files(args, kind)   # a wrong path is told before a model is loaded
    methods = _open_methods(args, kind)
    try:
        with FrameBar('evaluate', 'sample') as bar:
            return score_samples(args.task, files, methods, args.scale, bar.update, _note,
                                 _figures(args), args.pictures)
    finally:
        for method in methods:
            method.close()


def _figures(args: argparse.Namespace) -> Any:
    """Return what computes the figures, where flags change it."""
    return evaluate_depth.figures(args) if args.task == 'depth' else None


def _files(args: argparse.Namespace, kind: str) -> list[Any]:
    from crossview_ros.data.folders import find_samples, SampleFiles
    from crossview_ros.errors import ConfigError
    single = (args.left, args.right, args.truth)
    if any(single):
        if args.paths or not all(single):
            raise ConfigError('a single pair needs --left, --right and --truth, and no PATH')
        return [SampleFiles(*single, args.calib, args.truth_format, args.left.stem)]
    if not args.paths:
        raise ConfigError('expected a PATH with samples, or --left, --right and --truth')
    if args.calib or args.truth_format != 'auto':
        raise ConfigError('--calib and --truth-format belong to --left; samples of a PATH bring '
                          'their own')
    return [files for path in args.paths for files in find_samples(kind, path)]


def _open_methods(args: argparse.Namespace, kind: str) -> list[Any]:
    from crossview_ros.evaluation.methods import BaselineMethod, open_model
    methods = [BaselineMethod(name, kind) for name in dict.fromkeys(args.baselines)]
    models = dict.fromkeys(args.models) or ([] if args.baselines else [DEFAULT_MODEL])
    return methods + [open_model(name, kind, backend=args.backend, device=args.device,
                                 inference_size=args.size and read_size(args.size),
                                 inference_mode=args.mode,
                                 tile_overlap=args.tile_overlap, sharpen=args.sharpen)
                      for name in models]


def _print_scores(task: str, scores: list[Any], means: list[Any]) -> None:
    from math import isnan
    columns = [column for column in COLUMNS[task] if column[0] != SURE or any(
        SURE in score.metrics and not isnan(score.metrics[SURE].value) for score in scores)]
    units = [scores[0].metrics[name].unit for name, _ in columns]
    rows = [('sample', 'method', *(heading for _, heading in columns), 'time'),
            ('', '', *units, 'ms')]
    rows += [(score.sample, score.method,
              *('-' if name == SURE and isnan(score.metrics[name].value)
                else f'{score.metrics[name].value:.3f}' for name, _ in columns),
              '-' if isnan(score.elapsed_ms) else f'{score.elapsed_ms:.0f}')
             for score in scores + means]
    print_rows(rows, '<<' + '>' * (len(columns) + 1))


def _print_pooled(pooled: list[Any]) -> None:
    """Print a row for each figure: there are more of them than a line holds."""
    from math import isnan
    metrics = pooled[0].metrics
    rows = [('pooled', *(score.method for score in pooled), 'unit')]
    rows += [(name, *(f'{score.metrics[name].value:.3f}' for score in pooled), metric.unit)
             for name, metric in metrics.items()]
    print()
    print_rows(rows, '<' + '>' * len(pooled) + '<')
    empty = [name for name, metric in metrics.items() if isnan(metric.value)]
    if empty:
        _note(f'nan: no true pixel in {", ".join(empty)}')


def _print_json(args: argparse.Namespace, scores: list[Any], means: list[Any],
                pooled: list[Any]) -> None:
    import json
    print(json.dumps({'task': args.task, 'scale': args.scale,
                      'scores': [_plain(score) for score in scores],
                      'mean': [_plain(score) for score in means],
                      'pooled': [_plain(score) for score in pooled]}, allow_nan=False))


def _plain(score: Any) -> dict[str, Any]:
    from math import isfinite
    metrics = {name: {'value': metric.value if isfinite(metric.value) else None,
                      'unit': metric.unit} for name, metric in score.metrics.items()}
    return {'sample': score.sample, 'method': score.method, 'metrics': metrics,
            'elapsed_ms': round(score.elapsed_ms, 3) if isfinite(score.elapsed_ms) else None}


def _note(text: str) -> None:
    print(f'note: {text}', file=sys.stderr)
