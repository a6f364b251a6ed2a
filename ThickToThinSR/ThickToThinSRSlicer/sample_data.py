"""The module's sample for Slicer's SampleData; it comes with the extension, so nothing is downloaded."""

import pathlib

import slicer

from ThickToThinSRLib.weights.bundled import resources_folder

NAME = "ThickToThinSRThorax5mm"
_FILE = "ThoraxPhantom_5mm.nrrd"


def samplePath():
    """Path of the bundled thorax phantom with 5 mm slices."""
    return resources_folder() / "SampleData" / _FILE


def register(iconFolder):
    """Register the sample in Slicer's module SampleData, if this is enabled."""
    try:
        import SampleData
    except ImportError:
        return
    if not samplePath().is_file():
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Thick To Thin SR",
        sampleName=NAME,
        thumbnailFileName=str(pathlib.Path(iconFolder) / "ThickToThinSR.png"),
        uris=samplePath().as_uri(),
        fileNames=_FILE,
        nodeNames="Thorax phantom 5 mm",
        loadFileType="VolumeFile",
    )


def loadSample():
    """Load the sample from its file; returns a volume node."""
    return slicer.util.loadVolume(str(samplePath()), {"name": "Thorax phantom 5 mm"})
