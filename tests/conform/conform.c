/* conform.c: what every device of the catalogue must do, checked for each of them.
 *
 *     conform [-s SEED] [TYPE...]     exit status: how many failed (at most 99)
 *     TYPE "toys": the toys; "catalogue": all but them; none: everything
 *
 *   life     made, plugged, used and removed again and again: no memory, descriptor, slot, doorbell, map
 *            entry or interrupt stays behind
 *   props    each property at its least and most, one beyond each, and garbage
 *   reset    state after reset is the state after power-on; a second reset changes nothing
 *   twin     random activity, save, load into a new device: the same state, interrupts and next thousand
 *            reads
 *   rule10   reset, quiesced, resumed, saved and removed in any order while accesses go on; while the
 *            machine stands nothing moves
 *
 * 1. Each check of each type runs in a process of its own: a crash is a failure of that check.  Most of its
 *    time it waits for grace periods, so many run side by side.
 * 2. The toys run first: the good must pass, and each bad one must fail the check its summary names. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "hw/catalogue.h"
#include "hw/misc/fw-cfg.h"
#include "tests/conform/activity.h"
#include "tests/conform/backends.h"
#include "tests/conform/carriers.h"
#include "tests/conform/toys.h"
#include "tests/device/bench-pci.h"
#include "util/epoch.h"
#include "util/thread.h"

#define SKIPPED 77
#define LSAN_STATUS 23         /* LeakSanitizer alone; within AddressSanitizer it is 1 */
#define TIME_LIMIT_S 120
#define CYCLES 20
#define WIDTH 16               /* checks side by side */

static uint32_t seed = 1;

/* Checks that do not apply, and why. */
static const struct Exempt {
    const char *type, *check, *why;
} exempt[] = {
    { "mc146818rtc", "reset", "the CMOS has a battery" },
    { "i6300esb", "reset", "the time-out bit tells of the reset it caused" },
};

/* --- in the child: one check --- */

static void G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    fflush(stdout);
    _exit(1);
}

static void G_GNUC_NORETURN skip(const char *why)
{
    printf("%s", why);
    fflush(stdout);
    _exit(SKIPPED);
}

/* Creates @t as "dut", not realized. */
static Device *create(Bench *b, const DeviceType *t)
{
    Error *e = NULL;

    if (strcmp(t->name, "vmcoreinfo") == 0 && !b->m->fw_cfg) {
        bench_device(b, &fw_cfg_type, "fw_cfg", NULL);
    }
    Device *d = bench_create(b, t, "dut", &e);

    if (!d) {
        skip(error_text(e));
    }
    if (!backends_set(d, &e)) {
        fail("%s", error_text(e));
    }
    return d;
}

static Device *make(Bench *b, const DeviceType *t)
{
    Error *e = NULL;
    Device *d = create(b, t);

    if (!device_realize(d, &e)) {
        if (!e) {
            fail("realize failed without an error");
        }
        if (t->flags & DEV_INTERNAL) {
            skip(error_text(e));
        }
        fail("cannot be realized: %s", error_text(e));
    }
    bench_run(b);
    return d;
}

static unsigned count_fds(void)
{
    unsigned n = 0;
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);

    while (dir && g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

static unsigned count_slots(const Bench *b)
{
    unsigned n = 0;

    for (unsigned i = 0; i < BENCH_SLOTS; i++) {
        n += b->slots[i].size != 0;
    }
    return n;
}

static void cycle(Bench *b, const DeviceType *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        Device *d = make(b, t);

        activity_run(b, d, rand, 50);
        bench_remove(b, d);
        Device *plain = create(b, t);
        device_discard(plain);
        epoch_flush();
    }
}

