/* cpuid.c: what CPUID tells the guest: leaves made from the resolved model, with our topology.
 *
 * 1. The table is made once, for every vCPU; only APIC ids differ between them.
 * 2. A leaf is there because the level reaches it; absent leaves read as zeros. Only what no table of ours
 *    can know comes from the host: cache information on demand, the PMU, sizes of state components.
 * 3. Leaves: SDM vol. 2 CPUID; AMD APM vol. 3 appendix E. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/cpuid.h"
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "accel/topology.h"
#include "util/bytes.h"

#define BIT(n) (1u << (n))
/* AMD repeats these bits of leaf 1 EDX in 0x80000001 EDX. */
#define AMD_MIRROR 0x0183f3ffu
#define XSAVE_HEADER_END 576u

typedef struct kvm_cpuid_entry2 Entry;

/* What the leaves are made of. */
typedef struct Maker {
    struct kvm_cpuid2 *out;
    const KvmCpuModel *m;
    const KvmOffer *o;
    const CpuTopology *t;
    TopologyBits bits;
    unsigned threads, cores, dies;     /* of a core, a die, a package */
    bool amd, intel;
} Maker;

static void put(Maker *k, uint32_t leaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    cpuid_put(k->out, (Entry){ .function = leaf, .eax = a, .ebx = b, .ecx = c, .edx = d });
}

static void put_index(Maker *k, uint32_t leaf, uint32_t index, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    cpuid_put(k->out, (Entry){ .function = leaf, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                               .eax = a, .ebx = b, .ecx = c, .edx = d });
}

void cpuid_put(struct kvm_cpuid2 *c, Entry e)
{
    if (c->nent < KVM_CPUID_MAX) {
        c->entries[c->nent++] = e;
    }
}

static uint32_t word(const Maker *k, FeatureWord w)
{
    return k->m->words[w];
}

/* Copies the host's leaf as it is. */
static void put_host(Maker *k, uint32_t leaf, uint32_t index, bool indexed)
{
    const Entry *e = cpuid_find(k->o->cpuid, leaf, index);

    if (e != NULL && indexed) {
        put_index(k, leaf, index, e->eax, e->ebx, e->ecx, e->edx);
    } else if (e != NULL) {
        put(k, leaf, e->eax, e->ebx, e->ecx, e->edx);
    }
}

