/* smbus.c: an SMBus host controller that finds nobody on its bus (PIIX4 7.3, ICH9 chapter 18.2).
 *
 * 1. A started transaction ends at once with DEV_ERR: no slave acknowledged its address. */
#include "hw/pci/smbus.h"

#include <string.h>
#include "util/bytes.h"

enum { HST_STS = 0, HST_CNT = 2 };
enum { STS_DEV_ERR = 0x04, STS_W1C = 0x1e, CNT_START = 0x40 };

static uint64_t smbus_read(void *dev, uint64_t off, unsigned size)
{
    const SmBus *s = dev;

    return off < sizeof(s->regs) ? s->regs[off] : 0;
}

static void smbus_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    SmBus *s = dev;

    if (off >= sizeof(s->regs)) {
        return;
    }
    if (off == HST_STS) {
        s->regs[off] &= (uint8_t)~(val & STS_W1C);
    } else if (off == HST_CNT) {
        s->regs[off] = (uint8_t)(val & ~CNT_START);
        if (val & CNT_START) {
            s->regs[HST_STS] |= STS_DEV_ERR;
        }
    } else {
        s->regs[off] = (uint8_t)val;
    }
}

static const RegionOps smbus_ops = { .read = smbus_read, .write = smbus_write, .min = 1, .max = 1 };

void smbus_init(SmBus *s, Device *d, uint64_t size)
{
    region_io_arg(&s->io, d, "smbus", &smbus_ops, s, size);
}

static const StateField smbus_fields[] = {
    STATE_BYTES(SmBus, regs),
    { 0 },
};

const StateDesc smbus_state = { .name = "smbus", .version = 1, .fields = smbus_fields };
