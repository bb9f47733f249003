"""foreign.py: what the NBD tests share: servers of ours and of others, and clients to ask them."""
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

LIMIT_S = 60
MIB = 1 << 20


def run(*args, check=True, **options):
    return subprocess.run(args, check=check, timeout=LIMIT_S, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **options)


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    return unittest.skipIf(missing, "not installed: " + ", ".join(missing))


class Nbd(unittest.TestCase):
    """A folder for each test; what it starts is ended with it."""
    tool = None

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-nbd-")
        self.addCleanup(self.folder.cleanup)
        self.processes = []
        self.addCleanup(self.end_all)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def image(self, name, size=4 * MIB, seed=1):
        """A raw image with data and holes."""
        rng = random.Random(seed)
        with open(self.path(name), "wb") as file:
            file.truncate(size)
            for at in range(0, size, 256 * 1024):
                if rng.random() < 0.5:
                    file.seek(at)
                    file.write(rng.randbytes(rng.randrange(1, 256 * 1024)))
        return self.path(name)

    def start(self, *args):
        """A server that says by its pid file, through --fork, or by its socket that it is there."""
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def serve(self, image, *args, name="s", tool=None):
        """Serves @image by @tool; gives the URI of its empty export name."""
        socket = self.path(name)
        pid = self.path(name + ".pid")
        run(tool or self.tool, "--fork", "--pid-file=" + pid, "-k", socket, "-t", *args, image)
        with open(pid) as file:
            self.processes.append(int(file.read()))
        return "nbd+unix:///?socket=" + socket

    def end(self, process, how=signal.SIGTERM):
        if isinstance(process, int):
            os.kill(process, how)
            while os.path.exists("/proc/%d" % process):       # not our child: nobody to wait for
                with open("/proc/%d/stat" % process) as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                        break
                time.sleep(0.005)
            return 0
        process.send_signal(how)
        process.communicate(timeout=LIMIT_S)
        return process.returncode

    def end_all(self):
        for process in self.processes:
            try:
                self.end(process, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                pass
            if not isinstance(process, int):
                process.stderr.close()


def read(path):
    with open(path, "rb") as file:
        return file.read()
