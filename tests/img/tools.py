"""tools.py: running our tools and Debian's side by side."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 60
# What Debian's tools say if the host was too busy for them to time a passphrase: nothing that is tested here.
BUSY, BUSY_LIMIT = "Unable to get accurate CPU usage", 20
OURS, OUR_IO = sys.argv[1], sys.argv[2]
THEIRS, THEIR_IO = "qemu-img", "qemu-io"
IMG, IO = {"ours": OURS, "theirs": THEIRS}, {"ours": OUR_IO, "theirs": THEIR_IO}


class Failure(Exception):
    pass


def run(*words, status=0, limit=LIMIT, **options):
    """Runs to the end; the two streams.  @status: what must come of it (None: whatever)."""
    for _ in range(BUSY_LIMIT):
        done = subprocess.run(words, timeout=limit, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, **options)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if words[0] not in (THEIRS, THEIR_IO) or BUSY not in err:
            break
    if status is not None and done.returncode != status:
        raise Failure("%s\n  status %d, not %d\n%s%s" % (" ".join(words), done.returncode, status, out, err))
    return (done.returncode, out, err) if status is None else (out, err)


def outcome(side, words, io=False):
    """Status and texts of a command, the program's name and the times left out."""
    program = (IO if io else IMG)[side]
    status, out, err = run(program, *words, status=None)
    name = os.path.basename(program)

    def plain(text):
        text = text.replace(name, "TOOL")
        text = re.sub(r"[\d.]+ (bytes|[KMGT]iB)/sec and [\d.]+ ops/sec", "RATE", text)
        return re.sub(r"[\d:.]+ sec \(", "TIME (", text)
    return status, plain(out), plain(err)


def same(got, want, what):
    if got != want:
        raise Failure("%s\n  got  %r\n  want %r" % (what, got, want))


def main(tests, on_disk=False):
    """Runs each in a folder of its own, in memory if there is some unless @on_disk; 77: no Debian tools."""
    if not shutil.which(THEIRS) or not shutil.which(THEIR_IO):
        sys.exit(77)
    failed = 0
    for test in tests:
        name = getattr(test, "title", getattr(test, "__name__", "test"))
        memory = "/dev/shm" if os.path.isdir("/dev/shm") and not on_disk else None
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            os.chdir(folder)
            try:
                test()
                print("ok", name, flush=True)
            except (Failure, subprocess.TimeoutExpired) as wrong:
                failed += 1
                print("FAILED", name, wrong, sep="\n", flush=True)
            os.chdir("/")
    sys.exit(1 if failed else 0)
