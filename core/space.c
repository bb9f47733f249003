/* space.c: one access: find, take the owner's domain, call, leave.
 *
 * 1. The path of a register access that the callbacks take as it is, on a hint hit, is the hottest
 *    of
 *    the program; everything else is a function call away from it.
 * 2. Hints are per thread and carry the map's generation, so nothing has to invalidate them.
 * 3. An access is by range of the map as it was when the access (or its piece) began; a map that is
 *    published meanwhile counts for the next piece. */
#include "core/map-int.h"
#include "core/space-int.h"

#define HINTS 32
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

typedef struct Hint {
    uint64_t generation;
    const FlatRange *range;
} Hint;

static __thread Hint hints[HINTS];

static __attribute__((noinline)) const FlatRange *find_slow(const FlatMap *m, Gpa at, Hint *h)
{
    const FlatRange *r = flatmap_search(m, at);

    *h = (Hint){ .generation = m->generation, .range = r };
    return r;
}

/* Neighbouring ports and pages hash apart. */
static inline const FlatRange *find(const FlatMap *m, Gpa at)
{
    Hint *h = &hints[(at >> 2 ^ at >> 12) % HINTS];

    if (likely(h->generation == m->generation) && likely(at - h->range->at <= h->range->span)) {
        return h->range;
    }
    return find_slow(m, at, h);
}

/* @sizes is one of the masks of @r; @left is how much of it lies behind the byte at @off. */
static inline bool direct(const FlatRange *r, uint32_t sizes, uint64_t off, unsigned size,
                          uint64_t left)
{
    return size <= 8 && sizes >> size & 1 && (off & (size - 1) & r->align_mask) == 0 &&
           size - 1 <= left;
}

/* A register that refuses what it does not take as it is. */
static bool refuses(const FlatRange *r, uint64_t off, unsigned size)
{
    return r->flags & RANGE_STRICT && !direct(r, r->sizes, off, size, r->size - off - 1);
}

static inline bool all_hole(const FlatRange *r, Gpa at, unsigned size)
{
    return r->flags & RANGE_HOLE && size <= 8 && r->span - (at - r->at) >= size;
}

/* --- RAM --- */

