#include "service/tables/token_keys.h"

/* ---- the set ---------------- */

void token_keys_clear(struct token_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        jws_key_del(&k->keys[i]);
    k->n = 0;
}

bool token_keys_load(struct token_keys *k, const struct crypto *c, struct str json, struct arena *a,
                     struct buf *why)
{
    struct jwt_keys read;
    struct token_keys taken = {.n = 0};
    const char *refused = "there are only keys for other uses, or of kinds that are not taken";
    if (!jwt_read_keys(json, a, &read, why))
        return false;
    for (size_t i = 0; i < read.n; i++) {
        enum err e = jws_key_new(c, &read.keys[i], &taken.keys[taken.n], &refused);
        if (e == ERR_NOMEM) { /* half a set would refuse good tokens */
            buf_puts(why, err_str(e));
            token_keys_clear(&taken);
            return false;
        }
        taken.n += e == ERR_OK;
    }
    if (taken.n == 0) {
        buf_printf(why, "it has no key that is of use: %s",
                   read.n + read.n_left_out == 0 ? "there is none at all" : refused);
        return false;
    }
    token_keys_clear(k);
    *k = taken;
    return true;
}

/* ---- a token ---------------- */

static bool may_be(const struct jws_key *k, enum jws_alg alg, struct str kid)
{
    struct str id = jws_key_id(k);
    return jws_key_fits(k, alg) && (kid.n == 0 || id.n == 0 || str_eq(kid, id));
}

/* Has one of the keys signed it? */
static enum token_says find_signer(const struct token_keys *k, const struct jws *j, enum jws_alg alg,
                                   struct str kid, const char **why)
{
    enum token_says says = TOKEN_OF_NO_KEY;
    *why = "the issuer has no key that it could be signed by";
    for (size_t i = 0; i < k->n; i++) {
        bool ok;
        if (!may_be(k->keys[i], alg, kid))
            continue;
        if (jws_verify(k->keys[i], alg, j->input, j->signature, &ok) != ERR_OK)
            return TOKEN_NOT_SEEN;
        if (ok)
            return TOKEN_IS_GOOD;
        *why = "its signature is wrong";
        /* unless it names just this key, it may be of one that came later */
        if (kid.n > 0 && str_eq(kid, jws_key_id(k->keys[i])))
            says = TOKEN_IS_BAD;
    }
    return says;
}

static enum token_says bad(struct buf *why, const char *text)
{
    buf_puts(why, text);
    return TOKEN_IS_BAD;
}

/* What a reader of JSON says of its text goes behind what. */
static enum token_says malformed(struct buf *why, const char *what, struct str text)
{
    buf_printf(why, "%s is malformed: %.*s", what, STR_FMT(text));
    return TOKEN_IS_BAD;
}

enum token_says token_keys_judge(const struct token_keys *k, struct str token,
                                 const struct token_rules *rules, int64_t now_s, struct arena *a,
                                 struct token_claims *out, struct buf *why)
{
    char mem[JWS_OCTETS_MAX], text_mem[128];
    struct buf octets, text;
    struct jws j;
    struct token_header h;
    const char *problem;
    buf_init_fixed(&octets, mem, sizeof mem);
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    if (!jws_split(token, &octets, &j))
        return bad(why, "it is no signed JSON Web Token");
    if (!jwt_read_header(j.header, a, &h, &text))
        return malformed(why, "its header", buf_str(&text));
    problem = token_judge_header(&h);
    if (problem != NULL)
        return bad(why, problem);
    enum jws_alg alg = jws_alg_of(h.alg);
    if (alg == JWS_NO_ALG)
        return bad(why, "it is signed by an algorithm that is not taken (alg)");
    enum token_says says = find_signer(k, &j, alg, h.kid, &problem);
    if (says != TOKEN_IS_GOOD) {
        buf_puts(why, says == TOKEN_NOT_SEEN ? "no memory" : problem);
        return says;
    }
    if (!jwt_read_claims(j.payload, rules->claim, a, out, &text))
        return malformed(why, "what it says", buf_str(&text));
    problem = token_judge(rules, out, true, now_s);
    return problem == NULL ? TOKEN_IS_GOOD : bad(why, problem);
}
