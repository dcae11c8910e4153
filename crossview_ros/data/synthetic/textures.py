# SPDX-License-Identifier: Apache-2.0
"""Random textures in one mip-mapped atlas, sampled without aliasing."""
from dataclasses import dataclass
from pathlib import Path

from crossview_ros.data.synthetic.patterns import draw_pattern, SIZE
from crossview_ros.errors import DatasetError
import cv2
import numpy as np
import torch
from torch import Tensor

SPLITS = {'train': 0, 'holdout': 1}   # random streams that never meet
LEVELS = SIZE.bit_length()            # 256, 128, ..., 1 texels
STARTS = np.cumsum([0] + [(SIZE >> i) ** 2 for i in range(LEVELS - 1)]).tolist()
TEXELS = STARTS[-1] + 1               # of all levels of a texture


@dataclass(frozen=True)
class TextureAtlas:
    """Textures with all their mip levels in one table; each repeats in both directions."""

    texels: Tensor       # (T * TEXELS, 4) uint8: red, green, blue, unused; finest level first

    def __len__(self) -> int:
        return len(self.texels) // TEXELS

    def to(self, device: torch.device | str) -> 'TextureAtlas':
        """Move the table to a device."""
        return TextureAtlas(self.texels.to(device))

    def __add__(self, other: 'TextureAtlas') -> 'TextureAtlas':
        """Append the textures of another atlas."""
        return TextureAtlas(torch.cat((self.texels, other.texels)))

    def sample(self, index: Tensor, st: Tensor, footprint: Tensor) -> Tensor:
        """
        Look up colours with trilinear mip-mapping.

        :param index: (...) int64 texture numbers.
        :param st: (..., 2) texture coordinates; 1 is one repetition.
        :param footprint: (...) side of a pixel on the surface, in repetitions.
        :return: (..., 3) in [0, 1].

        Source: Williams, Pyramidal parametrics, SIGGRAPH 1983.
        """
        level = torch.log2((footprint * SIZE).clamp(min=1.0, max=float(SIZE)))
        low = level.floor().clamp(max=LEVELS - 2)
        blend = (level - low)[..., None]
        low = low.long()
        base = index * TEXELS
        starts = torch.tensor(STARTS, device=st.device)
        fine, coarse = (self._bilinear(base + starts[low + i], SIZE >> (low + i), st)
                        for i in (0, 1))
        return torch.lerp(fine, coarse, blend)[..., :3] / 255

    def _bilinear(self, base: Tensor, size: Tensor, st: Tensor) -> Tensor:
        u, v = (st[..., i] * size - 0.5 for i in (0, 1))
        left, top = u.floor(), v.floor()
        fu, fv = (u - left)[..., None], (v - top)[..., None]
        mask = size - 1
        left, top = left.long() & mask, top.long() & mask
        right, bottom = (left + 1) & mask, (top + 1) & mask
        top, bottom = base + top * size, base + bottom * size
        upper = torch.lerp(self._texel(top + left), self._texel(top + right), fu)
        lower = torch.lerp(self._texel(bottom + left), self._texel(bottom + right), fu)
        return torch.lerp(upper, lower, fv)

    def _texel(self, row: Tensor) -> Tensor:
        return self.texels.index_select(0, row.flatten()).float().view(*row.shape, 4)


def make_atlas(count: int, seed: int, split: str = 'train',
               texture_dir: str | Path | None = None, regular: bool = True) -> TextureAtlas:
    """
    Draw an atlas of random textures.

    :param split: 'train' or 'holdout'; their textures never meet.
    :param texture_dir: Folder of images; one texture in two is cut from them. Of the images,
        sorted by name, every fifth is kept for 'holdout'.
    :param regular: Whether stripes, checkers, text and blank surfaces may come too.
    :raises DatasetError: If the folder holds no readable image for the split.
    """
    rng = np.random.default_rng((seed, SPLITS[split], 77))
    photographs = _photographs(Path(texture_dir), split) if texture_dir else []
    pyramids = []
    for i in range(count):
        if photographs and i % 2:
            image = _cut(photographs[rng.integers(len(photographs))], rng)
        else:
            image = draw_pattern(rng, regular)
        pyramids.append(_pyramid(image))
    return TextureAtlas(torch.from_numpy(np.concatenate(pyramids)))


def _pyramid(image: np.ndarray) -> np.ndarray:
    levels = []
    image = np.clip(image, 0, 1).astype(np.float32)
    for _ in range(LEVELS):
        levels.append(np.pad(image.reshape(-1, 3), ((0, 0), (0, 1))))
        if len(image) > 1:
            image = image.reshape(len(image) // 2, 2, len(image) // 2, 2, 3).mean((1, 3))
    return np.rint(np.concatenate(levels) * 255).astype(np.uint8)


def _photographs(folder: Path, split: str) -> list[np.ndarray]:
    paths = sorted(p for p in folder.rglob('*')
                   if p.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    chosen = [p for i, p in enumerate(paths) if (i % 5 == 4) == (split == 'holdout')]
    images = [image for image in (cv2.imread(str(p)) for p in chosen) if image is not None]
    if not images:
        raise DatasetError(f'{folder}: no readable .jpg or .png image for split {split!r} '
                           f'({len(paths)} images there; every fifth is held out)')
    return [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images]


def _cut(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = int(min(photograph.shape[:2]) * rng.uniform(0.5, 1))
    top, left = (int(rng.integers(0, n - side + 1)) for n in photograph.shape[:2])
    square = photograph[top:top + side, left:left + side]
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255.0
