/* tool.c: rhea-nbd, with the arguments of qemu-nbd(8): serves an image to NBD clients.
 *
 * 1. Messages begin with the name in argv[0]; any mistake ends with status 1.
 * 2. With --fork the parent waits until the server listens and exits with its status; threads come after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "block/block.h"
#include "block/nbd-proto.h"
#include "img/img.h"
#include "img/objects.h"
#include "nbd/server.h"
#include "nbd/tool.h"
#include "util/sockets.h"

typedef struct Tool {
    const char *file, *format, *name, *description, *socket, *port, *bind, *pid_file, *tls_creds,
               *tls_authz, *bitmap;
    const char *cache, *aio, *discard, *load_snapshot;
    BlkDetect detect_zeroes;
    uint64_t offset;
    unsigned shared;
    bool read_only, persistent, fork, list, depth, verbose, image_opts, writethrough;
    const char *connect, *disconnect;
    bool snapshot;
    const char *objects[64];
    unsigned object_count;
    const char *selinux_label;
    bool done;                 /* a list was asked for, and is printed */
} Tool;

static bool quit;
static int parent_fd = -1;
static Tool tool = { .name = "", .shared = 1 };

enum {
    OPT_CACHE = 256, OPT_AIO, OPT_DISCARD, OPT_FORK, OPT_PID, OPT_TLS, OPT_OBJECT, OPT_IMAGE,
    OPT_AUTHZ, OPT_ZEROES, OPT_SELINUX,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
    { "port", required_argument, NULL, 'p' }, { "bind", required_argument, NULL, 'b' },
    { "socket", required_argument, NULL, 'k' }, { "shared", required_argument, NULL, 'e' },
    { "persistent", no_argument, NULL, 't' }, { "verbose", no_argument, NULL, 'v' },
    { "export-name", required_argument, NULL, 'x' }, { "description", required_argument, NULL, 'D' },
    { "offset", required_argument, NULL, 'o' }, { "allocation-depth", no_argument, NULL, 'A' },
    { "list", no_argument, NULL, 'L' }, { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' }, { "nocache", no_argument, NULL, 'n' },
    { "cache", required_argument, NULL, OPT_CACHE }, { "aio", required_argument, NULL, OPT_AIO },
    { "discard", required_argument, NULL, OPT_DISCARD }, { "fork", no_argument, NULL, OPT_FORK },
    { "pid-file", required_argument, NULL, OPT_PID }, { "tls-creds", required_argument, NULL, OPT_TLS },
    { "object", required_argument, NULL, OPT_OBJECT }, { "image-opts", no_argument, NULL, OPT_IMAGE },
    { "disconnect", required_argument, NULL, 'd' }, { "connect", required_argument, NULL, 'c' },
    { "bitmap", required_argument, NULL, 'B' }, { "snapshot", no_argument, NULL, 's' },
    { "load-snapshot", required_argument, NULL, 'l' }, { "trace", required_argument, NULL, 'T' },
    { "tls-authz", required_argument, NULL, OPT_AUTHZ },
    { "selinux-label", required_argument, NULL, OPT_SELINUX },
    { "detect-zeroes", required_argument, NULL, OPT_ZEROES }, { NULL, 0, NULL, 0 },
};

static int end_badly(Error *take_err)
{
    error_report(take_err);
    return EXIT_FAILURE;
}

/* --- options --- */

static bool number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 0);
    return end != text && !*end && errno == 0 && *text != '-' && *out <= max;
}

static bool take_detect(const char *value, Error **errp)
{
    static const char *const names[] = { "off", "on", "unmap" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(value, names[i])) {
            tool.detect_zeroes = (BlkDetect)i;
            return true;
        }
    }
    return error_set(errp, "Failed to parse detect_zeroes mode: invalid parameter value: %s", value);
}

static bool take_object(const char *value, Error **errp)
{
    if (tool.object_count == ARRAY_LEN(tool.objects)) {
        return error_set(errp, "too many objects");
    }
    tool.objects[tool.object_count++] = value;
    return true;
}

