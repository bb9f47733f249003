/* session-test.c: a debugger's session without a debugger and without KVM. */
#include "tests/device/device-test.h"
#include "tests/debug/fake.h"
#include "debug/gdb-packet.h"
#include "util/bytes.h"

static int setup(void **state)
{
    fake_new();
    gdb_open(fake.gdb);
    bench_run(fake.b);
    return 0;
}

static int teardown(void **state)
{
    fake_free();
    return 0;
}

static void send_bytes(const void *data, size_t n)
{
    for (const uint8_t *p = data; n > 0;) {
        size_t part = MIN(n, gdb_space(fake.gdb));

        assert_true(part > 0);
        gdb_bytes(fake.gdb, p, part);
        bench_run(fake.b);
        p += part;
        n -= part;
    }
}

/* Sends a packet and returns the answer's data, without the acknowledgement. */
static const char *ask_bytes(const void *data, size_t n)
{
    g_autoptr(GByteArray) packet = g_byte_array_new();

    g_string_truncate(fake.sent, 0);
    gdb_packet_write(packet, data, n);
    send_bytes(packet->data, packet->len);
    if (fake.sent->len > 0 && fake.sent->str[0] == '+') {
        g_string_erase(fake.sent, 0, 1);
    }
    if (fake.sent->len < 4) {
        return "";
    }
    assert_int_equal(fake.sent->str[0], '$');
    g_string_truncate(fake.sent, fake.sent->len - 3);
    g_string_erase(fake.sent, 0, 1);
    return fake.sent->str;
}

static const char *ask(const char *text)
{
    return ask_bytes(text, strlen(text));
}

#define SAYS(text, answer) assert_string_equal(ask(text), answer)

static void test_framing(void **state)
{
    GdbReader *r = g_new0(GdbReader, 1);
    const char *good = "+++$a}\x03}]b#c1";
    GdbInput last = GDB_MORE;

    gdb_reader_reset(r);
    for (const char *p = good; *p; p++) {
        assert_int_equal(last, GDB_MORE);
        last = gdb_reader_put(r, *p);
    }
    assert_int_equal(last, GDB_BAD);           /* the sum is of the escaped bytes: c0 */
    for (const char *p = "$a}\x03}]b#"; *p; p++) {
        assert_int_equal(gdb_reader_put(r, *p), GDB_MORE);
    }
    assert_int_equal(gdb_reader_put(r, '9'), GDB_MORE);
    unsigned sum = ('a' + '}' + 3 + '}' + ']' + 'b') & 255;
    g_autofree char *text = g_strdup_printf("$a}\x03}]b#%02x", sum);
    for (const char *p = text; *p; p++) {      /* '$' gives the half one up */
        last = gdb_reader_put(r, *p);
    }
    assert_int_equal(last, GDB_PACKET);
    assert_int_equal(r->len, 4);
    assert_memory_equal(r->data, "a#}b", 5);
    assert_int_equal(gdb_reader_put(r, 3), GDB_INTERRUPT);
    assert_int_equal(gdb_reader_put(r, '-'), GDB_RESEND);
    g_free(r);
}

static void test_numbers(void **state)
{
    const char *p = "ffffffffffffffff,";
    uint64_t v;

    assert_true(gdb_number(&p, &v) && v == UINT64_MAX && *p == ',');
    p = "10000000000000000";
    assert_false(gdb_number(&p, &v));
    p = "xyz";
    assert_false(gdb_number(&p, &v));
}

static void test_acknowledgements(void **state)
{
    send_bytes("$?#3f", 5);
    assert_string_equal(fake.sent->str, "+$T05thread:01;#07");
    g_string_truncate(fake.sent, 0);
    send_bytes("-", 1);
    assert_string_equal(fake.sent->str, "$T05thread:01;#07");
    g_string_truncate(fake.sent, 0);
    send_bytes("$?#40", 5);
    assert_string_equal(fake.sent->str, "-");
    SAYS("QStartNoAckMode", "OK");
    g_string_truncate(fake.sent, 0);
    send_bytes("$?#40$?#3f-", 11);
    assert_string_equal(fake.sent->str, "$T05thread:01;#07");
}

