/* cpuid.c: what CPUID tells the guest: KVM's offer, cut by the model and the user, with our
 * topology.
 *
 * 1. KVM's offer is read once.  kvm_vm.cpuid is made from it once; only APIC ids differ between
 *    vCPUs.
 * 2. A feature that the user asked for and KVM lacks is warned about (or refused, with enforce);
 *    one that a model has and KVM lacks is warned about too, as the guest would otherwise miss it
 *    silently.
 * 3. Leaves: SDM vol. 2 CPUID; AMD APM vol. 3 appendix E. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/features.h"
#include "accel/kvm/kvm-int.h"
#include "accel/topology.h"
#include "util/bytes.h"

#define BIT(n) (1u << (n))
/* AMD repeats these bits of leaf 1 EDX in 0x80000001 EDX. */
#define AMD_MIRROR 0x0183f3ffu

typedef struct kvm_cpuid_entry2 Entry;

static Entry *find(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t index)
{
    for (unsigned i = 0; i < c->nent; i++) {
        Entry *e = &c->entries[i];

        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index)) {
            return e;
        }
    }
    return NULL;
}

/* The entry, added when it is not there yet; NULL when the table is full. */
static Entry *get(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t index, bool indexed)
{
    Entry *e = find(c, leaf, index);

    if (!e && c->nent < KVM_CPUID_MAX) {
        e = &c->entries[c->nent++];
        *e = (Entry){ .function = leaf, .index = index,
                      .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
    }
    return e;
}

static void drop_leaf(struct kvm_cpuid2 *c, uint32_t leaf)
{
    unsigned to = 0;

    for (unsigned i = 0; i < c->nent; i++) {
        if (c->entries[i].function != leaf) {
            c->entries[to++] = c->entries[i];
        }
    }
    c->nent = to;
}

static uint32_t *reg_of(Entry *e, CpuReg r)
{
    switch (r) {
    case REG_EAX:
        return &e->eax;
    case REG_EBX:
        return &e->ebx;
    case REG_ECX:
        return &e->ecx;
    default:
        return &e->edx;
    }
}

/* The word of KVM's offer, with what KVM offers by capability instead. */
static uint32_t offered(struct kvm_cpuid2 *c, FeatureWord w)
{
    const FeatureWordInfo *f = &feature_words[w];
    Entry *e = find(c, f->leaf, f->index);
    uint32_t bits = e ? *reg_of(e, f->reg) : 0;

    if (w == FW_1_ECX) {
        bits |= BIT(31) | BIT(21);
        bits |= kvm_cap(KVM_CAP_TSC_DEADLINE_TIMER) ? BIT(24) : 0;
        bits &= ~BIT(27);                   /* OSXSAVE mirrors CR4 at run time */
    } else if (w == FW_7_0_ECX) {
        bits &= ~BIT(4);                    /* OSPKE too */
    } else if (w == FW_KVM_EDX) {
        bits |= BIT(0);                     /* a hint by the user, not a feature of KVM */
    } else if (w == FW_1_EDX) {
        bits |= BIT(28);                    /* HTT follows the topology */
    }
    return bits;
}

/* --- choosing the features --- */

static bool complain(const KvmCpuModel *m, FeatureWord w, uint32_t missing)
{
    static const char *const regs[] = { "EAX", "EBX", "ECX", "EDX" };
    const FeatureWordInfo *f = &feature_words[w];

    for (unsigned b = 0; b < 32 && m->check; b++) {
        if (missing >> b & 1) {
            const char *n = f->names[b];

            warn_report("host doesn't support requested feature: CPUID.%02XH:%s%s%s [bit %u]",
                        f->leaf,
                        regs[f->reg], n ? "." : "", n ? n : "", b);
        }
    }
    return missing == 0;
}

static bool choose_features(struct kvm_cpuid2 *c, const KvmCpuModel *m, uint32_t words[FW_COUNT],
                            Error **errp)
{
    const Baseline *base = m->host ? NULL : baseline_find(m->name);
    bool all = true;

    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint32_t have = offered(c, w), want = base ? base->words[w] : have;

        if (!base && w == FW_80000007_EDX && m->migratable) {
            want &= ~BIT(8);                /* a constant TSC ties the guest to this host */
        } else if (!base && w == FW_KVM_EDX) {
            want = 0;
        } else if (!base && w == FW_1_EDX) {
            want &= ~BIT(28);
        }
        if (!base && w == FW_KVM_EAX && !m->kvm) {
            want = 0;
        }
        want = (want | m->on[w]) & ~m->off[w];
        all &= complain(m, w, want & ~have);
        words[w] = want & have;
    }
    if (m->enforce && !all) {
        return error_set(errp, "-cpu %s: the host lacks requested features", m->name);
    }
    return true;
}

