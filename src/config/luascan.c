#include "config/luascan.h"

#include "config/schema.h"

static const struct scan_token no_token = {.kind = SCAN_END};

/* ---- tokens ------------------------------------------------------------------------------------ */

void scan_init(struct scanner *s, struct str text)
{
    *s = (struct scanner){text, 1};
}

static char peek(const struct scanner *s, size_t i)
{
    return i < s->rest.n ? s->rest.p[i] : '\0';
}

static bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

/* Takes n octets, counting lines as Lua does: CR, LF, CRLF and LFCR are one each. */
static struct str take(struct scanner *s, size_t n)
{
    struct str taken = str_slice(s->rest, 0, n);
    for (size_t i = 0; i < taken.n; i++) {
        if (!is_newline(taken.p[i]))
            continue;
        s->line++;
        if (i + 1 < taken.n && is_newline(taken.p[i + 1]) && taken.p[i + 1] != taken.p[i])
            i++;
    }
    s->rest = str_skip(s->rest, n);
    return taken;
}

/* The length of "[[...]]", "[=[...]=]" at the front, up to the end of the text when it is not closed; 0: no
 * such. */
static size_t long_bracket(struct str s)
{
    size_t level = 0;
    if (s.n < 2 || s.p[0] != '[')
        return 0;
    while (1 + level < s.n && s.p[1 + level] == '=')
        level++;
    if (1 + level >= s.n || s.p[1 + level] != '[')
        return 0;
    for (size_t i = 2 + level; i < s.n; i++) {
        size_t n = 0;
        if (s.p[i] != ']')
            continue;
        while (i + 1 + n < s.n && s.p[i + 1 + n] == '=')
            n++;
        if (n == level && i + 1 + n < s.n && s.p[i + 1 + n] == ']')
            return i + 2 + n;
    }
    return s.n;
}

static size_t quoted(struct str s)
{
    char quote = s.p[0];
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == quote)
            return i + 1;
        if (is_newline(s.p[i]))
            return i; /* not closed: Lua refuses it, and the next line is a new beginning */
        if (s.p[i] == '\\')
            i++;
    }
    return s.n;
}

static size_t number(struct str s)
{
    size_t n = 0;
    while (n < s.n && (ascii_is_alnum(s.p[n]) || s.p[n] == '.'))
        n++;
    return n;
}

static size_t name(struct str s)
{
    size_t n = 0;
    while (n < s.n && (ascii_is_alnum(s.p[n]) || s.p[n] == '_'))
        n++;
    return n;
}

static size_t line_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && !is_newline(s.p[n]))
        n++;
    return n;
}

static void skip_space(struct scanner *s)
{
    for (;;) {
        size_t n = 0;
        while (n < s->rest.n && (is_newline(s->rest.p[n]) || s->rest.p[n] == ' ' || s->rest.p[n] == '\t' ||
                                 s->rest.p[n] == '\f' || s->rest.p[n] == '\v'))
            n++;
        if (n == 0 && str_starts(s->rest, STR("--"))) {
            size_t bracket = long_bracket(str_skip(s->rest, 2));
            n = bracket > 0 ? bracket + 2 : line_length(s->rest);
        }
        if (n == 0)
            return;
        (void)take(s, n);
    }
}

struct scan_token scan_next(struct scanner *s)
{
    skip_space(s);
    struct scan_token t = {.line = s->line};
    char c = peek(s, 0);
    size_t n = long_bracket(s->rest);
    if (s->rest.n == 0)
        return t;
    if (n > 0) {
        t.kind = SCAN_STRING;
    } else if (c == '"' || c == '\'') {
        t.kind = SCAN_STRING;
        n = quoted(s->rest);
    } else if (ascii_is_digit(c) || (c == '.' && ascii_is_digit(peek(s, 1)))) {
        t.kind = SCAN_NUMBER;
        n = number(s->rest);
    } else if (ascii_is_alpha(c) || c == '_') {
        t.kind = SCAN_NAME;
        n = name(s->rest);
    } else {
        t.kind = SCAN_SYMBOL;
        n = 1;
    }
    t.text = take(s, n);
    return t;
}

static bool is_symbol(struct scan_token t, char c)
{
    return t.kind == SCAN_SYMBOL && t.text.n == 1 && t.text.p[0] == c;
}

/* ---- where a key or a list's value stands ------------------------------------------------------ */

