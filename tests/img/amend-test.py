#!/usr/bin/env python3
"""amend-test.py: `amend` against Debian's: the same image amended by either side says the same, is sound,
tells the same of itself and holds the same.  Arguments: rhea-img, rhea-io.
"""
import json
import os
import shutil

from tools import IMG, IO, Failure, main, outcome, run, same

WRITES = ["-c", "write -P 1 0 300k", "-c", "write -z 64k 64k", "-c", "write -z -u 1M 256k", "-c",
          "write -P 2 3M 70k", "-c", "write -P 3 2M 64k"]


def make(options="", backing=False, snapshot=None):
    """a.qcow2, with data, zero clusters and what is behind it; a snapshot before the last writes."""
    for name in ("a.qcow2", "d.raw"):
        if os.path.exists(name):
            os.remove(name)
    words = ["-o", options] if options else []
    if backing:
        run(IMG["theirs"], "create", "-q", "-f", "raw", "base", "4M")
        run(IO["theirs"], "-f", "raw", "-c", "write -P 9 0 4M", "base")
        words += ["-b", "base", "-F", "raw"]
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", *words, "a.qcow2", "4M")
    run(IO["theirs"], *WRITES, "a.qcow2")
    if snapshot:
        run(IMG["theirs"], "snapshot", "-c", snapshot, "a.qcow2")
        run(IO["theirs"], "-c", "write -P 5 1M 64k", "-c", "write -z 2M 32k", "-c", "write -P 6 0 4k",
            "a.qcow2")


def info(name):
    got = json.loads(run(IMG["theirs"], "info", "--output=json", name)[0])
    for key in ("filename", "actual-size", "children", "snapshots"):
        got.pop(key, None)
    return got


def contents(name, snapshot):
    """What theirs reads: of the image and of its snapshot."""
    run(IMG["theirs"], "convert", "-O", "raw", name, "out")
    if snapshot:
        run(IMG["theirs"], "convert", "-l", snapshot, "-O", "raw", name, "out.snapshot")
    return [open(each, "rb").read() for each in (["out", "out.snapshot"] if snapshot else ["out"])]


def try_both(options, snapshot=None):
    """Amends a copy with each side; what ours made agrees with itself and with what theirs made."""
    said, told, held = {}, {}, {}
    for side in IMG:
        shutil.copyfile("a.qcow2", "b.qcow2")
        said[side] = outcome(side, ["amend", "-o", options, "b.qcow2"])
        told[side] = info("b.qcow2")
        held[side] = contents("b.qcow2", snapshot)
        for checker in IMG if side == "ours" else ():      # theirs leaves flags of snapshots' clusters wrong
            run(IMG[checker], "check", "-q", "b.qcow2")
    text = (said["ours"][0], said["ours"][2].splitlines()[:1])
    same(text, (said["theirs"][0], said["theirs"][2].splitlines()[:1]), options)
    if told["ours"] != told["theirs"] or held["ours"] != held["theirs"]:
        raise Failure("%s: %r, theirs %r; contents %s" % (options, told["ours"], told["theirs"],
                                                        held["ours"] == held["theirs"]))
    return said["ours"][0]


def versions():
    for options, backing, snapshot in (("", True, "s"), ("cluster_size=4096", True, None),
                                       ("compat=0.10", False, "s"),
                                       ("lazy_refcounts=on,refcount_bits=64", False, None)):
        make(options, backing, snapshot)
        for step in ("compat=0.10", "compat=v3,lazy_refcounts=on", "compat=v2,refcount_bits=16"):
            try_both(step, snapshot)
    # Forth and back.
    make("", True, "s")
    before = contents("a.qcow2", "s")
    for step in ("compat=0.10", "compat=1.1", "compat=0.10"):
        run(IMG["ours"], "amend", "-o", step, "a.qcow2")
        run(IMG["theirs"], "check", "-q", "a.qcow2")
        run(IO["ours"], "-c", "write -P 6 0 4k", "-c", "discard 3584k 64k", "a.qcow2")
    after = contents("a.qcow2", "s")
    same(before[1] == after[1] and before[0][:3584 << 10] == after[0][:3584 << 10], True, "forth and back")