static void apply_words(struct kvm_cpuid2 *c, const uint32_t words[FW_COUNT])
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        const FeatureWordInfo *f = &feature_words[w];
        Entry *e = words[w] ? get(c, f->leaf, f->index, f->indexed) : find(c, f->leaf, f->index);

        if (e) {
            *reg_of(e, f->reg) = words[w];
        }
    }
}

/* --- single leaves --- */

static bool is_vendor(struct kvm_cpuid2 *c, const char *text)
{
    const Entry *e = find(c, 0, 0);
    uint32_t v[3] = { e->ebx, e->edx, e->ecx };

    return memcmp(v, text, 12) == 0;
}

static void set_signature(struct kvm_cpuid2 *c, const KvmCpuModel *m)
{
    const Baseline *base = m->host ? NULL : baseline_find(m->name);
    Entry *e = get(c, 1, 0, false);
    int family = (e->eax >> 8 & 15) + (e->eax >> 20 & 0xff);
    int model = (e->eax >> 4 & 15) | (e->eax >> 12 & 0xf0), stepping = e->eax & 15;

    family = m->family >= 0 ? m->family : base ? base->family : family;
    model = m->model >= 0 ? m->model : base ? base->model : model;
    stepping = m->stepping >= 0 ? m->stepping : base ? base->stepping : stepping;
    e->eax = (stepping & 15) | (model & 15) << 4 | (model & 0xf0) << 12 |
             (family > 15 ? 15 << 8 | (family - 15) << 20 : family << 8);
    Entry *ext = find(c, 0x80000001, 0);
    if (ext) {
        ext->eax = is_vendor(c, "AuthenticAMD") || is_vendor(c, "HygonGenuine") ? e->eax : 0;
    }
}

static void set_names(struct kvm_cpuid2 *c, const KvmCpuModel *m)
{
    const Baseline *base = m->host ? NULL : baseline_find(m->name);
    const char *id = m->model_id ? m->model_id : base ? base->model_id : NULL;

    if (m->vendor) {
        Entry *e = get(c, 0, 0, false);

        memcpy(&e->ebx, m->vendor, 4);
        memcpy(&e->edx, m->vendor + 4, 4);
        memcpy(&e->ecx, m->vendor + 8, 4);
    }
    for (unsigned i = 0; id && i < 3; i++) {
        Entry *e = get(c, 0x80000002 + i, 0, false);
        char text[48] = { 0 };

        memcpy(text, id, MIN(strlen(id), sizeof(text) - 1));
        if (e) {
            memcpy(&e->eax, text + 16 * i, 4);
            memcpy(&e->ebx, text + 16 * i + 4, 4);
            memcpy(&e->ecx, text + 16 * i + 8, 4);
            memcpy(&e->edx, text + 16 * i + 12, 4);
        }
    }
}

static void set_levels(struct kvm_cpuid2 *c, const KvmCpuModel *m)
{
    const Baseline *base = m->host ? NULL : baseline_find(m->name);
    Entry *low = get(c, 0, 0, false), *high = get(c, 0x80000000, 0, false);
    unsigned dies = kvm_vm.machine->cfg.smp.dies;

    low->eax = m->level ? m->level : base ? MIN(base->level, low->eax) : low->eax;
    if (!m->level) {
        low->eax = MAX(low->eax, dies > 1 ? 0x1f : m->cpuid_0xb ? 0xb : low->eax);
    }
    high->eax = m->xlevel ? m->xlevel : base ? MIN(base->xlevel, high->eax) : high->eax;
    if (find(c, 0x80000008, 0)) {
        high->eax = MAX(high->eax, 0x80000008);
    }
}

