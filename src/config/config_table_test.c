/* Domains whose passwords directories and databases know: auth = ldap { ... } | sql { ... }. */
#include "config/testing.h"

#include "base/limits.h"
#include "config/table_values.h"

/* clang-format off */
#define DOMAIN(value) TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\", auth = " value " }"
#define LDAP(server, more) DOMAIN("ldap { server = \"" server "\", base = \"dc=x\"" more " }")
#define SQL(database, more) DOMAIN("sql { database = \"" database "\", query = \"SELECT $1\"" more " }")
static const struct bad_row bad[] = {
    {DOMAIN("ldap \"ldaps://h\""), "waxwing.lua:3: ldap is written ldap { key = value, ... }\n"},
    {DOMAIN("sql(1)"), "waxwing.lua:3: sql is written sql { key = value, ... }\n"},
    {DOMAIN("ldap { base = \"dc=x\" }"), "waxwing.lua:3: ldap needs server = \"ldaps://HOST\"\n"},
    {DOMAIN("ldap { server = \"ldaps://h.example\" }"), "waxwing.lua:3: ldap needs base = \"DN\": where its people are\n"},
    {LDAP("h.example", ""),
     "waxwing.lua:3: server: \"h.example\" must be \"ldaps://HOST\", \"ldap://HOST\" or \"ldapi://%2FPATH\"\n"},
    {LDAP("ldaps://h.example/dc=x", ""),
     "waxwing.lua:3: server: \"ldaps://h.example/dc=x\" names more than a server: where people are and what they are "
     "searched by is said by base and filter\n"},
    {LDAP("ldaps://h.example:0", ""),
     "waxwing.lua:3: server: \"ldaps://h.example:0\" has no port from 1 to 65535 behind the ':'\n"},
    {LDAP("ldaps://", ""),
     "waxwing.lua:3: server: \"ldaps://\" is neither a host name nor an address (an IPv6 address stands in brackets)\n"},
    {LDAP("ldapi://run/ldapi", ""),
     "waxwing.lua:3: server: \"ldapi://run/ldapi\" names no socket: its absolute path, with %2F for each '/': "
     "\"ldapi://%2Frun%2Fslapd%2Fldapi\"\n"},
    {LDAP("ldapi://%2", ""),
     "waxwing.lua:3: server: \"ldapi://%2\" names no socket: its absolute path, with %2F for each '/': "
     "\"ldapi://%2Frun%2Fslapd%2Fldapi\"\n"},
    {LDAP("ldaps://h.example", ", bind = \"cn=x\""), "waxwing.lua:3: ldap has bind and no password = secret \"FILE\"\n"},
    {LDAP("ldaps://h.example", ", password = secret \"hub.pass\""),
     "waxwing.lua:3: ldap has a password and no bind = \"DN\" whose it is\n"},
    {LDAP("ldaps://h.example", ", bind = \"cn=x\", password = \"word\""),
     "waxwing.lua:3: 'password' in ldap must be secret \"FILE\": a configuration is no place for a password\n"},
    {LDAP("ldaps://h.example", ", filter = \"(mail=x)\""),
     "waxwing.lua:3: ldap has a filter without %u: it asks about nobody\n"},
    {LDAP("ldaps://h.example", ", filter = \"mail=%u\""),
     "waxwing.lua:3: ldap has a filter that is not one pair of parentheses: \"(mail=%u@%d)\"\n"},
    {LDAP("ldaps://h.example", ", filter = \"(mail=%u)(x=%d)\""),
     "waxwing.lua:3: ldap has a filter that is not one pair of parentheses: \"(mail=%u@%d)\"\n"},
    {LDAP("ldaps://h.example", ", filter = \"(mail=%u\""),
     "waxwing.lua:3: ldap has a filter that is not one pair of parentheses: \"(mail=%u@%d)\"\n"},
    {LDAP("ldaps://h.example", ", filter = \"(mail=%s)\""),
     "waxwing.lua:3: ldap has a filter with a '%' that is none of %u, %d and %%\n"},
    {LDAP("ldaps://h.example", ", scope = 1"), "waxwing.lua:3: unknown key 'scope' in ldap (it takes server, base, filter, bind, password)\n"},
    {LDAP("ldaps://h.example", ", bsae = \"x\""), "waxwing.lua:3: unknown key 'bsae' in ldap: did you mean 'base'?\n"},
    {DOMAIN("sql { query = \"SELECT $1\" }"),
     "waxwing.lua:3: sql needs database = \"postgresql://USER@HOST/DATABASE\" or \"sqlite:/PATH\"\n"},
    {DOMAIN("sql { database = \"postgresql://u@h.example/d\" }"), "waxwing.lua:3: sql needs query = \"SELECT ... $1 ...\"\n"},
    {DOMAIN("sql { database = \"postgresql://u@h.example/d\", query = \"SELECT 1\" }"),
     "waxwing.lua:3: sql has a query that asks about nobody: $1 stands for the address, $2 for the user, $3 for the domain\n"},
    {SQL("mysql://u@h/d", ""),
     "waxwing.lua:3: database: \"mysql://u@h/d\" must be \"postgresql://USER@HOST/DATABASE\" or \"sqlite:/PATH\"\n"},
    {SQL("postgresql://h.example/d", ""),
     "waxwing.lua:3: database: \"postgresql://h.example/d\" names no user: \"postgresql://USER@HOST/DATABASE\"\n"},
    {SQL("postgresql://u@h.example", ""),
     "waxwing.lua:3: database: \"postgresql://u@h.example\" names no database: \"postgresql://USER@HOST/DATABASE\"\n"},
    {SQL("postgresql://u@h.example/", ""),
     "waxwing.lua:3: database: \"postgresql://u@h.example/\" names no database: \"postgresql://USER@HOST/DATABASE\"\n"},
    {SQL("postgresql://u:word@h.example/d", ""),
     "waxwing.lua:3: database: \"postgresql://u:word@h.example/d\" holds a password: it is given by password = secret "
     "\"FILE\"\n"},
    {SQL("postgresql://u@h.example/d?sslmode=disable", ""),
     "waxwing.lua:3: database: \"postgresql://u@h.example/d?sslmode=disable\" has options: none are taken\n"},
    {SQL("sqlite:nowhere.db", ""), "waxwing.lua:3: database: \"sqlite:nowhere.db\" names no file that is there\n"},
    {SQL("sqlite:", ""), "waxwing.lua:3: database: \"sqlite:\" is empty\n"},
    {SQL("sqlite:lab-ca.pem", ", password = secret \"hub.pass\""),
     "waxwing.lua:3: sql has a password, which SQLite does not know\n"},
    {SQL("postgresql://u@h.example/d", ", password = secret \"open.pass\""),
     "waxwing.lua:3: every user of this machine may read the file /etc/waxwing/open.pass, which holds a secret: chmod o-rwx "
     "it\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\", auth = sql { database = \"sqlite:lab-ca.pem\", "
     "query = \"$1\" } }\ndomain \"b.example\" { users = any, deliver = lmtp \"h\", auth = sql { database = "
     "\"sqlite:sub/team\", query = \"$1\" } }",
     "waxwing.lua:4: auth: SQLite databases in two folders (/etc/waxwing, /etc/waxwing/sub): the process that reads them may "
     "read one\n"},
};
/* clang-format on */

