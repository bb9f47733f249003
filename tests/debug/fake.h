/* fake.h: a debugger's session on a test board, whose two vCPUs are a table of registers.
 *
 * The machine stops and goes on as the real one does, on the control loop; what the session sends is
 * kept in @fake.sent. */
#ifndef TESTS_DEBUG_FAKE_H
#define TESTS_DEBUG_FAKE_H

#include <string.h>
#include "core/accel.h"
#include "debug/gdb.h"
#include "tests/device/bench.h"

#define FAKE_CPUS 2

static struct {
    Bench *b;
    Gdb *gdb;
    AccelOps ops;
    X86Regs regs[FAKE_CPUS];
    CpuDebug debug[FAKE_CPUS];
    CpuStop stop[FAKE_CPUS];
    bool has_stop[FAKE_CPUS];
    bool running, refuses, no_irq_block;
    unsigned resets, quits;
    GString *sent;
    size_t room;               /* what the stream takes */
    Post stopped;
} fake;

static bool fake_regs(unsigned i, X86Regs *r)
{
    if (i < FAKE_CPUS) {
        *r = fake.regs[i];
    }
    return i < FAKE_CPUS;
}

static bool fake_regs_set(unsigned i, const X86Regs *r)
{
    if (i < FAKE_CPUS) {
        fake.regs[i] = *r;
    }
    return i < FAKE_CPUS;
}

static unsigned fake_features(void)
{
    return fake.no_irq_block ? 0 : CPU_DEBUG_BLOCK_IRQ;
}

static bool fake_debug(unsigned i, const CpuDebug *d)
{
    fake.debug[i] = *d;
    return true;
}

static bool fake_take(unsigned i, CpuStop *s)
{
    bool has = fake.has_stop[i];

    *s = fake.stop[i];
    fake.has_stop[i] = false;
    return has;
}

static unsigned fake_count(void)
{
    return FAKE_CPUS;
}

/* --- the host --- */

static bool host_running(void)
{
    return fake.running;
}

static void on_stopped(Post *p)
{
    fake.running = false;
    gdb_stopped(fake.gdb, GDB_SIGINT);
}

static void host_stop(void)
{
    fake.stopped.run = on_stopped;
    machine_quiesce(&fake.stopped);
}

static bool host_cont(Error **errp)
{
    if (fake.refuses) {
        return error_set(errp, "not now");
    }
    fake.running = true;
    machine_resume();
    return true;
}

static void host_reset(void)
{
    fake.resets++;
}

static void host_quit(void)
{
    fake.quits++;
}

static char *host_monitor(const char *command)
{
    return strcmp(command, "none") == 0 ? NULL : g_strdup_printf("said %s\n", command);
}

static size_t host_send(void *arg, const uint8_t *buf, size_t n)
{
    n = MIN(n, fake.room);
    fake.room -= n;
    g_string_append_len(fake.sent, (const char *)buf, n);
    return n;
}

static void host_more(void *arg)
{
}

/* Stopped in flat 32-bit mode. */
static inline void fake_new(void)
{
    const GdbHost host = { host_running, host_stop, host_cont, host_reset, host_quit, host_monitor,
                           host_send, host_more, NULL };

    memset(&fake, 0, sizeof(fake));
    fake.b = bench_new();
    fake.ops = *accel();
    fake.ops.vcpus_park = NULL;
    fake.ops.vcpu_count = fake_count;
    fake.ops.vcpu_regs = fake_regs;
    fake.ops.vcpu_regs_set = fake_regs_set;
    fake.ops.debug_features = fake_features;
    fake.ops.debug_set = fake_debug;
    fake.ops.debug_take = fake_take;
    accel_set(&fake.ops);
    for (unsigned i = 0; i < FAKE_CPUS; i++) {
        fake.regs[i].cr0 = X86_CR0_PE;
    }
    fake.sent = g_string_new(NULL);
    fake.room = SIZE_MAX;
    fake.running = true;
    fake.gdb = gdb_new(&host);
}

static inline void fake_free(void)
{
    bench_run(fake.b);
    fake.running = false;
    gdb_free(fake.gdb);
    fake.ops.vcpu_count = NULL;
    bench_free(fake.b);
    g_string_free(fake.sent, true);
}

#endif