/* Keeps the state components of XSAVE whose features are on; the others are not offered. */
static void set_xsave(struct kvm_cpuid2 *c, const uint32_t words[FW_COUNT])
{
    uint64_t keep = 3;
    uint32_t size = 576;

    if (!(words[FW_1_ECX] & BIT(26))) {
        drop_leaf(c, 0xd);
        return;
    }
    keep |= words[FW_1_ECX] & BIT(28) ? BIT(2) : 0;
    keep |= words[FW_7_0_EBX] & BIT(14) ? BIT(3) | BIT(4) : 0;
    keep |= words[FW_7_0_EBX] & BIT(16) ? 7u << 5 : 0;
    keep |= words[FW_7_0_ECX] & BIT(3) ? BIT(9) : 0;
    keep |= words[FW_7_0_EDX] & BIT(24) ? 3u << 17 : 0;
    for (unsigned i = 2; i < 63; i++) {
        Entry *e = find(c, 0xd, i);

        if (!e || e->ecx & 1) {             /* a supervisor component, by IA32_XSS */
            continue;
        }
        if (keep >> i & 1) {
            size = MAX(size, e->eax + e->ebx);
        } else {
            e->eax = e->ebx = e->ecx = e->edx = 0;
        }
    }
    Entry *e = find(c, 0xd, 0);
    if (e) {
        e->eax &= keep;
        e->edx &= keep >> 32;
        e->ecx = size;
        e->ebx = 576;                       /* KVM follows XCR0 from here */
    }
    e = find(c, 0xd, 1);
    if (e && !(words[FW_D_1_EAX] & BIT(3))) {
        e->ecx = e->edx = 0;
    }
}

static bool set_address_bits(struct kvm_cpuid2 *c, const KvmCpuModel *m, Error **errp)
{
    Entry *e = find(c, 0x80000008, 0);
    unsigned host = e && (e->eax & 0xff) ? e->eax & 0xff : 36;
    unsigned bits = m->phys_bits ? m->phys_bits : m->host ? host : MIN(host, 40);

    if (bits > host || bits < 32) {
        return error_set(errp, "-cpu phys-bits=%u: must be 32 to %u, which the host has", bits,
                         host);
    }
    e = get(c, 0x80000008, 0, false);
    e->eax = bits | (e->eax & 0xff00 ? e->eax & 0xff00 : 48u << 8);
    return true;
}

static void set_kvm_leaves(struct kvm_cpuid2 *c, const KvmCpuModel *m,
                           const uint32_t words[FW_COUNT])
{
    uint32_t last = 0x40000001;

    drop_leaf(c, 0x40000000);
    if (!m->kvm) {
        drop_leaf(c, 0x40000001);
        return;
    }
    bool known_rate = m->tsc_hz || words[FW_80000007_EDX] & BIT(8);
    Entry *e = m->vmware_freq && known_rate ? get(c, 0x40000010, 0, false) : NULL;
    int khz = e ? (m->tsc_hz ? (int)(m->tsc_hz / 1000) : ioctl(kvm_vm.fd, KVM_GET_TSC_KHZ, 0l)) : 0;
    if (e) {
        e->eax = MAX(khz, 0);
        e->ebx = 1000000;                   /* the APIC bus of KVM ticks in nanoseconds: kHz */
        last = 0x40000010;
    }
    e = get(c, 0x40000000, 0, false);
    if (e) {
        static const char signature[12] = "KVMKVMKVM\0\0";

        e->eax = last;
        memcpy(&e->ebx, signature, 4);
        memcpy(&e->ecx, signature + 4, 4);
        memcpy(&e->edx, signature + 8, 4);
    }
}

/* --- topology --- */

