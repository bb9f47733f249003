/* readline-test.c: the line editor: keys, history, completion, and bytes nobody should send.
 *
 * A screen that knows backspace, erase and clear shows what a person would see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "monitor/readline.h"

typedef struct Rig {
    Readline *r;
    char screen[8192];         /* the current row */
    size_t column, width;
    unsigned rows;             /* ends of lines printed */
    GPtrArray *lines;          /* what was entered */
    const char *const *words;
    size_t typed;
    char *asked;               /* what completion was asked for */
} Rig;

static Rig rig;

static void screen_char(char c)
{
    if (c == '\b') {
        assert_true(rig.column > 0);
        rig.column--;
    } else if (c == '\r') {
        rig.column = 0;
    } else if (c == '\n') {
        rig.rows++;
        rig.width = rig.column = 0;
    } else if (((unsigned char)c & 0xc0) != 0x80) {    /* one column a character */
        assert_true(rig.column < sizeof(rig.screen) - 1);
        rig.screen[rig.column++] = c;
        rig.width = MAX(rig.width, rig.column);
    }
    rig.screen[rig.width] = '\0';
}

static void on_print(void *arg, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\033') {
            screen_char(text[i]);
        } else if (strncmp(text + i, "\033[K", 3) == 0) {
            rig.width = rig.column;
            rig.screen[rig.width] = '\0';
            i += 2;
        } else {
            assert_memory_equal(text + i, "\033[2J\033[1;1H", 10);
            rig.width = rig.column = 0;
            i += 9;
        }
    }
}

static void on_line(void *arg, const char *line)
{
    g_ptr_array_add(rig.lines, g_strdup(line));
}

static size_t on_complete(void *arg, const char *text, GPtrArray *words)
{
    g_free(rig.asked);
    rig.asked = g_strdup(text);
    for (unsigned i = 0; rig.words != NULL && rig.words[i] != NULL; i++) {
        g_ptr_array_add(words, g_strdup(rig.words[i]));
    }
    return rig.typed;
}

static const ReadlineOps ops = { .print = on_print, .line = on_line, .complete = on_complete };

static int setup(void **state)
{
    memset(&rig, 0, sizeof(rig));
    rig.lines = g_ptr_array_new_with_free_func(g_free);
    rig.r = readline_new(&ops, NULL, "> ");
    readline_show(rig.r);
    return 0;
}

static int teardown(void **state)
{
    readline_free(rig.r);
    g_ptr_array_free(rig.lines, TRUE);
    g_free(rig.asked);
    return 0;
}

static void type(const char *keys)
{
    for (; *keys != '\0'; keys++) {
        readline_byte(rig.r, (unsigned char)*keys);
    }
}

static void expect(const char *screen, size_t column)
{
    assert_string_equal(rig.screen, screen);
    assert_int_equal(rig.column, column);
}

static const char *line(unsigned n)
{
    assert_true(n < rig.lines->len);
    return g_ptr_array_index(rig.lines, n);
}

static void test_typing(void **state)
{
    expect("> ", 2);
    type("info kvm");
    expect("> info kvm", 10);
    type("\r");
    assert_string_equal(line(0), "info kvm");
    type("\n");                                /* belongs to the carriage return */
    assert_int_equal(rig.lines->len, 1);
    type("\n\n");
    assert_int_equal(rig.lines->len, 3);
    assert_string_equal(line(2), "");
}

static void test_moving(void **state)
{
    type("bcd\001a\005e");                     /* C-a, C-e */
    expect("> abcde", 7);
    type("\002\002X");                         /* C-b */
    expect("> abcXde", 6);
    type("\006Y\033[D\033[DZ");                /* C-f, left */
    expect("> abcXZdYe", 7);
    type("\033[H!\033[F?\033[C");              /* home, end, right at the end */
    expect("> !abcXZdYe?", 12);
    type("\033[1~1\033[4~4\033[7~7\033[8~8\033OH0\033OF9");
    expect("> 071!abcXZdYe?489", 18);
    type("\002\r");
    assert_string_equal(line(0), "071!abcXZdYe?489");
}

