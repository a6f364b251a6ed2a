"""The table below the button: how a result was made, and how much it differs from its input."""

import qt


def rows(report):
    """Pairs of name and value, both texts, from the provenance of a result."""
    pairs = [("Method", report.get("method", ""))]
    if report.get("checkpoint"):
        card = report["checkpoint"]
        pairs.append(("Weights", f"{card['title']} {card['version']}"))
    device = " ".join(str(report[key]) for key in ("device", "precision") if report.get(key))
    pairs += [("Time", f"{float(report.get('seconds', 0)):.1f} s"), ("Device", device)]
    difference = report.get("consistency_hu")
    if difference:
        pairs.append(("Difference to the input, mean", f"{difference['mean']:.2f} HU"))
        pairs.append(("... 99.9 % of the voxels under", f"{difference['percentile_99_9']:.1f} HU"))
        pairs.append(("... mean of the worst slice", f"{difference['worst_slice']:.2f} HU"))
    else:
        pairs.append(("Difference to the input", "cannot be measured"))
    thickness = f"{report.get('thickness_mm', 0):g} mm ({report.get('thickness_from', '')})"
    pairs.append(("Slice thickness used", thickness))
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
    table.resizeColumnsToContents()
    table.resizeRowsToContents()
    _showLines(warningLabel, report.get("warnings", ()), "\u26a0 ")
    _showLines(noteLabel, report.get("notes", ()), "")


def _showLines(label, lines, mark):
    label.text = "\n".join(f"{mark}{line}" for line in lines)
    label.visible = bool(lines)
