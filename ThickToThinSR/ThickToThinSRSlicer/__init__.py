"""The parts of the Slicer module, one idea a file; what they know of CT is in ThickToThinSRLib."""
