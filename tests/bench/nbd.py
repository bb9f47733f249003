#!/usr/bin/env python3
"""nbd: rhea-nbd against the installed qemu-nbd, interleaved in one run; bench.py starts it.

    tests/bench/bench.py nbd        prints a table in Markdown; docs/benchmarks.md keeps it

1. A raw image of random bytes lies on tmpfs, so that software is what is measured.  The client is
   nbdload.c, one thread, the same for both.  Figures are medians of ROUNDS rounds; in each the servers
   take turns at every load, for SECONDS_EACH.
2. RHEA_NBD names the program, else it is the one built as it is released.
"""
import os
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_EACH", "1")
SIZE_MIB = 256
LOADS = [("read", 4096, 64, 1), ("write", 4096, 64, 1), ("read", 4096, 64, 4), ("write", 4096, 64, 4),
         ("read", 4096, 1, 1), ("read", 262144, 16, 1), ("write", 262144, 16, 1)]


def measure(folder, program, load):
    """Requests a second of a server that is started for it, and us of its processor time for one."""
    socket, pid = folder + "/s", folder + "/pid"
    subprocess.run([program, "--fork", "--pid-file=" + pid, "-f", "raw", "-t", "-e", "8", "-k", socket,
                    folder + "/disk"], check=True)
    try:
        out = subprocess.run([folder + "/nbdload", socket, "", load[0], *map(str, load[1:]), SECONDS],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        with open(pid) as file:
            number = int(file.read())
        with open("/proc/%d/stat" % number) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        os.kill(number, 15)
        while os.path.exists("/proc/%d" % number):
            time.sleep(0.01)
    rate = float(out.split()[0])
    return rate, cpu * 1e6 / max(rate * float(SECONDS), 1)


def nbd(folder):
    programs = {"rhea": os.environ.get("RHEA_NBD", ROOT + "/build/release/img/rhea-nbd"),
                "qemu": os.environ.get("BASE_NBD", "qemu-nbd")}
    subprocess.run(["gcc", "-O2", "-o", folder + "/nbdload", HERE + "/nbdload.c"], check=True)
    with open(folder + "/disk", "wb") as file:
        for _ in range(SIZE_MIB):
            file.write(os.urandom(1 << 20))
    rates = {}
    for _ in range(ROUNDS):
        for load in LOADS:
            for name, program in programs.items():
                rates.setdefault((load, name), []).append(measure(folder, program, load))
    print("| load | Rhea, requests/s | QEMU | ratio | Rhea, us of processor for one | QEMU | ratio |\n"
          "|---|---|---|---|---|---|---|")
    for load in LOADS:
        (ours, our_us), (theirs, their_us) = (map(statistics.median, zip(*rates[load, name]))
                                              for name in programs)
        print("| %s of %d KiB, depth %d, %d connection%s | %.0f | %.0f | %.1f | %.1f | %.1f | %.2f |" %
              (load[0], load[1] // 1024, load[2], load[3], "" if load[3] == 1 else "s", ours, theirs,
               ours / theirs, our_us, their_us, our_us / their_us), flush=True)
