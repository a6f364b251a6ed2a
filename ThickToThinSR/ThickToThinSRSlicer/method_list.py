"""The list of methods: first what is recommended, then the published systems, then the yardstick."""

import qt

from ThickToThinSRLib.methods.registry import METHODS

from . import method_texts

_RECOMMENDED = ("universal", "consistent")
_YARDSTICKS = ("interpolation",)


def groups():
    """Names of the methods in the order of the list, in three groups."""
    rest = tuple(name for name in METHODS if name not in _RECOMMENDED + _YARDSTICKS)
    return _RECOMMENDED, rest, _YARDSTICKS


class MethodList:
    """The selector of the method.

    Separators do not go with Slicer's connection of parameters, which takes the position in the list for the
    value.

    :param comboBox: an empty QComboBox.
    :param onChosen: onChosen(name) is called when the user chooses a method.
    """

    def __init__(self, comboBox, onChosen):
        self._comboBox, self._onChosen = comboBox, onChosen
        for number, names in enumerate(groups()):
            if number:
                comboBox.insertSeparator(comboBox.count)
            for name in names:
                comboBox.addItem(name, name)
                comboBox.setItemData(comboBox.count - 1, method_texts.purpose(name), qt.Qt.ToolTipRole)
        comboBox.connect("currentIndexChanged(int)", self._onIndexChanged)

    def update(self, method):
        """Show the chosen method."""
        self._comboBox.setCurrentIndex(self._comboBox.findData(method))

    def _onIndexChanged(self, index):
        name = self._comboBox.itemData(index)
        if name:
            self._onChosen(name)
