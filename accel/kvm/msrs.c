/* msrs.c: the model-specific registers of a vCPU as a list of records.
 *
 * 1. What is saved is what KVM lists and can read, less what is the host's or constant.
 * 2. KVM stops at the first register that it refuses; such a one is skipped, as the next host or
 *    a CPU model without the feature may not know it.  One that matters cannot fail. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

#define RECORD 16
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_MC0_CTL 0x400
#define MC_BANKS 32

typedef struct MsrBuf {
    struct kvm_msrs head;
    struct kvm_msr_entry entries[KVM_MSRS_MAX];
} MsrBuf;

/* Kept out of the list: microcode level, constants of the host or of the model, Hyper-V's, which are added
 * if the guest has them. */
static bool left_out(uint32_t index)
{
    return index == 0x8b || index == 0xce || index == 0xcf || index == 0x10a || index == 0x345 ||
           (index >= 0x480 && index <= 0x493);
}

static const HypervMsr *hyperv_row(uint32_t index)
{
    const HypervMsr *r;

    for (unsigned i = 0; (r = hyperv_msr(i)) != NULL; i++) {
        if (index >= r->first && index <= r->last) {
            return r;
        }
    }
    return NULL;
}

static bool is_hyperv(uint32_t index)
{
    return index >= 0x40000000 && index <= 0x40000fff;
}

static uint64_t reset_value(uint32_t index)
{
    switch (index) {
    case 0x9e:
        return 0x30000;                     /* SMBASE */
    case 0x17b:
        return UINT64_MAX;                  /* IA32_MCG_CTL */
    case 0x1a0:
        return 1;                           /* IA32_MISC_ENABLE: fast strings */
    case 0x277:
        return UINT64_C(0x0007040600070406);    /* IA32_PAT */
    case 0x4b564d05:
        return 1;                           /* MSR_KVM_POLL_CONTROL: the host polls */
    case 0xc0000104:
        return UINT64_C(1) << 32;           /* TSC_RATIO */
    }
    if (is_hyperv(index)) {
        const HypervMsr *r = hyperv_row(index);
        return r != NULL ? r->reset : 0;
    }
    if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + 4 * MC_BANKS && index % 4 == 0) {
        return UINT64_MAX;                  /* IA32_MCi_CTL */
    }
    return 0;
}

static void add(MsrBuf *b, uint32_t index)
{
    if (b->head.nmsrs < KVM_MSRS_MAX && !left_out(index)) {
        b->entries[b->head.nmsrs++] = (struct kvm_msr_entry){ .index = index };
    }
}

/* Those that KVM has but does not list: MTRRs and machine check banks. */
static void add_unlisted(MsrBuf *b)
{
    static const uint16_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
                                      0x26e, 0x26f, 0x2ff };

    for (uint32_t i = 0; i < 16; i++) {
        add(b, 0x200 + i);
    }
    for (unsigned i = 0; i < ARRAY_LEN(fixed); i++) {
        add(b, fixed[i]);
    }
    for (uint32_t i = 0; i < 4 * MC_BANKS; i++) {
        add(b, MSR_MC0_CTL + i);
    }
}

static void add_hyperv(MsrBuf *b)
{
    const HypervMsr *r;

    for (unsigned i = 0; (r = hyperv_msr(i)) != NULL; i++) {
        for (uint32_t index = r->first; hyperv_msr_used(r) && index <= r->last; index++) {
            add(b, index);
        }
    }
}

/* Reads as many as KVM gives, dropping those it refuses. */
static void read_all(KvmVcpu *v, MsrBuf *b)
{
    unsigned done = 0, total = b->head.nmsrs, kept = 0;
    MsrBuf *part = g_new(MsrBuf, 1);

    while (done < total) {
        part->head.nmsrs = total - done;
        memcpy(part->entries, b->entries + done, part->head.nmsrs * sizeof(part->entries[0]));
        int n = ioctl(v->fd, KVM_GET_MSRS, part);
        if (n < 0) {
            break;
        }
        n = MIN(n, (int)(total - done));
        memmove(b->entries + kept, part->entries, n * sizeof(part->entries[0]));
        kept += n;
        done += n + 1;
    }
    b->head.nmsrs = kept;
    g_free(part);
}

