"""Small synthetic DICOM series for tests, which may change them before writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

# Rows, columns and normal of an oblique, right-handed stack (LPS).
OBLIQUE = np.linalg.qr(np.array([[0.9, 0.2, 0.1], [-0.3, 0.9, 0.3], [0.1, -0.2, 0.95]]))[0]
OBLIQUE = OBLIQUE * np.array([1, 1, np.linalg.det(OBLIQUE)])


def ct_series(voxels, spacing=(0.7, 0.8, 5.0), origin=(-20.0, 30.0, -100.0), direction=None, thickness=5.0):
    """One dataset a slice; spacing (x, y, z) mm, direction columns i, j, k in LPS."""
    direction = np.eye(3) if direction is None else np.asarray(direction)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    datasets = []
    for k, pixels in enumerate(voxels):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = "CT", "Thorax 5.0", "2"
        dataset.ConvolutionKernel, dataset.PatientPosition = "B31f", "HFS"
        dataset.InstanceNumber = k + 1
        position = np.asarray(origin) + direction[:, 2] * spacing[2] * k
        dataset.ImagePositionPatient = [f"{value:.8f}" for value in position]
        dataset.ImageOrientationPatient = [f"{value:.8f}" for value in direction.T[:2].ravel()]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.SliceThickness = thickness
        set_pixels(dataset, pixels)
        datasets.append(dataset)
    return datasets


def set_pixels(dataset, hu, slope=1, intercept=-1024) -> None:
    """Store `hu` (rows, columns), which must be representable, as unsigned 16-bit values."""
    stored = np.rint((np.asarray(hu, dtype=np.float64) - intercept) / slope).astype(np.uint16)
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def enhanced_ct(voxels, spacing=(0.7, 0.8, 5.0), origin=(-20.0, 30.0, -100.0), order=None, slopes=None):
    """The same as one enhanced multi-frame object; frames stored in `order`, each with its own slope."""
    singles = ct_series(voxels, spacing, origin)
    order = range(len(singles)) if order is None else order
    dataset, frames, stored = singles[0], [], []
    for number, index in enumerate(order):
        single = singles[index]
        slope = 1 if slopes is None else slopes[number]
        set_pixels(single, voxels[index], slope=slope)
        stored.append(single.PixelData)
        frame, place, value = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = single.ImagePositionPatient
        value.RescaleSlope, value.RescaleIntercept, value.RescaleType = slope, -1024, "HU"
        frame.PlanePositionSequence = Sequence([place])
        frame.PixelValueTransformationSequence = Sequence([value])
        frames.append(frame)
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = dataset.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = dataset.PixelSpacing, dataset.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([measures])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del dataset[keyword]
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.SOPClassUID, dataset.NumberOfFrames = EnhancedCTImageStorage, len(frames)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.PixelData = b"".join(stored)
    dataset["PixelData"].VR = "OW"
    return dataset


def write_series(datasets, folder: Path, syntax=ExplicitVRLittleEndian, prefix="") -> Path:
    """Write datasets as files, in an order of names that is not the order of slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        name = f"{prefix}{(number * 7) % 11:02d}-{number}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder


def compress_by_itk(path: Path, compressor: str) -> None:
    """Replace a file's pixels by losslessly compressed ones; compressor "JPEG" or "JPEG2000"."""
    dataset = dcmread(path)
    shape = (int(dataset.get("NumberOfFrames") or 1), dataset.Rows, dataset.Columns)
    image = sitk.GetImageFromArray(np.frombuffer(dataset.PixelData, np.uint16).reshape(shape))
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path.with_suffix(".tmp.dcm")))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(image)
    compressed = dcmread(path.with_suffix(".tmp.dcm"))
    path.with_suffix(".tmp.dcm").unlink()
    for keyword in ("PixelData", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        dataset[keyword] = compressed[keyword]
    dataset.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID
    assert dataset.file_meta.TransferSyntaxUID.is_compressed
    dataset.save_as(path)
