/* kvm-cpu-test.c: -cpu text, feature names, topology, and the CPUID table that comes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "accel/kvm/kvm.h"
#include "accel/topology.h"
#include "qapi/json.h"
#include "util/bytes.h"
#include "util/thread.h"

static void assert_parse_fails(const char *text, const char *says)
{
    g_autoptr(Error) err = NULL;
    KvmCpuModel m = { 0 };

    assert_false(cpu_parse(&m, text, NULL, &err));
    const char *advice = error_advice(err) ? error_advice(err) : "";
    g_autofree char *all = g_strdup_printf("%s %s", error_text(err), advice);
    if (!strstr(all, says)) {
        fail_msg("'%s' does not say '%s'", all, says);
    }
    cpu_clear(&m);
}

static void test_parse(void **state)
{
    KvmCpuModel m;

    assert_true(cpu_parse(&m, "host", NULL, NULL));
    assert_true(m.host && m.prop[P_KVM] && m.prop[P_PMU] && m.prop[P_MIGRATABLE]);
    cpu_clear(&m);
    assert_true(cpu_parse(&m, "max,+avx2,-x2apic,rdtscp=off,kvm=off,phys_bits=40,model-id=a b", NULL, NULL));
    assert_true(m.host);
    assert_int_equal(m.value[FW_7_0_EBX], 1u << 5);
    assert_int_equal(m.user[FW_1_ECX], 1u << 21);
    assert_int_equal(m.value[FW_1_ECX], 0);
    assert_int_equal(m.user[FW_80000001_EDX], 1u << 27);
    assert_false(m.prop[P_KVM]);
    assert_int_equal(m.prop[P_PHYS_BITS], 40);
    assert_string_equal(m.model_id, "a b");
    cpu_clear(&m);
    assert_true(cpu_parse(&m, "qemu64,-sse3,+sse3,tsc_deadline,kvm_pv_eoi=off,tsc-freq=2.5G", NULL, NULL));
    assert_false(m.host);
    assert_int_equal(m.user[FW_1_ECX], 1 | 1u << 24);
    assert_int_equal(m.value[FW_1_ECX], 1u << 24);          /* "-x" wins */
    assert_int_equal(m.user[FW_KVM_EAX], 1u << 6);
    assert_int_equal(m.prop[P_TSC_FREQUENCY], 2500000000);
    cpu_clear(&m);
    assert_true(cpu_parse(&m, "host,-kvmclock,,", NULL, NULL));
    assert_int_equal(m.user[FW_KVM_EAX], 1 | 1u << 3);      /* both bits of that name */
    cpu_clear(&m);
}

static void test_parse_errors(void **state)
{
    assert_parse_fails("", "unable to find CPU model ''");
    assert_parse_fails("hots", "unable to find CPU model 'hots' did you mean 'host'");
    assert_parse_fails("EPYC-v9", "unable to find CPU model 'EPYC-v9'");
    assert_parse_fails("host,+avx3", "did you mean 'avx");
    assert_parse_fails("host,+avx3", "Property 'host-x86_64-cpu.avx3' not found");
    assert_parse_fails("host,+", "Property 'host-x86_64-cpu.' not found");
    assert_parse_fails("host,avx2=maybe",
                       "can't apply global host-x86_64-cpu.avx2=maybe: "
                       "Parameter 'avx2' expects 'on' or 'off'");
    assert_parse_fails("host,phys-bits=many", "phys-bits=many: Parameter 'phys-bits' expects uint64");
    assert_parse_fails("host,phys-bits=-1", "Parameter 'phys-bits' expects uint32_t");
    assert_parse_fails("host,host-phys-bits-limit=300", "Parameter 'host-phys-bits-limit' expects uint8_t");
    assert_parse_fails("host,family=999",
                       "Property .family doesn't take value 999 (minimum: 0, maximum: 270)");
    assert_parse_fails("host,family=x", "Parameter 'family' expects int64");
    assert_parse_fails("host,vendor=short", "Property '.vendor' doesn't take value 'short'");
    assert_parse_fails("host,kvm=perhaps", "Parameter 'kvm' expects 'on' or 'off'");
    assert_parse_fails("host,unavailable-features=x",
                       "'host-x86_64-cpu.unavailable-features' is not writable");
    assert_parse_fails("qemu64,migratable=on", "Property 'qemu64-x86_64-cpu.migratable' not found");
    assert_parse_fails("qemu64,hv-no-nonarch-coresharing=x", "does not accept value 'x'");
    assert_parse_fails("qemu64,tsc-freq=3X", "bad numerical value 3X");
    assert_parse_fails("qemu64,apic-id=3", "'apic-id' is not set by -cpu");
}

