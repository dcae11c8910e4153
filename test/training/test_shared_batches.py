# SPDX-License-Identifier: Apache-2.0
"""Each of several processes makes its own rows of a batch, and no others."""
from crossview_ros.data.samples import StereoSample
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.training import records as records_module
from crossview_ros.training.dataset_batches import DatasetBatches
from crossview_ros.training.engine import Engine
from crossview_ros.training.mixture import Mixture, Part
from crossview_ros.training.records import OnlineBatches
import pytest
from textured_pairs import disparity_truth, stereo_pair
import torch

ROWS = range(2, 4)   # of batches of 6


class SecondOfThree(Engine):
    """The engine of one of three processes, without the others."""

    rank, world_size = 1, 3


class Counting:
    """Samples that remember which were read."""

    def __init__(self, samples):
        self.samples, self.read = samples, []

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.read.append(index)
        return self.samples[index]

    record = __getitem__


def assert_same_rows(part, whole):
    """Check that a part of a batch is what the whole batch has in these rows."""
    assert part.keys() == whole.keys()
    for name, value in part.items():
        expected = whole[name][ROWS.start:ROWS.stop]
        # vectorised arithmetic rounds differently at the end of an array
        torch.testing.assert_close(value.float(), expected.float(), rtol=0, atol=1e-4,
                                   equal_nan=True, msg=name)


@pytest.mark.parametrize('task', ['stereo', 'multi'])
def test_records_are_read_and_changed_row_by_row(make_trainer, tmp_path, task):
    batches = make_trainer(tmp_path, [], task=task, batch_size=6).training
    whole = batches.training_batch(1)
    batches.dataset = Counting(batches.dataset)
    assert_same_rows(batches.training_batch(1, ROWS), whole)
    assert len(batches.dataset.read) == len(ROWS)
    assert not torch.equal(whole['left'][2], whole['left'][3])


def test_pairs_are_read_changed_and_masked_row_by_row(make_completion_trainer, tmp_path):
    batches = make_completion_trainer(tmp_path, [], batch_size=6).training
    whole = batches.training_batch(1)
    assert_same_rows(batches.training_batch(1, ROWS), whole)
    assert not torch.equal(whole['mask'][2], whole['mask'][3])


@pytest.mark.parametrize('kind', ['make_trainer', 'make_completion_trainer'])
def test_scenes_are_rendered_row_by_row(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, 'ATLAS_SIZE', 8)   # quick to make
    stored = request.getfixturevalue(kind)(tmp_path, [], batch_size=6).training
    batches = OnlineBatches(stored, torch.device('cpu'))
    whole = batches.training_batch(1)
    rendered = []
    render = stored.render
    monkeypatch.setattr(stored, 'render', lambda count, *more: rendered.append(count)
                        or render(count, *more))
    part = batches.training_batch(1, ROWS)
    assert rendered == [len(ROWS)]
    for name, value in part.items():
        # at a border, rounding may decide for the other surface
        same = torch.isclose(value.float(), whole[name][2:4].float(), rtol=0, atol=1e-3,
                             equal_nan=True)
        assert same.float().mean() > 0.999, name


def test_samples_of_data_sets_are_read_row_by_row(make_trainer, tmp_path):
    samples = [StereoSample(*stereo_pair(k), disparity_truth(), name=f'{k}') for k in range(6)]
    config = make_trainer(tmp_path, [], batch_size=6).config
    counted = Counting(samples)
    mixture = Mixture([Part(counted, range(6))])
    batches = DatasetBatches(mixture, mixture, config, Normalisation())
    whole = batches.training_batch(1)
    counted.read.clear()
    assert_same_rows(batches.training_batch(1, ROWS), whole)
    assert len(counted.read) == len(ROWS)


def test_a_process_asks_for_its_rows_and_trains_on_all_of_them(make_trainer, tmp_path,
                                                               monkeypatch):
    trainer = make_trainer(tmp_path, [], batch_size=6, micro_batch=1, steps=1)
    trainer = type(trainer)(trainer.config, trainer.model, trainer.task, trainer.training,
                            trainer.validation, trainer.folder, lambda record: None,
                            SecondOfThree('cpu'))
    batch = trainer._batch(0)
    assert_same_rows(batch, trainer.training.training_batch(0))
    seen = []
    monkeypatch.setattr(trainer, 'procedure', lambda name, rows: seen.append(rows['left'])
                        or trainer.task.step(trainer.model, rows))
    trainer._optimize(batch, 1e-3)
    assert torch.equal(torch.cat(seen), batch['left']) and len(seen) == len(ROWS)


def test_rows_get_the_same_numbers_whichever_others_are_wanted():
    def drawn(rows):
        draw = Draw(torch.Generator().manual_seed(3), rows, 6)
        count = 6 if rows is None else len(rows)
        return [draw.uniform((count, 2), -1, 1), draw.normal((count,)),
                draw.integers((count, 3), 9), draw.log_uniform((count, 1), 0.1, 10),
                draw.noise_like(torch.zeros(count, 3, 5))]
    for part, whole in zip(drawn(ROWS), drawn(None)):
        assert torch.equal(part, whole[2:4])
    noise = drawn(None)[-1]
    assert len(noise.unique()) == noise.numel()
