"""The test runner behind ./check: builds, finds the tests, runs them, prints a line for each.

1. Tests come from two places: `meson introspect --tests` of each build folder, and tests/guest/,
   where a test is an executable file whose leading comments say what it needs (see below).
2. A test passes with status 0 and is skipped with 77; everything else, a time limit included, is a
   failure, and the end of its log is shown.  Nothing is tried twice, but for a test under which the
   lab's own kernel panicked or stood still: its emulated SVM was seen to lose the host's GS base.
3. Tests that need a real KVM run here if there is one, else in lab machines, which run this file again
   with --inside.  A lab machine has one processor; so there are as many as this one has processors, each
   running its share one after another.
4. Such a machine says every BEAT seconds that it lives.  If it falls silent, or ends, or the current
   test outlives its limit there, it is ended; that test has failed, and the next ones get a fresh
   machine.

Leading comments of a test in tests/guest/, all optional:
    # needs: kvm       any /dev/kvm, a software one too     (without /dev/kvm: in the lab)
    # needs: hwkvm     a real KVM: here or in the lab
    # limit: SECONDS   on a machine with hardware KVM; in the lab it is LAB_FACTOR times as long
    # cases: NAME...   run once for each, with NAME as the argument; `full:NAME` only in full mode,
                     `named:NAME` only when tests are asked for by name
    # prepare: CMD     run before, outside the lab (what needs the network, or much computing)
    # full             only in full mode
    # release          RHEA is not set: it uses what ./run builds
"""
import concurrent.futures as futures
import fnmatch
import glob
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "logs")
LAB = ["tests/lab/lab"]
LAB_FACTOR = 8
LAB_MIB = 7168
# Two NUMA nodes, so that memory policies can be told apart; the one processor is the first one's.
LAB_NODES = " ".join("-object memory-backend-ram,id=node{0},size={1}M -numa node,memdev=node{0}{2}"
                     .format(node, LAB_MIB // 2, cpus) for node, cpus in ((0, ",cpus=0"), (1, "")))
LAB_MODULES = "nbd ext4"           # of the lab's own kernel: for the test of its NBD client
BEAT = 5              # seconds between two signs of life of the lab
BEAT_LIMIT = 90       # after so many without one it counts as dead
START_LIMIT = 180     # until its first test
END_LIMIT = 15        # between asking it to end and killing it
STILL_LIMIT = 2       # times that a test is begun again because the lab's own kernel stood still or panicked
TAIL = 30

# Variants of the build: folder, environment, meson options, the suites run in it (None: all),
# factor on time limits, prefix of each test command, tests that another variant runs as well as this would.
PLAIN = dict(name="", folder="build/debug", options=[], suites=None, factor=1, prefix=[])
FULL = [
    dict(name="asan", folder="build/asan", factor=4, prefix=[],
         options=["-Db_sanitize=address,undefined", "-Db_lundef=false"],
         suites=["unit", "device", "conform", "qmp", "stress", "block"]),
    # A fixed address layout: ThreadSanitizer does not know all of the kernel's random ones.
    dict(name="tsan", folder="build/tsan", factor=8, prefix=["setarch", "-R"],
         options=["-Db_sanitize=thread", "-Db_lundef=false"], suites=["unit", "stress"],
         # One thread is all they have; the cuts' threads are those of qcow2's other tests.
         leaves_out=["acpi", "qapi", "cpu-seeded", "cmdline-seeded", "state-seeded", "kernel-seeded",
                     "text-seeded", "hmp-seeded", "image-seeded", "qcow2-cut"]),
    dict(name="clang", folder="build/clang", cc="clang", factor=4, prefix=[],
         options=["-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
         suites=["unit", "fuzz"],
         leaves_out=["*-seeded", "*-cut", "acpi", "qcow2", "qcow2-snapshot", "job-fault"]),
]
PROGRAM = os.path.join(ROOT, PLAIN["folder"], "rhea")
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
              "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
              "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
QUICK_LEAVES_OUT = ["stress", "fuzz", "cycles", "audit", "long"]
# What takes minutes and is run by another variant of the full check: sanitized, it is stricter.
FULL_LEAVES_OUT_PLAIN = ["conform", "block"]
FULL_LEAVES_OUT_ASAN = ["guest/boot-order/", "guest/grub/cd/"]


class Test:
    """One line of the report."""

    def __init__(self, name, command, limit, env=None, where="here", workdir=ROOT, parallel=True):
        self.name, self.command, self.limit = name, command, limit
        self.env, self.where, self.workdir = env or {}, where, workdir
        self.parallel = parallel
        self.stood_still = 0                 # times that the lab's own kernel did, or panicked
        self.log = os.path.join(LOGS, re.sub(r"[^\w.-]+", "-", name) + ".log")


class Report:
    """Prints results as they come, and what is running meanwhile on a terminal."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.tty = sys.stdout.isatty()
        self.lock = threading.RLock()

    def running(self, names, start):
        if self.tty and names:
            text = "... %s (%d s)" % (", ".join(names), time.monotonic() - start)
            sys.stdout.write("\r" + text[:100] + "\033[K")
            sys.stdout.flush()

    def stage(self, text):
        print(("\r\033[K" if self.tty else "") + text, flush=True)

    def result(self, test, status, seconds):
        with self.lock:
            if status == 0:
                self.passed, word = self.passed + 1, "ok  "
            elif status == 77:
                self.skipped, word = self.skipped + 1, "skip"
            else:
                self.failed, word = self.failed + 1, "FAIL"
            self.stage("%s  %-58s %7.2f s" % (word, test.name, seconds))
            if status != 0:
                self.show(test, status)

    def show(self, test, status):
        try:
            with open(test.log, errors="replace") as log:
                lines = log.read().splitlines()
        except OSError:
            lines = []
        if status == 77:
            print("      %s" % (lines[-1] if lines else ""), flush=True)
            return
        for line in lines[-TAIL:]:
            print("      | " + line.rstrip("\r"))
        reason = {"limit": "over its time limit"}.get(status, status)
        if isinstance(status, int):
            reason = "status %d" % status
        print("      %s; log: %s" % (reason, os.path.relpath(test.log, ROOT)), flush=True)

    def end(self):
        line = "%d passed, %d failed" % (self.passed, self.failed)
        print(line + (", %d skipped" % self.skipped if self.skipped else ""), flush=True)
        return 1 if self.failed or not self.passed else 0


RUNNING = set()       # process groups to end with us


def stop(*_):
    """Ends at once, with all that runs."""
    for group in list(RUNNING):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(130)


def execute(test):
    """Run one test to its end; (status, seconds)."""
    start = time.monotonic()
    env = dict(os.environ, **test.env)
    os.makedirs(LOGS, exist_ok=True)
    with open(test.log, "w") as log:
        process = subprocess.Popen(test.command, cwd=test.workdir, env=env, stdout=log,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        RUNNING.add(process.pid)
        try:
            status = process.wait(test.limit)
        except subprocess.TimeoutExpired:
            status = "limit"
        # What a test leaves running is ended with it.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        RUNNING.discard(process.pid)
        process.wait()
    return status, time.monotonic() - start


def run_here(tests, report):
    """Parallel ones first, as many as there are processors, then the others one by one."""
    for jobs, group in ((os.cpu_count() or 1, [t for t in tests if t.parallel]),
                        (1, [t for t in tests if not t.parallel])):
        with futures.ThreadPoolExecutor(jobs) as pool:
            pending = {pool.submit(execute, t): t for t in group}
            start = time.monotonic()
            while pending:
                done, _ = futures.wait(pending, 0.5, futures.FIRST_COMPLETED)
                for future in done:
                    report.result(pending.pop(future), *future.result())
                report.running([t.name for f, t in pending.items() if f.running()], start)


def threads(process):
    """A line for each thread of a process and its descendants: what it does."""
    lines, tick = [], os.sysconf("SC_CLK_TCK")
    for folder in glob.glob("/proc/%d/task/*" % process):
        try:
            with open(folder + "/stat") as stat, open(folder + "/wchan") as wchan:
                name, rest = stat.read().split(" (", 1)[1].rsplit(")", 1)
                fields = rest.split()
                lines.append("%-8s %-20s %s %8.2f s  %s" % (os.path.basename(folder), name, fields[0], (
                    int(fields[11]) + int(fields[12])) / tick, wchan.read()))
            with open(folder + "/children") as children:
                for child in children.read().split():
                    lines += threads(int(child))
        except OSError:
            pass
    return lines


class LabMachine:
    """One lab machine that runs tests one after another and says how they ended."""

    def __init__(self, number, tests):
        limit = sum(t.limit for t in tests) * LAB_FACTOR + START_LIMIT
        self.console = os.path.join(LOGS, "lab-console-%d.log" % number)
        self.log = open(os.path.join(LOGS, "lab-%d.log" % number), "w")
        # The machine goes with the runner, however that ends.
        command = ["setpriv", "--pdeathsig", "TERM"] + LAB + [
            "-m", str(LAB_MIB), "-x", LAB_NODES, "-k", LAB_MODULES, "-t", str(limit), "-l", self.console,
            "--", sys.executable, os.path.abspath(__file__), "--inside"] + [t.name for t in tests]
        self.process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ, LAB_OUT=LOGS),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, start_new_session=True)
        self.partial = b""
        self.threads = []

    def lines(self, silence):
        """The next lines as words, waiting at most @silence seconds; None at the machine's end."""
        if not select.select([self.process.stdout], [], [], silence)[0]:
            return []
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            return None
        *whole, self.partial = (self.partial + data).split(b"\n")
        return [line.decode(errors="replace").split() for line in whole if line.strip()]

    def end(self, patience=0):
        """Its exit status; after @patience seconds it is ended, whatever it does."""
        self.threads = self.threads or threads(self.process.pid)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            for sig in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(self.process.pid, sig)
                try:
                    self.process.wait(END_LIMIT)
                    break
                except subprocess.TimeoutExpired:
                    pass
        self.process.stdout.close()
        self.log.close()
        return self.process.returncode

    def panicked(self):
        """Whether the machine's own kernel broke down; a guest's never gets to this console."""
        try:
            with open(self.console, errors="replace") as log:
                return "Kernel panic - not syncing" in log.read()
        except OSError:
            return False

    def blame(self, test, began, reason):
        """What is known of the machine's end goes to the log of a test that it took with it."""
        with open(test.log, "a" if began else "w") as out:
            for title, path in (("the lab", self.log.name), ("the lab's console", self.console)):
                try:
                    with open(path, errors="replace") as log:
                        text = log.read()
                except OSError:
                    text = ""
                out.write("\n--- %s:\n%s" % (title, text))
            out.write("\n--- its threads:\n%s\n--- %s\n" % ("\n".join(self.threads), reason))


def watch_lab(machine, left, report):
    """Follow a lab machine until it has run the tests @left, or breaks down; those not run yet.

    What has run leaves @left."""
    running, silent, reason, count = False, False, "", len(left)
    start = heard = time.monotonic()
    while left and not reason:
        lines = machine.lines(1)
        now = time.monotonic()
        for word, *words in lines or []:
            heard = now
            if word == "START":
                running, start = True, now
            elif word == "RESULT":
                running, status = False, words[1]
                report.result(left.pop(0), status if status == "limit" else int(status),
                              float(words[2]))
        if lines is None:
            reason = "the lab machine ended"
        elif now - heard > (BEAT_LIMIT if running else START_LIMIT):
            silent = True
            reason = "no sign of life from the lab machine for %d s" % (now - heard)
        elif running and now - start > left[0].limit * LAB_FACTOR + BEAT_LIMIT:
            reason = "still running %d s after its start" % (now - start)
        report.running([t.name for t in left[:1]], start)
    status = machine.end(0 if reason else 30)
    if running and (silent or machine.panicked()) and left[0].stood_still < STILL_LIMIT:
        left[0].stood_still += 1
        report.stage("      the lab's own kernel %s under %s: once more, in a fresh machine"
                     % ("stands still" if silent else "panicked", left[0].name))
        return left
    # A machine that did not even begin is no test's fault; another would not either.
    at_fault = 1 if running else len(left) if len(left) == count else 0
    for test in left[:at_fault]:
        machine.blame(test, running, "%s; the machine's status: %s" % (reason, status))
        report.result(test, reason, time.monotonic() - start)
    return left[at_fault:]


def run_in_lab_machine(number, tests, report):
    """One after another in lab machine @number; a fresh one after one that broke down."""
    while tests:
        machine = LabMachine(number, tests)
        try:
            tests = watch_lab(machine, list(tests), report)
        finally:
            machine.end()


def lab_machines():
    """How many can run at once: each takes a processor, its memory and half as much again."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return max(1, min(os.cpu_count() or 1, memory // (LAB_MIB * 3 // 2)))


def run_in_lab(tests, report):
    """In as many lab machines as there can be."""
    jobs = min(lab_machines(), len(tests))
    report.stage("... the lab: %d tests in %d machine%s with a real KVM" %
                 (len(tests), jobs, "s" * (jobs > 1)))
    with futures.ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(run_in_lab_machine, n, tests[n::jobs], report) for n in range(jobs)]:
            done.result()


def beat():
    """The sign of life, for ever."""
    while True:
        print("ALIVE", flush=True)
        time.sleep(BEAT)


def run_inside(names):
    """In the lab: run the guest tests named, print the lines watch_lab reads."""
    threading.Thread(target=beat, daemon=True).start()
    for test in guest_tests(True, True):
        if test.name in names:
            test.limit *= LAB_FACTOR
            print("START %s" % test.name, flush=True)
            status, seconds = execute(test)
            print("RESULT %s %s %.2f" % (test.name, status, seconds), flush=True)
    return 0


def build(variant, report):
    """Configure and build; a failure counts as a failed test."""
    name = variant["name"] or "gcc"
    test = Test("build/" + name, ["tools/build", variant["folder"]] + variant["options"], 1800)
    if "cc" in variant:
        test.env["CC"] = variant["cc"]
    start = time.monotonic()
    with futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, test)
        while not futures.wait([future], 0.5).done:
            report.running(["building " + variant["folder"]], start)
    report.result(test, *future.result())
    return future.result()[0] == 0


def may_match(variant, names):
    """Whether a build may have a test that is asked for: they are those of the plain one and fuzzers."""
    here = [t.name for t in meson_tests(dict(variant, folder=PLAIN["folder"]), True)]
    here.append(variant["name"] + ":fuzz/")
    return not names or any(n in t or t in n or fnmatch.fnmatch(t, n) for n in names for t in here)


def meson_tests(variant, full):
    """What meson knows of in a build folder."""
    text = subprocess.run(["meson", "introspect", "--tests", variant["folder"]], cwd=ROOT,
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    for item in json.loads(text):
        suite = item["suite"][0].split(":")[-1] if item["suite"] else "other"
        if variant["suites"] is not None and suite not in variant["suites"] or \
                any(fnmatch.fnmatch(item["name"], n) for n in variant.get("leaves_out", [])):
            continue
        if suite in (FULL_LEAVES_OUT_PLAIN if full and variant is PLAIN else []) or \
                not full and suite in QUICK_LEAVES_OUT:
            continue
        prefix = variant["name"] + ":" if variant["name"] else ""
        yield Test("%s%s/%s" % (prefix, suite, item["name"]), variant["prefix"] + item["cmd"],
                   item["timeout"] * variant["factor"], dict(SANITIZERS, **item["env"]),
                   workdir=item["workdir"] or ROOT, parallel=item.get("is_parallel", True))


def header(path):
    """The leading comments of a guest test as a dictionary."""
    found = {}
    with open(path, errors="replace") as script:
        for line in script:
            if not line.startswith("#"):
                break
            match = re.match(r"# (needs|limit|cases|prepare|release|full)\b:?\s*(.*)", line)
            if match:
                found[match.group(1)] = (found.get(match.group(1), "") + " " +
                                         match.group(2)).strip()
    return found


def kvm_kind():
    return subprocess.run(["bash", "-c", ". tools/lib.sh; kvm_kind"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def guest_tests(full, named):
    """The files in tests/guest/, case by case; @named: those too that only run when asked for."""
    folder = os.path.join(ROOT, "tests", "guest")
    kind = kvm_kind()
    for file in sorted(os.listdir(folder)):
        path = os.path.join(folder, file)
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            continue
        head = header(path)
        if "full" in head and not full:
            continue
        need = head.get("needs", "")
        here = need == "" or kind == "hardware" or (need == "kvm" and kind == "software")
        for case in head.get("cases", "").split() or [""]:
            if case.startswith("full:") and not full or case.startswith("named:") and not named:
                continue
            case = case.replace("full:", "").replace("named:", "")
            test = Test("guest/" + file + ("/" + case if case else ""),
                        [path] + ([case] if case else []), int(head.get("limit", "60")),
                        {} if "release" in head else {"RHEA": os.environ.get("RHEA", PROGRAM)},
                        where="here" if here else "lab", parallel=False)
            test.prepare = head.get("prepare")
            yield test


def under_asan(test):
    """The same guest test with the program of the asan build.

    The search for leaks at the end of a process looks at it from outside, which the sandbox forbids."""
    env = dict(SANITIZERS, RHEA=os.path.join(ROOT, "build/asan/system/rhea"))
    env["ASAN_OPTIONS"] = env["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0")
    return Test("asan:" + test.name, test.command, test.limit * 4, env, parallel=False)


def main():
    arguments = sys.argv[1:]
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if arguments[:1] == ["--inside"]:
        return run_inside(arguments[1:])
    listing = "--list" in arguments
    full = "full" in arguments
    names = [a for a in arguments if a not in ("--list", "full")]
    os.chdir(ROOT)
    os.makedirs(LOGS, exist_ok=True)
    report = Report()

    def wanted(test):
        return not names or any(n in test.name or fnmatch.fnmatch(test.name, n) for n in names)

    # 1. The source tree itself.
    tools = [Test("tree/" + t, ["tools/check-" + t], 60) for t in ("includes", "names", "style")
             if os.path.exists("tools/check-" + t)]
    tools.append(Test("tree/runner", ["tests/runner-test.py"], 60))
    # 2. The builds and what meson knows of in each.
    ready = True
    if not listing:
        run_here([t for t in tools if wanted(t)], report)
        ready = build(PLAIN, report)
    else:
        print("\n".join(t.name for t in tools))
    for variant in [PLAIN] + (FULL if full else []):
        if variant is not PLAIN and not listing and not (may_match(variant, names) and
                                                         build(variant, report)):
            continue
        if variant is PLAIN and not ready or not os.path.exists(variant["folder"] + "/build.ninja"):
            continue
        found = [t for t in meson_tests(variant, full) if wanted(t)]
        if listing:
            print("".join(t.name + "\n" for t in found), end="")
        else:
            run_here(found, report)

    # 3. Guests: here first, then what needs the lab.
    guests = [t for t in guest_tests(full, bool(names)) if wanted(t)]
    if listing:
        print("\n".join(t.name for t in guests))
        return 0
    if ready or os.environ.get("RHEA"):
        for command, rhea in dict.fromkeys((t.prepare, t.env.get("RHEA")) for t in guests):
            env = dict(os.environ, FULL="1" if full else "", **({"RHEA": rhea} if rhea else {}))
            subprocess.run(["bash", "-c", command or ":"], cwd=ROOT, check=False, env=env)
        here = [t for t in guests if t.where == "here"]
        run_here(here, report)
        if full and os.path.exists("build/asan/system/rhea"):
            run_here([under_asan(t) for t in here
                      if not t.name.startswith(tuple(FULL_LEAVES_OUT_ASAN))], report)
        lab = [t for t in guests if t.where == "lab"]
        if lab:
            run_in_lab(lab, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
