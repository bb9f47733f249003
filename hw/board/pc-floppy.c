/* pc-floppy.c: what firmware and the guest are told of floppy drives. */
#include "hw/board/pc.h"

#include "hw/storage/isa-fdc.h"

/* The controller at the usual ports: the one a BIOS drives. */
static Device *find_fdc(Machine *m)
{
    Device *d = m->isa->first;

    while (d != NULL && (d->type != &isa_fdc_type || fdc_place(d).iobase != 0x3f0)) {
        d = d->bus_next;
    }
    return d;
}

const AcpiFdc *pc_describe_fdc(PcBoard *b, Machine *m)
{
    Device *fdc = find_fdc(m);
    AcpiFdc *a = &b->acpi_fdc;

    *a = (AcpiFdc){ 0 };
    if (fdc == NULL) {
        return NULL;
    }
    const FdcPlace place = fdc_place(fdc);
    a->iobase = place.iobase;
    a->irq = place.irq;
    a->dma = place.dma;
    for (unsigned i = 0; i < FLOPPY_UNITS; i++) {
        const FloppyDrive *f = fdc_drive(fdc, i);
        unsigned cylinder, sector;

        floppy_limits(f != NULL ? f->type : FLOPPY_NONE, &cylinder, &sector);
        a->type[i] = floppy_cmos_type(f);
        a->cylinder[i] = (uint8_t)cylinder;
        a->sector[i] = (uint8_t)sector;
    }
    return a;
}
