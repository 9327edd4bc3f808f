#include "wire/addrlist.h"

#include "base/limits.h"
#include "wire/address.h"

#include <string.h>

/* One element on its way to its address. */
struct element {
    struct buf plain; /* what stands outside of comments, spaces and angle brackets */
    struct buf angle; /* what stands within "<" and ">" */
    bool in_angle, has_angle, is_after_angle;
    bool is_phrase; /* two words stand side by side: a name for people, or nothing that can be mailed to */
    bool after_word;
    const char *why;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c)
{
    return c != '\0' && memchr("()<>[]:;@\\,.\"", c, 13) != NULL;
}

/* Octets of the comment at the start of s, its brackets included; what has no end reaches to the end. */
static size_t comment_size(struct str s, const char **why)
{
    size_t depth = 0, i = 0;
    for (; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n) {
            i++;
        } else if (s.p[i] == '(') {
            if (++depth > ADDRLIST_DEPTH_MAX)
                *why = "comments are nested too deep";
        } else if (s.p[i] == ')' && --depth == 0) {
            return i + 1;
        }
    }
    *why = "a comment has no end";
    return s.n;
}

/* Octets of a quoted-string or a domain literal at the start of s, up to and with `end`. */
static size_t enclosed_size(struct str s, char end, const char **why)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == end)
            return i + 1;
    }
    *why = end == '"' ? "a quoted name has no end" : "an address literal has no closing bracket";
    return s.n;
}

static size_t atom_size(struct str s)
{
    size_t i = 0;
    while (i < s.n && !is_space(s.p[i]) && !is_special(s.p[i]))
        i++;
    return i;
}

/* A folded line within quotes is one space less its end (RFC 5322 2.2.3). */
static void put_unfolded(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\r' && s.p[i] != '\n')
            buf_putc(out, s.p[i]);
    }
}

static struct buf *part(struct element *e)
{
    return e->in_angle ? &e->angle : &e->plain;
}

static void on_word(struct element *e, struct str word)
{
    if (e->after_word && e->in_angle)
        e->why = "two words stand side by side within < and >";
    else if (e->after_word)
        e->is_phrase = true;
    if (e->is_after_angle)
        e->why = "something stands behind the >";
    put_unfolded(part(e), word);
    e->after_word = true;
}

static void on_mark(struct element *e, char c)
{
    buf_putc(part(e), c);
    if (e->is_after_angle)
        e->why = "something stands behind the >";
    e->after_word = false;
}

static void on_open(struct element *e)
{
    if (e->has_angle)
        e->why = "an address has two <";
    e->in_angle = e->has_angle = true;
    e->after_word = false;
}

static void on_close(struct element *e)
{
    if (!e->in_angle)
        e->why = "a > has no <";
    e->in_angle = e->after_word = false;
    e->is_after_angle = true;
}

/* A word, a mark or a space at the start of s; its octets. 0: the element ends there. */
static size_t take_token(struct element *e, struct str s)
{
    char c = s.p[0];
    size_t n = 1;
    if (is_space(c))
        return 1;
    if (c == '(')
        return comment_size(s, &e->why);
    if (c == '"') {
        n = enclosed_size(s, '"', &e->why);
        on_word(e, str_slice(s, 0, n));
    } else if (c == '[') {
        n = enclosed_size(s, ']', &e->why);
        on_word(e, str_slice(s, 0, n));
    } else if (c == '<') {
        on_open(e);
    } else if (c == '>') {
        on_close(e);
    } else if (c == '@' || c == '.') {
        on_mark(e, c);
    } else if (e->in_angle && (c == ',' || c == ':')) {
        on_mark(e, c); /* a source route */
    } else if (c == ',' || c == ';' || c == ':') {
        return 0;
    } else if (c == '\\' && s.n > 1) {
        n = 2;
        on_word(e, str_slice(s, 0, n)); /* `\name` is no address: the parse of the whole says so */
    } else if (is_special(c)) {
        on_mark(e, c);
    } else {
        n = atom_size(s);
        on_word(e, str_slice(s, 0, n));
    }
    return n;
}

/* From the octets between the brackets, or from the bare ones, to the plainest form. */
static const char *finish(const struct element *e, struct buf *out)
{
    char mem[SMTP_PATH_MAX + 4], local_mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf path, local;
    const struct buf *from = e->has_angle ? &e->angle : &e->plain;
    struct address a;
    struct str rest;
    bool had_route, needs_quotes;
    if (e->why != NULL)
        return e->why;
    if (e->in_angle)
        return "a < has no >";
    if (!e->has_angle && e->is_phrase)
        return "words stand side by side where an address should be";
    if (from->n == 0 && !from->failed)
        return "the address is empty";
    buf_init_fixed(&path, mem, sizeof mem);
    if (from->failed || !buf_putc(&path, '<') || !buf_put(&path, buf_str(from)) || !buf_putc(&path, '>'))
        return "the address is too long";
    const char *why = address_parse_path(buf_str(&path), true, &a, &had_route, &rest);
    if (why != NULL || rest.n > 0)
        return why != NULL ? why : "something stands behind the address";
    buf_init_fixed(&local, local_mem, sizeof local_mem);
    local_part_unquote(a.local, &local, &needs_quotes);
    size_t before = out->n;
    if (!local.failed && local.n > 0)
        address_format(buf_str(&local), a.domain, out);
    if (!local.failed && local.n > 0 && !out->failed)
        return NULL;
    out->n = before;
    out->failed = false;
    return "the address is too long";
}

void addrlist_init(struct addrlist *l, struct str text)
{
    *l = (struct addrlist){.rest = text};
}

enum addrlist_status addrlist_next(struct addrlist *l, struct buf *out, struct str *element, const char **why)
{
    char plain_mem[SMTP_PATH_MAX], angle_mem[SMTP_PATH_MAX];
    while (l->rest.n > 0) {
        struct element e = {0};
        struct str s = l->rest;
        size_t i = 0;
        buf_init_fixed(&e.plain, plain_mem, sizeof plain_mem);
        buf_init_fixed(&e.angle, angle_mem, sizeof angle_mem);
        for (size_t n; i < s.n && (n = take_token(&e, str_skip(s, i))) > 0;)
            i += n;
        char end = i < s.n ? s.p[i] : ',';
        l->rest = str_skip(s, i + 1);
        *element = str_slice(s, 0, i);
        bool is_group_name = end == ':' && !l->in_group && !e.has_angle && e.why == NULL;
        if (end == ':' && !is_group_name && e.why == NULL)
            e.why = "a colon stands where none can";
        if (end == ';' && !l->in_group && e.why == NULL && (e.plain.n > 0 || e.has_angle))
            end = ','; /* lists of people who know other programs are parted by semicolons */
        l->in_group = is_group_name || (l->in_group && end != ';');
        if (is_group_name || (e.why == NULL && !e.has_angle && e.plain.n == 0))
            continue;
        *why = finish(&e, out);
        return *why == NULL ? ADDRLIST_MAILBOX : ADDRLIST_BAD;
    }
    return ADDRLIST_END;
}
