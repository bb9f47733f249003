/* kvm-run-test.c: payloads on a tiny machine: exits, stopping, interrupts, doorbells, dirty log. */
#include "tests/unit/kvm-machine.h"

#define SKIP_WITHOUT_KVM(irqchip, cpus) \
    do { \
        if (!machine_up(irqchip, cpus)) { \
            skip(); \
        } \
    } while (0)

static void expect(unsigned i, bool mmio, bool write, unsigned off, unsigned size, uint64_t val)
{
    const Access *a = &tm.dev->log[i];

    assert_true(i < tm.dev->logged);
    assert_int_equal(a->mmio, mmio);
    assert_int_equal(a->write, write);
    assert_int_equal(a->off, off);
    assert_int_equal(a->size, size);
    if (write) {
        assert_int_equal(a->val, val);
    }
}

/* --- ports --- */

PAYLOAD16(pio_code,
    "movw $0x600, %dx\n"
    "movb $0x11, %al\n outb %al, %dx\n"
    "movw $0x2233, %ax\n outw %ax, %dx\n"
    "movl $0x44556677, %eax\n outl %eax, %dx\n"
    "movw $0x604, %dx\n"
    "inb %dx, %al\n movb %al, 0x2000\n"
    "inw %dx, %ax\n movw %ax, 0x2002\n"
    "inl %dx, %eax\n movl %eax, 0x2004\n"
    DONE16);

static void test_pio(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(pio_code);
    tm.dev->answer = 0x70;
    run_to_done();
    expect(0, false, true, 0, 1, 0x11);
    expect(1, false, true, 0, 2, 0x2233);
    expect(2, false, true, 0, 4, 0x44556677);
    expect(3, false, false, 4, 1, 0);
    expect(4, false, false, 4, 2, 0);
    expect(5, false, false, 4, 4, 0);
    assert_int_equal(tm.ram->host[0x2000], 0x70);
    assert_int_equal(ld16(tm.ram->host + 0x2002), 0x71);
    assert_int_equal(ld32(tm.ram->host + 0x2004), 0x72);
    machine_down();
}

PAYLOAD16(string_code,
    "cld\n"
    "movw $0x600, %dx\n movw $0x2000, %si\n movw $100, %cx\n rep outsb\n"
    "movw $0x608, %dx\n movw $0x3000, %di\n movw $50, %cx\n rep insw\n"
    DONE16);

static void test_string_pio(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(string_code);
    for (unsigned i = 0; i < 100; i++) {
        tm.ram->host[0x2000 + i] = i + 1;
    }
    tm.dev->answer = 0x4000;
    run_to_done();
    for (unsigned i = 0; i < 100; i++) {
        expect(i, false, true, 0, 1, i + 1);
    }
    for (unsigned i = 0; i < 50; i++) {
        expect(100 + i, false, false, 8, 2, 0);
        assert_int_equal(ld16(tm.ram->host + 0x3000 + 2 * i), 0x4000 + i);
    }
    machine_down();
}

PAYLOAD16(hole_code,
    "movw $0x700, %dx\n inb %dx, %al\n movb %al, 0x2000\n inl %dx, %eax\n movl %eax, 0x2004\n"
    "outb %al, %dx\n"
    "movw $0xc000, %ax\n movw %ax, %ds\n movl 0, %eax\n movl %eax, 4\n"
    "xorw %bx, %bx\n movw %bx, %ds\n movl %eax, 0x2008\n"
    DONE16);

static void test_hole_reads_ones(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(hole_code);
    run_to_done();
    assert_int_equal(tm.ram->host[0x2000], 0xff);
    assert_int_equal(ld32(tm.ram->host + 0x2004), 0xffffffff);
    assert_int_equal(ld32(tm.ram->host + 0x2008), 0xffffffff);
    assert_int_equal(tm.dev->logged, 1);
    machine_down();
}

/* --- memory --- */

