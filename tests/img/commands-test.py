#!/usr/bin/env python3
"""commands-test.py: every command of rhea-img and rhea-io as scripts see it: status, output and errors are
those of
Debian's tools, word for word where a script would look.  Arguments: rhea-img, rhea-io.
"""
import filecmp
import json
import os
import re
import subprocess

from tools import IMG, IO, main, outcome, run, same

# Words; both sides must end alike and print the same on standard output and standard error.
ALIKE = [
    "create -f qcow2 out 10M", "create out 1M", "create -f raw -o preallocation=full out 1M",
    "create -f qcow2 -o cluster_size=4k,preallocation=metadata out 3M",
    "create -f qcow2 -o compat=0.10 out 1M",
    "create -f qcow2 -b base.qcow2 -F qcow2 out", "create -u -f qcow2 -b none -F raw out 1M",
    "create -f qcow2 -o data_file=ext.raw,data_file_raw=on out 1M", "create out", "create -f qcow2 out",
    "create -f foo out 1M", "create -f qcow2 -o cluster_size=3k out 1M", "create -f qcow2 -o bla=3 out 1M",
    "create -f qcow2 -o refcount_bits=3 out 1M", "create -f qcow2 -o compat=0.10,lazy_refcounts=on out 1M",
    "create -f qcow2 -o compat=0.10,extended_l2=on out 1M", "create -f qcow2 -o compat=9 out 1M",
    "create -f qcow2 -o extended_l2=on,cluster_size=4k out 1M", "create -f qcow2 -o data_file_raw=on out 1M",
    "create -f qcow2 -o compression_type=lz4 out 1M", "create -f qcow2 -o preallocation=foo out 1M",
    "create -f qcow2 -o lazy_refcounts=maybe out 1M", "create -f qcow2 -o cluster_size=1k out 999T",
    "create -f qcow2 -b base.qcow2 out", "create -f raw -b base.qcow2 out 1M",
    "create -f raw /nonexistent/out 1M",
    "create -f qcow2 -b base.qcow2 -F qcow2 -o preallocation=metadata out",
    "info base.qcow2", "info --output=json base.qcow2", "info --backing-chain top.qcow2", "info none", "info",
    "info base.qcow2 top.qcow2", "info --bla", "info --output=foo base.qcow2", "info -f qcow2 plain.raw",
    "info --backing-chain --output=json top.qcow2", "info plain.raw", "info old.qcow2", "info ext.qcow2",
    "check base.qcow2", "check --output=json base.qcow2", "check -f raw plain.raw", "check none",
    "check -q base.qcow2",
    "map base.qcow2", "map --output=json base.qcow2", "map --output=json top.qcow2", "map none",
    "map --output=json --start-offset=64k --max-length=128k base.qcow2", "map --output=json packed.qcow2",
    "map packed.qcow2", "map -f raw odd.raw", "map -f raw --output=json odd.raw",
    "map -f raw --output=json --start-offset=2k --max-length=300 odd.raw",
    "compare base.qcow2 base.qcow2", "compare base.qcow2 top.qcow2", "compare base.qcow2 none",
    "compare -q base.qcow2 top.qcow2", "compare -s base.qcow2 plain.raw", "compare base.qcow2 empty.raw",
    "convert base.qcow2", "convert -O foo base.qcow2 out", "convert -S 3 base.qcow2 out",
    "convert -m 99 base.qcow2 out",
    "convert -c -O raw base.qcow2 out", "convert -C -S 4k base.qcow2 out",
    "convert -n -O raw base.qcow2 none",
    "convert -t foo base.qcow2 out", "convert -O qcow2 -o foo=1 base.qcow2 out",
    "convert -O qcow2 base.qcow2 out", "convert -r x base.qcow2 out", "convert -r 1G base.qcow2 out",
    "convert -l one kept.qcow2 out", "convert -l 2 kept.qcow2 out", "convert -l x kept.qcow2 out",
    "convert -l snapshot.id=1,snapshot.name=one kept.qcow2 out", "convert -l one -f raw plain.raw out",
    "convert -l snapshot.id=1,snapshot.name=two kept.qcow2 out", "convert -l snapshot.x=1 kept.qcow2 out",
    "convert -l one kept.qcow2 kept.qcow2 out", "commit -r x top.qcow2", "commit -r 1G top.qcow2",
    "convert --bitmaps -O qcow2 marked.qcow2 out", "convert --bitmaps -O raw marked.qcow2 out",
    "convert --bitmaps -f raw -O qcow2 plain.raw out",
    "convert --bitmaps -O qcow2 marked.qcow2 kept.qcow2 out",
    "convert --skip-broken-bitmaps -O qcow2 marked.qcow2 out",
    "convert --bitmaps -n -O qcow2 marked.qcow2 old.qcow2",
    "convert --bitmaps -O qcow2 broken.qcow2 out",
    "convert --bitmaps --skip-broken-bitmaps -O qcow2 broken.qcow2 out",
    "measure --size 1G -O qcow2 --output=json", "measure -O raw base.qcow2", "measure --size 1T",
    "measure -O raw -l one kept.qcow2", "measure -O raw -l x kept.qcow2", "measure -l one --size 1M",
    "measure -O qcow2 marked.qcow2", "measure -O qcow2 --output=json marked.qcow2",
    "measure -O qcow2 -o cluster_size=4k marked.qcow2", "measure -O qcow2 -o compat=0.10 marked.qcow2",
    "measure -O qcow2 base.qcow2", "measure -O qcow2 -f raw plain.raw",
    "measure -f raw --size 1M", "measure -O qcow2 -l one -f raw plain.raw",
    "resize base.qcow2 3M", "resize -q base.qcow2 +1M", "resize base.qcow2",
    "resize -f raw --shrink plain.raw 512k",
    "commit base.qcow2", "commit top.qcow2", "commit -d top.qcow2", "commit -b base.qcow2 top.qcow2",
    "commit -b none top.qcow2", "rebase -u -b  base.qcow2",
    "rebase -u -b base.qcow2 -F qcow2 top.qcow2",
    "dd if=plain.raw of=out bs=64k count=2", "dd if=plain.raw of=out bs=0", "foo", "",
    "bench -c 0 -f raw plain.raw", "check",
    "snapshot kept.qcow2", "snapshot -l kept.qcow2", "snapshot -l base.qcow2", "snapshot -c s base.qcow2",
    "snapshot -a one kept.qcow2", "snapshot -a 1 kept.qcow2", "snapshot -a x kept.qcow2",
    "snapshot -d one kept.qcow2", "snapshot -d 1 kept.qcow2", "snapshot -l -c x kept.qcow2", "snapshot",
    "snapshot -l none", "info kept.qcow2", "info --output=json kept.qcow2", "check kept.qcow2",
    "info marked.qcow2", "info --output=json marked.qcow2", "check marked.qcow2",
    "snapshot -c s marked.qcow2",
    "snapshot -a two marked.qcow2",
    "bitmap --add base.qcow2 b", "bitmap --add -g 4k --disable base.qcow2 b", "bitmap --add marked.qcow2 on",
    "bitmap --clear marked.qcow2 on", "bitmap --merge off marked.qcow2 on",
    "bitmap --remove marked.qcow2 off",
    "bitmap --merge on -b marked.qcow2 -F qcow2 --add base.qcow2 b", "bitmap --merge x marked.qcow2 on",
    "bitmap --enable marked.qcow2 x", "bitmap marked.qcow2 on", "bitmap --add marked.qcow2", "bitmap --add",
    "bitmap --clear -g 64k marked.qcow2 on", "bitmap --add -b base.qcow2 marked.qcow2 b",
    "bitmap --merge on -F qcow2 marked.qcow2 off",
]
# What differs knowingly: Debian's are words of a longer story.
ONLY_STATUS = {"create -f qcow2 -b base.qcow2 out", "info --backing-chain top.qcow2",
               "measure --size 1G -O qcow2 "
               "--output=json", "info ext.qcow2", "compare base.qcow2 none", "check", "info --bla", "",
               "create out", "bench -c 0 -f raw plain.raw", "convert -t foo base.qcow2 out"}

