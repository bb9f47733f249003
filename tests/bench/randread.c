/* randread: N random reads of 4 KiB from a disk, past the page cache, DEPTH of them in flight.
 *
 *   randread DEVICE DEPTH N      prints nanoseconds per request (in the icount lab: instructions)
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH_MAX = 64 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    int fd = argc == 4 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
    long blocks = fd < 0 ? 0 : lseek(fd, 0, SEEK_END) / BLOCK;
    if (blocks < 1) {
        die("usage: randread DEVICE DEPTH N");
    }
    int depth = atoi(argv[2]), n = atoi(argv[3]), started = 0, done = 0;
    static struct iocb requests[DEPTH_MAX];
    struct io_event events[DEPTH_MAX];
    aio_context_t context = 0;
    char *memory = aligned_alloc(BLOCK, DEPTH_MAX * BLOCK);
    if (depth < 1 || depth > DEPTH_MAX || syscall(SYS_io_setup, depth, &context) < 0) {
        die("depth");
    }
    srandom(1);
    long long start = now();
    int room = depth, next[DEPTH_MAX];
    for (int i = 0; i < depth; i++) {
        next[i] = i;
    }
    while (done < n) {
        struct iocb *list[DEPTH_MAX];
        int count = 0;
        while (room > 0 && started < n) {
            int slot = next[--room];
            requests[slot] = (struct iocb){
                .aio_data = slot, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd,
                .aio_buf = (unsigned long)(memory + slot * BLOCK), .aio_nbytes = BLOCK,
                .aio_offset = random() % blocks * BLOCK,
            };
            list[count++] = &requests[slot];
            started++;
        }
        if (count > 0 && syscall(SYS_io_submit, context, count, list) != count) {
            die("io_submit");
        }
        int got = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
        for (int i = 0; i < got; i++) {
            if (events[i].res != BLOCK) {
                die("read");
            }
            next[room++] = events[i].data;
            done++;
        }
    }
    printf("%lld\n", (now() - start) / n);
    return 0;
}