/* Leaves 4 and 0x8000001D: who shares each cache, in ids of our topology. */
static void set_caches(struct kvm_cpuid2 *c, const KvmCpuModel *m, const CpuTopology *t)
{
    TopologyBits b = topology_bits(t);

    for (unsigned i = 0; i < c->nent; i++) {
        Entry *e = &c->entries[i];
        bool intel = e->function == 4;

        if ((!intel && e->function != 0x8000001d) || !(e->eax & 31)) {
            continue;
        }
        unsigned level = e->eax >> 5 & 7;
        if (level >= 3 && !m->l3_cache) {
            e->eax = e->ebx = e->ecx = e->edx = 0;
            continue;
        }
        unsigned ids = (1u << (level >= 3 ? b.die : b.core)) - 1;
        unsigned cores = (1u << (b.package - b.core)) - 1;
        e->eax = (e->eax & 0x3fff) | MIN(ids, 0xfff) << 14;
        e->eax |= intel ? MIN(cores, 63) << 26 : 0;
    }
}

static void set_level_leaf(struct kvm_cpuid2 *c, uint32_t leaf, const CpuTopology *t)
{
    TopologyBits b = topology_bits(t);
    bool dies = leaf == 0x1f;
    const struct { unsigned shift, count, type; } levels[] = {
        { b.core, MAX(t->threads, 1), 1 },                                  /* SMT */
        { dies ? b.die : b.package, topology_per_package(t) / (dies ? t->dies : 1), 2 },
        { dies ? b.package : 0, dies ? topology_per_package(t) : 0, dies ? 5 : 0 },   /* die */
        { 0, 0, 0 },
    };

    drop_leaf(c, leaf);
    for (unsigned i = 0; i < (dies ? 4 : 3); i++) {
        Entry *e = get(c, leaf, i, true);

        if (e) {
            e->eax = levels[i].shift;
            e->ebx = levels[i].count;
            e->ecx = i | levels[i].type << 8;
        }
    }
}

static void set_topology(struct kvm_cpuid2 *c, const KvmCpuModel *m, const CpuTopology *t)
{
    TopologyBits b = topology_bits(t);
    unsigned per_package = topology_per_package(t);
    bool amd = is_vendor(c, "AuthenticAMD") || is_vendor(c, "HygonGenuine");
    Entry *e = get(c, 1, 0, false);

    e->ebx = (e->ebx & 0xff00 ? e->ebx & 0xff00 : 8 << 8) |
             (per_package > 1 ? MIN(1u << b.package, 255) << 16 : 0);
    e->edx = per_package > 1 ? e->edx | BIT(28) : e->edx & ~BIT(28);
    set_caches(c, m, t);
    if (m->cpuid_0xb) {
        set_level_leaf(c, 0xb, t);
    } else {
        drop_leaf(c, 0xb);
    }
    if (t->dies > 1) {
        set_level_leaf(c, 0x1f, t);
    } else {
        drop_leaf(c, 0x1f);
    }
    e = find(c, 0x80000008, 0);
    if (amd && e) {
        e->ecx &= ~0xf0ffu;
        e->ecx |= per_package > 1 ? b.package << 12 | MIN(per_package - 1, 255) : 0;
    }
    e = find(c, 0x80000001, 0);
    if (amd && e && per_package > 1) {
        e->ecx |= BIT(1);
    }
    if (amd && e && e->ecx & BIT(22)) {
        get(c, 0x8000001e, 0, false);
    } else {
        drop_leaf(c, 0x8000001d);
        drop_leaf(c, 0x8000001e);
    }
}

/* --- */

static struct kvm_cpuid2 *read_offer(Error **errp)
{
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + KVM_CPUID_MAX * sizeof(Entry));

    c->nent = KVM_CPUID_MAX;
    if (ioctl(kvm_vm.kvm, KVM_GET_SUPPORTED_CPUID, c) < 0 || !find(c, 0, 0)) {
        error_set_errno(errp, errno, "-accel kvm: cannot read which CPU features KVM offers");
        g_free(c);
        return NULL;
    }
    /* An absent leaf reads as zeros anyway; KVM lists all up to the highest. */
    unsigned to = 0;
    for (unsigned i = 0; i < c->nent; i++) {
        Entry *e = &c->entries[i];

        if (e->eax | e->ebx | e->ecx | e->edx) {
            c->entries[to] = *e;
            memset(c->entries[to++].padding, 0, sizeof(e->padding));
        }
    }
    c->nent = to;
    return c;
}