static void test_every_name_is_found(void **state)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            uint64_t bits[FW_COUNT] = { 0 };

            if (feature_words[w].names[b]) {
                assert_true(feature_find(feature_words[w].names[b], bits));
                assert_true(bits[w] >> b & 1);
            }
        }
    }
    for (const FeatureAlias *a = feature_aliases; a->alias; a++) {
        uint64_t bits[FW_COUNT] = { 0 }, own[FW_COUNT] = { 0 };

        assert_true(feature_find(a->alias, bits) && feature_find(a->name, own));
        assert_memory_equal(bits, own, sizeof(bits));
    }
}

/* Every row is complete, and no name comes twice. */
static void test_models(void **state)
{
    g_autoptr(GArray) names = kvm_cpu_names();

    assert_int_equal(cpu_model_count, 75);
    for (unsigned i = 0; i < cpu_model_count; i++) {
        const CpuModel *m = &cpu_models[i];
        g_autofree char *name = g_strdup_printf("%s-v%u", m->name, m->version);

        assert_ptr_equal(cpu_model_find(name), m);
        assert_true(m->words[FW_1_EDX] & 1 && m->words[FW_1_ECX] >> 31 && m->level >= 1);
        assert_false(m->words[FW_1_ECX] >> 5 & 1 || m->words[FW_80000001_ECX] >> 2 & 1);
        for (unsigned w = 0; w < FW_COUNT; w++) {
            for (unsigned b = 0; b < 64; b++) {
                assert_true(!(m->words[w] >> b & 1) || feature_name(w, b));
            }
        }
    }
    for (unsigned i = 0; i < cpu_model_alias_count; i++) {
        assert_non_null(cpu_model_find(cpu_model_aliases[i].alias));
    }
    for (unsigned i = 1; i < names->len; i++) {
        assert_string_not_equal(g_array_index(names, KvmCpuName, i).name,
                                g_array_index(names, KvmCpuName, i - 1).name);
    }
    assert_ptr_equal(cpu_model_find("EPYC"), cpu_model_find("EPYC-v1"));
    assert_ptr_equal(cpu_model_find("EPYC-IBPB"), cpu_model_find("EPYC-v2"));
    assert_null(cpu_model_find("EPYC-v"));
    assert_null(cpu_model_find("host"));
}

/* --- resolving, against made-up hosts --- */

static KvmCpuModel model;
static KvmOffer offer;
static struct kvm_cpuid2 no_cpuid;

static void resolve(const char *text, uint64_t host)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        offer.words[w] = host;
    }
    offer.cpuid = &no_cpuid;
    offer.phys_bits = 46;
    g_strlcpy(offer.vendor, "GenuineIntel", sizeof(offer.vendor));
    assert_true(cpu_parse(&model, text, &offer, NULL));
    cpu_expand(&model, &offer, true);
}

static bool has(const char *feature)
{
    uint64_t bits[FW_COUNT] = { 0 };
    bool on = true;

    assert_true(feature_find(feature, bits));
    for (unsigned w = 0; w < FW_COUNT; w++) {
        on = on && (model.words[w] & bits[w]) == bits[w];
    }
    return on;
}

