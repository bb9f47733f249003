/* payload.c: a 32-bit multiboot kernel to be debugged: the first processor prints 'S' on the serial line
 * and counts in work(); the second, once started, prints 'T' and counts in work2(). */
#define LAPIC ((volatile unsigned *)0xfee00000)

volatile unsigned counter, counter2, limit = 0xffffffff;
unsigned table[4] = { 11, 22, 33, 44 };
double third = 1.0 / 3;

extern char trampoline[], trampoline_end[];
void kernel(void);
void kernel2(void);

static unsigned add(volatile unsigned *to, unsigned what)
{
    unsigned sum = *to + what;

    *to = sum;
    return sum;
}

__attribute__((noinline)) unsigned work(unsigned step)
{
    unsigned now = add(&counter, step);

    return now;
}

__attribute__((noinline)) unsigned work2(unsigned step)
{
    return add(&counter2, step);
}

static void print(char c)
{
    __asm__ volatile("outb %0, %1" : : "a"(c), "d"((short)0x3f8));
}

void kernel2(void)
{
    print('T');
    for (;;) {
        work2(2);
    }
}

void kernel(void)
{
    char *low = (char *)0x8000;

    for (char *p = trampoline; p < trampoline_end; p++) {
        *low++ = *p;
    }
    print('S');
    LAPIC[0xf0 / 4] = 0x1ff;
    LAPIC[0x300 / 4] = 0xc4500;         /* INIT, then STARTUP at 0x8000, to all others */
    LAPIC[0x300 / 4] = 0xc4608;
    while (counter < limit) {
        work(1);
    }
    __asm__ volatile("cli; hlt");
}
