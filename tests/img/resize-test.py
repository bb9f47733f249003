#!/usr/bin/env python3
"""resize-test.py: space that resize and rhea-io's truncate set aside, beside Debian's tools; and what is left
of an image when there is no space.  Arguments: rhea-img, rhea-io.
"""
import json
import os

from tools import IMG, IO, Failure, main, outcome, run, same

KINDS = ["", "extended_l2=on", "cluster_size=4k", "cluster_size=512", "compat=0.10", "refcount_bits=1",
         "data_file=ext.raw"]


def create(kind, below, size="1M"):
    """disk.qcow2; with @below over 4 MiB of sevens."""
    run("sh", "-c", "rm -f disk.qcow2 ext.raw")
    if not os.path.exists("below.raw"):
        run(IMG["theirs"], "create", "-q", "-f", "raw", "below.raw", "4M")
        run(IO["theirs"], "-f", "raw", "-c", "write -q -P 7 0 4M", "below.raw")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", *(["-o", kind] if kind else []),
        *(["-b", "below.raw", "-F", "raw"] if below else []), "disk.qcow2", size)


def facts():
    """The parts of the map that are there, and the image's size."""
    at = json.loads(run(IMG["theirs"], "map", "--output=json", "disk.qcow2")[0])
    info = json.loads(run(IMG["theirs"], "info", "--output=json", "disk.qcow2")[0])
    parts = [(e["start"], e["depth"], "offset" in e) for e in at]
    return [part for i, part in enumerate(parts) if not i or part[1:] != parts[i - 1][1:]], \
        info["virtual-size"]


def sound(status=(0,)):
    for side in ("theirs", "ours"):
        got = run(IMG[side], "check", "disk.qcow2", status=None)
        if got[0] not in status:
            raise Failure("%s check: %s" % (side, got))


def modes():
    """Each kind of image, each mode: the same texts and map, sound, zeroes where it has grown."""
    for kind in KINDS:
        for below in (False, True):
            for how in ("metadata", "full") if kind else ("off", "metadata", "falloc", "full"):
                got = {}
                theirs_fail = kind == "compat=0.10" and below
                for side in ("ours", "theirs"):
                    create(kind, below, "1000000")
                    words = ["resize", "--preallocation=" + how, "disk.qcow2", "3M"]
                    got[side] = outcome(side, words), facts()[how != "metadata":]
                    if side == "theirs" and theirs_fail:
                        continue       # version 2 over something: they have no way to say "zeroes"
                    sound()
                    run(IO["theirs"], "-c", "read -P %d 0 999424" % (7 if below else 0),
                        "-c", "read -P 0 1000448 2145280", "disk.qcow2")
                if theirs_fail or kind == "data_file=ext.raw":
                    continue
                same(got["ours"], got["theirs"], "%s %s %s" % (kind, below, how))


def again():
    """What was set aside is written to in place, grows on, shrinks, and is compared."""
    create("", True)
    for words in (["--preallocation=metadata", "disk.qcow2", "2M"], ["disk.qcow2", "3M"],
                  ["--preallocation=metadata", "disk.qcow2", "6M"], ["--shrink", "disk.qcow2", "1536k"],
                  ["--preallocation=metadata", "disk.qcow2", "8M"]):
        run(IMG["ours"], "resize", *words)
        sound()
    for side in ("ours", "theirs"):
        before = os.stat("disk.qcow2").st_size
        run(IO[side], "-c", "write -P 3 1M 64k", "-c", "write -P 3 7M 4k", "-c", "read -P 0 2M 5M",
            "-c", "read -P 7 0 1M", "disk.qcow2")
        same(os.stat("disk.qcow2").st_size, before, "the file's size")
        sound()
    run(IMG["theirs"], "convert", "-O", "raw", "disk.qcow2", "flat.raw")
    run(IMG["theirs"], "compare", "disk.qcow2", "flat.raw")
    run(IMG["ours"], "compare", "disk.qcow2", "flat.raw")


