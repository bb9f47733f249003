/* dma.h: how a device reads and writes guest memory.  RAM and nothing but RAM: DMA cannot reach a
 * register, which closes the whole re-entrancy class by construction.
 *
 * Every function fails when the device's bus mastering is off, or where there is no RAM. */
#ifndef CORE_DMA_H
#define CORE_DMA_H

#include <sys/uio.h>
#include "core/device.h"

typedef enum DmaDir { DMA_TO_DEVICE, DMA_FROM_DEVICE } DmaDir;

CTX_ANY bool dma_read(Device *d, Iova at, void *dst, size_t n);
CTX_ANY bool dma_write(Device *d, Iova at, const void *src, size_t n);
CTX_ANY bool dma_fill(Device *d, Iova at, uint8_t byte, size_t n);

/* Little-endian scalars; a failed load gives all ones and false. */
CTX_ANY bool dma_read32(Device *d, Iova at, uint32_t *val);
CTX_ANY bool dma_read64(Device *d, Iova at, uint64_t *val);
CTX_ANY bool dma_write32(Device *d, Iova at, uint32_t val);
CTX_ANY bool dma_write64(Device *d, Iova at, uint64_t val);

/* Maps [@at, @at + @n) into at most @max entries of @iov and pins its RAM.  Returns the number of
 * entries, or -EFAULT (nothing is pinned then), or -E2BIG when @max is too small.  The pins hold until
 * dma_unmap(), on any thread. */
CTX_ANY int dma_map(Device *d, Iova at, size_t n, DmaDir dir, struct iovec *iov, unsigned max);
/* Ends a dma_map(); the device wrote the first @written bytes (0 for DMA_TO_DEVICE). */
CTX_ANY void dma_unmap(Device *d, const struct iovec *iov, unsigned count, size_t written);

/* The host address of [@at, @at + @n) when it is one piece of RAM, for structures shared with the
 * guest; valid inside the current epoch section only.  NULL: it is not.  Writers call dma_wrote(). */
CTX_ANY void *dma_ptr(Device *d, Iova at, size_t n, DmaDir dir);
/* While it stays the same, and is not 0, addresses from dma_ptr() are valid in later epoch sections too. */
CTX_ANY uint64_t dma_generation(const Device *d);
CTX_ANY void dma_wrote(const void *host, size_t n);

#endif