static void check_life(Bench *b, const DeviceType *t)
{
    size_t used, grown, least = SIZE_MAX;

    /* The first ones fill caches that stay. */
    cycle(b, t, CYCLES);
    unsigned fds = count_fds(), slots = count_slots(b), bells = b->bell_count;
    g_autofree char *mem = space_dump(b->m->mem), *io = space_dump(b->m->io);

    /* The allocator's own caches grow now and then; a leak grows each time. */
    for (unsigned i = 0; i < 10 && least > 0; i++) {
        used = mallinfo2().uordblks;
        cycle(b, t, CYCLES);
        grown = mallinfo2().uordblks;
        least = MIN(least, grown > used ? grown - used : 0);
    }
    if (least >= CYCLES * 16) {
        fail("%zu bytes more after %d lives", least, CYCLES);
    }
    if (count_fds() != fds) {
        fail("%d descriptors stay open", (int)(count_fds() - fds));
    }
    g_autofree char *mem_now = space_dump(b->m->mem), *io_now = space_dump(b->m->io);
    if (strcmp(mem, mem_now) != 0 || strcmp(io, io_now) != 0) {
        fail("the map differs afterwards:\n%s%s", mem_now, io_now);
    }
    if (count_slots(b) != slots || b->bell_count != bells) {
        fail("slots or doorbells stay behind");
    }
    for (unsigned i = 0; i < BENCH_GSIS; i++) {
        if (bench_irq(b, i)) {
            fail("interrupt %u stays high", i);
        }
    }
}

/* --- properties --- */

typedef struct Value {
    char *text;
    bool good;
} Value;

static void add_value(GArray *out, bool good, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

static void add_value(GArray *out, bool good, const char *fmt, ...)
{
    va_list ap;
    Value v = { .good = good };

    va_start(ap, fmt);
    v.text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_array_append_val(out, v);
}

static void add_numbers(const PropDesc *p, GArray *out)
{
    if (p->kind == PROP_KIND_I32) {
        add_value(out, true, "%" PRId64, (int64_t)p->min);
        add_value(out, true, "%" PRId64, (int64_t)p->max);
        add_value(out, false, "%" PRId64, (int64_t)p->min - 1);
        add_value(out, false, "%" PRId64, (int64_t)p->max + 1);
        return;
    }
    add_value(out, true, "%" PRIu64, p->min);
    add_value(out, true, "0x%" PRIx64, p->max);
    if (p->min) {
        add_value(out, false, "%" PRIu64, p->min - 1);
    }
    if (p->max != UINT64_MAX) {
        add_value(out, false, "%" PRIu64, p->max + 1);
    }
    add_value(out, false, "-1");
    add_value(out, false, "18446744073709551616");
}

static GArray *values_of(const PropDesc *p)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(Value));
    g_autofree char *large = g_strnfill(300, 'x');

    switch (p->kind) {
    case PROP_KIND_BOOL:
        add_value(out, true, "on");
        add_value(out, true, "off");
        break;
    case PROP_KIND_ENUM:
        for (unsigned i = 0; p->names[i]; i++) {
            add_value(out, true, "%s", p->names[i]);
        }
        break;
    case PROP_KIND_STR:
        add_value(out, true, "%s", "");
        add_value(out, true, "x");
        add_value(out, true, "%s", large);
        return out;
    case PROP_KIND_MAC:
        add_value(out, true, "52:54:00:12:34:56");
        add_value(out, false, "52:54:00:12:34");
        break;
    case PROP_KIND_LINK:
        break;
    default:
        add_numbers(p, out);
    }
    add_value(out, false, "%s", "");
    add_value(out, false, "rubbish %%s");
    return out;
}

static void try_value(Bench *b, const DeviceType *t, const PropDesc *p, const Value *v)
{
    Device *d = create(b, t);
    Error *e = NULL;
    bool ok = device_set(d, p->name, v->text, &e);

    if (ok != v->good) {
        fail("property %s=%s is %s", p->name, v->text, ok ? "accepted" : error_text(e));
    }
    if (!ok && !e) {
        fail("property %s=%s is refused without an error", p->name, v->text);
    }
    if (ok) {
        g_autofree char *text = device_get(d, p->name);

        if (!device_set(d, p->name, text, &e)) {
            fail("property %s=%s reads as %s, which is refused", p->name, v->text, text);
        }
        if (device_realize(d, &e)) {
            bench_step(b, NS_PER_MS);
            bench_remove(b, d);
            return;
        }
        if (!e) {
            fail("property %s=%s: realize failed without an error", p->name, v->text);
        }
    }
    error_free(e);
    device_discard(d);
    epoch_flush();
}

static void check_props(Bench *b, const DeviceType *t)
{
    device_discard(create(b, t));
    for (const DeviceType *at = t; at; at = at->inner) {
        const PropDesc *tables[] = { at->slot->props, at->props };

        for (unsigned i = 0; i < 2; i++) {
            for (const PropDesc *p = tables[i]; p && p->name; p++) {
                GArray *values = values_of(p);

                if (!p->help) {
                    fail("property %s has no line of help", p->name);
                }
                for (unsigned k = 0; k < values->len; k++) {
                    try_value(b, t, p, &g_array_index(values, Value, k));
                    g_free(g_array_index(values, Value, k).text);
                }
                g_array_unref(values);
            }
        }
    }
}