static void test_resolve(void **state)
{
    resolve("Skylake-Server-v5", UINT64_MAX);
    assert_true(cpu_filter(&model, &offer, true, NULL));
    assert_true(has("avx512f") && has("x2apic") && has("kvmclock") && !has("vmx") && !has("vmx-ept"));
    assert_int_equal(model.words[FW_XCR0_LO], 0x2e7);
    assert_int_equal(model.prop[P_LEVEL], 0xd);
    assert_string_equal(model.vendor, "GenuineIntel");
    cpu_clear(&model);

    resolve("Skylake-Server-v5,vmx=on,-vmx-vmfunc,vendor=AuthenticAMD", UINT64_MAX);
    assert_true(has("vmx-ept") && has("vmx-page-walk-4") && !has("vmx-eptp-switching"));
    assert_string_equal(model.vendor, "AuthenticAMD");
    cpu_clear(&model);

    resolve("486,+avx2,+svm,+npt", UINT64_MAX);
    assert_int_equal(model.prop[P_LEVEL], 7);
    assert_int_equal(model.prop[P_XLEVEL], 0x8000000a);
    cpu_clear(&model);

    resolve("host", UINT64_MAX);
    assert_false(has("topoext") || has("kvm-hint-dedicated") || has("invtsc"));
    assert_true(has("vmx-ept") && has("svm"));
    assert_int_equal(model.words[FW_1_EDX] >> 10 & 1, 0);   /* a bit without a name cannot migrate */
    cpu_clear(&model);

    resolve("host,migratable=off", UINT64_MAX);
    assert_true(has("invtsc"));
    assert_int_equal(model.words[FW_1_EDX] >> 10 & 1, 1);
    cpu_clear(&model);
}

static void test_filter(void **state)
{
    g_autoptr(Error) err = NULL;

    resolve("qemu64,+avx2", 0xfffffffe);
    assert_true(cpu_filter(&model, &offer, true, NULL));
    assert_false(has("pni") || has("fpu"));
    assert_int_equal(model.filtered[FW_1_ECX], 1);
    assert_true(has("avx2"));
    cpu_clear(&model);

    resolve("qemu64,enforce,check=off", 0);
    assert_false(cpu_filter(&model, &offer, false, &err));
    assert_string_equal(error_text(err), "Host doesn't support requested features");
    cpu_clear(&model);

    resolve("qemu64,x-force-features=on", 0);
    assert_true(cpu_filter(&model, &offer, true, NULL));
    assert_true(has("fpu"));
    cpu_clear(&model);
}

static void test_phys_bits(void **state)
{
    static const struct { const char *text; unsigned bits; const char *error; } rows[] = {
        { "qemu64", 40, NULL }, { "qemu64,host-phys-bits=on", 46, NULL }, { "host", 46, NULL },
        { "host,host-phys-bits-limit=42", 42, NULL }, { "qemu64,phys-bits=44", 44, NULL },
        { "kvm32", 36, NULL }, { "qemu32", 32, NULL }, { "486", 32, NULL },
        { "qemu64,phys-bits=60", 0, "phys-bits should be between 32 and 52  (but is 60)" },
        { "486,phys-bits=40", 0, "phys-bits is not user-configurable in 32 bit" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        g_autoptr(Error) err = NULL;

        resolve(rows[i].text, UINT64_MAX);
        bool ok = cpu_phys_bits(&model, &offer, &err);
        cpu_clear(&model);
        if (rows[i].error) {
            assert_false(ok);
            assert_string_equal(error_text(err), rows[i].error);
        } else {
            assert_true(ok);
            assert_int_equal(model.phys_bits, rows[i].bits);
        }
    }
}

static void test_hyperv_needs(void **state)
{
    static const char *const rows[][2] = {
        { "hv-synic",
          "Hyper-V synthetic interrupt controller (hv-synic) requires Hyper-V VP_INDEX MSR (hv-vpindex)" },
        { "hv-stimer,hv-vpindex,hv-synic",
          "Hyper-V synthetic timers (hv-stimer) requires Hyper-V clocksources (hv-time)" },
        { "hv-relaxed", "Hyper-V relaxed timing (hv-relaxed) is not supported by kernel" },
        { "hv-apicv", "Hyper-V AVIC/APICv support (hv-avic/hv-apicv) is not supported by kernel" },
    };
    struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 e[2]; } hv = {
        .head.nent = 2,
        .e = { { .function = 0x40000003, .eax = 0x246 }, { .function = 0x40000004 } },
    };

    offer.hv = &hv.head;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        g_autofree char *text = g_strdup_printf("qemu64,%s", rows[i][0]);
        g_autoptr(Error) err = NULL;

        resolve(text, UINT64_MAX);
        assert_false(hyperv_expand(&model, &offer, &err));
        assert_string_equal(error_text(err), rows[i][1]);
        cpu_clear(&model);
    }
    resolve("qemu64,hv-passthrough,hv-time=off", UINT64_MAX);
    assert_true(hyperv_expand(&model, &offer, NULL));
    assert_true(model.prop[P_HV_SYNIC] && model.prop[P_HV_VPINDEX] && !model.prop[P_HV_TIME] &&
                !model.prop[P_HV_RELAXED]);
    cpu_clear(&model);
    resolve("qemu64,hv-vendor-id=abc", UINT64_MAX);         /* of no effect alone */
    assert_true(hyperv_expand(&model, &offer, NULL));
    assert_false(hyperv_enabled(&model));
    cpu_clear(&model);
    offer.hv = NULL;
}

