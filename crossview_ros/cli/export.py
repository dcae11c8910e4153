# SPDX-License-Identifier: Apache-2.0
"""Verb export: turn a training run into a model folder."""
import argparse
from pathlib import Path

HELP = 'make a model folder from a training run'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('run', metavar='RUN', type=Path, help='folder of a training run')
    parser.add_argument('--format', default='model', choices=('model',),
                        help='what to write (default: model)')
    parser.add_argument('--out', type=Path, required=True, help='folder to write, models/<name>')
    parser.add_argument('--size', default='240x320', metavar='HxW',
                        help='largest working size [px] (default: 240x320)')
    parser.add_argument('--command', dest='trained_by', default='crossview finetune',
                        metavar='TEXT',
                        help='command that trained it, for the provenance')


def run(args: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    from crossview_ros.config import to_dict
    from crossview_ros.errors import ConfigError
    from crossview_ros.export.model_folder import TrainedModel, write_model_folder
    from crossview_ros.training.setup import load_run
    rows, separator, cols = args.size.partition('x')
    if not (separator and rows.isdigit() and cols.isdigit()):
        raise ConfigError(f"--size expects HxW, e.g. 240x320; got '{args.size}'")
    config, architecture, weights, history = load_run(args.run)
    provenance = {'command': args.trained_by, 'legs': _legs(args.run),
                  'validation_weighted_epe_px': round(history['best_score'], 3),
                  'config': to_dict(config)}
    trained = TrainedModel(architecture, weights, config.model.preset, provenance)
    manifest = write_model_folder(trained, args.out, (int(rows), int(cols)))
    print(f'model     {args.out}')
    for name, digest in manifest['files'].items():
        size_mb = (args.out / name).stat().st_size / 1e6
        print(f'file      {name}  {size_mb:.1f} MB  sha256 {digest[:16]}')
    return 0


def _legs(run: Path) -> list[dict]:
    """Return what each run of a chain did, the first one first; runs that are gone are named."""
    from crossview_ros.training.setup import load_run
    if not (run / 'config.yaml').is_file():
        return [{'run': str(run)}]
    config, _, _, history = load_run(run)
    before = [] if config.model.start_from is None else _legs(Path(config.model.start_from))
    return [*before, {'run': str(run), 'task': config.task, 'steps': history['step'],
                      'minutes': round(history['elapsed_s'] / 60, 1)}]
