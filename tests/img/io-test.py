#!/usr/bin/env python3
"""io-test.py: rhea-io's options and breakpoints beside Debian's qemu-io: status and both texts are the same.
Arguments: rhea-img, rhea-io.
"""
import os
import subprocess
import time

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


def debug(name="top.qcow2", below='{"driver":"file","filename":"%s"}'):
    return 'json:{"driver":"qcow2","file":{"driver":"blkdebug","image":' + below % name + "}}"


def breakpoints():
    """What stops, what goes on, and what is refused: the same on either side."""
    aio = "aio_write 0 64k"
    for lines in (
            ["break write_aio A", aio, "wait_break A", "resume A", "aio_flush", "read -P 0xcd 0 64k"],
            ["break read_aio A", "write 0 64k", "aio_read -P 0xcd 0 64k", "wait_break A", "resume A",
             "aio_flush"],
            ["break pwritev A", aio, "wait_break A", "resume A", "aio_flush"],
            ["break cluster_alloc A", aio, "wait_break A", "resume A", "aio_flush"],
            ["break l2_alloc_write A", aio, "wait_break A", "resume A", "aio_flush"],
            # Two that stop one request.
            ["break write_aio A", "break write_aio B", aio, "wait_break A", "resume A", "wait_break B",
             "resume B", "aio_flush", "resume A"],
            # A breakpoint stops one request only.
            ["break write_aio A", aio, "wait_break A", "resume A", "aio_flush", "aio_write 64k 64k",
             "aio_flush", "write 128k 4k", "resume A"],
            # Others go on meanwhile; the last that was stopped goes on first.
            ["break write_aio A", aio, "wait_break A", "write -P 5 128k 64k", "read -P 5 128k 64k",
             "resume A", "aio_flush"],
            ["break write_aio A", aio, "wait_break A", "break write_aio B", "aio_write 64k 64k",
             "wait_break B", "resume A", "resume B", "aio_flush", "read -P 0xcd 0 128k"],
            ["break write_aio A", aio, "wait_break A", "remove_break A", "aio_flush"],
            ["break write_aio A", "break write_aio A", "remove_break A", "remove_break A", aio,
             "aio_flush"],
            ["break none A", "remove_break A"], ["break foo A"], ["break foo"], ["break"], ["resume"],
            ["resume A"], ["remove_break A"], ["wait_break"], ["break write_aio A", "resume A"],
            ["aio_write 100M 4k", "aio_flush"], ["aio_read -P 99 0 4k", "aio_flush"]):
        got = {}
        for side in ("ours", "theirs"):
            prepare(side)
            status, out, err = outcome(side, [*commands(*lines), debug()], io=True)
            got[side] = status, sorted(out.splitlines()), err
            run(IMG["theirs"], "check", "-q", "top.qcow2")
        same(got["ours"], got["theirs"], "\n".join(lines))
    for line in ("break write_aio A", "resume A", "remove_break A"):
        io("-c", line, "top.qcow2")


