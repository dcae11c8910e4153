# SPDX-License-Identifier: Apache-2.0
"""Say what every figure of a report means, and print it with its unit."""
from dataclasses import dataclass
import math

from crossview_ros.metrics import Metric


@dataclass(frozen=True)
class Figure:
    """How one figure is called and what it says."""

    label: str
    meaning: str
    percent: bool = False   # a share of 1 that people read in percent


FIGURES = {
    'depth.abs_rel': Figure(
        'Depth error', 'mean |depth - truth| / truth; a missing pixel counts as 100 %', True),
    'depth.sq_rel': Figure('Squared relative depth error', 'mean (depth - truth)^2 / truth'),
    'depth.rmse': Figure(
        'Depth RMSE', 'root of the mean squared error; a missing pixel counts as 100 %'),
    'depth.rmse_log': Figure(
        'Depth RMSE of logarithms', 'root of the mean squared log ratio of the pixels with depth'),
    'depth.delta_1': Figure(
        'Within 25 %', 'share of true pixels whose depth is within a factor of 1.25', True),
    'depth.delta_2': Figure(
        'Within 56 %', 'share of true pixels whose depth is within a factor of 1.25^2', True),
    'depth.delta_3': Figure(
        'Within 95 %', 'share of true pixels whose depth is within a factor of 1.25^3', True),
    'depth.coverage': Figure(
        'Coverage', 'share of the true pixels in range that have a depth', True),
    'depth.valid_share': Figure('Pixels with depth', 'share of all pixels with a depth', True),
    'depth.median': Figure('Median depth', 'median over the pixels with depth'),
    'disparity.epe': Figure(
        'Disparity error', 'mean |disparity - truth|; a missing pixel counts as 20 px'),
    'disparity.epe_constant': Figure(
        'Error of the best constant', 'disparity error if every pixel got the same, best value: '
        'what no skill at all would give'),
    'disparity.bad_1': Figure('Bad 1', 'share of true pixels off by more than 1 px', True),
    'disparity.bad_2': Figure('Bad 2', 'share of true pixels off by more than 2 px', True),
    'disparity.bad_3': Figure('Bad 3', 'share of true pixels off by more than 3 px', True),
    'disparity.d1': Figure(
        'D1', 'share of true pixels off by more than 3 px and more than 5 %', True),
    'disparity.coverage': Figure(
        'Disparity coverage', 'share of the true pixels that have a disparity', True),
    'confidence.mean': Figure(
        'Mean confidence', 'stated probability that the disparity is within 1 px, mean', True),
    'disparity.ause': Figure(
        'AUSE of confidence', 'area between the sparsification curves by confidence and by error: '
        '0 where confidence sorts the pixels as their error does'),
    'disparity.ause_of_chance': Figure(
        'AUSE of chance', 'what a confidence that says nothing would get'),
    'photo.error': Figure(
        'Photometric error', 'mean difference of the left image and the right image moved by the '
        'disparity, of 255 grey levels: low is good, but flat surfaces are low anyway'),
    'photo.unmoved': Figure(
        'Photometric error, unmoved', 'the same pixels with the right image not moved'),
    'lidar.abs_rel': Figure(
        'Depth against LiDAR', 'mean |depth - LiDAR| / LiDAR of the points that have a depth',
        True),
    'lidar.bias': Figure(
        'Depth bias to LiDAR', 'median of depth - LiDAR of the points that have a depth'),
    'lidar.coverage': Figure(
        'LiDAR points with depth', 'share of the LiDAR points in view whose pixel has a depth',
        True),
    'holdout.mae': Figure(
        'Depth error on held-out rings', 'mean |depth - LiDAR| of points that did not go in; a '
        'missing pixel counts as 100 %'),
    'holdout.mae_linear': Figure(
        'Linear interpolation on held-out rings', 'the same of depth interpolated linearly in the '
        'image plane between the points that went in, nearest outside of their hull'),
    'holdout.abs_rel': Figure(
        'Relative error on held-out rings', 'mean |depth - LiDAR| / LiDAR of points that did not '
        'go in; a missing pixel counts as 100 %', True),
    'holdout.abs_rel_linear': Figure(
        'Linear interpolation, relative', 'the same of linear interpolation', True),
    'holdout.coverage': Figure(
        'Held-out points with depth', 'share of the points that did not go in whose pixel has a '
        'depth', True),
    'holdout.coverage_linear': Figure(
        'Linear interpolation, coverage', 'the same of linear interpolation', True),
    'lidar.ause': Figure(
        'AUSE of confidence against LiDAR', 'area between the sparsification curves by confidence '
        'and by error of the inverse depth: 0 where both sort alike'),
    'lidar.ause_of_chance': Figure(
        'AUSE of chance against LiDAR', 'what a confidence that says nothing would get'),
    'flow.epe': Figure(
        'Flow error', 'mean |flow - truth|, also of pixels that are hidden in the second image; a '
        'missing pixel counts as 20 px'),
    'flow.epe_visible': Figure(
        'Flow error, visible', 'the same over the pixels that are seen in both images'),
    'flow.epe_zero': Figure(
        'Error of no motion', 'flow error if every pixel stayed where it is: what no skill at all '
        'would give'),
    'flow.fl_all': Figure(
        'Flow outliers', 'Fl: share of true pixels off by more than 3 px and more than 5 %', True),
    'flow.coverage': Figure(
        'Flow coverage', 'share of the true pixels that have a flow', True),
    'flow.valid_share': Figure('Pixels with flow', 'share of all pixels with a flow', True),
    'flow.median': Figure('Median motion', 'median length of the flow'),
    'flow.confidence': Figure(
        'Mean flow confidence', 'stated probability that the flow is within 1 px, mean', True),
    'flow.ause': Figure(
        'AUSE of flow confidence', 'area between the sparsification curves by confidence and by '
        'error: 0 where both sort alike'),
    'flow.ause_of_chance': Figure(
        'AUSE of chance, flow', 'what a confidence that says nothing would get'),
    'flow.photo': Figure(
        'Photometric flow error', 'mean difference of an image and the next one moved back by the '
        'flow, of 255 grey levels: low is good, but flat surfaces are low anyway'),
    'flow.photo_unmoved': Figure(
        'Photometric flow error, unmoved', 'the same pixels with the next image not moved'),
    'odometry.drift_percent': Figure(
        'Odometry drift', 'distance of the last positions after the first poses are put on each '
        'other, of the true path'),
    'odometry.t_err': Figure(
        'KITTI t_err', 'mean position error of all sub-paths of 100 to 800 m, of their length'),
    'odometry.r_err': Figure(
        'KITTI r_err', 'mean rotation error of all sub-paths of 100 to 800 m, per metre'),
    'odometry.ape': Figure(
        'Position error, fitted', 'rms distance of the positions after a rigid fit (APE)'),
    'odometry.rpe': Figure(
        'Step error', 'rms error of the motion from one pose to the next (RPE)'),
    'odometry.rpe_angle': Figure(
        'Step error, rotation', 'rms error of the rotation from one pose to the next (RPE)'),
    'odometry.scale': Figure(
        'Scale', 'estimated over true displacement, median over eighths of the path'),
    'odometry.scale_drift': Figure(
        'Scale drift', 'how the scale changes with time, by a line through its logarithm'),
    'odometry.step_error': Figure('Error of a step', 'position error of the step to this frame'),
    'odometry.step_turn': Figure('Turn of a step', 'rotation error of the step to this frame'),
    **{f'odometry.drift_{length}m': Figure(
        f'Drift over {length} m', f'position error of the {length} m from this frame on, of them')
       for length in (5, 10, 20)},
    'odometry.true_path': Figure('True path', 'length of the way that the camera went'),
    'odometry.path': Figure('Estimated path', 'length of the way by odometry'),
    'odometry.away': Figure(
        'Farthest from the start', 'largest distance of a position by odometry to the first'),
    'odometry.turn': Figure(
        'Largest turn', 'largest angle of an orientation by odometry to the first'),
}


def describe(name: str) -> Figure:
    """Return label and meaning; an unknown name describes itself."""
    return FIGURES.get(name, Figure(name, ''))


def position(name: str) -> int:
    """Return the place of a figure in a table: as listed here, unknown ones last."""
    names = list(FIGURES)
    return names.index(name) if name in FIGURES else len(names)


def number_and_unit(name: str, metric: Metric) -> tuple[str, str]:
    """Return a figure as people read it: three significant digits, shares in percent."""
    if describe(name).percent and metric.unit != '%':
        return f'{100.0 * metric.value:.1f}', '%'
    return significant(metric.value), '' if metric.unit == '-' else metric.unit


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits and without an exponent."""
    if not math.isfinite(value):
        return '-'
    if value == 0:
        return '0'
    rounded = float(f'{value:.{digits - 1}e}')   # 9.996 has the decimals of 10.0
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f'{value:.{min(6, max(0, decimals))}f}'
