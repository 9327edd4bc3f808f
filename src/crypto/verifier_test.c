#include "crypto/verifier.h"

#include "crypto/testing.h"

#include <string.h>

#define S256                                                                                                 \
    "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"             \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define S1 "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE="
#define YESCRYPT "$y$j75$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811"
#define BCRYPT "abcdefghijklmnopqrstuu/FyAyuZSl3DbPdvio4KrIBdz2k2yhV2"
#define SHA512 "bbY.T.ZpN43KapLdmlSbP6MmxBlkMSbhrh.Y1rmY0fYaRO/t.4sKqUiU.Z8byKf8Oa1yagMn/0fncuHSYrb9h."
#define SHA256 "1E80wIeNUk6Tw.cvgykgsGLDhE7YCS/mO7gtCEoKze9"

/* Fields of the password "pencil", made with Python's hashlib and crypt, and (the first six) by Dovecot 2.3's
 * doveadm pw. */
static const char *const good[] = {
    "{SCRAM-SHA-256}4096,YnwNXIp4hOvQ+ylrCXc0Vw==,TWA7UznKQ66fQ5XeABWjEc+n+4x471xYIRiaSZVwNCU=,"
    "d4KW5BkJCaraec/K/2WsMhIGCcS9/2Gn0CnC9O3r5to=",
    "{SCRAM-SHA-1}4096,zinhAmInxRIHwkETfZOPZA==,MvpDWVsbAWig2CkObBhoQzbeVz4=,hUpEdHSlMZoPzdBhYgok9mzQ6k0=",
    "{SHA512-CRYPT}$6$vq7PgrPhYtXifrAM$O5Q5mDcmLyQdkzLHcwBCzFh1rRk66qEC6.2wzzyTRF7Gl3MPv/60SkFK2waC."
    "HPoonMF9xwp4YkzxXAw52v8y1",
    "{SHA256-CRYPT}$5$25b6kO3a3fNknHCT$3cftxuYtW98Od3lSLUKX/JwHGEhXw1tN6aV5zo6RCu4",
    "{BLF-CRYPT}$2y$05$YQ9/VfwX7ZKvv0iIL/b64eLRQokrX0./gKYwvUA8InNljJK7Fm3he",
    "{CRYPT}$2y$05$diF2TkLjCTmJbHZop09C9elY2sZnE7yKkxGC98lUTsow0UkCCwrRq",
    S256,
    S1,
    YESCRYPT,
    "{crypt}" YESCRYPT,
    "$2b$04$" BCRYPT,
    "$2y$04$" BCRYPT,
    "$6$rounds=1000$saltsalt$" SHA512,
    "$5$rounds=1000$saltsalt$" SHA256,
    "$6$saltstring$Wspbkvh9VR9k.5FhrEX5QuXIhny1ZR6t1JcW7cUaNNlvGeocueB2IYFN40CbfZ4cl/WePSJC5pA/G1VTFwAkU.",
    S256 ";" S1,
    "{scram-sha-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=;" YESCRYPT
    ";" S256,
};

static bool check(struct crypto *c, const struct verifier *v, struct str password)
{
    bool ok = false;
    assert_int_equal(verifier_check(c, v, password, &ok), ERR_OK);
    return ok;
}

static void takes_the_password_and_no_other(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct verifier v;
        assert_null(verifier_parse(str_from_c(good[i]), &v));
        assert_false(v.is_false);
        assert_true(check(*state, &v, STR("pencil")));
        assert_false(check(*state, &v, STR("Pencil")));
        assert_false(check(*state, &v, STR("pencil\0")));
        assert_false(check(*state, &v, STR_NIL));
    }
}

static void long_passwords_do_not_match(void **state)
{
    char text[1024];
    memset(text, 'p', sizeof text);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct verifier v;
        assert_null(verifier_parse(str_from_c(good[i]), &v));
        assert_false(check(*state, &v, str_of(text, 511)));
        assert_false(check(*state, &v, str_of(text, 512)));
        assert_false(check(*state, &v, str_of(text, sizeof text)));
    }
}