PAYLOAD16(mmio_code,
    "movw $0xd000, %ax\n movw %ax, %es\n"
    "movb $0x5a, %es:0x10\n"
    "movw $0x1234, %es:0x12\n"
    "movl $0x89abcdef, %es:0x14\n"
    "movl %es:0x20, %eax\n movl %eax, 0x2000\n"
    "movb %es:0x21, %al\n movb %al, 0x2004\n"
    DONE16);

static void test_mmio(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(mmio_code);
    tm.dev->answer = 0xcafe00;
    run_to_done();
    expect(0, true, true, 0x10, 1, 0x5a);
    expect(1, true, true, 0x12, 2, 0x1234);
    expect(2, true, true, 0x14, 4, 0x89abcdef);
    expect(3, true, false, 0x20, 4, 0);
    expect(4, true, false, 0x21, 1, 0);
    assert_int_equal(ld32(tm.ram->host + 0x2000), 0xcafe00);
    assert_int_equal(tm.ram->host[0x2004], 0x01);
    machine_down();
}

PAYLOAD16(rom_code,
    "movw $0xf000, %ax\n movw %ax, %es\n"
    "movw $0x1234, %es:0\n"
    "movw %es:0, %ax\n movw %ax, 0x2000\n"
    DONE16);

static void test_readonly_slot(void **state)
{
    Region shadow;

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(rom_code);
    st16(tm.rom->host, 0xbeef);
    region_rom(&shadow, NULL, "shadow", tm.rom, 0, 4096);
    map_put_one(&tm.m->mem_root, &shadow, 0xf0000, 0);
    run_to_done();
    assert_int_equal(ld16(tm.ram->host + 0x2000), 0xbeef);
    assert_int_equal(ld16(tm.rom->host), 0xbeef);
    quiesce();
    map_drop_one(&shadow);
    machine_down();
}

PAYLOAD16(dirty_code,
    "movw $0x2000, %ax\n movw %ax, %es\n movb $1, %es:0x10\n"       /* page 0x20 */
    "movw $0x3000, %ax\n movw %ax, %es\n movb $1, %es:0x1010\n"     /* page 0x31 */
    DONE16);

static void take_dirty(const FlatRam *r, void *arg)
{
    if (r->ram == tm.ram) {
        assert_true(r->log_dirty);
        assert_int_equal(kvm_accel.dirty_take(r->slot, r->at, r->size, arg), 0);
    }
}

static void test_dirty_log(void **state)
{
    unsigned long bits[4] = { 0 };

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(dirty_code);
    map_begin();
    map_log_dirty(&tm.ram_region, true);
    map_commit();
    run_to_done();
    quiesce();
    space_each_ram(tm.m->mem, take_dirty, bits);
    assert_true(bits[0x20 / 64] >> 0x20 % 64 & 1);
    assert_true(bits[0x31 / 64] >> 0x31 % 64 & 1);
    assert_false(bits[0x40 / 64] >> 0x40 % 64 & 1);
    machine_down();
}

PAYLOAD16(coalesced_code,
    "movw $0xd000, %ax\n movw %ax, %es\n"
    "movw $0, %cx\n"
    "1: movw %cx, %bx\n addw %bx, %bx\n movw %cx, %es:(%bx)\n incw %cx\n cmpw $300, %cx\n jb 1b\n"
    DONE16);

/* More than the ring holds; all arrive, in order, before the port write that follows. */
static void test_coalesced(void **state)
{
    use_coalesced = true;
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(coalesced_code);
    run_to_done();
    use_coalesced = false;
    assert_int_equal(tm.dev->logged, 301);
    for (unsigned i = 0; i < 300; i++) {
        expect(i, true, true, 2 * i, 2, i);
    }
    expect(300, false, true, 0x1f, 1, 1);
    machine_down();
}

/* --- doorbells --- */

PAYLOAD16(bell_code,
    "movw $0x602, %dx\n movw $7, %ax\n outw %ax, %dx\n movw $8, %ax\n outw %ax, %dx\n"
    "movw $0xd000, %ax\n movw %ax, %es\n movw $3, %es:0x40\n"
    DONE16);

