"""Attributes that a derived slice copies from its source slice, by module of DICOM PS3.3."""

from __future__ import annotations

_PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex"),
    *("OtherPatientIDsSequence", "PatientAge", "PatientSize", "PatientWeight", "EthnicGroup"),
    *("PatientComments", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    *("ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy"),
    *("ProcedureCodeSequence", "ReferencedStudySequence", "AdmittingDiagnosesDescription"),
)
_SERIES = ("Laterality", "BodyPartExamined", "PatientPosition", "ProtocolName")
_FRAME_OF_REFERENCE = ("FrameOfReferenceUID", "PositionReferenceIndicator")
_EQUIPMENT = (
    *("Manufacturer", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
    *("StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"),
)
_IMAGE = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC", "AcquisitionNumber", "AcquisitionDate"),
    *("AcquisitionTime", "AcquisitionDateTime", "BurnedInAnnotation", "QualityControlImage"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "RescaleType"),
)
_CT = (
    *("KVP", "ScanOptions", "DataCollectionDiameter", "ReconstructionDiameter", "DistanceSourceToDetector"),
    *("DistanceSourceToPatient", "GantryDetectorTilt", "TableHeight", "RotationDirection", "ExposureTime"),
    *("XRayTubeCurrent", "Exposure", "ExposureInuAs", "FilterType", "GeneratorPower", "FocalSpots"),
    *("ConvolutionKernel", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth"),
    *("TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor", "ExposureModulationType", "CTDIvol"),
    *("ContrastBolusAgent", "ContrastBolusRoute", "ContrastBolusVolume", "ContrastBolusStartTime"),
    *("ContrastBolusStopTime", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration"),
    *("ContrastBolusIngredient", "ContrastBolusIngredientConcentration"),
)
COPIED = (*_PATIENT, *_STUDY, *_SERIES, *_FRAME_OF_REFERENCE, *_EQUIPMENT, *_IMAGE, *_CT)
# Attributes of type 2, which must be present, empty if unknown.
EMPTY_IF_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator"),
    *("AcquisitionNumber", "KVP", "PatientPosition"),
)
