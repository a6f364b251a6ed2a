"""Keeps labels with several lines as high as their text, whatever the width of the panel."""

import qt

_SMALLEST_WIDTH = 150  # pixels; labels that were not laid out yet may be narrower


def of(ui):
    """The labels with word wrap among the panel's widgets; `ui` holds these by name."""
    return [widget for widget in vars(ui).values() if widget.inherits("QLabel") and widget.wordWrap]


class WrappedLabels(qt.QObject):
    """Sets the height of word-wrapped labels when their text or width changes.

    Qt's form layouts alone make such labels too low in a low panel.

    :param labels: labels with word wrap.
    """

    def __init__(self, labels):
        qt.QObject.__init__(self)
        self._labels = [(label, []) for label in labels]
        for label in labels:
            label.installEventFilter(self)
            # A change of the text reaches the parent as a LayoutRequest.
            label.parentWidget().installEventFilter(self)

    def eventFilter(self, watched, event):
        """Called by Qt before `watched` receives `event`."""
        if event.type() in (qt.QEvent.Resize, qt.QEvent.LayoutRequest, qt.QEvent.Show):
            for label, fitted in self._labels:
                _fit(label, fitted)
        return False


def _fit(label, fitted):
    """Fit the height, unless `fitted` says that it was done for this text and width."""
    state = [label.text, label.width]
    if state == fitted:  # setMinimumHeight() causes another LayoutRequest
        return
    fitted[:] = state
    label.setMinimumHeight(0)  # heightForWidth() is never less than the minimum height
    # An empty label answers -1.
    label.setFixedHeight(max(0, label.heightForWidth(max(label.width, _SMALLEST_WIDTH))))
