"""Ordinary documents, images and archives, as programs write them: what must not be called
anything but clean. `.ci/ordinary-files FOLDER`"""

import bz2
import functools
import gzip
import io
import lzma
import pathlib
import random
import subprocess
import sys
import tarfile
import zipfile

import docx
import openpyxl
import pptx
import xlsxwriter
import xlwt
from odf import opendocument, table, text
from PIL import Image, ImageDraw
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas

# Of each kind.
FILES = 150
WORDS = """the garden club met on monday and agreed to cut hedge in march before birds nest
invoice number total amount payable within thirty days report quarter revenue growth plan""".split()

random.seed(1)


def sentence():
    return " ".join(random.choice(WORDS) for _ in range(random.randint(5, 30))).capitalize() + "."


def sentences():
    return [sentence() for _ in range(random.randint(1, 60))]


def image():
    size = random.randint(16, 300), random.randint(16, 300)
    picture = Image.effect_noise(size, random.randint(5, 90)).convert("RGB")
    ImageDraw.Draw(picture).ellipse((4, 4, size[0] - 4, size[1] - 4), fill=(90, 160, 70))
    return picture


def picture():
    buffer = io.BytesIO()
    image().save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def word(path):
    document = docx.Document()
    document.add_heading(sentence())
    for line in sentences():
        document.add_paragraph(line)
    if random.random() < 0.5:
        document.add_picture(picture())
    document.save(path)


def slides(path):
    show = pptx.Presentation()
    for _ in range(random.randint(1, 5)):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = sentence()
        slide.placeholders[1].text = "\n".join(sentences()[:5])
    slide.shapes.add_picture(picture(), 0, 0)
    show.save(path)


def sheet_openpyxl(path):
    book = openpyxl.Workbook()
    for line in sentences():
        book.active.append([line, random.random(), "=1+1"])
    book.save(path)


def sheet_xlsxwriter(path):
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for row, line in enumerate(sentences()):
            sheet.write_row(row, 0, [line, random.random()])
        chart = book.add_chart({"type": "column"})
        chart.add_series({"values": "=Sheet1!$B$1:$B$5"})
        sheet.insert_chart("D2", chart)


def sheet_xls(path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet 1")
    for row, line in enumerate(sentences()):
        sheet.write(row, 0, line)
    book.save(str(path))


def odt(path):
    document = opendocument.OpenDocumentText()
    for line in sentences():
        document.text.addElement(text.P(text=line))
    document.save(str(path))


def ods(path):
    document = opendocument.OpenDocumentSpreadsheet()
    sheet = table.Table(name="Sheet")
    for line in sentences():
        row, cell = table.TableRow(), table.TableCell()
        cell.addElement(text.P(text=line))
        row.addElement(cell)
        sheet.addElement(row)
    document.spreadsheet.addElement(sheet)
    document.save(str(path))


def pdf(path):
    page = canvas.Canvas(str(path), pagesize=A4, pageCompression=random.randint(0, 1))
    for row, line in enumerate(sentences()[:40]):
        page.drawString(50, 800 - 18 * row, line[:90])
    page.showPage()
    page.save()


def html(path):
    lines = "".join(f"<p>{line}</p>\n" for line in sentences())
    path.write_text(f"<!DOCTYPE html><html><head><title>x</title></head><body>{lines}</body></html>")


def picture_as(kind):
    return lambda path: image().save(path, kind)


def packed_by(module):
    return lambda path: path.write_bytes(module.compress("\n".join(sentences()).encode()))


@functools.cache
def packed():
    """The files that are there before the first archive."""
    return [path for path in sorted(folder.rglob("*.*")) if path.is_file()]


def some():
    """Names and contents of some of them."""
    paths = random.sample(packed(), random.randint(1, 6))
    return [(f"{index}-{path.name}", path.read_bytes()) for index, path in enumerate(paths)]


def zipped(path):
    kind = random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in some():
            archive.writestr(name, content)


def tarred(mode):
    def write(path):
        with tarfile.open(path, f"w:{mode}") as archive:
            for name, content in some():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))

    return write


def by_program(*command):
    def write(path):
        inside = folder / "inside"
        inside.mkdir()
        for name, content in some():
            (inside / name).write_bytes(content)
        subprocess.run([*command, path, "."], cwd=inside, check=True, stdout=subprocess.DEVNULL)
        for file in inside.iterdir():
            file.unlink()
        inside.rmdir()

    return write


KINDS = {
    "docx": word,
    "pptx": slides,
    "openpyxl.xlsx": sheet_openpyxl,
    "xlsxwriter.xlsx": sheet_xlsxwriter,
    "xls": sheet_xls,
    "odt": odt,
    "ods": ods,
    "pdf": pdf,
    "html": html,
    "png": picture_as("PNG"),
    "jpg": picture_as("JPEG"),
    "gif": picture_as("GIF"),
    "tiff": picture_as("TIFF"),
    "webp": picture_as("WEBP"),
    "bmp": picture_as("BMP"),
    "ico": picture_as("ICO"),
    "gz": packed_by(gzip),
    "bz2": packed_by(bz2),
    "xz": packed_by(lzma),
    # From here on of what is above.
    "zip": zipped,
    "tar": tarred(""),
    "tar.gz": tarred("gz"),
    "tar.bz2": tarred("bz2"),
    "tar.xz": tarred("xz"),
    "infozip.zip": by_program("zip", "-q", "-r"),
    "7z": by_program("7z", "a", "-bso0", "-bsp0"),
}

folder = pathlib.Path(sys.argv[1]).resolve()
for kind, write in KINDS.items():
    place = folder / kind
    place.mkdir()
    for number in range(FILES):
        write(place / f"{number}.{kind.rsplit('.', 1)[-1]}")
print(f"ordinary-files: {FILES * len(KINDS)} files of {len(KINDS)} kinds")
