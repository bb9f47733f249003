/* smi.c: agreement on features of system management interrupts, see smi.h.
 *
 *   etc/smi/supported-features   8 bytes   what the chip offers
 *   etc/smi/requested-features   8 bytes   written by firmware: what it wants
 *   etc/smi/features-ok          1 byte    selecting it ends the agreement, if that is offered: it reads 1
 *
 * 1. Firmware that asks for more than is offered reads 0, and may ask for less.
 * 2. What was agreed on holds until reset. */
#include "hw/acpi/smi.h"

#include "hw/misc/fw-cfg.h"
#include "util/bytes.h"
#include "util/trace.h"

#define SUPPORTED "etc/smi/supported-features"
#define REQUESTED "etc/smi/requested-features"
#define FEATURES_OK "etc/smi/features-ok"

static void agree(void *arg)
{
    SmiFeatures *f = arg;
    size_t n;
    const void *raw = fw_cfg_file_data(f->fw_cfg, REQUESTED, &n);
    uint64_t wanted = ld64(raw);

    if (!f->locked && (wanted & ~f->offered) == 0) {
        TRACE(smi_features, "agreed=0x%llx", (unsigned long long)wanted);
        f->agreed = wanted;
        f->locked = true;
    }
    uint8_t ok = f->locked;
    fw_cfg_modify_file(f->fw_cfg, FEATURES_OK, &ok, sizeof(ok));
}

static const FwCfgHooks ok_hooks = { .selected = agree };

bool smi_features_offer(SmiFeatures *f, Device *fw_cfg, uint64_t offered, Error **errp)
{
    const uint8_t none[8] = { 0 };
    uint8_t raw[8];

    assert_control();
    st64(raw, offered);
    f->offered = offered;
    if (offered == 0) {
        return true;
    }
    f->fw_cfg = fw_cfg;
    return fw_cfg_add_file(fw_cfg, SUPPORTED, raw, sizeof(raw), errp) &&
           fw_cfg_add_file_hooks(fw_cfg, REQUESTED, none, sizeof(none), true, NULL, NULL, errp) &&
           fw_cfg_add_file_hooks(fw_cfg, FEATURES_OK, none, 1, false, &ok_hooks, f, errp);
}

void smi_features_reset(SmiFeatures *f, ResetKind kind)
{
    const uint8_t none[8] = { 0 };

    f->agreed = 0;
    f->locked = false;
    if (f->fw_cfg != NULL) {
        fw_cfg_modify_file(f->fw_cfg, REQUESTED, none, sizeof(none));
    }
}

static bool check(void *obj, Error **errp)
{
    const SmiFeatures *f = obj;

    return (f->agreed & ~f->offered) == 0 || error_set(errp, "features 0x%llx, of which not all are offered",
                                                       (unsigned long long)f->agreed);
}

static const StateField fields[] = { STATE_U64(SmiFeatures, agreed), STATE_BOOL(SmiFeatures, locked), { 0 } };
const StateDesc smi_features_state = { .name = "smi-features", .version = 1, .fields = fields, .check = check };
