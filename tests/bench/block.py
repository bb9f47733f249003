#!/usr/bin/env python3
"""block: rhea-img against the installed qemu-img, interleaved in one run; bench.py starts it.

    tests/bench/bench.py tools        convert, compare, check, commit, rebase
    tests/bench/bench.py iops-raw     requests a second; fio beside them
    tests/bench/bench.py iops-cached  the same where the page cache is not all there is
    tests/bench/bench.py iops-allocated       and iops-growing, iops-backed: of qcow2 images
    tests/bench/bench.py image-open   an image of 1 TiB
    tests/bench/bench.py nbd          see nbd.py

1. Images lie on tmpfs, so that software is what is measured; those of iops-cached in DISK.  Figures are
   medians of ROUNDS rounds; in each round the programs take turns at every cell.  CPU is user and system
   time of the process.
2. Requests go to places a step apart that is odd in blocks and wraps around (bench -S), so each block is met
   once, in an order without neighbours; both programs meet them in the same order.
3. RHEA_IMG names the program, else it is the one built as it is released.
4. RT=1 lets both programs run before everything else (chrt -f 1): on a busy machine rates depend less on
   how many threads they ask for their share with.
5. The file behind the image of iops-backed holds data.  Its writes are without a flush; FLUSH=N has one every
   N requests.
"""
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import nbd

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
DISK = os.environ.get("DISK", "/var/tmp")
RT = ["chrt", "-f", "1"] if os.environ.get("RT") else []
FLUSH = os.environ.get("FLUSH", "")
ONLY = os.environ.get("ONLY", "")              # a regular expression: cells to be measured
IMG = {"rhea": os.environ.get("RHEA_IMG", ROOT + "/build/release/img/rhea-img"),
       "qemu": os.environ.get("BASE_IMG", "qemu-img")}
MIB = 1 << 20


def timed(command, folder):
    """Seconds, seconds of CPU and the output of a command."""
    out = open(folder + "/out", "w+")
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    out.seek(0)
    text = out.read()
    if process.returncode:
        sys.exit("%s: status %d\n%s" % (" ".join(command), process.returncode, text))
    return took, usage.ru_utime + usage.ru_stime, text