static void test_registers(void **state)
{
    X86Regs *r = &fake.regs[0];

    r->gpr[X86_RCX] = 0x11223344;
    r->rip = 0x1234;
    SAYS("p1", "44332211");
    SAYS("p8", "34120000");
    SAYS("P8=78563412", "OK");
    assert_int_equal(r->rip, 0x12345678);
    r->ftw = 0x81;
    r->fsw = 7 << 11;                          /* top is 7: st0 is register 7, st1 register 0 */
    r->st[0][9] = 0x3f;
    r->st[0][8] = 0xff;
    r->st[0][7] = 0x80;
    SAYS("p1a", "fd3f0000");                   /* ftag: register 7 valid, 0 is zero, the rest empty */
    SAYS("P1a=ffff0000", "OK");
    assert_int_equal(r->ftw, 0);
    SAYS("p10", "0000000000000080ff3f");
    SAYS("Hg2", "OK");
    SAYS("p8", "00000000");
    SAYS("p63", "E14");
    assert_int_equal(strlen(ask("g")) / 2, 8 * 4 + 2 * 4 + 6 * 4 + 80 + 8 * 4 + 8 * 16 + 4 + 4 * 4);
}

static void test_wide_registers(void **state)
{
    fake.regs[0].cr0 = 0;
    fake.regs[0].kernel_gs_base = 0xffff888000000000;
    assert_non_null(strstr(ask("qXfer:features:read:target.xml:0,400"), "i386:x86-64"));
    fake.regs[0].cr0 = X86_CR0_PE;             /* the description stands */
    fake.regs[0].gpr[X86_RBX] = 0x1122334455667788;
    SAYS("p1", "8877665544332211");
    SAYS("p3b", "000000008088ffff");
    SAYS("P3b=0100000000000000", "OK");
    assert_int_equal(fake.regs[0].kernel_gs_base, 1);
}

/* A page table that maps 0x400000 to 0x3000, and 0x401000 nowhere. */
static void paging_on(void)
{
    bench_write32(fake.b, 0x10000 + 4, 0x11007);
    bench_write32(fake.b, 0x11000, 0x3007);
    fake.regs[0].cr0 |= X86_CR0_PG;
    fake.regs[0].cr3 = 0x10000;
}

static void test_memory(void **state)
{
    SAYS("M3000,3:0a0b0c", "OK");
    paging_on();
    SAYS("m400000,4", "0a0b0c00");
    SAYS("m400ffe,8", "0000");
    SAYS("m401000,1", "E14");
    SAYS("m3000,1", "E14");
    SAYS("M401000,1:00", "E14");
    assert_string_equal(ask_bytes("X400000,3:$#}", 13), "OK");
    assert_memory_equal(bench_ram(fake.b, 0x3000, 3), "$#}", 3);
    SAYS("Qqemu.PhyMemMode:1", "OK");
    SAYS("m3000,3", "24237d");
    assert_int_equal(strlen(ask("m3000,ffffffff")), 2 * 8192);
    SAYS("mfffffffffffffff0,20", "E14");
    SAYS("mffffffffffffffff,1", "E14");        /* the last byte there could be */
    SAYS("Mffffffffffffffff,2:0000", "E14");
}

static void go(const char *how)
{
    SAYS(how, "");
    assert_true(fake.running);
}

static void hit(unsigned cpu, bool int3, uint64_t pc, uint64_t dr6)
{
    fake.stop[cpu] = (CpuStop){ int3, pc, dr6 };
    fake.has_stop[cpu] = true;
    g_string_truncate(fake.sent, 0);
    assert_true(gdb_wants_stop(fake.gdb, cpu));
    host_stop();
    bench_run(fake.b);
}

