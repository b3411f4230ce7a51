#!/usr/bin/env python3
"""Prints the host's Debian 12 apt sources with `non-free` added (libclamunrar12 is there).

Reads sources.list, sources.list.d/*.list and *.sources under the folder given (default
/etc/apt). Third-party entries are left out: an entry is Debian's own when its suite is one of
the three of bookworm, it has the component `main`, and its address ends as the archive's do.
"""

import pathlib
import re
import sys

SUITES = {"bookworm", "bookworm-updates", "bookworm-security"}
# .../debian, .../debian-security, a snapshot (.../debian/20250520T000000Z), or the mirror list
# file of Debian's cloud images (mirror+file:///etc/apt/mirrors/debian.list).
ARCHIVE = re.compile(r"/debian(-security)?(\.list|/\d{8}T\d{6}Z)?/?$")
# How an entry is trusted and fetched is kept; what narrows it to other packages is not.
DROPPED = {"types", "uris", "suites", "components", "enabled", "arch", "architectures", "lang",
           "languages", "target", "targets", "pdiffs"}


def one_line(text):
    """Entries of the sources.list format: `deb [option=value ...] uri suite component ...`"""
    for line in text.splitlines():
        words = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?([^#]+)", line)
        if not words:
            continue
        uri, suite, *components = words[2].split()
        entry = {"types": "deb", "uris": uri, "suites": suite, "components": " ".join(components)}
        for option in (words[1] or "").split():
            name, _, value = option.partition("=")
            entry[name.rstrip("+-").lower()] = value.replace(",", " ")
        yield entry


def deb822(text):
    """Entries of the .sources format: stanzas of `Field: value`, continued by leading blanks."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        fields = re.findall(r"^(\S[^:\n]*):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        if fields:
            yield {name.strip().lower(): value.strip() for name, value in fields}


def debian_only(entry):
    """The entry cut down to Debian's own addresses and suites; None when nothing is left."""
    uris = [uri for uri in entry.get("uris", "").split() if ARCHIVE.search(uri)]
    suites = [suite for suite in entry.get("suites", "").split() if suite in SUITES]
    enabled = entry.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable")
    wanted = "deb" in entry.get("types", "").split() and "main" in entry.get("components", "").split()
    if not (uris and suites and enabled and wanted):
        return None
    kept = {name: value for name, value in entry.items() if name not in DROPPED}
    return {"types": "deb", "uris": " ".join(uris), "suites": " ".join(suites),
            "components": "main non-free", **kept}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/etc/apt")
    parts = folder / "sources.list.d"
    entries = []
    for path in [folder / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            entries += one_line(path.read_text())
    for path in sorted(parts.glob("*.sources")):
        entries += deb822(path.read_text())
    found = [entry for entry in map(debian_only, entries) if entry]
    if not any("bookworm" in entry["suites"].split() for entry in found):
        sys.exit(f"no Debian 12 (bookworm) package source with component main under {folder}: "
                 "add the one of your Debian mirror")
    for entry in found:
        print("\n".join(f"{name}: {value}" for name, value in entry.items()), end="\n\n")


main()
