#!/usr/bin/env python3
"""direct-test.py: what each command of rhea-img leaves when it goes past the host's cache, or through it.

Arguments: rhea-img, rhea-io, the number of seeds [, the first seed [, the folder]].  A seed is an operation,
cache modes, formats, and sizes that are multiples of nothing.  Debian's tool does the same to copies of the
files through the host's cache: the same must have come of it, the same must be in all of them, and it must
find no fault in ours.
"""
import json
import os
import random
import shutil
import sys

from tools import IMG, IO, Failure, main, run

MODES = ("none", "none", "none", "directsync", "writethrough", "unsafe", "writeback")
OPTIONS = ("", "cluster_size=512", "cluster_size=4k", "extended_l2=on", "cluster_size=1k,refcount_bits=1",
           "compat=0.10", "lazy_refcounts=on", "compression_type=zstd", "cluster_size=2M")
SIZES = (1, 511, 512, 513, 1000, 4095, 4097, 65535, 65537, 200001, 700000, 1048577, 1500 * 1024 + 512)
SECRET = ("--object", "secret,id=key,data=word")


def fill(r, name, size):
    """A file of pieces: data, zeroes and holes, which begin and end anywhere."""
    with open(name, "wb") as file:
        at = 0
        while at < size:
            length = min(size - at, r.choice((100, 512, 4096, 5000, 30000, 65536, 100001)))
            kind = r.randrange(4)
            if kind:
                file.seek(at)
                file.write([bytes(length), r.randbytes(length), b"abc" * length][kind - 1][:length])
            at += length
        file.truncate(size)


def writes(r, size, count):
    made = []
    for _ in range(count):
        length = min(size, r.choice((1, 100, 512, 513, 4096, 70001)))
        how = r.choice(("-P %d" % r.randrange(1, 255), "-P %d" % r.randrange(1, 255), "-z", "-z -u"))
        made += ["-c", "write -q %s %d %d" % (how, r.randrange(size - length + 1), length)]
    return made


def theirs(*words):
    run(IMG["theirs"], *words)


