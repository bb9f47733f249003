/* host.c: the device types i440FX-pcihost and q35-pcihost: ports 0xcf8-0xcff, ECAM, PAM.
 *
 * 1. CONFADD is one atomic word and a cycle takes only the target function's domain, so the regions
 *    are lockless (PCI Local Bus 3.0, 3.2.2.3.2; guests serialise the pair of ports themselves).
 * 2. PCI memory is a box under RAM: what RAM covers, no BAR can take. */
#include "hw/pci/host-int.h"

/* 0xcf9 bits (ICH9 13.7.5, PIIX3 2.5.6). */
enum { RCR_SYS_RST = 2, RCR_RST_CPU = 4, RCR_FULL_RST = 8 };

static uint64_t addr_read(void *dev, uint64_t off, unsigned size)
{
    PciHost *h = dev;

    if (off == 0 && size == 4) {
        return __atomic_load_n(&h->addr, __ATOMIC_RELAXED);
    }
    if (off == 1 && size == 1) {
        return __atomic_load_n(&h->reset_control, __ATOMIC_RELAXED);
    }
    return ones(size);
}

static void addr_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    PciHost *h = dev;

    if (off == 0 && size == 4) {
        __atomic_store_n(&h->addr, (uint32_t)val & 0x80fffffc, __ATOMIC_RELAXED);
    } else if (off == 1 && size == 1) {
        __atomic_store_n(&h->reset_control, (uint8_t)(val & (RCR_SYS_RST | RCR_FULL_RST)),
                         __ATOMIC_RELAXED);
        if (val & RCR_RST_CPU) {
            machine_request(REQUEST_RESET, 0, "reset control register");
        }
    }
}

/* Lockless: each is one atomic word. */
static const RegionOps addr_ops = {
    .read = addr_read, .write = addr_write, .min = 1, .max = 4, .flags = REGION_LOCKLESS,
};

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
    PciHost *h = dev;
    uint32_t a = __atomic_load_n(&h->addr, __ATOMIC_RELAXED);

    if (!(a & 0x80000000)) {
        return ones(size);
    }
    return pci_cycle_read(h->bus, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off, size);
}

static void data_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    PciHost *h = dev;
    uint32_t a = __atomic_load_n(&h->addr, __ATOMIC_RELAXED);

    if (a & 0x80000000) {
        pci_config_write(h->bus, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off, (uint32_t)val,
                         size);
    }
}

/* Lockless: pci_cycle_read() and pci_config_write() take the domain of the function they reach. */
static const RegionOps data_ops = {
    .read = data_read, .write = data_write, .min = 1, .max = 4, .flags = REGION_LOCKLESS,
};