static uint32_t ceil_power(uint32_t n)
{
    return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

/* --- identity --- */

static void put_vendor(Maker *k, uint32_t leaf, uint32_t highest)
{
    uint32_t v[3];

    memcpy(v, k->m->vendor, sizeof(v));
    put(k, leaf, highest, v[0], v[2], v[1]);
}

static uint32_t signature(const KvmCpuModel *m)
{
    uint32_t family = m->prop[P_FAMILY], model = m->prop[P_MODEL];
    uint32_t eax = (uint32_t)m->prop[P_STEPPING] | (model & 15) << 4 | (model & 0xf0) << 12;

    return eax | (family > 15 ? 15 << 8 | (family - 15) << 20 : family << 8);
}

static void put_leaf_1(Maker *k)
{
    unsigned logical = k->cores * k->threads;
    uint32_t edx = word(k, FW_1_EDX);

    put(k, 1, signature(k->m), 8 << 8 | (logical > 1 ? MIN(logical, 255) << 16 : 0), word(k, FW_1_ECX),
        logical > 1 ? edx | BIT(28) : edx);
}

static void put_model_id(Maker *k)
{
    uint32_t text[12] = { 0 };

    memcpy(text, k->m->model_id, strlen(k->m->model_id));
    for (unsigned i = 0; i < 3; i++) {
        put(k, 0x80000002 + i, text[4 * i], text[4 * i + 1], text[4 * i + 2], text[4 * i + 3]);
    }
}

/* --- caches --- */

static const CpuCaches *caches(const Maker *k)
{
    return k->m->row != NULL && k->m->row->caches != NULL && !k->m->prop[P_LEGACY_CACHE]
               ? k->m->row->caches : &cpu_caches_legacy;
}

static bool host_caches(const Maker *k)
{
    return k->m->prop[P_HOST_CACHE_INFO];
}

/* AMD has no leaf 2 and 4. */
static bool no_intel_caches(const Maker *k)
{
    return k->amd && k->m->prop[P_VENDOR_CPUID_ONLY];
}

static void put_leaf_2(Maker *k)
{
    const CpuCaches *c = caches(k);

    if (no_intel_caches(k)) {
        return;
    }
    if (host_caches(k)) {
        put_host(k, 2, 0, false);
    } else {
        put(k, 2, 1, 0, k->m->prop[P_L3_CACHE] ? c->leaf2_ecx : 0, c->leaf2_edx);
    }
}

/* The host's caches, shared by no more processors than a package of ours has. */
static void put_host_leaf_4(Maker *k)
{
    unsigned logical = k->cores * k->threads;

    for (unsigned i = 0; i < 8; i++) {
        const Entry *e = cpuid_find(k->o->cpuid, 4, i);

        if (e == NULL || !(e->eax & 31)) {
            return;
        }
        unsigned sharing = (e->eax >> 14 & 0xfff) + 1;
        uint32_t eax = e->eax & 0x3fff;
        eax |= (sharing > logical ? ceil_power(logical) - 1 : sharing - 1) << 14;
        put_index(k, 4, i, eax | (ceil_power(k->cores) - 1) << 26, e->ebx, e->ecx, e->edx);
    }
}

static void put_leaf_4(Maker *k)
{
    const CpuCache *c = caches(k)->cache;

    if (no_intel_caches(k)) {
        return;
    }
    if (host_caches(k)) {
        put_host_leaf_4(k);
        return;
    }
    for (unsigned i = 0; i < (k->m->prop[P_L3_CACHE] ? 4 : 3); i++) {
        uint32_t sharing = i < 2 ? 0 : i == 2 ? k->threads - 1 : BIT(k->bits.die) - 1;

        sharing = MIN(sharing, 0xfff) << 14 | MIN(k->cores - 1, 63) << 26;
        put_index(k, 4, i, c[i].type_level | sharing, c[i].ebx, c[i].sets_less_1, c[i].edx);
    }
    put_index(k, 4, k->m->prop[P_L3_CACHE] ? 4 : 3, 0, 0, 0, 0);
}

static void put_amd_caches(Maker *k)
{
    const CpuCaches *c = caches(k);

    if (host_caches(k)) {
        put_host(k, 0x80000005, 0, false);
        put_host(k, 0x80000006, 0, false);
        return;
    }
    put(k, 0x80000005, 0x01ff01ff, 0x01ff01ff, c->amd_l1d, c->amd_l1i);    /* TLBs: 255 entries, 1-way */
    put(k, 0x80000006, 0, 0x42004200, c->amd_l2, k->m->prop[P_L3_CACHE] ? c->amd_l3 : 0);
}

static void put_leaf_1d_amd(Maker *k)
{
    const CpuCache *c = caches(k)->amd_cache;

    if (host_caches(k)) {
        for (unsigned i = 0; i < 4; i++) {
            put_host(k, 0x8000001d, i, true);
        }
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned sharing = i < 3 ? k->threads : k->threads * k->cores;

        sharing = MIN(sharing - 1, 0xfff) << 14;
        put_index(k, 0x8000001d, i, c[i].type_level | sharing, c[i].ebx, c[i].sets_less_1, c[i].edx);
    }
    put_index(k, 0x8000001d, 4, 0, 0, 0, 0);
}

/* --- topology --- */

static void put_level_leaf(Maker *k, uint32_t leaf)
{
    bool dies = leaf == 0x1f;
    const struct { unsigned shift, count, type; } levels[] = {
        { k->bits.core, k->threads, 1 },                                              /* SMT */
        { dies ? k->bits.die : k->bits.package, k->threads * k->cores, 2 },           /* core */
        { dies ? k->bits.package : 0, dies ? k->threads * k->cores * k->dies : 0, dies ? 5 : 0 },
        { 0, 0, 0 },
    };

    for (unsigned i = 0; i < (dies ? 4 : 3); i++) {
        put_index(k, leaf, i, levels[i].shift, levels[i].count, i | levels[i].type << 8, 0);
    }
}

/* --- XSAVE --- */

static uint32_t component_size(const Maker *k, unsigned i, const Entry **out)
{
    const Entry *e = cpuid_find(k->o->cpuid, 0xd, i);

    *out = e;
    return e != NULL ? e->eax : 0;
}

static void put_xsave(Maker *k)
{
    uint64_t xcr0 = word(k, FW_XCR0_LO) | k->m->words[FW_XCR0_HI] << 32;
    uint64_t xss = word(k, FW_XSS_LO) | k->m->words[FW_XSS_HI] << 32;
    uint32_t standard = XSAVE_HEADER_END, compact = XSAVE_HEADER_END;
    const Entry *e;

    if (!(word(k, FW_1_ECX) & BIT(26))) {
        return;
    }
    for (unsigned i = 2; i < 63; i++) {
        uint32_t size = (xcr0 | xss) >> i & 1 ? component_size(k, i, &e) : 0;

        if (size != 0) {
            compact = (e->ecx & 2 ? (compact + 63) & ~63u : compact) + size;
            standard = xcr0 >> i & 1 ? MAX(standard, e->ebx + size) : standard;
        }
    }
    put_index(k, 0xd, 0, xcr0, standard, standard, xcr0 >> 32);
    if (word(k, FW_D_1_EAX) != 0) {
        put_index(k, 0xd, 1, word(k, FW_D_1_EAX), compact, word(k, FW_XSS_LO), word(k, FW_XSS_HI));
    }
    for (unsigned i = 2; i < 63; i++) {
        if ((xcr0 | xss) >> i & 1 && component_size(k, i, &e) != 0) {
            put_index(k, 0xd, i, e->eax, e->ebx, e->ecx & ~4u, 0);
        }
    }
}

/* --- what only the newest have --- */

static void put_sgx(Maker *k)
{
    if (!(word(k, FW_7_0_EBX) & BIT(2))) {
        return;
    }
    uint32_t edx = cpuid_reg(cpuid_find(k->o->cpuid, 0x12, 0), REG_EDX);
    uint32_t xcr0 = word(k, FW_XCR0_LO) | 3;
    put_index(k, 0x12, 0, word(k, FW_12_0_EAX), word(k, FW_12_0_EBX), 0, edx);
    /* Attribute 4, the provisioning key, is KVM's to allow, and nobody has asked. */
    put_index(k, 0x12, 1, word(k, FW_12_1_EAX) & ~BIT(4), 0, xcr0, word(k, FW_XCR0_HI));
}

/* One fixed set of Intel PT's capabilities, which cpu-resolve.c has checked the host for. */
static void put_intel_pt(Maker *k)
{
    if (word(k, FW_7_0_EBX) & BIT(25)) {
        put_index(k, 0x14, 0, 1, 0xf, 7 | word(k, FW_14_0_ECX), 0);
        put_index(k, 0x14, 1, 0x02490002, 0x003f1fff, 0, 0);
    }
}

static void put_amx(Maker *k)
{
    if (word(k, FW_7_0_EDX) & BIT(24)) {
        put_index(k, 0x1d, 0, 1, 0, 0, 0);
        put_index(k, 0x1d, 1, 0x04002000, 0x00080040, 0x10, 0);    /* 8 tiles of 1 KiB, 16 rows of 64 bytes */
        put_index(k, 0x1e, 0, 0, 0x4010, 0, 0);
    }
}

/* --- the ranges --- */

static void put_basic(Maker *k, uint32_t level)
{
    put_vendor(k, 0, level);
    if (level >= 1) {
        put_leaf_1(k);
    }
    if (level >= 2) {
        put_leaf_2(k);
    }
    if (level >= 4) {
        put_leaf_4(k);
    }
    if (level >= 5) {
        put(k, 5, 0, 0, 3, 0);              /* MONITOR: interrupts break MWAIT */
    }
    if (level >= 6) {
        put(k, 6, word(k, FW_6_EAX), 0, 0, 0);
    }
    if (level >= 7) {
        put_index(k, 7, 0, k->m->prop[P_LEVEL_FUNC7], word(k, FW_7_0_EBX), word(k, FW_7_0_ECX),
                  word(k, FW_7_0_EDX));
        if (k->m->prop[P_LEVEL_FUNC7] >= 1) {
            put_index(k, 7, 1, word(k, FW_7_1_EAX), 0, 0, 0);
        }
    }
    if (level >= 0xa && k->m->prop[P_PMU]) {
        put_host(k, 0xa, 0, false);
    }
    if (level >= 0xb && k->m->prop[P_CPUID_0XB]) {
        put_level_leaf(k, 0xb);
    }
    if (level >= 0xd) {
        put_xsave(k);
    }
    if (level >= 0x12) {
        put_sgx(k);
    }
    if (level >= 0x14) {
        put_intel_pt(k);
    }
    if (level >= 0x1c && k->m->prop[P_PMU] && (word(k, FW_7_0_EDX) & BIT(19))) {
        put_host(k, 0x1c, 0, true);         /* last branch records */
    }
    if (level >= 0x1e) {
        put_amx(k);
    }
    if (level >= 0x1f && k->dies > 1) {
        put_level_leaf(k, 0x1f);
    }
}

static void put_extended(Maker *k, uint32_t xlevel)
{
    unsigned logical = k->cores * k->threads;
    uint32_t ecx = word(k, FW_80000001_ECX), edx = word(k, FW_80000001_EDX);

    if (xlevel < 0x80000000) {
        return;
    }
    put_vendor(k, 0x80000000, xlevel);
    if (xlevel >= 0x80000001) {
        put(k, 0x80000001, signature(k->m), 0, k->amd && logical > 1 ? ecx | BIT(1) : ecx, edx);
    }
    if (xlevel >= 0x80000004) {
        put_model_id(k);
    }
    if (xlevel >= 0x80000006) {
        put_amd_caches(k);
    }
    if (xlevel >= 0x80000007) {
        put(k, 0x80000007, 0, 0, 0, word(k, FW_80000007_EDX));
    }
    if (xlevel >= 0x80000008) {
        bool lm = edx & BIT(29), la57 = word(k, FW_7_0_ECX) & BIT(16);
        put(k, 0x80000008, k->m->phys_bits | (lm ? (la57 ? 57 : 48) << 8 : 0), word(k, FW_80000008_EBX),
            logical > 1 ? k->bits.package << 12 | MIN(logical - 1, 255) : 0, 0);
    }
    if (xlevel >= 0x8000000a && (ecx & BIT(2))) {
        put(k, 0x8000000a, 1, 0x10, 0, word(k, FW_8000000A_EDX));      /* 16 address space ids */
    }
    if (xlevel >= 0x8000001d) {
        put_leaf_1d_amd(k);
    }
    if (xlevel >= 0x8000001e) {
        put(k, 0x8000001e, 0, 0, 0, 0);     /* ids: kvm_cpuid_vcpu() */
    }
}

static void put_centaur(Maker *k, uint32_t xlevel2)
{
    if (xlevel2 >= 0xc0000000) {
        put(k, 0xc0000000, xlevel2, 0, 0, 0);
    }
    if (xlevel2 >= 0xc0000001) {
        put(k, 0xc0000001, signature(k->m), 0, 0, word(k, FW_C0000001_EDX));
    }
}

/* The hypervisor's leaves: KVM's own at 0x40000000, or behind Hyper-V's at 0x40000100. */
static void put_hypervisor(Maker *k)
{
    static const char text[12] = "KVMKVMKVM\0\0";
    const KvmCpuModel *m = k->m;
    bool hv = hyperv_enabled(m), rate = m->prop[P_TSC_FREQUENCY] || word(k, FW_80000007_EDX) & BIT(8);
    uint32_t base = 0x40000000, v[3];

    if (hv) {
        hyperv_leaves(k->out, m, k->o);
        base = 0x40000100;
    }
    if (!m->prop[P_KVM]) {
        return;
    }
    int khz = m->prop[P_TSC_FREQUENCY] ? (int)(m->prop[P_TSC_FREQUENCY] / 1000)
              : rate ? ioctl(kvm_vm.fd, KVM_GET_TSC_KHZ, 0l) : 0;
    bool frequency = m->prop[P_VMWARE_FREQ] && rate && khz > 0 && !hv;
    memcpy(v, text, sizeof(v));
    put(k, base, frequency ? 0x40000010 : base + 1, v[0], v[1], v[2]);
    put(k, base + 1, word(k, FW_KVM_EAX), 0, 0, word(k, FW_KVM_EDX));
    if (frequency) {
        put(k, 0x40000010, khz, 1000000, 0, 0);     /* the APIC bus of KVM ticks in nanoseconds: kHz */
    }
}

void cpuid_make(struct kvm_cpuid2 *out, KvmCpuModel *m, const KvmOffer *o, const CpuTopology *t)
{
    Maker k = {
        .out = out, .m = m, .o = o, .t = t, .bits = topology_bits(t), .threads = MAX(t->threads, 1),
        .cores = MAX(t->cores, 1), .dies = MAX(t->dies, 1), .amd = strcmp(m->vendor, "AuthenticAMD") == 0,
        .intel = strcmp(m->vendor, "GenuineIntel") == 0,
    };
    uint32_t level = m->prop[P_LEVEL];

    if (k.intel && k.dies > 1 && !m->level_set && m->prop[P_AUTO_LEVEL]) {
        level = MAX(level, 0x1f);
    }
    put_basic(&k, level);
    put_hypervisor(&k);
    put_extended(&k, m->prop[P_XLEVEL]);
    put_centaur(&k, m->prop[P_XLEVEL2]);
}

/* --- the VM's table --- */

/* AMD's extended features repeat basic ones (APM vol. 3, E.4.2). */
static void mirror(KvmCpuModel *m)
{
    if (strcmp(m->vendor, "AuthenticAMD") == 0) {
        m->words[FW_80000001_EDX] &= ~(uint64_t)AMD_MIRROR;
        m->words[FW_80000001_EDX] |= m->words[FW_1_EDX] & AMD_MIRROR;
    }
}

/* From -cpu's text to the model that this host can run. */
static bool choose_model(KvmCpuModel *m, KvmOffer *o, const char *text, Error **errp)
{
    if (!cpu_parse(m, text, o, errp)) {
        return false;
    }
    cpu_expand(m, o, false);
    if (!cpu_filter(m, o, false, errp) || !cpu_phys_bits(m, o, errp) || !hyperv_expand(m, o, errp)) {
        return false;
    }
    mirror(m);
    if (!m->prop[P_LEGACY_CACHE] && (m->row == NULL || m->row->caches == NULL)) {
        return error_set(errp, "CPU model '%s' doesn't support legacy-cache=off", m->name);
    }
    return true;
}

/* AMD's processors tell of threads in leaf 8000001eh, which TOPOEXT stands for (APM vol. 3, E.4.17). */
static void warn_threads(const KvmCpuModel *m, const CpuTopology *t)
{
    if (t->threads > 1 && strcmp(m->vendor, "AuthenticAMD") == 0 &&
        !feature_has(m->words, FW_80000001_ECX, 22)) {
        warn_report("This family of AMD CPU doesn't support hyperthreading(%u)", t->threads);
        fprintf(stderr, "Please configure -smp options properly or try enabling topoext feature.\n");
    }
}

bool kvm_cpuid_open(Machine *m, Error **errp)
{
    KvmVm *vm = &kvm_vm;
    KvmCpuModel *c = vm->model = g_new0(KvmCpuModel, 1);
    const char *text = m->cfg.cpu_model;

    vm->offer = g_new0(KvmOffer, 1);
    if (!offer_read(vm->offer, errp)) {
        return false;
    }
    if (text[0] == '\0') {
        return error_set(errp, "-cpu option cannot be empty");
    }
    if (!choose_model(c, vm->offer, text, errp)) {
        g_autofree char *name = g_strndup(text, strcspn(text, ","));
        return error_context(errp, "-cpu %s", name);
    }
    vm->cpuid = g_malloc0(sizeof(*vm->cpuid) + KVM_CPUID_MAX * sizeof(Entry));
    cpuid_make(vm->cpuid, c, vm->offer, &m->cfg.smp);
    warn_threads(c, &m->cfg.smp);
    return true;
}

void kvm_cpuid_close(void)
{
    if (kvm_vm.model) {
        cpu_clear(kvm_vm.model);
    }
    if (kvm_vm.offer) {
        offer_clear(kvm_vm.offer);
    }
    g_clear_pointer(&kvm_vm.model, g_free);
    g_clear_pointer(&kvm_vm.offer, g_free);
    g_clear_pointer(&kvm_vm.cpuid, g_free);
}

uint64_t kvm_cpu_signature(void)
{
    const Entry *e = kvm_vm.cpuid ? cpuid_find(kvm_vm.cpuid, 1, 0) : NULL;

    return e != NULL ? e->eax | (uint64_t)e->edx << 32 : 0;
}

bool kvm_cpuid_x2apic(void)
{
    const Entry *e = kvm_vm.cpuid ? cpuid_find(kvm_vm.cpuid, 1, 0) : NULL;

    return e != NULL && (e->ecx & BIT(21));
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
            e->ebx = (apic_id >> b.core & (BIT(b.die - b.core) - 1)) | (MAX(t->threads, 1) - 1) << 8;
            e->ecx = (apic_id >> b.die & 0xff) | (MAX(t->dies, 1) - 1) << 8;
            break;
        }
    }
}

bool kvm_cpuid_vcpu(KvmVcpu *v, Error **errp)
{
    KvmVm *vm = &kvm_vm;
    int64_t hz = vm->model->prop[P_TSC_FREQUENCY];

    set_ids(vm->cpuid, v->apic_id, &vm->machine->cfg.smp);
    if (ioctl(v->fd, KVM_SET_CPUID2, vm->cpuid) < 0) {
        return error_set_errno(errp, errno, "-cpu %s: KVM refuses the CPUID table", vm->model->name);
    }
    if (hz && ioctl(v->fd, KVM_SET_TSC_KHZ, (long)(hz / 1000)) < 0) {
        return error_set_errno(errp, errno, "-cpu tsc-frequency=%" PRId64 ": the host cannot scale its "
                               "time stamp counter", hz);
    }
    if (vm->model->prop[P_PV_ENFORCE]) {
        struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };

        if (ioctl(v->fd, KVM_ENABLE_CAP, &cap) < 0) {
            return error_set_errno(errp, errno, "-cpu kvm-pv-enforce-cpuid: KVM refuses it");
        }
    }
    return hyperv_vcpu_open(v, errp) && kvm_feature_msrs_put(v, errp);
}
