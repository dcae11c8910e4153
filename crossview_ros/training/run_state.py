# SPDX-License-Identifier: Apache-2.0
"""Run folders: checkpoints that survive a kill, config, environment, the metrics log."""
import json
import os
from pathlib import Path
import platform
import subprocess
import sys

from crossview_ros.config import dump_yaml, from_dict, load_yaml, to_dict
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

FORMAT = 'crossview_run_1'
LAST, PREVIOUS, BEST = 'last.pt', 'previous.pt', 'best.pt'
LOG = 'metrics.jsonl'
ENVIRONMENT = 'environment.json'


class RunFolder:
    """
    One folder for one run.

    config.yaml (resolved), environment.json (one entry for each start), metrics.jsonl; last.pt
    and previous.pt to resume from, best.pt with the averaged weights of the best validation;
    tensorboard/.
    """

    def __init__(self, path: Path):
        self.path = Path(path)

    def create(self, config: RunConfig) -> None:
        """
        Begin a new run.

        :raises ConfigError: If the folder already holds a run.
        """
        if any((self.path / name).exists() for name in (LAST, PREVIOUS)):
            raise ConfigError(f'{self.path} already holds a run; pass --resume to go on with it '
                              'or --run-dir for another folder')
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in (BEST, ENVIRONMENT):   # of a run that got no checkpoint
            (self.path / stale).unlink(missing_ok=True)
        _write_text(self.path / 'config.yaml', dump_yaml(to_dict(config)))
        _write_text(self.path / LOG, '')

    def add_environment(self, facts: dict) -> None:
        """Append what a start of the run ran on to environment.json: one list of mappings."""
        path = self.path / ENVIRONMENT
        starts = json.loads(path.read_text(encoding='utf-8')) if path.exists() else []
        _write_text(path, json.dumps([*starts, facts], indent=1) + '\n')

    def config(self) -> RunConfig:
        """Read the resolved config of the run."""
        path = self.path / 'config.yaml'
        return from_dict(RunConfig, load_yaml(path), str(path))

    def log(self, record: dict) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / LOG).open('a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that will be done again, and one that a kill cut short."""
        kept = []
        for line in (self.path / LOG).read_text(encoding='utf-8').splitlines():
            try:
                if json.loads(line)['step'] <= step:
                    kept.append(line + '\n')
            except json.JSONDecodeError:
                continue
        _write_text(self.path / LOG, ''.join(kept))

    def save(self, state: dict) -> None:
        """Write a checkpoint under a temporary name, then rename; keep the one before."""
        temporary = self._temporary(LAST, state)
        if (self.path / LAST).exists():
            os.replace(self.path / LAST, self.path / PREVIOUS)
        os.replace(temporary, self.path / LAST)

    def save_best(self, state: dict) -> None:
        """Write the best result so far, likewise."""
        os.replace(self._temporary(BEST, state), self.path / BEST)

    def load(self, names: tuple[str, ...] = (LAST, PREVIOUS)) -> tuple[dict, str]:
        """
        Read the newest readable checkpoint.

        :param names: Files to try, one after the other.
        :return: The state, and the name of the file that it came from, with the reason where it
            is not the first.
        :raises CheckpointError: If none can be read.
        """
        reasons = []
        for name in names:
            path = self.path / name
            try:
                state = torch.load(path, map_location='cpu', weights_only=True)
            except FileNotFoundError:
                reasons.append(f'{name} is missing')
                continue
            except Exception as error:  # torch raises many kinds for damaged files
                reasons.append(f'{name} is damaged ({type(error).__name__})')
                continue
            if isinstance(state, dict) and state.get('format') == FORMAT:
                return state, f'{name}, since {"; ".join(reasons)}' if reasons else name
            reasons.append(f'{name} is no run checkpoint')
        raise CheckpointError(f'{self.path} cannot be resumed: {"; ".join(reasons)}; '
                              'start the run anew without --resume')

    def _temporary(self, name: str, state: dict) -> Path:
        temporary = self.path / f'{name}.tmp'
        with temporary.open('wb') as file:
            torch.save({'format': FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        return temporary


def environment(device: torch.device, processes: int) -> dict:
    """Say what a run runs on, in plain values."""
    cuda = device.type == 'cuda'
    return {'command': ' '.join(sys.argv), 'commit': commit(), 'processes': processes,
            'device': torch.cuda.get_device_name(device) if cuda else 'cpu',
            'machine': platform.platform(), 'cores': os.cpu_count(),
            'threads': torch.get_num_threads(), 'python': platform.python_version(),
            'torch': torch.__version__, 'cuda': torch.version.cuda, 'numpy': np.__version__}


def commit() -> str | None:
    """Return the commit of the source tree, with '+' if it was changed; None: not known."""
    try:
        return subprocess.run(
            ['git', '-C', str(Path(__file__).parent), 'describe', '--always', '--abbrev=40',
             '--match=', '--dirty=+'], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(text, encoding='utf-8')
    os.replace(temporary, path)
