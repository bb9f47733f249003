#!/usr/bin/env python3
"""hostile-test.py: images that lie.  Each command ends soon, in bounded memory, with one line that names the
file, or
does what it should; it never crashes.  Arguments: rhea-img, rhea-io.
"""
import os
import resource
import struct
import random

from tools import IMG, IO, Failure, main, run, same

MEMORY = 1 << 30


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    if "asan" not in IMG["ours"]:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def tool(*words):
    status, out, err = run(IMG["ours"], *words, status=None, limit=60, preexec_fn=limits)
    if status not in (0, 1, 2, 3, 4, 63):
        raise Failure("%s: status %d\n%s" % (" ".join(words), status, err[-2000:]))
    return status, out, err


def image(name="x.qcow2", size="10M", options="cluster_size=64k"):
    run(IMG["ours"], "create", "-q", "-f", "qcow2", "-o", options, name, size)
    run(IO["ours"], "-f", "qcow2", "-c", "write -P 7 0 1M", "-c", "write -P 8 3M 1M", name)


def poke(at, fmt, *values, name="x.qcow2"):
    with open(name, "r+b") as file:
        file.seek(at)
        file.write(struct.pack(">" + fmt, *values))


def peek(at, name="x.qcow2"):
    with open(name, "rb") as file:
        file.seek(at)
        return struct.unpack(">Q", file.read(8))[0]


def every_command(refused=True):
    """What everybody does with an image he was given."""
    for words in (["info", "-f", "qcow2", "x.qcow2"], ["map", "-f", "qcow2", "x.qcow2"], ["convert", "-f",
                                                            "qcow2", "-O", "raw", "x.qcow2", "out.raw"],
                  ["compare", "-f", "qcow2", "-F", "raw", "x.qcow2", "y.raw"], ["resize", "-f", "qcow2",
                                                            "x.qcow2", "+1M"]):
        status, _, err = tool(*words)
        if refused:
            if status == 0 or len(err.strip().splitlines()) not in (1, 2) or "x.qcow2" not in err:
                raise Failure("%s: status %d, %r" % (" ".join(words), status, err))
    tool("check", "-f", "qcow2", "x.qcow2")
    tool("check", "-r", "all", "-f", "qcow2", "x.qcow2")


def header_case(title, at, fmt, *values):
    def test():
        image()
        open("y.raw", "wb").close()
        os.truncate("y.raw", 10 << 20)
        poke(at, fmt, *values)
        every_command()
    test.title = title
    return test


HEADERS = [
    header_case("an unknown version", 4, "I", 9), header_case("clusters of one byte", 20, "I", 0),
    header_case("clusters of 2 GiB", 20, "I", 31), header_case("an endless disk", 24, "Q", (1 << 63) - 1),
    header_case("an L1 table of 4 GiB", 36, "I", 0x1fffffff), header_case("an L1 table beyond the end", 40,
                                                            "Q", 1 << 50),
    header_case("an unaligned L1 table", 40, "Q", 0x30001), header_case("no refcount table", 56, "I", 0),
    header_case("a refcount table of 256 TiB", 56, "I", 0xffffffff),
    header_case("a refcount table beyond the end", 48, "Q", 1 << 55),
    header_case("refcounts of 2^200 bits", 96, "I", 200), header_case("an unknown feature", 72, "Q", 1 << 60),
    header_case("a header of 4 GiB", 100, "I", 0xfffffff8), header_case("an unknown cipher", 32, "I", 77),
    header_case("a backing file name beyond the cluster", 8, "QI", 65530, 1000),
    header_case("a million snapshots", 60, "I", 1000000), header_case("an extension that is too long", 112,
                                                            "II", 1, 1 << 30),
]


