/* copy.c: work cut into pieces and done by several threads.
 *
 * 1. Pieces are handed out one at a time, in order; they are done side by side.  Who needs the order back (a
 *    file that should grow from front to back) waits for its turn.
 * 2. The first error stops the handing out; copy_run() returns it when every thread is home.
 * 3. The main thread works too, and is the one that shows progress. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "img/img.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/thread.h"

#define WORKERS_MAX 16

struct Copy {
    const CopyOps *ops;
    void *arg;
    size_t buffer;
    Lock next_lock;            /* one caller of ops->next at a time */
    Lock lock;                 /* guards what follows */
    LockCond changed;
    int64_t start;             /* of the clock */
    uint64_t given;            /* bytes handed out; under next_lock, as is waiting for the rate */
    uint64_t turns, turn;      /* handed out; whose turn it is */
    uint64_t done;             /* bytes */
    int ret;
};

/* One at a time in a process that is a tool. */
static Copy copy;

bool is_zero(const void *p, size_t len)
{
    static const uint8_t zeroes[64];
    const uint8_t *b = p;

    if (len <= sizeof(zeroes)) {
        return memcmp(b, zeroes, len) == 0;
    }
    /* A first look, then the whole against itself, shifted: as fast as memory. */
    return memcmp(b, zeroes, sizeof(zeroes)) == 0 && memcmp(b, b + sizeof(zeroes), len - sizeof(zeroes)) == 0;
}

bool rate_read(const Args *a, uint64_t *out, Error **errp)
{
    *out = 0;
    if (a->rate && (!size_read(a->rate, out) || *out > INT64_MAX)) {
        error_set(errp, "Invalid rate limit specified. You may use k, M, G, T, P or E suffixes for");
        return error_hint(errp, "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
    }
    return true;
}

/* Waits until what was handed out may have been done, or the work has failed. */
static void keep_rate(void)
{
    double due = copy.ops->rate ? (double)copy.given / (double)copy.ops->rate * NS_PER_SEC : 0;
    int64_t left;

    lock_take(&copy.lock);
    while (copy.ret == 0 && (left = copy.start + (int64_t)due - clock_now(CLOCK_HOST)) > 0) {
        lock_wait(&copy.lock, &copy.changed, left);
    }
    lock_drop(&copy.lock);
}

static int get_piece(Piece *p)
{
    lock_take(&copy.next_lock);
    lock_take(&copy.lock);
    int ret = copy.ret;
    lock_drop(&copy.lock);
    keep_rate();
    ret = ret < 0 ? ret : copy.ops->next(copy.arg, p);
    copy.given += ret > 0 ? p->len : 0;
    p->turn = copy.turns;
    copy.turns += ret > 0;
    lock_drop(&copy.next_lock);
    return ret;
}

static void finished(const Piece *p, int ret)
{
    lock_take(&copy.lock);
    copy.done += p ? p->len : 0;
    if (ret < 0 && copy.ret == 0) {
        copy.ret = ret;
        lock_broadcast(&copy.changed);
    }
    lock_drop(&copy.lock);
}

static void work(bool shows)
{
    void *buf = NULL;
    Piece p;
    int ret = posix_memalign(&buf, 4096, copy.buffer) ? -ENOMEM : 0;

    while (ret == 0 && (ret = get_piece(&p)) > 0) {
        ret = copy.ops->work(copy.arg, &p, buf);
        finished(&p, ret);
        if (shows && copy.ops->total) {
            lock_take(&copy.lock);
            uint64_t done = copy.done;
            lock_drop(&copy.lock);
            progress_set(done, copy.ops->total);
        }
    }
    finished(NULL, ret);
    free(buf);
}

static void worker(void *arg)
{
    work(false);
}

int copy_run(const CopyOps *ops, void *arg, unsigned workers, size_t buffer)
{
    pthread_t threads[WORKERS_MAX];
    unsigned started = 0;

    copy = (Copy){ .ops = ops, .arg = arg, .buffer = buffer, .start = clock_now(CLOCK_HOST) };
    lock_init(&copy.next_lock, RANK_DOMAIN, "copy-next");
    lock_init(&copy.lock, RANK_LEAF, "copy");

    while (started + 1 < MIN(workers, WORKERS_MAX) &&
           thread_start(&threads[started], THREAD_POOL, "copy", true, worker, NULL, NULL)) {
        started++;             /* without threads this one does it all */
    }
    work(true);
    while (started) {
        thread_join(threads[--started]);
    }
    lock_destroy(&copy.lock);
    lock_destroy(&copy.next_lock);
    return copy.ret;
}

void copy_turn_wait(const Piece *p)
{
    lock_take(&copy.lock);
    while (copy.turn != p->turn && copy.ret == 0) {
        lock_wait(&copy.lock, &copy.changed, -1);
    }
    lock_drop(&copy.lock);
}

void copy_turn_over(const Piece *p)
{
    lock_take(&copy.lock);
    copy.turn = p->turn + 1;
    lock_broadcast(&copy.changed);
    lock_drop(&copy.lock);
}

int copy_failed(const char *what, uint64_t at, int ret)
{
    Error *err = NULL;

    error_set_errno(&err, -ret, "error while %s at byte %" PRIu64, what, at);
    fail(1, err);
    return ret;
}
