/* kvm-state-test.c: all state of vCPUs and in-kernel chips is read, saved, loaded, put back and
 * reset. */
#include "tests/unit/kvm-machine.h"

#define SKIP_WITHOUT_KVM(irqchip, cpus) \
    do { \
        if (!machine_up(irqchip, cpus)) { \
            skip(); \
        } \
    } while (0)
#define MSR_PAT 0x277
#define MSR_SYSENTER_CS 0x174
#define MSR_STAR 0xc0000081

PAYLOAD16(busy_code,
    "movl $0x11223344, %eax\n movl $0x55667788, %ebx\n movw $0x1234, %ax\n movw %ax, %fs\n"
    "movb $0x36, %al\n outb %al, $0x43\n movb $0, %al\n outb %al, $0x40\n movb $0x40, %al\n"
    "outb %al, $0x40\n"                                             /* PIT channel 0: 4000h */
    "movb $0x11, %al\n outb %al, $0x20\n movb $0x20, %al\n outb %al, $0x21\n"
    "movb $4, %al\n outb %al, $0x21\n movb $1, %al\n outb %al, $0x21\n"
    "movb $0xff, %al\n outb %al, $0x21\n"
    "movw $0x61f, %dx\n movb $1, %al\n outb %al, %dx\n"
    "1: incl %ecx\n jmp 1b\n");

static GByteArray *save(void)
{
    GByteArray *out = g_byte_array_new();

    state_save_tree(tm.m->root, out);
    return out;
}

static uint8_t *msr_record(KvmCpuDevice *d, uint32_t index)
{
    for (unsigned i = 0; i + 16 <= d->msrs->len; i += 16) {
        if (ld32(d->msrs->data + i) == index) {
            return d->msrs->data + i + 8;
        }
    }
    return NULL;
}

/* Writes values that no reset leaves behind into the fields a save has just filled. */
static void scramble(KvmCpuDevice *d)
{
    for (unsigned i = 0; i < 16; i++) {
        d->gpr[i] = UINT64_C(0x0101010101010101) * (i + 1);
    }
    d->rip = 0x1100;
    d->rflags = 0x2 | 0x1 | 0x40;
    d->cr2 = 0xabcdef000;
    d->db[0] = 0x1234;
    d->db[3] = 0x5678;
    st64(d->xsave->data + 512, ld64(d->xsave->data + 512) | 3);
    for (unsigned i = 0; i < 256; i++) {
        d->xsave->data[160 + i] = i * 7;                            /* XMM0..15 */
    }
    st64(msr_record(d, MSR_PAT), UINT64_C(0x0606060606060606));
    st64(msr_record(d, MSR_SYSENTER_CS), 0x33);
    st64(msr_record(d, MSR_STAR), UINT64_C(0x0023001000000000));
    st32(d->lapic + 0x80, 0x20);                                    /* TPR */
    st32(d->lapic + 0xf0, 0x1ff);
    d->dirty = true;
}

/* The lines of the two streams agree, but for the MSRs, among which the TSC runs on. */
static void assert_same_text(GByteArray *a, GByteArray *b)
{
    g_autofree char *ta = state_print(a->data, a->len, NULL);
    g_autofree char *tb = state_print(b->data, b->len, NULL);
    g_auto(GStrv) la = g_strsplit(ta, "\n", -1), lb = g_strsplit(tb, "\n", -1);
    unsigned compared = 0;

    assert_int_equal(g_strv_length(la), g_strv_length(lb));
    for (unsigned i = 0; la[i]; i++) {
        if (!strstr(la[i], "msrs")) {
            assert_string_equal(la[i], lb[i]);
            compared++;
        }
    }
    assert_true(compared > 60);
}

static void assert_same_msrs(GByteArray *a, GByteArray *b)
{
    assert_int_equal(a->len, b->len);
    for (unsigned i = 0; i < a->len; i += 16) {
        uint32_t index = ld32(a->data + i);

        assert_int_equal(index, ld32(b->data + i));
        if (index != 0x10) {
            if (ld64(a->data + i + 8) != ld64(b->data + i + 8)) {
                print_message("MSR 0x%x\n", index);
            }
            assert_int_equal(ld64(a->data + i + 8), ld64(b->data + i + 8));
        }
    }
}

static void test_save_load_twin(void **state)
{
    SKIP_WITHOUT_KVM(1, 2);
    LOAD(busy_code);
    run_to_done();
    quiesce();
    KvmCpuDevice *d = kvm_vm.vcpu[0]->dev;

    /* Scrambled state arrives in the kernel and comes back. */
    g_byte_array_unref(save());
    assert_int_equal(d->seg[3].selector, 0x1234);
    scramble(d);
    device_settle_tree(tm.m->root);
    assert_null(d->xsave);
    g_autoptr(GByteArray) first = save();
    g_autoptr(GByteArray) msrs = g_byte_array_ref(d->msrs);
    assert_int_equal(d->gpr[5], UINT64_C(0x0606060606060606));
    assert_int_equal(d->rip, 0x1100);
    assert_int_equal(d->db[3], 0x5678);
    assert_int_equal(d->xsave->data[160 + 100], (uint8_t)(100 * 7));
    assert_int_equal(ld64(msr_record(d, MSR_PAT)), UINT64_C(0x0606060606060606));
    assert_int_equal(ld64(msr_record(d, MSR_SYSENTER_CS)), 0x33);
    assert_int_equal(ld32(d->lapic + 0x80), 0x20);

    /* Reset: none of it is left. */
    machine_reset(RESET_POWER);
    g_byte_array_unref(save());         /* reads everything back */
    assert_int_equal(d->rip, 0xfff0);
    assert_int_equal(d->seg[0].base, 0xffff0000);
    assert_int_equal(d->gpr[5], 0);
    assert_int_equal(d->db[3], 0);
    assert_int_equal(d->cr0, 0x60000010);
    assert_int_equal(d->xsave->data[160 + 100], 0);
    assert_int_equal(ld64(msr_record(d, MSR_PAT)), UINT64_C(0x0007040600070406));
    assert_int_equal(ld64(msr_record(d, MSR_SYSENTER_CS)), 0);
    assert_int_equal(ld32(d->lapic + 0x80), 0);
    assert_int_equal(kvm_vm.vcpu[1]->dev->mp_state, KVM_MP_STATE_UNINITIALIZED);

    /* Load: all of it is back, and the guest goes on from there. */
    g_autoptr(Error) err = NULL;
    if (!state_load_tree(tm.m->root, first->data, first->len, &err)) {
        fail_msg("%s", error_text(err));
    }
    device_settle_tree(tm.m->root);
    g_autoptr(GByteArray) second = save();
    assert_same_text(first, second);
    assert_same_msrs(msrs, d->msrs);
    machine_down();
}

