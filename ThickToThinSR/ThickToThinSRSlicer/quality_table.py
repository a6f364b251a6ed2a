"""The table below the button: how a result was made, and how much it differs from its input."""

import qt
from slicer.i18n import tr as _

from .descriptions import thicknessOrigin


def rows(report):
    """Pairs of name and value, both texts, from the provenance of a result."""
    pairs = [(_("Method"), report.get("method", ""))]
    if report.get("checkpoint"):
        card = report["checkpoint"]
        pairs.append((_("Weights"), f"{card['title']} {card['version']}"))
    device = " ".join(str(report[key]) for key in ("device", "precision") if report.get(key))
    pairs += [(_("Time"), f"{float(report.get('seconds', 0)):.1f} s"), (_("Device"), device)]
    difference = report.get("consistency_hu")
    if difference:
        pairs.append((_("Difference to the input, mean"), f"{difference['mean']:.2f} HU"))
        pairs.append((_("... 99.9 % of the voxels under"), f"{difference['percentile_99_9']:.1f} HU"))
        pairs.append((_("... mean of the worst slice"), f"{difference['worst_slice']:.2f} HU"))
    else:
        pairs.append((_("Difference to the input"), _("cannot be measured")))
    origin = thicknessOrigin(report.get("thickness_from"))
    pairs.append((_("Slice thickness used"), f"{report.get('thickness_mm', 0):g} mm ({origin})"))
    return pairs


def show(table, warningLabel, noteLabel, report):
    """Fill the QTableWidget `table` (two columns), and the labels with the report's warnings and notes."""
    content = rows(report)
    table.setRowCount(len(content))
    for row, texts in enumerate(content):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(str(text))
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            table.setItem(row, column, item)
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)  # long texts take two lines
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    _showLines(warningLabel, report.get("warnings", ()), "\u26a0 ")
    _showLines(noteLabel, report.get("notes", ()), "")


def _showLines(label, lines, mark):
    label.text = "\n".join(f"{mark}{line}" for line in lines)
    label.visible = bool(lines)
