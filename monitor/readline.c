/* readline.c: the line editor of the human monitor.
 *
 *   NORMAL --ESC--> ESCAPE --[--> CSI --final byte--> NORMAL
 *                     |---O--> SS3 --any byte--> NORMAL
 *
 * 1. @line is at most READLINE_MAX bytes and holds no control characters; the cursor is at a boundary
 *    of UTF-8 characters as far as the text is valid.
 * 2. What is on the screen is the prompt and @line, the terminal's cursor at @cursor. */
#include "monitor/readline.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CTRL(c) ((c) & 0x1f)
#define SCREEN_WIDTH 80u
#define WORDS_SHOWN 1000u              /* of a completion; how many more there are is told */

typedef enum State { NORMAL, ESCAPE, CSI, SS3 } State;

struct Readline {
    const ReadlineOps *ops;
    void *arg;
    char *prompt;
    GString *line;
    size_t cursor;
    State state;
    unsigned param;                    /* CSI: the first number */
    bool param_done;
    bool after_cr;                     /* a newline now belongs to the carriage return before it */
    GQueue history;                    /* char *, oldest first */
    unsigned recalled;                 /* 0: the line is new; n: the n-th newest was recalled */
    char *kept;                        /* the new line, while an old one is recalled */
};

/* --- the screen --- */

static void print(Readline *r, const char *text)
{
    r->ops->print(r->arg, text, strlen(text));
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Characters, which is columns for all that is one column wide. */
static size_t columns(const char *text, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += !continues(text[i]);
    }
    return count;
}

static void move_back(Readline *r, size_t count)
{
    for (; count > 0; count--) {
        print(r, "\b");
    }
}

/* Prints the line from the cursor on, @erase: and erases what was behind it, and goes back. */
static void show_tail(Readline *r, bool erase)
{
    const char *tail = r->line->str + r->cursor;
    size_t n = r->line->len - r->cursor;

    r->ops->print(r->arg, tail, n);
    if (erase) {
        print(r, "\033[K");
    }
    move_back(r, columns(tail, n));
}

void readline_show(Readline *r)
{
    print(r, r->prompt);
    r->ops->print(r->arg, r->line->str, r->cursor);
    show_tail(r, false);
}

/* --- moving and editing --- */

static size_t before(const Readline *r, size_t at)
{
    while (at > 0 && continues(r->line->str[--at])) {
    }
    return at;
}

static size_t after(const Readline *r, size_t at)
{
    if (at < r->line->len) {
        at++;
    }
    while (at < r->line->len && continues(r->line->str[at])) {
        at++;
    }
    return at;
}