class Turn:
    """A seed: its choices, and the folders `ours` and `theirs`."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.said = []
        for side in ("ours", "theirs"):
            shutil.rmtree(side, ignore_errors=True)
        os.mkdir("ours")
        os.chdir("ours")

    def mode(self):
        return self.r.choice(MODES)

    def size(self):
        return self.r.choice(SIZES) + self.r.choice((0, 0, 65536, 1 << 20))

    def format(self):
        return self.r.choice(("raw", "qcow2", "qcow2"))

    def options(self):
        return self.r.choice(OPTIONS)

    def plain(self, name, fmt, size=0):
        """An image of @fmt that has something in it."""
        fill(self.r, "fill", size or self.size())
        if fmt == "raw":
            os.rename("fill", name)
            return
        options = self.options()
        theirs("convert", "-O", fmt, *(["-o", options] if options else []), "fill", name)
        os.remove("fill")

    def over(self, name, below, fmt):
        size = self.size() + 511 & ~511
        options = self.options()
        theirs("create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "-b", below, "-F", fmt,
               name, str(size))
        run(IO["theirs"], "-f", "qcow2", *writes(self.r, size, 6), name)

    def chain(self):
        """base, mid over it, top over that; the format of base."""
        fmt = self.format()
        self.plain("base", fmt)
        self.over("mid", "base", fmt)
        self.over("top", "mid", "qcow2")
        return fmt

    def both(self, words, cache=(), io=False):
        """The command here with @cache, and there without."""
        programs = IO if io else IMG
        if not os.path.isdir("../theirs"):
            run("cp", "-a", "--sparse=always", ".", "../theirs")
        here = words[:1] + list(cache) + words[1:]
        here = ["-t", self.mode(), *words] if io else here
        status, out, err = run(programs["ours"], *here, status=None)
        os.chdir("../theirs")
        words = [w.split(",cache.direct")[0] for w in words]
        want, want_out, want_err = run(programs["theirs"], *words, status=None)
        os.chdir("../ours")
        self.said.append("%s: %d %s%s" % (" ".join(here), status, out, err))
        if status != want:
            raise Failure("%d, not %d %s%s" % (status, want, want_out, want_err))
        return out, want_out

    def reads(self, name, fmt):
        """@name is on both sides the same."""
        length = []
        for side in ("ours", "theirs"):
            os.chdir("../" + side)
            words = [fmt, name] if fmt in ("raw", "qcow2") else ["", "--image-opts", fmt]
            words = ["-f", *words] if words[0] else words[1:]
            secret = SECRET if "key" in fmt else ()
            run(IMG["theirs"], "convert", *secret, *words, "-O", "raw", "../" + side + ".raw")
            if "driver=qcow2" in fmt or fmt == "qcow2":
                run(IMG["theirs"], "check", *secret, "-q", *words)
            length.append(os.path.getsize("../" + side + ".raw"))
        os.chdir("../ours")
        with open("../ours.raw", "rb") as one, open("../theirs.raw", "rb") as other:
            a, b = one.read(), other.read()
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(length))
            raise Failure("%s is different at byte %d; sizes %s" % (name, at, length))


def src_dst(t):
    return ("-T", t.mode(), "-t", t.mode())


def opened(t, name, fmt="qcow2"):
    """Options of an image that is opened past the cache, for commands that have no -t."""
    aio = t.r.choice(("threads", "io_uring", "native"))
    return ["--image-opts", "driver=%s,file.driver=file,file.filename=%s,"
            "cache.direct=on,file.cache.direct=on,file.aio=%s" % (fmt, name, aio)]


def do_convert(t):
    fmt, to = t.format(), t.format()
    t.plain("in", fmt)
    options = t.options() if to == "qcow2" else t.r.choice(("", "preallocation=full", "preallocation=falloc"))
    words = ["-o", options] if options else []
    words += t.r.choice(([], ["-S", "0"], ["-S", "4k"], ["-S", "64k"]))
    words += t.r.choice(([], ["-W"], ["-m", "16"], ["-W", "-m", "16"], ["-m", "1"]))
    words += ["-c"] if to == "qcow2" and t.r.randrange(3) == 0 else []
    t.both(["convert", "-f", fmt, "-O", to, *words, "in", "out"], src_dst(t))
    t.reads("out", to)


def do_convert_into(t):
    fmt, to = t.format(), t.format()
    size = t.size()
    t.plain("in", fmt, size)
    t.plain("out", to, size + t.r.choice((0, 0, 512, 100000)))
    words = t.r.choice(([], ["-S", "0"], ["-S", "4k"], ["-W"], ["-m", "16"]))
    t.both(["convert", "-n", "-f", fmt, "-O", to, *words, "in", "out"], src_dst(t))
    t.reads("out", to)


def do_convert_several(t):
    formats = ["raw", "raw", "raw"]
    for i, fmt in enumerate(formats):
        t.plain("in%d" % i, fmt)
    to = t.format()
    t.both(["convert", "-f", "raw", "-O", to, "in0", "in1", "in2", "out"], src_dst(t))
    t.reads("out", to)


def do_convert_backed(t):
    t.chain()
    options = t.options()
    words = ["-o", options] if options else []
    words += ["-c"] if t.r.randrange(3) == 0 else []
    t.both(["convert", "-f", "qcow2", "-O", "qcow2", *words, "-B", "mid", "-F", "qcow2", "top", "out"],
           src_dst(t))
    t.reads("out", "qcow2")


def do_convert_luks(t):
    t.plain("in", "raw")
    to = t.r.choice(("luks", "qcow2"))
    options = {"luks": "key-secret=key,iter-time=10", "qcow2": "encrypt.format=luks,encrypt.key-secret=key,"
               "encrypt.iter-time=10"}[to]
    words = t.r.choice(([], ["-W"], ["-m", "16"], ["-S", "0"]))
    t.both(["convert", *SECRET, "-f", "raw", "-O", to, *words, "-o", options, "in", "out"], src_dst(t))
    key = {"luks": "key-secret=key", "qcow2": "encrypt.key-secret=key"}[to]
    out = "driver=%s,file.filename=out,%s" % (to, key)
    t.reads("out", out)
    t.both(["convert", *SECRET, "--image-opts", "-O", "raw", out, "back"], src_dst(t))
    t.reads("back", "raw")


def do_dd(t):
    fmt, to = t.format(), t.format()
    t.plain("in", fmt)
    words = ["bs=%d" % t.r.choice((512, 513, 1000, 4096, 5000, 65536))]
    # Both together are not the same: Debian's takes what it skips from the count.
    words += t.r.choice(([], ["skip=%d" % t.r.randrange(4)], ["count=%d" % t.r.randrange(1, 40)]))
    t.both(["dd", "-f", fmt, "-O", to, *words, "if=in", "of=out"])
    t.reads("out", to)


def do_rebase(t):
    t.chain()
    fmt = t.format()
    t.plain("other", fmt)
    to = t.r.choice((["-b", "other", "-F", fmt], ["-b", ""], ["-b", "base", "-F", "raw"]))
    if to[1] == "base":
        to[3] = json.loads(run(IMG["theirs"], "info", "--output=json", "base")[0])["format"]
    words = ["-u"] if t.r.randrange(4) == 0 else []
    t.both(["rebase", "-q", "-f", "qcow2", *words, *to, "top"], src_dst(t))
    t.reads("top", "qcow2")


def do_commit(t):
    fmt = t.chain()
    words = t.r.choice(([], ["-d"], ["-b", "base"]))
    t.both(["commit", "-q", "-f", "qcow2", *words, "top"], ("-t", t.mode()))
    t.reads("base", fmt)
    if "base" not in words:
        t.reads("mid", "qcow2")
        t.reads("top", "qcow2")


def do_compare(t):
    fmt = t.format()
    size = t.size()
    t.plain("a", "raw", size)
    theirs("convert", "-f", "raw", "-O", fmt, "a", "b")
    if t.r.randrange(2):
        at = t.r.choice((0, size - 1, size // 2))
        run(IO["theirs"], "-f", fmt, "-c", "write -P 9 %d 1" % at, "b")
    if t.r.randrange(4) == 0:
        run(IMG["theirs"], "resize", "-q", "-f", fmt, "b", "+%d" % t.r.choice((512, 102400)))
    out, want = t.both(["compare", "-f", "raw", "-F", fmt, "a", "b"], ("-T", t.mode()))
    if out != want:
        raise Failure("not %s" % want)


def do_resize(t):
    fmt = t.format()
    t.plain("in", fmt)
    for _ in range(3):
        words = []
        size = t.size() + 511 & ~511
        if t.r.randrange(3) == 0:
            words = ["--preallocation=" + t.r.choice(("falloc", "full", "off"))]
        t.both(["resize", "-q", "--shrink", *words, *opened(t, "in", fmt), str(size)])
        t.reads("in", fmt)
        t.both(["-f", fmt, *writes(t.r, size, 3), "in"], io=True)


def do_amend(t):
    """Not the width of reference counts: Debian's tool may then not come to an end."""
    t.plain("in", "qcow2")
    for _ in range(0 if "zstd" in run(IMG["theirs"], "info", "in")[0] else 3):
        options = t.r.choice(("compat=0.10", "compat=1.1", "compat=1.1,lazy_refcounts=on",
                              "lazy_refcounts=off"))
        t.both(["amend", "-q", "-f", "qcow2", "-o", options, "in"], ("-t", t.mode()))
        t.reads("in", "qcow2")


