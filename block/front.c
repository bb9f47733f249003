/* front.c: devices that show nodes to the guest, see front.h. */
#include "block/front.h"

#include <errno.h>
#include <string.h>
#include "block/block-int.h"
#include "block/graph.h"
#include "block/throttle.h"
#include "block/timed-stats.h"
#include "util/bytes.h"
#include "util/clock.h"

const char *const blk_on_error_names[] = { "report", "ignore", "enospc", "stop", "auto", NULL };

static BlkFront *first;                /* control */
static BlkErrorListener *listener;     /* set once at start */
static BlkTrayListener *tray_listener; /* the same */

/* The device's own word is stronger than what its -drive said. */
static BlkOnError settle(BlkOnError own, BlkOnError drives, BlkOnError usual)
{
    return own != BLK_ON_ERROR_AUTO ? own : drives != BLK_ON_ERROR_AUTO ? drives : usual;
}

static BlkAccount settle_account(BlkAccount own, BlkAccount drives)
{
    return own != BLK_ACCOUNT_AUTO ? own : drives != BLK_ACCOUNT_AUTO ? drives : BLK_ACCOUNT_ON;
}

void blk_front_open(BlkFront *f, BlkNode *node, const char *id, char *take_qdev)
{
    static const BlkWords none = { .rerror = BLK_ON_ERROR_AUTO, .werror = BLK_ON_ERROR_AUTO };
    const BlkWords *words = node != NULL ? blk_drive_words(node) : NULL;
    BlkFront **at = &first;

    assert_control();
    words = words != NULL ? words : &none;
    f->id = id;
    f->qdev = take_qdev;
    f->drive = g_strdup(node != NULL ? blk_drive_id(node) : "");
    f->lost = NULL;
    f->rerror = settle(f->rerror, words->rerror, BLK_ON_ERROR_REPORT);
    f->werror = settle(f->werror, words->werror, BLK_ON_ERROR_ENOSPC);
    f->account_failed = settle_account(f->account_failed, words->account_failed);
    f->account_invalid = settle_account(f->account_invalid, words->account_invalid);
    f->timed = words->intervals_count > 0 ? blk_timed_new(words->intervals, words->intervals_count) : NULL;
    f->last = 0;
    memset(f->invalid, 0, sizeof(f->invalid));
    __atomic_store_n(&f->node, node != NULL && blk_is_empty(node) ? NULL : node, __ATOMIC_RELEASE);
    __atomic_store_n(&f->io_status, BLK_IO_OK, __ATOMIC_RELAXED);
    f->next = NULL;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = f;
    f->throttle = f->member = NULL;
    if (words->rates != NULL) {
        throttle_front_set(f, words->rates_group, words->rates);
    }
}

void blk_front_lose_drive(BlkFront *f)
{
    assert_control();
    if (f->lost == NULL) {                     /* other threads may be reading it */
        f->lost = f->drive;
        __atomic_store_n(&f->drive, g_strdup(""), __ATOMIC_RELEASE);
    }
}

bool blk_front_lost(const char *drive)
{
    for (const BlkFront *f = blk_front_next(NULL); f != NULL; f = f->next) {
        if (f->lost != NULL && strcmp(f->lost, drive) == 0) {
            return true;
        }
    }
    return false;
}

static void histogram_free(EpochItem *item)
{
    BlkHistogram *h = container_of(item, BlkHistogram, epoch);

    g_free(h->bounds);
    g_free(h->bins);
    g_free(h);
}

static void histogram_put(BlkFront *f, BlkTimed what, BlkHistogram *take_h)
{
    BlkHistogram *old = f->histograms[what];

    epoch_store(f->histograms[what], take_h);
    if (old != NULL) {
        epoch_defer(&old->epoch, histogram_free);
    }
}

void blk_front_close(BlkFront *f)
{
    assert_control();
    for (BlkFront **at = &first; *at != NULL; at = &(*at)->next) {
        if (*at == f) {
            *at = f->next;
            f->throttle = NULL;
            for (unsigned i = 0; i < BLK_TIMED_KINDS; i++) {
                histogram_put(f, (BlkTimed)i, NULL);
            }
            g_clear_pointer(&f->timed, blk_timed_free);
            if (f->member != NULL) {
                throttle_leave(g_steal_pointer(&f->member));
            }
            g_clear_pointer(&f->qdev, g_free);
            g_clear_pointer(&f->drive, g_free);
            g_clear_pointer(&f->lost, g_free);
            f->node = NULL;
            return;
        }
    }
}

BlkFront *blk_front_next(const BlkFront *f)
{
    assert_control();
    return f != NULL ? f->next : first;
}

BlkFront *blk_front_find(const char *qdev)
{
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = f->next) {
        if (strcmp(f->qdev, qdev) == 0 || (f->id != NULL && strcmp(f->id, qdev) == 0)) {
            return f;
        }
    }
    return NULL;
}

