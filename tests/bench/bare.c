/* bare: the least a VMM can do, as the measure of others: one vCPU with the interrupt chips and timer
 * of a PC in the kernel, 128 MiB of RAM, a ROM, a KVM_RUN loop.
 *
 *   bare ROM          runs a 64 KiB ROM until it writes port 0xf4
 *
 * 1. Every read answers all ones; every write is ignored, but a byte to port 0x3f8 goes to standard
 *    output and one to port 0xf4 ends the program.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROM_SIZE = 64 << 10, RAM_SIZE = 128 << 20 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *guest_memory(int vm, unsigned slot, unsigned long at, unsigned long size)
{
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .slot = slot, .guest_phys_addr = at, .memory_size = size,
        .userspace_addr = (unsigned long)host,
    };
    if (host == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        die("guest memory");
    }
    return host;
}

/* One port access; true at the end. */
static int port(struct kvm_run *run)
{
    unsigned char *data = (unsigned char *)run + run->io.data_offset;
    if (run->io.direction == KVM_EXIT_IO_IN) {
        memset(data, 0xff, run->io.size * run->io.count);
    } else if (run->io.port == 0x3f8 && write(1, data, 1) != 1) {
        die("write");
    }
    return run->io.port == 0xf4;
}

int main(int argc, char **argv)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    int rom = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    if (vm < 0 || rom < 0) {
        die("usage: bare ROM; /dev/kvm or the ROM");
    }
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(vm, KVM_CREATE_PIT2, &pit) < 0) {
        die("interrupt chips");
    }
    char *low = guest_memory(vm, 0, 0, RAM_SIZE);
    char *top = guest_memory(vm, 1, 0xffff0000, ROM_SIZE);
    if (read(rom, top, ROM_SIZE) != ROM_SIZE) {
        die(argv[1]);
    }
    memcpy(low + 0xf0000, top, ROM_SIZE);

    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (vcpu < 0 || run == MAP_FAILED) {
        die("vCPU");
    }
    for (;;) {
        if (ioctl(vcpu, KVM_RUN, 0) < 0) {
            die("KVM_RUN");
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            if (port(run)) {
                return 0;
            }
            break;
        case KVM_EXIT_MMIO:
            memset(run->mmio.data, 0xff, sizeof run->mmio.data);
            break;
        case KVM_EXIT_HLT:
            pause();
            break;
        default:
            fprintf(stderr, "bare: exit reason %u\n", run->exit_reason);
            return 1;
        }
    }
}
