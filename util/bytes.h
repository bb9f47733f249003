/* bytes.h: endian-typed fields for wire structures, unaligned loads and stores, checked arithmetic. */
#ifndef UTIL_BYTES_H
#define UTIL_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A value of a wire structure; the types do not mix with plain integers by accident. */
typedef struct __attribute__((packed)) Le16 { uint16_t raw; } Le16;
typedef struct __attribute__((packed)) Le32 { uint32_t raw; } Le32;
typedef struct __attribute__((packed)) Le64 { uint64_t raw; } Le64;
typedef struct __attribute__((packed)) Be16 { uint16_t raw; } Be16;
typedef struct __attribute__((packed)) Be32 { uint32_t raw; } Be32;
typedef struct __attribute__((packed)) Be64 { uint64_t raw; } Be64;

static inline uint16_t le16(Le16 v) { return le16toh(v.raw); }
static inline uint32_t le32(Le32 v) { return le32toh(v.raw); }
static inline uint64_t le64(Le64 v) { return le64toh(v.raw); }
static inline uint16_t be16(Be16 v) { return be16toh(v.raw); }
static inline uint32_t be32(Be32 v) { return be32toh(v.raw); }
static inline uint64_t be64(Be64 v) { return be64toh(v.raw); }
static inline Le16 to_le16(uint16_t v) { return (Le16){ htole16(v) }; }
static inline Le32 to_le32(uint32_t v) { return (Le32){ htole32(v) }; }
static inline Le64 to_le64(uint64_t v) { return (Le64){ htole64(v) }; }
static inline Be16 to_be16(uint16_t v) { return (Be16){ htobe16(v) }; }
static inline Be32 to_be32(uint32_t v) { return (Be32){ htobe32(v) }; }
static inline Be64 to_be64(uint64_t v) { return (Be64){ htobe64(v) }; }

/* Little-endian loads and stores at any alignment. */
static inline uint16_t ld16(const void *p) { Le16 v; memcpy(&v, p, 2); return le16(v); }
static inline uint32_t ld32(const void *p) { Le32 v; memcpy(&v, p, 4); return le32(v); }
static inline uint64_t ld64(const void *p) { Le64 v; memcpy(&v, p, 8); return le64(v); }
static inline void st16(void *p, uint16_t x) { Le16 v = to_le16(x); memcpy(p, &v, 2); }
static inline void st32(void *p, uint32_t x) { Le32 v = to_le32(x); memcpy(p, &v, 4); }
static inline void st64(void *p, uint64_t x) { Le64 v = to_le64(x); memcpy(p, &v, 8); }

/* @n bytes (1 to 8) at @p as a little-endian number, and back. */
static inline uint64_t ld_n(const void *p, unsigned n)
{
    uint64_t raw = 0;

    if (n == 4) {              /* mostly so, and without a call of memcpy() */
        return ld32(p);
    }
    memcpy(&raw, p, n);
    return le64toh(raw);
}

static inline void st_n(void *p, unsigned n, uint64_t v)
{
    uint64_t raw = htole64(v);

    memcpy(p, &raw, n);
}

/* All ones in the low @n bytes, 1 to 8. */
static inline uint64_t ones(unsigned n)
{
    return UINT64_MAX >> (64 - 8 * n);
}

/* True if @off + @len stays within @limit; nothing overflows. */
static inline bool fits(uint64_t off, uint64_t len, uint64_t limit)
{
    return off <= limit && len <= limit - off;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a) ((x) / (a) * (a))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + (a) - 1, a)
#define DIV_ROUND_UP(x, a) (((x) + (a) - 1) / (a))
#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define container_of(p, T, m) ((T *)((char *)(p) - offsetof(T, m)))

#endif
