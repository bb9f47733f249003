/* isa-fdc.h: the floppy disk controller, as the board sees it. */
#ifndef HW_STORAGE_ISA_FDC_H
#define HW_STORAGE_ISA_FDC_H

#include "hw/storage/floppy.h"

extern const DeviceType isa_fdc_type;          /* "isa-fdc" */

typedef struct FdcPlace {
    uint16_t iobase;
    uint8_t irq, dma;
} FdcPlace;

CTX_ANY FdcPlace fdc_place(const Device *fdc);
/* Drive @unit of @fdc, or NULL. */
CTX_CONTROL const FloppyDrive *fdc_drive(Device *fdc, unsigned unit);

#endif