static void test_breakpoints(void **state)
{
    uint8_t *code = bench_ram(fake.b, 0x5000, 16);

    memset(code, 0x90, 16);
    SAYS("Z1,100,1", "OK");
    SAYS("Z2,200,8", "OK");
    SAYS("Z4,300,2", "OK");
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *text = g_strdup_printf("Z0,%x,1", 0x5000 + i);
        SAYS(text, "OK");
    }
    SAYS("Z0,5000,1", "OK");                   /* the same again */
    assert_int_equal(code[1], 0x90);
    go("c");
    const CpuDebug *d = &fake.debug[1];
    assert_true(d->on && !d->step && !d->hold);
    /* exec at 0, write of 8 at 1, access of 2 at 2, exec at 3 (SDM vol. 3, 17.2.4) */
    assert_int_equal(d->dr7 & 0xffff0000, 0x07900000);
    assert_int_equal(d->dr7 & 0xff, 0xaa);
    assert_int_equal(d->db[2], 0x300);
    assert_int_equal(d->int3_count, 2);
    assert_memory_equal(code, "\x90\xcc\xcc\x90", 4);
    code[2] = 0x55;                            /* the guest writes new code there */
    hit(1, true, 0x5001, 0);
    assert_string_equal(fake.sent->str, "$T05thread:02;#08");
    assert_memory_equal(code, "\x90\x90\x55\x90", 4);
    assert_false(fake.debug[1].on);
    go("c");
    hit(0, false, 0x1000, 2);
    assert_non_null(strstr(fake.sent->str, "T05thread:01;watch:200;"));
    go("c");
    hit(0, false, 0x1000, 4);
    assert_non_null(strstr(fake.sent->str, "awatch:300;"));
    assert_non_null(strstr(ask("qSupported:swbreak+;hwbreak+"), ";swbreak+;hwbreak+"));
    SAYS("z0,5002,1", "OK");
    go("c");
    hit(0, true, 0x5001, 0);
    assert_non_null(strstr(fake.sent->str, "swbreak:;"));
    SAYS("z0,5002,1", "E22");
}

static void test_breakpoint_limits(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *text = g_strdup_printf("Z1,%x,1", i);
        SAYS(text, "OK");
    }
    SAYS("Z1,10,1", "E28");
    SAYS("Z2,10,4", "E28");
    for (unsigned i = 4; i < 512; i++) {
        g_autofree char *text = g_strdup_printf("Z0,%x,1", 0x1000 + i);
        SAYS(text, "OK");
    }
    SAYS("Z0,5000,1", "E28");
    SAYS("Z0,ffff0000,1", "E14");
    SAYS("Z2,1001,2", "E22");
    SAYS("Z2,1000,3", "E22");
    SAYS("Z3,1000,4", "");
}

static void test_steps(void **state)
{
    go("vCont;s:2;c");
    assert_true(fake.debug[1].step && fake.debug[1].block_irq && !fake.debug[0].step && !fake.debug[0].hold);
    hit(1, false, 0, 1 << 14);
    assert_non_null(strstr(fake.sent->str, "T05thread:02;"));
    go("vCont;s:1");
    assert_true(fake.debug[0].step && fake.debug[1].hold);
    hit(0, false, 0, 1 << 14);
    SAYS("Qqemu.sstep=1", "OK");
    SAYS("Hc2", "OK");
    go("s");
    assert_true(fake.debug[1].step && !fake.debug[1].block_irq && fake.debug[0].hold);
    hit(1, false, 0, 1 << 14);
    SAYS("Qqemu.sstep=0", "OK");
    go("s");
    assert_false(fake.debug[1].step);
    g_string_truncate(fake.sent, 0);
    send_bytes("\x03", 1);
    assert_non_null(strstr(fake.sent->str, "T02"));
    SAYS("Hc0", "OK");
    go("c1234");
    assert_int_equal(fake.regs[1].rip, 0x1234);        /* the thread that stopped last */
    assert_false(fake.debug[0].hold || fake.debug[1].hold);
    fake.no_irq_block = true;
    send_bytes("\x03", 1);
    SAYS("qqemu.sstepbits", "ENABLE=1");
    SAYS("Qqemu.sstep=2", "E22");
}

static void test_threads(void **state)
{
    SAYS("qfThreadInfo", "m01");
    SAYS("qsThreadInfo", "m02");
    SAYS("qsThreadInfo", "l");
    assert_non_null(strstr(ask("qSupported:multiprocess+"), "multiprocess+"));
    SAYS("qfThreadInfo", "mp01.01");
    SAYS("qC", "QCp01.01");
    SAYS("Hgp1.2", "OK");
    SAYS("qC", "QCp01.02");
    SAYS("Hgp1.-1", "OK");
    SAYS("T2", "OK");
    SAYS("T3", "E22");
    SAYS("Hgp3.1", "E22");
    SAYS("vCont;c:p1.9", "E22");
    SAYS("vCont;x", "");
    SAYS("vCont;", "");
    assert_false(fake.running);
}

static void test_refused_start(void **state)
{
    fake.refuses = true;
    assert_non_null(strstr(ask("c"), "O6e6f74206e6f770a"));    /* "not now" on the console */
    assert_non_null(strstr(fake.sent->str, "T02"));
    SAYS("m0,1", "00");
}

