#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/rewrite.h"

#include <stdio.h>
#include <string.h>

static const struct str users[] = {STR_INIT("joe")};
static const struct local_domain ours[] = {
    {.name = STR_INIT("box.example.net"), .users = users, .n_users = 1}};
static const struct rewrite_name names[] = {
    {STR_INIT("postgres"), STR_INIT("dba@example.org")},
    {STR_INIT("root"), STR_INIT("admin@example.org")},
};

static struct policy_conf conf(const char *from, const char *domain, const char *to)
{
    return (struct policy_conf){.hostname = STR("box.example.net"),
                                .rewrite = {.from = str_from_c(from),
                                            .domain = str_from_c(domain),
                                            .to = str_from_c(to),
                                            .names = names,
                                            .n_names = ARRAY_LEN(names)}};
}

typedef struct str rewrite_fn(const struct policy_conf *p, const struct address *a, struct buf *mem);

static void check(rewrite_fn *fn, const struct policy_conf *p, const char *text, const char *want)
{
    char room[SMTP_PATH_MAX];
    struct buf mem;
    struct address a = {.kind = DOMAIN_NONE};
    buf_init_fixed(&mem, room, sizeof room);
    if (text[0] != '\0')
        assert_null(address_parse(str_from_c(text), true, &a));
    struct str got = fn(p, &a, &mem);
    if (!str_eq(got, str_from_c(want)))
        fail_msg("%s became %.*s and not %s", text, STR_FMT(got), want);
}

static void nothing_is_rewritten_by_default(void **state)
{
    UNUSED(state);
    struct policy_conf p = {.hostname = STR("box.example.net")};
    static const char *const texts[] = {"root", "root@localhost", "root@box.example.net", "joe@example.org"};
    assert_false(rewrite_is_on(&p));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        check(rewrite_sender, &p, texts[i], texts[i]);
        check(rewrite_rcpt, &p, texts[i], texts[i]);
    }
}

static void senders(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf("me@isp.example", "example.org", "");
    check(rewrite_sender, &p, "root@box.example.net", "me@isp.example");
    check(rewrite_sender, &p, "shop@example.com", "me@isp.example");
    check(rewrite_sender, &p, "", "");
    p = conf("", "example.org", "");
    check(rewrite_sender, &p, "root@localhost", "root@example.org");
    check(rewrite_sender, &p, "root@BOX", "root@example.org");
    check(rewrite_sender, &p, "root@box.Example.net", "root@example.org");
    check(rewrite_sender, &p, "\"the root\"@localhost.localdomain", "\"the root\"@example.org");
    check(rewrite_sender, &p, "root@[127.0.0.1]", "root@[127.0.0.1]");
    check(rewrite_sender, &p, "shop@example.com", "shop@example.com");
    check(rewrite_sender, &p, "", "");
    p = conf("", "", ""); /* without a domain it is the hostname's */
    check(rewrite_sender, &p, "root@localhost", "root@box.example.net");
}

static void recipients(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf("", "example.com", "");
    check(rewrite_rcpt, &p, "root", "admin@example.org");
    check(rewrite_rcpt, &p, "Root@Localhost", "admin@example.org");
    check(rewrite_rcpt, &p, "\"root\"@box", "admin@example.org");
    check(rewrite_rcpt, &p, "postgres@box.example.net", "dba@example.org");
    check(rewrite_rcpt, &p, "www-data", "www-data@example.com");
    check(rewrite_rcpt, &p, "postmaster", "postmaster");
    check(rewrite_rcpt, &p, "root@example.com", "root@example.com"); /* that one is of the world */
    check(rewrite_rcpt, &p, "root@sub.box.example.net", "root@sub.box.example.net");
    p = conf("", "", "all@example.org");
    check(rewrite_rcpt, &p, "root", "admin@example.org");
    check(rewrite_rcpt, &p, "www-data@localhost", "all@example.org");
    check(rewrite_rcpt, &p, "postmaster", "all@example.org");
    check(rewrite_rcpt, &p, "\"a b\"@localhost", "all@example.org");
    check(rewrite_rcpt, &p, "joe@example.com", "joe@example.com");
}

/* Where the machine's own name is a domain with users, theirs is the mail for it. */
static void domains_of_ours_stay(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf("", "example.com", "all@example.org");
    p.domains = ours;
    p.n_domains = 1;
    check(rewrite_rcpt, &p, "joe@box.example.net", "joe@box.example.net");
    check(rewrite_rcpt, &p, "root@box.example.net", "root@box.example.net");
    check(rewrite_rcpt, &p, "root", "admin@example.org");
    check(rewrite_rcpt, &p, "joe@localhost", "all@example.org");
    check(rewrite_sender, &p, "joe@box.example.net", "joe@box.example.net");
}

static void authors(void **state)
{
    UNUSED(state);
    static const struct {
        const char *sender, *author, *want;
    } rows[] = {
        {"root@box.example.net", "root@box.example.net", "me@isp.example"},
        {"root@box.example.net", "root", "me@isp.example"},
        {"shop@example.com", "shop@EXAMPLE.com", "me@isp.example"}, /* it is who sends */
        {"shop@example.com", "Shop@example.com", ""},
        {"root@box.example.net", "shop@example.com", ""},
        {"", "shop@example.com", ""},
        {"", "root@localhost", "me@isp.example"},
        {"me@isp.example", "me@isp.example", ""},
    };
    struct policy_conf p = conf("me@isp.example", "", "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[SMTP_PATH_MAX];
        struct buf mem;
        struct address author;
        buf_init_fixed(&mem, room, sizeof room);
        assert_null(address_parse(str_from_c(rows[i].author), true, &author));
        struct str got = rewrite_author(&p, str_from_c(rows[i].sender), &author, &mem);
        if (!str_eq(got, str_from_c(rows[i].want)))
            fail_msg("%s became %.*s and not %s", rows[i].author, STR_FMT(got), rows[i].want);
    }
}

/* The longest local part that is taken, at the longest domain, is more than a path may be. */
static void what_gets_too_long_stays(void **state)
{
    UNUSED(state);
    char domain[SMTP_DOMAIN_MAX + 1], text[SMTP_LOCAL_PART_TAKEN_MAX + 11], want[600];
    memset(domain, 'd', SMTP_DOMAIN_MAX);
    for (size_t i = 50; i < SMTP_DOMAIN_MAX - 1; i += 51)
        domain[i] = '.';
    domain[SMTP_DOMAIN_MAX] = '\0';
    struct policy_conf p = conf("", domain, "");
    for (int n = SMTP_LOCAL_PART_TAKEN_MAX - 3; n <= SMTP_LOCAL_PART_TAKEN_MAX; n++) {
        memset(text, 'l', sizeof text);
        (void)snprintf(text + n, sizeof text - (size_t)n, "@localhost");
        bool fits = n + 1 + SMTP_DOMAIN_MAX <= SMTP_PATH_MAX - 2;
        (void)snprintf(want, sizeof want, "%.*s@%s", n, text, domain);
        check(rewrite_sender, &p, text, fits ? want : text);
        check(rewrite_rcpt, &p, text, fits ? want : text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_rewritten_by_default),
        cmocka_unit_test(senders),
        cmocka_unit_test(recipients),
        cmocka_unit_test(domains_of_ours_stay),
        cmocka_unit_test(authors),
        cmocka_unit_test(what_gets_too_long_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
