# SPDX-License-Identifier: Apache-2.0
"""Run folders: checkpoints that survive a kill, the resolved config, the metrics log."""
import json
import os
from pathlib import Path

from crossview_ros.config import dump_yaml, from_dict, load_yaml, to_dict
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.training.run_config import RunConfig
import torch

FORMAT = 'crossview_run_1'
LAST, PREVIOUS = 'last.pt', 'previous.pt'


class RunFolder:
    """One folder for one run: config.yaml, metrics.jsonl, last.pt, previous.pt."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def create(self, config: RunConfig) -> None:
        """
        Begin a new run.

        :raises ConfigError: If the folder already holds a run.
        """
        if (self.path / LAST).exists():
            raise ConfigError(f'{self.path} already holds a run; pass --resume to go on with it '
                              'or --run-dir for another folder')
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / 'config.yaml').write_text(dump_yaml(to_dict(config)), encoding='utf-8')
        (self.path / 'metrics.jsonl').write_text('', encoding='utf-8')

    def config(self) -> RunConfig:
        """Read the resolved config of the run."""
        path = self.path / 'config.yaml'
        return from_dict(RunConfig, load_yaml(path), str(path))

    def log(self, record: dict) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / 'metrics.jsonl').open('a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')

    def save(self, state: dict) -> None:
        """Write a checkpoint under a temporary name, then rename; keep the one before."""
        temporary = self.path / f'{LAST}.tmp'
        with temporary.open('wb') as file:
            torch.save({'format': FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        if (self.path / LAST).exists():
            os.replace(self.path / LAST, self.path / PREVIOUS)
        os.replace(temporary, self.path / LAST)

    def load(self) -> tuple[dict, str]:
        """
        Read the newest readable checkpoint.

        :return: The state, and the name of the file that it came from.
        :raises CheckpointError: If neither the last nor the one before can be read.
        """
        reasons = []
        for name in (LAST, PREVIOUS):
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
                return state, name
            reasons.append(f'{name} is no run checkpoint')
        raise CheckpointError(f'{self.path} cannot be resumed: {"; ".join(reasons)}; '
                              'start the run anew without --resume')