static void test_ioeventfd(void **state)
{
    Notifier matched, any;
    uint64_t seven = 7;

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(bell_code);
    assert_true(notifier_open(&matched, NULL));
    assert_true(notifier_open(&any, NULL));
    map_begin();
    region_doorbell(&tm.dev->pio, 2, 2, &seven, &matched);
    region_doorbell(&tm.dev->mmio, 0x40, 2, NULL, &any);
    map_commit();
    run_to_done();
    assert_true(notifier_take(&matched));
    assert_false(notifier_take(&matched));
    assert_true(notifier_take(&any));
    assert_int_equal(tm.dev->logged, 2);
    expect(0, false, true, 2, 2, 8);
    quiesce();
    map_begin();
    region_doorbell_drop(&tm.dev->pio, 2, &matched);
    region_doorbell_drop(&tm.dev->mmio, 0x40, &any);
    map_commit();
    machine_down();
    notifier_close(&matched);
    notifier_close(&any);
}

/* --- interrupts --- */

static void wait_logged(unsigned n)
{
    while (__atomic_load_n(&tm.dev->logged, __ATOMIC_ACQUIRE) < n) {
        loop_control_iterate(true);
    }
}

/* Vector 2 (NMI) at 0:1080h; everything else is set up by the test. */
PAYLOAD16(nmi_code,
    "movw $0x1080, 8\n movw $0, 10\n movw $0x8000, %sp\n"
    "movw $0x600, %dx\n movb $1, %al\n outb %al, %dx\n"
    "cli\n 1: hlt\n jmp 1b\n"
    ".org nmi_code + 0x80\n"
    "movw $0x600, %dx\n movb $2, %al\n outb %al, %dx\n"
    DONE16);

static void test_halt_and_nmi(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(nmi_code);
    start();
    wait_logged(1);
    kvm_accel.nmi(0);
    wait_done();
    expect(0, false, true, 0, 1, 1);
    expect(1, false, true, 0, 1, 2);
    machine_down();
}

/* Sets up the PICs (vectors 20h, 28h), lets IRQ 5 through, and counts its interrupts by port
 * writes. */
PAYLOAD16(irq_code,
    "movw $0x1080, 0x94\n movw $0, 0x96\n movw $0x8000, %sp\n"      /* vector 25h */
    "movb $0x11, %al\n outb %al, $0x20\n movb $0x20, %al\n outb %al, $0x21\n"
    "movb $4, %al\n outb %al, $0x21\n movb $1, %al\n outb %al, $0x21\n"
    "movb $0xdf, %al\n outb %al, $0x21\n"
    "movw $0x600, %dx\n movb $1, %al\n outb %al, %dx\n"
    "sti\n 1: hlt\n jmp 1b\n"
    ".org irq_code + 0x80\n"
    "movb $0x20, %al\n outb %al, $0x20\n"
    "movw $0x61f, %dx\n movb $5, %al\n outb %al, %dx\n iretw\n");

static void test_irq_line_and_irqfd(void **state)
{
    IrqSink *gsi;
    IrqLine line = { 0 };
    Notifier raise, resample;

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(irq_code);
    gsi = kvm_accel.gsi_sink(tm.m);
    assert_int_equal(gsi->pins, 24);
    irq_connect(&line, gsi, 5);
    start();
    wait_logged(1);
    irq_pulse(&line);
    wait_logged(2);
    irq_pulse(&line);
    wait_logged(3);

    assert_true(notifier_open(&raise, NULL));
    assert_true(kvm_accel.irqfd_set(5, &raise, NULL, true));
    notifier_signal(&raise);
    wait_logged(4);
    assert_true(kvm_accel.irqfd_set(5, &raise, NULL, false));

    assert_true(notifier_open(&resample, NULL));
    assert_true(kvm_accel.irqfd_set(5, &raise, &resample, true));
    notifier_signal(&raise);
    wait_logged(5);
    struct pollfd acked = { .fd = resample.fd, .events = POLLIN };
    assert_int_equal(poll(&acked, 1, 10000), 1);
    assert_true(notifier_take(&resample));
    assert_true(kvm_accel.irqfd_set(5, &raise, &resample, false));
    notifier_close(&raise);
    notifier_close(&resample);
    machine_down();
}

