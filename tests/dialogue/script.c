#include "tests/dialogue/script.h"

#include "base/mem.h"

#include <stdio.h>

enum { FILE_MAX = 1024 * 1024 };

bool glob_matches(struct str glob, struct str text)
{
    size_t g = 0, t = 0, star = STR_NPOS, star_t = 0;
    while (t < text.n) {
        if (g < glob.n && glob.p[g] == '*') {
            star = g++;
            star_t = t;
        } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == text.p[t])) {
            g++;
            t++;
        } else if (star != STR_NPOS) {
            g = star + 1;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*')
        g++;
    return g == glob.n;
}

static char *read_file(const char *path, size_t *out_n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *mem = mem_must_alloc(FILE_MAX);
    *out_n = fread(mem, 1, FILE_MAX, f);
    fclose(f);
    return mem;
}

static int hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape sequence behind a backslash; returns octets read, 0 when malformed. */
static size_t unescape(struct str s, struct buf *out)
{
    static const char from[] = "rnt\\\"", to[] = "\r\n\t\\\"";
    if (s.n >= 3 && s.p[0] == 'x' && hex_digit(s.p[1]) >= 0 && hex_digit(s.p[2]) >= 0) {
        buf_putc(out, (char)(hex_digit(s.p[1]) * 16 + hex_digit(s.p[2])));
        return 3;
    }
    for (size_t i = 0; s.n > 0 && from[i] != '\0'; i++) {
        if (s.p[0] == from[i]) {
            buf_putc(out, to[i]);
            return 1;
        }
    }
    return 0;
}

/* "text" in quotes, appended to out n times. */
static bool literal(struct script *s, struct str quoted, uint64_t n, struct str *out)
{
    size_t at = s->literals.n;
    if (quoted.n < 2 || quoted.p[0] != '"' || quoted.p[quoted.n - 1] != '"')
        return false;
    struct str in = str_slice(quoted, 1, quoted.n - 1);
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '\\') {
            buf_putc(&s->literals, in.p[i]);
            continue;
        }
        size_t used = unescape(str_skip(in, i + 1), &s->literals);
        if (used == 0)
            return false;
        i += used;
    }
    size_t once = s->literals.n - at;
    for (uint64_t i = 1; i < n; i++)
        buf_put(&s->literals, str_of(s->literals.p + at, once));
    *out = str_skip(buf_str(&s->literals), at);
    return !s->literals.failed;
}

static bool header(struct script *s, struct str line)
{
    struct str value = str_trim(str_skip(line, 2));
    struct str name = str_cut(&value, ':');
    value = str_trim(value);
    if (str_eq(name, STR("only")) && str_eq(value, STR("pure")))
        s->only_pure = true;
    else if (str_eq(name, STR("only")) && str_eq(value, STR("real")))
        s->only_real = true;
    else if (str_eq(name, STR("needs")) && str_eq(value, STR("lmtp")))
        s->lmtp = true;
    else if (str_eq(name, STR("needs")) && str_eq(value, STR("relay")))
        s->relay = true;
    else if (str_eq(name, STR("conf")))
        s->conf = value;
    else
        return !str_eq(name, STR("only")) && !str_eq(name, STR("needs"));
    return true;
}

static bool counted(struct step *st, struct str *rest)
{
    struct str number = str_cut(rest, ' ');
    return str_to_u64(number, 1000000, &st->n);
}

static bool step(struct script *s, struct step *st, struct str line)
{
    struct str rest = line;
    struct str word = str_cut(&rest, ' ');
    st->n = 1;
    st->text = rest;
    if (str_eq(word, STR("C:"))) {
        st->kind = STEP_SEND;
        size_t at = s->literals.n;
        st->text = str_of(s->literals.p + at, rest.n + 2);
        return buf_put(&s->literals, rest) && buf_puts(&s->literals, "\r\n");
    }
    if (str_eq(word, STR("C+")) || str_eq(word, STR("C*"))) {
        st->kind = STEP_SEND;
        return (word.p[1] == '+' || counted(st, &rest)) && literal(s, rest, st->n, &st->text);
    }
    if (str_eq(word, STR("S:")) || str_eq(word, STR("S*"))) {
        st->kind = STEP_LINE;
        bool good = word.p[1] == ':' || counted(st, &rest);
        st->text = rest;
        return good && rest.n > 0;
    }
    st->kind = str_eq(word, STR("S..."))      ? STEP_LINES_TO
               : str_eq(word, STR("closed"))  ? STEP_CLOSED
               : str_eq(word, STR("eof"))     ? STEP_EOF
               : str_eq(word, STR("event"))   ? STEP_EVENT
               : str_eq(word, STR("answer"))  ? STEP_ANSWER
               : str_eq(word, STR("tick"))    ? STEP_TICK
               : str_eq(word, STR("close"))   ? STEP_CLOSE
               : str_eq(word, STR("secured")) ? STEP_SECURED
                                              : (enum step_kind)0;
    if (st->kind == STEP_EVENT || st->kind == STEP_ANSWER) {
        st->word = str_cut(&rest, ' ');
        st->text = rest;
        if (str_eq(st->word, STR("message")) && rest.n > 0 && st->kind == STEP_EVENT)
            return literal(s, rest, 1, &st->text);
    }
    return (int)st->kind != 0 && (st->kind != STEP_TICK || counted(st, &rest));
}

bool script_load(struct script *s, const char *path)
{
    size_t n;
    *s = (struct script){0};
    s->file = read_file(path, &n);
    if (s->file == NULL) {
        printf("# %s: can't be read\n", path);
        return false;
    }
    buf_init(&s->literals, 8 * (size_t)FILE_MAX);
    if (!buf_reserve(&s->literals, 8 * (size_t)FILE_MAX))
        return false;
    struct str text = str_of(s->file, n);
    for (unsigned no = 1; text.n > 0; no++) {
        struct str line = str_cut(&text, '\n');
        if (line.n == 0)
            continue;
        bool is_comment = line.p[0] == '#';
        bool good = s->n_steps < SCRIPT_STEPS_MAX;
        if (is_comment && s->n_steps == 0)
            good = header(s, line);
        else if (!is_comment && good) {
            s->steps[s->n_steps].line = no;
            good = step(s, &s->steps[s->n_steps++], line);
        }
        if (!good) {
            printf("# %s:%u: not understood\n", path, no);
            return false;
        }
    }
    return s->n_steps > 0;
}

void script_free(struct script *s)
{
    buf_fini(&s->literals);
    mem_free(s->file);
    s->file = NULL;
}
