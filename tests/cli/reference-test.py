#!/usr/bin/env python3
"""reference-test.py REFERENCE DOCS: the reference pages in DOCS are those the tables make."""
import os
import subprocess
import sys

stale = 0
for page in ("monitor", "options"):
    made = subprocess.run([sys.argv[1], page], stdout=subprocess.PIPE, text=True, check=True).stdout
    path = os.path.join(sys.argv[2], page + "-reference.md")
    with open(path, encoding="utf-8") as kept:
        if kept.read() != made:
            print("%s is stale: run 'ninja -C build %s-reference'" % (path, page))
            stale = 1
    # Every line of a table is there: the page cannot be empty by mistake.
    if made.count("\n") < 50:
        print("%s: a page of %d lines" % (page, made.count("\n")))
        stale = 1
sys.exit(stale)
