"""Lung segmentation by thresholds and connected components, and lung densitometry.

The mask is the lung field: parenchyma and the vessels inside it (gaps up to about 10 mm are closed). It
excludes the air around the body, gas in stomach and bowel, and trachea and main bronchi as far as thresholds
can separate them. Consolidated lung, large tumours and the great vessels at the hilum are not included.

The segmentation works on a coarse grid of about 2 mm. Averaging blocks of voxels reduces the noise of sharp
kernels, and makes scans of any size small. Only the border of the mask is refined on the volume's own grid.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from ..errors import UserError
from ..volume import Volume

COARSE_MM = 2.0
LUNG_BELOW_HU = -400.0  # half way between lung and soft tissue, so that dense dependent lung is included
TISSUE_ABOVE_HU = -300.0
OUTSIDE_BELOW_HU = -930.0  # lung averaged over some millimetres is rarely less dense
GAS_BELOW_HU = -940.0
SMALLEST_LITRES = 0.03
SMALLEST_SHARE = 0.03  # volume of a piece relative to the largest piece
AIRWAY_LITRES = 0.15
CLOSING_MM = 5.0


def lung_mask(volume: Volume) -> np.ndarray:
    """Segment the lungs of a CT volume in HU.

    Parameters
    ----------
    volume : Volume
        CT in HU, in any orientation, with a slice spacing of up to about 8 mm. Padding below -1024 HU counts
        as air.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        True inside the lungs; all False if there are none.
    """
    blocks = [max(1, round(COARSE_MM / spacing)) for spacing in reversed(volume.spacing)]
    coarse = _block_means(volume.voxels, blocks)
    sampling = np.array(
        [spacing * block for spacing, block in zip(reversed(volume.spacing), blocks, strict=True)]
    )
    vertical = 2 - int(np.argmax(np.abs(volume.direction[2])))
    lateral = 2 - int(np.argmax([0 if 2 - a == vertical else abs(volume.direction[0, a]) for a in range(3)]))

    low = coarse < LUNG_BELOW_HU
    low &= ~_outside(coarse, low, sampling, vertical)
    low &= _enclosed(coarse, vertical)
    airway = _airway(coarse, low, sampling, vertical, lateral)
    lungs = _lung_pieces(coarse, low & ~airway, sampling)
    if not lungs.any():
        return np.zeros(volume.voxels.shape, bool)
    lungs = _closed(lungs, CLOSING_MM, sampling) & ~airway
    lungs = _without_holes(lungs, vertical) & ~airway
    return _refined_border(volume, lungs, airway, blocks)


def _block_means(voxels: np.ndarray, blocks: list[int]) -> np.ndarray:
    """Means over blocks of voxels, float32; incomplete in-plane blocks are filled by edge replication."""
    slabs = []
    for start in range(0, voxels.shape[0], blocks[0]):
        slab = np.clip(voxels[start : start + blocks[0]], -1024, 400).mean(axis=0, dtype=np.float32)
        for axis in (0, 1):
            missing = -slab.shape[axis] % blocks[axis + 1]
            slab = np.pad(slab, [(0, missing if a == axis else 0) for a in (0, 1)], mode="edge")
        rows, columns = slab.shape[0] // blocks[1], slab.shape[1] // blocks[2]
        slabs.append(slab.reshape(rows, blocks[1], columns, blocks[2]).mean(axis=(1, 3)))
    return np.stack(slabs)


def _ball(radius: float, sampling: np.ndarray) -> np.ndarray:
    """Structuring element: the voxels within `radius` mm of the centre; `sampling` is the spacing in mm."""
    reach = np.floor(radius / sampling + 1e-6).astype(int)
    offsets = np.indices(2 * reach + 1) - reach.reshape(3, 1, 1, 1)
    return np.square(offsets * sampling.reshape(3, 1, 1, 1)).sum(axis=0) <= radius**2 * (1 + 1e-6)


def _dilated(mask: np.ndarray, radius: float, sampling: np.ndarray) -> np.ndarray:
    """All voxels within `radius` mm of the mask."""
    return ndimage.binary_dilation(mask, _ball(radius, sampling))


def _closed(mask: np.ndarray, radius: float, sampling: np.ndarray) -> np.ndarray:
    """Morphological closing by a ball; edge padding avoids effects at the borders of the volume."""
    margin = [(m, m) for m in np.ceil(radius / sampling).astype(int)]
    closed = ndimage.binary_closing(np.pad(mask, margin, mode="edge"), _ball(radius, sampling))
    return closed[tuple(slice(low, -high) for low, high in margin)] | mask


def _outside(coarse: np.ndarray, low: np.ndarray, sampling: np.ndarray, vertical: int) -> np.ndarray:
    """Air around the body: air voxels connected with the lateral faces of the volume, and their blurred rim.

    The threshold is that of air, not of lung: in a narrow field of view, lung may touch the air or the
    padding around it. This also covers folds of the skin that tissue surrounds on three sides.
    """
    smooth = ndimage.gaussian_filter(coarse, COARSE_MM / sampling)
    labels, _ = ndimage.label(low & (smooth < OUTSIDE_BELOW_HU))
    faces = [np.take(labels, index, axis) for axis in range(3) if axis != vertical for index in (0, -1)]
    touching = np.unique(np.concatenate([face.ravel() for face in faces]))
    outside = np.isin(labels, touching[touching > 0])
    return _dilated(outside, 2.5 * COARSE_MM, sampling)


def _enclosed(coarse: np.ndarray, vertical: int) -> np.ndarray:
    """Voxels from which the body lies in at least three of the four horizontal directions.

    From table, mattress and blankets it lies in one or two; from a lung cut by the field of view, in three.
    """
    tissue = ndimage.binary_opening(coarse > TISSUE_ABOVE_HU)
    labels, count = ndimage.label(tissue)
    if not count:
        return np.zeros(coarse.shape, bool)
    body = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    directions = np.zeros(coarse.shape, np.uint8)
    for axis in range(3):
        if axis != vertical:
            directions += np.logical_or.accumulate(body, axis)
            directions += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis), axis)
    return directions >= 3


def _airway(
    coarse: np.ndarray, low: np.ndarray, sampling: np.ndarray, vertical: int, lateral: int
) -> np.ndarray:
    """Trachea and main bronchi with their walls, by region growing from the trachea with rising thresholds.

    The result is that of the last threshold before the region leaks into the lung.
    """
    seed = _trachea(coarse, low, sampling, vertical, lateral)
    if not seed.any():
        return seed
    airway = seed
    for threshold in range(-990, -840, 10):
        labels, _ = ndimage.label(seed | (low & (coarse < threshold)))
        grown = np.isin(labels, np.unique(labels[seed]))
        litres = [mask.sum() * np.prod(sampling) / 1e6 for mask in (airway, grown)]
        if litres[1] > AIRWAY_LITRES or litres[1] > 1.5 * litres[0] + 0.005:
            break
        airway = grown
    return _dilated(airway, 1.5 * COARSE_MM, sampling) & low


def _trachea(
    coarse: np.ndarray, low: np.ndarray, sampling: np.ndarray, vertical: int, lateral: int
) -> np.ndarray:
    """The trachea: a small separate region of air near the midline in each plane, over 15 mm or more."""
    trachea = np.zeros(low.shape, bool)
    if not low.any():
        return trachea
    midline = ndimage.center_of_mass(coarse > TISSUE_ABOVE_HU)[lateral]
    lateral_in_plane = [axis for axis in range(3) if axis != vertical].index(lateral)
    pixel = np.prod(sampling) / sampling[vertical] / 100  # square centimetres
    planes = zip(*(np.moveaxis(part, vertical, 0) for part in (trachea, low, coarse)), strict=True)
    for spots, low_plane, plane in planes:
        labels, _ = ndimage.label(low_plane)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            spot = labels[box] == number
            off = box[lateral_in_plane].start + (spot.shape[lateral_in_plane] - 1) / 2 - midline
            if (
                0.5 < spot.sum() * pixel < 9.0
                and plane[box][spot].min() < OUTSIDE_BELOW_HU
                and np.median(plane[box][spot]) < -850
                and abs(off) * sampling[lateral] < 45.0
            ):
                spots[box] |= spot
    labels, _ = ndimage.label(trachea)
    long_enough = [
        number
        for number, box in enumerate(ndimage.find_objects(labels), start=1)
        if (box[vertical].stop - box[vertical].start) * sampling[vertical] >= 15.0
    ]
    return np.isin(labels, long_enough)


def _lung_pieces(coarse: np.ndarray, low: np.ndarray, sampling: np.ndarray) -> np.ndarray:
    """Connected components that are large enough for a lung and do not consist of gas alone."""
    labels, _ = ndimage.label(low)
    litres = np.bincount(labels.ravel()) * np.prod(sampling) / 1e6
    litres[0] = 0
    lungs = [
        number
        for number in np.flatnonzero(litres >= SMALLEST_LITRES)
        if _has_tissue(coarse, labels == number)
    ]
    if not lungs:
        return np.zeros(low.shape, bool)
    largest = max(litres[lungs])
    return np.isin(labels, [number for number in lungs if litres[number] >= SMALLEST_SHARE * largest])


def _has_tissue(coarse: np.ndarray, piece: np.ndarray) -> bool:
    """Whether a component is lung: at least a quarter of its interior is denser than gas."""
    inner = ndimage.binary_erosion(piece, iterations=2, border_value=1)
    return bool(inner.any()) and np.percentile(coarse[inner], 75) > GAS_BELOW_HU


def _without_holes(mask: np.ndarray, vertical: int) -> np.ndarray:
    """Fill regions that the mask encloses in a horizontal plane, such as vessels and nodules."""
    planes = np.moveaxis(mask, vertical, 0)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in planes])
    return np.moveaxis(filled, 0, vertical)


def _refined_border(volume: Volume, lungs: np.ndarray, airway: np.ndarray, blocks: list[int]) -> np.ndarray:
    """The mask on the volume's own grid: the coarse mask, with a threshold deciding along its border."""
    inside = ndimage.binary_erosion(lungs, border_value=1)
    maybe = ndimage.binary_dilation(lungs) & ~airway
    rows, columns = volume.voxels.shape[1:]
    mask = np.empty(volume.voxels.shape, bool)
    for index, plane in enumerate(volume.voxels):
        sure, rim = (
            part[index // blocks[0]].repeat(blocks[1], 0).repeat(blocks[2], 1)[:rows, :columns]
            for part in (inside, maybe)
        )
        mask[index] = sure | (rim & (plane < LUNG_BELOW_HU))
    return mask


def densitometry(hu: Iterable[np.ndarray], mask: Iterable[np.ndarray]) -> dict[str, float]:
    """Emphysema indices inside a mask.

    Parameters
    ----------
    hu, mask : iterables of ndarray, shape (rows, columns)
        Slices in HU, and their lung masks (:func:`lung_mask`).

    Returns
    -------
    dict
        ``laa950_percent``: percentage of mask voxels below -950 HU; ``perc15_hu``: 15th percentile of HU.

    Raises
    ------
    UserError
        If the mask is empty.
    """
    values = np.concatenate([np.asarray(plane)[inside] for plane, inside in zip(hu, mask, strict=True)])
    if not values.size:
        raise UserError("the lung mask is empty: densitometry needs at least one voxel")
    return {
        "laa950_percent": float(100 * np.count_nonzero(values < -950) / values.size),
        "perc15_hu": float(np.percentile(values, 15, overwrite_input=True)),
    }
