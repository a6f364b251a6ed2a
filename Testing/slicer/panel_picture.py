"""The picture of the panel in the tutorial: ``python -m pytest Testing/slicer/panel_picture.py``.

It enhances the bundled sample by a click, with the weights that ship, and writes
Resources/Screenshots/panel.png.
"""

from __future__ import annotations

import sys

from Testing.shared_data import CHECKOUT

from .scenes import background, click, wait_until

PICTURE = CHECKOUT / "Resources" / "Screenshots" / "panel.png"


def test_the_panel_after_a_run(slicer, panel):
    thick = sys.modules["ThickToThinSRSlicer.sample_data"].loadSample()
    panel._parameterNode.inputVolume = thick
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None, 300)
    click(panel.ui.sideBySideButton)
    for _ in range(10):
        slicer.app.processEvents()
    window = panel.parent.widget if hasattr(panel.parent, "widget") else panel.parent
    window.resize(460, window.sizeHint().height())
    for _ in range(10):
        slicer.app.processEvents()
    assert window.grab().save(str(PICTURE))