static void test_crash_info(void **state)
{
    assert_null(kvm_accel.crash_info());
    kvm_vm.crash[0] = 0xd1;
    kvm_vm.crash[4] = UINT64_MAX;
    kvm_vm.crashed = true;
    g_autoptr(json_t) info = kvm_accel.crash_info();
    kvm_vm.crashed = false;
    GString *text = g_string_new(NULL);
    json_write_tree(text, info);
    assert_string_equal(text->str, "{\"type\": \"hyper-v\", \"arg1\": 209, \"arg2\": 0, \"arg3\": 0, "
                        "\"arg4\": 0, \"arg5\": 18446744073709551615}");
    g_string_free(text, TRUE);
}

static void test_topology(void **state)
{
    CpuTopology t = { .cpus = 24, .sockets = 2, .dies = 2, .cores = 3, .threads = 2 };

    assert_int_equal(topology_apic_id(&t, 0), 0);
    assert_int_equal(topology_apic_id(&t, 1), 1);
    assert_int_equal(topology_apic_id(&t, 2), 2);
    assert_int_equal(topology_apic_id(&t, 5), 5);
    assert_int_equal(topology_apic_id(&t, 6), 8);           /* second die: three bits below */
    assert_int_equal(topology_apic_id(&t, 12), 16);         /* second socket */
    assert_int_equal(topology_apic_id(&t, 23), 29);
    assert_int_equal(topology_per_package(&t), 12);
    t = (CpuTopology){ .cpus = 4, .sockets = 4, .dies = 1, .cores = 1, .threads = 1 };
    assert_int_equal(topology_apic_id(&t, 3), 3);
}

/* --- the table, from what this host's KVM offers --- */

static const MachineType test_type = { .name = "test", .desc = "for tests", .max_cpus = 64 };
static char model_text[128];

static bool vm_up(const char *text, CpuTopology smp)
{
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("no usable /dev/kvm: skipped\n");
        return false;
    }
    thread_become_control();
    accel_set(&kvm_accel);
    Machine *m = machine_new(&test_type, NULL, NULL);
    g_strlcpy(model_text, text, sizeof(model_text));
    m->cfg.cpu_model = model_text;
    m->cfg.kernel_irqchip = 1;
    m->cfg.smp = smp;
    return true;
}

static bool vm_try(Error **errp)
{
    return kvm_accel.vm_open(machine(), errp) && kvm_accel.vcpus_create(machine(), errp);
}

static void vm_down(void)
{
    Machine *m = machine();

    kvm_accel.vm_close(m);
    machine_free(m);
    accel_set(NULL);
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < kvm_vm.cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &kvm_vm.cpuid->entries[i];

        if (e->function == function &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index)) {
            return e;
        }
    }
    return NULL;
}

