/* pc-smi.c: the files of fw_cfg by which firmware of a q35 asks for features of system management interrupts.
 *
 *   etc/smi/supported-features   8 bytes   what the chip offers
 *   etc/smi/requested-features   8 bytes   written by firmware: what it wants
 *   etc/smi/features-ok          1 byte    selecting it ends the agreement, if that is offered: it reads 1
 *
 * 1. Firmware that asks for more than is offered reads 0, and may ask for less.
 * 2. What was agreed on holds until reset. */
#include "hw/acpi/smi.h"
#include "hw/board/pc.h"
#include "hw/misc/fw-cfg.h"
#include "util/bytes.h"

#define REQUESTED "etc/smi/requested-features"
#define FEATURES_OK "etc/smi/features-ok"

static const uint8_t none[8];

/* On a vCPU, under the domain that the bridge shares with fw_cfg. */
static void agree(void *arg)
{
    Device *fw_cfg = arg;
    size_t n;
    const void *raw = fw_cfg_file_data(fw_cfg, REQUESTED, &n);
    uint8_t ok = smi_features_agree(ich9_lpc_smi(fw_cfg->machine->pm), ld64(raw));

    fw_cfg_modify_file(fw_cfg, FEATURES_OK, &ok, sizeof(ok));
}

static const FwCfgHooks ok_hooks = { .selected = agree };

bool pc_smi_offer(Machine *m, Error **errp)
{
    const SmiFeatures *f = ich9_lpc_smi(m->pm);
    uint8_t raw[8];

    st64(raw, f->offered);
    return f->offered == 0 ||
           (fw_cfg_add_file(m->fw_cfg, "etc/smi/supported-features", raw, sizeof(raw), errp) &&
            fw_cfg_add_file_hooks(m->fw_cfg, REQUESTED, none, sizeof(none), true, NULL, NULL, errp) &&
            fw_cfg_add_file_hooks(m->fw_cfg, FEATURES_OK, none, 1, false, &ok_hooks, m->fw_cfg, errp));
}

void pc_smi_restart(Machine *m)
{
    domain_enter(m->fw_cfg->domain);
    fw_cfg_modify_file(m->fw_cfg, REQUESTED, none, sizeof(none));
    domain_leave(m->fw_cfg->domain);
}
