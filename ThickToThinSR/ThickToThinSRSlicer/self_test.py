"""The module's self test in Slicer: enhance the bundled sample, compare, cancel."""

import numpy as np
import slicer

from ThickToThinSRLib.errors import Cancelled

from . import compare_views, sample_data
from .compare_layout import SIDE_BY_SIDE, CompareLayout


def enhanceSample(test, logic):
    """Enhance the sample by a method without weights: the result has the right size and position."""
    node = sample_data.loadSample()
    output = logic.enhance(node, method="consistent", spacing=2.0, waitForCompletion=True)
    slices = slicer.util.arrayFromVolume(node).shape[0]
    test.assertEqual(slicer.util.arrayFromVolume(output).shape[0], int((slices - 1) * 5.0 / 2.0 + 1e-6) + 1)
    np.testing.assert_allclose(output.GetOrigin(), node.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(output.GetSpacing()[:2], node.GetSpacing()[:2], atol=1e-4)
    test.assertLess(float(logic.provenance(output)["consistency_hu"]["mean"]), 1.0)
    return node, output


def compareSample(test, node, output):
    """Show three views over three, then the user's layout again."""
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
    """Cancel a background run: it ends at once and leaves no node."""
    errors = []
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    logic.enhance(
        node,
        method="consistent",
        spacing=0.5,
        waitForCompletion=False,
        onFinished=lambda output, error: errors.append(error),
    )
    logic.cancel(wait=True)
    test.assertIsInstance(errors[0], Cancelled)
    test.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
