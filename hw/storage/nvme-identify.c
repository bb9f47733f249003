/* nvme-identify.c: the Identify command's data structures (NVM Express 1.4, section 5.15).
 *
 * 1. What is shown is what nvme-*.c do: the limits come from the properties, the rest is constant. */
#include "hw/storage/nvme.h"

#include <linux/pci_regs.h>
#include <stdio.h>

enum {
    CNS_NS = 0x00,
    CNS_CTRL = 0x01,
    CNS_ACTIVE = 0x02,
    CNS_NS_DESC = 0x03,
    CNS_CS_NS = 0x05,
    CNS_CS_CTRL = 0x06,
    CNS_CS_ACTIVE = 0x07,
    CNS_ALLOCATED = 0x10,
    CNS_ALLOCATED_NS = 0x11,
    CNS_NS_CTRLS = 0x12,
    CNS_CTRLS = 0x13,
    CNS_CS_ALLOCATED = 0x1a,
    CNS_CS_ALLOCATED_NS = 0x1b,
    CNS_SETS = 0x1c
};
enum { DESC_EUI64 = 1, DESC_UUID = 3, DESC_CSI = 4 };

static void text(uint8_t *out, size_t size, const char *s)
{
    memset(out, ' ', size);
    memcpy(out, s, MIN(strlen(s), size));
}

/* Figure 247. */
static void controller(const Nvme *n, uint8_t *out)
{
    st16(out, ld16(n->p.config + PCI_VENDOR_ID));
    st16(out + 2, ld16(n->p.config + PCI_SUBSYSTEM_VENDOR_ID));
    text(out + 4, 20, n->serial);
    text(out + 24, 40, "QEMU NVMe Ctrl");
    text(out + 64, 8, "7.2");
    out[72] = 6;                               /* recommended arbitration burst */
    out[73] = 0x00;                            /* IEEE OUI 52-54-00 */
    out[74] = 0x54;
    out[75] = 0x52;
    out[77] = n->mdts;
    st32(out + 80, NVME_VERSION);
    st32(out + 92, EVENTS_NS_CHANGED);
    out[111] = 1;                              /* an I/O controller */
    st16(out + 256, 1 << 1 | 1 << 3 | 1 << 8); /* Format, namespaces, doorbell buffers */
    out[258] = 3;                              /* aborts at once, less one */
    out[259] = n->aerl;
    out[260] = 3;                              /* one firmware slot, read-only */
    out[261] = 7;                              /* log pages: SMART of a namespace, effects, offsets */
    st16(out + 266, 0x157);                    /* warning and critical temperature */
    st16(out + 268, 0x175);
    out[512] = NVME_SQES << 4 | NVME_SQES;
    out[513] = NVME_CQES << 4 | NVME_CQES;
    st32(out + 516, NVME_NS_MAX);
    /* Compare, DSM, Write Zeroes, save and select, Timestamp, Verify, Copy. */
    st16(out + 520, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8);
    out[525] = 7;                              /* a write cache; Flush takes all namespaces */
    st16(out + 534, 1);                        /* format 0 of Copy descriptors */
    st32(out + 536, 1);                        /* SGLs */
    snprintf((char *)out + 768, 256, "nqn.2019-08.org.qemu:%.20s", n->serial);
    st16(out + 2048, 0x9c4);                   /* power state 0: 25 W, */
    st32(out + 2052, 0x10);                    /* microseconds in, */
    st32(out + 2056, 4);                       /* and out */
}

uint8_t nvme_format_shift(const NvmeNs *ns, unsigned format)
{
    switch (format) {
    case 0:
        return 9;
    case 1:
        return 12;
    case 2:
        return ns->shift0 != 9 && ns->shift0 != 12 ? ns->shift0 : 0;
    default:
        return 0;
    }
}

/* Figure 245. */
static void namespace(const NvmeNs *ns, uint8_t *out)
{
    uint64_t blocks = __atomic_load_n(&ns->bytes, __ATOMIC_RELAXED) >> ns->shift;
    unsigned count = 0;

    for (unsigned i = 0; i < 3; i++) {
        st64(out + 8 * i, blocks);             /* size, capacity, use */
    }
    out[24] = 1 << 4;                          /* what follows from 64 on counts */
    out[33] = 1;                               /* deallocated blocks read as zeroes */
    out[99] = ns->read_only;
    for (; nvme_format_shift(ns, count); count++) {
        out[128 + 4 * count + 2] = nvme_format_shift(ns, count);
        if (nvme_format_shift(ns, count) == ns->shift) {
            out[26] = (uint8_t)count;
        }
    }
    out[25] = (uint8_t)(count - 1);
    uint32_t discard = MAX(ns->granularity >> ns->shift, 1) - 1;
    st16(out + 64, (uint16_t)(MAX(ns->min_io >> ns->shift, 1) - 1));
    st16(out + 66, (uint16_t)(MAX(ns->min_io >> ns->shift, 1) - 1));
    st16(out + 68, (uint16_t)MIN(discard, 0xffff));
    st16(out + 70, (uint16_t)MIN(discard, 0xffff));
    st16(out + 72, (uint16_t)(MAX(ns->opt_io >> ns->shift, 1) - 1));
    st16(out + 74, ns->mssrl);
    st32(out + 76, ns->mcl);
    out[80] = ns->msrc;
    for (unsigned i = 0; i < 8; i++) {
        out[120 + i] = (uint8_t)(ns->eui64 >> (56 - 8 * i));
    }
}

