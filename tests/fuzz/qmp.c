/* qmp.c: fuzzes QMP sessions, the JSON splitter and command-line objects.
 *
 * The first byte chooses: even, bytes from a client that has negotiated (bit 1: reads slowly); odd,
 * the text of command-line option number byte/2.  Built with -fsanitize=fuzzer (and -DFUZZ_ENGINE)
 * it is a libFuzzer target; without, a program that runs the files it is given. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qapi/tables.h"
#include "tests/qmp/fakes.h"
#include "util/thread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Sink {
    size_t room;
} Sink;

static size_t sink_send(void *arg, const char *buf, size_t n)
{
    Sink *s = arg;

    n = n < s->room ? n : s->room;
    s->room -= n;
    return n;
}

static const QmpStream sink_stream = { .send = sink_send };

static void fuzz_session(const uint8_t *data, size_t size, bool slow)
{
    static const char hello[] = "{\"execute\":\"qmp_capabilities\"}";
    QmpServer *server = qmp_server_new(fakes_state, NULL);
    Sink sink = { .room = SIZE_MAX };
    QmpSession *s = qmp_session_new(server, &sink_stream, &sink, slow);

    fakes_reset();
    qmp_session_open(s);
    qmp_session_bytes(s, hello, sizeof(hello) - 1);
    sink.room = slow ? 100 : SIZE_MAX;
    while (size) {
        size_t n = qmp_session_space(s);

        if (n == 0) {
            sink.room += 1 << 20;
            qmp_session_room(s);
            continue;
        }
        n = n < size ? n : size;
        qmp_session_bytes(s, (const char *)data, n);
        data += n;
        size -= n;
    }
    qmp_session_free(s);
    qmp_server_free(server);
    fakes_reset();
}

/* What was read writes as JSON, which reads back. */
static void fuzz_option(const uint8_t *data, size_t size, unsigned opt)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GString) out = g_string_new(NULL);
    void *p = NULL, *again = NULL;

    if (!qapi_option_read(opt, text, &p, NULL) || !p) {
        return;
    }
    qapi_write(qapi_options[opt].arg, &p, out);
    g_autoptr(json_t) tree = json_parse(out->str, NULL);

    if (!tree || !qapi_read(qapi_options[opt].arg, tree, QAPI_JSON, &again, NULL)) {
        abort();
    }
    qapi_free(qapi_options[opt].arg, again);
    qapi_free(qapi_options[opt].arg, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready) {
        thread_become_control();
        ready = true;
    }
    if (size == 0) {
        return 0;
    }
    if (data[0] & 1) {
        fuzz_option(data + 1, size - 1, data[0] / 2 % qapi_options_count);
    } else {
        fuzz_session(data + 1, size - 1, data[0] & 2);
    }
    return 0;
}

#ifndef FUZZ_ENGINE
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        g_autofree char *data = NULL;
        gsize size;

        if (!g_file_get_contents(argv[i], &data, &size, NULL)) {
            fprintf(stderr, "%s: cannot read\n", argv[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    }
    return 0;
}
#endif