static void test_deleting(void **state)
{
    type("abcdef\010\177");
    expect("> abcd", 6);
    type("\001\004\033[3~");                   /* C-d, delete */
    expect("> cd", 2);
    type("\010");                              /* nothing before */
    expect("> cd", 2);
    type("\005\004\006");                      /* nothing behind */
    expect("> cd", 4);
    type(" one two  \027");                    /* C-w */
    expect("> cd one ", 9);
    type("\033b\033bX\033f!");                 /* M-b, M-f */
    expect("> Xcd! one ", 6);
    type("\033d");                             /* M-d */
    expect("> Xcd! ", 6);
    type("\025");                              /* C-u */
    expect(">  ", 2);
    type("abc\013");                           /* C-k */
    expect("> abc", 5);
    type("x y\033\177");
    expect("> abcx ", 7);
    type("\003");                              /* C-c abandons */
    expect("> ", 2);
    assert_int_equal(rig.lines->len, 0);
    type("q\014");                             /* C-l */
    expect("> q", 3);
}

static void test_history(void **state)
{
    assert_null(readline_history(rig.r, 0));
    type("\020");                              /* nothing yet */
    expect("> ", 2);
    type("one\rtwo\rthree\r");
    readline_show(rig.r);
    type("new\020");                           /* C-p */
    expect("> three", 7);
    type("\033[A\033[A");
    expect("> one", 5);
    type("\033[A");                            /* there is no older one */
    expect("> one", 5);
    type("\033OB\016\016");                    /* down, C-n: back to what was being typed */
    expect("> new", 5);
    type("\016");
    expect("> new", 5);
    type("\020\020\r");                        /* "two" becomes the newest */
    assert_string_equal(line(3), "two");
    assert_string_equal(readline_history(rig.r, 0), "two");
    assert_string_equal(readline_history(rig.r, 1), "three");
    assert_string_equal(readline_history(rig.r, 2), "one");
    assert_null(readline_history(rig.r, 3));
    for (unsigned i = 0; i < 2 * READLINE_HISTORY; i++) {
        g_autofree char *text = g_strdup_printf("n%u\r", i);

        type(text);
    }
    assert_non_null(readline_history(rig.r, READLINE_HISTORY - 1));
    assert_null(readline_history(rig.r, READLINE_HISTORY));
}

static void test_completion(void **state)
{
    static const char *const one[] = { "status", NULL }, *const two[] = { "status", "stats", "stats", NULL };
    static const char *const folder[] = { "/tmp/", NULL };

    type("info x\t");
    expect("> info x", 8);                     /* none */
    assert_string_equal(rig.asked, "info x");
    rig.words = two;
    rig.typed = 1;
    type("\010s\t");
    expect("> info stat", 11);                 /* after a list */
    assert_int_equal(rig.rows, 2);
    rig.words = one;
    rig.typed = 4;
    type("\t");
    expect("> info status ", 14);
    type("\025");
    rig.words = folder;
    rig.typed = 2;
    type("/t\t");
    expect("> /tmp/", 7);                      /* goes on without a blank */
    type("\001X\t");                           /* asked for what is before the cursor */
    assert_string_equal(rig.asked, "X");
}

static void test_many_words(void **state)
{
    GPtrArray *words = g_ptr_array_new();

    for (unsigned i = 0; i < 3000; i++) {
        g_ptr_array_add(words, g_strdup_printf("word%u", i));
    }
    g_ptr_array_add(words, NULL);
    rig.words = (const char *const *)words->pdata;
    type("w\t");
    assert_in_range(rig.rows, 100, 200);
    expect("> wword", 7);
    g_ptr_array_free(words, FALSE);
    g_strfreev((char **)rig.words);
    rig.words = NULL;
}

static void test_utf8(void **state)
{
    type("a\xc3\xa4\xe2\x82\xac");             /* two bytes, three bytes */
    expect("> a\xc3\xe2", 5);
    type("\010");
    expect("> a\xc3", 4);
    type("\002\xc3\xb6\r");
    assert_string_equal(line(0), "a\xc3\xb6\xc3\xa4");
}

static void test_hostile(void **state)
{
    uint32_t seed = 1;

    for (unsigned i = 0; i < 3 * READLINE_MAX; i++) {
        type("x");
    }
    type("\001y\r");
    assert_int_equal(strlen(line(0)), READLINE_MAX);
    type("\033[999999999999999999999999~a\033[1;5Db\033[\033[\001\033O\033c\r");
    readline_byte(rig.r, 0);
    readline_byte(rig.r, 0xff);
    type("\xc3\002\004\r");
    for (unsigned i = 0; i < 300000; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned char b = seed >> 24;

        if (b == '\t' || b == '\014' || (b & 0x80)) {
            b = 'a' + b % 26;
        }
        readline_byte(rig.r, b);
    }
    readline_reset(rig.r);
    type("end\r");
    assert_string_equal(line(rig.lines->len - 1), "end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_typing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_completion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