# Ours says "Formatting" when the options are known to be possible.
NOT_OUTPUT = {"create -f qcow2 -o compat=9 out 1M", "create -f qcow2 -o compression_type=lz4 out 1M",
              "create -f qcow2 -o preallocation=foo out 1M"}

# What is a hole of the file, and what zeroes in it, differs.
NOT_CONTENTS = {"create -f qcow2 -o cluster_size=4k,preallocation=metadata out 3M",
                "create -f qcow2 -o data_file=ext.raw,data_file_raw=on out 1M"}

REQUESTS = [
    "read 0 4k", "write -P 5 0 100k", "read -P 5 0 4k", "read -P 6 0 4k", "read -v 0 32", "read -v 5 19",
    "read -q 0 4k",
    "write -P 7 512k 4k", "write -z 128k 64k", "write -c 192k 64k", "flush", "length", "aio_read 0 4k",
    "aio_write -P 3 0 4k", "aio_flush", "readv 0 4k 4k", "writev -P 2 0 4k 4k", "truncate 3M", "length",
    "foo", "read",
    "read 0", "read 3 4k", "read 10M 4k", "read -z 0 4k", "write -n 0 4k", "write -f 0 4k",
    "write -s none 0 4k",
    "write 10M 4k", "discard 10M 4k", "discard 1M 64k", "quit", "write 1k 1", "read -P 2 -l 100 -s 0 0 4k",
    "read -s 0 0 4k", "read -P 5 -s 1k 0 4k", "read abc 4k", "close", "open x", "length 3",
]


