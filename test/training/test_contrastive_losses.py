# SPDX-License-Identifier: Apache-2.0
"""Promises of SimIPU's losses: the reference's numbers, gradients and pairs, and slow oracles."""
from itertools import permutations
import math

from crossview_ros.networks.simipu import Projections
from crossview_ros.training.contrastive_losses import (
    contrastive_logits, crosswise_loss, diagonal_accuracy, diagonal_loss, match_points,
    simipu_losses)
import numpy as np
import pytest
import simipu_golden as golden
import torch


def projections(generator, batch=2, count=6, **changes):
    """Return unrelated rows; the second cloud is the first one in another order."""
    xyz = torch.randn(batch, count, 3, generator=generator)
    rows = [torch.randn(batch * count, 5, generator=generator) for _ in range(4)]
    fields = {'features': torch.zeros(batch, 4, count), 'xyz': xyz, 'view_xyz': xyz.flip(1),
              **dict(zip(('intra_query', 'intra_key', 'inter_query', 'inter_key'), rows))}
    return Projections(**{**fields, **changes})


def test_pairs_are_those_of_the_reference(shared_dir):
    for case in golden.cases(golden.load(shared_dir, 'd_matching')):
        first, second = case['xyz_a'], case['xyz_b']
        match = match_points(torch.from_numpy(first)[None], torch.from_numpy(second)[None])[0]
        np.testing.assert_array_equal(match[case['row']], case['col'])
        distance = np.linalg.norm(first.astype(np.float64) - second[match], axis=1)
        assert distance.sum() == pytest.approx(float(case['total_cost']), abs=1e-6)


def test_loss_gradient_and_accuracy_are_those_of_the_reference(shared_dir):
    for case in golden.cases(golden.load(shared_dir, 'b_infonce_embedding')):
        query = torch.from_numpy(case['query']).requires_grad_()
        logits = contrastive_logits(query, torch.from_numpy(case['key']), float(case['T']))
        loss = diagonal_loss(logits)
        loss.backward()
        # README: losses 1e-4
        assert float(loss.detach()) == pytest.approx(float(case['loss']), abs=1e-4)
        reference = case['grad_query']
        np.testing.assert_allclose(query.grad, reference, atol=2e-3 * np.abs(reference).max())
        for name, count in (('top1', 1), ('top5', 5), ('top10pct', len(query) // 10),
                            ('top50pct', len(query) // 2)):
            assert float(diagonal_accuracy(logits, count)) \
                == pytest.approx(float(case[f'acc_{name}'][0]), abs=1e-4)
        if case['logits_over_T'].size:   # stored for the small case only
            np.testing.assert_allclose(logits.detach(), case['logits_over_T'], atol=1e-4)


def test_pairs_have_the_least_total_distance_of_all_permutations():
    first, second = torch.randn(2, 6, 3), torch.randn(2, 6, 3)
    match = match_points(first, second)
    for a, b, chosen in zip(first.tolist(), second.tolist(), match.tolist()):
        def total(order):
            return sum(math.dist(point, b[j]) for point, j in zip(a, order))
        assert tuple(chosen) == min(permutations(range(6)), key=total)


def test_clouds_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match='one shape'):
        match_points(torch.zeros(1, 5, 3), torch.zeros(1, 6, 3))


def test_keys_follow_the_pairs_of_their_own_sample():
    generator = torch.Generator().manual_seed(0)
    # the second cloud is the first one reversed, so each sample's keys are reversed
    output = projections(generator)
    order = torch.tensor([5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6])
    expected = diagonal_loss(contrastive_logits(output.intra_query, output.intra_key[order]))
    assert float(simipu_losses(output)['intra']) == pytest.approx(float(expected), abs=1e-6)


def test_alike_rows_cost_nothing_and_equal_rows_cost_the_logarithm_of_their_number():
    rows = torch.eye(8)
    # exp(-1 / 0.07) is 6e-7: seven of them beside 1
    assert float(diagonal_loss(contrastive_logits(rows, rows))) == pytest.approx(0, abs=1e-5)
    same = torch.ones(8, 4)
    assert float(diagonal_loss(contrastive_logits(same, same))) \
        == pytest.approx(math.log(8), abs=1e-5)
    assert float(diagonal_loss(contrastive_logits(same, same, negatives=torch.ones(8, 4)))) \
        == pytest.approx(math.log(16), abs=1e-5)


def test_the_loss_does_not_see_the_length_of_a_row():
    query, key = torch.randn(6, 4), torch.randn(6, 4)
    scaled = contrastive_logits(query * 3, key * 0.1)
    torch.testing.assert_close(scaled, contrastive_logits(query, key), atol=1e-4, rtol=0)


def test_accuracies_count_ranks():
    logits = torch.tensor([[3.0, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0]])
    # the true class is best, second, third, last
    assert [float(diagonal_accuracy(logits, count)) for count in (1, 2, 4)] == [25, 50, 100]


def test_crosswise_loss_is_the_mean_negative_cosine():
    image, points = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 2]])
    predictions = torch.tensor([[0.0, 3]]), torch.tensor([[-1.0, 0]])
    # cos(image, prediction of points) = -1, cos(points, prediction of image) = 1
    assert float(crosswise_loss((image, points), predictions)) == pytest.approx(0)
    assert float(crosswise_loss((image, points), (predictions[0], image))) == pytest.approx(-1)


def test_predictions_replace_the_inter_modal_loss():
    rows = torch.randn(12, 5)
    output = projections(torch.Generator().manual_seed(0), inter_query=rows, inter_key=rows,
                         predicted=(rows, rows))
    assert float(simipu_losses(output)['inter']) == pytest.approx(-1, abs=1e-6)


def test_negatives_of_the_own_frame_are_those_of_each_frame_alone():
    generator = torch.Generator().manual_seed(5)
    xyz, view_xyz = (torch.rand((2, 12, 3), generator=generator) for _ in range(2))
    rows = [torch.randn((24, 6), generator=generator) for _ in range(4)]
    output = Projections(torch.zeros(2, 6, 12), xyz, view_xyz, *rows)
    terms = simipu_losses(output, in_frame=True)
    alone = [simipu_losses(Projections(torch.zeros(1, 6, 12), xyz[i:i + 1], view_xyz[i:i + 1],
                                       *(row[12 * i:12 * i + 12] for row in rows)))
             for i in range(2)]
    for name in ('inter', 'inter_top10th_percent', 'inter_top_half_percent'):
        assert float(terms[name]) == pytest.approx(
            float(sum(part[name] for part in alone)) / 2, abs=1e-5)
    whole = simipu_losses(output)
    assert float(whole['inter']) > float(terms['inter'])
    assert float(whole['intra']) == float(terms['intra'])   # as before
