# SPDX-License-Identifier: Apache-2.0
"""Procedural texture images: noise, dead leaves, bricks, stripes, text and near-plain surfaces."""
import cv2
import numpy as np

SIZE = 256   # texels along a side


def draw_pattern(rng: np.random.Generator, regular: bool = True) -> np.ndarray:
    """
    Draw one random texture: (SIZE, SIZE, 3) float, about [0, 1].

    :param regular: Whether stripes, checkers, text and blank surfaces may come too.
    """
    odds = np.array(PATTERN_ODDS if regular else PATTERN_ODDS[:NUM_IRREGULAR])
    draw = PATTERNS[rng.choice(len(odds), p=odds / odds.sum())]
    return draw(rng)


def _noise(rng: np.random.Generator, exponent: float | None = None) -> np.ndarray:
    """Return (SIZE, SIZE) noise in [0, 1] with a power-law spectrum; it repeats seamlessly."""
    exponent = rng.uniform(0.9, 2.0) if exponent is None else exponent
    squeeze = np.ones(2)
    if rng.random() < 0.25:                      # wood, brushed metal: one direction is drawn out
        squeeze[rng.integers(2)] = rng.uniform(2, 8)
    steps = np.fft.fftfreq(SIZE) * SIZE
    frequency = np.hypot(steps[:, None] * squeeze[0], steps[None] * squeeze[1])
    frequency = np.hypot(frequency, rng.uniform(0.5, 6))      # the largest features
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) / frequency ** exponent
    field = np.fft.ifft2(spectrum).real
    low, high = np.percentile(field, (1, 99))
    return np.clip((field - low) / (high - low), 0, 1)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Return a colour; real surfaces are mostly of low saturation."""
    grey = rng.uniform(0.03, 0.97)
    tint = rng.uniform(-1, 1, 3)
    return np.clip(grey + 0.5 * rng.uniform(0, 1) ** 2 * (tint - tint.mean()), 0.01, 0.99)


def _palette(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = _colour(rng)
    change = rng.uniform(0.12, 0.7) * rng.choice((-1, 1))
    return first, np.clip(first + change + rng.normal(0, 0.08, 3), 0, 1)


def _blend(rng: np.random.Generator, mix: np.ndarray) -> np.ndarray:
    first, second = _palette(rng)
    return first + (second - first) * mix[..., None]


def _weathered(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    wear = rng.uniform(0.05, 0.7) * (_noise(rng)[..., None] - 0.5)
    grain = rng.uniform(0, 0.15) * (_noise(rng, 0.4)[..., None] - 0.5)
    return image * (1 + wear + grain)


def _cloudy(rng: np.random.Generator) -> np.ndarray:
    image = _blend(rng, _noise(rng))
    return _weathered(rng, image + 0.25 * (np.stack([_noise(rng) for _ in range(3)], -1) - 0.5))


def _speckled(rng: np.random.Generator) -> np.ndarray:
    # gravel, grass, fabric: fine detail over broad tones
    return _blend(rng, 0.5 * _noise(rng, rng.uniform(0.2, 0.9)) + 0.5 * _noise(rng, 1.6))


def _checker(rng: np.random.Generator) -> np.ndarray:
    cells = 2 * rng.integers(1, 9, 2)
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE
    mix = ((u * cells[0]).astype(int) + (v * cells[1]).astype(int)) % 2
    return _weathered(rng, _blend(rng, mix.astype(float)))


def _bricks(rng: np.random.Generator) -> np.ndarray:
    rows, joint = 2 * int(rng.integers(2, 7)), rng.uniform(0.04, 0.15)
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE
    row = (v * rows).astype(int)
    along = u * rows / 2 + 0.5 * (row % 2)
    brick = (along % 1 > joint / 2) & (v * rows % 1 > joint)
    tone = rng.uniform(rng.uniform(0.4, 1), 1, (rows, rows))[row, along.astype(int) % (rows // 2)]
    return _weathered(rng, _blend(rng, brick * tone))


def _windows(rng: np.random.Generator) -> np.ndarray:
    # facades, shelves, tiles: frames around panes of different tones
    rows, cols = (int(n) for n in rng.integers(2, 9, 2))
    frame = rng.uniform(0.1, 0.5)
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE
    pane = (u * cols % 1 > frame) & (v * rows % 1 > frame)
    tones = _colour(rng) + rng.normal(0, rng.uniform(0, 0.25), (rows, cols, 3))
    image = np.where(pane[..., None],
                     tones[(v * rows).astype(int), (u * cols).astype(int)], _colour(rng))
    return _weathered(rng, image)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    cycles = rng.integers(-9, 10, 2)
    cycles[rng.integers(2)] += 3
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE
    bend = rng.uniform(0, 0.4) * _noise(rng, 2.0)
    wave = np.sin(2 * np.pi * (u * cycles[0] + v * cycles[1] + bend))
    return _weathered(rng, _blend(rng, np.clip(0.5 + rng.uniform(0.5, 4) * wave, 0, 1)))


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """
    Drop opaque discs and polygons of all sizes on each other.

    Source: Lee, Mumford, Huang, Occlusion models for natural images, IJCV 2001 (radii ~ r^-3).
    """
    image = _bytes(_cloudy(rng))
    smallest = rng.uniform(2, 8)
    colours = np.array([_colour(rng) for _ in range(int(rng.integers(3, 12)))])
    for _ in range(int(rng.integers(40, 500))):
        radius = min(smallest / np.sqrt(rng.uniform(1e-3, 1)), SIZE / 4)
        centre = rng.integers(0, SIZE, 2)
        tone = colours[rng.integers(len(colours))] * rng.uniform(0.6, 1.3)
        colour = tuple(float(c) for c in np.clip(tone * 255, 0, 255))
        if rng.random() < 0.5:
            axes = tuple(max(1, int(radius * rng.uniform(0.3, 1))) for _ in range(2))
            cv2.ellipse(image, tuple(int(c) for c in centre), axes, float(rng.uniform(0, 180)), 0,
                        360, colour, -1, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = centre + radius * np.stack((np.cos(angles), np.sin(angles)), -1)
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return _weathered(rng, image / 255)


def _text(rng: np.random.Generator) -> np.ndarray:
    paper, ink = _palette(rng)
    image = _bytes(np.broadcast_to(paper, (SIZE, SIZE, 3)))
    scale = rng.uniform(0.4, 2.0)
    for y in np.arange(20 * scale, SIZE + 20, 30 * scale):
        words = ''.join(chr(c) for c in rng.integers(48, 123, 40))
        cv2.putText(image, words, (int(rng.integers(-40, 10)), int(y)),
                    cv2.FONT_HERSHEY_SIMPLEX, scale, tuple(float(c) for c in ink * 255),
                    max(1, int(2 * scale)), cv2.LINE_AA)
    return _weathered(rng, image / 255)


def _plain(rng: np.random.Generator) -> np.ndarray:
    # walls and lacquer: little to match, as in real rooms
    image = _colour(rng) + 0.12 * (_noise(rng, 1.6)[..., None] - 0.5)
    return image + rng.uniform(0.01, 0.06) * (_noise(rng, 0.3)[..., None] - 0.5)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.clip(image * 255, 0, 255).astype(np.uint8))


PATTERNS = (_cloudy, _speckled, _leaves, _windows, _checker, _bricks, _stripes, _text, _plain)
NUM_IRREGULAR = 3
PATTERN_ODDS = (0.2, 0.12, 0.27, 0.08, 0.05, 0.06, 0.06, 0.06, 0.1)
