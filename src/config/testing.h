/* config/testing.h: for the tests of this folder: a world of files and users in memory, and a configuration
 * as text. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#include <string.h>

struct fixture_file {
    const char *path, *text; /* text NULL: permission denied */
};
/* clang-format off */
static const struct fixture_file fixture_files[] = {
    {"/etc/waxwing/org.users", "admin:{plain}x:1000\nJoe:x\n# a comment: no user\n\n  ann  :x\r\nann/Phone-1:x\n"},
    {"/etc/waxwing/net.users", "info\n# a comment\npostmaster\nabuse\nInfo\n"},
    {"/etc/waxwing/bad.users", "# a comment\n\njoe:x:1:2\r\n ann \n:x\nbad name:x\njoe/x y:x\n/x:x\n"},
    {"/etc/waxwing/secret.users", NULL},
    {"/etc/waxwing/aliases", "# who gets what\n\nRoot: joe\npostmaster:   root,\n  ann@elsewhere.example\n"
     "\t# more of it, as a comment\n\t\"zoe\"\nteam: :include:sub/team, ann\nowner-team: joe\n"
     "\"box\": \"|/usr/bin/box -u %u 'a b' c\\\\ d\", \\box\njoe: joe, joe@elsewhere.example\n"
     "ann: \\zoe, \"j o\"@elsewhere.example\n"},
    {"/etc/waxwing/sub/team", "# members\njoe, zoe@elsewhere.example\n\n:include:sub/more\n"},
    {"/etc/waxwing/sub/more", "zoe\r\n"},
    {"/etc/waxwing/circle", ":include:circle\n"},
    {"/etc/waxwing/program", "|/bin/x\n"},
    {"/etc/waxwing/bad.aliases", "# a comment\njoe ann\n  zoe\nann: a b\nzoe:\nmax: /var/mail/max, x@, \\\n"},
    {"/etc/waxwing/bad2.aliases", "  joe\nj/d: ann\neve: \"joe\nmax: :fail: no\nzoe: joe\nZoe: ann\n"},
    {"/etc/waxwing/more.lua", "hostname \"mail.example.org\"\nreturn { name = \"inc.example\" }\n"},
    {"/etc/waxwing/sub/deep.lua", "postmaster \"joe@elsewhere.example\"\ninclude \"more.lua\"\n"},
    {"/etc/waxwing/broken.lua", "listen { port = 25\nlmtp = true }\n"},
    {"/etc/waxwing/typo.lua", "\nlisten {\n  port = 2525,\n  adress = \"127.0.0.1\",\n}\n"},
    {"/etc/waxwing/loop.lua", "include \"loop.lua\"\n"},
    {"/etc/waxwing/raise.lua", "\n\nerror \"from within\"\n"},
    {"/etc/waxwing/lab-ca.pem", "lab ca"},
    {"/etc/ssl/certs/ca-certificates.crt", "the ca"},
    {"/etc/waxwing/hub.pass", "secret\n"},
    {"/etc/waxwing/open.pass", "secret\n"},
    {"/etc/waxwing/empty.pass", ""},
    {"/etc/waxwing/lab.key", ". IN DNSKEY lab"},
    {"/etc/waxwing/lab.hints", ". NS lab"},
    {"/usr/share/dns/root.key", ". IN DNSKEY 257"},
    {"/usr/share/dns/root.hints", ". NS a.root-servers.net."},
    {"/etc/hosts", "127.0.0.1 localhost\n"},
    {"/etc/resolv.conf", "# comment\nsearch example.org\nnameserver 192.0.2.53\nnameserver  2001:db8::53 \n"
     "nameserver fe80::1%eth0\nnameserverx 1.1.1.1\n"},
};
/* clang-format on */

static enum err fixture_read_file(void *arg, struct str path, struct arena *a, struct str *out)
{
    const bool *has_no_system_files = arg;
    for (size_t i = 0; i < ARRAY_LEN(fixture_files); i++) {
        if (!str_eq(path, str_from_c(fixture_files[i].path)))
            continue;
        if (fixture_files[i].text == NULL)
            return ERR_DENIED;
        if (has_no_system_files != NULL && !str_starts(path, STR("/etc/waxwing/")))
            break;
        return arena_str(a, str_from_c(fixture_files[i].text), out) ? ERR_OK : ERR_NOMEM;
    }
    return ERR_NOTFOUND;
}

