/* ata-identify.c: how a disk describes itself (ATA8-ACS, 7.16). */
#include <string.h>
#include "hw/storage/ata.h"
#include "util/bytes.h"

#define MODEL "QEMU HARDDISK"  /* names that guests' configurations contain (/dev/disk/by-id) */
#define REVISION "2.5+"
#define TRIM_BLOCKS 8          /* DATA SET MANAGEMENT takes this many blocks of 64 ranges */

void ata_text(uint8_t *id, unsigned first, const char *text, unsigned len)
{
    size_t n = strlen(text);

    for (unsigned i = 0; i < len; i++) {
        id[2 * first + (i ^ 1)] = i < n ? (uint8_t)text[i] : ' ';
    }
}

void ata_checksum(uint8_t *page)
{
    uint8_t sum = 0;

    for (unsigned i = 0; i < 511; i++) {
        sum += page[i];
    }
    page[511] = (uint8_t)-sum;
}

char *ata_serial(const IdeDrive *d)
{
    return d->serial ? g_strdup(d->serial)
                     : g_strdup_printf("QM%05u", IDE_UNITS * d->bus->number + d->unit + 1);
}

bool ata_set_transfer_mode(uint8_t *xfer_mode, uint8_t mode)
{
    /* ATA8-ACS table 49: type in the high bits, mode in the low ones. */
    static const struct { uint8_t type, modes; } known[] = {
        { 0x00, 2 }, { 0x08, 5 }, { 0x10, 3 }, { 0x20, 3 }, { 0x40, 6 },
    };

    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        if ((mode & 0xf8) == known[i].type && (mode & 7) < known[i].modes) {
            if (known[i].type >= 0x10) {
                *xfer_mode = mode;             /* PIO says nothing about the DMA mode */
            }
            return true;
        }
    }
    return false;
}

void ata_identify_modes(uint8_t *id, uint8_t mode)
{
    unsigned selected = 1u << (mode & 7) << 8;

    ata_word(id, 49, 0x0f00);                  /* IORDY may be disabled, is there; LBA; DMA */
    ata_word(id, 53, 0x0007);                  /* words 54-58, 64-70 and 88 are valid */
    ata_word(id, 62, 0x0007 | ((mode & 0xf8) == 0x10 ? selected : 0));
    ata_word(id, 63, 0x0007 | ((mode & 0xf8) == 0x20 ? selected : 0));
    ata_word(id, 64, 0x0003);                  /* PIO modes 3 and 4 */
    for (unsigned w = 65; w <= 68; w++) {
        ata_word(id, w, 120);                  /* cycle times in ns */
    }
    ata_word(id, 88, 0x003f | ((mode & 0xf8) == 0x40 ? selected : 0));
}

static void geometry(const IdeDrive *d, uint8_t *id, uint64_t sectors)
{
    uint64_t chs = MIN(sectors, UINT64_C(16383) * d->heads * d->secs);
    const AtaState *a = &d->ata;
    uint32_t cyls = MIN(chs / ((uint32_t)a->heads * a->sectors), 65535);
    uint32_t capacity = cyls * a->heads * a->sectors;

    ata_word(id, 1, d->cyls_default);
    ata_word(id, 3, d->heads);
    ata_word(id, 6, d->secs);
    ata_word(id, 54, cyls);
    ata_word(id, 55, a->heads);
    ata_word(id, 56, a->sectors);
    st32(id + 2 * 57, capacity);
    st32(id + 2 * 60, MIN(sectors, 0x0fffffff));
    st64(id + 2 * 100, sectors);
}

static void features(const IdeDrive *d, uint8_t *id)
{
    const AtaState *a = &d->ata;
    uint16_t w84 = 0x4000 | 0x0040 | 0x0020 |
                   (d->wwn ? 0x0100 : 0); /* FUA, general purpose logging */

    ata_word(id, 82, 0x4000 | 0x0040 | 0x0020 | 0x0001); /* NOP, look-ahead, write cache, SMART */
    ata_word(id, 83, 0x4000 | 0x3000 | 0x0400);              /* flush, flush ext, 48 bits */
    ata_word(id, 84, w84);
    ata_word(id, 85,
             0x4000 | (a->look_ahead ? 0x0040 : 0) | (a->write_cache ? 0x0020 : 0) |
                 (a->smart ? 1 : 0));
    ata_word(id, 86, 0x3000 | 0x0400);
    ata_word(id, 87, w84);
    if (d->wwn) {
        for (unsigned i = 0; i < 4; i++) {
            ata_word(id, 108 + i, (uint16_t)(d->wwn >> (48 - 16 * i)));
        }
    }
    if (d->discard_granularity) {
        ata_word(id, 105, TRIM_BLOCKS);
        ata_word(id, 169, 1);
    }
}

/* Words 106 and 209: physical sectors of more than one logical one. */
static void sector_sizes(const IdeDrive *d, uint8_t *id)
{
    unsigned log2 = 0;

    while (d->physical > (UINT64_C(512) << log2) && log2 < 15) {
        log2++;
    }
    if (log2 > 0) {
        ata_word(id, 106, 0x6000 | log2);
        ata_word(id, 209, 0x4000);
    }
}

void ata_identify(IdeDrive *d, uint8_t *id)
{
    uint64_t sectors = medium_size(&d->medium) / IDE_SECTOR;
    g_autofree char *serial = ata_serial(d);
    bool sata = d->bus->host->sata;

    memset(id, 0, IDE_SECTOR);
    ata_word(id, 0, 0x0040);                   /* fixed */
    ata_text(id, 10, serial, 20);
    ata_word(id, 20, 3);
    ata_word(id, 21, 512);
    ata_word(id, 22, 4);
    ata_text(id, 23, d->ver ? d->ver : REVISION, 8);
    ata_text(id, 27, d->model ? d->model : MODEL, 40);
    ata_word(id, 47, 0x8000 | IDE_MULT_MAX);
    ata_word(id, 48, 0x4000);
    ata_word(id, 50, 0x4000);
    ata_word(id, 51, 0x0200);
    ata_word(id, 52, 0x0200);
    ata_identify_modes(id, d->ata.xfer_mode);
    geometry(d, id, sectors);
    ata_word(id, 59, d->ata.mult ? 0x0100 | d->ata.mult : 0);
    ata_word(id, 80, 0x01f0);                  /* ATA/ATAPI-4 to ATA8-ACS */
    ata_word(id, 81, 0x0016);
    features(d, id);
    sector_sizes(d, id);
    if (sata) {
        ata_word(id, 75, 31);                  /* queue depth - 1 */
        ata_word(id, 76, 0x0102);              /* NCQ, 1.5 Gb/s */
        ata_word(id, 222, 0x101f);
    } else {
        ata_word(id, 93, 0x4000 | 0x2000 | 0x0001 | (d->unit ? 0x0700 : 0));
    }
    ata_word(id, 217, d->rotation_rate);
    id[510] = 0xa5;                            /* word 255: integrity word */
    ata_checksum(id);
}
