"""Writes the workbooks that tests import: the same table as XLSX, XLS and ODS.

    pip install openpyxl xlwt odfpy
    python reference/make_workbook_goldens.py

The table stands in the second sheet, below a title and a blank row. Patient and image are merged over two rows. There
are a number that is a name, a whole number, true, a date, an error, and a blank row.
"""

import datetime
from pathlib import Path

import openpyxl
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import CoveredTableCell, Table, TableCell, TableRow
from odf.text import P

OUT = Path(__file__).resolve().parent.parent / "crates/normed/tests/golden/workbooks"
TITLE = "Reader study 2024"
HEAD = ["Patient", "Bild", "Frage", "Antwort", "Datum"]
DAY = datetime.date(2024, 3, 1)
ROWS = [
    ["P1", "a.png", "Ist die Lunge normal?", "Ja", DAY],
    [None, None, "Wie viele Herde?", 3, DAY],
    ["P2", 7, "Ist das Herz vergrößert?", True, DAY],
    None,
    ["P3", "b", "Wie groß ist der Herd?", "2,5 cm", DAY],
    ["P4", "c.png; d.png", "Auf welcher Seite?", "links", DAY],
]
MERGED = [(4, 1, 5, 1), (4, 2, 5, 2)]  # first row, first column, last row, last column, from 1


def xlsx():
    book = openpyxl.Workbook()
    book.active.title = "Leer"
    sheet = book.create_sheet("Fragen")
    sheet.cell(1, 1, TITLE)
    for i, row in enumerate([HEAD, *ROWS], 3):
        for j, value in enumerate(row or [], 1):
            if value is not None:
                sheet.cell(i, j, value)
    sheet.cell(10, 1, "P5")
    sheet.cell(10, 2, "a.png")
    sheet.cell(10, 3, "Ist es so?")
    sheet.cell(10, 4, "#N/A")
    for top, left, bottom, right in MERGED:
        sheet.merge_cells(start_row=top, start_column=left, end_row=bottom, end_column=right)
    book.save(OUT / "qa.xlsx")


def xls():
    book = xlwt.Workbook()
    book.add_sheet("Leer")
    sheet = book.add_sheet("Fragen")
    date = xlwt.easyxf(num_format_str="YYYY-MM-DD")
    sheet.write(0, 0, TITLE)
    for i, row in enumerate([HEAD, *ROWS], 2):
        for j, value in enumerate(row or []):
            merged = any((i + 1, j + 1) == place[:2] for place in MERGED)
            if value is None:
                continue
            if merged:
                sheet.write_merge(i, i + 1, j, j, value)
            elif isinstance(value, datetime.date):
                sheet.write(i, j, value, date)
            else:
                sheet.write(i, j, value)
    book.save(str(OUT / "qa.xls"))


def ods():
    document = OpenDocumentSpreadsheet()
    document.spreadsheet.addElement(Table(name="Leer"))
    table = Table(name="Fragen")
    rows = [[TITLE], None, HEAD, *ROWS]
    for i, row in enumerate(rows, 1):
        line = TableRow()
        for j, value in enumerate(row or [None], 1):
            spans = {"numberrowsspanned": 2} if any((i, j) == place[:2] for place in MERGED) else {}
            if value is None:
                kind = CoveredTableCell if row else TableCell
                line.addElement(kind())
                continue
            if isinstance(value, bool):
                cell = TableCell(valuetype="boolean", booleanvalue=str(value).lower(), **spans)
            elif isinstance(value, (int, float)):
                cell = TableCell(valuetype="float", value=value, **spans)
            elif isinstance(value, datetime.date):
                cell = TableCell(valuetype="date", datevalue=value.isoformat(), **spans)
            else:
                cell = TableCell(valuetype="string", **spans)
            cell.addElement(P(text=str(value)))
            line.addElement(cell)
        table.addElement(line)
    document.spreadsheet.addElement(table)
    document.save(str(OUT / "qa.ods"))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    xlsx()
    xls()
    ods()
