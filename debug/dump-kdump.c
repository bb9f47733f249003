/* dump-kdump.c: a dump in the kdump-compressed format, flattened (makedumpfile's IMPLEMENTATION file).
 *
 * The format's blocks, of 4096 bytes:
 *   0 header | 1 sub-header and notes | first bitmap: pages there are | second: pages dumped |
 *   a descriptor a page | data
 * 1. Flattened: the stream has records of (offset in that file, size, bytes), big-endian numbers, so it can
 *    go into a pipe; `makedumpfile -R` or crash itself puts it together.
 * 2. Pages of zeroes share one descriptor's data.  Page frames without memory cost nothing: blocks of
 *    the bitmaps without a bit are left out of the stream. */
#include <string.h>
#include "debug/dump-int.h"
#include "util/bytes.h"

#define BUFFER (64u << 10)
#define DESC_BYTES 24u
#define HEADER_BYTES 464u
#define SUB_BYTES 104u
#define NOTES_AT (DUMP_PAGE + SUB_BYTES)
#define BITS_A_BLOCK (DUMP_PAGE * 8u)

/* Records of one growing part of the file. */
typedef struct Part {
    Dump *d;
    uint64_t at;               /* in the format's file: of the first byte in @bytes */
    GByteArray *bytes;
} Part;

static bool record(Dump *d, uint64_t at, const void *data, uint64_t n, Error **errp)
{
    uint8_t head[16];

    st64(head, GUINT64_TO_BE(at));
    st64(head + 8, GUINT64_TO_BE(n));
    return dump_write(d, head, sizeof(head), errp) && dump_write(d, data, n, errp);
}

static bool part_flush(Part *p, Error **errp)
{
    if (p->bytes->len > 0 && !record(p->d, p->at, p->bytes->data, p->bytes->len, errp)) {
        return false;
    }
    p->at += p->bytes->len;
    g_byte_array_set_size(p->bytes, 0);
    return true;
}

static bool part_add(Part *p, const void *data, size_t n, Error **errp)
{
    g_byte_array_append(p->bytes, data, n);
    return p->bytes->len < BUFFER || part_flush(p, errp);
}

/* --- which pages --- */

/* Whole pages alone. */
static uint64_t first_page(const DumpRange *r)
{
    return DIV_ROUND_UP(r->at, DUMP_PAGE);
}

static uint64_t end_page(const DumpRange *r)
{
    return MAX((r->at + r->size) / DUMP_PAGE, first_page(r));
}

static const DumpRange *nth(const Dump *d, unsigned i)
{
    return &g_array_index(d->ranges, DumpRange, i);
}

static uint64_t page_count(const Dump *d)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < d->ranges->len; i++) {
        n += end_page(nth(d, i)) - first_page(nth(d, i));
    }
    return n;
}

/* Sets the bits of block @block that @r has. */
static void fill_block(uint8_t bits[DUMP_PAGE], uint64_t block, const DumpRange *r)
{
    uint64_t begin = MAX(first_page(r), block * BITS_A_BLOCK);
    uint64_t end = MIN(end_page(r), (block + 1) * BITS_A_BLOCK);

    for (uint64_t page = begin; page < end; page++) {
        bits[page % BITS_A_BLOCK / 8] |= 1u << page % 8;
    }
}

static bool write_bitmap(Dump *d, uint64_t at, Error **errp)
{
    uint64_t next = 0;         /* blocks below are written */

    for (unsigned i = 0; i < d->ranges->len; i++) {
        uint64_t end = DIV_ROUND_UP(end_page(nth(d, i)), BITS_A_BLOCK);

        for (uint64_t block = MAX(next, first_page(nth(d, i)) / BITS_A_BLOCK); block < end; block++) {
            uint8_t bits[DUMP_PAGE] = { 0 };

            for (unsigned j = i; j < d->ranges->len; j++) {
                fill_block(bits, block, nth(d, j));
            }
            if (!record(d, at + block * DUMP_PAGE, bits, sizeof(bits), errp)) {
                return false;
            }
            next = block + 1;
        }
    }
    return true;
}

/* --- headers --- */

static bool write_start(Dump *d, Error **errp)
{
    uint8_t start[DUMP_PAGE] = "makedumpfile";

    st64(start + 16, GUINT64_TO_BE(1));                /* type and version */
    st64(start + 24, GUINT64_TO_BE(1));
    return dump_write(d, start, sizeof(start), errp);
}