static void parse_reads_all_parts(void **state)
{
    UNUSED(state);
    struct verifier v;
    assert_null(verifier_parse(STR(S256 ";" YESCRYPT), &v));
    assert_true(v.has_scram[SCRAM_SHA256] && !v.has_scram[SCRAM_SHA1]);
    assert_int_equal(v.asks, VERIFIER_CRYPT);
    assert_int_equal(v.scram[SCRAM_SHA256].iterations, 4096);
    assert_int_equal(v.scram[SCRAM_SHA256].n_salt, 16);
    assert_string_equal(v.crypt, YESCRYPT);
    assert_null(verifier_parse(STR(S1 ";" S256), &v));
    assert_int_equal(v.asks, VERIFIER_SCRAM_SHA256);
    assert_null(verifier_parse(STR(S1), &v));
    assert_int_equal(v.asks, VERIFIER_SCRAM_SHA1);
}

static const char *const refused_rows[] = {
    "",
    ";",
    S256 ";",
    ";" S256,
    S256 ";;" S1,
    S256 ";" S256,
    YESCRYPT ";$2b$04$" BCRYPT,
    " " S256,
    "pencil",
    "{PLAIN}pencil",
    "{plain}pencil",
    "{CLEARTEXT}pencil",
    "{SSHA256}xxxx",
    "{MD5}xxxx",
    "{SCRAM-SHA-512}4096,eA==,eA==,eA==",
    "{CRYPT}",
    "{SHA512-CRYPT}$5$rounds=1000$saltsalt$" SHA256,
    "{BLF-CRYPT}" YESCRYPT,
    "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
    "XYabcdefghijk",
    "$y$",
    "$gy$j9T$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    /* SCRAM */
    "{SCRAM-SHA-256}",
    "{SCRAM-SHA-256}4096",
    "{SCRAM-SHA-256}4096,,,",
    "{SCRAM-SHA-1}4095,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}1000001,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}99999999999,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}-4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}4096,,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=,",
    "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,eA==,D+CSWLOshSulAsxiupA+qs2/fTE=",
    "{SCRAM-SHA-256}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    /* SHA-2: lengths, characters, costs */
    "$6$rounds=999$saltsalt$" SHA512,
    "$6$rounds=01000$saltsalt$" SHA512,
    "$6$rounds=2000001$saltsalt$" SHA512,
    "$6$rounds=$saltsalt$" SHA512,
    "$6$rounds=1000$saltsaltsaltsalts$" SHA512,
    "$6$rounds=1000$salt:alt$" SHA512,
    "$6$rounds=1000$saltsalt$" SHA512 "x",
    "$6$rounds=1000$saltsalt$" SHA256,
    "$6$rounds=1000$saltsalt",
    "$5$rounds=1000$saltsalt$1E80wIeNUk6Tw.cvgykgsGLDhE7YCS/mO7gtCEoKze!",
    /* bcrypt */
    "$2b$03$" BCRYPT,
    "$2b$15$" BCRYPT,
    "$2b$4$" BCRYPT,
    "$2b$04$" BCRYPT "x",
    "$2a$04$" BCRYPT,
    "$2b$31$" BCRYPT,
    "$2b$99$" BCRYPT,
    /* yescrypt: a memory of 512 MiB, numbers of two digits, more parameters, other flavours */
    "$y$jET$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$jzz$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$jzT$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$j.T$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$j75.$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$.75$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$j75$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r781",
    "$y$j75$abcd fgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    "$y$j75$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
};

static void refuses_with_a_reason(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++) {
        struct verifier v;
        const char *why = verifier_parse(str_from_c(refused_rows[i]), &v);
        if (why == NULL)
            print_message("# taken: %s\n", refused_rows[i]);
        assert_non_null(why);
        assert_true(v.is_false && v.asks == VERIFIER_NONE);
        /* the reason is for a log: it does not quote the field */
        assert_true(refused_rows[i][0] == '\0' || strstr(why, refused_rows[i]) == NULL);
    }
}

static void costs_at_their_edges(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "{SCRAM-SHA-1}1000000,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
        "$6$rounds=2000000$saltsalt$" SHA512,
        "$2b$14$" BCRYPT,
        "$y$jDT$abcdefgh$uSEEM7Zvf2pAxpcCjT91NjHUs3paELMhdshGm3r7811",
    };
    struct verifier v;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_null(verifier_parse(str_from_c(rows[i]), &v));
    char text[VERIFIER_TEXT_MAX + 1];
    memset(text, '!', sizeof text);
    assert_null(verifier_parse(str_of(text, VERIFIER_TEXT_MAX), &v));
    assert_non_null(verifier_parse(str_of(text, VERIFIER_TEXT_MAX + 1), &v));
}

