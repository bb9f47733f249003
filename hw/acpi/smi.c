/* smi.c: agreement on features of system management interrupts, see smi.h. */
#include "hw/acpi/smi.h"

#include "util/trace.h"

bool smi_features_agree(SmiFeatures *f, uint64_t wanted)
{
    if (!f->locked && (wanted & ~f->offered) == 0) {
        TRACE(smi_features, "agreed=0x%llx", (unsigned long long)wanted);
        f->agreed = wanted;
        f->locked = true;
    }
    return f->locked;
}

void smi_features_reset(SmiFeatures *f, ResetKind kind)
{
    f->agreed = 0;
    f->locked = false;
}

static bool check(void *obj, Error **errp)
{
    const SmiFeatures *f = obj;

    return (f->agreed & ~f->offered) == 0 ||
           error_set(errp, "features 0x%llx: not all are offered", (unsigned long long)f->agreed);
}

static const StateField fields[] = { STATE_U64(SmiFeatures, agreed), STATE_BOOL(SmiFeatures, locked), { 0 } };
const StateDesc smi_features_state = {
    .name = "smi-features", .version = 1, .fields = fields, .check = check,
};