static void what_is_refused(void **state)
{
    UNUSED(state);
    check_rows_in(bad, ARRAY_LEN(bad), false);
}

static void servers(void **state)
{
    static const struct {
        const char *url, *host, *at;
        enum table_tls tls;
    } rows[] = {{"ldaps://dir.example.org", "dir.example.org", "", TABLE_TLS},
                {"LDAPS://dir.example.org:1636/", "dir.example.org", "", TABLE_TLS},
                {"ldap://dir.example.org", "dir.example.org", "", TABLE_STARTTLS},
                {"ldap://192.0.2.1", "", "192.0.2.1:389", TABLE_STARTTLS},
                {"ldaps://[2001:db8::1]", "", "[2001:db8::1]:636", TABLE_TLS},
                {"ldap://127.0.0.1", "", "127.0.0.1:389", TABLE_CLEAR},
                {"ldap://[::1]:3389", "", "[::1]:3389", TABLE_CLEAR},
                {"ldap://localhost", "", "127.0.0.1:389", TABLE_CLEAR},
                {"ldaps://localhost", "", "127.0.0.1:636", TABLE_TLS},
                {"ldapi://%2Frun%2fslapd%2Fldapi", "", "unix:/run/slapd/ldapi", TABLE_CLEAR},
                {"ldapi:///run/ldapi", "", "unix:/run/ldapi", TABLE_CLEAR}};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct auth_table t = {.tls = TABLE_CLEAR};
        char mem[200] = "";
        struct buf at;
        buf_init_fixed(&at, mem, sizeof mem);
        const char *error = table_ldap_server(str_from_c(rows[i].url), &t);
        if (error != NULL)
            fail_msg("%s %s", rows[i].url, error);
        if (t.at.kind != NETADDR_NONE)
            netaddr_format(&t.at, &at);
        assert_true(str_eq(t.host, str_from_c(rows[i].host)) && str_eq(buf_str(&at), str_from_c(rows[i].at)));
        assert_int_equal(t.tls, rows[i].tls);
        assert_true(t.at.kind != NETADDR_NONE || t.at.port > 0);
    }
}

