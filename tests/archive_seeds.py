"""Seeds for the fuzz targets that read archives: small ones in every form that their readers know.
`archive_seeds.py zip|tar|agreement FOLDER`"""

import bz2
import gzip
import io
import lzma
import pathlib
import sys
import tarfile
import zipfile

MEMBERS = {"first": b"one, one, one", "empty": b"", "folder/second": b"two " * 200}


class Pipe(io.RawIOBase):
    """What cannot go back, so that sizes stand behind the data."""

    def __init__(self):
        self.bytes = b""

    def writable(self):
        return True

    def write(self, data):
        self.bytes += bytes(data)
        return len(data)


def zips():
    for name, method in [("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)]:
        for form in ["file", "pipe", "zip64"]:
            output = Pipe() if form == "pipe" else io.BytesIO()
            with zipfile.ZipFile(output, "w", method) as archive:
                for member, content in MEMBERS.items():
                    with archive.open(member, "w", force_zip64=form == "zip64") as writer:
                        writer.write(content)
            yield f"{name}-{form}", output.bytes if form == "pipe" else output.getvalue()


def tars():
    forms = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
    for name, form in forms.items():
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w", format=form) as archive:
            for member, content in MEMBERS.items():
                # A long name, in its own way in each form.
                header = tarfile.TarInfo(member + "/long" * (30 if name != "ustar" else 1))
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
            end = archive.offset
        # Two blocks of zeros are the end; the module fills up a whole record.
        bytes = output.getvalue()[: end + 1024]
        yield name, b"n" + bytes
        yield f"{name}-gzip", b"g" + gzip.compress(bytes)
        yield f"{name}-bzip2", b"b" + bz2.compress(bytes)
        yield f"{name}-xz", b"x" + lzma.compress(bytes)


def nested():
    for name, content in zips():
        yield name, content
        yield f"{name}-gzip", gzip.compress(content)
        outer, tar = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.zip", content)
        yield f"{name}-zip", outer.getvalue()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            header = tarfile.TarInfo("inner.zip")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
            end = archive.offset
        yield f"{name}-tar", tar.getvalue()[: end + 1024]


for name, content in {"zip": zips, "tar": tars, "agreement": nested}[sys.argv[1]]():
    (pathlib.Path(sys.argv[2]) / name).write_bytes(content)
