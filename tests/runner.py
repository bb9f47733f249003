"""The test runner behind ./check: builds, finds the tests, runs them, prints a line for each.

1. Tests come from two places: `meson introspect --tests` of each build folder, and tests/guest/,
   where a test is an executable file whose leading comments say what it needs (see below).
2. A test passes with status 0 and is skipped with 77; everything else, a time limit included, is a
   failure, and the end of its log is shown.  Nothing is tried twice.
3. Tests that need a real KVM run here if there is one, else one after another in one lab machine,
   which is this file again with --inside.

Leading comments of a test in tests/guest/, all optional:
    # needs: kvm       any /dev/kvm, a software one too     (without /dev/kvm: in the lab)
    # needs: hwkvm     a real KVM: here or in the lab
    # limit: SECONDS   on a machine with hardware KVM; in the lab it is LAB_FACTOR times as long
    # cases: NAME...   run once for each, with NAME as the argument; `full:NAME` only in full mode,
                       `named:NAME` only when asked for by name
    # prepare: CMD     run before, outside the lab (what needs the network, or much computing)
    # full             only in full mode
"""
import concurrent.futures as futures
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "logs")
LAB_FACTOR = 8
LAB_MIB = 7168
TAIL = 30

# Variants of the build: folder, environment, meson options, the suites run in it (None: all),
# factor on time limits, prefix of each test command.
PLAIN = dict(name="", folder="build", options=[], suites=None, factor=1, prefix=[])
FULL = [
    dict(name="asan", folder="build/asan", factor=4, prefix=[],
         options=["-Db_sanitize=address,undefined", "-Db_lundef=false"],
         suites=["unit", "device", "conform", "qmp", "stress", "block"]),
    # A fixed address layout: ThreadSanitizer does not know all of the kernel's random ones.
    dict(name="tsan", folder="build/tsan", factor=8, prefix=["setarch", "-R"],
         options=["-Db_sanitize=thread", "-Db_lundef=false"], suites=["unit", "stress"]),
    dict(name="clang", folder="build/clang", cc="clang", factor=4, prefix=[],
         options=["-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
         suites=["unit", "fuzz"]),
]
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
              "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
              "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
QUICK_LEAVES_OUT = ["stress", "fuzz"]


class Test:
    """One line of the report."""

    def __init__(self, name, command, limit, env=None, where="here", workdir=ROOT, parallel=True):
        self.name, self.command, self.limit = name, command, limit
        self.env, self.where, self.workdir = env or {}, where, workdir
        self.parallel = parallel
        self.log = os.path.join(LOGS, re.sub(r"[^\w.-]+", "-", name) + ".log")


class Report:
    """Prints results as they come, and what is running meanwhile on a terminal."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.tty = sys.stdout.isatty()

    def running(self, names, start):
        if self.tty and names:
            text = "... %s (%d s)" % (", ".join(names), time.monotonic() - start)
            sys.stdout.write("\r" + text[:100] + "\033[K")
            sys.stdout.flush()

    def stage(self, text):
        print(("\r\033[K" if self.tty else "") + text, flush=True)

    def result(self, test, status, seconds):
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
        reason = "over its time limit" if status == "limit" else "status %s" % status
        print("      %s; log: %s" % (reason, os.path.relpath(test.log, ROOT)), flush=True)

    def end(self):
        line = "%d passed, %d failed" % (self.passed, self.failed)
        print(line + (", %d skipped" % self.skipped if self.skipped else ""), flush=True)
        return 1 if self.failed or not self.passed else 0


def execute(test):
    """Run one test to its end; (status, seconds)."""
    start = time.monotonic()
    env = dict(os.environ, **test.env)
    os.makedirs(LOGS, exist_ok=True)
    with open(test.log, "w") as log:
        process = subprocess.Popen(test.command, cwd=test.workdir, env=env, stdout=log,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            status = process.wait(test.limit)
        except subprocess.TimeoutExpired:
            status = "limit"
        # What a test leaves running is ended with it.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
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


def run_in_lab(tests, report):
    """All in one lab machine; it prints `RESULT name status seconds` lines."""
    byname = {t.name: t for t in tests}
    limit = sum(t.limit for t in tests) * LAB_FACTOR + 120
    command = ["tests/lab/lab", "-m", str(LAB_MIB), "-t", str(limit), "--", sys.executable,
               os.path.abspath(__file__), "--inside"] + list(byname)
    env = dict(os.environ, LAB_OUT=LOGS)
    report.stage("... the lab: %d tests in a machine with a real KVM" % len(tests))
    with open(os.path.join(LOGS, "lab.log"), "w") as log:
        lab = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log,
                               stdin=subprocess.DEVNULL, text=True)
        for line in lab.stdout:
            words = line.split()
            if len(words) == 4 and words[0] == "RESULT" and words[1] in byname:
                status = int(words[2]) if words[2] != "limit" else "limit"
                report.result(byname.pop(words[1]), status, float(words[3]))
        lab.wait()
    for test in byname.values():
        shutil.copy(os.path.join(LOGS, "lab.log"), test.log)
        report.result(test, "%d of the lab" % lab.returncode, 0)


def run_inside(names):
    """In the lab: run the guest tests named, print the lines run_in_lab reads."""
    for test in guest_tests(True):
        if test.name in names:
            test.limit *= LAB_FACTOR
            status, seconds = execute(test)
            print("RESULT %s %s %.2f" % (test.name, status, seconds), flush=True)
    return 0


def build(variant, report):
    """Configure and build; a failure counts as a failed test."""
    name = variant["name"] or "gcc"
    test = Test("build/" + name, ["tools/build", variant["folder"]] + variant["options"], 1800)
    if variant is PLAIN and os.path.exists("build/build.ninja") and not list(
            meson_tests(variant, True)):
        # ./run configured it before cmocka was there.
        subprocess.run(["meson", "setup", "--reconfigure", "--clearcache", "build"], check=True,
                       stdout=subprocess.DEVNULL)
    if "cc" in variant:
        test.env["CC"] = variant["cc"]
    start = time.monotonic()
    with futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, test)
        while not futures.wait([future], 0.5).done:
            report.running(["building " + variant["folder"]], start)
    report.result(test, *future.result())
    return future.result()[0] == 0


def meson_tests(variant, full):
    """What meson knows of in a build folder."""
    text = subprocess.run(["meson", "introspect", "--tests", variant["folder"]], cwd=ROOT,
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    for item in json.loads(text):
        suite = item["suite"][0].split(":")[-1] if item["suite"] else "other"
        if variant["suites"] is not None and suite not in variant["suites"]:
            continue
        if not full and suite in QUICK_LEAVES_OUT:
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
            match = re.match(r"# (needs|limit|cases|prepare|full)\b:?\s*(.*)", line)
            if match:
                found[match.group(1)] = (found.get(match.group(1), "") + " " +
                                         match.group(2)).strip()
    return found


def kvm_kind():
    return subprocess.run(["bash", "-c", ". tools/lib.sh; kvm_kind"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def guest_tests(full, names=None):
    """The files in tests/guest/, case by case; @names: those asked for, None: all of them."""
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
            if case.startswith("full:") and not full:
                continue
            if case.startswith("named:") and names is not None and \
                    not any(n in "guest/" + file + "/" + case[6:] for n in names):
                continue
            case = case.replace("full:", "").replace("named:", "")
            test = Test("guest/" + file + ("/" + case if case else ""),
                        [path] + ([case] if case else []), int(head.get("limit", "60")),
                        where="here" if here else "lab", parallel=False)
            test.prepare = head.get("prepare")
            yield test


def under_asan(test):
    """The same guest test with the program of the asan build."""
    env = dict(SANITIZERS, RHEA=os.path.join(ROOT, "build/asan/system/rhea"))
    return Test("asan:" + test.name, test.command, test.limit * 4, env, parallel=False)


def main():
    arguments = sys.argv[1:]
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
    # 2. The builds and what meson knows of in each.
    ready = True
    if not listing:
        run_here([t for t in tools if wanted(t)], report)
        ready = build(PLAIN, report)
    else:
        print("\n".join(t.name for t in tools))
    for variant in [PLAIN] + (FULL if full else []):
        if variant is not PLAIN and not listing and not build(variant, report):
            continue
        if variant is PLAIN and not ready or not os.path.exists(variant["folder"] + "/build.ninja"):
            continue
        found = [t for t in meson_tests(variant, full) if wanted(t)]
        if listing:
            print("".join(t.name + "\n" for t in found), end="")
        else:
            run_here(found, report)

    # 3. Guests: here first, then what needs the lab.
    guests = [t for t in guest_tests(full, names) if wanted(t)]
    if listing:
        print("\n".join(t.name for t in guests))
        return 0
    if ready or os.environ.get("RHEA"):
        for command in dict.fromkeys(t.prepare for t in guests if t.prepare):
            subprocess.run(["bash", "-c", command], cwd=ROOT, check=False,
                           env=dict(os.environ, FULL="1" if full else ""))
        here = [t for t in guests if t.where == "here"]
        run_here(here, report)
        if full and os.path.exists("build/asan/system/rhea"):
            run_here([under_asan(t) for t in here], report)
        lab = [t for t in guests if t.where == "lab"]
        if lab:
            run_in_lab(lab, report)
    return report.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
