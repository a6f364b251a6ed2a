"""The parts of the Slicer module; everything about CT is in ThickToThinSRLib."""
