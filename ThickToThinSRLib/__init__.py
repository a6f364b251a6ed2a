"""ThickToThinSRLib: thick-slice CT to thin-slice CT, without Slicer and without Qt.

Importing the package loads nothing heavy; torch is imported only where a network runs.
"""

__version__ = "0.1.0"