/* What is cut short or changed in one bit is refused, or is another verifier: the password never matches. */
static void damage_lets_nobody_in(void **state)
{
    static const char *const rows[] = {S1, "$5$rounds=1000$saltsalt$" SHA256};
    size_t n_parsed = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct verifier v;
        struct str whole = str_from_c(rows[i]);
        for (size_t n = 0; n < whole.n; n++)
            assert_non_null(verifier_parse(str_slice(whole, 0, n), &v));
        for (size_t bit = 0; bit < 8 * whole.n; bit += 3) {
            memcpy(text, whole.p, whole.n);
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            if (verifier_parse(str_of(text, whole.n), &v) != NULL)
                continue;
            n_parsed++;
            bool costs_little =
                v.scram[SCRAM_SHA1].iterations < 10000 && strncmp(v.crypt, "$5$rounds=1000$", 15) == 0;
            bool changes_nothing = str_ieq(str_of(text, whole.n), whole);
            bool is_server_key =
                v.has_scram[SCRAM_SHA1] && bit / 8 > whole.n - 29; /* not asked for passwords */
            if (costs_little && !changes_nothing && !is_server_key)
                assert_false(check(*state, &v, STR("pencil")));
        }
    }
    assert_true(n_parsed > 100);
}

static void locked_accounts_match_nothing(void **state)
{
    static const char *const rows[] = {"!", "*", "!!", "*LK*", "!" S256, "!" YESCRYPT};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct verifier v;
        assert_null(verifier_parse(str_from_c(rows[i]), &v));
        assert_true(v.is_false && v.asks == VERIFIER_NONE);
        assert_false(check(*state, &v, STR("pencil")));
        assert_false(check(*state, &v, STR_NIL));
    }
}

static void what_is_made_can_be_read(void **state)
{
    char mem[VERIFIER_TEXT_MAX];
    uint8_t random[VERIFIER_SECRET];
    struct verifier v;
    struct buf b;
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)(i * 7);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(verifier_make(*state, STR("w\xc3\xb6rd"), random, SCRAM_ITERATIONS_DEFAULT, &b), ERR_OK);
    assert_null(verifier_parse(buf_str(&b), &v));
    assert_true(v.has_scram[SCRAM_SHA1] && v.has_scram[SCRAM_SHA256]);
    assert_int_equal(v.scram[SCRAM_SHA1].iterations, SCRAM_ITERATIONS_DEFAULT);
    assert_memory_not_equal(v.scram[SCRAM_SHA1].salt, v.scram[SCRAM_SHA256].salt, VERIFIER_SALT);
    assert_true(check(*state, &v, STR("w\xc3\xb6rd")));
    assert_false(check(*state, &v, STR("word")));
    v.asks = VERIFIER_SCRAM_SHA1;
    assert_true(check(*state, &v, STR("w\xc3\xb6rd")));
    /* too little room and too little cost are told */
    buf_init_fixed(&b, mem, 200);
    assert_int_equal(verifier_make(*state, STR("x"), random, SCRAM_ITERATIONS_MIN, &b), ERR_NOMEM);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(verifier_make(*state, STR("x"), random, SCRAM_ITERATIONS_MIN - 1, &b), ERR_TOO_BIG);
}

static void put_gives_what_was_parsed(void **state)
{
    UNUSED(state);
    char mem[VERIFIER_TEXT_MAX];
    struct verifier v;
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_null(verifier_parse(STR(S256), &v));
    assert_true(verifier_put_scram(&b, SCRAM_SHA256, &v.scram[SCRAM_SHA256]));
    assert_true(str_eq(buf_str(&b), STR(S256)));
}