/* --- state --- */

static void same_state(const GByteArray *a, const GByteArray *b, const char *what)
{
    if (a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0)) {
        return;
    }
    g_autofree char *ta = state_print(a->data, a->len, NULL);
    g_autofree char *tb = state_print(b->data, b->len, NULL);
    g_auto(GStrv) la = g_strsplit(ta ? ta : "", "\n", 0), lb = g_strsplit(tb ? tb : "", "\n", 0);

    for (unsigned i = 0; la[i] && lb[i]; i++) {
        if (strcmp(la[i], lb[i]) != 0) {
            fail("%s: was \"%s\", is \"%s\"", what, g_strstrip(la[i]), g_strstrip(lb[i]));
        }
    }
    fail("%s: state differs", what);
}

static void check_reset(Bench *b, const DeviceType *t)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Device *d = make(b, t);
    g_autoptr(GByteArray) fresh = bench_save(b, d);

    bench_reset(b);
    g_autoptr(GByteArray) first = bench_save(b, d);
    same_state(fresh, first, "reset of a fresh device");
    for (unsigned round = 0; round < 4; round++) {
        activity_run(b, d, rand, 500);
        bench_reset(b);
        g_autoptr(GByteArray) after = bench_save(b, d);
        same_state(fresh, after, "reset after activity");
        bench_reset(b);
        g_autoptr(GByteArray) again = bench_save(b, d);
        same_state(after, again, "a second reset");
    }
    bench_remove(b, d);
}

typedef struct Picture {
    GByteArray *state;
    GByteArray *ram;
    bool level[BENCH_GSIS];
    uint64_t reads;
} Picture;

static void take_levels(Bench *b, bool *level)
{
    for (unsigned i = 0; i < BENCH_GSIS; i++) {
        level[i] = bench_irq(b, i);
    }
}

static uint64_t thousand_reads(Bench *b, Device *d, unsigned round)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed + 1000 + round);

    return activity_reads(b, d, rand, 1000);
}

/* All RAM: the board's and what the device brings, which is saved apart from its state. */
static GByteArray *all_ram(void)
{
    GByteArray *all = g_byte_array_new();

    for (const RamBlock *b = ram_first(); b; b = b->next) {
        g_byte_array_append(all, b->host, b->size);
    }
    return all;
}

static void put_ram(const GByteArray *all)
{
    size_t at = 0;

    for (RamBlock *b = ram_first(); b; b = b->next) {
        if (at + b->size <= all->len) {
            memcpy(b->host, all->data + at, b->size);
        }
        at += b->size;
    }
}

static void twin_round(Bench *b, const DeviceType *t, unsigned round)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed + round);
    Device *d = make(b, t);
    Picture a = { .state = g_byte_array_new() };
    bool level[BENCH_GSIS];
    Error *e = NULL;

    activity_run(b, d, rand, 300 * round);
    bench_quiesce(b);
    state_save_tree(d, a.state);
    a.ram = all_ram();
    take_levels(b, a.level);
    a.reads = thousand_reads(b, d, round);
    bench_remove(b, d);

    d = make(b, t);
    put_ram(a.ram);
    if (!state_load_tree(d, a.state->data, a.state->len, &e)) {
        fail("saved state cannot be loaded: %s", error_text(e));
    }
    device_settle_tree(d);
    bench_run(b);
    g_autoptr(GByteArray) now = g_byte_array_new();
    state_save_tree(d, now);
    same_state(a.state, now, "state of the twin");
    take_levels(b, level);
    for (unsigned i = 0; i < BENCH_GSIS; i++) {
        if (level[i] != a.level[i]) {
            fail("interrupt %u of the twin is %s", i, level[i] ? "high" : "low");
        }
    }
    if (thousand_reads(b, d, round) != a.reads) {
        fail("the next thousand reads of the twin differ (seed %u)", seed + round);
    }
    bench_resume(b);
    bench_remove(b, d);
    g_byte_array_unref(a.state);
    g_byte_array_unref(a.ram);
}

static void check_twin(Bench *b, const DeviceType *t)
{
    for (unsigned round = 0; round < 6; round++) {
        twin_round(b, t, round);
    }
}

