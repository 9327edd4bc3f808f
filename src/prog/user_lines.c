#include "prog/user_lines.h"

static struct str without_end(struct str s)
{
    if (str_ends(s, STR("\n")))
        s.n--;
    if (str_ends(s, STR("\r")))
        s.n--;
    return s;
}

bool user_file_next(struct str *text, struct user_line *out)
{
    if (text->n == 0)
        return false;
    size_t lf = str_chr(*text, '\n');
    *out = (struct user_line){.raw = str_slice(*text, 0, lf == STR_NPOS ? text->n : lf + 1)};
    *text = str_skip(*text, out->raw.n);
    struct str rest = str_trim(without_end(out->raw));
    if (rest.n > 0 && rest.p[0] != '#') {
        out->name = str_trim(str_cut(&rest, ':'));
        out->field = str_trim(str_cut(&rest, ':'));
    }
    return true;
}

bool user_file_find(struct str text, struct str name, struct user_line *out)
{
    while (user_file_next(&text, out)) {
        if (out->name.n > 0 && str_ieq(out->name, name))
            return true;
    }
    return false;
}

bool user_file_is_of(const struct user_line *l, struct str user)
{
    struct str name = l->name;
    return name.n > 0 && str_ieq(str_cut(&name, '/'), user);
}

static void put_new(struct str name, struct str field, struct buf *out)
{
    buf_put(out, name);
    buf_putc(out, ':');
    buf_put(out, field);
    buf_putc(out, '\n');
}

/* The line with another second field. */
static void put_changed(const struct user_line *l, struct str field, struct buf *out)
{
    struct str line = without_end(l->raw), end = str_skip(l->raw, line.n);
    buf_put(out, str_cut(&line, ':'));
    buf_putc(out, ':');
    buf_put(out, field);
    size_t colon = str_chr(line, ':');
    if (colon != STR_NPOS)
        buf_put(out, str_skip(line, colon));
    buf_put(out, end);
}

/* Where the line of a new name goes: behind the last of the same user, else at the end. */
static size_t place_of(struct str text, struct str name)
{
    struct str user = str_cut(&name, '/'), rest = text;
    struct user_line l;
    size_t at = text.n;
    bool found = false;
    while (user_file_next(&rest, &l)) {
        if (user_file_is_of(&l, user)) {
            at = text.n - rest.n;
            found = true;
        }
    }
    return found ? at : text.n;
}

void user_file_set(struct str text, struct str name, struct str field, struct buf *out)
{
    struct user_line l;
    bool found = user_file_find(text, name, &l);
    size_t at = found ? (size_t)(l.raw.p - text.p) : place_of(text, name);
    buf_put(out, str_slice(text, 0, at));
    if (found) {
        put_changed(&l, field, out);
        at += l.raw.n;
    } else {
        if (at > 0 && text.p[at - 1] != '\n')
            buf_putc(out, '\n');
        put_new(name, field, out);
    }
    buf_put(out, str_skip(text, at));
}

size_t user_file_remove(struct str text, struct str name, struct buf *out)
{
    struct user_line l;
    size_t n = 0;
    while (user_file_next(&text, &l)) {
        bool goes = (l.name.n > 0 && str_ieq(l.name, name)) || user_file_is_of(&l, name);
        n += goes;
        if (!goes)
            buf_put(out, l.raw);
    }
    return n;
}