static void databases(void **state)
{
    static const struct {
        const char *url, *host, *at, *user, *place;
        enum table_tls tls;
    } rows[] = {
        {"postgresql://me@db.example.org:5433/mail", "db.example.org", "", "me", "mail", TABLE_TLS},
        {"postgres://me@192.0.2.1/mail", "", "192.0.2.1:5432", "me", "mail", TABLE_TLS},
        {"postgresql://me@localhost/mail", "", "127.0.0.1:5432", "me", "mail", TABLE_CLEAR},
        {"postgresql://me@[::1]/mail", "", "[::1]:5432", "me", "mail", TABLE_CLEAR},
        {"postgresql://me@/run/postgresql/mail", "", "unix:/run/postgresql", "me", "mail", TABLE_CLEAR},
        {"postgresql://me@%2Frun%2Fpostgresql/mail", "", "unix:/run/postgresql", "me", "mail", TABLE_CLEAR},
        {"sqlite:/var/users.db", "", "", "", "/var/users.db", TABLE_CLEAR}};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct auth_table t = {.tls = TABLE_CLEAR};
        enum auth_by kind = AUTH_BY_DOVECOT;
        char mem[200] = "";
        struct buf at;
        buf_init_fixed(&at, mem, sizeof mem);
        const char *error = table_sql_database(str_from_c(rows[i].url), &kind, &t);
        if (error != NULL)
            fail_msg("%s %s", rows[i].url, error);
        if (t.at.kind != NETADDR_NONE)
            netaddr_format(&t.at, &at);
        assert_true(str_eq(t.host, str_from_c(rows[i].host)) && str_eq(buf_str(&at), str_from_c(rows[i].at)));
        assert_true(str_eq(t.user, str_from_c(rows[i].user)) && str_eq(t.place, str_from_c(rows[i].place)));
        assert_int_equal(t.tls, rows[i].tls);
        assert_int_equal(kind, rows[i].url[0] == 's' ? AUTH_BY_SQLITE : AUTH_BY_POSTGRESQL);
    }
}