/* Namespaces with ids above @after, attached ones or all. */
static uint16_t list(const Nvme *n, uint32_t after, bool all, uint8_t *out)
{
    unsigned at = 0;

    if (after >= NVME_NSID_ALL - 1) {
        return NVME_INVALID_NS;
    }
    for (uint32_t i = after + 1; i <= NVME_NS_MAX; i++) {
        if (n->ns[i] && (all || n->ns[i]->attached)) {
            st32(out + 4 * at++, i);
        }
    }
    return NVME_OK;
}

static uint8_t *descriptor(uint8_t *at, unsigned type, unsigned len)
{
    at[0] = (uint8_t)type;
    at[1] = (uint8_t)len;
    return at + 4;
}

static void descriptors(const NvmeNs *ns, uint8_t *out)
{
    if (ns->has_uuid) {
        memcpy(descriptor(out, DESC_UUID, 16), ns->uuid, 16);
        out += 20;
    }
    if (ns->eui64) {
        uint8_t *at = descriptor(out, DESC_EUI64, 8);
        for (unsigned i = 0; i < 8; i++) {
            at[i] = (uint8_t)(ns->eui64 >> (56 - 8 * i));
        }
        out += 12;
    }
    descriptor(out, DESC_CSI, 1);              /* NVM: 0 */
}

/* The namespace that the command names; a structure of zeroes is the answer for one that is not there. */
static uint16_t one(const Nvme *n, uint32_t nsid, bool all, const NvmeNs **ns)
{
    *ns = NULL;
    if (nsid == 0 || nsid > NVME_NS_MAX) {
        return NVME_INVALID_NS;
    }
    if (n->ns[nsid] && (all || n->ns[nsid]->attached)) {
        *ns = n->ns[nsid];
    }
    return NVME_OK;
}

static uint16_t by_namespace(const Nvme *n, unsigned cns, uint32_t nsid, uint8_t *out)
{
    const NvmeNs *ns;
    uint16_t status = one(n, nsid, cns == CNS_ALLOCATED_NS || cns == CNS_CS_ALLOCATED_NS, &ns);

    if (status == NVME_OK && ns && (cns == CNS_NS || cns == CNS_ALLOCATED_NS)) {
        namespace(ns, out);
    }
    return status;
}

static uint16_t controllers(const Nvme *n, unsigned cns, uint32_t nsid, unsigned after, uint8_t *out)
{
    const NvmeNs *ns;
    uint16_t status = cns == CNS_NS_CTRLS ? one(n, nsid, true, &ns) : NVME_OK;

    if (status == NVME_OK && after == 0 && (cns == CNS_CTRLS || (ns && ns->attached))) {
        st16(out, 1);                          /* controller 0 */
    }
    return status;
}

uint16_t nvme_identify(Nvme *n, const uint8_t *cmd, uint8_t *out)
{
    unsigned cns = cmd[SQE_CDW10], csi = cmd[SQE_CDW11 + 3];
    uint32_t nsid = ld32(cmd + SQE_NSID);
    const NvmeNs *ns;
    uint16_t status;

    switch (cns) {
    case CNS_CS_NS:
    case CNS_CS_ALLOCATED_NS:
    case CNS_CS_ACTIVE:
    case CNS_CS_ALLOCATED:
        if (csi != 0) {
            return NVME_INVALID_FIELD;         /* there is the NVM command set alone */
        }
        break;
    default:
        break;
    }
    switch (cns) {
    case CNS_NS:
    case CNS_ALLOCATED_NS:
    case CNS_CS_NS:
    case CNS_CS_ALLOCATED_NS:
        return by_namespace(n, cns, nsid, out);
    case CNS_CTRL:
        controller(n, out);
        return NVME_OK;
    case CNS_ACTIVE:
    case CNS_CS_ACTIVE:
        return list(n, nsid, false, out);
    case CNS_ALLOCATED:
    case CNS_CS_ALLOCATED:
        return list(n, nsid, true, out);
    case CNS_NS_DESC:
        status = one(n, nsid, false, &ns);
        if (status == NVME_OK && ns) {
            descriptors(ns, out);
        }
        return status == NVME_OK && !ns ? NVME_INVALID_FIELD : status;
    case CNS_CS_CTRL:
        out[0] = csi == 0 ? n->vsl : 0;
        return NVME_OK;
    case CNS_NS_CTRLS:
    case CNS_CTRLS:
        return controllers(n, cns, nsid, ld16(cmd + SQE_CDW10 + 2), out);
    case CNS_SETS:
        st64(out, 1);                          /* one set of command sets: NVM */
        return NVME_OK;
    default:
        return NVME_INVALID_FIELD;
    }
}
