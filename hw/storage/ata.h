/* ata.h: what ATA and ATAPI drives share; private to hw/storage. */
#ifndef HW_STORAGE_ATA_H
#define HW_STORAGE_ATA_H

#include "hw/storage/ide.h"

/* Words @first.. of IDENTIFY data: @text padded to @len bytes, swapped as ATA has it. */
void ata_text(uint8_t *id, unsigned first, const char *text, unsigned len);
static inline void ata_word(uint8_t *id, unsigned word, uint16_t v)
{
    id[2 * word] = v & 0xff;
    id[2 * word + 1] = v >> 8;
}
/* SET FEATURES, set transfer mode: takes @mode if an IDE drive knows it. */
bool ata_set_transfer_mode(uint8_t *xfer_mode, uint8_t mode);
/* The mode words 49-53 and 62-68 and 88 of IDENTIFY (PACKET) data. */
void ata_identify_modes(uint8_t *id, uint8_t xfer_mode);
/* Byte 511 makes the sum of all 512 bytes zero. */
void ata_checksum(uint8_t *page);
/* The serial number of a drive that was given none, as its place tells; owned by the caller. */
char *ata_serial(const IdeDrive *d);
/* ATA8-ACS 7.16 (IDENTIFY DEVICE): the 512 bytes of @d; @ncq: it queues. */
void ata_identify(IdeDrive *d, uint8_t *id);

#endif