PAYLOAD16(count_code,
    "movw $0x61f, %dx\n movb $1, %al\n outb %al, %dx\n"
    "1: incl %ecx\n movl %ecx, 0x2000\n cmpl $0, 0x2004\n je 1b\n"
    "movb $1, %al\n outb %al, %dx\n 2: hlt\n jmp 2b\n");

/* Saved while it counts, loaded into a machine that never ran: it counts on. */
static void test_load_into_fresh_machine(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(count_code);
    run_to_done();
    quiesce();
    g_autoptr(GByteArray) stream = save();
    uint64_t count = kvm_vm.vcpu[0]->dev->gpr[2];
    uint8_t *ram = g_memdup2(tm.ram->host, RAM_SIZE);
    machine_down();

    assert_true(machine_up(1, 1));
    memcpy(tm.ram->host, ram, RAM_SIZE);
    g_free(ram);
    machine_reset(RESET_POWER);
    assert_true(state_load_tree(tm.m->root, stream->data, stream->len, NULL));
    device_settle_tree(tm.m->root);
    st32(tm.ram->host + 0x2004, 1);
    machine_resume();
    wait_done();
    assert_int_equal(tm.dev->logged, 1);
    assert_true(ld32(tm.ram->host + 0x2000) >= (uint32_t)count);
    machine_down();
}

/* With a processor that came while it ran: the state of both is loaded where both are there, and refused
 * where one is missing. */
static void test_plugged_vcpu(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(busy_code);
    run_to_done();
    assert_true(kvm_accel.vcpu_plug(tm.m->root, 2, NULL));
    quiesce();
    g_byte_array_unref(save());
    scramble(kvm_vm.vcpu[2]->dev);
    device_settle_tree(tm.m->root);
    g_autoptr(GByteArray) first = save();
    machine_down();

    assert_true(machine_up(1, 1));
    machine_reset(RESET_POWER);
    assert_false(state_load_tree(tm.m->root, first->data, first->len, NULL));
    assert_true(kvm_accel.vcpu_plug(tm.m->root, 2, NULL));
    machine_reset(RESET_POWER);
    assert_true(state_load_tree(tm.m->root, first->data, first->len, NULL));
    device_settle_tree(tm.m->root);
    g_autoptr(GByteArray) second = save();
    assert_same_text(first, second);
    assert_int_equal(kvm_vm.vcpu[2]->dev->gpr[5], UINT64_C(0x0606060606060606));
    machine_down();
}

/* Any cut or flipped byte is refused, or loads something that the kernel takes or refuses: no
 * crash. */
static void test_hostile_stream(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(count_code);
    run_to_done();
    quiesce();
    g_autoptr(GByteArray) stream = save();
    for (unsigned cut = 0; cut < stream->len; cut += 97) {
        assert_false(state_load_tree(tm.m->root, stream->data, cut, NULL) && cut > 0 &&
                     kvm_vm.vcpu[0]->dev->xsave == NULL);
    }
    for (unsigned i = 0; i < stream->len; i += 61) {
        stream->data[i] ^= 0xff;
        state_load_tree(tm.m->root, stream->data, stream->len, NULL);
        stream->data[i] ^= 0xff;
    }
    machine_reset(RESET_POWER);
    tm.done = false;
    machine_resume();
    wait_done();
    machine_down();
}

/* Nothing is asked of the kernel for a machine that never ran, whatever is reset. */
static void test_reset_before_first_run(void **state)
{
    SKIP_WITHOUT_KVM(1, 2);
    machine_reset(RESET_POWER);
    machine_reset(RESET_POWER);
    assert_false(kvm_vm.vcpu[0]->dev->dirty);
    g_byte_array_unref(save());
    assert_int_equal(kvm_vm.vcpu[0]->dev->rip, 0xfff0);
    assert_int_equal(kvm_vm.vcpu[0]->dev->mp_state, KVM_MP_STATE_RUNNABLE);
    assert_int_equal(kvm_vm.vcpu[1]->dev->mp_state, KVM_MP_STATE_UNINITIALIZED);
    machine_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_save_load_twin),
        cmocka_unit_test(test_load_into_fresh_machine),
        cmocka_unit_test(test_plugged_vcpu),
        cmocka_unit_test(test_hostile_stream),
        cmocka_unit_test(test_reset_before_first_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
