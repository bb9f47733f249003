/* kernel.c: hostile kernel images: Linux, ELF with a PVH entry, multiboot, planned and put into RAM.
 *
 * The first byte chooses: bit 0 an initrd, bit 1 a command line; the image follows. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/ram.h"
#include "hw/board/boot.h"
#include "tests/fuzz/seeded.h"
#include "tests/unit/boot-images.h"
#include "util/thread.h"

#define RAM_SIZE (32 * MiB)

static const MachineType type = { .name = "test", .desc = "for tests", .max_cpus = 1 };
static Loop *loop;
static Machine *m;
static RamBlock *ram;
static Region region;

static void boot_state(const CpuBoot *b)
{
}

static const AccelOps fake = { .name = "fake", .boot_state = boot_state };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    accel_set(&fake);
    loop = loop_new("test", THREAD_LOOP, NULL);
    m = machine_new(&type, loop, NULL);
    ram = ram_new_anon("ram", RAM_SIZE, NULL);
    region_ram(&region, NULL, "ram", ram, 0, RAM_SIZE);
    map_put_one(&m->mem_root, &region, 0, 0);
    m->below_4g = m->cfg.ram_size = RAM_SIZE;
    return 0;
}

void fuzz_end(void)
{
    map_drop_one(&region);
    machine_free(m);
    ram_free(ram);
    loop_free(loop);
    accel_set(NULL);
}

static int file_of(const uint8_t *data, size_t n, char path[64])
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, n) != (ssize_t)n) {
        abort();
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char append[] = "console=ttyS0 quiet";
    static const E820Entry reserved[] = { { 0xfffc0000, 0x40000, E820_RESERVED } };
    char kernel[64], initrd[64];
    Error *e = NULL;

    if (size == 0) {
        return 0;
    }
    int fd = file_of(data + 1, size - 1, kernel);
    int fd2 = file_of(data, size, initrd);
    m->cfg.kernel = kernel;
    m->cfg.initrd = data[0] & 1 ? initrd : NULL;
    m->cfg.append = data[0] & 2 ? append : NULL;
    BootPlan *p = boot_plan(m, NULL, NULL, reserved, 1, &e);
    if (p != NULL) {
        boot_apply(p, m);
        boot_free(p);
    } else if (e == NULL) {
        abort();
    }
    error_free(e);
    close(fd);
    close(fd2);
    return 0;
}

GByteArray *fuzz_sample(unsigned i)
{
    static Image image;
    uint8_t how = i & 3;

    switch (i / 4) {
    case 0:
        make_linux(&image, 0x20f, true);
        break;
    case 1:
        make_linux(&image, 0x205, false);
        break;
    case 2:
        make_pvh(&image);
        break;
    case 3:
        make_aout(&image, 1 * MiB, 1 * MiB + 4096, 1 * MiB + 8192, 1 * MiB + 256);
        break;
    case 4:
        make_elf32(&image, pvh_segs, 1, 1 * MiB);
        put_multiboot(&image, 2048, 3);
        break;
    default:
        return NULL;
    }
    GByteArray *a = g_byte_array_append(g_byte_array_new(), &how, 1);
    return g_byte_array_append(a, image.b, (guint)image.n);
}