/* --- rule 10 --- */

static GRand *turn_rand;

static void turn(Bench *b, unsigned index, void *arg)
{
    activity_turn(arg, turn_rand, true);
}

static uint64_t digest_ram(Bench *b)
{
    const uint64_t *words = (const uint64_t *)bench_ram(b, 0, bench_ram_size());
    uint64_t digest = 0;

    for (size_t i = 0; i < bench_ram_size() / 8; i++) {
        digest = (digest ^ words[i]) * 0x100000001b3;
    }
    return digest;
}

/* The machine stands: nothing may move. */
static void nothing_moves(Bench *b, Device *d)
{
    bool before[BENCH_GSIS], after[BENCH_GSIS];
    g_autoptr(GByteArray) state = g_byte_array_new(), state_after = g_byte_array_new();
    unsigned messages = bench_msi_count(b);
    uint64_t ram = digest_ram(b);

    take_levels(b, before);
    state_save_tree(d, state);
    bench_step(b, 20 * NS_PER_MS);
    take_levels(b, after);
    state_save_tree(d, state_after);
    same_state(state, state_after, "while the machine stands");
    if (memcmp(before, after, sizeof(before)) != 0 || bench_msi_count(b) != messages) {
        fail("an interrupt while the machine stands");
    }
    if (digest_ram(b) != ram) {
        fail("RAM is written while the machine stands");
    }
}

typedef struct Waited {
    Post post;
    bool done;
} Waited;

static void waited_done(Post *p)
{
    ((Waited *)p)->done = true;
}

static bool waited(void *arg)
{
    return ((Waited *)arg)->done;
}

/* Quiesces the device alone: accesses go on. */
static void quiesce_alone(Bench *b, Device *d)
{
    Waited w = { .post.run = waited_done };

    device_quiesce_later(d, &w.post);
    bench_until(b, waited, &w);
    device_resume_tree(d);
}

static Device *one_act(Bench *b, const DeviceType *t, Device *d, GRand *rand, GByteArray *saved)
{
    Error *e = NULL;

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
        bench_reset(b);
        break;
    case 1:
        bench_quiesce(b);
        nothing_moves(b, d);
        bench_resume(b);
        break;
    case 2:
        quiesce_alone(b, d);
        break;
    case 3:
        bench_quiesce(b);
        g_byte_array_set_size(saved, 0);
        state_save_tree(d, saved);
        bench_resume(b);
        break;
    case 4:
        if (saved->len && !bench_load(b, d, saved, &e)) {
            fail("saved state cannot be loaded: %s", error_text(e));
        }
        break;
    case 5:
        if (g_rand_boolean(rand)) {
            bench_quiesce(b);
        }
        bench_remove(b, d);
        d = make(b, t);
        bench_resume(b);
        break;
    default:
        bench_step(b, g_rand_int_range(rand, 0, NS_PER_MS));
    }
    return d;
}

static void check_rule10(Bench *b, const DeviceType *t)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    Activity a;

    turn_rand = g_rand_new_with_seed(seed + 1);
    Device *d = make(b, t);
    activity_find(b, d, true, &a);
    bench_vcpus_start(b, 1, turn, &a);
    for (unsigned i = 0; i < 120; i++) {
        d = one_act(b, t, d, rand, saved);
    }
    bench_vcpus_stop(b);
    activity_clear(&a);
    g_rand_free(turn_rand);
    bench_remove(b, d);
}

/* --- all checks of all types --- */

typedef struct Check {
    const char *name;
    void (*run)(Bench *b, const DeviceType *t);
} Check;

static const Check checks[] = {
    { "life", check_life }, { "props", check_props }, { "reset", check_reset },
    { "twin", check_twin }, { "rule10", check_rule10 },
};

/* A check under way, or done with. */
typedef struct Run {
    const Check *check;
    const DeviceType *type;
    bool bad;                  /* the type is a toy whose mistake is to be found */
    pid_t pid;                 /* 0: exempt, see why */
    int fd;                    /* what it prints */
    int status;                /* 0, 1, SKIPPED, or 128 and a signal */
    char why[512];
} Run;

static void G_GNUC_NORETURN child(const Check *c, const DeviceType *t, int out)
{
    dup2(out, STDOUT_FILENO);
    alarm(TIME_LIMIT_S);
    thread_become_control();
    backends_open();

    Bench *b = bench_new();
    bench_pci(b);
    carriers_make(b, t);
    c->run(b, t);
    bench_free(b);
    fflush(stdout);
    exit(0);
}

