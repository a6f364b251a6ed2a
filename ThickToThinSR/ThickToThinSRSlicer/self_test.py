"""What a real Slicer is asked to show: the bundled sample enhanced, compared, cancelled."""

import numpy as np
import slicer

from ThickToThinSRLib.errors import Cancelled

from . import compare_views, sample_data
from .compare_layout import SIDE_BY_SIDE, CompareLayout


def enhanceSample(test, logic):
    """The sample by a method that needs nothing: a node of the right size at the right place."""
    node = sample_data.loadSample()
    output = logic.enhance(node, method="consistent", spacing=2.0, waitForCompletion=True)
    slices = slicer.util.arrayFromVolume(node).shape[0]
    test.assertEqual(slicer.util.arrayFromVolume(output).shape[0], int((slices - 1) * 5.0 / 2.0 + 1e-6) + 1)
    np.testing.assert_allclose(output.GetOrigin(), node.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(output.GetSpacing()[:2], node.GetSpacing()[:2], atol=1e-4)
    test.assertLess(float(logic.provenance(output)["consistency_hu"]["mean"]), 1.0)
    return node, output


def compareSample(test, node, output):
    """Three views over three, and the user's layout again."""
    layoutNode = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = layoutNode.GetViewArrangement()
    layout = CompareLayout()
    layout.show(SIDE_BY_SIDE)
    compare_views.showSideBySide(node, output)
    upper, lower = (
        compare_views.sliceLogic(f"ThickToThinSR{row}Axial").GetSliceNode() for row in ("Input", "Result")
    )
    test.assertAlmostEqual(upper.GetSliceOffset(), lower.GetSliceOffset())
    layout.leave()
    test.assertEqual(layoutNode.GetViewArrangement(), before)


def cancelSample(test, logic, node):
    """A run in the background ends at once when cancelled, and leaves no node."""
    ended = []
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    logic.enhance(
        node,
        method="consistent",
        spacing=0.5,
        waitForCompletion=False,
        onFinished=lambda output, error: ended.append(error),
    )
    logic.cancel(wait=True)
    test.assertIsInstance(ended[0], Cancelled)
    test.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