static const char good[] = TEST_HEAD
    "tls { cert = \"c\", key = \"k\" }\n"
    "listen { address = \"::1\", port = 465, submission = true }\n"
    "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\", auth = ldap { server = "
    "\"ldaps://Dir.example\",\n"
    "  base = \"dc=x\", bind = \"cn=m\", password = secret \"hub.pass\" } }\n"
    "domain \"b.example\" { users = { \"joe\" }, deliver = lmtp \"h\", auth = sql { database = "
    "\"sqlite:lab-ca.pem\",\n"
    "  query = \"SELECT a FROM b WHERE c = $1\" } }\n"
    "domain \"c.example\" { users = any, deliver = lmtp \"h\", auth = sql { database =\n"
    "  \"postgresql://u@db.example/d\", query = \"SELECT a FROM b WHERE c = $2 AND d = $3\" } }\n"
    "domain \"d.example\" { users = any, deliver = lmtp \"h\", auth = ldap { server = \"ldap://localhost\",\n"
    "  base = \"dc=x\", filter = \"(&(uid=%u)(x=100%%))\" } }\n"
    "domain \"e.example\" { users = { \"joe\" }, deliver = lmtp \"h\", auth = sql { database = "
    "\"sqlite:lab-ca.pem\",\n"
    "  query = \"SELECT a FROM b WHERE c = $1\" } }\n";

static void check_good(const struct config *c)
{
    assert_non_null(c);
    assert_int_equal(c->n_auths, 4); /* two are the same */
    assert_true(config_wants_tables(c));
    assert_true(str_eq(config_tables_folder(c), STR("/etc/waxwing")));
    const struct auth_table *t = &c->auths[0].table;
    assert_int_equal(c->auths[0].kind, AUTH_BY_LDAP);
    assert_true(str_ieq(t->host, STR("dir.example")) && t->at.port == 636 && t->tls == TABLE_TLS);
    assert_true(str_eq(t->user, STR("cn=m")) && str_eq(t->secret, STR("/etc/waxwing/hub.pass")));
    assert_true(str_eq(t->place, STR("dc=x")) && str_eq(t->question, STR("(mail=%u@%d)")));
    t = &c->auths[1].table;
    assert_int_equal(c->auths[1].kind, AUTH_BY_SQLITE);
    assert_true(str_eq(t->place, STR("/etc/waxwing/lab-ca.pem")) &&
                str_eq(t->server, STR("sqlite:/etc/waxwing/lab-ca.pem")));
    t = &c->auths[2].table;
    assert_int_equal(c->auths[2].kind, AUTH_BY_POSTGRESQL);
    assert_true(str_eq(t->user, STR("u")) && str_eq(t->place, STR("d")) && t->secret.n == 0);
    assert_int_equal(c->auths[3].table.tls, TABLE_CLEAR);
    assert_int_equal(policy_domain(&c->policy, STR("e.example"))->auth, 2);
}

static void what_is_taken(void **state)
{
    UNUSED(state);
    struct fixture f;
    struct buf bytes;
    fixture_init(&f, false);
    const struct config *c = fixture_load(&f, str_from_c(good));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&f.report.errors)));
    check_good(c);
    buf_init(&bytes, 1 << 20);
    assert_true(config_encode(c, &bytes));
    check_good(config_decode(buf_str(&bytes), &f.arena));
    buf_fini(&bytes);
    fixture_fini(&f);
    fixture_init(&f, false);
    c = fixture_load(
        &f, STR(TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\", auth = pam \"x\" }"));
    assert_true(c != NULL && !config_wants_tables(c) && config_tables_folder(c).n == 0);
    fixture_fini(&f);
}

static bool survives(struct fixture *f, const struct config *c)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_true(config_encode(c, &bytes));
    bool ok = config_decode(buf_str(&bytes), &f->arena) != NULL;
    buf_fini(&bytes);
    return ok;
}

