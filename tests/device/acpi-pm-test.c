/* acpi-pm-test.c: the ACPI power management registers, on a device made for the test. */
#include "hw/acpi/pm.h"
#include "tests/device/device-test.h"

#define BASE 0x600

typedef struct Owner {
    Device dev;
    AcpiPm pm;
} Owner;

static bool ich9, no_smm;
static Bench *b;
static Owner *o;

static bool owner_realize(Device *d, Error **errp)
{
    Owner *s = (Owner *)d;
    AcpiPmConfig cfg = { .ich9 = ich9, .gpe_port = 0xafe0, .gpe_len = ich9 ? 16 : 4,
                         .acpi_enable = 0xf1, .acpi_disable = 0xf0, .s4_val = 2, .no_smm = no_smm,
                         .own_reset_port = true };

    acpi_pm_init(&s->pm, d, &cfg);
    irq_connect(&s->pm.sci, d->machine->gsi, 9);
    acpi_pm_place_fixed(&s->pm, &d->machine->io_root);
    acpi_pm_place(&s->pm, &d->machine->io_root, BASE, true);
    return true;
}

static void owner_unrealize(Device *d)
{
    acpi_pm_free(&((Owner *)d)->pm);
}

static void owner_reset(Device *d, ResetKind kind)
{
    acpi_pm_reset(&((Owner *)d)->pm, kind);
}

static void owner_settle(Device *d)
{
    acpi_pm_settle(&((Owner *)d)->pm);
}

static const StateField owner_fields[] = { STATE_STRUCT(Owner, pm, &acpi_pm_state), { 0 } };
static const StateDesc owner_state = { .name = "pm-owner", .version = 1, .fields = owner_fields };
static const DeviceType owner_type = {
    .name = "pm-owner", .summary = "test", .slot = &board_slot, .size = sizeof(Owner),
    .flags = DEV_INTERNAL, .state = &owner_state, .realize = owner_realize,
    .unrealize = owner_unrealize, .reset = owner_reset, .settle = owner_settle,
};

static int setup(void **state)
{
    b = bench_new();
    o = (Owner *)bench_device(b, &owner_type, "pm", NULL);
    return 0;
}

static int setup_ich9(void **state)
{
    ich9 = true;
    return setup(state);
}

static int setup_no_smm(void **state)
{
    no_smm = true;
    return setup_ich9(state);
}

static int teardown(void **state)
{
    bench_free(b);
    ich9 = no_smm = false;
    return 0;
}

static void acpi_on(void)
{
    bench_out8(b, 0xb2, 0xf1);
}

static void locked(void (*fn)(AcpiPm *pm))
{
    domain_enter(o->dev.domain);
    fn(&o->pm);
    domain_leave(o->dev.domain);
}

static void test_timer(void **state)
{
    uint32_t t0 = bench_in32(b, BASE + 8);

    bench_step(b, NS_PER_SEC);
    assert_in_range(bench_in32(b, BASE + 8) - t0, 3579544, 3579546);
    acpi_on();
    bench_out16(b, BASE + 2, ACPI_PM1_TMR);
    assert_false(bench_irq(b, 9));
    bench_step(b, 1343 * NS_PER_MS);
    assert_false(bench_irq(b, 9));
    bench_step(b, NS_PER_MS);                      /* 2^23 ticks: 2.3435 s */
    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in16(b, BASE), ACPI_PM1_TMR);
    bench_out16(b, BASE, ACPI_PM1_TMR);
    assert_false(bench_irq(b, 9));
    assert_int_equal(bench_in32(b, BASE + 8) >> 24, 0);
    bench_step(b, 2344 * NS_PER_MS);
    assert_true(bench_irq(b, 9));
}

static void test_timer_polled(void **state)
{
    assert_int_equal(bench_in16(b, BASE), 0);
    bench_step(b, 3 * NS_PER_SEC);
    assert_int_equal(bench_in16(b, BASE), ACPI_PM1_TMR);
    assert_false(bench_irq(b, 9));
}

static void test_buttons(void **state)
{
    locked(acpi_pm_power_button);
    assert_int_equal(bench_in16(b, BASE), 0);      /* nobody asked for it */
    acpi_on();
    bench_out16(b, BASE + 2, ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN);
    locked(acpi_pm_power_button);
    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in16(b, BASE), ACPI_PM1_PWRBTN);
    bench_out8(b, BASE + 1, 1);                    /* by byte */
    assert_false(bench_irq(b, 9));
    locked(acpi_pm_sleep_button);
    assert_true(bench_irq(b, 9));
    bench_out8(b, 0xb2, 0xf0);                     /* ACPI off: no SCI */
    assert_false(bench_irq(b, 9));
    assert_int_equal(bench_in16(b, BASE + 4), 0);
}

