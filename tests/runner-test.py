#!/usr/bin/env python3
"""The test runner outlives its lab machine: one that falls silent, ends, or never begins is ended,
the test at fault has failed and the others run in the next one."""
import os
import re
import tempfile

import runner

# A lab in name only.  It takes no notice of being asked to end; its tests do what their names say.
LAB = r"""
trap '' TERM
while [ "$1" != -l ]; do shift; done
echo "the console" >"$2"
console=$2
while [ "$1" != --inside ]; do shift; done
shift
echo "said by the lab" >&2
case $1 in never) sleep 100 ;; esac
for name; do
    case $name in between) exit 3 ;; esac
    echo "START $name"
    case $name in
    silent) sleep 100 ;;
    endless) while :; do echo ALIVE; sleep 0.2; done ;;
    dead) exit 3 ;;
    unlucky) [ -e "$LAB_OUT/once" ] ||
             { touch "$LAB_OUT/once"; echo "Kernel panic - not syncing" >>"$console"; exit 3; } ;;
    doomed) echo "Kernel panic - not syncing" >>"$console"; exit 3 ;;
    esac
    echo "RESULT $name 0 1.00"
done
"""
# What is run, and how each must end.
ROWS = [
    [("first", 0), ("silent", "no sign of life"), ("third", 0), ("dead", "machine ended"), ("last", 0)],
    [("endless", "still running"), ("last", 0)],
    [("first", 0), ("unlucky", 0), ("doomed", "machine ended"), ("last", 0)],
    [("never", "no sign of life"), ("last", "no sign of life")],
    [("first", 0), ("between", "machine ended"), ("last", "machine ended")],
]


class Report(runner.Report):
    def __init__(self):
        super().__init__()
        self.seen = []

    def result(self, test, status, seconds):
        super().result(test, status, seconds)
        self.seen.append((test.name, status))


def run_row(row, machines):
    tests, report = [runner.Test(name, [], 1) for name, _ in row], Report()
    runner.lab_machines = lambda: machines
    runner.run_in_lab(tests, report)
    order = [row[i][0] for m in range(machines) for i in range(m, len(row), machines)]
    seen = sorted(report.seen, key=lambda item: order.index(item[0])) if machines > 1 else report.seen
    assert [name for name, _ in seen] == order, report.seen
    ended = dict(seen)
    for test, (name, expected) in zip(tests, row):
        got = ended[name]
        assert got == expected or re.search(str(expected), str(got)), (test.name, got, expected)
        if got != 0:
            with open(test.log) as file:
                log = file.read()
            texts = ["said by the lab", "the console", expected]
            for text in texts + (["sleep"] if expected == "no sign of life" else []):
                assert text in log, (test.name, text, log)


with tempfile.TemporaryDirectory(prefix="rhea-runner-") as folder:
    runner.LOGS, runner.LAB = folder, ["bash", os.path.join(folder, "lab")]
    runner.BEAT_LIMIT = runner.START_LIMIT = runner.END_LIMIT = runner.LAB_FACTOR = 1
    with open(runner.LAB[1], "w") as file:
        file.write(LAB)
    for row in ROWS:
        run_row(row, 1)
    run_row(ROWS[0], 2)