static bool list_msrs(KvmVcpu *v)
{
    KvmVm *vm = &kvm_vm;
    struct kvm_msr_list *l = g_malloc0(sizeof(*l) + KVM_MSRS_MAX * sizeof(uint32_t));

    l->nmsrs = KVM_MSRS_MAX;
    if (ioctl(vm->kvm, KVM_GET_MSR_INDEX_LIST, l) < 0) {
        g_free(l);
        return false;
    }
    MsrBuf *b = g_new0(MsrBuf, 1);
    for (unsigned i = 0; i < l->nmsrs; i++) {
        if (!is_hyperv(l->indices[i])) {
            add(b, l->indices[i]);
        }
    }
    add_unlisted(b);
    add_hyperv(b);
    read_all(v, b);
    vm->msr_list = g_new(uint32_t, MAX(b->head.nmsrs, 1));
    vm->msr_count = b->head.nmsrs;
    for (unsigned i = 0; i < vm->msr_count; i++) {
        vm->msr_list[i] = b->entries[i].index;
    }
    g_free(b);
    g_free(l);
    return true;
}

bool kvm_msrs_get(KvmVcpu *v, GByteArray *out)
{
    if (!kvm_vm.msr_list && !list_msrs(v)) {
        return false;
    }
    MsrBuf *b = g_new0(MsrBuf, 1);
    for (unsigned i = 0; i < kvm_vm.msr_count; i++) {
        add(b, kvm_vm.msr_list[i]);
    }
    read_all(v, b);
    for (unsigned i = 0; i < b->head.nmsrs; i++) {
        uint8_t r[RECORD] = { 0 };

        st32(r, b->entries[i].index);
        st64(r + 8, b->entries[i].data);
        g_byte_array_append(out, r, sizeof(r));
    }
    g_free(b);
    return true;
}

static void write_all(KvmVcpu *v, MsrBuf *b)
{
    unsigned done = 0, total = b->head.nmsrs;
    MsrBuf *part = g_new(MsrBuf, 1);

    while (done < total) {
        part->head.nmsrs = total - done;
        memcpy(part->entries, b->entries + done, part->head.nmsrs * sizeof(part->entries[0]));
        int n = ioctl(v->fd, KVM_SET_MSRS, part);
        if (n < 0) {
            break;
        }
        done += n + 1;
    }
    g_free(part);
}

bool kvm_msrs_put(KvmVcpu *v, const GByteArray *records)
{
    if (!kvm_vm.msr_list && !list_msrs(v)) {
        return false;
    }
    MsrBuf *b = g_new0(MsrBuf, 1);
    unsigned count = records ? records->len / RECORD : kvm_vm.msr_count;
    for (unsigned i = 0; i < count; i++) {
        uint32_t index = records ? ld32(records->data + i * RECORD) : kvm_vm.msr_list[i];
        uint64_t value = records ? ld64(records->data + i * RECORD + 8) : reset_value(index);
        unsigned at = b->head.nmsrs;

        if (index != MSR_TSC_DEADLINE) {
            add(b, index);
            if (b->head.nmsrs > at) {
                b->entries[at].data = value;
            }
        }
    }
    write_all(v, b);
    g_free(b);
    return true;
}

bool kvm_msrs_put_deadline(KvmVcpu *v, const GByteArray *records)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry e; } one = {
        .head.nmsrs = 1, .e.index = MSR_TSC_DEADLINE,
    };

    for (unsigned i = 0; records && i < records->len / RECORD; i++) {
        if (ld32(records->data + i * RECORD) == MSR_TSC_DEADLINE) {
            one.e.data = ld64(records->data + i * RECORD + 8);
            return ioctl(v->fd, KVM_SET_MSRS, &one) >= 0;
        }
    }
    return true;
}