BlkUser *blk_front_user(const BlkFront *f)
{
    BlkUser *u = f->node != NULL ? f->node->users : NULL;

    while (u != NULL && u->front != f) {
        u = u->next;
    }
    return u;
}

BlkFront *blk_front_of_drive(const char *drive)
{
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = f->next) {
        if (*drive != '\0' && strcmp(f->drive, drive) == 0) {
            return f;
        }
    }
    return NULL;
}

/* --- times --- */

bool blk_front_histogram(BlkFront *f, BlkTimed what, const uint64_t *bounds, unsigned count)
{
    BlkHistogram *h = NULL;

    assert_control();
    for (unsigned i = 0; i < count; i++) {
        if (bounds[i] <= (i > 0 ? bounds[i - 1] : 0)) {
            return false;
        }
    }
    if (bounds != NULL) {
        h = g_new0(BlkHistogram, 1);
        h->count = count;
        h->bounds = g_memdup2(bounds, count * sizeof(*bounds));
        h->bins = g_new0(uint64_t, count + 1);
    }
    histogram_put(f, what, h);
    return true;
}

bool blk_front_account(BlkFront *f, BlkOp op, int64_t ns, int64_t now, bool failed)
{
    static const int kinds[BLK_OPS] = {
        [BLK_READ] = BLK_TIMED_READ, [BLK_WRITE] = BLK_TIMED_WRITE, [BLK_ZERO] = BLK_TIMED_WRITE,
        [BLK_DISCARD] = -1, [BLK_FLUSH] = BLK_TIMED_FLUSH,
    };
    BlkHistogram *h = kinds[op] >= 0 ? epoch_load(f->histograms[kinds[op]]) : NULL;

    if (failed && f->account_failed == BLK_ACCOUNT_OFF) {
        return false;
    }
    __atomic_store_n(&f->last, now, __ATOMIC_RELAXED);
    if (G_UNLIKELY(f->timed != NULL) && kinds[op] >= 0) {
        blk_timed_count(f->timed, (BlkTimed)kinds[op], ns, now);
    }
    if (G_LIKELY(h == NULL)) {
        return true;
    }
    unsigned lo = 0, hi = h->count;          /* the first bound above @ns */
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (h->bounds[mid] <= (uint64_t)MAX(ns, 0)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    __atomic_add_fetch(&h->bins[lo], 1, __ATOMIC_RELAXED);
    return true;
}

void blk_front_invalid(BlkFront *f, BlkOp op)
{
    __atomic_add_fetch(&f->invalid[op], 1, __ATOMIC_RELAXED);
    if (f->account_invalid != BLK_ACCOUNT_OFF) {
        __atomic_store_n(&f->last, clock_now(CLOCK_HOST), __ATOMIC_RELAXED);
    }
}

int64_t blk_front_idle(const BlkFront *f, int64_t now)
{
    int64_t last = __atomic_load_n(&f->last, __ATOMIC_RELAXED);

    return last == 0 ? -1 : MAX(now - last, 0);
}

/* --- errors --- */

BlkErrorAction blk_front_error(BlkFront *f, const BlkNode *node, bool read, int err)
{
    BlkOnError policy = read ? f->rerror : f->werror;
    BlkErrorAction action = BLK_ERROR_REPORT;

    if (node != NULL && blk_is_gone(node)) {
        action = BLK_ERROR_REPORT;             /* no policy was meant for that */
    } else if (policy == BLK_ON_ERROR_IGNORE) {
        action = BLK_ERROR_IGNORE;
    } else if (policy == BLK_ON_ERROR_STOP || (policy == BLK_ON_ERROR_ENOSPC && err == -ENOSPC)) {
        unsigned well = BLK_IO_OK;

        action = BLK_ERROR_STOP;
        /* The first error since the machine went on names the state. */
        __atomic_compare_exchange_n(&f->io_status, &well,
                                    err == -ENOSPC ? BLK_IO_NOSPACE : BLK_IO_FAILED, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    if (listener != NULL) {
        listener(f, node, read, action, err);
    }
    return action;
}

bool blk_front_may_stop(const BlkFront *f)
{
    return f->werror == BLK_ON_ERROR_STOP || f->werror == BLK_ON_ERROR_ENOSPC ||
           f->rerror == BLK_ON_ERROR_STOP || f->rerror == BLK_ON_ERROR_ENOSPC;
}

BlkIoStatus blk_front_io_status(const BlkFront *f)
{
    return __atomic_load_n(&f->io_status, __ATOMIC_RELAXED);
}

void blk_fronts_reset_status(void)
{
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = f->next) {
        __atomic_store_n(&f->io_status, BLK_IO_OK, __ATOMIC_RELAXED);
    }
}

void blk_set_error_listener(BlkErrorListener *l)
{
    assert_control();
    listener = l;
}

void blk_set_tray_listener(BlkTrayListener *l)
{
    assert_control();
    tray_listener = l;
}

void blk_front_tray_moved(const BlkFront *f, bool open)
{
    if (tray_listener != NULL) {
        tray_listener(f, open);
    }
}
