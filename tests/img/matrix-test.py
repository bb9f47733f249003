#!/usr/bin/env python3
"""matrix-test.py: images by a matrix of options, made by one side and written on by both in turn.

Arguments: rhea-img, rhea-io, the number of seeds.  A raw file that Debian's qemu-io writes the same things
to is the
model.  After each round both sides check the image, and each compares it with the model; then it is
converted,
resized, committed and rebased, and must still be the same.
"""
import random

from tools import IMG, IO, Failure, main, run   # noqa: E402
import sys

SIZE = 3 << 20
OPTIONS = ["cluster_size=64k", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M",
           "compat=0.10", "refcount_bits=64,cluster_size=8k", "refcount_bits=2,cluster_size=1k",
           "extended_l2=on", "extended_l2=on,cluster_size=16k", "extended_l2=on,preallocation=metadata",
           "preallocation=metadata", "preallocation=metadata,cluster_size=512", "preallocation=falloc",
           "preallocation=full", "lazy_refcounts=on", "compression_type=zstd", "data_file=data.raw",
           "data_file=data.raw,data_file_raw=on"]
BACKED = ["cluster_size=64k", "cluster_size=1k", "extended_l2=on", "refcount_bits=1", "compat=0.10"]


def operations(rand, cluster, count, compress):
    """Words for qemu-io; the same do on a raw file, but for compressed writes."""
    for _ in range(count):
        kind = rand.choice(["write", "write", "write", "zero", "packed", "small"])
        length = rand.randrange(1, 300) * 512 if kind != "small" else rand.randrange(1, 2000)
        step = 1 if kind == "small" else 512
        off = rand.randrange(0,
                             SIZE - length) // step * step
        fill = rand.randrange(1, 255)
        if kind == "zero":
            flag = rand.choice(["-z", "-z -u"])
            yield "write %s %d %d" % (flag, off, length), "write -z %d %d" % (off, length)
        elif kind == "packed" and compress:
            off = rand.randrange(0, SIZE // cluster) * cluster
            yield "write -c -P %d %d %d" % (fill, off, cluster), "write -P %d %d %d" % (fill, off, cluster)
        else:
            yield ("write -P %d %d %d" % (fill, off, length),) * 2


def cluster_of(options):
    for word in options.split(","):
        if word.startswith("cluster_size="):
            text = word.split("=")[1]
            return int(text[:-1]) << {"k": 10, "M": 20}[text[-1]] if not text.isdigit() else int(text)
    return 65536


def both_agree(image, model, backed):
    for side in ("ours", "theirs"):
        run(IMG[side], "check", "-q", "-f", "qcow2", image)
        run(IMG[side], "compare", "-q", "-f", "qcow2", "-F", "raw", image, model)


def write_on(rand, image, model, options, backed, rounds=4):
    for turn in range(rounds):
        side = ["ours", "theirs"][turn % 2]
        # Debian's tool compresses only into clusters that were never written.
        compress = side == "ours" and "data_file" not in options
        words, raw = [], []
        for op, plain in operations(rand, cluster_of(options), 12, compress):
            words += ["-c", op]
            raw += ["-c", plain]
        run(IO[side], "-f", "qcow2", "-d", "unmap", *words, image)
        run(IO["theirs"], "-f", "raw", *raw, model)
        both_agree(image, model, backed)


class Case:
    def __init__(self, options, backed, seed):
        self.options, self.backed, self.seed = options, backed, seed
        self.title = "%s%s, seed %d" % (options, ", backed" if backed else "", seed)

    def __call__(self):
        rand = random.Random("%s%s%d" % (self.options, self.backed, self.seed))
        maker = rand.choice(["ours", "theirs"])
        image, model = "image.qcow2", "model.raw"
        run(IMG["theirs"], "create", "-q", "-f", "raw", model, str(SIZE))
        below = []
        if self.backed:
            size = rand.choice([SIZE, SIZE // 2 // 512 * 512, 2 * SIZE])
            run(IMG["theirs"], "create", "-q", "-f", "raw", "base.raw", str(size))
            run(IO["theirs"], "-f", "raw", "-c", "write -P 77 0 %d" % size, "base.raw")
            run(IO["theirs"], "-f", "raw", "-c", "write -P 77 0 %d" % min(size, SIZE), model)
            below = ["-b", "base.raw", "-F", "raw"]
        run(IMG[maker], "create", "-q", "-f", "qcow2", "-o", self.options, *below, image, str(SIZE))
        both_agree(image, model, self.backed)
        write_on(rand, image, model, self.options, self.backed)
        self.copies(rand, image, model)
        self.resized(rand, image, model)
        if self.backed:
            self.merged(image, model)

    def copies(self, rand, image, model):
        options = ",".join(w for w in self.options.split(",") if not w.startswith(("data_file", "prealloc")))
        for side, other in (("ours", "theirs"), ("theirs", "ours")):
            extra = rand.choice([[], ["-W"], ["-S", "64k"], ["-m", "1"], ["-S", "0"]])
            run(IMG[side], "convert", *extra, "-f", "qcow2", "-O", "raw", image, "copy.raw")
            run("cmp", "copy.raw", model)
            run(IMG[side], "convert", *extra, "-f", "raw", "-O", "qcow2", *(["-o",
                                                            options] if options else []),
                model, "copy.qcow2")
            both_agree("copy.qcow2", model, False)
            run(IMG[side], "convert", "-c", "-O", "qcow2", *(["-o", options] if options else []), image,
                "copy.qcow2")
            both_agree("copy.qcow2", model, False)

    def resized(self, rand, image, model):
        """Debian's tool cannot grow version 2 over a backing file: only ours resizes."""
        if "data_file_raw" in self.options:
            return
        for _ in range(3):
            size = rand.randrange(1, 30) * 511 * 512
            for name, fmt in ((image, "qcow2"), (model, "raw")):
                run(IMG["ours"], "resize", "-q", "--shrink", "-f", fmt, name, str(size))
            both_agree(image, model, self.backed)

    def merged(self, image, model):
        """A rebase to nothing and back, and a commit, leave what is read as it was."""
        run("cp", image, "top.qcow2")
        run(IMG["ours"], "rebase", "-f", "qcow2", "-b", "", "top.qcow2")
        both_agree("top.qcow2", model, False)
        run(IMG["theirs"], "create", "-q", "-f", "raw", "other.raw", str(SIZE * 2))
        run(IO["theirs"], "-f", "raw", "-c", "write -P 66 512k 5M", "other.raw")
        run("cp", image, "top.qcow2")
        run(IMG["ours"], "rebase", "-f", "qcow2", "-b", "other.raw", "-F", "raw", "top.qcow2")
        both_agree("top.qcow2", model, True)
        run(IMG["ours"], "commit", "-q", "-f", "qcow2", "top.qcow2")
        both_agree("top.qcow2", model, True)
        size = int(run("stat", "-c", "%s", model)[0])
        run("cmp", "-n", str(size), "other.raw", model)


if __name__ == "__main__":
    seeds = range(int(sys.argv[3]))
    # Seed 7 shrinks an image to less than what is behind it, and makes it larger again.
    main([Case(o, False, s) for s in seeds for o in OPTIONS] + [Case("compat=0.10", True, 7)] +
         [Case(o, True, s) for s in seeds for o in BACKED])