static bool take_option(int c, const char *value, Error **errp)
{
    uint64_t n;

    switch (c) {
    case 'p': tool.port = value; break;
    case 'b': tool.bind = value; break;
    case 'k':
        tool.socket = value;
        return *value == '/' || error_set(errp, "socket path must be absolute");
    case 'e':
        if (!number(value, INT32_MAX, &n)) {
            return error_set(errp, "Invalid shared device number '%s'", value);
        }
        tool.shared = (unsigned)n;
        break;
    case 't': tool.persistent = true; break;
    case 'v': tool.verbose = true; break;
    case 'B': tool.bitmap = value; break;
    case 'x':
        tool.name = value;
        return strlen(value) <= NBD_MAX_STRING || error_set(errp, "export name '%s' too long", value);
    case 'D':
        tool.description = value;
        return strlen(value) <= NBD_MAX_STRING || error_set(errp, "export description '%s' too long", value);
    case 'o':
        return number(value, INT64_MAX, &tool.offset) || error_set(errp, "Invalid offset '%s'", value);
    case 'A': tool.depth = true; break;
    case 'L': tool.list = true; break;
    case 'f': tool.format = value; break;
    case 'r': tool.read_only = true; break;
    case 'n': tool.cache = "none"; break;
    case OPT_CACHE: tool.cache = value; break;
    case OPT_AIO: tool.aio = value; break;
    case OPT_DISCARD: tool.discard = value; break;
    case OPT_FORK: tool.fork = true; break;
    case OPT_PID: tool.pid_file = value; break;
    case OPT_TLS: tool.tls_creds = value; break;
    case OPT_AUTHZ: tool.tls_authz = value; break;
    case OPT_IMAGE: tool.image_opts = true; break;
    case 'c': tool.connect = value; break;
    case 's': tool.snapshot = true; break;
    case 'd': tool.disconnect = value; break;
    case 'l': tool.load_snapshot = value; tool.read_only = true; break;
    case OPT_OBJECT:
        return take_object(value, errp);
    case OPT_ZEROES:
        return take_detect(value, errp);
    case 'T':
        return tool_trace(value, &tool.done, errp);
    case OPT_SELINUX:
        tool.selinux_label = value;
        break;
    default:
        return error_set(errp, "unknown option");
    }
    return true;
}

/* --- opening --- */

static bool set_cache(BlkOptions *o, Error **errp)
{
    if (!tool.cache || !strcmp(tool.cache, "writeback")) {
        return true;
    }
    tool.writethrough = !strcmp(tool.cache, "writethrough") || !strcmp(tool.cache, "directsync");
    o->cache_direct = !strcmp(tool.cache, "none") || !strcmp(tool.cache, "off") ||
                      !strcmp(tool.cache, "directsync");
    o->cache_no_flush = !strcmp(tool.cache, "unsafe");
    return tool.writethrough || o->cache_direct || o->cache_no_flush ||
           error_set(errp, "Invalid cache mode `%s'", tool.cache);
}

static const char *probe(const char *path)
{
    uint8_t head[4] = { 0 };
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof(head), 0) : 0;

    if (fd >= 0) {
        close(fd);
    }
    return n == sizeof(head) && memcmp(head, "QFI\xfb", 4) == 0 ? "qcow2" : "raw";
}

/* --image-opts, and "json:". */
static BlkNode *open_words(Error **errp)
{
    Image i;
    unsigned flags = (tool.read_only ? 0 : OPEN_WRITE) | (tool.image_opts ? OPEN_OPTS : 0) |
                     (tool.discard && !strcmp(tool.discard, "ignore") ? 0 : OPEN_UNMAP);

    if (!image_open(&i, tool.file, tool.format, tool.cache, flags, errp)) {
        return NULL;
    }
    blk_detach(&i.use);        /* the export is its user */
    return i.node;
}