PAYLOAD16(extint_code,
    "movw $0x1080, 0x94\n movw $0, 0x96\n movw $0x8000, %sp\n"
    "movw $0x600, %dx\n movb $1, %al\n outb %al, %dx\n"
    "sti\n 1: hlt\n jmp 1b\n"
    ".org extint_code + 0x80\n"
    "movw $0x61f, %dx\n movb $5, %al\n outb %al, %dx\n iretw\n");

static unsigned acks;

static int ack_25(void *arg)
{
    kvm_accel.extint(false);
    acks++;
    return 0x25;
}

static void test_split_extint(void **state)
{
    static const SoftIrqchip soft = { .pic_ack = ack_25 };

    SKIP_WITHOUT_KVM(2, 1);
    LOAD(extint_code);
    acks = 0;
    assert_null(kvm_accel.gsi_sink(tm.m));
    kvm_accel.soft_irqchip(&soft);
    start();
    wait_logged(1);
    for (unsigned i = 0; i < 20; i++) {
        kvm_accel.extint(true);
        wait_logged(2 + i);
    }
    machine_down();
    assert_int_equal(acks, 20);
}

/* --- boot entries, messages, second processor --- */

/* Flat 32-bit: local APIC on, interrupt gate 40h, then wait for the message. */
PAYLOAD32(msi_code,
    "movl $0x1ff, 0xfee000f0\n"
    "movl $0x8000, %esp\n"
    "movl $0x00101080, 0x3200\n movl $0x00008e00, 0x3204\n"
    "movw $0x7ff, 0x2ff0\n movl $0x3000, 0x2ff2\n lidtl 0x2ff0\n"
    "movl %ebx, 0x2000\n movl %eax, 0x2004\n movl %esi, 0x2008\n"
    "movw $0x600, %dx\n movb $1, %al\n outb %al, %dx\n"
    "sti\n 1: hlt\n jmp 1b\n"
    ".org msi_code + 0x80\n"
    "movl $0, 0xfee000b0\n"
    "movw $0x61f, %dx\n movb $5, %al\n outb %al, %dx\n"
    /* iret, which a software KVM may lack */
    "popl %ecx\n addl $4, %esp\n popfl\n jmp *%ecx\n");

static void put_gdt(uint64_t at)
{
    st64(tm.ram->host + at, 0);
    st64(tm.ram->host + at + 8, 0);
    st64(tm.ram->host + at + 16, UINT64_C(0x00cf9b000000ffff));
    st64(tm.ram->host + at + 24, UINT64_C(0x00cf93000000ffff));
}

static const CpuBoot flat = {
    .mode = CPU_BOOT_FLAT32, .rip = CODE_AT, .rax = 0x2badb002, .rbx = 0x9500, .rsi = 0x77,
    .gdt_base = 0x500, .gdt_limit = 31,
};

static void test_flat_boot_and_msi(void **state)
{
    MsiMsg msg = { .addr = 0xfee00000, .data = 0x40 };
    Notifier n;
    int route = -1;

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(msi_code);
    put_gdt(0x500);
    kvm_accel.boot_state(&flat);
    start();
    wait_logged(1);
    assert_int_equal(ld32(tm.ram->host + 0x2000), 0x9500);
    assert_int_equal(ld32(tm.ram->host + 0x2004), 0x2badb002);
    assert_int_equal(ld32(tm.ram->host + 0x2008), 0x77);
    msi_send(&msg);
    wait_logged(2);
    assert_true(notifier_open(&n, NULL));
    assert_true(msi_attach(&route, &msg, &n, NULL));
    assert_true(route >= 24);
    notifier_signal(&n);
    wait_logged(3);
    msi_detach(&route, &n);
    notifier_close(&n);
    machine_down();
}

