"""The layouts for comparing input and result."""

import slicer

PLANES = ("Axial", "Coronal", "Sagittal")
ROWS = ("Input", "Result")
FADE_VIEW = "ThickToThinSRFade"
# All extensions share the numbers of layouts; these are larger than those known to be in use.
SIDE_BY_SIDE, FADE = 5017, 5018
# Linking connects the views of one group; Slicer's own layouts use small numbers.
_VIEW_GROUP = 5017
_COLORS = {"Axial": "#F34A33", "Coronal": "#6EB04B", "Sagittal": "#EDD54C"}


def viewName(row, plane):
    """Name of the view in a row ("Input" or "Result") that shows a plane."""
    return f"ThickToThinSR{row}{plane}"


def sideBySideXml():
    """Three views over three: input above, result below."""
    rows = "".join(
        "<item><layout type='horizontal' split='true'>"
        + "".join(_view(viewName(row, plane), plane, f"{row[0]}{plane[0]}") for plane in PLANES)
        + "</layout></item>"
        for row in ROWS
    )
    return f"<layout type='vertical' split='true'>{rows}</layout>"


def fadeXml():
    """One view with the result over the input."""
    return f"<layout type='horizontal' split='false'>{_view(FADE_VIEW, 'Axial', 'F')}</layout>"


def _view(name, plane, label):
    properties = {
        "orientation": plane,
        "viewlabel": label,
        "viewcolor": _COLORS[plane],
        "viewgroup": _VIEW_GROUP,
    }
    lines = "".join(
        f"<property name='{key}' action='default'>{value}</property>" for key, value in properties.items()
    )
    return f"<item><view class='vtkMRMLSliceNode' singletontag='{name}'>{lines}</view></item>"


class CompareLayout:
    """Switches to a layout for comparison, and back to the user's layout."""

    def __init__(self):
        self._before = None

    @staticmethod
    def _node():
        return slicer.app.layoutManager().layoutLogic().GetLayoutNode()

    def show(self, layout):
        """Switch to SIDE_BY_SIDE or FADE, and remember the user's layout."""
        node = self._node()
        for number, xml in ((SIDE_BY_SIDE, sideBySideXml()), (FADE, fadeXml())):
            if not node.IsLayoutDescription(number):
                node.AddLayoutDescription(number, xml)
        if self._before is None:
            self._before = node.GetViewArrangement()
        slicer.app.layoutManager().setLayout(layout)

    def leave(self):
        """Restore the user's layout, unless the user has chosen another one in the meantime."""
        if self._before is not None and self._node().GetViewArrangement() in (SIDE_BY_SIDE, FADE):
            slicer.app.layoutManager().setLayout(self._before)
        self._before = None
