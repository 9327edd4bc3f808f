#include "verify/mta_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The domains of another resolver's test bed, read in place when they are there: the TXT records of its name
 * server, the bodies of its web server, and the answers it expects (OK secure match=HOST, or NOTFOUND) where
 * a policy is enforced and where a tested one is treated as enforced. Answers that rest on what is not ours
 * here (certificates, media types, statuses, the forms of Postfix's own questions) are told apart by name. */

enum { FILE_MAX = 1 << 16, PATH_MAX_OURS = 1024, BODY_MAX = 4096, ANSWERS_MIN = 20 };

static const struct {
    const char *domain;
    const char *why;
} not_ours[] = {
    {"bad-policy3.loc", "the media type is wrong"},
    {"bad-cert1.loc", "the certificate is not trusted"},
    {"bad-cert2.loc", "the certificate is for another name"},
};

static FILE *suite_file(const char *name)
{
    const char *suites = getenv("WAXWING_SUITES");
    char path[PATH_MAX_OURS];
    int n = snprintf(path, sizeof path, "%s/mta-sts-snawoot/%s",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites", name);
    must(n > 0 && (size_t)n < sizeof path);
    return fopen(path, "rb");
}

static struct str read_file(const char *name, char *mem)
{
    FILE *f = suite_file(name);
    assert_non_null(f);
    size_t n = fread(mem, 1, FILE_MAX, f);
    (void)fclose(f);
    assert_true(n < FILE_MAX);
    return str_of(mem, n);
}

/* The text of `before` + domain + `after`, up to the next quote; false: there is none. */
static bool quoted(struct str text, const char *before, struct str domain, const char *after,
                   const char *then, struct str *out)
{
    char key[256];
    int n = snprintf(key, sizeof key, "%s%.*s%s", before, STR_FMT(domain), after);
    must(n > 0 && (size_t)n < sizeof key);
    size_t at = str_find(text, str_of(key, (size_t)n));
    if (at == STR_NPOS)
        return false;
    text = str_skip(text, at + (size_t)n);
    at = str_find(text, str_from_c(then));
    if (at == STR_NPOS)
        return false;
    text = str_skip(text, at + strlen(then));
    *out = str_cut(&text, '"');
    return true;
}

/* What a web server makes of "\n" in its configuration. */
static struct str unescape(struct str s, char *mem)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool is_end = s.p[i] == '\\' && i + 1 < s.n && s.p[i + 1] == 'n';
        mem[n++] = is_end ? '\n' : s.p[i];
        i += is_end;
    }
    return str_of(mem, n);
}

/* The policy of a domain as the suite serves it; false: none is found or it is malformed. */
static bool policy_of(struct str dns, struct str web, struct str domain, struct mta_sts_policy *out,
                      char *body)
{
    struct str record, id, served;
    char wire[256], mem[DNS_TXT_MAX];
    struct buf b;
    if (!quoted(dns, "txt-record=_mta-sts.", domain, ",", "\"", &record))
        return false;
    must(record.n < 255 && record.n < sizeof wire);
    wire[0] = (char)record.n;
    memcpy(wire + 1, record.p, record.n);
    struct str rdata = str_of(wire, record.n + 1);
    buf_init_fixed(&b, mem, sizeof mem);
    if (!mta_sts_record(&rdata, 1, &b, &id))
        return false;
    assert_true(str_eq(id, STR("20180907T090909")));
    if (!quoted(web, "server_name mta-sts.", domain, ";", "return 200 \"", &served))
        return false;
    return mta_sts_policy(unescape(served, body), out) == NULL;
}

static bool is_ours(struct str domain)
{
    for (size_t i = 0; i < ARRAY_LEN(not_ours); i++) {
        if (str_eq(domain, str_from_c(not_ours[i].domain)))
            return false;
    }
    return true;
}

static void check_answers(const char *name, enum mta_sts_mode least, size_t *n_ok, size_t *n_answers)
{
    char *dns_mem = mem_must_alloc(FILE_MAX), *web_mem = mem_must_alloc(FILE_MAX);
    char *answers_mem = mem_must_alloc(FILE_MAX), *body = mem_must_alloc(BODY_MAX);
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    struct str dns = read_file("dnsmasq.conf.appendix", dns_mem), web = read_file("nginx.conf", web_mem);
    struct str answers = read_file(name, answers_mem);
    while (answers.n > 0) {
        struct str line = str_cut(&answers, '\n');
        struct str question = str_cut(&line, '\t'), domain = str_skip(question, str_rchr(question, ' ') + 1);
        struct str answer = str_trim(line);
        /* Postfix's forms of a next hop: [host], :port, a final dot */
        if (question.n == 0 || str_starts(domain, STR("[")) || str_chr(domain, ':') != STR_NPOS ||
            str_ends(domain, STR(".")) || !is_ours(domain))
            continue;
        bool has = policy_of(dns, web, domain, p, body);
        bool is_ok = has && p->mode >= least;
        if (is_ok != str_starts(answer, STR("OK")))
            print_message("# %.*s\n", STR_FMT(domain));
        assert_int_equal(is_ok, str_starts(answer, STR("OK")));
        if (is_ok) {
            size_t at = str_find(answer, STR("match="));
            struct str match = str_skip(answer, at + 6);
            assert_true(mta_sts_matches(p, str_cut(&match, ' ')));
            assert_false(mta_sts_matches(p, STR("other.mail.loc")));
        }
        *n_ok += is_ok;
        ++*n_answers;
    }
    mem_free(p);
    mem_free(body);
    mem_free(answers_mem);
    mem_free(web_mem);
    mem_free(dns_mem);
}

static void answers_as_another_resolver(void **state)
{
    UNUSED(state);
    size_t n_ok = 0, n_answers = 0;
    check_answers("refdata.tsv", MTA_STS_ENFORCE, &n_ok, &n_answers);
    check_answers("refdata_nosni.tsv", MTA_STS_ENFORCE, &n_ok, &n_answers);
    check_answers("refdata_strict.tsv", MTA_STS_TESTING, &n_ok, &n_answers);
    print_message("# %zu answers, %zu of them a policy\n", n_answers, n_ok);
    assert_true(n_answers >= ANSWERS_MIN && n_ok >= 4);
}

/* The domains it serves and has no answers for; what is wrong stands in their bodies. */
static void broken_policies_are_none(void **state)
{
    UNUSED(state);
    static const char *const domains[] = {"bad-policy1.loc", "bad-policy2.loc", "bad-policy5.loc",
                                          "bad-policy6.loc", "bad-policy7.loc", "bad-policy8.loc"};
    char *dns_mem = mem_must_alloc(FILE_MAX), *web_mem = mem_must_alloc(FILE_MAX),
         *body = mem_must_alloc(BODY_MAX);
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    struct str dns = read_file("dnsmasq.conf.appendix", dns_mem), web = read_file("nginx.conf", web_mem),
               served;
    for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
        struct str domain = str_from_c(domains[i]);
        assert_true(quoted(web, "server_name mta-sts.", domain, ";", "return 200 \"", &served));
        assert_false(policy_of(dns, web, domain, p, body));
    }
    mem_free(p);
    mem_free(body);
    mem_free(web_mem);
    mem_free(dns_mem);
}

int main(void)
{
    FILE *f = suite_file("refdata.tsv");
    if (f == NULL) {
        (void)puts("1..0 # SKIP the suite mta-sts-snawoot is not here (set WAXWING_SUITES)");
        return 0;
    }
    (void)fclose(f);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_another_resolver),
        cmocka_unit_test(broken_policies_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
