/* iov.c: copying to, from and between parts of scatter lists. */
#include <string.h>
#include "block/block-int.h"

/* Calls fn for the parts of [@skip, @skip + @len) of @iov. */
#define IOV_EACH(iov, niov, skip, len, part, part_len, ...) \
    do { \
        uint64_t skip_ = (skip), len_ = (len); \
        for (unsigned i_ = 0; i_ < (niov) && len_; i_++) { \
            if (skip_ >= (iov)[i_].iov_len) { \
                skip_ -= (iov)[i_].iov_len; \
                continue; \
            } \
            char *part = (char *)(iov)[i_].iov_base + skip_; \
            uint64_t part_len = MIN((iov)[i_].iov_len - skip_, len_); \
            __VA_ARGS__ \
            skip_ = 0; \
            len_ -= part_len; \
        } \
    } while (0)

void blk_iov_read(const struct iovec *iov, unsigned niov, uint64_t skip, void *buf, uint64_t len)
{
    char *to = buf;

    IOV_EACH(iov, niov, skip, len, part, n, {
        memcpy(to, part, n);
        to += n;
    });
}

void blk_iov_write(const struct iovec *iov, unsigned niov, uint64_t skip, const void *buf,
                   uint64_t len)
{
    const char *from = buf;

    IOV_EACH(iov, niov, skip, len, part, n, {
        memcpy(part, from, n);
        from += n;
    });
}

void blk_iov_zero(const struct iovec *iov, unsigned niov, uint64_t skip, uint64_t len)
{
    IOV_EACH(iov, niov, skip, len, part, n, {
        memset(part, 0, n);
    });
}

struct iovec *blk_iov_slice(const struct iovec *iov, unsigned niov, uint64_t skip, uint64_t len,
                            unsigned *out_n)
{
    struct iovec *out = g_new0(struct iovec, niov ? niov : 1);
    unsigned count = 0;

    IOV_EACH(iov, niov, skip, len, part, n, {
        out[count++] = (struct iovec){ part, n };
    });
    *out_n = count;
    return out;
}
