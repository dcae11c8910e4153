# SPDX-License-Identifier: Apache-2.0
"""Promises of the point operations: the reference's indices, slow loops, and odd clouds."""
import math

from crossview_ros.networks.point_ops import (
    ball_query, farthest_features, farthest_points, gather_points, interpolate_features,
    interpolation_weights, relative_positions, squared_distances, three_nearest)
import numpy as np
import pytest
import simipu_golden as golden
import torch

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]


@pytest.fixture
def data(shared_dir):
    return golden.load(shared_dir, 'e_pointops')


def random_cloud(count, batch=2, seed=0):
    """Return points on a grid of 1/64 m: squared distances are exact in float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-64, 64, (batch, count, 3), generator=generator) / 64


def farthest_oracle(points, count, start):
    """Pick one by one, with all distances anew each time."""
    picked = [start]
    while len(picked) < count:
        distances = [min(sum((a - b) ** 2 for a, b in zip(point, points[i])) for i in picked)
                     for point in points]
        picked.append(distances.index(max(distances)))
    return picked


def ball_oracle(points, center, inner, outer, count):
    """Scan points by index (simipu.md 2.1)."""
    slots, found = [0] * count, 0
    for i, point in enumerate(points):
        squared = sum((a - b) ** 2 for a, b in zip(point, center))
        if squared == 0 or inner ** 2 <= squared < outer ** 2:
            if found == 0:
                slots = [i] * count
            slots[found] = i
            found += 1
            if found == count:
                break
    return slots


@pytest.mark.parametrize('device', DEVICES)
def test_samples_are_those_of_the_reference(data, device):
    xyz, feat = (golden.tensor(data, name).to(device) for name in ('xyz', 'feat'))
    count = data['dfps'].shape[1]
    by_distance, by_feature = farthest_points(xyz, count), farthest_features(xyz, feat, count)
    np.testing.assert_array_equal(by_distance.cpu(), data['dfps'])
    np.testing.assert_array_equal(by_feature.cpu(), data['ffps'])
    joined = torch.cat((by_feature[:, :count // 2], by_distance[:, :count // 2]), 1)
    np.testing.assert_array_equal(joined.cpu(), data['fs'])


@pytest.mark.parametrize('name, split, counts', [('mixed', 64, (20, 24)),
                                                 ('mixed_degenerate', 32, (32, 16))])
def test_samples_of_ranges_are_those_of_the_reference(data, name, split, counts):
    xyz, feat = golden.tensor(data, 'xyz'), golden.tensor(data, 'feat')
    first = farthest_features(xyz[:, :split], feat[..., :split], counts[0])
    rest = farthest_points(xyz[:, split:], counts[1]) + split
    np.testing.assert_array_equal(torch.cat((first, rest), 1), data[name])


def test_feature_distances_are_those_of_the_reference(data):
    xyz, feat = golden.tensor(data, 'xyz'), golden.tensor(data, 'feat')
    pairs = squared_distances(torch.cat((xyz, feat.transpose(1, 2)), 2))
    np.testing.assert_allclose(pairs[:, 0], data['ffps_sqdist_row0'], atol=1e-4)


def test_ties_differ_from_the_reference_only_by_its_order_of_points(data):
    # simipu.md 2.2: among equals the smallest bit-reversed (index mod block), then index, wins
    xyz = golden.tensor(data, 'ties_xyz')
    block = 2 ** min(10, int(math.log2(xyz.shape[1])))
    bits = block.bit_length() - 1
    order = sorted(range(xyz.shape[1]),
                   key=lambda i: (int(f'{i % block:0{bits}b}'[::-1], 2), i))
    picked = farthest_points(xyz[:, order], data['ties_dfps'].shape[1])
    np.testing.assert_array_equal(torch.tensor(order)[picked], data['ties_dfps'])


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('ring', ['ball0', 'ball1', 'ball2', 'ball_far'])
def test_rings_are_those_of_the_reference(data, ring, device):
    inner, outer, count = (0.0, 0.4, 8) if ring == 'ball_far' else data[f'{ring}_params']
    centers = golden.tensor(data, 'ball_far_centers' if ring == 'ball_far' else 'centers')
    index = ball_query(golden.tensor(data, 'xyz').to(device), centers.to(device), float(inner),
                       float(outer), int(count))
    np.testing.assert_array_equal(index.cpu(), data[f'{ring}_idx'])


def test_groups_are_those_of_the_reference(data):
    xyz, feat, centers = (golden.tensor(data, name) for name in ('xyz', 'feat', 'centers'))
    ring = ball_query(xyz, centers, 0.4, 0.8, 12)
    np.testing.assert_array_equal(gather_points(feat, ring), data['group_feat_only'])
    ball = ball_query(xyz, centers, 0.0, 0.8, 12)
    offset, values = relative_positions(xyz, centers, ball), gather_points(feat, ball)
    np.testing.assert_allclose(torch.cat((offset, values), 1), data['group_use_xyz'], atol=1e-6)
    np.testing.assert_allclose(torch.cat((offset / 0.8, values), 1), data['group_use_xyz_norm'],
                               atol=1e-6)


@pytest.mark.parametrize('device', DEVICES)
def test_interpolation_is_that_of_the_reference(data, device):
    unknown, known, feat = (golden.tensor(data, name).to(device)
                            for name in ('unknown', 'centers', 'known_feat'))
    distance, index = three_nearest(unknown, known)
    np.testing.assert_array_equal(index.cpu(), data['nn3_idx'])
    np.testing.assert_allclose(distance.cpu(), data['nn3_dist'], atol=1e-5)
    np.testing.assert_allclose(interpolation_weights(distance).cpu(), data['nn3_weight'],
                               atol=1e-5)
    np.testing.assert_allclose(interpolate_features(unknown, known, feat).cpu(), data['interp'],
                               atol=1e-5)


@pytest.mark.parametrize('start', [0, 7])
def test_farthest_points_are_those_of_a_slow_loop(start):
    xyz = random_cloud(40)
    expected = [farthest_oracle(cloud, 15, start) for cloud in xyz.tolist()]
    assert farthest_points(xyz, 15, start).tolist() == expected


def test_farthest_features_are_those_of_a_slow_loop():
    xyz, feat = random_cloud(40), random_cloud(40, seed=1).transpose(1, 2)
    joined = torch.cat((xyz, feat.transpose(1, 2)), 2)
    expected = [farthest_oracle(cloud, 15, 3) for cloud in joined.tolist()]
    assert farthest_features(xyz, feat, 15, 3).tolist() == expected


@pytest.mark.parametrize('inner, outer', [(0.0, 0.5), (0.5, 1.0), (0.25, 0.375)])
def test_rings_are_those_of_a_slow_loop(inner, outer):
    # radii and coordinates are multiples of 1/64 m, so points lie exactly on the borders
    xyz = random_cloud(300)
    centers = torch.cat((xyz[:, :20], random_cloud(20, seed=1) + 0.5), 1)
    expected = [[ball_oracle(points, center, inner, outer, 6) for center in ring_centers]
                for points, ring_centers in zip(xyz.tolist(), centers.tolist())]
    assert ball_query(xyz, centers, inner, outer, 6).tolist() == expected


def test_rings_do_not_depend_on_how_the_work_is_cut(monkeypatch):
    xyz, centers = random_cloud(300), random_cloud(50, seed=1)
    whole = ball_query(xyz, centers, 0.25, 0.5, 8), three_nearest(centers, xyz)[1]
    monkeypatch.setattr('crossview_ros.networks.point_ops._MAX_PAIRS', {'cpu': 1800})
    assert torch.equal(ball_query(xyz, centers, 0.25, 0.5, 8), whole[0])
    assert torch.equal(three_nearest(centers, xyz)[1], whole[1])


def test_three_nearest_are_those_of_a_slow_loop():
    generator = torch.Generator().manual_seed(0)   # not on a grid: no ties
    known, unknown = (torch.randn(2, count, 3, generator=generator) for count in (30, 20))
    distance, index = three_nearest(unknown, known)
    for cloud in range(2):
        for point in range(20):
            lengths = [math.dist(unknown[cloud, point].tolist(), other)
                       for other in known[cloud].tolist()]
            expected = sorted(range(30), key=lengths.__getitem__)[:3]
            assert index[cloud, point].tolist() == expected
            np.testing.assert_allclose(distance[cloud, point],
                                       [lengths[i] for i in expected], rtol=1e-5)


def test_a_known_point_keeps_its_feature():
    known, feat = random_cloud(20, seed=3), torch.randn(2, 4, 20)
    # its weight is 1e8 against some 1e2 of the next ones
    np.testing.assert_allclose(interpolate_features(known, known, feat), feat, atol=1e-4)


@pytest.mark.parametrize('device', DEVICES)
def test_samples_are_the_same_each_time(device):
    xyz = random_cloud(500, seed=4).to(device)
    assert torch.equal(farthest_points(xyz, 100), farthest_points(xyz, 100))


def test_each_cloud_of_a_batch_is_sampled_as_if_alone():
    xyz = random_cloud(100, batch=3)
    together = farthest_points(xyz, 20)
    for cloud, picked in zip(xyz, together):
        assert torch.equal(farthest_points(cloud[None], 20)[0], picked)


def test_all_points_are_picked_once_before_any_repeats():
    xyz = torch.randn(1, 12, 3)
    picked = farthest_points(xyz, 20)[0].tolist()
    assert sorted(picked[:12]) == list(range(12))
    assert picked[12:] == [0] * 8   # all are at distance zero: the lowest index


def test_of_duplicates_only_one_is_picked_while_others_are_left():
    xyz = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 2, 0]]])
    assert farthest_points(xyz, 3)[0].tolist() == [0, 4, 2]


def test_an_empty_ring_gives_the_first_point():
    xyz = random_cloud(10)
    assert not ball_query(xyz, xyz[:, :2] + 100, 0.0, 0.5, 4).any()


def test_no_gradient_runs_through_the_choice_of_points():
    feat = torch.randn(2, 3, 30, requires_grad=True)
    xyz = random_cloud(30)
    picked = farthest_features(xyz, feat, 5)
    assert not picked.requires_grad
    gather_points(feat, picked).sum().backward()
    assert feat.grad.sum() == 2 * 3 * 5


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_points_that_are_not_finite_are_refused(bad):
    xyz, good = random_cloud(10), random_cloud(10)
    xyz[1, 3, 2] = bad
    for call in (lambda: farthest_points(xyz, 2), lambda: ball_query(xyz, good, 0, 1, 2),
                 lambda: ball_query(good, xyz, 0, 1, 2), lambda: three_nearest(xyz, good),
                 lambda: farthest_features(good, xyz.transpose(1, 2), 2)):
        with pytest.raises(ValueError, match='not finite'):
            call()


def test_impossible_requests_are_refused():
    xyz = random_cloud(10)
    with pytest.raises(ValueError, match='start'):
        farthest_points(xyz, 3, 10)
    with pytest.raises(ValueError, match='at least one sample'):
        farthest_points(xyz, 0)
    with pytest.raises(ValueError, match='at least one point'):
        farthest_points(xyz[:, :0], 3)
    with pytest.raises(ValueError, match='min_radius'):
        ball_query(xyz, xyz, 0.5, 0.5, 3)
    with pytest.raises(ValueError, match='at least 3 known'):
        three_nearest(xyz, xyz[:, :2])