/* What a loader that was taken over may say. */
static void what_is_not_decoded(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    const struct config *from = fixture_load(&f, str_from_c(good));
    assert_non_null(from);
    struct config c = *from;
    struct auth_backend auths[4];
    c.auths = auths;
    const struct {
        size_t which;
        struct str server, user, secret, place, question; /* NULL: as it was */
    } rows[] = {
        {0, STR("http://x"), {0}, {0}, {0}, {0}},
        {0, STR("sqlite:/x"), {0}, {0}, {0}, {0}},
        {0, {0}, STR("a\nb"), {0}, {0}, {0}},
        {0, {0}, {0}, STR("relative"), {0}, {0}},
        {0, {0}, {0}, {0}, STR("a\0b"), {0}},
        {0, {0}, {0}, {0}, {0}, STR("(x=%s)")},
        {0, {0}, {0}, {0}, {0}, STR("x")},
        {1, STR("sqlite:relative"), {0}, {0}, STR("relative"), {0}},
        {1, {0}, {0}, {0}, STR("/etc/shadow"), {0}},
        {1, {0}, {0}, STR("/secret"), {0}, {0}},
        {1, {0}, STR("root"), {0}, {0}, {0}},
        {1, STR("postgresql://u@h.example/d"), {0}, {0}, {0}, {0}},
        {2, {0}, STR("another"), {0}, {0}, {0}},
        {2, {0}, {0}, {0}, STR("another"), {0}},
        {2, {0}, {0}, {0}, {0}, STR("SELECT 1")},
        {2, {0}, {0}, {0}, {0}, STR("SELECT $1\0")},
        {2, STR("ldaps://dir.example"), {0}, {0}, {0}, {0}},
    };
    memcpy(auths, from->auths, sizeof auths);
    assert_true(survives(&f, &c));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        memcpy(auths, from->auths, sizeof auths);
        struct auth_table *t = &auths[rows[i].which].table;
        t->server = rows[i].server.p != NULL ? rows[i].server : t->server;
        t->user = rows[i].user.p != NULL ? rows[i].user : t->user;
        t->secret = rows[i].secret.p != NULL ? rows[i].secret : t->secret;
        t->place = rows[i].place.p != NULL ? rows[i].place : t->place;
        t->question = rows[i].question.p != NULL ? rows[i].question : t->question;
        if (survives(&f, &c))
            fail_msg("row %zu", i);
    }
    memcpy(auths, from->auths, sizeof auths);
    auths[0].kind = AUTH_BY_N;
    assert_false(survives(&f, &c));
    fixture_fini(&f);
}

/* One more is refused. */
static void as_many_as_there_may_be(void **state)
{
    UNUSED(state);
    for (unsigned n = CONFIG_TABLES_MAX; n <= CONFIG_TABLES_MAX + 1; n++) {
        struct fixture f;
        struct buf lua;
        fixture_init(&f, false);
        buf_init(&lua, 1 << 20);
        buf_puts(&lua, TEST_HEAD);
        for (unsigned i = 0; i < n; i++)
            buf_printf(&lua,
                       "domain \"d%u.example\" { users = any, deliver = lmtp \"h\", auth = sql { database = "
                       "\"postgresql://u@h.example/d%u\", query = \"$1\" } }\n",
                       i, i);
        const struct config *c = fixture_load(&f, buf_str(&lua));
        assert_int_equal(c != NULL, n == CONFIG_TABLES_MAX);
        assert_int_equal(f.report.n_errors, n - CONFIG_TABLES_MAX);
        buf_fini(&lua);
        fixture_fini(&f);
    }
}

/* Without authorities no server can show that it is the one. */
static void authorities(void **state)
{
    UNUSED(state);
    struct fixture f;
    bool has_no_system_files = true;
    fixture_init(&f, false);
    f.env.arg = &has_no_system_files;
    assert_non_null(fixture_load(&f, STR(LDAP("ldaps://dir.example", ""))));
    assert_true(str_find(buf_str(&f.report.warnings), STR("no server can be verified")) != STR_NPOS);
    fixture_fini(&f);
    fixture_init(&f, false);
    f.env.arg = &has_no_system_files;
    assert_non_null(fixture_load(&f, STR(LDAP("ldap://localhost", ""))));
    assert_true(str_find(buf_str(&f.report.warnings), STR("no server can be verified")) == STR_NPOS);
    fixture_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),     cmocka_unit_test(servers),
        cmocka_unit_test(databases),           cmocka_unit_test(what_is_taken),
        cmocka_unit_test(what_is_not_decoded), cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(authorities)};
    return cmocka_run_group_tests_name("config_table", tests, NULL, NULL);
}
