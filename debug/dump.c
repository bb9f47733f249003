/* dump.c: what is dumped, the thread that does it, and the file below it, see dump.h. */
#include "debug/dump.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/accel.h"
#include "debug/dump-int.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/fault.h"
#include "util/loop.h"
#include "util/thread.h"
#include "util/trace.h"

static Dump *current;                  /* control: the one that runs, or NULL */
static DumpProgress last;              /* control: how the last one ended */

/* --- the file --- */

bool dump_write(Dump *d, const void *buf, size_t n, Error **errp)
{
    const uint8_t *from = buf;

    while (n > 0) {
        ssize_t did = FAULT("dump-write") ? (errno = EIO, -1) : write(d->req.fd, from, n);

        if (did < 0 && errno == EAGAIN) {
            struct pollfd p = { .fd = d->req.fd, .events = POLLOUT };

            poll(&p, 1, -1);
        } else if (did < 0 && errno != EINTR) {
            return error_set(errp, "dump: failed to write the file: %s", errno_text(errno));
        } else if (did > 0) {
            from += did;
            n -= did;
            d->written += did;
        }
    }
    return true;
}

bool dump_write_zeroes(Dump *d, uint64_t n, Error **errp)
{
    static const uint8_t zero[65536];

    if (d->sparse && lseek(d->req.fd, n, SEEK_CUR) >= 0) {
        d->written += n;
        return true;
    }
    while (n > 0) {
        size_t part = MIN(n, sizeof(zero));

        if (!dump_write(d, zero, part, errp)) {
            return false;
        }
        n -= part;
    }
    return true;
}

uint64_t dump_stretch(const DumpRange *r, uint64_t off, uint64_t max, bool *hole)
{
    off_t from = r->ram_at + off, data;

    *hole = false;
    max = MIN(max, r->size - off);
    if (r->ram->fd < 0 || !r->ram->share) {
        return max;
    }
    data = lseek(r->ram->fd, from, SEEK_DATA);
    if (data < 0) {
        *hole = errno == ENXIO;
        return max;
    }
    if (data > from) {
        *hole = true;
        return MIN(max, (uint64_t)(data - from));
    }
    off_t end = lseek(r->ram->fd, from, SEEK_HOLE);
    return end > from ? MIN(max, (uint64_t)(end - from)) : max;
}

bool dump_is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, DUMP_PAGE - 1) == 0;
}

void dump_advance(Dump *d, uint64_t n)
{
    __atomic_add_fetch(&d->completed, n, __ATOMIC_RELAXED);
}

/* --- what is dumped --- */

static void add_range(const FlatRam *f, void *arg)
{
    Dump *d = arg;
    DumpRange r = { f->at, f->size, f->host, f->ram, (uint8_t *)f->host - f->ram->host };

    if (d->req.has_range) {
        Gpa begin = MAX(r.at, d->req.begin), end = MIN(r.at + r.size, d->req.begin + d->req.length);

        if (begin >= end) {
            return;
        }
        r.host += begin - r.at;
        r.ram_at += begin - r.at;
        r.at = begin;
        r.size = end - begin;
    }
    ram_pin(r.ram);
    g_array_append_val(d->ranges, r);
    d->total += r.size;
}

static int by_address(gconstpointer a, gconstpointer b)
{
    const DumpRange *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* Slots cut RAM where something else begins: what lies together is one again. */
static void join_ranges(Dump *d)
{
    g_array_sort(d->ranges, by_address);
    for (unsigned i = 1; i < d->ranges->len;) {
        DumpRange *before = &g_array_index(d->ranges, DumpRange, i - 1), *r = before + 1;

        if (before->ram == r->ram && before->at + before->size == r->at &&
            before->host + before->size == r->host) {
            before->size += r->size;
            ram_unpin(r->ram);
            g_array_remove_index(d->ranges, i);
        } else {
            i++;
        }
    }
}

static void read_cpus(Dump *d)
{
    const AccelOps *a = accel();

    d->cpu_count = a->vcpu_regs != NULL ? a->vcpu_count() : 0;
    d->cpus = g_new0(X86Regs, MAX(d->cpu_count, 1));
    for (unsigned i = 0; i < d->cpu_count; i++) {
        a->vcpu_regs(i, &d->cpus[i]);
    }
    d->wide = d->cpu_count > 0 && d->cpus[0].efer & X86_EFER_LMA;
}

static void dump_free(Dump *d)
{
    for (unsigned i = 0; i < d->ranges->len; i++) {
        ram_unpin(g_array_index(d->ranges, DumpRange, i).ram);
    }
    g_array_unref(d->ranges);
    if (d->notes != NULL) {
        g_byte_array_unref(d->notes);
    }
    g_free(d->cpus);
    error_free(d->err);
    g_free(d);
}

/* --- running --- */

DumpProgress dump_progress(void)
{
    if (current == NULL) {
        return last;
    }
    return (DumpProgress){ DUMP_ACTIVE, __atomic_load_n(&current->completed, __ATOMIC_RELAXED),
                          current->total };
}

static void finished(void *arg)
{
    Dump *d = arg;

    current = NULL;
    last = (DumpProgress){ d->err != NULL ? DUMP_FAILED : DUMP_COMPLETED, d->completed, d->total };
    TRACE(dump_end, "state=%d completed=%" PRIu64, last.state, last.completed);
    d->done(d->arg, d->err);
    dump_free(d);
}

static bool end_file(Dump *d, Error **errp)
{
    if (d->sparse && ftruncate(d->req.fd, d->written) < 0) {
        return error_set(errp, "dump: failed to write the file: %s", errno_text(errno));
    }
    return true;
}

static void dump_thread(void *arg)
{
    Dump *d = arg;
    bool ok = (d->req.format == DUMP_ELF ? dump_elf(d, &d->err) : dump_kdump(d, &d->err)) &&
              end_file(d, &d->err);

    /* Nobody shall take half a dump for one. */
    if (!ok && d->sparse && ftruncate(d->req.fd, 0) < 0) {
        TRACE(dump_truncate_failed, "errno=%d", errno);
    }
    if (close(d->req.fd) < 0 && ok) {
        error_set(&d->err, "dump: failed to write the file: %s", errno_text(errno));
    }
    loop_call(loop_control(), finished, d);
}

/* Regular files, from their beginning on: only these may have holes. */
static bool may_be_sparse(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0 && st.st_size == 0;
}

bool dump_start(const DumpRequest *r, void (*done)(void *arg, const Error *err), void *arg, Error **errp)
{
    Dump *d;

    assert_control();
    if (current != NULL) {
        return error_set(errp, "There is a dump in process, please wait.");
    }
    d = g_new0(Dump, 1);
    d->req = *r;
    d->done = done;
    d->arg = arg;
    d->ranges = g_array_new(false, false, sizeof(DumpRange));
    epoch_enter();
    space_each_ram(machine()->mem, add_range, d);
    epoch_leave();
    if (d->ranges->len == 0) {
        dump_free(d);
        last = (DumpProgress){ .state = DUMP_FAILED };
        return error_set(errp, "dump: no guest memory to dump");
    }
    join_ranges(d);
    read_cpus(d);
    dump_make_notes(d);
    d->sparse = may_be_sparse(r->fd);
    TRACE(dump_start, "ranges=%u total=%" PRIu64 " cpus=%u wide=%d", d->ranges->len, d->total, d->cpu_count,
          d->wide);
    if (!thread_start(NULL, THREAD_POOL, "dump", false, dump_thread, d, errp)) {
        dump_free(d);
        last = (DumpProgress){ .state = DUMP_FAILED };
        return false;
    }
    current = d;
    return true;
}
