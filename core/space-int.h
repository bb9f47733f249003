/* space-int.h: copying to and from guest memory, for space.c and dma.c. */
#ifndef CORE_SPACE_INT_H
#define CORE_SPACE_INT_H

#include "core/region.h"

/* memcpy(), but an aligned 1, 2, 4 or 8 bytes are one access: the guest's CPUs look on. */
CTX_ANY void guest_copy(void *dst, const void *src, size_t n);
/* space_ram() that also names the block. */
CTX_ANY void *space_ram_piece(Space *s, Gpa at, uint64_t *len, bool for_write, RamBlock **block);

#endif