static bool write_headers(Dump *d, uint64_t max_page, uint64_t sub_blocks, uint64_t bitmap_blocks,
                          Error **errp)
{
    static const uint8_t status[DUMP_FORMATS] = { [DUMP_ZLIB] = 1, [DUMP_LZO] = 2, [DUMP_SNAPPY] = 4 };
    uint8_t h[HEADER_BYTES] = "KDUMP   ", s[SUB_BYTES] = { 0 };

    st32(h + 8, 6);                                    /* version of the header */
    memcpy(h + 12 + 4 * 65, "x86_64", 7);              /* struct utsname: machine */
    st32(h + 424, status[d->req.format]);
    st32(h + 428, DUMP_PAGE);
    st32(h + 432, sub_blocks);
    st32(h + 436, bitmap_blocks);
    st32(h + 440, MIN(max_page, UINT32_MAX));
    st32(h + 460, d->cpu_count);
    st64(s, d->phys_base);
    st32(s + 8, 1);                                    /* dump level */
    if (d->vmcoreinfo_size > 0) {
        st64(s + 32, NOTES_AT + d->vmcoreinfo_at);
        st64(s + 40, d->vmcoreinfo_size);
    }
    st64(s + 48, NOTES_AT);
    st64(s + 56, d->notes->len);
    st64(s + 96, max_page);
    return record(d, 0, h, sizeof(h), errp) && record(d, DUMP_PAGE, s, sizeof(s), errp) &&
           record(d, NOTES_AT, d->notes->data, d->notes->len, errp);
}

/* --- pages --- */

typedef struct Pages {
    Part descs, data;
    DumpCompress *compress;
    uint32_t flag;
    bool has_zero;
    uint8_t zero[DESC_BYTES];  /* descriptor of the page of zeroes */
    uint8_t room[DUMP_PAGE];
} Pages;

static bool add_data(Pages *p, const uint8_t *page, uint8_t desc[DESC_BYTES], Error **errp)
{
    size_t n = p->compress(page, p->room);

    memset(desc, 0, DESC_BYTES);
    st64(desc, p->data.at + p->data.bytes->len);
    st32(desc + 8, n > 0 ? n : DUMP_PAGE);
    st32(desc + 12, n > 0 ? p->flag : 0);
    return part_add(&p->data, n > 0 ? p->room : page, n > 0 ? n : DUMP_PAGE, errp);
}

static bool add_page(Pages *p, const uint8_t *page, Error **errp)
{
    static const uint8_t zeroes[DUMP_PAGE];
    uint8_t desc[DESC_BYTES];

    if (page != NULL && !dump_is_zero(page)) {
        return add_data(p, page, desc, errp) && part_add(&p->descs, desc, sizeof(desc), errp);
    }
    if (!p->has_zero) {
        p->has_zero = true;
        if (!add_data(p, zeroes, p->zero, errp)) {
            return false;
        }
    }
    return part_add(&p->descs, p->zero, sizeof(p->zero), errp);
}

static bool add_range(Dump *d, Pages *p, const DumpRange *r, Error **errp)
{
    uint64_t off = first_page(r) * DUMP_PAGE - r->at, end = end_page(r) * DUMP_PAGE - r->at;

    while (off < end) {
        bool hole;
        uint64_t n = dump_stretch(r, off, end - off, &hole) / DUMP_PAGE * DUMP_PAGE;

        for (n = off + MAX(n, DUMP_PAGE); off < n; off += DUMP_PAGE) {
            if (!add_page(p, hole ? NULL : r->host + off, errp)) {
                return false;
            }
            dump_advance(d, DUMP_PAGE);
        }
    }
    return true;
}

static bool write_pages(Dump *d, uint64_t descs_at, Error **errp)
{
    static const uint8_t flags[DUMP_FORMATS] = { [DUMP_ZLIB] = 1, [DUMP_LZO] = 2, [DUMP_SNAPPY] = 4 };
    g_autoptr(GByteArray) descs = g_byte_array_new(), data = g_byte_array_new();
    g_autofree Pages *p = g_new0(Pages, 1);
    uint8_t end[16];

    p->descs = (Part){ d, descs_at, descs };
    p->data = (Part){ d, descs_at + page_count(d) * DESC_BYTES, data };
    p->compress = dump_compressor(d->req.format);
    p->flag = flags[d->req.format];
    for (unsigned i = 0; i < d->ranges->len; i++) {
        if (!add_range(d, p, nth(d, i), errp)) {
            return false;
        }
    }
    memset(end, 0xff, sizeof(end));
    return part_flush(&p->descs, errp) && part_flush(&p->data, errp) && dump_write(d, end, sizeof(end), errp);
}

bool dump_kdump(Dump *d, Error **errp)
{
    uint64_t max_page = end_page(nth(d, d->ranges->len - 1));
    uint64_t sub_blocks = DIV_ROUND_UP(SUB_BYTES + d->notes->len, DUMP_PAGE);
    uint64_t half = DIV_ROUND_UP(max_page, BITS_A_BLOCK);      /* blocks of each bitmap */
    uint64_t bitmap_at = (1 + sub_blocks) * DUMP_PAGE;

    return write_start(d, errp) && write_headers(d, max_page, sub_blocks, 2 * half, errp) &&
           write_bitmap(d, bitmap_at, errp) && write_bitmap(d, bitmap_at + half * DUMP_PAGE, errp) &&
           write_pages(d, bitmap_at + 2 * half * DUMP_PAGE, errp);
}
