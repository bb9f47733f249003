#!/usr/bin/env python3
"""bytes-test.py: requests of any length at any place, many side by side, by every kind of host access, read
back by Debian's tools; and compressed clusters that several threads write.

Arguments: rhea-img, rhea-io, the number of seeds [, the first seed].  What a seed does is made from it alone.
"""
import os
import random
import sys

from tools import IMG, IO, Failure, main, run

KINDS = [("qcow2", ""), ("qcow2", "cluster_size=512"), ("qcow2", "cluster_size=4k"), ("raw", ""),
         ("qcow2", "extended_l2=on"), ("qcow2", "backing"), ("qcow2", "cluster_size=4k,backing"),
         ("qcow2", "lazy_refcounts=on"), ("qcow2", "data_file=bytes.data"),
         ("luks", "key-secret=key,iter-time=1"),
         ("qcow2", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1,cluster_size=4k")]
SECRET = ("--object", "secret,id=key,data=word")
LENGTHS = (1, 64, 511, 512, 513, 3000, 4096, 4097, 70001)
MIB = 1 << 20


def write_file(name, data):
    with open(name, "wb") as file:
        file.write(data)


class Image:
    """An image and what it has to hold."""

    def __init__(self, r):
        self.format, options = r.choice(KINDS)
        words = [w for w in options.split(",") if w and w != "backing"]
        self.name = "bytes." + self.format
        for name in (self.name, "bytes.data"):
            if os.path.exists(name):
                os.remove(name)
        size = MIB + (r.randrange(1, 4096) if self.format == "raw" else 512 * r.randrange(9))
        self.model = bytearray(size)
        behind = []
        if "backing" in options:
            data = (r.randbytes(4096) + bytes(8192)) * 64 + r.randbytes(r.randrange(1, 999))
            data = data[:size]
            write_file("behind", data + bytes(-len(data) % 512))
            self.model[:len(data)] = data
            behind = ["-b", "behind", "-F", "raw"]
        if self.format == "raw":
            write_file(self.name, bytes(size))
        else:
            options = ["-o", ",".join(words)] if words else []
            run(IMG["ours"], "create", *SECRET, "-q", "-f", self.format, *options, *behind, self.name,
                str(size))
        self.key = next((w for w in words if "key-secret" in w), "")

    def opened(self):
        """As tools name it."""
        words = "driver=%s,file.filename=%s" % (self.format, self.name)
        return ",".join(w for w in (words, self.key) if w)

    def put(self, at, data):
        self.model[at:at + len(data)] = data


def request(r, image, at, length, word=""):
    """A write or zeroes there, as a command; in the model at once."""
    kind, x = r.choice("wwwwzu"), r.randrange(1, 255)
    image.put(at, bytes([x if kind == "w" else 0]) * length)
    how = "-P %d" % x if kind == "w" else "-z" if kind == "z" else "-z -u"
    return "%swrite -q %s %d %d" % (word, how, at, length)


def several(r, image):
    """Requests beside one another, which overlap in no byte but in blocks; on threads of their own."""
    at, commands = r.randrange(len(image.model) - 70001), []
    for _ in range(8):
        length = r.choice((1, 64, 200, 512, 4096))
        commands.append(request(r, image, at, length, "aio_"))
        at += length
    return commands + ["aio_flush"]


def commands(r, image):
    # A new LUKS disk holds whatever its file's bytes mean.
    made = ["write -q -P 0 0 %d" % len(image.model)] if image.format == "luks" else []
    for _ in range(40):
        if r.randrange(8) == 0:
            made += several(r, image)
            continue
        length = r.choice(LENGTHS)
        made.append(request(r, image, r.randrange(len(image.model) - length + 1), length))
        if r.randrange(10) == 0:
            made.append("flush")
    return made


def one(seed):
    r = random.Random(seed)
    image = Image(r)
    mode = r.choice(("none", "none", "directsync", "writeback", "writethrough", "unsafe"))
    aio = r.choice(("threads", "native", "io_uring"))
    aio = "threads" if aio == "native" and mode not in ("none", "directsync") else aio
    words = [w for c in commands(r, image) for w in ("-c", c)]
    said = run(IO["ours"], *SECRET, "-t", mode, "-i", aio, *words, "--image-opts", image.opened())
    write_file("model", image.model + bytes(-len(image.model) % 512))
    if image.format == "raw" and os.path.getsize(image.name) > len(image.model) + 511:
        raise Failure("the file grew to %d bytes" % os.path.getsize(image.name))
    told = run(IMG["theirs"], "compare", *SECRET, "--image-opts", image.opened(),
               "driver=raw,file.filename=model")
    if "identical" not in told[0]:
        raise Failure("seed %d, %s, -t %s -i %s: %s %s" % (seed, image.name, mode, aio, said, told))
    if image.format == "qcow2":
        run(IMG["theirs"], "check", *SECRET, "-q", "--image-opts", image.opened())


def test_requests():
    count, first = int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1
    for seed in range(first, first + count):
        one(seed)


def test_compressed():
    """Clusters are packed byte by byte, several in a block."""
    r = random.Random(7)
    write_file("plain", b"".join((r.randbytes(r.randrange(1, 900)) * 2000)[:65536] for _ in range(256)))
    for kind in ("zlib", "zstd"):
        for mode in ("none", "writeback"):
            run(IMG["ours"], "convert", "-c", "-W", "-m", "16", "-t", mode, "-T", mode, "-O", "qcow2", "-o",
                "compression_type=" + kind, "plain", "packed")
            told = run(IMG["theirs"], "compare", "plain", "packed")
            if "identical" not in told[0]:
                raise Failure("%s, -t %s: %s" % (kind, mode, told))
            run(IMG["theirs"], "check", "-q", "packed")


if __name__ == "__main__":
    main([test_requests, test_compressed], on_disk=True)