def bitmaps(name):
    info = json.loads(run(IMG["theirs"], "info", "--output=json", name)[0])
    return info["format-specific"]["data"].get("bitmaps")


def do_bitmap(t):
    size = 1500 * 1024 + 512 * t.r.randrange(9)
    for name in ("a", "b"):
        cluster = t.r.choice(("512", "4k", "64k"))
        theirs("create", "-q", "-f", "qcow2", "-o", "cluster_size=" + cluster, name, str(size))
    for name in ("a", "b"):
        t.both(["bitmap", "--add", "-g", t.r.choice(("512", "4k", "64k")), *opened(t, name), "x"])
        t.both(["-f", "qcow2", *writes(t.r, size, 8), name], io=True)
    t.both(["bitmap", "--add", "--merge", "x", "-b", "a", "-F", "qcow2", *opened(t, "b"), "y"])
    t.both(["bitmap", t.r.choice(("--disable", "--clear", "--enable")), *opened(t, "b"), "x"])
    for name in ("a", "b"):
        t.reads(name, "qcow2")
        if bitmaps(name) != bitmaps("../theirs/" + name):
            raise Failure("%s, not %s" % (bitmaps(name), bitmaps("../theirs/" + name)))
    t.both(["convert", "--bitmaps", "-f", "qcow2", "-O", "qcow2", "b", "out"], src_dst(t))
    if bitmaps("out") != bitmaps("../theirs/out"):
        raise Failure("%s, not %s" % (bitmaps("out"), bitmaps("../theirs/out")))
    t.reads("out", "qcow2")


def do_snapshot(t):
    t.plain("in", "qcow2", 700000 + t.r.randrange(99999))
    for turn in range(3):
        t.both(["snapshot", "-c", "s%d" % turn, *opened(t, "in")])
        t.both(["-f", "qcow2", *writes(t.r, 700000, 5), "in"], io=True)
    t.both(["snapshot", "-d", "s0", *opened(t, "in")])
    t.both(["convert", "-l", "s2", "-f", "qcow2", "-O", "raw", "in", "out"], src_dst(t))
    t.reads("out", "raw")
    t.both(["snapshot", "-a", "s1", *opened(t, "in")])
    t.reads("in", "qcow2")


def do_check(t):
    """An image nobody closed, its refcounts behind."""
    options = "lazy_refcounts=on,cluster_size=" + t.r.choice(("512", "4k", "64k"))
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-o", options, "in", "3M")
    left = [*writes(t.r, 3 << 20, 12), "-c", "flush", "-c", "abort"]
    run(IO["theirs"], "-f", "qcow2", *left, "in", status=None)
    for _ in range(2):
        t.both(["check", "-q", "-f", "qcow2", "-r", "all", "in"], ("-T", t.mode()))
    t.reads("in", "qcow2")


OPERATIONS = [f for name, f in sorted(globals().items()) if name.startswith("do_")]


def one(operation, seed):
    t = Turn("%s%d" % (operation.__name__, seed))
    try:
        operation(t)
    except Failure as wrong:
        told = "\n  ".join([*t.said, str(wrong)])
        raise Failure("%s, seed %d\n  %s" % (operation.__name__, seed, told)) from wrong
    finally:
        os.chdir("..")


def test_of(operation):
    def test():
        first = int(sys.argv[4]) if len(sys.argv) > 4 else 1
        wrong = []
        for seed in range(first, first + int(sys.argv[3])):
            try:
                one(operation, seed)
            except Failure as failure:
                wrong.append(str(failure))
        if wrong:
            raise Failure("\n".join(wrong))
    test.title = operation.__name__
    return test


if __name__ == "__main__":
    main([test_of(f) for f in OPERATIONS], on_disk=True)