bool kvm_cpuid_open(Machine *m, Error **errp)
{
    KvmVm *vm = &kvm_vm;
    uint32_t words[FW_COUNT];

    vm->model = g_new0(KvmCpuModel, 1);
    if (!cpu_model_parse(vm->model, m->cfg.cpu_model, errp)) {
        return false;
    }
    vm->cpuid = read_offer(errp);
    if (!vm->cpuid || !choose_features(vm->cpuid, vm->model, words, errp)) {
        return false;
    }
    if (is_vendor(vm->cpuid, "AuthenticAMD") || is_vendor(vm->cpuid, "HygonGenuine")) {
        words[FW_80000001_EDX] |= words[FW_1_EDX] & AMD_MIRROR;
    }
    apply_words(vm->cpuid, words);
    set_names(vm->cpuid, vm->model);
    set_signature(vm->cpuid, vm->model);
    if (!set_address_bits(vm->cpuid, vm->model, errp)) {
        return false;
    }
    set_xsave(vm->cpuid, words);
    if (!vm->model->pmu) {
        drop_leaf(vm->cpuid, 0xa);
    }
    set_kvm_leaves(vm->cpuid, vm->model, words);
    set_topology(vm->cpuid, vm->model, &m->cfg.smp);
    set_levels(vm->cpuid, vm->model);
    return true;
}

void kvm_cpuid_close(void)
{
    if (kvm_vm.model) {
        cpu_model_clear(kvm_vm.model);
    }
    g_clear_pointer(&kvm_vm.model, g_free);
    g_clear_pointer(&kvm_vm.cpuid, g_free);
}

uint64_t kvm_cpu_signature(void)
{
    const Entry *e = kvm_vm.cpuid ? find(kvm_vm.cpuid, 1, 0) : NULL;

    return e != NULL ? e->eax | (uint64_t)e->edx << 32 : 0;
}

uint32_t kvm_vcpu_apic_id(unsigned index)
{
    return topology_apic_id(&kvm_vm.machine->cfg.smp, index);
}

static void set_ids(struct kvm_cpuid2 *c, uint32_t apic_id, const CpuTopology *t)
{
    TopologyBits b = topology_bits(t);

    for (unsigned i = 0; i < c->nent; i++) {
        Entry *e = &c->entries[i];

        switch (e->function) {
        case 1:
            e->ebx = (e->ebx & 0xffffff) | apic_id << 24;
            break;
        case 0xb:
        case 0x1f:
            e->edx = apic_id;
            break;
        case 0x8000001e:
            e->eax = apic_id;
            e->ebx = (apic_id >> b.core & 0xff) | (MAX(t->threads, 1) - 1) << 8;
            e->ecx = (apic_id >> b.die & 0xff) | (MAX(t->dies, 1) - 1) << 8;
            break;
        }
    }
}

bool kvm_cpuid_vcpu(KvmVcpu *v, Error **errp)
{
    KvmVm *vm = &kvm_vm;

    set_ids(vm->cpuid, v->apic_id, &vm->machine->cfg.smp);
    if (ioctl(v->fd, KVM_SET_CPUID2, vm->cpuid) < 0) {
        return error_set_errno(errp, errno, "-cpu %s: KVM refuses the CPUID table",
                               vm->model->name);
    }
    if (vm->model->tsc_hz && ioctl(v->fd, KVM_SET_TSC_KHZ, (long)(vm->model->tsc_hz / 1000)) < 0) {
        return error_set_errno(errp, errno,
                               "-cpu tsc-frequency=%" PRIu64 ": the host cannot scale its "
                               "time stamp counter", vm->model->tsc_hz);
    }
    if (vm->model->pv_enforce) {
        struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };

        if (ioctl(v->fd, KVM_ENABLE_CAP, &cap) < 0) {
            return error_set_errno(errp, errno, "-cpu kvm-pv-enforce-cpuid: KVM refuses it");
        }
    }
    return true;
}
