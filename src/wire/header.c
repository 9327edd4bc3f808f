#include "wire/header.h"

void header_walk_init(struct header_walk *w, struct str message)
{
    *w = (struct header_walk){.rest = message};
}

/* Octets of the line at the start of s, its end included. */
static size_t line_size(struct str s)
{
    size_t lf = str_chr(s, '\n');
    return lf == STR_NPOS ? s.n : lf + 1;
}

static struct str without_end(struct str s)
{
    if (s.n > 0 && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n > 0 && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

static bool is_fold(struct str s)
{
    return s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t');
}

/* RFC 5322 2.2: printable ASCII but the colon; space before the colon is obsolete syntax (4.5.8). */
static bool split_name(struct str line, struct str *name, size_t *body_at)
{
    size_t colon = str_chr(line, ':');
    if (colon == STR_NPOS)
        return false;
    struct str n = str_slice(line, 0, colon);
    while (n.n > 0 && (n.p[n.n - 1] == ' ' || n.p[n.n - 1] == '\t'))
        n.n--;
    for (size_t i = 0; i < n.n; i++) {
        unsigned char c = (unsigned char)n.p[i];
        if (c < 0x21 || c > 0x7e)
            return false;
    }
    *name = n;
    *body_at = colon + 1;
    return n.n > 0;
}

bool header_walk_next(struct header_walk *w, struct header_field *out)
{
    if (w->in_body)
        return false;
    struct str line = str_slice(w->rest, 0, line_size(w->rest));
    struct str bare = without_end(line);
    struct str name;
    size_t body_at;
    if (bare.n == 0 || !split_name(bare, &name, &body_at)) {
        w->in_body = true;
        if (bare.n == 0)
            w->rest = str_skip(w->rest, line.n);
        return false;
    }
    size_t n = line.n;
    while (is_fold(str_skip(w->rest, n)))
        n += line_size(str_skip(w->rest, n));
    out->name = name;
    out->raw = str_slice(w->rest, 0, n);
    out->body = str_skip(without_end(out->raw), body_at);
    w->rest = str_skip(w->rest, n);
    return true;
}

size_t header_section_size(struct str message)
{
    bool has_field = false;
    size_t at = 0;
    while (at < message.n) {
        struct str rest = str_skip(message, at);
        struct str line = str_slice(rest, 0, line_size(rest));
        if (line.p[line.n - 1] != '\n')
            return STR_NPOS; /* only its end shows what the line is */
        struct str bare = without_end(line);
        if (bare.n == 0)
            return at + line.n;
        struct str name;
        size_t body_at;
        bool belongs = is_fold(line) ? has_field : split_name(bare, &name, &body_at);
        if (!belongs)
            return at;
        has_field = true;
        at += line.n;
    }
    return STR_NPOS;
}

size_t header_count(struct str message, struct str name)
{
    struct header_walk w;
    struct header_field f;
    size_t n = 0;
    header_walk_init(&w, message);
    while (header_walk_next(&w, &f))
        n += str_ieq(f.name, name);
    return n;
}