/* ECAM (PCI Express Base 4.0, 7.2.2): bus 27:20, device and function 19:12, register 11:0. */
static uint64_t ecam_read(void *dev, uint64_t off, unsigned size)
{
    PciHost *h = dev;

    return pci_cycle_read(h->bus, off >> 20 & 0xff, off >> 12 & 0xff, off & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    PciHost *h = dev;

    pci_config_write(h->bus, off >> 20 & 0xff, off >> 12 & 0xff, off & 0xfff, (uint32_t)val, size);
}

/* Lockless: as data_ops. */
static const RegionOps ecam_ops = {
    .read = ecam_read, .write = ecam_write, .min = 1, .max = 4, .flags = REGION_LOCKLESS,
};

void host_ecam_place(PciHost *h, uint64_t at, uint64_t size, bool on)
{
    uint64_t to = on ? at : UINT64_MAX;

    if (to == h->ecam_at && (!on || size == h->ecam.size)) {
        return;
    }
    map_begin();
    map_drop(&h->ecam);
    if (on) {
        map_resize(&h->ecam, size);
        /* Above everything else that is not RAM, below the chipset's own. */
        map_put(&h->mem, &h->ecam, at, 2);
    }
    map_commit();
    h->ecam_at = to;
}

static bool host_realize(Device *d, Error **errp)
{
    PciHost *h = (PciHost *)d;
    Machine *m = d->machine;
    bool q35 = d->type == &q35_pcihost_type;

    region_box(&h->mem, d, "pci", m->mem_root.size);
    region_io(&h->conf_addr, d, "pci-conf-idx", &addr_ops, 4);
    region_io(&h->conf_data, d, "pci-conf-data", &data_ops, 4);
    region_io(&h->ecam, d, "ecam", &ecam_ops, ECAM_SIZE);
    h->ecam_at = UINT64_MAX;
    h->bus = pci_bus_new(d, q35 ? "pcie.0" : "pci.0", NULL, q35, &h->mem, &m->io_root, m->mem);
    map_begin();
    map_put(&m->mem_root, &h->mem, 0, -1);
    map_put(&m->io_root, &h->conf_addr, 0xcf8, 2);
    map_put(&m->io_root, &h->conf_data, 0xcfc, 2);
    map_commit();
    return true;
}

static void host_unrealize(Device *d)
{
    PciHost *h = (PciHost *)d;

    map_begin();
    map_drop(&h->ecam);
    map_drop(&h->conf_addr);
    map_drop(&h->conf_data);
    map_drop(&h->mem);
    map_commit();
    region_free(&h->ecam);
    region_free(&h->conf_addr);
    region_free(&h->conf_data);
    region_free(&h->mem);
    pci_bus_free(h->bus);
}

static void host_reset(Device *d, ResetKind kind)
{
    PciHost *h = (PciHost *)d;

    __atomic_store_n(&h->addr, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&h->reset_control, 0, __ATOMIC_RELAXED);
}

static const StateField host_fields[] = {
    STATE_U32(PciHost, addr),
    STATE_U8(PciHost, reset_control),
    { 0 },
};

static const StateDesc host_state = { .name = "pci-host", .version = 1, .fields = host_fields };

static const PropDesc i440fx_host_props[] = {
    PROP_SIZE(PciHost, hole64_size, "pci-hole64-size", 2 * GiB, 0, UINT64_C(1) << 50,
              "least size of the 64-bit PCI hole"),
    { 0 },
};

static const PropDesc q35_host_props[] = {
    PROP_SIZE(PciHost, hole64_size, "pci-hole64-size", 32 * GiB, 0, UINT64_C(1) << 50,
              "least size of the 64-bit PCI hole"),
    { 0 },
};

const DeviceType i440fx_pcihost_type = {
    .name = "i440FX-pcihost", .summary = "i440FX host bridge", .slot = &board_slot,
    .size = sizeof(PciHost), .flags = DEV_INTERNAL, .category = "Bridge",
    .props = i440fx_host_props, .state = &host_state,
    .realize = host_realize, .unrealize = host_unrealize, .reset = host_reset,
};

const DeviceType q35_pcihost_type = {
    .name = "q35-pcihost", .summary = "Q35 host bridge", .slot = &board_slot,
    .size = sizeof(PciHost), .flags = DEV_INTERNAL, .category = "Bridge",
    .props = q35_host_props, .state = &host_state,
    .realize = host_realize, .unrealize = host_unrealize, .reset = host_reset,
};

Region *pc_host_pci_mem(Device *host)
{
    return &((PciHost *)host)->mem;
}

PciBus *pc_host_bus(const Device *host)
{
    return ((const PciHost *)host)->bus;
}

Device *pc_host_make(Machine *m, bool q35, Error **errp)
{
    assert_control();
    Device *d = device_make(q35 ? &q35_pcihost_type : &i440fx_pcihost_type, m->root, NULL,
                            q35 ? "q35" : "i440fx", errp, NULL);
    if (!d) {
        return NULL;
    }
    Bus *bus = pc_host_bus(d)->bus;
    m->pci = bus;
    if (!device_make(q35 ? &mch_type : &i440fx_type, d, bus, q35 ? "mch" : "pmc", errp,
                     "addr", "00.0", NULL)) {
        m->pci = NULL;
        device_destroy(d);
        return NULL;
    }
    return d;
}

void pc_chipset_setup(PciBus *root, bool q35)
{
    static const uint8_t routes[] = { 10, 10, 11, 11 };
    uint8_t south = q35 ? PCI_DEVFN(31, 0) : PCI_DEVFN(1, 0);
    unsigned pam = q35 ? 0x90 : 0x59;

    assert_control();
    for (unsigned i = 0; i < 4; i++) {
        pci_config_write(root, 0, south, 0x60 + i, routes[i], 1);
        if (q35) {
            pci_config_write(root, 0, south, 0x68 + i, routes[i], 1);
        }
    }
    pci_config_write(root, 0, 0, pam, 0x30, 1);
    for (unsigned i = 1; i < 7; i++) {
        pci_config_write(root, 0, 0, pam + i, 0x33, 1);
    }
    if (q35) {
        pci_config_write(root, 0, 0, 0x64, ECAM_BASE >> 32, 4);
        pci_config_write(root, 0, 0, 0x60, (uint32_t)ECAM_BASE | 1, 4);
        pci_config_write(root, 0, south, 0x40, 0x600 | 1, 4);
        pci_config_write(root, 0, south, 0x44, 0x80, 1);
        pci_config_write(root, 0, south, 0xf0, (uint32_t)RCBA_BASE | 1, 4);
    } else {
        uint8_t pm = PCI_DEVFN(1, 3);
        pci_config_write(root, 0, pm, 0x40, 0x600 | 1, 4);
        pci_config_write(root, 0, pm, 0x80, 1, 1);
        pci_config_write(root, 0, pm, PCI_INTERRUPT_LINE, 9, 1);
    }
}
