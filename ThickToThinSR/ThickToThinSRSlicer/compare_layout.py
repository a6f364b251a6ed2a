"""The layouts for comparing input and result."""

import slicer

PLANES = ("Axial", "Coronal", "Sagittal")
ROWS = ("Input", "Result")
_PREFIX = "ThickToThinSR"
FADE_VIEW = f"{_PREFIX}Fade"
# All extensions share the numbers of layouts; these are larger than those known to be in use.
SIDE_BY_SIDE, FADE = 5017, 5018
# Linking connects the views of one group; Slicer's own layouts use small numbers.
_VIEW_GROUP = 5017
_COLORS = {"Axial": "#F34A33", "Coronal": "#6EB04B", "Sagittal": "#EDD54C"}


def viewName(row, plane):
    """Name of the view in a row ("Input" or "Result") that shows a plane."""
    return f"{_PREFIX}{row}{plane}"


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


def isOwn(name):
    """Whether a view belongs to the layouts here; `name` is its layout name."""
    return name.startswith(_PREFIX)


def register():
    """Tell Slicer the layouts: a scene that was saved in one of them opens without views otherwise."""
    node = _layoutNode()
    if node is None:
        return
    for number, xml in ((SIDE_BY_SIDE, sideBySideXml()), (FADE, fadeXml())):
        if not node.IsLayoutDescription(number):
            node.AddLayoutDescription(number, xml)


def _layoutNode():
    """Slicer's layout node; None when Slicer has no views: without a main window, or when it quits."""
    manager = slicer.app.layoutManager()
    return None if manager is None else manager.layoutLogic().GetLayoutNode()


class CompareLayout:
    """Switches to a compare layout and back."""

    def __init__(self):
        self._before = None

    def show(self, layout):
        """Switch to SIDE_BY_SIDE or FADE, and remember the user's layout."""
        register()
        if self._before is None:
            before = _layoutNode().GetViewArrangement()
            own = before in (SIDE_BY_SIDE, FADE)
            self._before = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView if own else before
        slicer.app.layoutManager().setLayout(layout)

    def leave(self):
        """Return to the user's layout, unless the user has chosen another one meanwhile."""
        node = _layoutNode()
        own = node is not None and node.GetViewArrangement() in (SIDE_BY_SIDE, FADE)
        if self._before is not None and own:
            slicer.app.layoutManager().setLayout(self._before)
        self._before = None