static enum err fixture_find_secret(void *arg, struct str path, bool *is_open)
{
    UNUSED(arg);
    for (size_t i = 0; i < ARRAY_LEN(fixture_files); i++) {
        if (!str_eq(path, str_from_c(fixture_files[i].path)))
            continue;
        *is_open = str_ends(path, STR("open.pass"));
        return fixture_files[i].text == NULL      ? ERR_DENIED
               : fixture_files[i].text[0] == '\0' ? ERR_TOO_BIG
                                                  : ERR_OK;
    }
    return ERR_NOTFOUND;
}

static bool fixture_find_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    UNUSED(arg);
    *out_uid = str_eq(name, STR("root")) || str_eq(name, STR("toor")) ? 0 : 5000;
    *out_gid = 5001;
    return str_eq(name, STR("root")) || str_eq(name, STR("toor")) || str_eq(name, STR("vmail"));
}

static enum err fixture_accounts(void *arg, struct arena *a, const struct account **out, size_t *out_n)
{
    static const struct account accounts[] = {
        {{"root", 4}, {"/root", 5}, {"/bin/bash", 9}, 0, 0},
        {{"zoe", 3}, {"/home/zoe/", 10}, {"", 0}, 1001, 1101},
        {{"daemon", 6}, {"/", 1}, {"/usr/sbin/nologin", 17}, 1, 1},
        {{"toor", 4}, {"/root", 5}, {"/bin/sh", 7}, 0, 0},
        {{"Max", 3}, {"/srv/max", 8}, {"/bin/zsh", 8}, 1000, 1000},
        {{"web", 3}, {"/srv/www", 8}, {"/bin/false", 10}, 1002, 1002},
        {{"nobody", 6}, {"/none", 5}, {"/bin/sh", 7}, 65534, 65534},
        {{"homeless", 8}, {"", 0}, {"/bin/sh", 7}, 1003, 1003},
        {{"sys", 3}, {"/sys", 4}, {"/bin/sh", 7}, 999, 999},
    };
    UNUSED(arg);
    UNUSED(a);
    *out = accounts;
    *out_n = ARRAY_LEN(accounts);
    return ERR_OK;
}

struct fixture {
    struct chunk_pool pool;
    struct arena arena;
    struct config_report report;
    struct config_env env;
};

static inline void fixture_init(struct fixture *f, bool is_root)
{
    *f = (struct fixture){.env = {.read_file = fixture_read_file,
                                  .find_user = fixture_find_user,
                                  .find_secret = fixture_find_secret,
                                  .list_accounts = fixture_accounts,
                                  .is_root = is_root,
                                  .home = STR("/etc/waxwing")}};
    chunk_pool_init(&f->pool, 65536, 4096);
    arena_init(&f->arena, &f->pool, (size_t)65536 * 4096);
    buf_init(&f->report.errors, 65536);
    buf_init(&f->report.warnings, 65536);
}

static inline void fixture_fini(struct fixture *f)
{
    buf_fini(&f->report.errors);
    buf_fini(&f->report.warnings);
    arena_reset(&f->arena);
    chunk_pool_fini(&f->pool);
}

static inline const struct config *fixture_load(struct fixture *f, struct str lua)
{
    buf_reset(&f->report.errors);
    buf_reset(&f->report.warnings);
    f->report.n_errors = f->report.n_warnings = 0;
    return config_load(STR("waxwing.lua"), lua, &f->env, &f->arena, &f->report);
}

static inline void assert_str(struct str got, const char *wanted)
{
    if (!str_eq(got, str_from_c(wanted)))
        fail_msg("got\n%.*s\nwanted\n%s", STR_FMT(got), wanted);
}

#define TEST_HEAD "hostname \"mail.example.org\"\npostmaster \"joe@elsewhere.example\"\n"

/* ---- what must be refused ---- */

struct bad_row { /* a configuration, and all that is said about it, word by word */
    const char *lua;
    const char *errors;
};

static inline void check_rows_in(const struct bad_row *rows, size_t n, bool is_root)
{
    for (size_t i = 0; i < n; i++) {
        struct fixture f;
        fixture_init(&f, is_root);
        if (fixture_load(&f, str_from_c(rows[i].lua)) != NULL)
            fail_msg("this was taken:\n%s", rows[i].lua);
        if (!str_eq(buf_str(&f.report.errors), str_from_c(rows[i].errors)))
            fail_msg("for\n%s\ngot\n%.*s\nwanted\n%s", rows[i].lua, STR_FMT(buf_str(&f.report.errors)),
                     rows[i].errors);
        fixture_fini(&f);
    }
}