static void test_sleep(void **state)
{
    acpi_on();
    bench_out16(b, BASE + 4, ACPI_PM1_SCI_EN | ACPI_PM1_SLP_EN);
    assert_int_equal(bench_requests(b, REQUEST_POWEROFF), 1);
    assert_int_equal(bench_in16(b, BASE + 4), ACPI_PM1_SCI_EN);    /* SLP_EN reads as zero */
    bench_out16(b, BASE + 4, 2 << 10 | ACPI_PM1_SLP_EN);
    assert_int_equal(bench_requests(b, REQUEST_SUSPEND_DISK), 1);
    bench_out16(b, BASE + 4, 7 << 10 | ACPI_PM1_SLP_EN);
    domain_enter(o->dev.domain);
    assert_false(acpi_pm_wake(&o->pm, 0));
    domain_leave(o->dev.domain);
    bench_out8(b, BASE + 5, 1 << 2 | ACPI_PM1_SLP_EN >> 8);        /* by its high byte */
    assert_int_equal(bench_requests(b, REQUEST_SUSPEND), 1);
    locked(acpi_pm_power_button);
    assert_int_equal(bench_requests(b, REQUEST_WAKE), 1);
    domain_enter(o->dev.domain);
    assert_true(acpi_pm_wake(&o->pm, ACPI_PM1_PWRBTN));
    assert_false(acpi_pm_wake(&o->pm, 0));
    domain_leave(o->dev.domain);
    bench_reset(b);                                /* waking resets the machine */
    assert_int_equal(bench_in16(b, BASE), ACPI_PM1_WAK | ACPI_PM1_PWRBTN);
    bench_out16(b, BASE, 0xffff);
    bench_reset(b);
    assert_int_equal(bench_in16(b, BASE), 0);
}

static void test_gpe_piix4(void **state)
{
    acpi_on();
    bench_out16(b, 0xafe2, 0x0002);
    domain_enter(o->dev.domain);
    acpi_pm_gpe(&o->pm, 1);
    acpi_pm_gpe(&o->pm, 3);
    acpi_pm_gpe(&o->pm, 200);
    domain_leave(o->dev.domain);
    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in8(b, 0xafe0), 0x0a);
    bench_out8(b, 0xafe0, 0x02);
    assert_false(bench_irq(b, 9));
    assert_int_equal(bench_in8(b, 0xafe0), 0x08);
    bench_out8(b, 0xafe2, 0x08);
    assert_true(bench_irq(b, 9));
}

static void test_ich9_layout(void **state)
{
    bench_out32(b, BASE + 0x28, 0xffffffff);
    bench_out32(b, BASE + 0x2c, 0x12345678);
    assert_int_equal(bench_in32(b, BASE + 0x28), 0xffffffff);
    assert_int_equal(bench_in8(b, BASE + 0x2d), 0x56);
    bench_out32(b, BASE + 0x30, 0x21);
    assert_int_equal(bench_in32(b, BASE + 0x30), 0x21);
    assert_int_equal(bench_in8(b, 0xafe0), 0xff);
    acpi_pm_place(&o->pm, &b->m->io_root, 0x400, true);
    assert_int_equal(bench_in32(b, 0x430), 0x21);
    assert_int_equal(bench_in16(b, BASE), 0xffff);
    acpi_pm_place(&o->pm, &b->m->io_root, 0x400, false);
    assert_int_equal(bench_in16(b, 0x400), 0xffff);
}

static void test_without_smm(void **state)
{
    assert_int_equal(bench_in16(b, BASE + 4), ACPI_PM1_SCI_EN);
    bench_out8(b, 0xb2, 0xf0);
    assert_int_equal(bench_in16(b, BASE + 4), ACPI_PM1_SCI_EN);
    assert_int_equal(bench_in32(b, BASE + 0x30) & 0x20, 0x20);
    bench_out32(b, BASE + 0x30, 0);
    assert_int_equal(bench_in32(b, BASE + 0x30), 0x20);
}

static void test_ports(void **state)
{
    bench_out8(b, 0xb3, 0x5a);
    assert_int_equal(bench_in8(b, 0xb3), 0x5a);
    assert_int_equal(bench_in8(b, 0xb2), 0);
    bench_out8(b, 0xcf9, 2);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);
    assert_int_equal(bench_in8(b, 0xcf9), 2);
    bench_out8(b, 0xcf9, 6);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
}

static void test_state(void **state)
{
    acpi_on();
    bench_out16(b, BASE + 2, ACPI_PM1_PWRBTN | ACPI_PM1_TMR);
    locked(acpi_pm_power_button);
    bench_step(b, NS_PER_SEC);
    bench_save_load(b, &o->dev);
    assert_true(bench_irq(b, 9));
    bench_out16(b, BASE, ACPI_PM1_PWRBTN);
    assert_false(bench_irq(b, 9));
    bench_step(b, 1344 * NS_PER_MS);
    assert_true(bench_irq(b, 9));                  /* the timer's turn comes when it would have */
}

RUN_TESTS(TEST(test_timer), TEST(test_timer_polled), TEST(test_buttons), TEST(test_sleep),
          TEST(test_gpe_piix4), WITH(test_ich9_layout, setup_ich9),
          WITH(test_without_smm, setup_no_smm), TEST(test_ports), TEST(test_state))
