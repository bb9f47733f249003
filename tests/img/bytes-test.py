#!/usr/bin/env python3
"""bytes-test.py: writes, zeroes and discards of any length at any place, many side by side, by every kind of
host access, read back by Debian's tools; and compressed clusters that several threads write.

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
LENGTHS = (1, 64, 511, 512, 513, 3000, 4096, 4097, 8192, 65536, 70001)
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
        self.model, self.loose = bytearray(size), bytearray(size)
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
        self.loose[at:at + len(data)] = bytes(len(data))

    def let_go(self, at, length):
        """What is discarded reads as it did or as zeroes; decrypted, zeroes are anything."""
        self.loose[at:at + length] = bytes([2 if self.format == "luks" else 1]) * length

    def wrong(self, got):
        """The first place where @got is not what it has to be, or None."""
        for block in range(0, len(self.model), 4096):
            end = min(block + 4096, len(self.model))
            if got[block:end] == self.model[block:end]:
                continue
            for at in range(block, end):
                may = self.loose[at] == 2 or (self.loose[at] and got[at] == 0)
                if got[at] != self.model[at] and not may:
                    return at
        return None


def request(r, image, at, length, word=""):
    """A write or zeroes there, as a command; in the model at once."""
    kind, x = r.choice("wwwwzud"), r.randrange(1, 255)
    if kind == "d":
        image.let_go(at, length)
        return "discard -q %d %d" % (at, length)
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
        if r.randrange(6) == 0:
            made.append("flush")
    return made


def one(seed):
    r = random.Random(seed)
    image = Image(r)
    mode = r.choice(("none", "none", "directsync", "writeback", "writethrough", "unsafe"))
    aio = r.choice(("threads", "native", "io_uring"))
    aio = "threads" if aio == "native" and mode not in ("none", "directsync") else aio
    how = r.choice(("unmap", "unmap", "ignore"))
    words = [w for c in commands(r, image) for w in ("-c", c)]
    said = run(IO["ours"], *SECRET, "-t", mode, "-i", aio, "-d", how, *words, "--image-opts", image.opened())
    if image.format == "raw" and os.path.getsize(image.name) > len(image.model) + 511:
        raise Failure("the file grew to %d bytes" % os.path.getsize(image.name))
    run(IMG["theirs"], "convert", *SECRET, "-O", "raw", "--image-opts", image.opened(), "got")
    with open("got", "rb") as file:
        wrong = image.wrong(file.read())
    if wrong is not None:
        raise Failure("seed %d, %s, -t %s -i %s -d %s: byte %d: %s" %
                      (seed, image.name, mode, aio, how, wrong, said))
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
