/* hmp.c: hostile human monitors: lines as a terminal's keys, and lines as human-monitor-command has them,
 * on a machine with a few devices and vCPU registers that anybody can choose.
 *
 * The first byte chooses: bit 0: keys for a session (bit 1: on a mux; bit 2: its reader is slow), else a line
 * each.  No file is written: handlers are stubs, and so is what opens the log. */
#include <string.h>
#include "monitor/hmp.h"
#include "tests/device/bench-pci.h"
#include "tests/fuzz/seeded.h"
#include "tests/qmp/fakes.h"
#include "util/thread.h"
#include "util/trace.h"

extern const DeviceType edu_type, i8042_type;

/* In place of trace_to_file() (the linker's --wrap). */
bool __wrap_trace_to_file(const char *path, Error **errp);

bool __wrap_trace_to_file(const char *path, Error **errp)
{
    return error_set(errp, "%s is not opened", path);
}

static Bench *bench;
static size_t room;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    bench = bench_new();
    bench_pci(bench);
    bench_device(bench, &i8042_type, "kbc", NULL);
    bench_device(bench, &edu_type, "edu0", NULL);
    return 0;
}

void fuzz_end(void)
{
    bench_free(bench);
}

static size_t sink(void *arg, const char *buf, size_t n)
{
    n = MIN(n, room);
    room -= n;
    return n;
}

static void fuzz_keys(const char *data, size_t size, bool mux, bool slow)
{
    static const QmpStream stream = { .send = sink };
    QmpServer *server = qmp_server_new(fakes_state, NULL);

    room = slow ? 100 : SIZE_MAX;
    HmpSession *s = hmp_session_new(server, &stream, NULL, mux);
    hmp_session_open(s);
    hmp_session_focus(s, true);
    while (size > 0) {
        size_t n = MIN(hmp_session_space(s), size);

        if (n == 0) {
            room += 1 << 20;
            hmp_session_room(s);
            continue;
        }
        hmp_session_bytes(s, data, n);
        data += n;
        size -= n;
    }
    hmp_session_free(s);
    qmp_server_free(server);
}

static void ignore(void *arg, const char *output)
{
    ++*(unsigned *)arg;
    if (!g_utf8_validate(output, -1, NULL)) {
        abort();
    }
}

static void fuzz_lines(char **lines)
{
    QmpServer *server = qmp_server_new(fakes_state, NULL);
    HmpState *state = hmp_state_new();

    for (unsigned i = 0; lines[i] != NULL; i++) {
        unsigned done = 0;
        HmpRun *run = hmp_run(server, state, lines[i], ignore, &done);

        if ((run == NULL) != (done == 1)) {
            abort();
        }
        if (run != NULL) {
            hmp_run_forget(run);
        }
    }
    hmp_state_free(state);
    qmp_server_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    fakes_reset();
    if (data[0] & 1) {
        fuzz_keys((const char *)data + 1, size - 1, data[0] & 2, data[0] & 4);
    } else {
        g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        fuzz_lines(lines);
    }
    fakes_reset();
    guest_bug_report(false);
    trace_enable("-*", NULL);
    return 0;
}

GByteArray *fuzz_sample(unsigned i)
{
    static const char *const samples[] = {
        "\1info sta\t\r\033[A\033[D\033[D\177x\033[3~\001\013\031\r",
        "\3help\rinfo \t\t\033OA\016\020\022\027\r",
        "\1device_add e\tdu,id=\r\003\004\014cont\r", "\5info qtree\rinfo mtree -f -o\rhelp\r",
        "\1qom-list /ma\t\rqom-get /machine ty\t\rinfo history\r", "\1x/4i $\t\rp $ri\t\rlog \t\r",
    };
    static const char *const lines[] = {
        "help", "info", "info status", "help info status", "info qtree", "info qom-tree", "info mtree -f -o",
        "info mtree", "info registers -a", "info registers 0", "info lapic", "info lapic 1", "info mem",
        "info tlb",
        "info numa", "info stats vcpu exits kvm", "info stats vm", "info trace-events mach*", "info history",
        "x/4i $rip", "x/20xb 0x7c00", "xp/8gx 0", "xp/3c 0x100", "x/-4dw $sp",
        "p/x (1<<4)|~3 & 0xff - $eax", "p $cs*8/3%5^1",
        "i/2 0x60", "o/1 0x60 0xaa", "o/4 0xcf8 0x80000000", "i/4 0xcfc", "sum 0 4096", "gpa2hva 0x1000",
        "gva2gpa 0x1000",
        "device_add edu,id=e2", "device_add edu,help", "device_add ?", "device_del e2",
        "object_add rng-random,id=r",
        "chardev-add socket,id=c,host=localhost,port=1,server=on", "chardev-add pty,id=p,mux=on",
        "chardev-change c file,path=x", "qom-set -j /machine x {\"a\":[1,null]}", "qom-set /machine x on",
        "sendkey ctrl-alt-f1 100", "sendkey 0x1e-<", "mouse_move 1 -2 3", "mouse_button 7", "mouse_set 2",
        "gdbserver tcp::1", "boot_set cd", "drive_add -n 0 driver=null-co,node-name=n",
        "drive_add 0 if=none,file=x", "drive_del n", "dump-guest-memory -p -z f 0 4096", "memsave 0 16 f",
        "pmemsave 0x10 16 f", "balloon 64", "stop", "cont", "c", "quit", "cpu 1", "eject -f d",
        "change d f raw read-only",
        "block_resize d 10M", "set_link n on", "trace-event machine* on", "log guest_errors,trace:x*",
        "log none",
        "watchdog_action reset", "ringbuf_read r 10", "ringbuf_write r \"a\\n\\\"b\"", "nmi", "system_reset",
    };
    GByteArray *a = g_byte_array_new();

    if (i < G_N_ELEMENTS(samples)) {
        return g_byte_array_append(a, (const uint8_t *)samples[i], (guint)strlen(samples[i]));
    }
    i -= G_N_ELEMENTS(samples);
    if (i >= G_N_ELEMENTS(lines)) {
        g_byte_array_unref(a);
        return NULL;
    }
    g_byte_array_append(a, (const uint8_t *)"\0", 1);
    return g_byte_array_append(a, (const uint8_t *)lines[i], (guint)strlen(lines[i]));
}
