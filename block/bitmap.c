/* bitmap.c: dirty bitmaps in memory, see bitmap.h.
 *
 * 1. The bits lie in pieces that never move: a larger disk gets more of them while loops set bits. */
#include "block/bitmap.h"

#include <inttypes.h>
#include <string.h>
#include "block/block-int.h"
#include "util/bytes.h"

#define PIECE_WORDS 16384u
#define PIECE_BITS (PIECE_WORDS * UINT64_C(64))
#define GRANULES_MAX (UINT64_C(1) << 33)               /* a GiB of bits */

typedef struct Pieces {
    EpochItem epoch;
    uint64_t count;
    uint64_t *piece[];
} Pieces;

struct BlkBitmapBits {
    uint64_t count;            /* of pieces */
    uint64_t *piece[];
};

struct BlkBitmap {
    EpochItem epoch;
    BlkNode *node;
    char *name;
    unsigned bits;             /* a granule has 1 << bits bytes */
    bool recording;            /* atomic */
    bool persistent, busy, inconsistent;
    uint64_t size;             /* of the node; atomic */
    Pieces *pieces;            /* epoch */
    BlkBitmapBits *set_aside;  /* what was set when a job began to use it, or NULL; control */
    BlkBitmap *next;           /* epoch */
};

/* --- bits --- */

static uint64_t granules(const BlkBitmap *b)
{
    return DIV_ROUND_UP(__atomic_load_n(&b->size, __ATOMIC_ACQUIRE), UINT64_C(1) << b->bits);
}

static uint64_t *word_of(const BlkBitmap *b, uint64_t bit)
{
    return &epoch_load(b->pieces)->piece[bit / PIECE_BITS][bit % PIECE_BITS / 64];
}

/* Granules [*first, *end) that [@off, @off + @len) touches. */
static bool span(const BlkBitmap *b, uint64_t off, uint64_t len, uint64_t *first, uint64_t *end)
{
    uint64_t size = __atomic_load_n(&b->size, __ATOMIC_ACQUIRE);

    if (off >= size || len == 0) {
        return false;
    }
    *first = off >> b->bits;
    *end = ((off + MIN(len, size - off) - 1) >> b->bits) + 1;
    return true;
}

static void change(BlkBitmap *b, uint64_t off, uint64_t len, bool set)
{
    uint64_t first, end;

    if (!span(b, off, len, &first, &end)) {
        return;
    }
    epoch_enter();
    while (first < end) {
        uint64_t n = MIN(end - first, 64 - first % 64);
        uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << first % 64;
        uint64_t *w = word_of(b, first), now = __atomic_load_n(w, __ATOMIC_RELAXED);

        if (set && (now & mask) != mask) {
            __atomic_fetch_or(w, mask, __ATOMIC_RELAXED);
        } else if (!set && now & mask) {
            __atomic_fetch_and(w, ~mask, __ATOMIC_RELAXED);
        }
        first += n;
    }
    epoch_leave();
}

void blk_bitmap_set(BlkBitmap *b, uint64_t off, uint64_t len)
{
    change(b, off, len, true);
}

void blk_bitmap_clear(BlkBitmap *b, uint64_t off, uint64_t len)
{
    change(b, off, len, false);
}

/* The first granule at or after @at, and before @end, that is set (or is not); @end if there is none. */
static uint64_t seek(const BlkBitmap *b, uint64_t at, uint64_t end, bool set)
{
    while (at < end) {
        uint64_t w = __atomic_load_n(word_of(b, at), __ATOMIC_RELAXED);

        w = (set ? w : ~w) >> at % 64;
        if (w) {
            return MIN(at + (unsigned)__builtin_ctzll(w), end);
        }
        at += 64 - at % 64;
    }
    return end;
}

uint64_t blk_bitmap_dirty(const BlkBitmap *b, uint64_t *off, uint64_t most)
{
    uint64_t end = granules(b), first, last;

    epoch_enter();
    first = *off < b->size ? seek(b, *off >> b->bits, end, true) : end;   /* the last granule may be cut */
    last = first < end ? seek(b, first, MIN(end, first + MAX(most >> b->bits, 1)), false) : end;
    epoch_leave();
    if (first == end) {
        return 0;
    }
    *off = first << b->bits;
    return MIN(last << b->bits, b->size) - *off;
}

void blk_bitmaps_mark(BlkNode *n, uint64_t off, uint64_t len)
{
    epoch_enter();
    for (BlkBitmap *b = epoch_load(n->bitmaps); b; b = epoch_load(b->next)) {
        if (__atomic_load_n(&b->recording, __ATOMIC_RELAXED)) {
            change(b, off, len, true);
        }
    }
    epoch_leave();
}

/* --- sizes --- */

static void pieces_free(EpochItem *item)
{
    g_free(container_of(item, Pieces, epoch));
}

