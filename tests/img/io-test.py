#!/usr/bin/env python3
"""io-test.py: rhea-io's options and breakpoints beside Debian's qemu-io: status and both texts are the same.
Arguments: rhea-img, rhea-io.
"""
import os

from tools import IMG, IO, Failure, main, outcome, run, same


def prepare(side):
    """top.qcow2 has nothing of its own; base.qcow2 has 7 in its first 128k."""
    run("sh", "-c", "rm -f *.qcow2 trace")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    run(IO["theirs"], "-c", "write -q -P 7 0 128k", "base.qcow2")
    run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")


def io(*words):
    """What each side says to the same words, over the same files; and what they leave in the images."""
    got = {}
    for side in ("ours", "theirs"):
        prepare(side)
        got[side] = outcome(side, words, io=True), [
            run(IO["theirs"], "-f", "qcow2", "-c", "map", name)[0] for name in ("base.qcow2", "top.qcow2")]
    same(got["ours"], got["theirs"], " ".join(words))
    return got["ours"]


def commands(*lines):
    return [word for line in lines for word in ("-c", line)]


def options():
    """-s, -C, -m and their likes among open's options: effect, and what cannot be."""
    write, back = commands("write -P 9 0 64k", "read -P 9 0 64k", "map"), commands("read -P 7 0 64k")
    for words in (["-s"], ["--snapshot"], ["-s", "-n"], ["-s", "-C"]):
        io(*words, *write, "top.qcow2")
        same(run(IO["ours"], *back, "base.qcow2", "-r")[0].startswith("read"), True, "the image as it was")
    for words in (["-C"], ["--copy-on-read"]):
        _, maps = io(*words, *commands("read -P 7 0 4k", "read -P 7 64k 4k", "map"), "top.qcow2")
        same("allocated at offset 0 bytes" in maps[1] and "128 KiB" in maps[1].splitlines()[0], True, maps[1])
    for words in (["-m"], ["--misalign"], ["-m", "-n"], ["-m", "-n", "-k"]):
        io(*words, *commands("write -P 9 0 64k", "read -P 9 512 1k", "read -v 8 20", "readv -P 9 0 1k 1k"),
           "top.qcow2")
    for words in (["-r"], ["-s", "-r"], ["-C", "-r"], ["-C", "-s", "-r"]):
        for line in ("write 0 4k", "aio_write 0 4k", "discard 0 4k", "truncate 2M", "read -P 7 0 4k"):
            io(*words, "-c", line, "top.qcow2")
    io(*commands("open -s top.qcow2", "write 0 4k", "close", "open -C top.qcow2", "read -P 7 0 4k"))
    for line in ("open -C -r top.qcow2", "open -s none", "open -s -r top.qcow2"):
        io(*commands(line, "write 0 4k"))
    for words in (["-s"], ["-C"], ["-s", "-C"]):
        io(*words, "-c", "length", "none")
    for words in (["foo:bar"], ['json:{"driver":"file","filename":"none"}']):
        io("-c", "length", *words)
    io("-s", "--image-opts", "driver=qcow2,file.filename=top.qcow2", *write)


def trace():
    """Events go where they are told to; one that is not there is refused by its name."""
    prepare("ours")
    show = commands("length")
    with open("events", "w") as file:
        file.write("# these\n*\n")
    for text in ("*,file=trace", "enable=*,file=trace", "events=events,file=trace"):
        run(IO["ours"], "-T", text, *commands("read 0 4k"), "top.qcow2")
        same(os.path.exists("trace"), True, text)
        os.unlink("trace")
    for text, why in (("nonsense", "no trace event matches 'nonsense'"), ("foo=1", "Invalid parameter 'foo'"),
                      ("events=none", "No such file"), ("*,file=/nonexistent/x", "cannot open trace file")):
        status, _, err = run(IO["ours"], "--trace", text, *show, "top.qcow2", status=None)
        if status != 1 or why not in err:
            raise Failure("-T %s: %d %s" % (text, status, err))


if __name__ == "__main__":
    main([options, trace])
