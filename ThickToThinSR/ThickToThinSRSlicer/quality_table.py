"""Quality at a glance: what a result is and how far it agrees with its input."""

import qt


def rows(report):
    """Pairs of a quantity and its value, both texts, from a result's provenance."""
    found = [("Method", report.get("method", ""))]
    if report.get("checkpoint"):
        card = report["checkpoint"]
        found.append(("Weights", f"{card['title']} {card['version']}"))
    device = " ".join(str(report[key]) for key in ("device", "precision") if report.get(key))
    found += [("Time", f"{float(report.get('seconds', 0)):.1f} s"), ("Device", device)]
    measured = report.get("consistency_hu")
    if measured:
        found.append(("Difference to the input, mean", f"{measured['mean']:.2f} HU"))
        found.append(("... 99.9 % of the voxels under", f"{measured['percentile_99_9']:.1f} HU"))
        found.append(("... worst slice on average", f"{measured['worst_slice']:.2f} HU"))
    else:
        found.append(("Difference to the input", "cannot be measured"))
    thickness = f"{report.get('thickness_mm', 0):g} mm ({report.get('thickness_from', '')})"
    found.append(("Slice thickness taken", thickness))
    return found


def show(table, warningLabel, noteLabel, report):
    """Fill a QTableWidget of two columns; beneath it what makes the result doubtful, and routine notes."""
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
