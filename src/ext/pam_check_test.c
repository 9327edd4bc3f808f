/* PAM's library with services of the test's own, and a module that asks whatever a row says. */
#include "ext/pam_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *module_path;

/* PAM's library loses a little where it can't start. Asked by the leak sanitizer, where there is one. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpam.so";
}

struct row {
    const char *auth, *account; /* words of the module; NULL: there is no such line */
    const char *password;
    enum pam_verdict verdict;
    const char *why; /* a part of it */
};

static enum pam_verdict check_in(const char *folder, const char *service, const char *password,
                                 struct buf *why)
{
    struct pam_question q = {
        .service = service, .user = "joe", .password = password, .client = "192.0.2.7", .folder = folder};
    return pam_of_this_machine()->check(&q, why);
}

static void write_service(const char *path, const struct row *r)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (r->auth != NULL)
        assert_true(fprintf(f, "auth required %s %s\n", module_path, r->auth) > 0);
    if (r->account != NULL)
        assert_true(fprintf(f, "account required %s %s\n", module_path, r->account) > 0);
    assert_int_equal(fclose(f), 0);
}

static void what_modules_may_ask(void **state)
{
    static const struct row rows[] = {
        {"p", "", "right", PAM_CHECK_YES, ""},
        {"p", "", "wrong", PAM_CHECK_NO, "auth: "},
        {"p", "", "", PAM_CHECK_NO, "auth: "},
        {"ip", "", "right", PAM_CHECK_YES, ""}, /* what is only said is not heard */
        {"i x p", "", "right", PAM_CHECK_YES, ""},
        {"i", "", "right", PAM_CHECK_NO, "auth: "}, /* never asked */
        {"pp", "", "right", PAM_CHECK_LATER, "more than one password"},
        {"p p", "", "right", PAM_CHECK_LATER, "more than one password"},
        {"pppppppppppppppppppppppppppppppp", "", "right", PAM_CHECK_LATER, "more than one password"},
        {"ppppppppppppppppppppppppppppppppp", "", "right", PAM_CHECK_LATER, "auth: "}, /* PAM_MAX_NUM_MSG */
        {"e", "", "right", PAM_CHECK_LATER, "more than one password"}, /* what shows is no password */
        {"pe", "", "right", PAM_CHECK_LATER, "more than one password"},
        {"p", "expired", "right", PAM_CHECK_NO, "account: "},
        {"p", "renew", "right", PAM_CHECK_NO, "account: "},
        {"p", "away", "right", PAM_CHECK_LATER, "account: "},
        {"p", "expired", "wrong", PAM_CHECK_NO, "auth: "},
    };
    char folder[] = "/tmp/waxwing-pam-XXXXXX", path[64];
    UNUSED(state);
    assert_non_null(mkdtemp(folder));
    assert_true(snprintf(path, sizeof path, "%s/waxwing", folder) > 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[PAM_WHY_MAX];
        struct buf why;
        buf_init_fixed(&why, mem, sizeof mem);
        write_service(path, &rows[i]);
        enum pam_verdict got = check_in(folder, "waxwing", rows[i].password, &why);
        if (got != rows[i].verdict || str_find(buf_str(&why), str_from_c(rows[i].why)) == STR_NPOS)
            fail_msg("auth %s, account %s, %s: %d %.*s", rows[i].auth, rows[i].account, rows[i].password, got,
                     STR_FMT(buf_str(&why)));
        assert_int_equal(why.n == 0, got == PAM_CHECK_YES);
        assert_int_equal(str_find(buf_str(&why), STR("right")), STR_NPOS);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void no_such_service(void **state)
{
    char mem[PAM_WHY_MAX], folder[] = "/tmp/waxwing-pam-XXXXXX";
    struct buf why;
    UNUSED(state);
    assert_non_null(mkdtemp(folder));
    buf_init_fixed(&why, mem, sizeof mem);
    assert_int_equal(check_in(folder, "waxwing", "right", &why), PAM_CHECK_LATER);
    assert_true(why.n > 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_modules_may_ask),
                                       cmocka_unit_test(no_such_service)};
    char *whole = realpath(argc > 1 ? argv[1] : "pam_ask.so", NULL); /* PAM takes no others */
    if (whole == NULL) {
        perror("pam_ask.so");
        return 1;
    }
    module_path = whole;
    int rc = cmocka_run_group_tests_name("pam_check", tests, NULL, NULL);
    free(whole);
    return rc;
}