def encrypted():
    secret = ["--object", "secret,id=s0,data=hello"]
    image = "driver=qcow2,encrypt.key-secret=s0,file.filename=e.qcow2"
    run(IMG["theirs"], "create", "-q", "-f", "raw", "base", "4M")
    run(IO["theirs"], "-f", "raw", "-c", "write -P 9 0 4M", "base")
    run(IMG["theirs"], "create", "-q", *secret, "-f", "qcow2", "-b", "base", "-F", "raw", "-o",
        "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1", "e.qcow2", "4M")
    run(IO["theirs"], *secret, "--image-opts", *WRITES, image)
    run(IMG["theirs"], "convert", *secret, "--image-opts", "-O", "raw", image, "before")
    run(IMG["ours"], "amend", *secret, "-o", "compat=0.10", "--image-opts", image)
    run(IMG["theirs"], "convert", *secret, "--image-opts", "-O", "raw", image, "after")
    same(open("before", "rb").read() == open("after", "rb").read(), True, "encrypted zeroes")


def widths():
    for options, snapshot in (("", "s"), ("cluster_size=512", None), ("compat=0.10", None)):
        make(options, False, snapshot)
        for bits in ("1", "8", "64"):
            try_both("refcount_bits=" + bits, snapshot)
    for bits in ("0", "3", "128", "x"):
        try_both("refcount_bits=" + bits)
    try_both("compat=1.1,refcount_bits=4")


def others():
    make()
    for step in ("size=8M", "size=2M", "size=8M,lazy_refcounts=on,refcount_bits=32", "size=1000", "size=x",
                 "lazy_refcounts=x", "foo=1", "cluster_size=4096", "preallocation=off", "compat=2", "compat=",
                 "backing_file=b", "backing_fmt=raw", "backing_file=", "data_file=x", "data_file_raw=on",
                 "data_file_raw=off", "encrypt.keyslot=1", "compat=0.10,lazy_refcounts=on",
                 "compat=0.10,refcount_bits=8", "compat=0.10,size=8M"):
        try_both(step)
    make("", True)
    for step in ("backing_file=base,backing_fmt=raw", "backing_file=base", "backing_fmt=qcow2",
                 "backing_file=base,backing_fmt=raw,size=8M"):
        try_both(step)
    make("", False, "s")
    for step in ("compat=0.10", "refcount_bits=1"):
        try_both(step, "s")
    run(IMG["theirs"], "resize", "-q", "a.qcow2", "8M")
    try_both("compat=0.10", "s")
    for options in ("extended_l2=on", "data_file=d.raw", "data_file=d.raw,data_file_raw=on"):
        make(options)
        for step in ("compat=0.10", "data_file_raw=on", "data_file_raw=off", "refcount_bits=8"):
            try_both(step)


def refused():
    """Theirs goes on and loses the bitmap, or the compressed clusters; another data file is found."""
    for options in ("compression_type=zstd", ""):
        make(options)
        if not options:
            run(IMG["theirs"], "bitmap", "--add", "a.qcow2", "b0")
        before = open("a.qcow2", "rb").read()
        _, err = run(IMG["ours"], "amend", "-o", "compat=0.10", "a.qcow2", status=1)
        wanted = "features 0x8" if options else "with persistent bitmaps"
        if wanted not in err or open("a.qcow2", "rb").read() != before and options:
            raise Failure(err)
    make("data_file=d.raw")
    want = contents("a.qcow2", None)
    os.rename("d.raw", "e.raw")
    shutil.copyfile("e.raw", "d.raw")
    run(IMG["ours"], "amend", "-o", "data_file=e.raw", "a.qcow2")
    os.remove("d.raw")
    same(contents("a.qcow2", None) == want, True, "contents of the data file")
    same(info("a.qcow2")["format-specific"]["data"]["data-file"], "e.raw", "data_file")
    run(IMG["ours"], "amend", "-o", "data_file=", "a.qcow2", status=1)


def progress():
    make("cluster_size=512")
    out, _ = run(IMG["ours"], "amend", "-p", "-o", "compat=0.10", "a.qcow2")
    steps = out.split("\r")
    if [steps[0].strip(), *steps[-2:]] != ["(0.00/100%)", "    (100.00/100%)", "\n"] or len(steps) < 5:
        raise Failure(repr(out))
    for quiet in (["-q", "-p"], []):
        same(run(IMG["ours"], "amend", *quiet, "-o", "compat=1.1", "a.qcow2")[0], "", "quiet")


main([versions, encrypted, widths, others, refused, progress])
