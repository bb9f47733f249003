/* kvm-cpu-test.c: -cpu text, feature names, topology, and the CPUID table that comes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "accel/kvm/features.h"
#include "accel/kvm/kvm-int.h"
#include "accel/kvm/kvm.h"
#include "accel/topology.h"
#include "util/bytes.h"
#include "util/thread.h"

static void assert_parse_fails(const char *text, const char *says)
{
    g_autoptr(Error) err = NULL;
    KvmCpuModel m;

    assert_false(cpu_model_parse(&m, text, &err));
    g_autofree char *all = g_strdup_printf("%s %s", error_text(err),
                                           error_advice(err) ? error_advice(err) : "");
    if (!strstr(all, says)) {
        fail_msg("'%s' does not say '%s'", all, says);
    }
    cpu_model_clear(&m);
}

static void test_parse(void **state)
{
    KvmCpuModel m;

    assert_true(cpu_model_parse(&m, NULL, NULL));
    assert_true(m.host && m.kvm && m.pmu);
    cpu_model_clear(&m);
    assert_true(cpu_model_parse(&m,
                                "max,+avx2,-x2apic,rdtscp=off,kvm=off,phys-bits=40,model-id=a b",
                                NULL));
    assert_true(m.host);
    assert_int_equal(m.on[FW_7_0_EBX], 1u << 5);
    assert_int_equal(m.off[FW_1_ECX], 1u << 21);
    assert_int_equal(m.off[FW_80000001_EDX], 1u << 27);
    assert_false(m.kvm);
    assert_int_equal(m.phys_bits, 40);
    assert_string_equal(m.model_id, "a b");
    cpu_model_clear(&m);
    assert_true(cpu_model_parse(&m, "qemu64,-sse3,+sse3,tsc_deadline=on,kvm_pv_eoi=off", NULL));
    assert_false(m.host);
    assert_int_equal(m.off[FW_1_ECX], 1);                   /* "-x" wins */
    assert_int_equal(m.on[FW_1_ECX], 1u << 24);
    assert_int_equal(m.off[FW_KVM_EAX], 1u << 6);
    cpu_model_clear(&m);
    assert_true(cpu_model_parse(&m, "host,-kvmclock", NULL));
    assert_int_equal(m.off[FW_KVM_EAX], 1 | 1u << 3);       /* both bits of that name */
    cpu_model_clear(&m);
}

static void test_parse_errors(void **state)
{
    assert_parse_fails("hots", "host");
    assert_parse_fails("host,+avx3", "did you mean 'avx");
    assert_parse_fails("host,+avx3", "unknown feature or property 'avx3'");
    assert_parse_fails("host,avx2=maybe", "avx2");
    assert_parse_fails("host,phys-bits=many", "phys-bits");
    assert_parse_fails("host,phys-bits=-1", "phys-bits");
    assert_parse_fails("host,vendor=short", "vendor");
    assert_parse_fails("host,kvm=perhaps", "kvm");
}

static void test_every_name_is_found(void **state)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *n = feature_words[w].names[b];
            FeatureWord word;
            unsigned bit;

            if (n && strcmp(n, "kvmclock") != 0) {
                assert_true(feature_find(n, &word, &bit));
                assert_int_equal(word, w);
                assert_int_equal(bit, b);
            }
        }
    }
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

static bool vm_up(const char *model, CpuTopology smp)
{
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("no usable /dev/kvm: skipped\n");
        return false;
    }
    thread_become_control();
    accel_set(&kvm_accel);
    Machine *m = machine_new(&test_type, NULL, NULL);
    g_strlcpy(model_text, model, sizeof(model_text));
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

    if (!vm_up("host,kvm=off,-xsave,check=off", smp)) {
        skip();
    }
    assert_true(vm_try(NULL));
    assert_null(leaf(0x40000000, 0));
    assert_null(leaf(0x40000001, 0));
    assert_null(leaf(0xd, 0));
    assert_int_equal(leaf(0x1f, 1)->eax, 2);
    assert_int_equal(leaf(0x1f, 2)->ecx, 0x502);
    assert_int_equal(leaf(0x1f, 2)->ebx, 8);
    assert_true(leaf(0, 0)->eax >= 0x1f);
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
    assert_non_null(strstr(error_text(err), "lacks requested features"));
    vm_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_every_name_is_found),
        cmocka_unit_test(test_topology),
        cmocka_unit_test(test_host_table),
        cmocka_unit_test(test_dies_and_no_kvm),
        cmocka_unit_test(test_baseline_and_enforce),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