static void false_ones_look_like_true_ones(void **state)
{
    uint8_t secret[VERIFIER_SECRET] = {1, 2, 3};
    struct verifier like, a, b;
    assert_int_equal(verifier_false(*state, secret, STR("joe"), NULL, &a), ERR_OK);
    assert_true(a.is_false && a.has_scram[SCRAM_SHA1] && a.has_scram[SCRAM_SHA256]);
    assert_int_equal(a.scram[SCRAM_SHA1].iterations, SCRAM_ITERATIONS_DEFAULT);
    assert_int_equal(a.scram[SCRAM_SHA1].n_salt, VERIFIER_SALT);
    assert_memory_not_equal(a.scram[SCRAM_SHA1].salt, a.scram[SCRAM_SHA256].salt, VERIFIER_SALT);
    /* stable, of the name and of the secret */
    assert_int_equal(verifier_false(*state, secret, STR("joe"), NULL, &b), ERR_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(verifier_false(*state, secret, STR("jof"), NULL, &b), ERR_OK);
    assert_memory_not_equal(a.scram[SCRAM_SHA1].salt, b.scram[SCRAM_SHA1].salt, VERIFIER_SALT);
    secret[31] = 1;
    assert_int_equal(verifier_false(*state, secret, STR("joe"), NULL, &b), ERR_OK);
    assert_memory_not_equal(a.scram[SCRAM_SHA1].salt, b.scram[SCRAM_SHA1].salt, VERIFIER_SALT);
    /* the costs of the place */
    static const char *const places[] = {S1, S256, YESCRYPT, S256 ";" S1};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        assert_null(verifier_parse(str_from_c(places[i]), &like));
        assert_int_equal(verifier_false(*state, secret, STR("joe"), &like, &a), ERR_OK);
        assert_int_equal(a.asks, like.asks);
        assert_true(a.has_scram[SCRAM_SHA1] && a.has_scram[SCRAM_SHA256]);
        for (unsigned h = 0; h < SCRAM_HASHES; h++) {
            if (!like.has_scram[h])
                continue;
            assert_int_equal(a.scram[h].iterations, like.scram[h].iterations);
            assert_int_equal(a.scram[h].n_salt, like.scram[h].n_salt);
            assert_memory_not_equal(a.scram[h].salt, like.scram[h].salt, like.scram[h].n_salt);
        }
        /* the one that it is like has this password: nobody gets in with it here */
        assert_false(check(*state, &a, STR("pencil")));
    }
}

static void false_ones_match_no_proof(void **state)
{
    char mem[VERIFIER_TEXT_MAX];
    uint8_t random[VERIFIER_SECRET] = {9}, proof[SCRAM_KEY_MAX], signature[SCRAM_KEY_MAX];
    struct verifier v;
    struct scram_keys k;
    struct buf b;
    bool ok;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(verifier_make(*state, STR("pencil"), random, SCRAM_ITERATIONS_MIN, &b), ERR_OK);
    assert_null(verifier_parse(buf_str(&b), &v));
    const struct scram_verifier *s = &v.scram[SCRAM_SHA256];
    assert_int_equal(
        scram_derive(*state, SCRAM_SHA256, STR("pencil"), str_of(s->salt, s->n_salt), s->iterations, &k),
        ERR_OK);
    assert_int_equal(scram_proof(*state, SCRAM_SHA256, &k, STR("auth"), proof), ERR_OK);
    struct str text = str_of(proof, sizeof proof);
    assert_int_equal(verifier_check_proof(*state, &v, SCRAM_SHA256, STR("auth"), text, &ok, signature),
                     ERR_OK);
    assert_true(ok);
    v.is_false = true;
    assert_int_equal(verifier_check_proof(*state, &v, SCRAM_SHA256, STR("auth"), text, &ok, signature),
                     ERR_OK);
    assert_false(ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_password_and_no_other),
        cmocka_unit_test(long_passwords_do_not_match),
        cmocka_unit_test(parse_reads_all_parts),
        cmocka_unit_test(refuses_with_a_reason),
        cmocka_unit_test(costs_at_their_edges),
        cmocka_unit_test(damage_lets_nobody_in),
        cmocka_unit_test(locked_accounts_match_nothing),
        cmocka_unit_test(what_is_made_can_be_read),
        cmocka_unit_test(put_gives_what_was_parsed),
        cmocka_unit_test(false_ones_look_like_true_ones),
        cmocka_unit_test(false_ones_match_no_proof),
    };
    return cmocka_run_group_tests_name("verifier", tests, setup_crypto, teardown_crypto);
}
