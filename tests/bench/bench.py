#!/usr/bin/env python3
"""bench: Rhea against the installed QEMU (and a bare KVM_RUN loop), interleaved in one run.

    tests/bench/bench.py exits        instructions per exit             (in the lab, with --icount)
    tests/bench/bench.py sandbox      the same, without the sandbox and with it
    tests/bench/bench.py start        exec to first guest instruction   (here, or in the lab)
    tests/bench/bench.py memory       private memory beyond guest RAM, files mapped
    tests/bench/bench.py linux        user-space CPU until Linux is up  (in the lab)
    tests/bench/bench.py blk          cost of 4 KiB random reads        (in the lab, with --icount)
    tests/bench/bench.py probe        libvirt's look at the program, tests/qmp/libvirt-probe.jsonl
    tests/bench/bench.py qmp          commands a second, and a busy guest's longest exit beside them
    tests/bench/bench.py tools        and iops-raw, -cached, -allocated, -growing, -backed, image-open, nbd:
                                      the block layer's, see block.py
    tests/bench/bench.py all          the above, each where it belongs

1. Rhea is built as it is released, without debug checks, in build/release, unless RHEA names a
   program; BASE names the other (qemu-system-x86_64).  Each prints a table in Markdown, below the
   command that made it; docs/benchmarks.md keeps them.
2. In the lab with --icount one nanosecond is one executed instruction of the whole machine, and the
   figures hardly differ from run to run; elsewhere they are medians of ROUNDS interleaved rounds.
"""
import glob
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import block

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "tests", "bench")
KINDS = ["unassigned", "uart", "rtc", "pci_config", "hpet", "ecam"]
COUNT = 2000
ROUNDS = int(os.environ.get("ROUNDS", "9"))
RAM_MIB = 256


def shell(text, **options):
    return subprocess.run(["bash", "-c", text], cwd=ROOT, check=True, stdout=subprocess.PIPE,
                          text=True, **options).stdout.strip()


def programs():
    """The two measured: name and path."""
    rhea = os.environ.get("RHEA", ROOT + "/build/release/rhea")
    return [("rhea", rhea), ("qemu", os.environ.get("BASE", "qemu-system-x86_64"))]


def prepare(folder):
    """The bare loop and the ROMs; made outside the lab, where the compiler runs at full speed."""
    run = lambda *c: subprocess.run(c, check=True)
    run("gcc", "-O2", "-o", folder + "/bare", HERE + "/bare.c")
    run("gcc", "-O2", "-D_GNU_SOURCE", "-static", "-o", folder + "/randread", HERE + "/randread.c")
    for kind in KINDS + ["first", "busy"]:
        rom = "%s/%s" % (folder, kind)
        run("gcc", "-m32", "-c", "-DCOUNT=%d" % COUNT, "-DKIND_" + kind, "-o", rom + ".o",
            HERE + "/rom.S")
        run("ld", "-m", "elf_i386", "-nostdlib", "-N", "-Ttext=0", "--oformat", "binary",
            "-o", rom, rom + ".o")


def machine(program, *args):
    return [program, "-M", "q35", "-accel", "kvm", "-m", str(RAM_MIB), "-nodefaults", "-display",
            "none", "-no-reboot", *args]


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |", flush=True)


def exit_cost(command):
    """What an access costs, by the guest's time stamp counter."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if done.returncode not in (0, 33) or len(done.stdout) != 4:
        sys.exit("%s: status %d, printed %r" % (" ".join(command), done.returncode, done.stdout))
    return int.from_bytes(done.stdout, "little") / COUNT


def exit_machine(program, rom, *args):
    return machine(program, "-bios", rom, "-serial", "stdio", "-device",
                   "isa-debug-exit,iobase=0xf4,iosize=4", *args)


def exits(folder):
    """The cost of an access; the bare loop's taken off."""
    rows = []
    for kind in KINDS:
        rom = "%s/%s" % (folder, kind)
        cost = {name: exit_cost(exit_machine(program, rom)) for name, program in programs()}
        cost["bare"] = exit_cost([folder + "/bare", rom])
        above = [cost[n] - cost["bare"] for n in ("rhea", "qemu")]
        rows.append([kind.replace("_", " "), round(cost["bare"]), round(above[0]), round(above[1]),
                     "%.2f" % (above[0] / above[1])])
    table(["access", "bare loop", "Rhea adds", "QEMU adds", "ratio"], rows)