def together():
    """Many requests under way are all told of, and one that ends while a line is waited for at once."""
    prepare("ours")
    places = range(0, 1 << 20, 16384)
    lines = ["aio_write -P %d %d 16k" % (at >> 14, at) for at in places] + ["aio_flush", "length"]
    out = run(IO["ours"], *commands(*lines), "top.qcow2")[0].splitlines()
    same(sorted(line for line in out if line.startswith("wrote")),
         sorted("wrote 16384/16384 bytes at offset %d" % at for at in places), out)
    same(out[-1], "1 MiB", "the length after aio_flush")
    run(IO["theirs"], *commands(*["read -P %d %d 16k" % (at >> 14, at) for at in places]), "top.qcow2")
    with subprocess.Popen([IO["ours"], "top.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        tool.stdin.write(b"aio_read 0 4k\naio_read 4k 4k\n")
        tool.stdin.flush()
        done = 0
        while done < 2:
            done += b"ops/sec" in tool.stdout.readline()
        tool.stdin.write(b"quit\n")
        tool.stdin.close()
        same(tool.wait(timeout=30), 0, "quit")
    for line in ("aio_read -i 0 4k", "aio_write -i 0 4k", "sleep x", "sleep -1", "sleep 1", "sleep", "help",
                 "help close", "help sleep", "help map", "r -z 0 1", "read -P", "discard -z 0 1"):
        got, want = (outcome(side, ["-c", line, debug()], io=True) for side in ("ours", "theirs"))
        if line == "help":
            got, want = ([r for r in side[1].splitlines() if "reopen" not in r and "truncate" not in r]
                         for side in (got, want))
        same(got, want, line)


def for_ever():
    """What would never come is said; the end lets all go on.  Debian's waits for ever."""
    start = ["break write_aio A", "aio_write 0 64k", "wait_break A"]
    for lines, why in ((["wait_break A"], "No such file"),
                       (["break read_aio B", "wait_break B"], "none is on"),
                       (start + ["wait_break B"], "No such file"), (start + ["aio_flush"], "has stopped")):
        prepare("ours")
        status, out, _ = run(IO["ours"], *commands(*lines), debug(), status=None)
        same((status, why in out), (1, True), out)
    for last in ([], ["quit"], ["close"], ["resume A", "close", "length"]):
        prepare("ours")
        out = run(IO["ours"], *commands(*start, *last), debug(), status=1 if "length" in last else 0)[0]
        same("Resuming request 'A'" in out and "wrote 65536" in out, True, out)
        run(IO["theirs"], *commands("read -P 0xcd 0 64k"), "top.qcow2")
    # Through a node that does not let the request's own thread ask the file.
    prepare("ours")
    node = debug(below='{"driver":"raw","file":{"driver":"file","filename":"%s"}}')
    for event in ("pwritev", "flush_to_disk"):
        run(IO["ours"], "-C", *commands("break %s A" % event, "aio_write -f 0 64k", "wait_break A",
                                        "resume A", "aio_flush", "read -P 0xcd 0 64k"), node)


def at_once():
    """Each request takes its time; many at once take it once: 20 s one after another."""
    null = "driver=null-co,size=1M,latency-ns=500000000,read-zeroes=on"
    begin = time.monotonic()
    reads = ["aio_read -P 0 %dk 4k" % i for i in range(0, 160, 4)]
    out, _ = run(IO["ours"], "--image-opts", *commands(*reads, "aio_flush"), null)
    took = time.monotonic() - begin
    same(out.count("read 4096/4096 bytes"), 40, out)
    if not 0.5 <= took < 20:
        raise Failure("it took %f s" % took)
    for driver in ("null-co", "null-aio"):
        opts = "driver=%s,size=1M,latency-ns=1000,read-zeroes=on" % driver
        io("--image-opts", *commands("read -P 0 0 4k", "write 0 4k", "flush", "discard 0 4k", "length"), opts)


def words():
    """Patterns that are none, ranges past the end, and what aio_write and info say."""
    for line in ("write -P 256 0 512", "write -P -1 0 512", "write -P 1k 0 512", "write -P foo 0 512",
                 "read -P foo 0 512", "aio_read -P 300 0 512", "readv -P 999 0 512", "aio_write -P x 0 512",
                 "write -P 0x41 0 512", "write -P 012 0 512", "read -P 7 -s 600 0 512",
                 "read -P 7 -s 100 -l 500 0 512", "read -P 7 -s 100 -l 412 0 512", "read -P 7 -s 512 0 512",
                 "read -P 7 -l 513 0 512", "read -P 8 -s 1 0 512", "read -P 7 -l 18446744073709551615 0 512",
                 "aio_write -z 0 32k 32k", "aio_write -u 0 4k", "write -z -P 3 0 4k", "write -z -s f 0 4k"):
        io(*commands(line, "read 0 512"), "top.qcow2")
    io(*commands("aio_write -q -z -P 3 0 64k", "aio_flush", "read -P 0 0 64k"), "top.qcow2")
    for kind in ("cluster_size=4k", "cluster_size=2M", "compat=0.10", "extended_l2=on", "refcount_bits=1"):
        run(IMG["theirs"], "create", "-q", "-f", "qcow2", "-o", kind, "one.img", "700M")
        io(*commands("info"), "one.img")
    io(*commands("info"), "-f", "raw", "one.img")


def reopen():
    """Read-only and back, another cache mode, and what cannot be."""
    for lines in (["reopen -r", "write 0 4k", "reopen -w", "write 0 4k", "read -P 0xcd 0 4k"], ["reopen"],
                  ["reopen -w", "write 0 4k"], ["reopen -r", "reopen", "write 0 4k"],
                  ["write -P 3 0 64k", "reopen -c none", "read -P 3 0 64k", "write 0 4k", "info"],
                  ["write -P 3 0 64k", "reopen -r -c unsafe", "read -P 3 0 64k", "write 0 4k"],
                  ["reopen -r", "reopen -c writeback", "write 0 4k", "reopen -w", "write 0 4k"],
                  ["reopen -r", "reopen -o read-only=off", "write 0 4k"], ["reopen -o foo=bar"],
                  ["reopen -r", "reopen -o read-only=on", "write 0 4k"], ["reopen -o read-only=foo"],
                  ["reopen -r -w"], ["reopen -r -r"], ["reopen -c foo"], ["reopen -o"], ["reopen x"],
                  ["reopen -q"], ["reopen -o driver=raw"], ["reopen -r -o read-only=on"], ["reopen -o =x"],
                  ["reopen -o read-only=on,foo=bar"], ["close", "reopen -r"], ["help quit"]):
        io(*commands(*lines), "top.qcow2")
    io("-r", *commands("reopen -w", "write 0 4k", "read -P 0xcd 0 4k"), "top.qcow2")
    run("truncate", "-s", "1M", "plain.img")
    io("-f", "raw", *commands("reopen -r", "write 0 4k", "reopen -w", "write 0 4k"), "plain.img")
    prepare("ours")
    out, _ = run(IO["ours"], *commands("aio_write -P 5 0 1M", "reopen -r", "read -P 5 0 1M", "reopen -w",
                                       "write -P 6 0 4k"), "top.qcow2")
    did = [line.split()[0] for line in out.splitlines() if " bytes at " in line]
    same(did, ["wrote", "read", "wrote"], out)
    run(IMG["theirs"], "check", "top.qcow2")
    for words_, line in ((["-s"], "reopen -c none"), (["-C"], "reopen -r")):
        same(run(IO["ours"], *words_, "-c", line, "top.qcow2", status=None)[0], 1, line)


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
    for text, why in (("nonsense", "no trace event matches 'nonsense'"), ("foo=1", "'foo' is unexpected"),
                      ("events=none", "No such file"), ("*,file=/nonexistent/x", "cannot open trace file")):
        status, _, err = run(IO["ours"], "--trace", text, *show, "top.qcow2", status=None)
        if status != 1 or why not in err:
            raise Failure("-T %s: %d %s" % (text, status, err))
    run(IMG["ours"], "-T", "*,file=trace", "check", "top.qcow2")
    same(os.path.exists("trace"), True, "of rhea-img")
    for program in (IMG["ours"], IO["ours"]):
        same("loop_poll_begin\n" in run(program, "--trace", "help")[0], True, "the list")
    for words_, why in ((["-T"], "option '-T' requires an argument"), (["-T", "*"], "Not enough arguments"),
                        (["--trace=no", "info", "x"], "matches 'no'"), (["-x", "info", "x"], "option '-x'")):
        status, _, err = run(IMG["ours"], *words_, status=None)
        same((status, why in err), (1, True), err)


if __name__ == "__main__":
    main([options, together, breakpoints, for_ever, at_once, words, reopen, trace])