def holder(image):
    """A program that has the image open, and has written to it."""
    it = subprocess.Popen([IO["theirs"], "-f", "qcow2", image], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    it.stdin.write(b"write 0 4k\n")
    it.stdin.flush()
    while b"wrote" not in it.stdout.readline():
        pass
    return it


def cut_off(image):
    """Its bitmaps are in use when the program that has it ends."""
    with holder(image) as it:
        it.kill()


def prepare():
    with open("odd.raw", "wb") as file:                 # it ends within a sector
        file.write(b"odd" * 1000)
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "base.qcow2", "2M")
    run(IO["theirs"], "-c", "write -P 3 0 256k", "-c", "write -P 4 1M 64k", "base.qcow2")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    run(IO["theirs"], "-c", "write -P 9 64k 128k", "top.qcow2")
    run(IMG["theirs"], "convert", "-c", "-O", "qcow2", "base.qcow2", "packed.qcow2")
    run(IMG["theirs"], "create", "-q", "-f", "raw", "plain.raw", "1M")
    run(IO["theirs"], "-f", "raw", "-c", "write -P 9 0 1M", "plain.raw")
    run(IMG["theirs"], "create", "-q", "-f", "raw", "empty.raw", "1M")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "1M")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "ext.qcow2", "1M")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "kept.qcow2", "1M")
    run(IMG["theirs"], "snapshot", "-c", "one", "kept.qcow2")
    run(IMG["theirs"], "snapshot", "-c", "two", "kept.qcow2")
    run("cp", "kept.qcow2", "marked.qcow2")
    run(IMG["theirs"], "bitmap", "--add", "marked.qcow2", "on")
    run(IMG["theirs"], "bitmap", "--add", "--disable", "-g", "512", "marked.qcow2", "off")
    run(IO["theirs"], "-c", "write 64k 64k", "marked.qcow2")
    run("cp", "marked.qcow2", "broken.qcow2")
    run(IMG["theirs"], "bitmap", "--remove", "broken.qcow2", "off")
    cut_off("broken.qcow2")


def fresh():
    """The files that prepare() made, once, and nothing else."""
    if not os.path.isdir("template"):
        os.mkdir("template")
        os.chdir("template")
        prepare()
        os.chdir("..")
    run("sh", "-c", "rm -f *.raw *.qcow2 out; cp -p template/* .")


def as_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def contents(name):
    """What is where in an image, as far as its owner can tell; None: it cannot be opened alone."""
    if not name.endswith(".qcow2") and not run("head", "-c4", name)[0].startswith("QFI"):
        return run("md5sum", name)[0]
    status, out, _ = run(IMG["theirs"], "map", "-U", "--output=json", name, status=None)
    stretches = []
    for s in json.loads(out) if status == 0 else []:
        what = (s["depth"], s["zero"] and not s["data"], s["data"])
        if not stretches or stretches[-1][1:] != what:
            stretches.append((s["start"],) + what)
    own = json.loads(run(IMG["theirs"], "info", "-U", "--output=json", name)[0])
    return (stretches, own["format-specific"]["data"].get("bitmaps")) if status == 0 else None


def changed():
    """The files that are new or hold something else than before, with what that is."""
    got = {}
    for name in sorted(f for f in os.listdir(".") if f == "out" or f.endswith((".raw", ".qcow2"))):
        before = "template/" + name
        there = os.path.exists(before)
        if not (there and filecmp.cmp(name, before, shallow=False)):
            got[name] = contents(name)
            if there and got[name] == contents(before):
                del got[name]
    return got


def alike(command):
    """Each side works on a fresh set of files, and leaves it with the same contents."""
    def test():
        got = {}
        for side in ("ours", "theirs"):
            fresh()
            status, out, err = outcome(side, command.split(" ") if command else [])
            warnings = [line for line in err.splitlines() if "robing" not in line and not line.startswith(" ")
                        and "dangerous" not in line]
            out = "\n".join(re.sub(r"\d+-\d+-\d+ \d+:\d+:\d+", "DATE", line) for line in out.splitlines()
                            if "disk size" not in line)
            body = as_json(out)
            for image in body if isinstance(body, list) else [body]:
                if isinstance(image, dict):
                    image.pop("actual-size", None)
                    for snapshot in image.get("snapshots", []):
                        snapshot.update({"date-sec": 0, "date-nsec": 0})
            got[side] = (status,) if command in ONLY_STATUS else (
                status, None if command in NOT_OUTPUT else body, warnings[:1])
            got[side] += (changed(),) if command not in NOT_CONTENTS else ()
        same(got["ours"], got["theirs"], command)
    test.title = "rhea-img " + command
    return test