static BlkNode *open_image(Error **errp)
{
    BlkOptions file = { .driver = blk_protocol_of(tool.file),
                        .filename = tool.file };
    BlkOptions format = { .driver = tool.format ? tool.format : probe(tool.file), .read_only = tool.read_only,
                          .discard_unmap = !tool.discard || strcmp(tool.discard, "unmap") == 0,
                          .detect_zeroes = tool.detect_zeroes,
                          .child = &file };
    BlkOptions window = { .driver = "raw", .read_only = tool.read_only, .offset = tool.offset,
                          .discard_unmap = format.discard_unmap };

    if (tool.discard && strcmp(tool.discard, "unmap") && strcmp(tool.discard, "ignore")) {
        error_set(errp, "Invalid discard mode `%s'", tool.discard);
        return NULL;
    }
    if (tool.detect_zeroes == BLK_DETECT_UNMAP && !format.discard_unmap) {
        error_set(errp, "setting detect-zeroes to unmap is not allowed without setting discard operation to "
                  "unmap");
        return NULL;
    }
    if (!set_cache(&format, errp) || (tool.aio && !blk_parse_aio(tool.aio, &file.aio, errp))) {
        return NULL;
    }
    BlkOptions top = { .discard_unmap = true };
    bool words = tool.image_opts || g_str_has_prefix(tool.file, "json:");
    BlkNode *n = words && tool.snapshot ? (error_set(errp, "--snapshot needs a file name"), NULL)
                 : words ? open_words(errp)
                 : tool.snapshot ? blk_open_temporary(&format, &top, errp) : blk_open(&format, errp);
    if (!n) {
        error_context(errp, "Failed to blk_new_open '%s'", tool.file);
        return NULL;
    }
    if (tool.load_snapshot && !image_show(n, tool.load_snapshot, errp)) {
        return NULL;
    }
    if (!tool.offset) {
        return n;
    }
    if (tool.offset >= blk_size(n)) {
        error_set(errp, "Offset (%" PRIu64 ") has to be smaller than the image size (%" PRIu64 ")",
                  tool.offset, blk_size(n));
        return NULL;
    }
    window.child_ref = blk_name(n);
    return blk_open(&window, errp);
}

/* --- running --- */

static void client_gone(void *arg, unsigned left)
{
    if (left == 0 && !tool.persistent) {
        quit = true;
    }
}

static void on_signal(void *arg, unsigned events)
{
    struct signalfd_siginfo si;

    if (read(GPOINTER_TO_INT(arg), &si, sizeof(si)) == sizeof(si)) {
        quit = true;
    }
}

static void take_signals(void)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    loop_watch(loop_control(), fd, EPOLLIN, on_signal, GINT_TO_POINTER(fd));
}