static void test_host_table(void **state)
{
    CpuTopology smp = { .cpus = 8, .max_cpus = 8, .sockets = 1, .dies = 1, .cores = 4,
    .threads = 2 };

    if (!vm_up("host,-sse4.2,vmware-cpuid-freq=on,+kvm-hint-dedicated", smp)) {
        skip();
    }
    assert_true(vm_try(NULL));
    assert_true(leaf(1, 0)->ecx >> 31 & 1);
    assert_false(leaf(1, 0)->ecx >> 20 & 1);
    assert_true(leaf(1, 0)->edx >> 28 & 1);
    assert_int_equal(leaf(1, 0)->ebx >> 16 & 0xff, 8);
    assert_int_equal(leaf(0xb, 0)->eax, 1);
    assert_int_equal(leaf(0xb, 0)->ebx, 2);
    assert_int_equal(leaf(0xb, 0)->ecx, 0x100);
    assert_int_equal(leaf(0xb, 1)->eax, 3);
    assert_int_equal(leaf(0xb, 1)->ebx, 8);
    assert_int_equal(leaf(0xb, 1)->ecx, 0x201);
    assert_null(leaf(0x1f, 0));
    assert_true(leaf(0, 0)->eax >= 0xb);
    assert_int_equal(leaf(0x40000000, 0)->ebx, 0x4b4d564b);
    assert_true(leaf(0x40000001, 0)->eax & 1);
    assert_int_equal(leaf(0x40000001, 0)->edx, 1);
    assert_false(leaf(0x80000007, 0) && leaf(0x80000007, 0)->edx >> 8 & 1);
    /* What KVM took is what we gave. */
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + KVM_CPUID_MAX * sizeof(c->entries[0]));
    c->nent = KVM_CPUID_MAX;
    assert_int_equal(ioctl(kvm_vm.vcpu[5]->fd, KVM_GET_CPUID2, c), 0);
    for (unsigned i = 0; i < c->nent; i++) {
        if (c->entries[i].function == 1) {
            assert_int_equal(c->entries[i].ebx >> 24, 5);
        }
    }
    g_free(c);
    vm_down();
}

static void test_dies_and_no_kvm(void **state)
{
    CpuTopology smp = { .cpus = 1, .max_cpus = 8, .sockets = 1, .dies = 2, .cores = 2,
    .threads = 2 };

    if (!vm_up("host,vendor=GenuineIntel,kvm=off,-xsave,check=off", smp)) {
        skip();
    }
    assert_true(vm_try(NULL));
    assert_null(leaf(0x40000000, 0));
    assert_null(leaf(0x40000001, 0));
    assert_null(leaf(0xd, 0));
    assert_int_equal(leaf(0x1f, 1)->eax, 2);
    assert_int_equal(leaf(0x1f, 2)->ecx, 0x502);
    assert_int_equal(leaf(0x1f, 2)->ebx, 8);
    vm_down();
}

static void test_baseline_and_enforce(void **state)
{
    CpuTopology smp = { .cpus = 1, .max_cpus = 1, .sockets = 1, .dies = 1, .cores = 1,
    .threads = 1 };
    g_autoptr(Error) err = NULL;

    if (!vm_up("kvm64", smp)) {
        skip();
    }
    assert_true(vm_try(NULL));
    assert_int_equal(leaf(1, 0)->eax, 0xf61);
    assert_int_equal(leaf(1, 0)->ecx & ~(1u << 21 | 1), 0x80002000);
    assert_memory_equal(&leaf(0x80000002, 0)->eax, "Comm", 4);
    assert_true(leaf(0, 0)->eax <= 0xd);
    assert_int_equal(leaf(1, 0)->edx >> 28 & 1, 0);
    vm_down();

    assert_true(vm_up("host,+ia64,check=off,enforce=on", smp));
    assert_false(vm_try(&err));
    assert_non_null(strstr(error_text(err), "Host doesn't support requested features"));
    vm_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_every_name_is_found),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_phys_bits),
        cmocka_unit_test(test_hyperv_needs),
        cmocka_unit_test(test_crash_info),
        cmocka_unit_test(test_topology),
        cmocka_unit_test(test_host_table),
        cmocka_unit_test(test_dies_and_no_kvm),
        cmocka_unit_test(test_baseline_and_enforce),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