def raw_data():
    """What a raw data file has is the disk's."""
    for extended in ("off", "on"):
        run("rm", "-f", "raw", "over")
        options = "data_file=raw,data_file_raw=on,extended_l2=" + extended
        run(IMG["ours"], "create", "-q", "-f", "qcow2", "-o", options, "over", "3M")
        run(IO["theirs"], "-f", "raw", "-c", "write -q -P 7 1M 1M", "raw")
        for side in ("ours", "theirs"):
            run(IMG[side], "compare", "-q", "-f", "qcow2", "-F", "raw", "over", "raw")
        run(IMG["theirs"], "check", "-q", "over")


def requests():
    for side in ("ours", "theirs"):
        run(IMG["theirs"], "create", "-q", "-f", "qcow2", side + ".qcow2", "2M")
    for command in REQUESTS:
        got = [outcome(side, ["-c", command, side + ".qcow2"], io=True) for side in ("ours", "theirs")]
        same(got[0], got[1], command)
    run(IMG["ours"], "compare", "-q", "ours.qcow2", "theirs.qcow2")


def names():
    """Under another name the messages begin with that."""
    run("ln", "-s", IMG["ours"], "qemu-img")
    status, _, err = run("./qemu-img", "info", "none", status=None)
    same((status, err), (1,
                         "qemu-img: Could not open 'none': "
                          "Could not open 'none': No such file or directory\n"),
         "argv[0]")


def help_names():
    """Each command of theirs is in our help, with each of its options."""
    def options(side):
        text = run(IMG[side], "--help")[0]
        return {command: set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", rest))
                for command, rest in re.findall(r"^  (\w+) (\[.*|\(.*)$", text, re.M)}
    ours, theirs = options("ours"), options("theirs")
    same(len(theirs) > 10, True, "their commands: " + " ".join(theirs))
    lacks = {c: o - ours.get(c, set()) for c, o in theirs.items()}
    same({c: o for c, o in lacks.items() if o}, {}, "not in our help")


def small_header():
    """In a cluster of 512 bytes the names of features give way to what the image needs."""
    prepare()
    run(IMG["ours"], "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "tiny.qcow2", "1M")
    run(IMG["ours"], "bitmap", "--add", "tiny.qcow2", "b0")
    run(IMG["ours"], "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "named.qcow2", "1M")
    run(IMG["ours"], "rebase", "-u", "-b", "plain.raw", "-F", "raw", "named.qcow2")
    facts = [json.loads(run(IMG["theirs"], "info", "--output=json", name)[0]) for name in
             ("tiny.qcow2", "named.qcow2")]
    same([b["name"] for b in facts[0]["format-specific"]["data"].get("bitmaps", [])], ["b0"], "bitmaps")
    same([facts[1].get("backing-filename" + more) for more in ("", "-format")], ["plain.raw", "raw"], "names")


def closing():
    """What cannot be written when an image is closed, as a bitmap, is a failure like others."""
    prepare()
    run(IMG["ours"], "create", "-q", "-f", "qcow2", "new.qcow2", "1M")
    below = "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=new.qcow2"
    _, told = run(IMG["ours"], "bitmap", "--add", "--image-opts", below +
                  ",file.inject-error.0.event=pwritev", "b0", status=1)
    if "Input/output error" not in told:
        raise Failure("it says: " + told)
    run(IMG["theirs"], "bitmap", "--add", "new.qcow2", "b0")           # it is not there


def locked():
    """A second writer is refused, a reader with -U is not."""
    prepare()
    held = holder("base.qcow2")
    try:
        _, _, err = run(IMG["ours"], "resize", "base.qcow2", "+1M", status=None)
        same("lock" in err, True, "the message: " + err)
        run(IMG["ours"], "info", "base.qcow2", status=1)
        run(IMG["ours"], "info", "-U", "base.qcow2")
    finally:
        held.stdin.close()
        held.wait()


if __name__ == "__main__":
    main([alike(c) for c in dict.fromkeys(ALIKE)] + [requests, raw_data, names, help_names, small_header,
                                                        closing, locked])
