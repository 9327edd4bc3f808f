#include "service/keys/users.h"

#include "base/limits.h"
#include "base/mem.h"
#include "crypto/secret.h"

#include <stdlib.h>

enum { USER_NAME_MAX = 255 };

struct user {
    struct str name, field; /* in the copy */
    size_t line;
};
struct users {
    struct str text;
    struct user *list; /* in order of names */
    size_t n;
    bool has_like;
    struct verifier like;
    unsigned scram; /* 1 << enum scram_hash: nobody lacks it */
};

static bool is_locked(struct str field)
{
    return field.n == 0 || field.p[0] == '!' || field.p[0] == '*';
}

static int user_cmp(const void *va, const void *vb)
{
    const struct user *a = va, *b = vb;
    int c = str_icmp(a->name, b->name);
    return c != 0 ? c : a->line < b->line ? -1 : a->line > b->line;
}

static size_t count_lines(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

/* NULL: fine. */
static const char *take_line(struct users *u, struct str line, size_t number)
{
    struct verifier v;
    line = str_trim(line);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0 || line.p[0] == '#')
        return NULL;
    struct user *x = &u->list[u->n++];
    x->line = number;
    x->name = str_trim(str_cut(&line, ':'));
    x->field = str_trim(str_cut(&line, ':'));
    if (x->name.n == 0)
        return "there is no name before the colon";
    if (x->name.n > USER_NAME_MAX || str_has_ctl(x->name))
        return "the name is too long or has control characters in it";
    if (is_locked(x->field))
        return NULL;
    const char *problem = verifier_parse(x->field, &v);
    if (problem == NULL && v.asks != VERIFIER_NONE && !u->has_like) {
        u->like = v;
        u->has_like = true;
    }
    for (unsigned h = 0; h < SCRAM_HASHES; h++)
        u->scram &= v.has_scram[h] ? ~0u : ~(1u << h);
    secret_wipe(&v, sizeof v);
    return problem;
}

static enum err take_lines(struct users *u, struct buf *why)
{
    struct str rest = u->text;
    for (size_t number = 1; rest.n > 0; number++) {
        const char *problem = take_line(u, str_cut(&rest, '\n'), number);
        if (problem == NULL)
            continue;
        struct str name = u->n == 0 ? STR_NIL : str_slice(u->list[u->n - 1].name, 0, USER_NAME_MAX);
        (void)buf_printf(why, "line %zu, user \"%.*s\": %s", number, STR_FMT(name), problem);
        return ERR_INVALID;
    }
    if (u->n > 1)
        qsort(u->list, u->n, sizeof *u->list, user_cmp);
    for (size_t i = 1; i < u->n; i++) {
        if (!str_ieq(u->list[i - 1].name, u->list[i].name))
            continue;
        (void)buf_printf(why, "line %zu: user \"%.*s\" is in line %zu already", u->list[i].line,
                         STR_FMT(u->list[i].name), u->list[i - 1].line);
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err users_parse(struct str text, struct users **out, struct buf *why)
{
    *out = NULL;
    if (text.n > PASSWORD_FILE_MAX) {
        (void)buf_puts(why, "the file is too big");
        return ERR_TOO_BIG;
    }
    struct users *u = mem_new(struct users);
    enum err e = ERR_NOMEM;
    if (u != NULL && secret_copy(text, &u->text)) {
        u->scram = (1u << SCRAM_HASHES) - 1;
        u->list = mem_alloc_array(count_lines(text), sizeof *u->list);
        e = u->list == NULL ? ERR_NOMEM : take_lines(u, why);
    }
    if (e == ERR_NOMEM)
        (void)buf_puts(why, "no memory");
    if (e != ERR_OK)
        users_free(&u);
    *out = u;
    return e;
}

size_t users_count(const struct users *u)
{
    return u->n;
}

bool users_find(const struct users *u, struct str name, struct verifier *out)
{
    size_t from = 0, to = u->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int c = str_icmp(u->list[middle].name, name);
        if (c == 0) {
            struct str field = u->list[middle].field;
            return !is_locked(field) && verifier_parse(field, out) == NULL && out->asks != VERIFIER_NONE;
        }
        if (c < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

unsigned users_scram(const struct users *u)
{
    return u->scram;
}

const struct verifier *users_like(const struct users *u)
{
    return u->has_like ? &u->like : NULL;
}

void users_free(struct users **up)
{
    struct users *u = *up;
    if (u == NULL)
        return;
    secret_free(&u->text);
    mem_free(u->list);
    secret_wipe(u, sizeof *u);
    mem_free(u);
    *up = NULL;
}
