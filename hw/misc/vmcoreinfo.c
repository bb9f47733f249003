/* vmcoreinfo.c: where a guest tells where its kernel's VMCOREINFO note is, for dumps of its memory
 * (the public "VMCoreInfo device" specification).
 *
 * 1. All there is is the fw_cfg file etc/vmcoreinfo, 16 bytes, little-endian: host's format, guest's
 *    format, size, physical address.  The guest writes it; its contents are saved with fw_cfg.
 * 2. What is written is believed by nobody: whoever follows the address checks what it finds. */
#include "core/machine.h"
#include "hw/misc/fw-cfg.h"
#include "util/bytes.h"

#define FILE_NAME "etc/vmcoreinfo"
#define FILE_BYTES 16u
#define FORMAT_ELF 1

extern const DeviceType vmcoreinfo_type;

static void fresh(uint8_t file[FILE_BYTES])
{
    memset(file, 0, FILE_BYTES);
    st16(file, FORMAT_ELF);
}

static bool where(Machine *m, Gpa *at, uint32_t *size)
{
    size_t n = 0;
    bool known = false;

    domain_enter(m->fw_cfg->domain);
    const uint8_t *file = fw_cfg_file_data(m->fw_cfg, FILE_NAME, &n);
    if (file != NULL && n == FILE_BYTES && ld16(file + 2) == FORMAT_ELF) {
        *size = ld32(file + 4);
        *at = ld64(file + 8);
        known = true;
    }
    domain_leave(m->fw_cfg->domain);
    return known;
}

static bool vmcoreinfo_realize(Device *d, Error **errp)
{
    Machine *m = d->machine;
    uint8_t file[FILE_BYTES];

    if (m->fw_cfg == NULL) {
        return error_set(errp, "vmcoreinfo device requires fw_cfg with DMA");
    }
    if (m->vmcoreinfo != NULL) {
        return error_set(errp, "at most one vmcoreinfo device is permitted");
    }
    fresh(file);
    /* The file stays when the device goes: it may be there already. */
    if (!fw_cfg_modify_file(m->fw_cfg, FILE_NAME, file, sizeof(file)) &&
        !fw_cfg_add_file_hooks(m->fw_cfg, FILE_NAME, file, sizeof(file), true, NULL, NULL, errp)) {
        return false;
    }
    m->vmcoreinfo = where;
    return true;
}

/* A new kernel tells again. */
static void vmcoreinfo_reset(Device *d, ResetKind kind)
{
    uint8_t file[FILE_BYTES];

    fresh(file);
    fw_cfg_modify_file(d->machine->fw_cfg, FILE_NAME, file, sizeof(file));
}

static void vmcoreinfo_unrealize(Device *d)
{
    d->machine->vmcoreinfo = NULL;
}

const DeviceType vmcoreinfo_type = {
    .name = "vmcoreinfo", .summary = "where the guest's VMCOREINFO is, for dumps", .slot = &board_slot,
    .size = sizeof(Device), .flags = DEV_STATELESS, .category = "Misc", .realize = vmcoreinfo_realize,
    .reset = vmcoreinfo_reset, .unrealize = vmcoreinfo_unrealize,
};