/* Guests expect an aligned access to be one access. */
void guest_copy(void *dst, const void *src, size_t n)
{
    uintptr_t both = (uintptr_t)dst | (uintptr_t)src;

    if (n == 4 && both % 4 == 0) {
        __atomic_store_n((uint32_t *)dst, __atomic_load_n((const uint32_t *)src, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    } else if (n == 8 && both % 8 == 0) {
        __atomic_store_n((uint64_t *)dst, __atomic_load_n((const uint64_t *)src, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    } else if (n == 2 && both % 2 == 0) {
        __atomic_store_n((uint16_t *)dst, __atomic_load_n((const uint16_t *)src, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    } else if (n == 1) {
        __atomic_store_n((uint8_t *)dst, __atomic_load_n((const uint8_t *)src, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    } else {
        memcpy(dst, src, n);
    }
}

static void write_ram(const FlatRange *r, uint64_t into, const void *buf, size_t n)
{
    guest_copy(r->host + into, buf, n);
    if (__atomic_load_n(&r->ram->logging, __ATOMIC_RELAXED)) {
        ram_wrote(r->ram, r->host + into - r->ram->host, n);
    }
}

/* --- registers, at length --- */

/* The largest piece at @off of an access of @size bytes that needs no further splitting. */
static unsigned piece(const FlatRange *r, uint64_t off, unsigned size)
{
    unsigned most = r->ops->max ? r->ops->max : 8;
    unsigned n = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;

    n = MIN(n, most);
    while (off & (n - 1) & r->align_mask) {
        n /= 2;
    }
    return n;
}

static uint64_t call_read(const FlatRange *r, uint64_t off, unsigned size)
{
    return r->ops->read ? r->ops->read(r->arg, off, size) : ones(size);
}

static void call_write(const FlatRange *r, uint64_t off, uint64_t val, unsigned size)
{
    if (r->ops->write) {
        r->ops->write(r->arg, off, val, size);
    }
}

static LOCK_UNCHECKED IoResult io_read(const FlatRange *r, uint64_t off, uint8_t *buf,
                                       unsigned size)
{
    unsigned least = r->ops && r->ops->min ? r->ops->min : 1;

    if (!r->ops || refuses(r, off, size)) {
        memset(buf, 0xff, size);
        return r->ops ? IO_REFUSED : IO_OK;
    }
    if (r->domain) {
        domain_enter(r->domain);
    }
    while (size) {
        unsigned n = piece(r, off, size);

        if (n < least) {
            uint64_t base = off & ~(uint64_t)(least - 1);
            uint64_t v = call_read(r, base, least) >> 8 * (off - base);

            n = MIN(size, base + least - off);
            st_n(buf, n, v);
        } else {
            st_n(buf, n, call_read(r, off, n));
        }
        buf += n;
        off += n;
        size -= n;
    }
    if (r->domain) {
        domain_leave(r->domain);
    }
    return IO_OK;
}

static LOCK_UNCHECKED IoResult io_write(const FlatRange *r, uint64_t off, const uint8_t *buf,
                                        unsigned size)
{
    unsigned least = r->ops && r->ops->min ? r->ops->min : 1;

    if (!r->ops || refuses(r, off, size)) {
        return r->ops ? IO_REFUSED : IO_OK;
    }
    if (r->domain) {
        domain_enter(r->domain);
    }
    while (size) {
        unsigned n = piece(r, off, size);

        if (n < least) {
            uint64_t base = off & ~(uint64_t)(least - 1);

            n = MIN(size, base + least - off);
            call_write(r, base, ld_n(buf, n) << 8 * (off - base), least);
        } else {
            call_write(r, off, ld_n(buf, n), n);
        }
        buf += n;
        off += n;
        size -= n;
    }
    if (r->domain) {
        domain_leave(r->domain);
    }
    return IO_OK;
}

/* A write that is a doorbell signals it.  Under the domain, because whoever takes a doorbell away
 * and
 * closes its notifier does so under it too. */
static LOCK_UNCHECKED bool ring(const FlatMap *m, const FlatRange *r, Gpa at, uint64_t val,
                                unsigned size)
{
    for (unsigned i = 0; i < r->bell_count; i++) {
        const FlatBell *b = &m->bells[r->bell_first + i];

        if (b->at == at && (b->size == 0 || b->size == size) &&
            (!b->has_match || b->match == val)) {
            if (r->domain) {
                domain_enter(r->domain);
            }
            notifier_signal(b->notifier);
            if (r->domain) {
                domain_leave(r->domain);
            }
            return true;
        }
    }
    return false;
}

/* --- any access, piece by piece --- */

/* Bytes from @into on that belong to @r, at most @n. */
static size_t within(const FlatRange *r, uint64_t into, size_t n)
{
    return r->span - into < n - 1 ? r->span - into + 1 : n;
}

static IoResult worse(IoResult a, IoResult b)
{
    return a > b ? a : b;
}

static __attribute__((noinline)) IoResult read_slow(Space *s, Gpa at, uint8_t *buf, size_t size)
{
    IoResult res = IO_OK;

    while (size) {
        epoch_enter();
        const FlatRange *r = find(epoch_load(s->map), at);
        uint64_t into = at - r->at;
        size_t n;

        if (r->flags & RANGE_READS_RAM) {
            n = within(r, into, size);
            guest_copy(buf, r->host + into, n);
        } else if (r->flags & RANGE_HOLE) {
            n = within(r, into, size);
            memset(buf, 0xff, n);
            res = worse(res, IO_HOLE);
        } else {
            n = MIN(MIN(size, 8), r->size - (r->off + into));
            res = worse(res, io_read(r, r->off + into, buf, n));
        }
        epoch_leave();
        buf += n;
        at += n;
        size -= n;
    }
    return res;
}

static __attribute__((noinline)) IoResult write_slow(Space *s, Gpa at, const uint8_t *buf,
                                                     size_t size)
{
    IoResult res = IO_OK;

    while (size) {
        epoch_enter();
        const FlatMap *m = epoch_load(s->map);
        const FlatRange *r = find(m, at);
        uint64_t into = at - r->at;
        size_t n;

        if (r->flags & RANGE_WRITES_RAM) {
            n = within(r, into, size);
            write_ram(r, into, buf, n);
        } else if (r->flags & RANGE_HOLE) {
            n = within(r, into, size);
            res = worse(res, IO_HOLE);
        } else {
            n = MIN(MIN(size, 8), r->size - (r->off + into));
            if (!(r->flags & RANGE_BELLS && ring(m, r, at, ld_n(buf, n), n))) {
                res = worse(res, io_write(r, r->off + into, buf, n));
            }
        }
        epoch_leave();
        buf += n;
        at += n;
        size -= n;
    }
    return res;
}

/* --- public --- */

static inline void store_value(void *buf, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        *(uint8_t *)buf = v;
        break;
    case 2:
        st16(buf, v);
        break;
    case 4:
        st32(buf, v);
        break;
    default:
        st64(buf, v);
    }
}

static inline uint64_t load_value(const void *buf, unsigned size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)buf;
    case 2:
        return ld16(buf);
    case 4:
        return ld32(buf);
    default:
        return ld64(buf);
    }
}

LOCK_UNCHECKED IoResult space_read(Space *s, Gpa at, void *buf, unsigned size)
{
    epoch_enter();
    const FlatRange *r = find(epoch_load(s->map), at);
    uint64_t into = at - r->at, off = r->off + into;

    if (likely(direct(r, r->read_sizes, off, size, r->span - into))) {
        Domain *d = r->domain;
        uint64_t v;

        if (d) {
            domain_enter(d);
            v = r->ops->read(r->arg, off, size);
            domain_leave(d);
        } else {
            v = r->ops->read(r->arg, off, size);
        }
        epoch_leave();
        store_value(buf, size, v);
        return IO_OK;
    }
    bool hole = all_hole(r, at, size);
    epoch_leave();
    if (hole) {
        for (unsigned i = 0; i < size; i++) {
            ((volatile uint8_t *)buf)[i] = 0xff;   /* a call of memset() costs more */
        }
        return IO_HOLE;
    }
    return read_slow(s, at, buf, size);
}

LOCK_UNCHECKED IoResult space_write(Space *s, Gpa at, const void *buf, unsigned size)
{
    epoch_enter();
    const FlatRange *r = find(epoch_load(s->map), at);
    uint64_t into = at - r->at, off = r->off + into;

    if (likely(direct(r, r->write_sizes, off, size, r->span - into))) {
        uint64_t v = load_value(buf, size);
        Domain *d = r->domain;

        if (d) {
            domain_enter(d);
            r->ops->write(r->arg, off, v, size);
            domain_leave(d);
        } else {
            r->ops->write(r->arg, off, v, size);
        }
        epoch_leave();
        return IO_OK;
    }
    bool hole = all_hole(r, at, size);
    epoch_leave();
    return hole ? IO_HOLE : write_slow(s, at, buf, size);
}

IoResult space_read_bytes(Space *s, Gpa at, void *buf, size_t n)
{
    return read_slow(s, at, buf, n);
}

IoResult space_write_bytes(Space *s, Gpa at, const void *buf, size_t n)
{
    return write_slow(s, at, buf, n);
}

bool space_load(Space *s, Gpa at, const void *buf, size_t n)
{
    const uint8_t *from = buf;
    bool ok = true;

    epoch_enter();
    while (n && ok) {
        const FlatRange *r = find(epoch_load(s->map), at);
        uint64_t into = at - r->at;

        ok = r->host && !r->ram->readonly;
        if (ok) {
            size_t len = within(r, into, n);

            write_ram(r, into, from, len);
            from += len;
            at += len;
            n -= len;
        }
    }
    epoch_leave();
    return ok;
}

void *space_ram_piece(Space *s, Gpa at, uint64_t *len, bool for_write, RamBlock **block)
{
    const FlatRange *r = find(epoch_load(s->map), at);
    uint64_t left = r->span - (at - r->at);

    if (!(r->flags & (for_write ? RANGE_WRITES_RAM : RANGE_READS_RAM)) || *len == 0) {
        return NULL;
    }
    *len = left < *len - 1 ? left + 1 : *len;
    *block = r->ram;
    return r->host + (at - r->at);
}

void *space_ram(Space *s, Gpa at, uint64_t *len, bool for_write)
{
    RamBlock *block;

    return space_ram_piece(s, at, len, for_write, &block);
}

uint64_t space_generation(Space *s)
{
    return epoch_load(s->map)->generation;
}

RamBlock *space_ram_block(Space *s, Gpa at, uint64_t *off)
{
    const FlatRange *r = find(epoch_load(s->map), at);

    if (!r->host) {
        return NULL;
    }
    *off = r->host + (at - r->at) - r->ram->host;
    return r->ram;
}