def sandbox(folder):
    """The cost of an access with the sandbox, as is the default, and without."""
    rows = []
    for kind in KINDS[:3]:
        off, on = (exit_cost(exit_machine(programs()[0][1], "%s/%s" % (folder, kind), "-sandbox", state))
                   for state in ("off", "on"))
        rows.append([kind.replace("_", " "), round(off), round(on), round(on - off)])
    table(["access", "-sandbox off", "on", "more"], rows)


def first_byte(command):
    """Start, wait for a byte of the guest: (milliseconds, milliseconds of CPU, process)."""
    start = time.monotonic_ns()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    if os.read(process.stdout.fileno(), 1) != b"x":
        sys.exit("no first byte from: " + " ".join(command))
    took = (time.monotonic_ns() - start) / 1e6
    cpu = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % process.pid):
        with open(path) as file:
            cpu += int(file.read().split()[0]) / 1e6
    return took, cpu, process


def start(folder):
    rom = folder + "/first"
    commands = {"bare": [folder + "/bare", rom]}
    for name, program in programs():
        commands[name] = machine(program, "-bios", rom, "-serial", "stdio")
    commands["rhea -sandbox off"] = commands["rhea"] + ["-sandbox", "off"]
    took = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            wall, cpu, process = first_byte(command)
            process.kill()
            process.wait()
            took[name].append((wall, cpu))
    bare = statistics.median(t[0] for t in took["bare"])
    rows = []
    for name, values in took.items():
        wall, cpu = (statistics.median(column) for column in zip(*values))
        rows.append([name, "%.1f" % wall, "%.1f" % cpu, "%.2f" % (wall / bare)])
    table(["program", "ms to first instruction", "ms of CPU", "over bare"], rows)


def memory(folder):
    rom = folder + "/first"
    disk = folder + "/disk"
    with open(disk, "w") as file:
        file.truncate(64 << 20)
    rows = []
    for name, program in programs():
        command = machine(program, "-bios", rom, "-serial", "stdio", "-drive",
                          "if=none,id=d,format=raw,file=" + disk, "-device",
                          "virtio-blk-pci,drive=d")
        _, _, process = first_byte(command)
        private, files, ram = 0, set(), False
        with open("/proc/%d/smaps" % process.pid) as file:
            for line in file:
                words = line.split()
                if "-" in words[0] and not words[0].endswith(":"):
                    low, high = (int(x, 16) for x in words[0].split("-"))
                    ram = high - low >= RAM_MIB << 20
                    if len(words) > 5 and ".so" in words[5]:
                        files.add(words[5])
                elif words[0] in ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"):
                    private += 0 if ram else int(words[1])
        process.kill()
        process.wait()
        rows.append([name, "%.1f" % (private / 1024), len(files)])
    table(["program", "private MiB beyond guest RAM", "libraries"], rows)


