"""The module's sample for SampleData: it comes with the extension, nothing is downloaded."""

import pathlib

import slicer

from ThickToThinSRLib.weights.bundled import resources_folder

NAME = "ThickToThinSRThorax5mm"
_FILE = "ThoraxPhantom_5mm.nrrd"


def samplePath():
    """The bundled 5 mm thorax phantom."""
    return resources_folder() / "SampleData" / _FILE


def register(iconFolder):
    """Name the sample in Slicer's SampleData module; where that is switched off, nothing happens."""
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
    """The sample as a volume node, straight from its file."""
    return slicer.util.loadVolume(str(samplePath()), {"name": "Thorax phantom 5 mm"})
