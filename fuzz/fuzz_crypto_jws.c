/* Tokens and the numbers of keys: what is taken is what an encoder writes, and a key takes signatures of its
 * own algorithms alone. An input is a type, an algorithm, two lengths with the numbers behind them, a token.
 */
#include "base/base64.h"
#include "crypto/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NUMBER_MAX = 2048, TEXT_MAX = BASE64_SIZE(JWS_OCTETS_MAX) };

static void check_part(struct str octets, struct str text)
{
    static char mem[TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    must(octets.n > 0 && base64_put(&b, octets));
    for (size_t i = 0; i < text.n; i++)
        must(text.p[i] == (b.p[i] == '+' ? '-' : b.p[i] == '/' ? '_' : b.p[i]));
}

static void check_token(struct str token, const struct jws *j)
{
    struct str rest = token;
    check_part(j->header, str_cut(&rest, '.'));
    check_part(j->payload, str_cut(&rest, '.'));
    check_part(j->signature, rest);
    must(j->input.n + 1 + rest.n == token.n);
}

static void try_key(const struct crypto *c, const struct jwk *jwk, enum jws_alg alg, struct str token)
{
    static char mem[JWS_OCTETS_MAX];
    struct buf b;
    struct jws j;
    struct jws_key *k;
    const char *why;
    bool is_token, ok = false;
    buf_init_fixed(&b, mem, sizeof mem);
    is_token = jws_split(token, &b, &j);
    if (is_token)
        check_token(token, &j);
    enum err e = jws_key_new(c, jwk, &k, &why);
    must((e == ERR_OK) == (k != NULL) && (e == ERR_INVALID) == (why != NULL));
    if (k == NULL)
        return;
    if (is_token && jws_key_fits(k, alg))
        must(jws_verify(k, alg, j.input, j.signature, &ok) == ERR_OK);
    must(!jws_key_fits(k, JWS_NO_ALG));
    jws_key_del(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(str_of(data, size));
    struct crypto *c;
    struct jwk jwk = {.type = (enum jwk_type)(read_u8(&r) % (JWK_ED25519 + 1))};
    enum jws_alg alg = (enum jws_alg)(read_u8(&r) % JWS_ALGS);
    jwk.alg = read_u8(&r) % 2 == 0 ? JWS_NO_ALG : alg;
    size_t n_a = read_u16(&r) % NUMBER_MAX, n_b = read_u16(&r) % NUMBER_MAX;
    jwk.a = read_bytes(&r, n_a);
    jwk.b = read_bytes(&r, n_b);
    if (r.failed)
        return 0;
    must(crypto_new(&c) == ERR_OK);
    try_key(c, &jwk, alg, r.rest);
    crypto_del(&c);
    return 0;
}
