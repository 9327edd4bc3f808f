/* fuzz/fuzz_proto_sasl_client.c: the client's side of SASL against a server that says anything. Nothing of it
 * but a signature that it cannot make passes for a proof.
 *
 * The first octet chooses the mechanism and whether there is an initial response; then challenges, each
 * behind its length. "%" in a challenge stands for the client's nonce.
 */
#include "proto/sasl_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECE_MAX = 512 };

static void expand(struct str piece, struct buf *out)
{
    for (size_t i = 0; i < piece.n; i++) {
        if (piece.p[i] == '%')
            buf_put(out, STR("MTIzNDU2Nzg5MDEyMzQ1Njc4"));
        else
            buf_putc(out, piece.p[i]);
    }
}

/* Many iterations are for those who have time. */
static bool is_slow(struct str s)
{
    size_t at = str_find(s, STR(",i="));
    return at != STR_NPOS && str_skip(s, at + 3).n > 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), response;
    static struct crypto *crypto; /* for all inputs */
    if (in.n == 0 || (crypto == NULL && crypto_new(&crypto) != ERR_OK))
        return 0;
    unsigned kind = (unsigned char)in.p[0];
    struct sasl_client_conf conf = {.crypto = crypto,
                                    .user = STR("a,b=c"),
                                    .password = STR("pencil"),
                                    .token = STR("token"),
                                    .has_certificate = true,
                                    .is_encrypted = true,
                                    .tls_exporter = STR("exporter")};
    enum sasl_mechanism m = (enum sasl_mechanism)(1 + kind % (SASL_MECHANISMS - 1));
    struct sasl_client *c =
        sasl_client_new(&conf, m, (kind & 64) != 0 ? SASL_ALL : SASL_BIT(m), STR("123456789012345678"));
    enum sasl_client_step step = SASL_CLIENT_RESPONSE;
    in = str_skip(in, 1);
    if (c != NULL && (kind & 128) != 0)
        (void)sasl_client_initial(c, &response);
    while (c != NULL && in.n > 0) {
        char mem[PIECE_MAX * 24];
        struct buf b;
        struct str piece = str_slice(in, 1, 1u + (unsigned char)in.p[0]);
        in = str_skip(in, 1 + piece.n);
        buf_init_fixed(&b, mem, sizeof mem);
        expand(piece, &b);
        if (is_slow(buf_str(&b)))
            break;
        bool had_failed = step == SASL_CLIENT_FAILED;
        step = sasl_client_feed(c, buf_str(&b), &response);
        must(response.n <= SASL_RESPONSE_MAX && !(had_failed && step == SASL_CLIENT_RESPONSE));
        if (step == SASL_CLIENT_FAILED)
            must(response.n == 0 && sasl_client_failure(c) != SASL_FAIL_NONE);
        must(sasl_client_detail(c).n <= SASL_CLIENT_DETAIL_MAX);
    }
    if (c != NULL && sasl_client_succeeded(c))
        must(!sasl_is_scram(m) && sasl_client_failure(c) == SASL_FAIL_NONE);
    sasl_client_del(&c);
    return 0;
}
