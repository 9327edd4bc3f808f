/* Lines: a URL, a filter, and behind them a user. A URL that is taken names a server whom passwords reach in
 * the clear on this machine alone; whatever a user is called, his filter has the parentheses and stars of its
 * template and no others. */
#include "config/table_values.h"
#include "ext/ldap_check.h"

#include "base/limits.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct auth_table *t)
{
    bool is_named = t->host.n > 0;
    must(is_named == (t->at.kind == NETADDR_NONE));
    must(t->at.kind == NETADDR_UNIX ? t->at.port == 0 && t->at.path[0] == '/' : t->at.port > 0);
    must(!str_has_ctl(t->host) && str_chr(t->host, '/') == STR_NPOS && str_chr(t->host, '@') == STR_NPOS);
    if (t->tls == TABLE_CLEAR)
        must(t->at.kind == NETADDR_UNIX || netaddr_is_loopback(&t->at));
}

static void check_urls(struct str url)
{
    struct auth_table ldap = {.tls = TABLE_CLEAR}, sql = {.tls = TABLE_CLEAR};
    enum auth_by kind;
    if (table_ldap_server(url, &ldap) == NULL)
        check_place(&ldap);
    if (table_sql_database(url, &kind, &sql) != NULL)
        return;
    if (kind == AUTH_BY_POSTGRESQL) {
        check_place(&sql);
        must(sql.user.n > 0 && sql.place.n > 0 && str_chr(sql.user, ':') == STR_NPOS);
        must(str_chr(sql.place, '/') == STR_NPOS);
    } else {
        must(kind == AUTH_BY_SQLITE && sql.place.n > 0 && !str_has_ctl(sql.place));
    }
}

struct marks {
    size_t open, close, star;
};

/* false: an escape (RFC 4515 3) is broken. */
static bool count_marks(struct str s, struct marks *out)
{
    *out = (struct marks){0};
    for (size_t i = 0; i < s.n; i++) {
        out->open += s.p[i] == '(';
        out->close += s.p[i] == ')';
        out->star += s.p[i] == '*';
        if (s.p[i] == '\0' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static void check_filter(struct str filter, struct str user)
{
    char template[TABLE_TEXT_MAX + 1], mem[8 * TABLE_TEXT_MAX];
    const struct auth_backend b = {.kind = AUTH_BY_LDAP, .table = {.place = STR("dc=x"), .question = filter}};
    struct buf out;
    struct marks before, after;
    if (table_error(&b) != NULL)
        return;
    must(str_to_c(filter, template, sizeof template));
    buf_init_fixed(&out, mem, sizeof mem);
    if (!ldap_check_filter(template, user, user, &out) || !count_marks(filter, &before))
        return;
    out.n--; /* its NUL */
    must(count_marks(buf_str(&out), &after));
    must(before.open == after.open && before.close == after.close && before.star == after.star);
    must(after.open == after.close);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size);
    struct str url = str_cut(&rest, '\n'), filter = str_cut(&rest, '\n');
    check_urls(url);
    check_filter(filter, rest);
    return 0;
}