class Qmp:
    """A QMP client that does not look at what it gets."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.001)
        self.lines = self.sock.makefile("rb")
        self.lines.readline()
        self.ask({"execute": "qmp_capabilities"})

    def ask(self, *commands):
        """Sends all, reads all their replies; the last."""
        self.sock.sendall(b"".join(json.dumps(c).encode() + b"\n" for c in commands))
        reply = {}
        for _ in commands:
            while "return" not in (reply := json.loads(self.lines.readline())) and "error" not in reply:
                pass
        return reply.get("return")


def probe(folder):
    """From exec of a program that goes into the background to the last reply."""
    with open(ROOT + "/tests/qmp/libvirt-probe.jsonl") as lines:
        session = [json.loads(line) for line in lines][1:]
    took = {name: [] for name, _ in programs()}
    asked = {}
    for i in range(ROUNDS):
        for name, program in programs():
            path = "%s/%s%d" % (folder, name, i)
            pidfile = path + ".pid"       # the one before may still hold its own
            begin = time.monotonic_ns()
            subprocess.run([program, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine",
                            "none,accel=kvm:tcg", "-qmp", "unix:%s,server=on,wait=off" % path,
                            "-pidfile", pidfile, "-daemonize"], check=True, stdin=subprocess.DEVNULL)
            q = Qmp(path)
            known = {c["name"] for c in q.ask({"execute": "query-commands"})}
            types = {t["name"] for t in q.ask({"execute": "qom-list-types"})}
            asked[name] = 3
            for step in session:
                if step.get("if-command", "query-status") in known and step.get("if-type", "edu") in types:
                    q.ask({k: step[k] for k in ("execute", "arguments") if k in step})
                    asked[name] += 1
            took[name].append((time.monotonic_ns() - begin) / 1e6)
            with open(pidfile) as f:
                os.kill(int(f.read()), signal.SIGTERM)
    rows = [[name, "%.1f" % statistics.median(took[name]), asked[name]] for name in took]
    table(["program", "ms for libvirt's probe", "commands"], rows)


def waits(process, thread):
    """How often a thread gave its processor up by itself, to wait."""
    with open("/proc/%d/task/%d/status" % (process.pid, thread)) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary"))


def longest_exits(process, q, seconds):
    """The longest of each COUNT exits meanwhile, in time stamps; how many commands were answered."""
    commands = [{"execute": "query-status"}, {"execute": "query-cpus-fast"}, {"execute": "query-chardev"},
                {"execute": "query-block"}, {"execute": "qom-list", "arguments": {"path": "/machine"}}] * 4
    end, due, answered, data = time.monotonic() + seconds, time.monotonic(), 0, b""
    while (now := time.monotonic()) < end:
        if q and now >= due:                           # 20 commands every 10 ms: 2,000 a second
            q.ask(*commands)
            answered += len(commands)
            due += 0.01
        if select.select([process.stdout], [], [], max(0, (due if q else end) - time.monotonic()))[0]:
            data += os.read(process.stdout.fileno(), 65536)
    data = data[:len(data) // 4 * 4]
    return [int.from_bytes(data[i:i + 4], "little") for i in range(0, len(data), 4)], answered


def qmp(folder):
    with open("/proc/cpuinfo") as file:
        mhz = next(float(line.split(":")[1]) for line in file if line.startswith("cpu MHz"))
    rows = []
    for name, program in programs():
        path = "%s/busy-%s" % (folder, name)
        process = subprocess.Popen(machine(program, "-bios", folder + "/busy", "-serial", "stdio", "-qmp",
                                           "unix:%s,server=on,wait=off" % path),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        q = Qmp(path)
        os.read(process.stdout.fileno(), 4)
        begin = time.monotonic()
        for _ in range(20):
            q.ask(*[{"execute": "query-status"}] * 100)
        fastest = 2000 / (time.monotonic() - begin)
        longest, waited = {False: [], True: []}, [0, 0]
        thread = q.ask({"execute": "query-cpus-fast"})[0]["thread-id"]
        for i in range(ROUNDS * 2):
            before = waits(process, thread)
            got, answered = longest_exits(process, q if i % 2 else None, 1)
            longest[bool(i % 2)] += [t / mhz for t in got]
            waited[i % 2] += waits(process, thread) - before
        process.kill()
        process.wait()
        rows.append([name, round(fastest), answered] +
                    ["%d / %d" % (statistics.median(longest[busy]),
                                  statistics.quantiles(longest[busy], n=10)[8])
                     for busy in (False, True)] + ["%d / %d" % tuple(waited)])
    table(["program", "commands/s, one client waiting", "paced, answered in 1 s",
           "longest of %d exits, us: median / 90 %%, no client" % COUNT, "beside the paced client",
           "waits of the vCPU in %d s each: no client / beside it" % ROUNDS], rows)


def guest_linux(folder, script):
    """The options that boot Linux, run script in it and end."""
    kernel = shell("tools/kernel")
    initrd = shell("./run --initrd")
    with open(folder + "/cmd", "w") as file:
        file.write(script)
    shell("cd %s && printf '%%s\\n' cmd randread | cpio -o -H newc -R 0:0 2>/dev/null | "
          "cat - %s >initrd" % (folder, initrd))
    return ["-kernel", kernel + "/vmlinuz", "-initrd", folder + "/initrd", "-append",
            "console=ttyS0 panic=-1 quiet loglevel=1 norhea.mount", "-cpu", "host"]


def linux(folder):
    options = guest_linux(folder, "true\n") + ["-debugcon", "file:" + folder + "/status",
                                               "-serial", "null", "-serial", "null"]
    took = {name: [] for name, _ in programs()}
    for _ in range(int(os.environ.get("ROUNDS", "1"))):
        for name, program in programs():
            process = subprocess.Popen(machine(program, *options), stdin=subprocess.DEVNULL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with open("/proc/%d/stat" % process.pid) as file:
                fields = file.read().rsplit(")", 1)[1].split()
            process.wait()
            if open(folder + "/status", "rb").read() != b"R\0":
                sys.exit("%s: Linux did not get to its shell" % name)
            # utime counts the guest's own time too; guest_time is field 43 of the line.
            tick = os.sysconf("SC_CLK_TCK")
            took[name].append(((int(fields[11]) - int(fields[40])) / tick, int(fields[12]) / tick))
    rows = [[name] + ["%.2f" % statistics.median(column) for column in zip(*values)]
            for name, values in took.items()]
    table(["program", "s of user-space CPU", "s in the kernel"], rows)


def blk(folder):
    """The disk lies in the lab's memory, so that what is counted is work and not waiting."""
    disk = folder + "/disk"
    with open(disk, "wb") as file:
        file.write(os.urandom(32 << 20))
    requests = os.environ.get("REQUESTS", "2000")
    script = "for depth in 1 32; do /randread /dev/vda $depth %s; done\n" % requests
    options = guest_linux(folder, script) + [
        "-serial", "null", "-serial", "file:" + folder + "/out",
        "-object", "iothread,id=io", "-drive", "if=none,id=d,format=raw,file=" + disk,
        "-device", "virtio-blk-pci,drive=d,iothread=io"]
    cost = {}
    for name, program in programs():
        subprocess.run(machine(program, *options), stdin=subprocess.DEVNULL, check=True)
        with open(folder + "/out") as file:
            cost[name] = [int(line) for line in file]
    rows = [["depth %d" % depth, cost["rhea"][i], cost["qemu"][i],
             "%.2f" % (cost["rhea"][i] / cost["qemu"][i])] for i, depth in enumerate((1, 32))]
    table(["4 KiB random reads", "Rhea, per request", "QEMU", "ratio"], rows)


