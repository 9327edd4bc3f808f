#include "crypto/crypt_form.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto/verifier.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>

enum {
    SHA_SALT_MAX = 16,
    SHA_ROUNDS_MIN = 1000,
    SHA256_TEXT = 43,
    SHA512_TEXT = 86,
    BCRYPT_TEXT = 22 + 31, /* salt, digest */
    BCRYPT_COST_MIN = 4,
    YESCRYPT_SALT_MAX = 86,
    YESCRYPT_TEXT = 43,
};

static const char unknown[] = "not a form that is known: $y$, $2b$, $2y$, $6$ and $5$ of crypt(5) are";
static const char bad_form[] = "a damaged crypt(5) form: lengths or characters are not those of its kind";
static const char too_costly[] = "the cost parameter is so high that a login would take many seconds";

/* The value of a digit of crypt's own base64, "./0-9A-Za-z"; -1: it is none. */
static int crypt_digit(char c)
{
    if (c == '.' || c == '/')
        return c - '.';
    if (ascii_is_digit(c))
        return c - '0' + 2;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 12;
    return c >= 'a' && c <= 'z' ? c - 'a' + 38 : -1;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (crypt_digit(s.p[i]) < 0)
            return false;
    }
    return true;
}

/* [rounds=N$]salt$digest. Without rounds it is 5,000. */
static const char *sha_problem(struct str rest, size_t text_size)
{
    if (str_starts(rest, STR("rounds="))) {
        uint64_t rounds;
        rest = str_skip(rest, 7);
        struct str number = str_cut(&rest, '$');
        if (!str_to_u64(number, UINT32_MAX, &rounds) || number.p[0] == '0' || rounds < SHA_ROUNDS_MIN)
            return bad_form;
        if (rounds > VERIFIER_CRYPT_ROUNDS_MAX)
            return too_costly;
    }
    struct str salt = str_cut(&rest, '$');
    return salt.n <= SHA_SALT_MAX && all_digits(salt) && rest.n == text_size && all_digits(rest) ? NULL
                                                                                                 : bad_form;
}

/* Two digits of cost, "$", salt and digest without a sign between them. */
static const char *bcrypt_problem(struct str rest)
{
    uint64_t cost;
    struct str number = str_cut(&rest, '$');
    if (number.n != 2 || !str_to_u64(number, 31, &cost) || cost < BCRYPT_COST_MIN || rest.n != BCRYPT_TEXT ||
        !all_digits(rest))
        return bad_form;
    return cost <= VERIFIER_BCRYPT_COST_MAX ? NULL : too_costly;
}

/* Parameters, salt, digest. Of the parameters those that crypt_gensalt(3) writes are taken: the flavour "j",
 * a digit for the logarithm of N, which counts from 1, and one for r, likewise. Each of N blocks is 128 * r
 * octets; time grows with memory. */
static const char *yescrypt_problem(struct str rest)
{
    struct str params = str_cut(&rest, '$');
    struct str salt = str_cut(&rest, '$');
    if (params.n != 3 || params.p[0] != 'j' || !all_digits(params) || salt.n > YESCRYPT_SALT_MAX ||
        !all_digits(salt) || rest.n != YESCRYPT_TEXT || !all_digits(rest))
        return bad_form;
    unsigned n_log2 = (unsigned)crypt_digit(params.p[1]) + 1;
    unsigned r = (unsigned)crypt_digit(params.p[2]) + 1;
    if (n_log2 < 3 || r > 47) /* digits over 47 begin a longer number */
        return bad_form;
    return n_log2 <= 30 && ((uint64_t)128 * r << n_log2) <= VERIFIER_YESCRYPT_MEMORY_MAX ? NULL : too_costly;
}

const char *crypt_form_problem(struct str form)
{
    if (form.n > VERIFIER_CRYPT_MAX)
        return bad_form;
    if (str_starts(form, STR("$y$")))
        return yescrypt_problem(str_skip(form, 3));
    if (str_starts(form, STR("$2b$")) || str_starts(form, STR("$2y$")))
        return bcrypt_problem(str_skip(form, 4));
    if (str_starts(form, STR("$6$")))
        return sha_problem(str_skip(form, 3), SHA512_TEXT);
    if (str_starts(form, STR("$5$")))
        return sha_problem(str_skip(form, 3), SHA256_TEXT);
    if (str_starts(form, STR("$1$")))
        return "MD5 crypt ($1$) is guessed too fast to be taken: let the user set the password anew";
    return unknown;
}

enum err crypt_form_check(const char *form, struct str password, bool *ok)
{
    char text[CRYPT_MAX_PASSPHRASE_SIZE];
    *ok = false;
    if (!str_to_c(password, text, sizeof text)) {
        secret_wipe(text, sizeof text);
        return ERR_OK;
    }
    struct crypt_data *data = mem_new(struct crypt_data);
    if (data == NULL) {
        secret_wipe(text, sizeof text);
        return ERR_NOMEM;
    }
    errno = 0;
    const char *got = crypt_rn(text, form, data, (int)sizeof *data); /* crypt_r() that fails by NULL */
    enum err e = got != NULL ? ERR_OK : errno == ENOMEM ? ERR_NOMEM : ERR_CORRUPT;
    *ok = e == ERR_OK && secret_eq(str_from_c(got), str_from_c(form));
    secret_wipe(text, sizeof text);
    secret_wipe(data, sizeof *data);
    mem_free(data);
    return e;
}