def truncated():
    image()
    size = os.path.getsize("x.qcow2")
    open("y.raw", "wb").close()
    for length in (0, 3, 71, 100, 512, 65536, 3 * 65536 + 5, size // 2):
        image()
        os.truncate("x.qcow2", length)
        every_command(refused=length < 65536)


def self_reference():
    run(IMG["ours"], "create", "-q", "-u", "-f", "qcow2", "-b", "x.qcow2", "-F", "qcow2", "x.qcow2x", "1M")
    os.rename("x.qcow2x", "x.qcow2")
    status, _, err = tool("convert", "-O", "raw", "x.qcow2", "out.raw")
    same((status, len(err.splitlines())), (1, 1), err)
    status, _, err = tool("info", "--backing-chain", "x.qcow2")
    same((status, "infinite loop" in err), (1, True), err)
    tool("commit", "x.qcow2")


def loop():
    for name, below in (("x.qcow2", "b.qcow2"), ("b.qcow2", "x.qcow2")):
        run(IMG["ours"], "create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2", name, "1M")
    status, _, err = tool("map", "x.qcow2")
    same((status, len(err.splitlines())), (1, 1), err)
    same(tool("info", "--backing-chain", "x.qcow2")[0], 1, "info")
    tool("commit", "-b", "nowhere", "x.qcow2")


def entries():
    """L1 and L2 entries, and refcounts, that point anywhere."""
    for value in (0, 1, 3 << 16, 65536, (1 << 63) | 65536, (1 << 63) | 0x30000, 1 << 40,
                  (1 << 62) | (1 << 61) | 5,
                  (1 << 63) | 0x50200, (1 << 64) - 1):
        for where in ("l1", "l2", "rt", "rb"):
            image()
            l1, rt = peek(40), peek(48)
            at = {"l1": l1, "rt": rt, "l2": peek(l1) & 0x00fffffffffffe00, "rb": peek(rt)}[where]
            poke(at, "Q", value)
            before = os.path.getsize("x.qcow2")
            for words in (["map", "x.qcow2"], ["convert", "-O", "raw", "x.qcow2", "out.raw"], ["check",
                                                            "x.qcow2"]):
                tool(*words)
            run(IO["ours"], "-f", "qcow2", "-c", "write 5M 200k", "-c", "discard 0 2M", "x.qcow2",
                status=None,
                preexec_fn=limits)
            tool("check", "-r", "all", "x.qcow2")
            status, out, err = tool("check", "x.qcow2")
            if where in ("rt", "rb") and status not in (0, 1):
                raise Failure("%s = %#x is not repaired: %d %s%s" % (where, value, status, out, err))
            if os.path.getsize("x.qcow2") > before + (64 << 20):
                raise Failure("%s = %#x: the file grew to %d" % (where, value, os.path.getsize("x.qcow2")))


def noise():
    """Bytes of the metadata at random, by a seed."""
    for seed in range(60):
        rand = random.Random(seed)
        image(size="5M", options=rand.choice(["cluster_size=4k", "cluster_size=64k,extended_l2=on",
                                              "cluster_size=512",
                                              "compat=0.10,cluster_size=1k",
                                               "refcount_bits=1,cluster_size=4k"]))
        size = os.path.getsize("x.qcow2")
        for _ in range(rand.randrange(1, 12)):
            at = rand.choice([rand.randrange(0, 112), rand.randrange(0, min(size, 65536)), rand.randrange(0,
                                                            size)])
            poke(at, "B", rand.choice([0, 1, 255, rand.randrange(256)]))
        for words in (["info"], ["map"], ["convert", "-O", "raw"], ["check"], ["check", "-r", "all"]):
            extra = ["out.raw"] if "convert" in words else []
            if os.path.exists("out.raw"):
                os.unlink("out.raw")
            before = tool("info", "--output=json", "x.qcow2")
            size = before[1].partition('"virtual-size": ')[2].partition(",")[0]
            if size and int(size) > 1 << 34:
                continue       # terabytes of holes: slow, and right so
            tool(words[0], *words[1:], "-f", "qcow2", "x.qcow2", *extra)
        run(IO["ours"], "-f", "qcow2", "-c", "write 1M 200k", "-c", "write -z 0 1M", "x.qcow2", status=None,
            preexec_fn=limits)


def huge_counts():
    """A leak of nearly 2^64 references takes no longer to mend than one."""
    for count in ((1 << 64) - 1, 1 << 63, 1 << 40):
        image(options="refcount_bits=64")
        poke(peek(peek(48)), "Q", count)
        if tool("check", "-f", "qcow2", "x.qcow2")[0] != 3 or tool("check", "-r", "leaks", "-f", "qcow2",
                                                                   "x.qcow2")[0] != 0:
            raise Failure("a count of %d is not mended" % count)
        same(tool("check", "-f", "qcow2", "x.qcow2")[0], 0, "check of what was mended")


if __name__ == "__main__":
    main(HEADERS + [huge_counts, truncated, self_reference, loop, entries, noise])