PAYLOAD32(busy_code,
    "movl $0x11223344, %ecx\n movl $0x8765, %esp\n"
    "movw $0x600, %dx\n movb $1, %al\n outb %al, %dx\n"
    "1: jmp 1b\n");

/* Registers are looked at while the vCPU spins, while it is parked, and never stop it. */
static void test_registers_meanwhile(void **state)
{
    uint8_t page[1024];
    X86Regs r;

    SKIP_WITHOUT_KVM(1, 2);
    LOAD(busy_code);
    put_gdt(0x500);
    kvm_accel.boot_state(&flat);
    machine_reset(RESET_POWER);
    assert_true(kvm_accel.vcpu_regs(0, &r));
    assert_int_equal(r.rip, CODE_AT);
    assert_false(r.halted);
    assert_true(kvm_accel.vcpu_regs(1, &r));
    assert_true(r.halted);
    machine_resume();
    wait_logged(1);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(kvm_accel.vcpu_regs(0, &r));
        assert_int_equal(r.gpr[X86_RCX], 0x11223344);
        assert_int_equal(r.gpr[X86_RSP], 0x8765);
        assert_int_equal(r.rip, CODE_AT + (busy_code_end - busy_code) - 2);
    }
    assert_int_equal(x86_mode(&r), X86_PROTECTED32);
    assert_int_equal(r.seg[X86_CS].selector, 0x10);
    assert_int_equal(r.seg[X86_CS].limit, 0xffffffff);
    assert_int_equal(r.seg[X86_CS].flags & 0xc09a00, 0xc09a00);
    assert_int_equal(r.gdt_base, 0x500);
    assert_true(r.cr0 & X86_CR0_PE);
    assert_int_equal(r.fcw, 0x37f);
    quiesce();
    assert_true(kvm_accel.vcpu_regs(0, &r));
    assert_int_equal(r.gpr[X86_RCX], 0x11223344);
    assert_true(kvm_accel.vcpu_lapic(1, page));
    assert_int_equal(ld32(page + 0x20) >> 24, 1);          /* its id */
    assert_false(kvm_accel.vcpu_regs(2, &r));
    assert_false(kvm_accel.vcpu_lapic(2, page));
    machine_down();
}

PAYLOAD64(long_code,
    "movabsq $0x1122334455667788, %rax\n movq %rax, 0x2000\n movq %rsi, 0x2008\n"
    "movq %rsp, 0x2010\n"
    "movl $0x61f, %edx\n movb $1, %al\n outb %al, %dx\n 1: hlt\n jmp 1b\n");

static void test_long_boot(void **state)
{
    static const CpuBoot wide = {
        .mode = CPU_BOOT_LONG64, .rip = CODE_AT, .rsp = 0x8000, .rsi = 0x123456789abcdef0,
        .cr3 = 0x4000,
        .gdt_base = 0x500, .gdt_limit = 31,
    };

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(long_code);
    put_gdt(0x500);
    st64(tm.ram->host + 0x510, UINT64_C(0x00af9b000000ffff));
    st64(tm.ram->host + 0x4000, 0x5003);                    /* PML4, PDPT, one 2 MiB page */
    st64(tm.ram->host + 0x5000, 0x6003);
    st64(tm.ram->host + 0x6000, 0x83);
    kvm_accel.boot_state(&wide);
    run_to_done();
    assert_int_equal(ld64(tm.ram->host + 0x2000), 0x1122334455667788);
    assert_int_equal(ld64(tm.ram->host + 0x2008), 0x123456789abcdef0);
    assert_int_equal(ld64(tm.ram->host + 0x2010), 0x8000);
    machine_down();
}

/* INIT and start-up to everyone else, vector 2. */
PAYLOAD32(sipi_code,
    "movl $0x1ff, 0xfee000f0\n"
    "movl $0x000c4500, 0xfee00300\n"
    "movl $0x000c4602, 0xfee00300\n"
    "1: hlt\n jmp 1b\n");