static bool find_table(struct scanner *s, struct str text, int line, struct str fact)
{
    scan_init(s, text);
    for (;;) {
        struct scan_token t = scan_next(s);
        if (t.kind == SCAN_END || t.line > line)
            return false;
        if (t.line == line && t.kind == SCAN_NAME && str_eq(t.text, fact))
            break;
    }
    for (int i = 0; i < 4; i++) { /* domain ( "name" ) { */
        struct scan_token t = scan_next(s);
        if (is_symbol(t, '{'))
            return true;
        if (t.kind == SCAN_END)
            return false;
    }
    return false;
}

static int depth_change(struct scan_token t)
{
    if (is_symbol(t, '{') || is_symbol(t, '(') || is_symbol(t, '['))
        return 1;
    return is_symbol(t, '}') || is_symbol(t, ')') || is_symbol(t, ']') ? -1 : 0;
}

int scan_key_line(struct str text, int line, struct str fact, struct str key)
{
    struct scanner s;
    struct scan_token last = no_token;
    if (!find_table(&s, text, line, fact))
        return line;
    for (int depth = 1; depth > 0;) {
        struct scan_token t = scan_next(&s);
        if (t.kind == SCAN_END)
            return line;
        if (depth == 1 && is_symbol(t, '=') && last.kind == SCAN_NAME && str_eq(last.text, key))
            return last.line;
        depth += depth_change(t);
        last = t;
    }
    return line;
}

int scan_item_line(struct str text, int line, struct str fact, size_t i)
{
    struct scanner s;
    if (!find_table(&s, text, line, fact))
        return line;
    for (int depth = 1; depth > 0;) {
        struct scan_token t = scan_next(&s);
        if (t.kind == SCAN_END)
            return line;
        if (depth == 1 && i == 1)
            return t.line;
        if (depth == 1 && (is_symbol(t, ',') || is_symbol(t, ';')))
            i--;
        depth += depth_change(t);
    }
    return line;
}

/* ---- syntax errors ----------------------------------------------------------------------------- */

struct stumble {
    struct scan_token before2, before, at, after; /* the tokens around the one Lua stumbled over */
};

static bool ends_value(struct scan_token t)
{
    return t.kind == SCAN_STRING || t.kind == SCAN_NUMBER || t.kind == SCAN_NAME || is_symbol(t, '}') ||
           is_symbol(t, ')') || is_symbol(t, ']');
}

static bool begins_value(struct scan_token t)
{
    return t.kind == SCAN_STRING || t.kind == SCAN_NUMBER || t.kind == SCAN_NAME || is_symbol(t, '{') ||
           is_symbol(t, '[');
}

static bool is_fact(struct scan_token t)
{
    return t.kind == SCAN_NAME && schema_find(STR(""), t.text) != NULL;
}

/* What stands behind "near" in Lua's message: 'x' or <eof>. */
static struct str near_of(struct str message)
{
    size_t at = str_find(message, STR(" near "));
    struct str near = at == STR_NPOS ? STR_NIL : str_skip(message, at + 6);
    if (near.n >= 2 && near.p[0] == '\'' && near.p[near.n - 1] == '\'')
        near = str_slice(near, 1, near.n - 1);
    return near;
}

/* Lua's operators of two characters are two tokens here. */
static bool reads_as(struct scan_token t, struct str near)
{
    return t.kind == SCAN_SYMBOL ? str_starts(near, t.text) : str_eq(near, t.text);
}

/* Several tokens of the line may read alike: Lua stumbled over the first that can't follow what stands before
 * it. */
static bool find_stumble(struct str text, int line, struct str near, struct stumble *out)
{
    struct scanner s;
    bool is_end = str_eq(near, STR("<eof>"));
    bool found = false;
    struct scan_token before2 = no_token, before = no_token;
    scan_init(&s, text);
    struct scan_token t = scan_next(&s);
    for (;;) {
        struct scan_token after = t.kind == SCAN_END ? no_token : scan_next(&s);
        bool matches = t.kind == SCAN_END ? is_end : t.line == line && reads_as(t, near);
        bool odd = begins_value(t) ? ends_value(before) : t.kind == SCAN_SYMBOL && !ends_value(before);
        if (matches && (!found || odd)) {
            *out = (struct stumble){before2, before, t, after};
            found = true;
            if (odd)
                return true;
        }
        if (t.kind == SCAN_END)
            return found;
        before2 = before;
        before = t;
        t = after;
    }
}

