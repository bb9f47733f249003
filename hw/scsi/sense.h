/* sense.h: sense data (SPC-4, 4.5) and the big-endian fields of commands, for SCSI and ATAPI. */
#ifndef HW_SCSI_SENSE_H
#define HW_SCSI_SENSE_H

#include <stdint.h>
#include <string.h>

typedef struct ScsiSense {
    uint8_t key, asc, ascq;    /* all zero: nothing to report */
} ScsiSense;

#define SENSE(k, a, q) ((ScsiSense){ k, a, q })
#define SENSE_NONE SENSE(0, 0, 0)
#define SENSE_NO_MEDIUM SENSE(0x02, 0x3a, 0x00)
#define SENSE_TRAY_OPEN SENSE(0x02, 0x3a, 0x02)
#define SENSE_WRITE_ERROR SENSE(0x03, 0x0c, 0x00)
#define SENSE_READ_ERROR SENSE(0x03, 0x11, 0x00)
#define SENSE_BAD_LENGTH SENSE(0x05, 0x1a, 0x00)
#define SENSE_BAD_OPCODE SENSE(0x05, 0x20, 0x00)
#define SENSE_BAD_LBA SENSE(0x05, 0x21, 0x00)
#define SENSE_BAD_FIELD SENSE(0x05, 0x24, 0x00)
#define SENSE_BAD_LUN SENSE(0x05, 0x25, 0x00)
#define SENSE_BAD_PARAM SENSE(0x05, 0x26, 0x00)
#define SENSE_NOT_DVD SENSE(0x05, 0x30, 0x02)
#define SENSE_NO_SAVING SENSE(0x05, 0x39, 0x00)
#define SENSE_LOCKED SENSE(0x05, 0x53, 0x02)
#define SENSE_CHANGED SENSE(0x06, 0x28, 0x00)
#define SENSE_CAPACITY SENSE(0x06, 0x2a, 0x09)
#define SENSE_WRITE_PROTECTED SENSE(0x07, 0x27, 0x00)
#define SENSE_NO_SPACE SENSE(0x07, 0x27, 0x07)
#define SENSE_MISCOMPARE SENSE(0x0e, 0x1d, 0x00)

#define SENSE_FIXED 18         /* bytes of sense data in the fixed format */

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get24(const uint8_t *p) { return (uint32_t)p[0] << 16 | get16(p + 1); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }
static inline void put16(uint8_t *p, uint16_t v) { p[0] = v >> 8; p[1] = v & 0xff; }
static inline void put24(uint8_t *p, uint32_t v) { p[0] = v >> 16 & 0xff; put16(p + 1, v & 0xffff); }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }
static inline void put64(uint8_t *p, uint64_t v) { put32(p, v >> 32); put32(p + 4, v & UINT32_MAX); }

/* @text in @len bytes, filled up with blanks. */
static inline void put_text(uint8_t *p, const char *text, size_t len)
{
    size_t n = strnlen(text, len);

    memset(p, ' ', len);
    memcpy(p, text, n);
}

/* SPC-4, 4.5.3; @p has SENSE_FIXED bytes. */
static inline void put_sense(uint8_t *p, ScsiSense s)
{
    memset(p, 0, SENSE_FIXED);
    p[0] = 0x70;
    p[2] = s.key;
    p[7] = SENSE_FIXED - 8;
    p[12] = s.asc;
    p[13] = s.ascq;
}

#endif