static void pieces_drop(Pieces *p)
{
    for (uint64_t i = 0; p && i < p->count; i++) {
        g_free(p->piece[i]);
    }
    g_free(p);
}

/* Pieces for a node of @size bytes, those of @old among them. */
static Pieces *pieces_for(const BlkBitmap *b, const Pieces *old, uint64_t size)
{
    uint64_t count = MAX(DIV_ROUND_UP(DIV_ROUND_UP(size, UINT64_C(1) << b->bits), PIECE_BITS), 1);
    Pieces *p;

    count = MAX(count, old ? old->count : 0);
    p = g_malloc0(sizeof(*p) + count * sizeof(p->piece[0]));
    p->count = count;
    for (uint64_t i = 0; i < count; i++) {
        p->piece[i] = old && i < old->count ? old->piece[i] : g_new0(uint64_t, PIECE_WORDS);
    }
    return p;
}

static bool size_ok(uint64_t size, unsigned bits)
{
    return size >> bits <= GRANULES_MAX;
}

void blk_bitmaps_resize(BlkNode *n, uint64_t size)
{
    for (BlkBitmap *b = n->bitmaps; b; b = b->next) {
        if (!size_ok(size, b->bits)) {     /* it cannot tell of all of the disk any more */
            blk_bitmap_record(b, false);
            b->inconsistent = true;
            continue;
        }
        Pieces *old = b->pieces;
        Pieces *new = pieces_for(b, old, size);

        if (size < b->size) {
            uint64_t keep = ALIGN_UP(size, UINT64_C(1) << b->bits);

            blk_bitmap_clear(b, keep, b->size - MIN(keep, b->size));
        }
        epoch_store(b->pieces, new);
        __atomic_store_n(&b->size, size, __ATOMIC_RELEASE);
        epoch_defer(&old->epoch, pieces_free);
    }
}

/* --- the list --- */

static void bitmap_free(EpochItem *item)
{
    BlkBitmap *b = container_of(item, BlkBitmap, epoch);

    pieces_drop(b->pieces);
    g_free(b->name);
    g_free(b);
}

BlkBitmap *blk_bitmap_find(const BlkNode *n, const char *name)
{
    BlkBitmap *b = n->bitmaps;

    while (b && strcmp(b->name, name) != 0) {
        b = b->next;
    }
    return b;
}

BlkBitmap *blk_bitmap_next(const BlkNode *n, const BlkBitmap *b)
{
    return b ? b->next : n->bitmaps;
}

static uint64_t default_granularity(BlkNode *n)
{
    BlkImageInfo info = { 0 };

    blk_image_info(n, &info);
    return info.cluster_size ? CLAMP(info.cluster_size, 4096, 65536) : 65536;
}

static bool granularity_ok(uint64_t g, Error **errp)
{
    if (g & (g - 1)) {
        return error_set(errp, "Granularity must be power of 2");
    }
    if (g >> BLK_BITMAP_BITS_MIN == 0) {
        return error_set(errp, "Granularity must be at least 512");
    }
    return g >> (BLK_BITMAP_BITS_MAX + 1) == 0 || error_set(errp, "Granularity must be at most 2 GiB");
}

BlkBitmap *blk_bitmap_make(BlkNode *n, const char *name, unsigned bits, bool persistent, bool broken)
{
    BlkBitmap *b, **at = &n->bitmaps;

    if (!size_ok(blk_size(n), bits)) {
        return NULL;
    }
    b = g_new0(BlkBitmap, 1);
    *b = (BlkBitmap){ .node = n, .name = g_strdup(name), .bits = bits, .persistent = persistent,
                      .inconsistent = broken, .size = blk_size(n) };
    b->pieces = pieces_for(b, NULL, b->size);
    while (*at) {
        at = &(*at)->next;
    }
    epoch_store(*at, b);
    return b;
}

bool blk_bitmaps_kept(BlkNode *n, bool more)
{
    assert_control();
    return n->drv->bitmap_can_store && (!more || n->drv->bitmap_can_store(n, NULL));
}

BlkBitmap *blk_bitmap_add(BlkNode *n, const char *name, uint64_t granularity, bool persistent, Error **errp)
{
    uint64_t g = granularity ? granularity : default_granularity(n);
    size_t len = strlen(name);

    assert_control();
    if (len == 0 || len > BLK_BITMAP_NAME_MAX) {
        error_set(errp, len ? "Bitmap name is longer than %u bytes" : "Bitmap name cannot be empty",
                  BLK_BITMAP_NAME_MAX);
    } else if (blk_bitmap_find(n, name)) {
        error_set(errp, "Bitmap already exists: %s", name);
    } else if (granularity_ok(g, errp)) {
        if (!persistent || (n->drv->bitmap_can_store ? n->drv->bitmap_can_store(n, errp) :
                            error_set(errp, "Block driver '%s' does not support persistent bitmaps",
                                      n->drv->name))) {
            BlkBitmap *b = blk_bitmap_make(n, name, (unsigned)__builtin_ctzll(g), persistent, false);

            if (b) {
                b->recording = true;
                return b;
            }
            error_set(errp, "Granularity %" PRIu64 " is too fine for a disk of %" PRIu64 " bytes", g,
                      blk_size(n));
        }
    }
    return NULL;
}

