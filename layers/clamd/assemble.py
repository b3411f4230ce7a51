#!/usr/bin/env python3
"""Assembles the layer: assemble.py ARCHIVES DEBS.txt TRIPLET SCRATCH OUTDIR

DEBS.txt names one .deb in the folder ARCHIVES a line. Every file goes into the layer byte for byte as Debian packaged
it, so that it can be checked against Debian's signed index; only what clamd, freshclam and
libclamunrar need is taken.
"""

import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

MAX_UNPACKED = 100_000_000  # bytes; Lambda allows 250 MB for the function and all its layers
MTIME = 315_619_200         # 1980-01-02: a zip cannot say earlier, in any time zone
# What is started or, by libclamav, loaded by name; all else follows from their ELF headers.
PROGRAMS = {"clamd": "usr/sbin/clamd", "freshclam": "usr/bin/freshclam"}
LOADED_BY_NAME = ["libclamunrar_iface.so.12"]


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                          env={**os.environ, "LC_ALL": "C"}).stdout


class Packages:
    """The unpacked packages, and which of them have given something to the layer."""

    def __init__(self, debs, scratch, triplet):
        self.roots, self.about, self.used = {}, {}, set()
        for deb in debs:
            fields = run("dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Architecture}", deb)
            name, version, architecture = fields.split()
            root = scratch / name
            run("dpkg-deb", "--extract", deb, str(root))
            digest = hashlib.sha256(pathlib.Path(deb).read_bytes()).hexdigest()
            self.roots[name], self.about[name] = root, (name, version, architecture, digest)
        # Debian 12 has libraries in both places; a loader looks in /lib first.
        self.libraries = [f"lib/{triplet}", f"usr/lib/{triplet}"]

    def find(self, path):
        """The regular file at `path` in whichever package has it, and that package's name."""
        for name, root in self.roots.items():
            file = root / path
            if file.is_file() or file.is_symlink():
                return file.resolve(strict=True), name
        return None

    def take(self, path, to, mode=0o644):
        found = self.find(path)
        if not found:
            sys.exit(f"assemble: no package of the closure has {path}")
        self.used.add(found[1])
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found[0], to)
        to.chmod(mode)

    def library(self, soname):
        for folder in self.libraries:
            if self.find(f"{folder}/{soname}"):
                return f"{folder}/{soname}"
        sys.exit(f"assemble: no package of the closure has the library {soname}")


@functools.cache
def needed(file):
    """The libraries that an ELF file asks its loader for."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "--dynamic", "--wide", str(file)))


def interpreter(file):
    return re.search(r"interpreter: (\S+)\]", run("readelf", "--program-headers", "--wide", str(file)))[1]


def copy_elf_files(packages, clamav, triplet):
    """Programs, the loader they name, gconv modules, and the closure of their libraries."""
    queue = []
    for name, path in PROGRAMS.items():
        packages.take(path, clamav / "bin" / name, 0o755)
        queue += needed(clamav / "bin" / name)
    loader = interpreter(clamav / "bin/clamd")
    packages.take(packages.library(os.path.basename(loader)),
                  clamav / "lib" / os.path.basename(loader), 0o755)

    # iconv's converters: without them HTML in UTF-32 is passed unread. The cache is left out,
    # because glibc ignores it when GCONV_PATH is set. So are the mainframes' EBCDIC sets: no
    # browser reads them (https://encoding.spec.whatwg.org/#names-and-labels), and on arm64 every
    # one of them takes 64 KiB.
    gconv, libc = f"usr/lib/{triplet}/gconv", packages.roots["libc6"]
    for file in sorted((libc / gconv).rglob("*")):
        if file.is_file() and file.name != "gconv-modules.cache" and not file.name.startswith("EBCDIC"):
            to = clamav / "lib" / "gconv" / file.relative_to(libc / gconv)
            packages.take(str(file.relative_to(libc)), to)
            if file.suffix == ".so":
                queue += [name for name in needed(to) if not (libc / gconv / name).exists()]

    queue += LOADED_BY_NAME
    while queue:
        soname = queue.pop()
        to = clamav / "lib" / soname  # stored once, under the name that loaders ask for
        if not to.exists():
            packages.take(packages.library(soname), to)
            queue += needed(to)


def copy_ca_bundle(packages, to):
    root = packages.roots["ca-certificates"] / "usr/share/ca-certificates/mozilla"
    to.parent.mkdir(parents=True)
    to.write_bytes(b"".join(file.read_bytes() for file in sorted(root.glob("*.crt"))))
    packages.used.add("ca-certificates")


def copy_licenses(packages, to):
    for name in sorted(packages.used):
        folder = packages.roots[name] / "usr/share/doc" / name
        # A link leads to a package of the same source, as libstdc++6's to gcc-12-base.
        source = os.readlink(folder) if folder.is_symlink() else name
        packages.take(f"usr/share/doc/{source}/copyright", to / name / "copyright")
    # The copyright files refer to the common texts (GPL, LGPL, ...) instead of repeating them.
    copyrights = "".join(file.read_text(errors="replace") for file in to.glob("*/copyright"))
    common = "usr/share/common-licenses"
    for text in sorted(set(re.findall(rf"/{common}/([\w.+-]*\w)", copyrights))):
        if packages.find(f"{common}/{text}"):  # prose also says "common-licenses/GPL-2.0"
            packages.take(f"{common}/{text}", to / "common-licenses" / text)


def main():
    archives, debs, triplet, scratch, outdir = sys.argv[1:]
    scratch, outdir = pathlib.Path(scratch), pathlib.Path(outdir)
    clamav = outdir / "clamav"
    scratch.mkdir()
    names = pathlib.Path(debs).read_text().splitlines()
    packages = Packages([f"{archives}/{name}" for name in names], scratch, triplet)

    copy_elf_files(packages, clamav, triplet)
    copy_ca_bundle(packages, clamav / "etc/ca-bundle.crt")
    copy_licenses(packages, clamav / "licenses")
    lines = sorted("\t".join(packages.about[name]) for name in packages.used)
    (clamav / "packages.txt").write_text("\n".join(lines) + "\n")
    (clamav / "packages.txt").chmod(0o644)

    (clamav / "etc/ca-bundle.crt").chmod(0o644)
    everything = sorted(outdir.rglob("*"))
    for path in everything:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (MTIME, MTIME))
    files = [path for path in everything if path.is_file()]
    unpacked = sum(path.stat().st_size for path in files)
    with zipfile.ZipFile(scratch / "layer.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as layer:
        for path in files:
            layer.write(path, path.relative_to(outdir))
    zipped = (scratch / "layer.zip").stat().st_size
    print(f"{unpacked} bytes unpacked, {zipped} bytes zipped, {len(files)} files, "
          f"{len(lines)} packages")
    if unpacked > MAX_UNPACKED:
        sys.exit(f"the layer must not be larger than {MAX_UNPACKED} bytes unpacked")


main()