def no_space():
    """The old size or one that is told; nothing is wrong with the image.  A fault that stays leaves leaks."""
    failed = 0
    for event in ("cluster_alloc", "l2_alloc_write", "l2_update", "l1_update", "refblock_alloc",
                  "refblock_update_part", "pwritev", "write_aio", "flush_to_disk", "flush_to_os"):
        for once in (True, False):
            for below in (False, True):
                create("cluster_size=512", below)
                rule = {"event": event, "errno": 28, "once": once, "immediately": True}
                name = "json:" + json.dumps({"driver": "qcow2", "file": {
                    "driver": "blkdebug", "inject-error": [rule],
                    "image": {"driver": "file", "filename": "disk.qcow2"}}})
                status, _, err = run(IMG["ours"], "resize", "--preallocation=metadata", name, "3M",
                                     status=None)
                sound((0,) if once else (0, 3))
                size = facts()[1]
                same(size in ((3 << 20,) if status == 0 else (1 << 20, 3 << 20)), True, err)
                if size == 3 << 20 and status and str(size) not in err:
                    raise Failure("%s %s: %d bytes, and it says %s" % (event, once, size, err))
                if status and "No space left on device" not in err:
                    raise Failure(err)
                failed += status != 0
                run(IO["theirs"], "-c", "read -P %d 0 1M" % (7 if below else 0), "disk.qcow2")
    if failed < 10:
        raise Failure("only %d met a fault" % failed)


def full_disk():
    """Where the host has no room nothing is begun: the old size, nothing leaks, no space is taken."""
    if os.geteuid() != 0:
        return
    os.mkdir("small")
    run("mount", "-t", "tmpfs", "-o", "size=6m", "small", "small")
    try:
        for how, size in (("metadata", "20G"), ("falloc", "20M"), ("full", "20M")):
            run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "small/x", "2M")
            run(IO["theirs"], "-c", "write -q -P 5 0 1M", "small/x")
            before = os.stat("small/x").st_blocks
            for _ in range(2):
                status, _, err = run(IMG["ours"], "resize", "--preallocation=" + how, "small/x", size,
                                     status=None)
                same((status, "No space left on device" in err), (1, True), how + err)
                for side in ("ours", "theirs"):
                    run(IMG[side], "check", "-q", "small/x")
                run(IO["theirs"], "-c", "read -P 5 0 1M", "small/x")
                info = json.loads(run(IMG["ours"], "info", "--output=json", "small/x")[0])
                same(info["virtual-size"], 2 << 20, how)
                same(os.stat("small/x").st_blocks, before, how)
            run(IMG["ours"], "resize", "-q", "--preallocation=" + how, "small/x", "3M")
            run(IMG["theirs"], "check", "-q", "small/x")
    finally:
        run("umount", "small")


def refused():
    for words in (["--preallocation=foo", "disk.qcow2", "3M"],
                  ["--preallocation=metadata", "disk.qcow2", "1M"],
                  ["--preallocation=metadata", "disk.qcow2", "512k"],
                  ["--preallocation=", "disk.qcow2", "512k"],
                  ["-f", "raw", "--preallocation=metadata", "below.raw", "8M"]):
        got = {}
        for side in ("ours", "theirs"):
            create("", False)
            got[side] = outcome(side, ["resize", *words]), facts()
        same(got["ours"], got["theirs"], " ".join(words))
    for words in (["create", "-f", "qcow2", "out", "8E"], ["create", "out", "16E"],
                  ["measure", "--size", "8E"],
                  ["create", "out", "99999999999999999999999"]):
        same(outcome("ours", words), outcome("theirs", words), " ".join(words))


def truncate():
    """The command of rhea-io: the same texts and sizes."""
    for line in ("truncate -m foo 2M", "truncate -m foo foo", "truncate 1000", "truncate -m off 2000",
                 "truncate",
                 "truncate -m off 2M", "truncate -m metadata 2M", "truncate -m falloc 2M",
                 "truncate -m full 2M",
                 "truncate -m metadata 512k", "truncate -m off 512k", "truncate -m", "truncate foo",
                 "truncate 8E", "truncate -x 1M", "truncate 2M 3M", "truncate -m full 2M 3M",
                 "help truncate"):
        for image in (["disk.qcow2"], ["-f", "raw", "plain.raw"], ["-r", "disk.qcow2"]):
            got = {}
            for side in ("ours", "theirs"):
                create("", True)
                run("truncate", "-s", "1M", "plain.raw")
                got[side] = outcome(side, ["-c", line, "-c", "length", *image], io=True), facts()
                sound()
            same(got["ours"], got["theirs"], line)


if __name__ == "__main__":
    main([modes, again, no_space, full_disk, refused, truncate])
