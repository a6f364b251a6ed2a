"""The list of methods: first what is recommended, then the published systems, then the yardstick."""

import qt
from slicer.i18n import tr as _

from ThickToThinSRLib.methods.registry import METHODS

_RECOMMENDED = ("universal", "consistent")
_YARDSTICKS = ("interpolation",)


def groups():
    """Names of the methods in the order of the list, in three groups."""
    rest = tuple(name for name in METHODS if name not in _RECOMMENDED + _YARDSTICKS)
    return _RECOMMENDED, rest, _YARDSTICKS


def purposes():
    """What each method is for: the tooltips of the list."""
    return {
        "universal": _("recommended: any spacing and overlap"),
        "consistent": _("recommended without PyTorch: sharper than interpolation"),
        "sr4zct": _("published: can adapt to the scan"),
        "tvsrn": _("published: 5 mm slices to 1 mm"),
        "cthnet": _("published: 5 mm slices to 1 mm"),
        "saint": _("published: whole factors"),
        "resvox": _("published: fixed factor"),
        "mpunet": _("published: fixed factor"),
        "davsr": _("published: adapts to the scan"),
        "interpolation": _("for comparison: cubic interpolation"),
    }


class MethodList:
    """The selector of the method.

    Separators do not go with Slicer's connection of parameters, which takes the position in the list for the
    value.

    :param comboBox: an empty QComboBox.
    :param onChosen: onChosen(name) is called when the user chooses a method.
    """

    def __init__(self, comboBox, onChosen):
        self._comboBox, self._onChosen = comboBox, onChosen
        told = purposes()
        for number, names in enumerate(groups()):
            if number:
                comboBox.insertSeparator(comboBox.count)
            for name in names:
                comboBox.addItem(name, name)
                comboBox.setItemData(comboBox.count - 1, told.get(name, ""), qt.Qt.ToolTipRole)
        comboBox.connect("currentIndexChanged(int)", self._onIndexChanged)

    def update(self, method):
        """Show the chosen method."""
        self._comboBox.setCurrentIndex(self._comboBox.findData(method))

    def _onIndexChanged(self, index):
        name = self._comboBox.itemData(index)
        if name:
            self._onChosen(name)