/* "at line 3" in Lua's message, else line. */
static int opened_at(struct str message, int line)
{
    uint64_t v;
    size_t at = str_find(message, STR("at line "));
    if (at == STR_NPOS)
        return line;
    struct str rest = str_skip(message, at + 8);
    return str_to_u64(str_cut(&rest, ')'), 1 << 30, &v) ? (int)v : line;
}

static void put_token(struct scan_token t, struct buf *out)
{
    const char *quote = t.kind == SCAN_STRING ? "" : "'";
    buf_printf(out, "%s%.*s%s", quote, (int)(t.text.n < 40 ? t.text.n : 40), t.text.p, quote);
}

/* Within { }: a comma is missing, or the brace that closes it. */
static int explain_brace(const struct stumble *at, int line, struct str message, struct buf *out)
{
    int opened = opened_at(message, line);
    struct scan_token t = at->at;
    if (t.kind == SCAN_END || (is_fact(t) && !is_symbol(at->after, '='))) {
        buf_puts(out, "the '{' on this line is never closed");
        if (t.kind != SCAN_END)
            buf_printf(out, ": a '}' seems to be missing before '%.*s' on line %d", STR_FMT(t.text), t.line);
        return opened;
    }
    if (ends_value(at->before) && begins_value(t)) {
        if (at->before.line < t.line) {
            buf_puts(out, "a comma seems to be missing at the end of this line (before ");
            put_token(t, out);
            buf_printf(out, " on line %d)", t.line);
            return at->before.line;
        }
        buf_puts(out, "a comma seems to be missing before ");
        put_token(t, out);
        return t.line;
    }
    if (is_symbol(t, '=') && at->before.kind == SCAN_STRING) {
        buf_puts(out, "a key stands without quotes: key = value");
        return t.line;
    }
    if (is_symbol(t, '=') || is_symbol(t, ':')) {
        buf_puts(out, "a key and its value are joined by one '=': key = value");
        return t.line;
    }
    put_token(t, out);
    buf_printf(out, " does not belong into the { } that begins on line %d", opened);
    return t.line;
}

static bool explain_token(const struct stumble *at, struct str message, struct buf *out)
{
    struct scan_token t = at->at;
    if (is_symbol(t, '#')) {
        buf_puts(out, "a comment begins with -- and not with #");
    } else if (is_symbol(t, '/') && (is_symbol(at->after, '/') || is_symbol(at->before, '/'))) {
        buf_puts(out, "a comment begins with -- and not with //");
    } else if (is_symbol(at->before, ':') || is_symbol(at->before2, ':') || is_symbol(t, ':')) {
        buf_puts(out, "a key and its value are joined by '=' and not by ':'");
    } else if (is_fact(at->before) && (t.kind == SCAN_NAME || t.kind == SCAN_NUMBER) &&
               t.line == at->before.line) {
        buf_printf(out, "what follows '%.*s' stands in quotes or in { }", STR_FMT(at->before.text));
    } else if (is_symbol(t, '}') && str_starts(message, STR("unexpected symbol")) &&
               is_symbol(at->before, '=')) {
        buf_puts(out, "a value is missing behind '='");
    } else if (is_symbol(t, ',') && is_symbol(at->before, ',')) {
        buf_puts(out, "one comma too many");
    } else if (is_symbol(t, '}') || is_symbol(t, ')')) {
        buf_printf(out, "this '%c' closes nothing", t.text.p[0]);
    } else {
        return false;
    }
    return true;
}

int scan_explain(struct str text, int line, struct str message, struct buf *out)
{
    struct stumble at = {no_token, no_token, no_token, no_token};
    struct str near = near_of(message);
    if (str_starts(message, STR("unfinished string"))) {
        buf_puts(out, "a text has no closing quote on this line");
    } else if (str_starts(message, STR("malformed number"))) {
        buf_printf(out, "what is no plain number stands in quotes (near '%.*s')", STR_FMT(near));
    } else if (find_stumble(text, line, near, &at)) {
        if (str_starts(message, STR("'}' expected")))
            return explain_brace(&at, line, message, out);
        if (explain_token(&at, message, out))
            return line;
    }
    if (out->n == 0) {
        buf_puts(out, "this is no Lua: ");
        buf_put(out, str_slice(message, 0, 300));
    }
    return line;
}