static const char *exemption(const Check *c, const DeviceType *t)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(exempt); i++) {
        if (strcmp(exempt[i].type, t->name) == 0 && strcmp(exempt[i].check, c->name) == 0) {
            return exempt[i].why;
        }
    }
    return NULL;
}

/* Those under way, oldest first. */
static struct {
    Run runs[WIDTH];
    unsigned first, count, failed;
} going;

static void start(const Check *c, const DeviceType *t, bool bad)
{
    Run *r = &going.runs[(going.first + going.count++) % WIDTH];
    const char *why = exemption(c, t);
    int pipe_fd[2];

    *r = (Run){ .check = c, .type = t, .bad = bad, .status = SKIPPED };
    if (why) {
        g_strlcpy(r->why, why, sizeof(r->why));
        return;
    }
    if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
        abort();
    }
    fflush(stdout);
    r->pid = fork();
    if (r->pid == 0) {
        child(c, t, pipe_fd[1]);
    }
    close(pipe_fd[1]);
    r->fd = pipe_fd[0];
}

static void end(Run *r)
{
    size_t n = 0;
    ssize_t got;
    int status;

    while (n < sizeof(r->why) - 1 && (got = read(r->fd, r->why + n, sizeof(r->why) - 1 - n)) > 0) {
        n += got;
    }
    r->why[n] = 0;
    close(r->fd);
    waitpid(r->pid, &status, 0);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The suite must find a bad toy's mistake, in the check that its summary names. */
static void judge_bad(const Run *r)
{
    bool found = r->status == 1 || r->status == LSAN_STATUS;

    printf("%s  %-32s %s: %s\n", found ? "ok  " : "FAIL", r->type->name, r->check->name,
           found ? (r->why[0] ? r->why : "a leak") : "its mistake was not found");
    going.failed += !found;
}

static void judge(const Run *r)
{
    const char *name = r->type->name, *check = r->check->name;

    if (r->status == 0) {
        printf("ok    %-32s %s\n", name, check);
    } else if (r->status == SKIPPED) {
        printf("skip  %-32s %s: %s\n", name, check, r->why);
    } else if (r->status > 128) {
        printf("FAIL  %-32s %s: signal %d (%s) %s\n", name, check, r->status - 128,
               strsignal(r->status - 128), r->why);
    } else {
        printf("FAIL  %-32s %s: %s\n", name, check, r->why[0] ? r->why : "see above");
    }
    going.failed += r->status != 0 && r->status != SKIPPED;
}

/* Waits for the oldest until no more than @most are under way. */
static void wait_until(unsigned most)
{
    while (going.count > most) {
        Run *r = &going.runs[going.first];

        if (r->pid != 0) {
            end(r);
        }
        if (r->bad) {
            judge_bad(r);
        } else {
            judge(r);
        }
        going.first = (going.first + 1) % WIDTH;
        going.count--;
    }
}

static void run_type(const DeviceType *t, bool bad)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(checks); i++) {
        if (!bad || strcmp(checks[i].name, t->summary) == 0) {
            wait_until(WIDTH - 1);
            start(&checks[i], t, bad);
        }
    }
}

static void run_toys(void)
{
    run_type(&toy_isa_type, false);
    run_type(&toy_pci_type, false);
    for (const DeviceType *const *t = toy_bad_types; *t; t++) {
        run_type(*t, true);
    }
}

static bool wanted(const DeviceType *t, char **names)
{
    for (; names && *names; names++) {
        if (strcmp(t->name, *names) == 0 || strcmp("catalogue", *names) == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "s:")) != -1) {
        if (opt == 's') {
            seed = strtoul(optarg, NULL, 0);
        } else {
            fprintf(stderr, "usage: conform [-s SEED] toys|catalogue|TYPE...\n");
            return 2;
        }
    }
    char **names = optind < argc ? argv + optind : NULL;

    thread_become_control();
    catalogue_register();
    if (!names || strcmp(names[0], "toys") == 0) {
        run_toys();
    }
    for (const DeviceType *const *t = device_types(); *t; t++) {
        if (!names || wanted(*t, names)) {
            run_type(*t, false);
        }
    }
    wait_until(0);
    printf("%u failed\n", going.failed);
    return MIN(going.failed, 99);
}
