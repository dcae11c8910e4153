# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs, exit codes, one-line errors, nothing heavy for --help."""
import importlib
import subprocess
import sys

from crossview_ros.cli import main as cli
from crossview_ros.errors import ConfigError
import pytest


@pytest.mark.parametrize('verb', cli.COMMANDS)
def test_every_verb_has_the_three_parts_and_the_listed_help(verb):
    module = importlib.import_module(cli.COMMANDS[verb][0])
    assert module.HELP == cli.COMMANDS[verb][1]
    assert callable(module.add_arguments) and callable(module.run)


@pytest.mark.parametrize('verb', cli.COMMANDS)
def test_every_verb_answers_help(verb, capsys):
    assert cli.main([verb, '--help']) == 0
    assert f'usage: crossview {verb}' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [['--help'], *([verb, '--help'] for verb in cli.COMMANDS)])
def test_help_loads_nothing_heavy(arguments):
    code = ('import sys; from crossview_ros.cli.main import main; '
            f'main({arguments!r}); '
            'print([m for m in ("torch", "rclpy", "numpy", "cv2", "matplotlib", "yaml") '
            'if m in sys.modules], file=sys.stderr)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == '[]'


def test_top_level_help_lists_every_verb(capsys):
    assert cli.main(['--help']) == 0
    text = capsys.readouterr().out
    assert all(f'  {verb}' in text and help_line in text
               for verb, (_, help_line) in cli.COMMANDS.items())


def test_unknown_verb_is_wrong_usage_with_the_nearest_name(capsys):
    assert cli.main(['reply']) == 2
    assert "unknown verb 'reply'; did you mean 'replay'?" in capsys.readouterr().err


def test_no_verb_and_wrong_flags_are_wrong_usage(capsys):
    assert cli.main([]) == 2
    assert cli.main(['info']) == 2
    assert cli.main(['info', 'x', '--nonsense']) == 2
    assert 'usage: crossview' in capsys.readouterr().err


def test_known_errors_are_one_line_and_exit_1(monkeypatch, capsys):
    module = importlib.import_module('crossview_ros.cli.info')
    monkeypatch.setattr(module, 'run', lambda args: _raise(ConfigError('expected x, got y')))
    assert cli.main(['info', 'thing']) == 1
    captured = capsys.readouterr()
    assert captured.err == 'crossview: expected x, got y\n' and captured.out == ''


def test_unknown_errors_keep_their_traceback(monkeypatch):
    module = importlib.import_module('crossview_ros.cli.info')
    monkeypatch.setattr(module, 'run', lambda args: _raise(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(['info', 'thing'])


def test_interrupt_exits_130(monkeypatch, capsys):
    module = importlib.import_module('crossview_ros.cli.info')
    monkeypatch.setattr(module, 'run', lambda args: _raise(KeyboardInterrupt()))
    assert cli.main(['info', 'thing']) == 130
    assert 'interrupted' in capsys.readouterr().err


def test_verbs_know_the_command_that_was_typed(monkeypatch):
    module = importlib.import_module('crossview_ros.cli.info')
    seen = []
    monkeypatch.setattr(module, 'run', lambda args: seen.append(args.command) or 0)
    assert cli.main(['info', 'a b']) == 0
    assert seen == ["crossview info 'a b'"]


def _raise(error):
    raise error