void blk_bitmap_remove(BlkBitmap *b)
{
    BlkBitmap **at = &b->node->bitmaps;

    assert_control();
    while (*at != b) {
        at = &(*at)->next;
    }
    epoch_store(*at, b->next);
    epoch_defer(&b->epoch, bitmap_free);
}

void blk_bitmaps_free(BlkNode *n)
{
    while (n->bitmaps) {
        blk_bitmap_remove(n->bitmaps);
    }
}

/* --- facts and changes --- */

static uint64_t bits_set(uint64_t *const *piece, uint64_t count)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < count; i++) {
        for (unsigned w = 0; w < PIECE_WORDS; w++) {
            n += (unsigned)__builtin_popcountll(__atomic_load_n(&piece[i][w], __ATOMIC_RELAXED));
        }
    }
    return n;
}

BlkBitmapInfo blk_bitmap_info(const BlkBitmap *b)
{
    BlkBitmapInfo i = {
        .name = b->name, .granularity = UINT64_C(1) << b->bits, .recording = b->recording, .busy = b->busy,
        .persistent = b->persistent, .inconsistent = b->inconsistent,
    };

    i.count = (b->set_aside ? bits_set(b->set_aside->piece, b->set_aside->count)
                            : bits_set(b->pieces->piece, b->pieces->count)) << b->bits;
    return i;
}

bool blk_bitmap_usable(const BlkBitmap *b, bool busy_too, bool broken_too, Error **errp)
{
    if (b->busy && !busy_too) {
        return error_set(errp, "Bitmap '%s' is currently in use by another operation and cannot be used",
                         b->name);
    }
    if (b->inconsistent && !broken_too) {
        error_set(errp, "Bitmap '%s' is inconsistent and cannot be used", b->name);
        return error_hint(errp, "Try block-dirty-bitmap-remove to delete this bitmap from disk");
    }
    return true;
}

void blk_bitmap_record(BlkBitmap *b, bool on)
{
    __atomic_store_n(&b->recording, on, __ATOMIC_RELAXED);
}

void blk_bitmap_set_busy(BlkBitmap *b, bool on)
{
    b->busy = on;
}

BlkBitmapBits *blk_bitmap_save(const BlkBitmap *b)
{
    const Pieces *p = b->pieces;
    BlkBitmapBits *bits = g_malloc0(sizeof(*bits) + p->count * sizeof(bits->piece[0]));

    assert_control();
    bits->count = p->count;
    for (uint64_t i = 0; i < p->count; i++) {
        bits->piece[i] = g_memdup2(p->piece[i], PIECE_WORDS * sizeof(uint64_t));
    }
    return bits;
}

void blk_bitmap_restore(BlkBitmap *b, const BlkBitmapBits *bits)
{
    for (uint64_t i = 0; i < bits->count; i++) {
        for (unsigned w = 0; w < PIECE_WORDS; w++) {
            __atomic_store_n(&b->pieces->piece[i][w], bits->piece[i][w], __ATOMIC_RELAXED);
        }
    }
}

void blk_bitmap_bits_free(BlkBitmapBits *bits)
{
    for (uint64_t i = 0; bits && i < bits->count; i++) {
        g_free(bits->piece[i]);
    }
    g_free(bits);
}

void blk_bitmap_set_aside(BlkBitmap *b)
{
    b->busy = true;
    b->set_aside = blk_bitmap_save(b);
    blk_bitmap_clear(b, 0, UINT64_MAX);
}

void blk_bitmap_settle(BlkBitmap *b, bool restore)
{
    assert_control();
    for (uint64_t i = 0; restore && b->set_aside && i < b->set_aside->count; i++) {
        for (unsigned w = 0; w < PIECE_WORDS; w++) {
            if (b->set_aside->piece[i][w]) {
                __atomic_fetch_or(&b->pieces->piece[i][w], b->set_aside->piece[i][w], __ATOMIC_RELAXED);
            }
        }
    }
    blk_bitmap_bits_free(g_steal_pointer(&b->set_aside));
    b->busy = false;
}

bool blk_bitmap_merge(BlkBitmap *to, const BlkBitmap *from, Error **errp)
{
    uint64_t at = 0, len;

    if (to->size != from->size) {
        return error_set(errp, "Bitmaps are of different sizes (destination size is %" PRIu64
                         " bytes, source size is %" PRIu64 " bytes) and can't be merged", to->size,
                         from->size);
    }
    while ((len = blk_bitmap_dirty(from, &at, UINT64_C(1) << 40)) > 0) {
        blk_bitmap_set(to, at, len);
        at += len;
    }
    return true;
}