/* The parent waits for the word that the server is ready. */
static void go_to_background(void)
{
    int ends[2];
    char byte;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        perror("pipe");
        exit(EXIT_FAILURE);
    }
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(EXIT_FAILURE);
    }
    if (child > 0) {
        close(ends[1]);
        exit(read(ends[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ends[0]);
    setsid();
    parent_fd = ends[1];
}

static bool write_pid(Error **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    g_autoptr(GError) err = NULL;

    return !tool.pid_file || g_file_set_contents(tool.pid_file, text, -1, &err) ||
           error_set(errp, "Cannot create PID file: %s", err->message);
}

static void ready(void)
{
    if (parent_fd < 0) {
        return;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        dup2(null, fd);
    }
    close(null);
    if (write(parent_fd, "", 1) != 1) {
        /* the parent was killed: nobody wants to know */
    }
    close(parent_fd);
}

static void stopped(void *arg)
{
    *(bool *)arg = true;
}

static const char help[] =
    "Usage: %s [OPTIONS] FILE\n"
    "  or:  %s -L [OPTIONS]\n"
    "Serves a disk image by NBD, with the options of qemu-nbd(8)\n\n"
    "  -h, --help                display this help and exit\n"
    "  -V, --version             output version information and exit\n\n"
    "Connection properties:\n"
    "  -p, --port=PORT           port to listen on (default `10809')\n"
    "  -b, --bind=IFACE          interface to bind to (default `0.0.0.0')\n"
    "  -k, --socket=PATH         path to the unix socket\n"
    "  -e, --shared=NUM          device can be shared by NUM clients (default '1')\n"
    "  -t, --persistent          don't exit on the last connection\n"
    "  -v, --verbose             say what happens\n"
    "  -x, --export-name=NAME    expose export by name (default is empty string)\n"
    "  -D, --description=TEXT    export a human-readable description\n\n"
    "Exposing part of the image:\n"
    "  -o, --offset=OFFSET       offset into the image\n"
    "  -A, --allocation-depth    expose the allocation depth\n"
    "  -B, --bitmap=NAME         expose a persistent dirty bitmap\n\n"
    "General purpose options:\n"
    "  -L, --list                list exports available from another NBD server\n"
    "  --object type,id=ID,...   define an object: tls-creds-x509, tls-creds-psk,\n"
    "                            tls-creds-anon, secret, authz-simple, authz-list\n"
    "  --tls-creds=ID            use id of an earlier --object to provide TLS\n"
    "  --tls-authz=ID            use id of an earlier --object to decide about clients\n"
    "                            by the name in their certificates\n"
    "      --selinux-label=LABEL label of the listening socket\n"
    "  -T, --trace [[enable=]<pattern>][,events=<file>][,file=<file>]\n"
    "                            switch on trace events\n"
    "  --fork                    fork off the server process and exit the parent\n"
    "                            once the server is running\n"
    "  --pid-file=PATH           store the server's process ID in the given file\n\n"
    "Kernel NBD client support:\n"
    "  -c, --connect=DEV         connect FILE to the local NBD device DEV, in the background\n"
    "                            unless -v is given\n"
    "  -d, --disconnect=DEV      disconnect the specified device\n\n"
    "Block device options:\n"
    "  -f, --format=FORMAT       set image format (raw, qcow2, ...)\n"
    "  -r, --read-only           export read-only\n"
    "  -s, --snapshot            changes go to a temporary file, FILE is only read\n"
    "  -l, --load-snapshot=NAME  export an internal snapshot, read-only: its id or name, or\n"
    "                            snapshot.id=ID,snapshot.name=NAME\n"
    "  -n, --nocache             disable host cache\n"
    "      --cache=MODE          none, writeback (default), writethrough, directsync\n"
    "                            or unsafe\n"
    "      --aio=MODE            native, io_uring or threads\n"
    "      --discard=MODE        ignore, unmap\n"
    "      --detect-zeroes=MODE  off, on, unmap\n"
    "      --image-opts          treat FILE as a full set of image options\n";

/* Sockets made from now on by this thread have the SELinux @label; NULL: what the policy says. */
static bool label_sockets(const char *label, Error **errp)
{
    int fd = open("/proc/thread-self/attr/sockcreate", O_RDWR | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, label, label ? strlen(label) : 0) >= 0;

    if (!ok) {
        error_set(errp, "Cannot set SELinux socket create context to %s: %s", label ? label : "nothing",
                  errno_text(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static int listen_labelled(Error **errp)
{
    if (tool.selinux_label && !label_sockets(tool.selinux_label, errp)) {
        return -1;
    }
    int fd = tool.socket ? socket_listen_unix(tool.socket, errp)
             : socket_listen_inet(tool.bind ? tool.bind : "0.0.0.0", tool.port ? tool.port : NBD_DEFAULT_PORT,
                                  errp);
    if (fd >= 0 && tool.selinux_label && !label_sockets(NULL, errp)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Listens, or gives the kernel's device what it is to show. */
static bool offer(NbdServer *s, Error **errp)
{
    int fd = -1;

    if (tool.connect) {
        if (!tool_connect(s, tool.name, tool.connect, errp)) {
            return false;
        }
        if (tool.verbose) {
            printf("NBD device %s is now connected to %s\n", tool.connect, tool.file);
            fflush(stdout);
        }
    } else {
        fd = listen_labelled(errp);
        if (fd < 0) {
            return false;
        }
    }
    if (!write_pid(errp)) {
        if (tool.socket) {
            unlink(tool.socket);
        }
        return false;
    }
    if (fd >= 0) {
        nbd_server_listen(s, fd, tool.socket);
    }
    return true;
}

static void close_image(BlkNode *n)
{
    while (n) {
        BlkNode *below = tool.offset ? blk_child(n, 0) : NULL;

        blk_close(n, NULL);
        n = below;
        tool.offset = 0;
    }
}

static bool serve(Error **errp)
{
    NbdServerOptions so = { .max_connections = tool.shared ? tool.shared : 0, .gone = client_gone };
    const char *const bitmaps[] = { tool.bitmap, NULL };
    NbdExportOptions eo = { .name = tool.name, .description = tool.description, .bitmaps = bitmaps,
                            .writable = !tool.read_only, .multi_conn = tool.shared != 1,
                            .allocation_depth = tool.depth };
    bool over = false;

    for (unsigned i = 0; i < tool.object_count; i++) {
        if (!tool_object_add(tool.objects[i], errp)) {
            return false;
        }
    }
    if (tool.tls_creds && !(so.tls = tool_object_tls(tool.tls_creds, !tool.list, errp))) {
        return false;
    }
    if (!nbd_authz_ok(tool.tls_authz, so.tls, errp)) {
        return false;
    }
    so.tls_authz = tool.tls_authz;
    if (tool.list) {
        return tool_list(tool.socket, tool.bind ? tool.bind : "localhost",
                         tool.port ? tool.port : NBD_DEFAULT_PORT, so.tls, errp);
    }
    BlkNode *n = open_image(errp);
    if (!n) {
        return false;
    }
    NbdServer *s = nbd_server_new(&so);
    eo.writethrough = tool.writethrough;
    if (!nbd_export_new(s, n, &eo, errp) || !offer(s, errp)) {
        return false;
    }
    ready();
    while (!quit) {
        loop_control_iterate(true);
    }
    tool_connect_end();
    nbd_server_stop(s, stopped, &over);
    while (!over) {
        loop_control_iterate(true);
    }
    blk_pflush(n);
    close_image(n);
    if (tool.pid_file) {
        unlink(tool.pid_file);
    }
    return true;
}

int main(int argc, char **argv)
{
    Error *err = NULL;
    int c;

    error_set_program(argv[0]);
    while ((c = getopt_long(argc, argv, "hVb:o:p:k:e:tvx:D:ALf:rnc:d:sl:B:T:", long_options, NULL)) != -1) {
        if (c == '?') {
            return end_badly((error_set(&err, "Try `%s --help' for more information.", argv[0]), err));
        }
        if (c == 'h' || c == 'V') {
            if (c == 'h') {
                printf(help, argv[0], argv[0]);
            } else {
                printf("%s 7.2.0 (Rhea " RHEA_VERSION ")\n", argv[0]);
            }
            return EXIT_SUCCESS;
        }
        if (!take_option(c, optarg, &err)) {
            return end_badly(err);
        }
        if (tool.done) {
            return EXIT_SUCCESS;
        }
    }
    if (tool.connect && (tool.socket || tool.port || tool.bind || tool.list)) {
        error_set(&err, "-c serves this kernel, not clients: -k, -p, -b and -L do not go with it");
        return end_badly(err);
    }
    if (tool.disconnect) {
        return tool_disconnect(tool.disconnect, &err) ? EXIT_SUCCESS : end_badly(err);
    }
    if (tool.list && optind != argc) {
        return end_badly((error_set(&err, "List mode is incompatible with a file name"), err));
    }
    if (!tool.list && optind + 1 != argc) {
        error_set(&err, "Invalid number of arguments");
        error_hint(&err, "Try `%s --help' for more information.", argv[0]);
        return end_badly(err);
    }
    tool.file = argv[optind];
    if ((tool.fork || (tool.connect && !tool.verbose)) && !tool.list) {
        go_to_background();
    }
    thread_become_control();
    take_signals();
    return serve(&err) ? EXIT_SUCCESS : end_badly(err);
}
