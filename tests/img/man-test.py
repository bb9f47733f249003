#!/usr/bin/env python3
"""man-test.py: every option and command that a tool's --help names is in its manual page, which groff reads.

    tests/img/man-test.py RHEA_IMG    with the other tools beside it
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGES = {"rhea-img": "rhea-img.1", "rhea-io": "rhea-io.1", "rhea-nbd": "rhea-nbd.8"}
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def text_of(page):
    """The page's words, without markup; groff says what it cannot read."""
    done = subprocess.run(["groff", "-man", "-ww", "-z", page], stderr=subprocess.PIPE, text=True,
                          check=False)
    with open(page) as file:
        text = file.read().replace("\\-", "-")
    return re.sub(r"\\f[BIRP]|\\f\([A-Z]{2}", "", text), done.stderr


def said(tool, *args):
    return subprocess.run([tool, *args], stdout=subprocess.PIPE, text=True, check=True, timeout=20).stdout


def wanted(name, tool):
    """What the page is to have: (a name for messages, what is looked for, in which part of the page)."""
    text = said(tool, "--help")
    if name == "rhea-img":
        for command, rest in re.findall(r"^  (\w+) (.*)$", text, re.M):
            yield command, None
            for option in set(OPTION.findall(rest)):
                yield option, command
        return
    for option in set(OPTION.findall(text)):
        yield option, None
    if name == "rhea-io":
        for command in re.findall(r"^(\w+) .*-- ", said(tool, "-c", "help"), re.M):
            yield command, None


def main(folder):
    faults = []
    for name, page in PAGES.items():
        text, complaints = text_of(os.path.join(ROOT, "docs", "man", page))
        faults += ["%s: %s" % (page, line) for line in complaints.splitlines()]
        parts = {part.split()[0].strip("[]"): part for part in re.split(r"^\.TP\n", text, flags=re.M)[1:]
                 if part.split()}
        for word, part in wanted(name, os.path.join(folder, name)):
            where = text if part is None else parts.get(part, "")
            if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(word), where):
                faults.append("%s: %s%s is not there" % (page, part + " " if part else "", word))
    print("\n".join(faults))
    return 1 if faults else 0


sys.exit(main(os.path.dirname(sys.argv[1])))
