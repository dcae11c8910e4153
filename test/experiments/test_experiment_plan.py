# SPDX-License-Identifier: Apache-2.0
"""Promises of the files in config/experiments and of the list of runs that they ask for."""
from dataclasses import replace
from pathlib import Path

from crossview_ros.config import from_dict, load_config
from crossview_ros.errors import ConfigError
from crossview_ros.experiments.plan import ExperimentConfig, legs_of, smoke_experiment
from crossview_ros.networks.pretrained import plain_name
from crossview_ros.training.records import indices_of_step
from crossview_ros.training.setup import TASKS
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'config' / 'experiments'
FILES = {path.stem: path for path in sorted(FOLDER.glob('*.yaml'))}
SMALL = {
    'title': 'small', 'about': '', 'base': {'steps': 2, 'model': {'preset': 'croco_mini'}},
    'rows': {'croco': {'label': 'CroCo', 'pretrain': {'task': 'croco', 'seed': 7}},
             'wide': {'label': 'wide', 'pretrain': {'task': 'croco'},
                      'both': {'model': {'backbone': {'enc_embed_dim': 96}}}},
             'scratch': {'label': 'from scratch'}},
    'cells': {'flow': {'label': 'flow', 'finetune': {
        'task': 'flow', 'data': {'num_records': 300}}, 'rows': ['croco', 'wide', 'scratch'],
        'fractions': [0.1, 1.0], 'seeds': [1, 2]}}}


def experiment(**changes):
    return from_dict(ExperimentConfig, {**SMALL, **changes}, 'test')


def test_both_sizes_are_there():
    assert set(FILES) == {'pretraining_cpu', 'pretraining_gpu'}


def test_rows_are_pretrained_once_and_seeds_come_in_whole_tables():
    names = [leg.name for leg in legs_of(experiment())]
    tables = [[f'flow/{share}_percent/{row}_{seed}' for row in ('croco', 'wide', 'scratch')]
              for seed in (1, 2) for share in (10, 100)]
    assert names == ['pretrain/croco', 'pretrain/wide', *sum(tables, [])]


def test_one_row_brings_its_pretraining_and_its_cells():
    names = [leg.name for leg in legs_of(experiment(), ['wide'])]
    assert names == ['pretrain/wide', *(f'flow/{share}_percent/wide_{seed}' for seed in (1, 2)
                                        for share in (10, 100))]
    with pytest.raises(ConfigError, match='--only names crocco; known: croco, wide, scratch'):
        legs_of(experiment(), ['crocco'])


def test_rows_of_a_cell_differ_in_their_start_only():
    legs = {leg.name: leg.config for leg in legs_of(experiment())}
    croco, scratch = (legs[f'flow/10_percent/{row}_2'] for row in ('croco', 'scratch'))
    assert croco.model.start_from == 'pretrain/croco' and scratch.model.start_from is None
    assert replace(croco, model=scratch.model) == scratch and croco.seed == 2
    wide = legs['flow/10_percent/wide_2'].model.backbone
    assert wide == legs['pretrain/wide'].model.backbone == {'enc_embed_dim': 96}


def test_the_smaller_share_of_labels_is_part_of_the_larger():
    few, all_ = (leg.config for leg in legs_of(experiment())
                 if leg.row == 'scratch' and leg.config.seed == 1)
    assert (few.data.num_records, all_.data.num_records) == (30, 300)
    assert replace(few.data, num_records=300) == all_.data   # so they lie in one folder
    shown = {count: {index for step in range(-(-2 * count // 8))
                     for index in indices_of_step(1, step, 8, count)} for count in (30, 300)}
    assert shown[30] == set(range(30)) and shown[30] < shown[300] == set(range(300))


@pytest.mark.parametrize('changes, message', [
    ({'rows': {}}, "cell 'flow' names croco, scratch, wide"),
    ({'jobs': 0}, 'jobs must be at least 1, got 0'),
    ({'base': {'steps': 2, 'max_minutes': 3.0}}, 'max_minutes would give each machine another'),
    ({'claims': [{'text': 't', 'better': 'croco', 'than': 'none', 'cells': []}]},
     "claim 't' names none"),
    ({'base': {'steps': 2, 'tasks': 1}}, "unknown key 'tasks'; did you mean 'task'")])
def test_impossible_tables_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        legs_of(experiment(**changes))


def test_held_out_records_of_several_sizes_are_refused():
    rows = {**SMALL['rows'], 'wide': {'label': 'wide', 'pretrain': {
        'task': 'croco', 'data': {'num_validation': 96}}}}
    with pytest.raises(ConfigError, match=r'same data.num_validation, got \[64, 96\]'):
        legs_of(experiment(rows=rows))


@pytest.mark.parametrize('name', FILES)
def test_each_fine_tuning_gets_all_of_the_encoder_that_its_row_has_trained(name):
    legs = legs_of(load_config(ExperimentConfig, FILES[name]))
    shapes = {}
    with torch.device('meta'):
        for leg in {(leg.row, leg.cell): leg for leg in legs}.values():
            model = TASKS[leg.config.task](leg.config).build()
            shapes[leg.row, leg.cell] = {plain_name(key): value.shape
                                         for key, value in model.state_dict().items()}
    for (row, cell), own in shapes.items():
        if cell is not None and (row, None) in shapes:
            trained = shapes[row, None]
            parts = ('encoder.', 'decoder.') if any(
                key.startswith('decoder.') for key in trained) else ('encoder.',)
            wanted = {key for key in own if key.startswith(parts) and 'pos_embed' not in key}
            lost = {key for key in wanted if trained.get(key) != own[key]}
            assert wanted and not lost, (row, cell, sorted(lost)[:3])


@pytest.mark.parametrize('name', FILES)
def test_each_file_has_a_miniature_of_the_same_table(name):
    whole = load_config(ExperimentConfig, FILES[name])
    small = legs_of(smoke_experiment(whole))
    assert [leg.name for leg in small] == [leg.name for leg in legs_of(whole)]
    assert all(leg.config.steps == 2 and leg.config.data.num_records <= 32 for leg in small)
