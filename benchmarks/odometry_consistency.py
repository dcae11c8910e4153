# SPDX-License-Identifier: Apache-2.0
"""
Compare the odometry's errors with the covariance that it claims, on rendered tracks.

    python benchmarks/odometry_consistency.py [--model crossview_tiny] [--tracks 50] [--seed 300]

Each track is another hall, camera, speed and turn (textures held out from training), seen by the
network. NEES, the squared error in units of the claimed covariance, is 6 in the mean where the
covariance is honest; the band holds 95 % of such means. The odometry's constants were fitted on
seeds 100 to 129 and 200 to 249; any others are new to it.
"""
import argparse
from pathlib import Path

import numpy as np

CACHE = Path('cache/odometry_tracks')
NUM_FRAMES = 20
CHECKED = (5, 10, 20)   # NEES after so many frames


def main() -> None:
    """Render what is not there yet, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--model', default='crossview_tiny', help='name or folder')
    parser.add_argument('--tracks', type=int, default=50)
    parser.add_argument('--seed', type=int, default=300, help='of the first track')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--render-only', action='store_true', help='fill the cache')
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    seeds = range(args.seed, args.seed + args.tracks)
    tracks = (load_track(seed) for seed in seeds)
    if args.render_only:
        for track in tracks:
            print(f'{track["rig"].left.fx:6.1f} px  {track["path_m"]:6.2f} m', flush=True)
        return
    from crossview_ros.runtime.perception import Perception
    # the rendered cameras have exactly the calibration that they tell
    with Perception.open(args.model, num_threads=args.threads, calibration_error=0.0,
                         refine_flow=False) as perception:
        answers = [follow(perception, track) for track in tracks]
    report(answers)


def track_config(seed: int):
    """Choose the camera and the ride of a track."""
    from crossview_ros.data.synthetic.drive import DriveConfig
    rng = np.random.default_rng((seed, 20))
    return DriveConfig(
        num_frames=NUM_FRAMES + 1, focal_px=rng.uniform(200, 330),
        baseline=rng.uniform(0.1, 0.3), mean_speed=np.exp(rng.uniform(*np.log((0.2, 4.0)))),
        turn=rng.uniform(-0.8, 0.8), num_boxes=14, num_ellipsoids=5, num_cylinders=9,
        num_moving=int(rng.integers(0, 4)))


def load_track(seed: int) -> dict:
    """Return images, poses, stamps and rig of a track; render it unless it is in the cache."""
    from crossview_ros.data.synthetic.drive import plan_drive
    config, path = track_config(seed), CACHE / f'{seed}.npz'
    if not path.is_file():
        frames = list(plan_drive(config, seed).stereo_frames())
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix('.part.npz')
        np.savez_compressed(part, **{
            name: np.stack([getattr(frame, name) for frame in frames])
            for name in ('left', 'right', 'T_odom_left', 'time_s')})
        part.rename(path)
    with np.load(path) as file:
        track = dict(file)
    steps = np.diff(track['T_odom_left'][:, :3, 3], axis=0)
    return {**track, 'rig': config.rig, 'path_m': np.linalg.norm(steps, axis=1).sum()}


def follow(perception, track: dict) -> dict[str, np.ndarray | float]:
    """Return the errors (N, 6) of the poses of a track, their covariances, and what was lost."""
    from crossview_ros.geometry.se3 import invert, log_se3
    perception.reset()
    start, errors, covariances = track['T_odom_left'][0], [], []
    for left, right, T, time_s in zip(track['left'], track['right'], track['T_odom_left'],
                                      track['time_s']):
        result = perception.process(left, right, track['rig'], 1 + round(1e9 * time_s))
        if time_s == 0:
            continue
        known = result.T_odom_camera is not None
        errors.append(log_se3(invert(result.T_odom_camera) @ invert(start) @ T)
                      if known else np.full(6, np.nan))
        covariances.append(result.covariance if known else np.full((6, 6), np.nan))
    return {'errors': np.array(errors), 'covariances': np.array(covariances),
            'path_m': track['path_m']}


def report(answers: list[dict]) -> None:
    """Print NEES, errors in units of sigma, drift, and what was lost."""
    from scipy.stats import chi2
    errors = np.stack([answer['errors'] for answer in answers])
    covariances = np.stack([answer['covariances'] for answer in answers])
    paths_m = np.array([answer['path_m'] for answer in answers])
    lost = np.isnan(errors[..., 0])
    print(f'{len(answers)} tracks of {errors.shape[1]} steps, {paths_m.sum():.0f} m; '
          f'{lost.sum()} of {lost.size} steps without a pose')
    print(f'{"after frame":<14}{"tracks":>8}{"NEES":>8}{"median":>8}{"95 % band":>16}'
          f'{"x":>8}{"y":>6}{"z":>6}{"rx":>6}{"ry":>6}{"rz":>6}   rms of error / sigma')
    for frame in CHECKED:
        e, c = errors[:, frame - 1], covariances[:, frame - 1]
        e, c = e[~lost[:, frame - 1]], c[~lost[:, frame - 1]]
        nees = np.einsum('ni,nij,nj->n', e, np.linalg.inv(c), e)
        band = chi2.ppf((0.025, 0.975), 6 * len(e)) / len(e)
        z = np.sqrt((e ** 2 / np.diagonal(c, axis1=1, axis2=2)).mean(0))
        print(f'{frame:<14}{len(e):8}{nees.mean():8.2f}{np.median(nees):8.2f}'
              f'{band[0]:9.2f} ..{band[1]:5.2f}{"":2}' + ''.join(f'{v:6.2f}' for v in z))
    end = np.linalg.norm(errors[:, -1, :3], axis=1)
    known = ~lost[:, -1]
    print(f'drift {100 * end[known].sum() / paths_m[known].sum():.2f} % of the path; worst tracks '
          + ', '.join(f'{100 * end[i] / paths_m[i]:.1f} %'
                      for i in np.argsort(-np.nan_to_num(end / paths_m))[:5]))


if __name__ == '__main__':
    main()