static size_t word_before(const Readline *r)
{
    size_t at = r->cursor;

    while (at > 0 && r->line->str[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && r->line->str[at - 1] != ' ') {
        at--;
    }
    return at;
}

static size_t word_after(const Readline *r)
{
    size_t at = r->cursor;

    while (at < r->line->len && r->line->str[at] == ' ') {
        at++;
    }
    while (at < r->line->len && r->line->str[at] != ' ') {
        at++;
    }
    return at;
}

static void go_to(Readline *r, size_t at)
{
    if (at < r->cursor) {
        move_back(r, columns(r->line->str + at, r->cursor - at));
    } else {
        r->ops->print(r->arg, r->line->str + r->cursor, at - r->cursor);
    }
    r->cursor = at;
}

/* The bytes before the cursor are the beginning of a character, whose end is still to come. */
static bool in_character(const Readline *r)
{
    size_t at = before(r, r->cursor);

    return g_utf8_get_char_validated(r->line->str + at, r->cursor - at) == (gunichar)-2;
}

static void insert(Readline *r, const char *text, size_t n)
{
    if (r->line->len + n > READLINE_MAX) {
        return;
    }
    g_string_insert_len(r->line, r->cursor, text, n);
    r->cursor += n;
    r->ops->print(r->arg, text, n);
    if (r->cursor < r->line->len && !in_character(r)) {
        show_tail(r, false);
    }
}

/* Takes the text between the two places out; one of them is the cursor. */
static void cut(Readline *r, size_t from, size_t to)
{
    if (from < to) {
        go_to(r, from);
        g_string_erase(r->line, from, to - from);
        show_tail(r, true);
    }
}

static void replace_line(Readline *r, const char *text)
{
    go_to(r, 0);
    g_string_assign(r->line, text);
    r->cursor = r->line->len;
    r->ops->print(r->arg, text, r->line->len);
    print(r, "\033[K");
}

/* --- history --- */

const char *readline_history(const Readline *r, unsigned n)
{
    return n < r->history.length ? g_queue_peek_nth((GQueue *)&r->history, r->history.length - 1 - n) : NULL;
}

static void remember(Readline *r, const char *line)
{
    GList *old = g_queue_find_custom(&r->history, line, (GCompareFunc)strcmp);

    if (old != NULL) {
        g_free(old->data);
        g_queue_delete_link(&r->history, old);
    } else if (r->history.length == READLINE_HISTORY) {
        g_free(g_queue_pop_head(&r->history));
    }
    g_queue_push_tail(&r->history, g_strdup(line));
}

static void recall(Readline *r, unsigned n)
{
    if (n > r->history.length || n == r->recalled) {
        return;
    }
    if (r->recalled == 0) {
        g_free(r->kept);
        r->kept = g_strdup(r->line->str);
    }
    r->recalled = n;
    replace_line(r, n == 0 ? r->kept : readline_history(r, n - 1));
}

void readline_reset(Readline *r)
{
    g_string_truncate(r->line, 0);
    r->cursor = 0;
    r->recalled = 0;
    r->state = NORMAL;
    g_clear_pointer(&r->kept, g_free);
}

static void end_line(Readline *r)
{
    g_autofree char *line = g_strdup(r->line->str);

    go_to(r, r->line->len);
    print(r, "\r\n");
    readline_reset(r);
    if (line[0] != '\0') {
        remember(r, line);
    }
    r->ops->line(r->arg, line);
}

static void abandon_line(Readline *r)
{
    go_to(r, r->line->len);
    print(r, "\r\n");
    readline_reset(r);
    readline_show(r);
}

/* --- completion --- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void drop_doubles(GPtrArray *words)
{
    for (unsigned i = 1; i < words->len;) {
        if (strcmp(g_ptr_array_index(words, i - 1), g_ptr_array_index(words, i)) == 0) {
            g_ptr_array_remove_index(words, i);
        } else {
            i++;
        }
    }
}

static size_t common_length(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] != '\0' && a[n] == b[n]) {
        n++;
    }
    return n;
}

static void list_words(Readline *r, const GPtrArray *words)
{
    size_t width = 8;

    for (unsigned i = 0; i < words->len; i++) {
        width = MAX(width, strlen(g_ptr_array_index(words, i)));
    }
    unsigned per_line = MAX(SCREEN_WIDTH / (width + 2), 1);
    print(r, "\r\n");
    for (unsigned i = 0; i < words->len && i < WORDS_SHOWN; i++) {
        const char *word = g_ptr_array_index(words, i);
        bool last = (i + 1) % per_line == 0 || i + 1 == words->len;
        g_autofree char *text = g_strdup_printf("%-*s%s", (int)width + 2, word, last ? "\r\n" : "");

        print(r, text);
    }
    if (words->len > WORDS_SHOWN) {
        g_autofree char *text = g_strdup_printf("\r\n... and %u more\r\n", words->len - WORDS_SHOWN);

        print(r, text);
    }
}

static void complete(Readline *r)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = g_strndup(r->line->str, r->cursor);
    size_t typed = r->ops->complete(r->arg, text, words);

    if (words->len == 0) {
        return;
    }
    g_ptr_array_sort(words, by_text);
    drop_doubles(words);
    const char *first = g_ptr_array_index(words, 0);
    size_t common = strlen(first);
    for (unsigned i = 1; i < words->len; i++) {
        common = MIN(common, common_length(first, g_ptr_array_index(words, i)));
    }
    if (words->len > 1) {
        list_words(r, words);
        readline_show(r);
    }
    if (common > typed) {
        insert(r, first + typed, common - typed);
    }
    if (words->len == 1 && common > 0 && !strchr("/=,.", first[common - 1])) {
        insert(r, " ", 1);
    }
}

/* --- keys --- */

static void control_key(Readline *r, unsigned char b)
{
    switch (b) {
    case CTRL('a'):
        go_to(r, 0);
        break;
    case CTRL('b'):
        go_to(r, before(r, r->cursor));
        break;
    case CTRL('c'):
        abandon_line(r);
        break;
    case CTRL('d'):
        cut(r, r->cursor, after(r, r->cursor));
        break;
    case CTRL('e'):
        go_to(r, r->line->len);
        break;
    case CTRL('f'):
        go_to(r, after(r, r->cursor));
        break;
    case CTRL('h'):
    case 0x7f:
        cut(r, before(r, r->cursor), r->cursor);
        break;
    case CTRL('k'):
        cut(r, r->cursor, r->line->len);
        break;
    case CTRL('l'):
        print(r, "\033[2J\033[1;1H");
        readline_show(r);
        break;
    case CTRL('n'):
        recall(r, r->recalled > 0 ? r->recalled - 1 : 0);
        break;
    case CTRL('p'):
        recall(r, r->recalled + 1);
        break;
    case CTRL('u'):
        cut(r, 0, r->cursor);
        break;
    case CTRL('w'):
        cut(r, word_before(r), r->cursor);
        break;
    case '\t':
        complete(r);
        break;
    case '\033':
        r->state = ESCAPE;
        break;
    default:
        break;
    }
}

static void normal_byte(Readline *r, unsigned char b)
{
    char c = b;

    if (b == '\r' || (b == '\n' && !r->after_cr)) {
        r->after_cr = b == '\r';
        end_line(r);
        return;
    }
    r->after_cr = false;
    if (b < 0x20 || b == 0x7f) {
        control_key(r, b);
    } else {
        insert(r, &c, 1);
    }
}

static void escape_byte(Readline *r, unsigned char b)
{
    r->state = NORMAL;
    if (b == '[') {
        r->state = CSI;
        r->param = 0;
        r->param_done = false;
    } else if (b == 'O') {
        r->state = SS3;
    } else if (b == 'b') {
        go_to(r, word_before(r));
    } else if (b == 'f') {
        go_to(r, word_after(r));
    } else if (b == 'd') {
        cut(r, r->cursor, word_after(r));
    } else if (b == 0x7f || b == CTRL('h')) {
        cut(r, word_before(r), r->cursor);
    }
}

/* The keys of a VT100 and of xterm: as control keys. */
static void function_key(Readline *r, unsigned char final, unsigned param)
{
    static const char letters[] = "ABCDHF", keys[] = { CTRL('p'), CTRL('n'), CTRL('f'), CTRL('b'), CTRL('a'),
                                                       CTRL('e') };
    static const unsigned char numbered[9] = { 0, CTRL('a'), 0,         CTRL('d'), CTRL('e'),
                                               0, 0,         CTRL('a'), CTRL('e') };
    const char *at = strchr(letters, final);

    if (at != NULL && final != 0) {
        control_key(r, keys[at - letters]);
    } else if (final == '~' && param < sizeof(numbered) && numbered[param] != 0) {
        control_key(r, numbered[param]);
    }
}

static void csi_byte(Readline *r, unsigned char b)
{
    if (b >= '0' && b <= '9') {
        if (!r->param_done && r->param < 1000) {
            r->param = r->param * 10 + (b - '0');
        }
    } else if (b == ';') {
        r->param_done = true;
    } else if (b >= 0x40 || b < 0x20) {
        r->state = NORMAL;
        function_key(r, b, r->param);
    }
}

void readline_byte(Readline *r, unsigned char b)
{
    switch (r->state) {
    case NORMAL:
        normal_byte(r, b);
        break;
    case ESCAPE:
        escape_byte(r, b);
        break;
    case CSI:
        csi_byte(r, b);
        break;
    case SS3:
        r->state = NORMAL;
        function_key(r, b, 0);
        break;
    }
}

/* --- life --- */

Readline *readline_new(const ReadlineOps *ops, void *arg, const char *prompt)
{
    Readline *r = g_new0(Readline, 1);

    r->ops = ops;
    r->arg = arg;
    r->prompt = g_strdup(prompt);
    r->line = g_string_new(NULL);
    g_queue_init(&r->history);
    return r;
}

void readline_free(Readline *r)
{
    g_queue_clear_full(&r->history, g_free);
    g_string_free(r->line, TRUE);
    g_free(r->kept);
    g_free(r->prompt);
    g_free(r);
}