def shell(text, folder):
    subprocess.run(["bash", "-ec", text], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |", flush=True)


# --- tools ---

def tools_images(folder):
    """dense: random bytes; sparse: 64 KiB of them in each MiB of much more; text: what can be packed."""
    with open(folder + "/dense.raw", "wb") as file:
        for _ in range(256):
            file.write(os.urandom(MIB))
    with open(folder + "/sparse.raw", "wb") as file:
        file.truncate(2048 * MIB)
        for i in range(2048):
            file.seek(i * MIB + (i * 37 % 15) * 65536)
            file.write(os.urandom(65536))
    with open(folder + "/text.raw", "wb") as file:
        words = [os.urandom(6).hex().encode() for _ in range(256)]
        for _ in range(64):
            file.write(b" ".join(words[b] for b in os.urandom(90000))[:MIB])
    shell("""
        for i in dense sparse text; do qemu-img convert -O qcow2 $i.raw $i.qcow2; cp $i.raw $i-2.raw; done
        for z in zlib zstd; do qemu-img convert -c -O qcow2 -o compression_type=$z text.raw $z.qcow2; done
        qemu-img create -f qcow2 -F qcow2 -b sparse.qcow2 middle.qcow2
        qemu-img create -f qcow2 -F qcow2 -b middle.qcow2 top.qcow2
        for i in middle top; do
            qemu-img bench -f qcow2 -w -c 400 -s 65536 -S 5308416 -t unsafe --pattern=7 $i.qcow2
        done
        qemu-img convert -O raw top.qcow2 flat.raw
        qemu-img create -f qcow2 -F qcow2 -b sparse.qcow2 small.qcow2
        qemu-img bench -f qcow2 -w -c 2000 -s 65536 -S 5308416 -t unsafe --pattern=9 small.qcow2
        qemu-img create -f qcow2 -F raw -b sparse.raw on-raw.qcow2
        qemu-img bench -f qcow2 -w -c 2000 -s 65536 -S 5308416 -t unsafe --pattern=9 on-raw.qcow2
        qemu-img create -f qcow2 -o preallocation=metadata huge.qcow2 64G
        """, folder)


TOOLS = [                      # what, preparation, command
    ("convert raw to raw, dense", "", "convert -f raw -O raw dense.raw o"),
    ("convert raw to qcow2, dense", "", "convert -f raw -O qcow2 dense.raw o"),
    ("convert qcow2 to raw, dense", "", "convert -f qcow2 -O raw dense.qcow2 o"),
    ("convert qcow2 to qcow2, dense", "", "convert -f qcow2 -O qcow2 dense.qcow2 o"),
    ("convert -W raw to qcow2, dense", "", "convert -W -f raw -O qcow2 dense.raw o"),
    ("convert -C raw to raw, dense", "", "convert -C -f raw -O raw dense.raw o"),
    ("convert raw to raw, sparse", "", "convert -f raw -O raw sparse.raw o"),
    ("convert raw to qcow2, sparse", "", "convert -f raw -O qcow2 sparse.raw o"),
    ("convert qcow2 to raw, sparse", "", "convert -f qcow2 -O raw sparse.qcow2 o"),
    ("convert qcow2 to qcow2, sparse", "", "convert -f qcow2 -O qcow2 sparse.qcow2 o"),
    ("convert -c, zlib", "", "convert -c -f raw -O qcow2 -o compression_type=zlib text.raw o"),
    ("convert -c, zstd", "", "convert -c -f raw -O qcow2 -o compression_type=zstd text.raw o"),
    ("convert zlib to raw", "", "convert -f qcow2 -O raw zlib.qcow2 o"),
    ("convert zstd to raw", "", "convert -f qcow2 -O raw zstd.qcow2 o"),
    ("convert zlib to qcow2", "", "convert -f qcow2 -O qcow2 zlib.qcow2 o"),
    ("convert chain of 3 to raw", "", "convert -f qcow2 -O raw top.qcow2 o"),
    ("convert chain of 3 to qcow2", "", "convert -f qcow2 -O qcow2 top.qcow2 o"),
    ("compare raw, raw, dense", "", "compare -f raw -F raw dense.raw dense-2.raw"),
    ("compare raw, qcow2, dense", "", "compare -f raw -F qcow2 dense.raw dense.qcow2"),
    ("compare raw, raw, sparse", "", "compare -f raw -F raw sparse.raw sparse-2.raw"),
    ("compare raw, qcow2, sparse", "", "compare -f raw -F qcow2 sparse.raw sparse.qcow2"),
    ("compare raw, zlib", "", "compare -f raw -F qcow2 text.raw zlib.qcow2"),
    ("compare raw, zstd", "", "compare -f raw -F qcow2 text.raw zstd.qcow2"),
    ("compare raw, chain of 3", "", "compare -f raw -F qcow2 flat.raw top.qcow2"),
    ("check, dense", "", "check -f qcow2 dense.qcow2"),
    ("check, 64 GiB of metadata", "", "check -f qcow2 huge.qcow2"),
    ("check, zlib", "", "check -f qcow2 zlib.qcow2"),
    ("commit to qcow2", "cp sparse.qcow2 base; cp small.qcow2 o; "
     "qemu-img rebase -u -f qcow2 -F qcow2 -b base o", "commit -q -f qcow2 o"),
    ("commit -d to qcow2", "cp sparse.qcow2 base; cp small.qcow2 o; "
     "qemu-img rebase -u -f qcow2 -F qcow2 -b base o", "commit -q -d -f qcow2 o"),
    ("commit to raw", "cp sparse.raw base; cp on-raw.qcow2 o; qemu-img rebase -u -f qcow2 -F raw -b base o",
     "commit -q -f qcow2 o"),
    ("rebase to nothing", "cp small.qcow2 o", "rebase -f qcow2 -b '' o"),
    ("rebase to another", "cp small.qcow2 o", "rebase -f qcow2 -F qcow2 -b dense.qcow2 o"),
    ("rebase to a copy", "cp small.qcow2 o", "rebase -f qcow2 -F raw -b sparse.raw o"),
    ("rebase to further below", "cp top.qcow2 o", "rebase -f qcow2 -F qcow2 -b sparse.qcow2 o"),
    ("rebase -u", "cp small.qcow2 o", "rebase -u -f qcow2 -F qcow2 -b dense.qcow2 o"),
]
CP = {"convert raw to raw, dense": "cp dense.raw o", "convert raw to raw, sparse": "cp sparse.raw o"}


def tools(folder):
    tools_images(folder)
    cells = [c for c in TOOLS if re.search(ONLY, c[0])]
    took = {c[0]: {} for c in cells}
    for _ in range(ROUNDS):
        for what, prepare, command in cells:
            runs = [(name, [program] + shlex.split(command)) for name, program in IMG.items()]
            runs += [("cp", shlex.split(CP[what]))] if what in CP else []
            for name, run in runs:
                shell("rm -f o; " + prepare, folder)
                took[what].setdefault(name, []).append(timed(run, folder)[:2])
    rows = []
    for what, _, _ in cells:
        wall, cpu = ({name: statistics.median(r[i] for r in runs) * 1000 for name, runs in took[what].items()}
                     for i in (0, 1))
        rows.append([what, "%.0f" % wall["rhea"], "%.0f" % wall["qemu"],
                     "%.2f" % (wall["rhea"] / wall["qemu"]), "%.0f" % cpu["rhea"], "%.0f" % cpu["qemu"],
                     "%.2f" % (cpu["rhea"] / cpu["qemu"]), "%.0f" % wall["cp"] if "cp" in wall else ""])
    table(["what", "Rhea, ms", "QEMU", "ratio", "Rhea, ms of CPU", "QEMU", "ratio", "cp, ms"], rows)


# --- requests a second ---

SIZE = 1024 * MIB
BENCH = {                      # image: its making, what is done, requests at most
    "raw": ("truncate -s %d image; fallocate -l %d image" % (SIZE, SIZE), ("read", "write"), 16384),
    "cached": ("truncate -s %d image; fallocate -l %d image; cat image >/dev/null" % (SIZE, SIZE),
               ("read",), 16384),
    "allocated": ("qemu-img create -f qcow2 -o preallocation=falloc image %d" % SIZE,
                  ("read", "write"), 16384),
    "growing": ("rm -f image; cp empty image", ("write",), 4096),
    "backed": ("rm -f image; cp overlay image", ("read", "write"), 4096),
}


def step_of(size):
    """The golden section of the image, odd in requests."""
    return int(SIZE * (5 ** 0.5 - 1) / 2) // size // 2 * 2 * size + size


def fio(engine, op, size, depth, count):
    ioengine = {"threads": "psync", "native": "libaio", "io_uring": "io_uring"}[engine]
    return ["fio", "--name=x", "--filename=image", "--rw=rand" + op, "--bs=%d" % size, "--iodepth=%d" % depth,
            "--ioengine=" + ioengine, "--size=%d" % SIZE, "--io_size=%d" % (size * count), "--thread",
            "--norandommap", "--minimal", "--invalidate=0", "--allow_file_create=0", "--fallocate=none"]


def rate_fio(command, folder, op):
    took, cpu, text = timed(RT + command, folder)
    fields = text.strip().split("\n")[-1].split(";")
    read, write = int(fields[5]) * 1024, int(fields[46]) * 1024        # KiB moved, and ms
    return (read or write) / (int(fields[8 if read else 49]) / 1000), cpu


def iops(folder, image):
    make, ops, most = BENCH[image]
    fresh = image in ("growing", "backed")
    kind = "raw" if image in ("raw", "cached") else "qcow2"
    engines = ("threads", "io_uring") if image == "cached" else ("threads", "native", "io_uring")
    shell("qemu-img create -f qcow2 empty %d; qemu-img create -f raw below %d; yes data | head -c %d >below; "
          "qemu-img create -f qcow2 -F raw -b below overlay; %s" % (SIZE, SIZE, SIZE, make), folder)
    start = {name: statistics.median(timed(RT + [program, "bench", "-f", kind, "-c", "1", "image"], folder)[1]
                                     for _ in range(ROUNDS)) for name, program in IMG.items()}
    took, cells = {}, [(engine, op, size, depth) for engine in engines for op in ops
                       for size in (4096, 65536) for depth in (1, 64)
                       if re.search(ONLY, "%s %s %d %d" % (engine, op, size, depth))]
    for _ in range(ROUNDS):
        for cell in cells:
            engine, op, size, depth = cell
            count = min(most, SIZE // size)
            options = ["-f", kind, "-i", engine, "-d", str(depth), "-s", str(size), "-S", str(step_of(size)),
                       "-c", str(count), "image"] + (["-w"] if op == "write" else []) + \
                      (["--flush-interval=" + FLUSH] if FLUSH and op == "write" else [])
            if engine == "native":             # qemu-img wants O_DIRECT for it, which tmpfs has not
                options += ["-t", "none"]
            for name, program in IMG.items():
                if fresh and op == "write":
                    shell(make, folder)
                _, cpu, text = timed(RT + [program, "bench"] + options, folder)
                seconds = float(re.search(r"completed in ([0-9.]+)", text).group(1))
                took.setdefault((cell, name), []).append(
                    (count / seconds, max(cpu - start[name], 0) * 1e6 / count))
            if kind == "raw" and engine == "io_uring":
                rate, cpu = rate_fio(fio(engine, op, size, depth, count), folder, op)
                took.setdefault((cell, "fio"), []).append((rate / size, 0))
    rows = []
    for cell in cells:
        engine, op, size, depth = cell
        (ours, our_us), (theirs, their_us) = (map(statistics.median, zip(*took[cell, name]))
                                              for name in ("rhea", "qemu"))
        row = ["%s, %s of %d KiB, depth %d" % (engine, op, size // 1024, depth), "%.0f" % ours,
               "%.0f" % theirs, "%.2f" % (ours / theirs), "%.1f" % our_us, "%.1f" % their_us,
               "%.2f" % (our_us / their_us)]
        if kind == "raw":
            beside = [rate for rate, _ in took.get((cell, "fio"), [])]
            row.append("%.2f" % (ours / statistics.median(beside)) if beside else "")
        rows.append(row)
    table(["load", "Rhea, requests/s", "QEMU", "ratio", "Rhea, us of CPU for one", "QEMU", "ratio"] +
          (["of fio's"] if kind == "raw" else []), rows)


# --- opening ---

def image_open(folder):
    """From exec to the end of `info`, less that of `--version`."""
    shell("qemu-img create -f qcow2 big 1T; qemu-img bench -f qcow2 -w -c 4096 -S 268435456 -t unsafe big",
          folder)
    took = {}
    for _ in range(ROUNDS * 4):
        for name, program in IMG.items():
            for what, command in (("start", ["--version"]), ("open", ["info", "-f", "qcow2", "big"])):
                took.setdefault((name, what), []).append(timed([program] + command, folder)[0] * 1000)
    rows = []
    for name in IMG:
        begin, opened = (statistics.median(took[name, what]) for what in ("start", "open"))
        rows.append([name, "%.1f" % opened, "%.1f" % begin, "%.1f" % (opened - begin)])
    table(["program", "ms for info of 1 TiB", "ms for --version", "difference"], rows)


TASKS = {"tools": tools, "image-open": image_open, "nbd": nbd.nbd}
TASKS.update({"iops-" + image: (lambda folder, image=image: iops(folder, image)) for image in BENCH})


def run(name):
    print("\n%s, `bench.py %s`, on a machine with %d processors and a load of %.0f:\n" %
          (time.strftime("%Y-%m-%d"), name, os.cpu_count(), os.getloadavg()[0]), flush=True)
    where = DISK if name == "iops-cached" else "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="rhea-bench-", dir=where) as folder:
        TASKS[name](folder)
