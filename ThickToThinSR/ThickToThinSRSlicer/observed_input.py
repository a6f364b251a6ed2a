"""Follows the chosen input volume: its voxels, spacing and name can change after it was chosen."""

import slicer
import vtk
from slicer.util import VTKObservationMixin


class ObservedInput(VTKObservationMixin):
    """Calls `onChanged` when the observed volume node changes.

    A node selector chooses a volume as soon as it is added to the scene, before it has voxels.
    """

    def __init__(self, onChanged):
        VTKObservationMixin.__init__(self)
        self._onChanged, self._node = onChanged, None

    def observe(self, node):
        """Observe `node` instead of the node before; None observes nothing."""
        if node is self._node:
            return
        self.removeObservers()
        self._node = node
        if node is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent):
                self.addObserver(node, event, self._onChanged)