static void test_leaving(void **state)
{
    uint8_t *code = bench_ram(fake.b, 0x5000, 8);

    for (unsigned i = 0; i < 6; i++) {
        g_autofree char *text = g_strdup_printf("Z0,%x,1", 0x5000 + i);
        SAYS(text, "OK");
    }
    go("c");
    assert_int_equal(code[5], 0xcc);
    gdb_close(fake.gdb);
    assert_false(gdb_wants_stop(fake.gdb, 0));
    gdb_open(fake.gdb);                        /* the next one is quick */
    bench_run(fake.b);
    assert_int_equal(code[5], 0);
    SAYS("z0,5005,1", "E22");
    SAYS("Z0,5000,1", "OK");
    SAYS("D", "OK");
    assert_true(fake.running && !fake.debug[0].on);
    send_bytes("$?#3f", 5);                    /* nobody listens any more */
}

static void test_others_start(void **state)
{
    SAYS("Z1,100,1", "OK");
    go("vCont;s:1");
    host_stop();
    bench_run(fake.b);
    host_cont(NULL);
    assert_true(fake.debug[0].on && !fake.debug[0].step && !fake.debug[1].hold);
    g_string_truncate(fake.sent, 0);
    hit(0, false, 0x100, 1);
    assert_int_equal(fake.sent->len, 0);       /* no reply that nobody asked for */
    SAYS("?", "T05thread:01;");
}

static void test_slow_client(void **state)
{
    fake.room = 10;
    gdb_bytes(fake.gdb, (const uint8_t *)"$g#67", 5);
    assert_int_equal(gdb_space(fake.gdb), 0);
    fake.room = SIZE_MAX;
    gdb_room(fake.gdb);
    assert_int_equal(gdb_space(fake.gdb), 4096);
    g_autofree char *big = g_strnfill(20000, 'a');
    SAYS(big, "E22");
}

/* Who asks for much and reads nothing waits for answers: each is made when the one before it has gone. */
static void test_greedy_client(void **state)
{
    static const char ask_much[] = "$m0,1000#8a";
    const unsigned packets = 4096 / strlen(ask_much), answer = 2 * 4096 + 4;
    g_autoptr(GString) asked = g_string_new(NULL);

    SAYS("QStartNoAckMode", "OK");
    for (unsigned i = 0; i < packets; i++) {
        g_string_append(asked, ask_much);
    }
    g_string_truncate(fake.sent, 0);
    fake.room = 100;
    gdb_bytes(fake.gdb, (const uint8_t *)asked->str, asked->len);
    assert_int_equal(gdb_space(fake.gdb), 0);
    memset(bench_ram(fake.b, 0, 1), 0xee, 1);
    for (unsigned i = 0; i < packets && gdb_space(fake.gdb) == 0; i++) {
        fake.room = answer;
        gdb_room(fake.gdb);
    }
    assert_int_equal(gdb_space(fake.gdb), 4096);
    assert_int_equal(fake.sent->len, packets * answer);
    assert_memory_equal(fake.sent->str, "$00", 3);
    for (unsigned i = 1; i < packets; i++) {
        assert_memory_equal(fake.sent->str + i * answer, "$ee", 3);
    }
}

static void test_monitor(void **state)
{
    SAYS("qRcmd,6869", "O736169642068690a#c9$OK");
    SAYS("qRcmd,6e6f6e65", "");
    SAYS("qRcmd,6", "E22");
    SAYS("qRcmd,00", "E22");
    SAYS("R00", "");
    assert_int_equal(fake.resets, 1);
    SAYS("vKill;1", "OK");
    assert_int_equal(fake.quits, 1);
    g_string_truncate(fake.sent, 0);
    gdb_exited(fake.gdb, 3);
    assert_string_equal(fake.sent->str, "$W03#ba");
}

RUN_TESTS(TEST(test_framing), TEST(test_numbers), TEST(test_acknowledgements), TEST(test_registers),
          TEST(test_wide_registers), TEST(test_memory), TEST(test_breakpoints), TEST(test_breakpoint_limits),
          TEST(test_steps), TEST(test_threads), TEST(test_refused_start), TEST(test_leaving),
          TEST(test_others_start), TEST(test_slow_client), TEST(test_greedy_client), TEST(test_monitor))