PAYLOAD16(ap_code,
    "xorw %ax, %ax\n movw %ax, %ds\n"
    "movw $1, %ax\n lock xaddw %ax, 0x7000\n incw %ax\n movw $0x600, %dx\n outw %ax, %dx\n"
    "1: cli\n hlt\n jmp 1b\n");

static void test_second_processors(void **state)
{
    SKIP_WITHOUT_KVM(1, 3);
    LOAD(sipi_code);
    load_at(0x2000, ap_code, ap_code_end);
    put_gdt(0x500);
    kvm_accel.boot_state(&flat);
    start();
    wait_logged(2);
    assert_int_equal(tm.dev->log[0].val + tm.dev->log[1].val, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kvm_accel.vcpu_apic_id(i), i);
        assert_true(kvm_accel.vcpu_thread_id(i) > 0);
    }

    /* Reset: the others wait for their start-up again. */
    quiesce();
    __atomic_store_n(&tm.dev->logged, 0, __ATOMIC_RELEASE);
    start();
    wait_logged(2);
    machine_down();
}

/* Once told by a byte at 7100h: INIT and start-up to APIC id 2, vector 2. */
PAYLOAD32(late_sipi_code,
    "movl $0x1ff, 0xfee000f0\n"
    "movw $0x61f, %dx\n movb $1, %al\n outb %al, %dx\n"
    "1: cmpb $0, 0x7100\n je 1b\n movb $0, 0x7100\n"
    "movl $0x02000000, 0xfee00310\n movl $0x00004500, 0xfee00300\n"
    "movl $0x02000000, 0xfee00310\n movl $0x00004602, 0xfee00300\n"
    "jmp 1b\n");

/* A processor that comes while the others run, goes, and comes again. */
static void test_plugged_processor(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(late_sipi_code);
    load_at(0x2000, ap_code, ap_code_end);
    put_gdt(0x500);
    kvm_accel.boot_state(&flat);
    run_to_done();
    for (unsigned i = 1; i <= 3; i++) {
        __atomic_store_n(&tm.dev->logged, 0, __ATOMIC_RELEASE);
        assert_true(kvm_accel.vcpu_plug(tm.m->root, 2, NULL));
        kvm_accel.vcpus_run();
        assert_int_equal(kvm_accel.vcpu_count(), 3);
        assert_int_equal(kvm_accel.vcpu_thread_id(1), -1);
        assert_true(kvm_accel.vcpu_thread_id(2) > 0);
        __atomic_store_n(tm.ram->host + 0x7100, 1, __ATOMIC_SEQ_CST);
        wait_logged(1);
        assert_int_equal(tm.dev->log[0].val, i);
        if (i == 2) {
            quiesce();
            machine_resume();
        }
        kvm_accel.vcpu_unplug(2);
        assert_int_equal(kvm_accel.vcpu_thread_id(2), -1);
        device_discard(device_find(tm.m->root, "cpu2"));
    }
    machine_down();
}

