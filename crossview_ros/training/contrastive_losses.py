# SPDX-License-Identifier: Apache-2.0
"""Losses of SimIPU: which points correspond, and how alike their features are (simipu.md 6, 7)."""
from crossview_ros.networks.simipu import Projections
import numpy as np
import torch
from torch import nn, Tensor

TEMPERATURE = 0.07


def simipu_losses(output: Projections, temperature: float = TEMPERATURE,
                  in_frame: bool = False) -> dict[str, Tensor]:
    """
    Compute both losses of one batch.

    :param in_frame: Ours: an image feature is compared with the points of its own frame only,
        which are harder to tell apart than those of other frames.
    :return: ``intra`` (points with points) and ``inter`` (image with points), scalars, and the
        detached ``*_percent``: how often the true row is among the best 1 and 5 (intra), or
        among the best 10 and 50 % (inter; the official log calls them top 1 and top 5).
    """
    rows = _rows_of_matches(match_points(output.xyz, output.view_xyz))
    intra_logits = contrastive_logits(output.intra_query, output.intra_key[rows], temperature,
                                      output.queue)
    rows_of_inter = output.inter_query, output.inter_key
    if in_frame:
        rows_of_inter = (side.unflatten(0, output.xyz.shape[:2]) for side in rows_of_inter)
    inter_logits = contrastive_logits(*rows_of_inter, temperature)
    count = inter_logits.shape[-1]
    if output.predicted is None:
        inter = diagonal_loss(inter_logits)
    else:
        inter = crosswise_loss((output.inter_query, output.inter_key), output.predicted)
    return {'intra': diagonal_loss(intra_logits), 'inter': inter,
            'intra_top1_percent': diagonal_accuracy(intra_logits, 1),
            'intra_top5_percent': diagonal_accuracy(intra_logits, min(5, len(rows))),
            'inter_top10th_percent': diagonal_accuracy(inter_logits, max(1, count // 10)),
            'inter_top_half_percent': diagonal_accuracy(inter_logits, max(1, count // 2))}


def match_points(xyz: Tensor, view_xyz: Tensor) -> Tensor:
    """
    Pair the points of two clouds one to one, with the least sum of distances.

    No pair is too far: each point gets a partner. Runs on the CPU (Hungarian method).

    :param xyz: (B, N, 3) [m].
    :param view_xyz: (B, N, 3) [m], in the same frame.
    :return: (B, N) int64: the partner of each point of ``xyz``, on its device.
    :raises ValueError: If the shapes differ.

    Source: simipu.md 6.
    """
    from scipy.optimize import linear_sum_assignment
    if xyz.shape != view_xyz.shape:
        raise ValueError(f'clouds to match must be of one shape, got {tuple(xyz.shape)} and '
                         f'{tuple(view_xyz.shape)}')
    first, second = (cloud.detach().double() for cloud in (xyz, view_xyz))
    # by coordinate: near-equal points have exact distances
    distance = torch.cdist(first, second, compute_mode='donot_use_mm_for_euclid_dist')
    columns = np.stack([linear_sum_assignment(cost)[1] for cost in distance.cpu().numpy()])
    return torch.from_numpy(columns).to(xyz.device)


def contrastive_logits(query: Tensor, key: Tensor, temperature: float = TEMPERATURE,
                       negatives: Tensor | None = None) -> Tensor:
    """
    Compare each query with each key, and with further negatives.

    :param query: (..., M, D).
    :param key: (..., M, D); row i belongs to query i. Detach it where no gradient shall pass.
    :param negatives: (K, D), of (M, D) queries.
    :return: (..., M, M [+ K]) cosines over temperature; the true ones lie on the diagonal.
    """
    with torch.autocast(query.device.type, enabled=False):
        keys = key.float() if negatives is None else torch.cat((key.float(), negatives.float()))
        return (nn.functional.normalize(query.float(), dim=-1) / temperature) \
            @ nn.functional.normalize(keys, dim=-1).transpose(-1, -2)


def diagonal_loss(logits: Tensor) -> Tensor:
    """
    Return the mean cross entropy whose true class is the row's own number (InfoNCE).

    :param logits: (..., M, M or more).

    Source: simipu.md 7; van den Oord et al., Contrastive Predictive Coding, 2018, eq. 4.
    """
    own = torch.arange(logits.shape[-2], device=logits.device).expand(logits.shape[:-1])
    return nn.functional.cross_entropy(logits.flatten(0, -2), own.flatten())


@torch.no_grad()
def diagonal_accuracy(logits: Tensor, count: int) -> Tensor:
    """Return how often [%] fewer than ``count`` logits of a row exceed that of its true class."""
    own = logits.diagonal(dim1=-2, dim2=-1)[..., None]
    better = (logits > own).float()   # faster to add up than bool
    return 100 * (better.sum(-1) < count).float().mean()


def crosswise_loss(projected: tuple[Tensor, Tensor],
                   predicted: tuple[Tensor, Tensor]) -> Tensor:
    """
    Return the mean negative cosine of each projection to the other one's prediction.

    :param projected: (M, D) each, of image and points.
    :param predicted: (M, D) each, of image and points, without gradient.

    Source: simipu.md 9, "SimSiam-style inter loss".
    """
    cosine = nn.functional.cosine_similarity
    (image, points), (image_prediction, points_prediction) = projected, predicted
    return -0.5 * (cosine(image, points_prediction).mean()
                   + cosine(points, image_prediction).mean())


def _rows_of_matches(match: Tensor) -> Tensor:
    batch, count = match.shape
    first = torch.arange(batch, device=match.device)[:, None] * count
    return (first + match).flatten()