def in_lab(icount, what, folder):
    """Run one measurement in the lab (or here, if the machine has hardware KVM)."""
    command = ["tests/lab/lab", "-t", "3000", "-m", "2048"] + (["--icount"] if icount else [])
    command += ["--", "python3", "tests/bench/bench.py", what, folder]
    print("\n%s, `bench.py %s` in the lab%s:\n" % (time.strftime("%Y-%m-%d"), what,
                                                   " with --icount" if icount else ""), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def main():
    tasks = {"exits": exits, "sandbox": sandbox, "start": start, "memory": memory, "linux": linux, "blk": blk,
             "probe": probe, "qmp": qmp, **block.TASKS}
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what not in tasks and what != "all":
        sys.exit(__doc__)
    if len(sys.argv) > 2:
        tasks[what](sys.argv[2])
        return
    if "RHEA" not in os.environ:
        shell("tools/build --release build/release")
    names = list(tasks) if what == "all" else [what]
    with tempfile.TemporaryDirectory(prefix="rhea-bench-") as folder:
        if set(names) - set(block.TASKS):
            prepare(folder)
        for name in names:
            if name in ("exits", "sandbox", "blk", "linux"):
                in_lab(name != "linux", name, folder)
            elif name in block.TASKS:
                block.run(name)
            else:
                print("\n%s, `bench.py %s`:\n" % (time.strftime("%Y-%m-%d"), name), flush=True)
                tasks[name](folder)


main()
