# SPDX-License-Identifier: Apache-2.0
"""Scores of image-to-point matches against a slow count, and beside chance."""
from types import SimpleNamespace

from crossview_ros.training.contrastive_scores import (
    find_matches, match_metrics, match_sums, Matches)
import numpy as np
import pytest
import torch

FOCAL_PX = 50.0


def output_of(xyz, query, key):
    """Return the projections of features (B, N, D)."""
    return SimpleNamespace(xyz=xyz, inter_query=query.flatten(0, 1),
                           inter_key=key.flatten(0, 1))


def random_case(seed, frames=2, count=40, width=6):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand((frames, count, 3), generator=generator) * 4 + torch.tensor([6.0, -2, -2])
    query, key = (torch.randn((frames, count, width), generator=generator) for _ in range(2))
    camera = torch.tensor([[60, -FOCAL_PX, 0, 0], [40, 0, -FOCAL_PX, 0], [1, 0, 0, 0]])
    batch = {'lidar_to_image': camera.float().expand(frames, -1, -1),
             'image_transform': torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]]).expand(frames, -1, -1)}
    return xyz, query, key, batch


def test_scores_are_those_of_a_slow_count():
    xyz, query, key, batch = random_case(0)
    sums = match_sums(find_matches(output_of(xyz, query, key), batch), cell_px=4.0)
    tenth = near = chance = 0
    for frame in range(2):
        u = 0.5 * (60 - FOCAL_PX * xyz[frame, :, 1] / xyz[frame, :, 0])
        v = 0.5 * (40 - FOCAL_PX * xyz[frame, :, 2] / xyz[frame, :, 0])
        for i in range(40):
            likeness = np.array([float(torch.cosine_similarity(query[frame, i], key[frame, j], 0))
                                 for j in range(40)])
            tenth += (likeness > likeness[i]).sum() < 4
            away = torch.hypot(u - u[i], v - v[i])
            near += bool(away[likeness.argmax()] <= 8.0)
            chance += float((away <= 8.0).float().mean())
    metrics = match_metrics(sums)
    assert metrics == {
        'inter_top10th_percent': pytest.approx(100 * tenth / 80),
        'inter_top10th_chance_percent': pytest.approx(10.0),
        'match_within_2_cells_percent': pytest.approx(100 * near / 80),
        'match_within_2_cells_chance_percent': pytest.approx(100 * chance / 80)}


def test_features_that_agree_find_every_point_and_random_ones_what_chance_gives():
    xyz, query, _, batch = random_case(1, frames=4, count=400, width=16)
    metrics = match_metrics(match_sums(find_matches(output_of(xyz, query, query), batch), 4.0))
    assert metrics['inter_top10th_percent'] == metrics['match_within_2_cells_percent'] == 100
    key = torch.randn(query.shape, generator=torch.Generator().manual_seed(9))
    metrics = match_metrics(match_sums(find_matches(output_of(xyz, query, key), batch), 4.0))
    for name in ('inter_top10th', 'match_within_2_cells'):   # 1,600 trials: 4 sigma is 4 %
        assert metrics[f'{name}_percent'] == pytest.approx(
            metrics[f'{name}_chance_percent'], abs=4)


def test_points_that_the_camera_does_not_see_are_no_queries():
    xyz, query, key, batch = random_case(2, frames=1)
    depth = torch.full((1, 80, 120), 7.9)   # a wall: what lies more than 5 % behind is hidden
    matches = find_matches(output_of(xyz, query, key), {**batch, 'depth': depth})
    assert torch.equal(matches.seen[0], xyz[0, :, 0] <= 1.05 * 7.9)
    assert 0 < int(matches.seen.sum()) < 40
    everything = find_matches(output_of(xyz, query, key), batch)
    assert bool(everything.seen.all())
    assert match_sums(matches, 4.0)['queries'] == int(matches.seen.sum())


def test_sums_add_up_over_batches():
    matches = find_matches(output_of(*random_case(3)[:3]), random_case(3)[3])
    halves = [Matches(*(value[i:i + 1] for value in matches)) for i in range(2)]
    whole, (a, b) = match_sums(matches, 4.0), (match_sums(half, 4.0) for half in halves)
    assert whole == pytest.approx({name: a[name] + b[name] for name in a})
