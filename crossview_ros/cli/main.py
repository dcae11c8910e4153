# SPDX-License-Identifier: Apache-2.0
"""The command line: one literal table of verbs, each imported only when it is chosen."""
import argparse
import difflib
import importlib
import os
import shlex
import sys

from crossview_ros.errors import CrossviewError

PROGRAM = 'crossview'

# verb -> (module, help); the help lines stand here too so that --help imports nothing
COMMANDS = {
    'demo': ('crossview_ros.cli.demo',
             'play a bag, by default a rendered sample, through the live ROS 2 node, report'),
    'replay': ('crossview_ros.cli.replay',
               'run a bag in process, every frame once, and report'),
    'play': ('crossview_ros.cli.play', 'publish a bag over ROS 2'),
    'info': ('crossview_ros.cli.info', 'say what a bag, a model folder or a checkpoint holds'),
    'evaluate': ('crossview_ros.cli.evaluate',
                 'score stereo, flow or depth of models and baselines, or a trajectory, against '
                 'truth'),
    'compare': ('crossview_ros.cli.compare',
                'compare two reports frame by frame, differences with their intervals'),
    'pretrain': ('crossview_ros.cli.pretrain',
                 'pre-train by view completion (croco), LiDAR points (simipu) or both (joint)'),
    'finetune': ('crossview_ros.cli.finetune', 'train a task (stereo, flow, multi) as a YAML '
                                               'file says'),
    'experiment': ('crossview_ros.cli.experiment',
                   'run a documented table of training runs, resume it, write its page'),
    'pairs': ('crossview_ros.cli.pairs',
              'turn rosbags into pre-training pairs: stereo, sequential, image + cloud'),
    'complete': ('crossview_ros.cli.complete',
                 'show cross-view completion: a masked image, its reference, the completion, '
                 'the truth'),
    'convert': ('crossview_ros.cli.convert',
                'turn official checkpoints of CroCo, CroCo-Stereo, -Flow and SimIPU into a model '
                'folder'),
    'export': ('crossview_ros.cli.export',
               'write a model or a training run as a model folder, ONNX or official file'),
    'verify': ('crossview_ros.cli.verify',
               "compare a backend's numbers with PyTorch in float32"),
    'bench': ('crossview_ros.cli.bench',
              'measure latency, rate and memory of a model, per stage'),
}


def main(argv: list[str] | None = None) -> int:
    """
    Run a verb.

    :param argv: Arguments without the program name; None takes those of the process.
    :return: 0 done, 1 an error that is told in one line, 2 wrong usage, 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(argv)
    except SystemExit as stop:   # argparse: 0 after --help, 2 after wrong usage
        return int(stop.code or 0)
    except CrossviewError as error:
        print(f'{PROGRAM}: {error}', file=sys.stderr)
        return 1
    except BrokenPipeError:   # the reader of our output, e.g. head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:   # a path that cannot be read or written
        print(f'{PROGRAM}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{PROGRAM}: interrupted', file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0].startswith('-'):
        return _top_level(argv)
    verb = argv[0]
    if verb not in COMMANDS:
        near = difflib.get_close_matches(verb, COMMANDS, n=1)
        advice = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(COMMANDS)}'
        print(f"{PROGRAM}: unknown verb '{verb}'; {advice}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[verb][0])
    parser = argparse.ArgumentParser(prog=f'{PROGRAM} {verb}', description=module.__doc__)
    module.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    args.command = shlex.join([PROGRAM, *argv])   # reports name the command that made them
    return module.run(args)


def _top_level(argv: list[str]) -> int:
    width = max(len(verb) for verb in COMMANDS)
    verbs = '\n'.join(f'  {verb:<{width}}  {text}' for verb, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM, usage=f'{PROGRAM} VERB [arguments]',
        description='Metric depth, optical flow and odometry, learned end to end, for ROS 2.',
        epilog=f'verbs:\n{verbs}\n\n{PROGRAM} VERB --help explains a verb.',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='store_true', help='print the version')
    args = parser.parse_args(argv)
    if args.version:
        from importlib import metadata
        try:
            print(f'{PROGRAM} {metadata.version("crossview_ros")}')
        except metadata.PackageNotFoundError:
            print(f'{PROGRAM} (not installed)')
        return 0
    parser.print_help(sys.stdout if argv else sys.stderr)
    return 0 if argv else 2


if __name__ == '__main__':
    sys.exit(main())
