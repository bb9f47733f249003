/* cpu.c: fuzzes -cpu's text, and what becomes of it on a made-up host.
 *
 * The first byte chooses the host (every feature, none, every other; Intel or AMD) and the topology; the rest
 * is the text.  Whatever is accepted is resolved, filtered and made into a CPUID table. */
#include <string.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/cpuid.h"
#include "accel/kvm/kvm-int.h"
#include "qapi/json.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define TEXT_MAX 4096

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    return 0;
}

void fuzz_end(void)
{
}

GByteArray *fuzz_sample(unsigned i)
{
    static const char *const texts[] = {
        "\0" "host,migratable=off,-avx2,+svm,phys-bits=44,tsc-freq=2.4G,pmu=on",
        "\1" "EPYC-Milan-v1,vendor=AuthenticAMD,topoext=on,l3-cache=off,model-id=a b,check=off",
        "\152" "Skylake-Server-v5,vmx=on,vmx_ept=off,level=0x20,xlevel=0x80000020,xlevel2=0xc0000004",
        "\3" "486,+avx512f,+xsave,+intel-pt,+sgx,full-cpuid-auto-level=off,hv-spinlocks=0xfff",
        "\4" "base,+amx-tile,host-phys-bits=on,host-phys-bits-limit=40,lbr-fmt=5,x-force-features=on",
    };

    if (i >= G_N_ELEMENTS(texts)) {
        return NULL;
    }
    /* The first byte may be a zero. */
    GByteArray *a = g_byte_array_new();
    return g_byte_array_append(a, (const guint8 *)texts[i], 1 + strlen(texts[i] + 1));
}

static void run(KvmCpuModel *m, KvmOffer *o, const CpuTopology *t)
{
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + KVM_CPUID_MAX * sizeof(c->entries[0]));
    g_autoptr(json_t) missing = json_array();

    cpu_expand(m, o, true);
    if (cpu_filter(m, o, true, NULL) && cpu_phys_bits(m, o, NULL) && hyperv_expand(m, o, NULL)) {
        cpuid_make(c, m, o, t);
        g_assert(c->nent > 0 && c->nent <= KVM_CPUID_MAX);
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        g_assert(m->prop[P_FORCE_FEATURES] || w == FW_PERF_CAP || !(m->words[w] & ~o->words[w]));
    }
    cpu_list_features(m->filtered, missing);
    g_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t hosts[] = { UINT64_MAX, 0, UINT64_C(0x5555555555555555),
                                      UINT64_C(0xaaaaaaaaaaaaaaaa) };
    static struct kvm_cpuid2 nothing;
    KvmOffer o = { .cpuid = &nothing, .phys_bits = 46 };
    KvmCpuModel m = { 0 };

    if (size == 0 || size > TEXT_MAX) {
        return 0;
    }
    CpuTopology t = { .cpus = 1, .max_cpus = 1, .sockets = 1, .dies = 1 + (data[0] >> 6),
                      .cores = 1 + (data[0] >> 3 & 7), .threads = 1 + (data[0] >> 2 & 1) };
    for (unsigned w = 0; w < FW_COUNT; w++) {
        o.words[w] = hosts[data[0] & 3];
    }
    g_strlcpy(o.vendor, data[0] & 4 ? "AuthenticAMD" : "GenuineIntel", sizeof(o.vendor));
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    if (cpu_parse(&m, text, &o, NULL)) {
        run(&m, &o, &t);
    }
    cpu_clear(&m);
    return 0;
}
