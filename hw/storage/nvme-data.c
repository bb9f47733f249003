/* nvme-data.c: where the data of a command is: PRPs (NVM Express 1.4, section 4.3) and SGLs (4.4).
 *
 * 1. A piece is at most a page of a PRP, or an SGL data block.  Pieces are read as they are needed, so a long
 *    list costs no memory.
 * 2. A PRP list ends with the data; an SGL by its descriptors, of which SGL_MOST are read at most. */
#include "hw/storage/nvme.h"

#define SGL_MOST 16384u
#define IOV_ROOM 64u           /* a piece may lie in this many parts of RAM */

enum { SGL_DATA = 0, SGL_SEGMENT = 2, SGL_LAST_SEGMENT = 3 };

/* --- PRPs --- */

static uint16_t prp_next(NvmeData *d)
{
    uint64_t entry, mask = d->page - 1;

    if (d->first) {
        d->first = false;
        d->at = d->prp1;
        d->len = MIN(d->left, d->page - (d->prp1 & mask));
        d->left -= d->len;
        return NVME_OK;
    }
    if (d->list == 0 && d->left <= d->page) {
        entry = d->prp2;
    } else {
        d->list = d->list ? d->list : d->prp2;
        if (d->list & 7) {
            return NVME_PRP_OFFSET;
        }
        /* The last entry of a page is the list's next page when more than one page of data is left. */
        if ((d->list & mask) == d->page - 8 && d->left > d->page) {
            if (!dma_read64(d->dev, d->list, &d->list)) {
                return NVME_TRANSFER_ERROR;
            }
            if (d->list & mask) {
                return NVME_PRP_OFFSET;
            }
        }
        if (!dma_read64(d->dev, d->list, &entry)) {
            return NVME_TRANSFER_ERROR;
        }
        d->list += 8;
    }
    if (entry & mask) {
        return NVME_PRP_OFFSET;
    }
    d->at = entry;
    d->len = MIN(d->left, d->page);
    d->left -= d->len;
    return NVME_OK;
}

/* --- SGLs --- */

/* Acts upon one descriptor; @in_segment: it was read from a segment. */
static uint16_t sgl_descriptor(NvmeData *d, const uint8_t *raw, bool in_segment)
{
    uint64_t addr = ld64(raw);
    uint32_t len = ld32(raw + 8);

    if (raw[15] & 15) {
        return NVME_SGL_TYPE;                  /* offsets are for controller memory buffers */
    }
    switch (raw[15] >> 4) {
    case SGL_DATA:
        d->at = addr;
        d->len = MIN(d->left, len);
        d->left -= d->len;
        return NVME_OK;
    case SGL_SEGMENT:
    case SGL_LAST_SEGMENT:
        /* Only the last descriptor of a segment that is not the last leads on. */
        if (len == 0 || len % 16 || (in_segment && (d->descriptors || d->last_segment))) {
            return NVME_SGL_SEGMENT;
        }
        d->list = addr;
        d->descriptors = len / 16;
        d->last_segment = raw[15] >> 4 == SGL_LAST_SEGMENT;
        return NVME_OK;
    default:
        return NVME_SGL_TYPE;
    }
}

static uint16_t sgl_next(NvmeData *d)
{
    uint8_t raw[16];
    uint16_t status;

    do {
        if (d->first) {
            d->first = false;
            st64(raw, d->prp1);
            st64(raw + 8, d->prp2);
            status = sgl_descriptor(d, raw, false);
        } else if (d->descriptors == 0) {
            return NVME_SGL_LENGTH;
        } else if (++d->seen > SGL_MOST) {
            return NVME_SGL_COUNT;
        } else if (!dma_read(d->dev, d->list, raw, sizeof(raw))) {
            return NVME_TRANSFER_ERROR;
        } else {
            d->list += sizeof(raw);
            d->descriptors--;
            status = sgl_descriptor(d, raw, true);
        }
    } while (status == NVME_OK && d->len == 0);
    return status;
}

/* --- pieces --- */

uint16_t nvme_data_begin(NvmeData *d, Device *dev, const uint8_t *cmd, uint64_t page, uint64_t len,
                         bool sgl_allowed)
{
    unsigned psdt = cmd[SQE_FLAGS] >> 6;

    if (psdt == 3 || (psdt && !sgl_allowed)) {
        return NVME_INVALID_FIELD;
    }
    *d = (NvmeData){ .dev = dev, .left = len, .page = page, .sgl = psdt != 0, .first = true,
                     .prp1 = ld64(cmd + SQE_DPTR), .prp2 = ld64(cmd + SQE_DPTR + 8) };
    return NVME_OK;
}

/* Sees to it that there is a piece at hand. */
static uint16_t piece(NvmeData *d)
{
    if (d->len) {
        return NVME_OK;
    }
    if (d->left == 0) {
        return NVME_INTERNAL;
    }
    return d->sgl ? sgl_next(d) : prp_next(d);
}

uint16_t nvme_data_copy(NvmeData *d, void *buf, uint64_t n, DmaDir dir)
{
    uint8_t *at = buf;

    while (n) {
        uint16_t status = piece(d);
        if (status != NVME_OK) {
            return status;
        }
        uint64_t len = MIN(n, d->len);
        bool ok = dir == DMA_TO_DEVICE ? dma_read(d->dev, d->at, at, len) : dma_write(d->dev, d->at, at, len);
        if (!ok) {
            return NVME_TRANSFER_ERROR;
        }
        d->at += len;
        d->len -= len;
        at += len;
        n -= len;
    }
    return NVME_OK;
}

static uint16_t map_run(NvmeReq *q, Iova at, uint64_t len, DmaDir dir)
{
    if (len == 0) {
        return NVME_OK;
    }
    if (q->niov + IOV_ROOM > BLK_IOV_MAX) {
        return NVME_SGL_COUNT;
    }
    if (q->niov + IOV_ROOM > q->iov_cap) {
        q->iov_cap = MIN(MAX(2 * q->iov_cap, q->niov + IOV_ROOM), BLK_IOV_MAX);
        q->iov = g_renew(struct iovec, q->iov, q->iov_cap);
    }
    int count = dma_map(q->data.dev, at, len, dir, q->iov + q->niov, q->iov_cap - q->niov);
    if (count < 0) {
        return NVME_TRANSFER_ERROR;
    }
    q->niov += (unsigned)count;
    return NVME_OK;
}

uint16_t nvme_data_map(NvmeReq *q, DmaDir dir)
{
    NvmeData *d = &q->data;
    Iova run = 0;
    uint64_t run_len = 0, got = 0;
    uint16_t status = NVME_OK;

    q->niov = 0;
    while (got < q->chunk && status == NVME_OK) {
        status = piece(d);
        if (status != NVME_OK) {
            break;
        }
        uint64_t len = MIN(q->chunk - got, d->len);
        if (run_len && run + run_len == d->at) {
            run_len += len;
        } else {
            status = map_run(q, run, run_len, dir);
            run = d->at;
            run_len = len;
        }
        d->at += len;
        d->len -= len;
        got += len;
    }
    if (status == NVME_OK) {
        status = map_run(q, run, run_len, dir);
    }
    if (status != NVME_OK) {
        dma_unmap(d->dev, q->iov, q->niov, 0);
        q->niov = 0;
    }
    return status;
}
