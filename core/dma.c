/* dma.c: devices at guest memory.
 *
 * 1. Everything here ends in space_ram(): registers cannot be reached.
 * 2. Bus mastering is the device's own switch; its bus keeps it.
 * 3. An address range that runs over 2^64 has no RAM. */
#include "core/dma.h"

#include <errno.h>
#include "core/region.h"
#include "core/space-int.h"
#include "util/bytes.h"

static bool allowed(const Device *d, Iova at, size_t n)
{
    bool wraps = n && n - 1 > UINT64_MAX - at;

    return d->dma && __atomic_load_n(&d->dma_on, __ATOMIC_RELAXED) && !wraps;
}

bool dma_read(Device *d, Iova at, void *dst, size_t n)
{
    uint8_t *to = dst;
    bool ok = allowed(d, at, n);

    epoch_enter();
    while (n && ok) {
        uint64_t len = n;
        const void *host = space_ram(d->dma, at, &len, false);

        ok = host != NULL;
        if (ok) {
            guest_copy(to, host, len);
            to += len;
            at += len;
            n -= len;
        }
    }
    epoch_leave();
    return ok;
}

/* Writes @src, or when it is NULL @n bytes of @byte. */
static bool put(Device *d, Iova at, const uint8_t *src, uint8_t byte, size_t n)
{
    bool ok = allowed(d, at, n);

    epoch_enter();
    while (n && ok) {
        uint64_t len = n;
        void *host = space_ram(d->dma, at, &len, true);

        ok = host != NULL;
        if (ok) {
            if (src) {
                guest_copy(host, src, len);
                src += len;
            } else {
                memset(host, byte, len);
            }
            dma_wrote(host, len);
            at += len;
            n -= len;
        }
    }
    epoch_leave();
    return ok;
}

bool dma_write(Device *d, Iova at, const void *src, size_t n)
{
    return put(d, at, src, 0, n);
}

bool dma_fill(Device *d, Iova at, uint8_t byte, size_t n)
{
    return put(d, at, NULL, byte, n);
}

bool dma_read32(Device *d, Iova at, uint32_t *val)
{
    uint32_t raw;
    bool ok = dma_read(d, at, &raw, sizeof(raw));

    *val = ok ? le32toh(raw) : UINT32_MAX;
    return ok;
}

bool dma_read64(Device *d, Iova at, uint64_t *val)
{
    uint64_t raw;
    bool ok = dma_read(d, at, &raw, sizeof(raw));

    *val = ok ? le64toh(raw) : UINT64_MAX;
    return ok;
}

bool dma_write32(Device *d, Iova at, uint32_t val)
{
    val = htole32(val);
    return dma_write(d, at, &val, sizeof(val));
}

bool dma_write64(Device *d, Iova at, uint64_t val)
{
    val = htole64(val);
    return dma_write(d, at, &val, sizeof(val));
}

static void unpin_all(const struct iovec *iov, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        RamBlock *b = ram_by_host(iov[i].iov_base);

        if (b) {
            ram_unpin(b);
        }
    }
}

/* One entry more, or a longer last one.  Returns 0 or a negative errno. */
static int map_piece(Device *d, Iova *at, size_t *n, DmaDir dir, struct iovec *iov, unsigned max,
                     unsigned *count)
{
    uint64_t len = *n;
    RamBlock *b;
    uint8_t *host = space_ram_piece(d->dma, *at, &len, dir == DMA_FROM_DEVICE, &b);

    if (!host) {
        return -EFAULT;
    }
    struct iovec *last = *count ? &iov[*count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == host &&
        ram_by_host(last->iov_base) == b) {
        last->iov_len += len;
    } else if (*count == max) {
        return -E2BIG;
    } else {
        ram_pin(b);
        iov[(*count)++] = (struct iovec){ .iov_base = host, .iov_len = len };
    }
    *at += len;
    *n -= len;
    return 0;
}

int dma_map(Device *d, Iova at, size_t n, DmaDir dir, struct iovec *iov, unsigned max)
{
    unsigned count = 0;
    int ret = allowed(d, at, n) ? 0 : -EFAULT;

    epoch_enter();
    while (n && ret == 0) {
        ret = map_piece(d, &at, &n, dir, iov, max, &count);
    }
    if (ret < 0) {
        unpin_all(iov, count);
    }
    epoch_leave();
    return ret < 0 ? ret : (int)count;
}

void dma_unmap(Device *d, const struct iovec *iov, unsigned count, size_t written)
{
    epoch_enter();
    for (unsigned i = 0; i < count && written; i++) {
        size_t len = MIN(written, iov[i].iov_len);

        dma_wrote(iov[i].iov_base, len);
        written -= len;
    }
    unpin_all(iov, count);
    epoch_leave();
}

void *dma_ptr(Device *d, Iova at, size_t n, DmaDir dir)
{
    uint64_t len = n, more;

    if (!n || !allowed(d, at, n)) {
        return NULL;
    }
    uint8_t *host = space_ram(d->dma, at, &len, dir == DMA_FROM_DEVICE);

    /* Neighbouring ranges of the map may still be one piece of the host's memory. */
    while (host && len < n) {
        more = n - len;
        if (space_ram(d->dma, at + len, &more, dir == DMA_FROM_DEVICE) != host + len) {
            return NULL;
        }
        len += more;
    }
    return host;
}

uint64_t dma_generation(const Device *d)
{
    return allowed(d, 0, 0) ? space_generation(d->dma) : 0;
}

void dma_wrote(const void *host, size_t n)
{
    RamBlock *b;

    if (!n || !ram_any_logging()) {
        return;
    }
    epoch_enter();
    b = ram_by_host(host);
    if (b && __atomic_load_n(&b->logging, __ATOMIC_RELAXED)) {
        ram_wrote(b, (const uint8_t *)host - b->host, n);
    }
    epoch_leave();
}