/* The HPET's legacy replacement takes interrupt 0 from the kernel's PIT. */
static void test_pit_replaced(void **state)
{
    struct kvm_pit_state2 s = { 0 };

    SKIP_WITHOUT_KVM(1, 1);
    for (unsigned on = 2; on-- > 0;) {
        kvm_accel.pit_replaced(on);
        assert_int_equal(ioctl(kvm_vm.fd, KVM_GET_PIT2, &s), 0);
        assert_int_equal(s.flags & KVM_PIT_FLAGS_HPET_LEGACY, on ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    }
    machine_down();
}

/* --- stopping --- */

PAYLOAD32(fault_code,
    "movw $0x600, %dx\n movb $0x42, %al\n outb %al, %dx\n"
    "movl $0, 0x2000\n movl $0, 0x2004\n lidtl 0x2000\n ud2\n");

static void test_triple_fault_and_reset(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(fault_code);
    put_gdt(0x500);
    kvm_accel.boot_state(&flat);
    start();
    for (unsigned i = 1; i <= 3; i++) {
        wait_for(&tm.requests[REQUEST_RESET]);
        assert_int_equal(tm.dev->logged, i);
        quiesce();
        tm.requests[REQUEST_RESET] = 0;
        start();
    }
    wait_for(&tm.requests[REQUEST_RESET]);
    machine_down();
}

PAYLOAD16(wild_code,
    "movw $0x600, %dx\n movb $0x42, %al\n outb %al, %dx\n"
    "ljmp $0xd000, $0\n");

/* Running where there are registers: no hypervisor can, and the report says where it was. */
static void test_internal_error_report(void **state)
{
    char text[8192] = { 0 };
    int saved, file;

    SKIP_WITHOUT_KVM(1, 1);
    LOAD(wild_code);
    fflush(stderr);
    saved = dup(2);
    file = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(file >= 0);
    dup2(file, 2);
    start();
    while (!tm.requests[REQUEST_INTERNAL_ERROR] && !tm.requests[REQUEST_RESET]) {
        loop_control_iterate(true);
    }
    dup2(saved, 2);
    close(saved);
    assert_true(pread(file, text, sizeof(text) - 1, 0) >= 0);
    close(file);
    if (tm.requests[REQUEST_INTERNAL_ERROR]) {
        assert_non_null(strstr(text, "vCPU 0 stopped: KVM exit"));
        assert_non_null(strstr(text, "RIP="));
        assert_non_null(strstr(text, "CS =d000"));
        assert_non_null(strstr(text, "Code="));
    }
    quiesce();
    LOAD(pio_code);
    run_to_done();
    machine_down();
}

PAYLOAD16(spin_code,
    "1: incl 0x2000\n movw $0x600, %dx\n outb %al, %dx\n cmpl $0, 0x2008\n je 1b\n"
    DONE16);

static void test_park_and_resume(void **state)
{
    SKIP_WITHOUT_KVM(1, 1);
    LOAD(spin_code);
    start();
    for (unsigned i = 0; i < 10000; i++) {
        quiesce();
        if (i % 100 == 0) {
            uint32_t before = *(volatile uint32_t *)(tm.ram->host + 0x2000);

            g_thread_yield();
            assert_int_equal(*(volatile uint32_t *)(tm.ram->host + 0x2000), before);
        }
        machine_resume();
    }
    quiesce();
    assert_true(ld32(tm.ram->host + 0x2000) > 0);
    st32(tm.ram->host + 0x2008, 1);
    machine_resume();
    wait_done();
    machine_down();
}

/* --- advice --- */

static void test_missing_device_gives_advice(void **state)
{
    g_autoptr(Error) err = NULL;

    thread_become_control();
    Machine *m = machine_new(&test_type, NULL, NULL);
    assert_non_null(m);
    m->cfg.kernel_irqchip = 1;
    fault_arm("kvm-open", 1);
    assert_false(kvm_accel.vm_open(m, &err));
    assert_true(fault_disarm());
    assert_non_null(strstr(error_text(err), "/dev/kvm"));
    assert_non_null(error_advice(err));
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pio),
        cmocka_unit_test(test_string_pio),
        cmocka_unit_test(test_hole_reads_ones),
        cmocka_unit_test(test_mmio),
        cmocka_unit_test(test_readonly_slot),
        cmocka_unit_test(test_dirty_log),
        cmocka_unit_test(test_coalesced),
        cmocka_unit_test(test_ioeventfd),
        cmocka_unit_test(test_halt_and_nmi),
        cmocka_unit_test(test_irq_line_and_irqfd),
        cmocka_unit_test(test_split_extint),
        cmocka_unit_test(test_flat_boot_and_msi),
        cmocka_unit_test(test_registers_meanwhile),
        cmocka_unit_test(test_long_boot),
        cmocka_unit_test(test_second_processors),
        cmocka_unit_test(test_plugged_processor),
        cmocka_unit_test(test_pit_replaced),
        cmocka_unit_test(test_triple_fault_and_reset),
        cmocka_unit_test(test_internal_error_report),
        cmocka_unit_test(test_park_and_resume),
        cmocka_unit_test(test_missing_device_gives_advice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
