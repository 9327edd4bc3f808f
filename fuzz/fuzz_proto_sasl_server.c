/* fuzz/fuzz_proto_sasl_server.c: the server's side of SASL against a client that says anything and a keeper
 * that answers anything.
 *
 * The first octet chooses the mechanism, the second what is on offer. Then each octet is an action with its
 * choice in the upper bits, and for a response its length in the next.
 */
#include "base/limits.h"
#include "proto/sasl_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_question(const struct sasl_question *q)
{
    must(q->user.n <= SASL_NAME_MAX && sasl_is_text(q->user));
    switch (q->kind) {
    case SASL_ASK_PASSWORD:
        must(q->user.n > 0 && sasl_is_text_up_to(q->password, SASL_PASSWORD_MAX));
        return;
    case SASL_ASK_SCRAM_FIRST:
        must(q->user.n > 0 && q->auth_message.n == 0);
        return;
    case SASL_ASK_SCRAM_FINAL:
        must(q->user.n > 0 && q->auth_message.n > 0 && q->proof.n <= 64 && sasl_is_text(q->auth_message));
        return;
    case SASL_ASK_TOKEN:
        must(q->token.n > 0 && q->token.n <= SASL_TOKEN_MAX && !str_has_ctl(q->token));
        return;
    case SASL_ASK_EXTERNAL:
        must(q->identity.n > 0);
        return;
    }
    must_not_reach();
}

static enum sasl_step answer(struct sasl_server *s, unsigned choice)
{
    static const char signature[SCRAM_KEY_MAX] = "made up";
    const struct sasl_question *q = sasl_server_question(s);
    check_question(q);
    struct sasl_answer a = {.verdict = choice == 0 ? SASL_TEMPORARY : choice == 1 ? SASL_BAD : SASL_OK};
    if (choice > 2) {
        a.salt = str_of(signature, choice);
        a.iterations = choice * 1000;
        a.signature = str_of(signature, (choice & 1) != 0 ? 20 : 32);
    }
    if (choice > 20)
        a.login = choice == 21 ? STR("a\nb") : STR("joe@example.org");
    return sasl_server_answer(s, &a);
}

/* One step of the other side's; false at the end. */
static bool act(struct sasl_server *s, enum sasl_step *step, struct str *in)
{
    unsigned op = (unsigned char)in->p[0];
    *in = str_skip(*in, 1);
    if (*step == SASL_STEP_QUESTION) {
        *step = answer(s, op >> 3);
        return true;
    }
    if (*step != SASL_STEP_CHALLENGE)
        return false;
    must(sasl_server_challenge(s).n <= SASL_SCRAM_MAX);
    if (op == 0xff) {
        *step = sasl_server_cancel(s);
        return true;
    }
    struct str piece = str_slice(*in, 0, op);
    *in = str_skip(*in, op);
    char mem[2048];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < piece.n; i++) { /* what only the server knows: "%" stands for the nonce */
        struct str c = sasl_server_challenge(s);
        if (piece.p[i] == '%' && str_starts(c, STR("r=")))
            buf_put(&b, str_cut(&(struct str){c.p + 2, c.n - 2}, ','));
        else
            buf_putc(&b, piece.p[i]);
    }
    *step = sasl_server_feed(s, buf_str(&b));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), none = STR_NIL;
    if (in.n < 3)
        return 0;
    unsigned m = (unsigned char)in.p[0] % SASL_MECHANISMS, offer = (unsigned char)in.p[1];
    struct sasl_server_conf conf = {.mechanisms = (offer & 1) != 0 ? SASL_PLUS | SASL_BIT(m) : SASL_ALL,
                                    .tls_exporter = (offer & 2) != 0 ? STR("exporter") : none,
                                    .tls_server_end_point = (offer & 4) != 0 ? STR("certificate") : none,
                                    .client_identity = (offer & 8) != 0 ? STR("cn=joe") : none,
                                    .nonce = STR("123456789012345678")};
    in = str_skip(in, 2);
    struct sasl_server *s = sasl_server_new(&conf);
    if (s == NULL)
        return 0;
    struct str initial = str_slice(in, 1, 1u + (unsigned char)in.p[0]);
    bool has_initial = (offer & 16) != 0;
    enum sasl_step step =
        sasl_server_start(s, sasl_name((enum sasl_mechanism)m), has_initial ? &initial : NULL);
    if (has_initial)
        in = str_skip(in, 1 + initial.n);
    while (in.n > 0 && act(s, &step, &in))
        continue;
    must((step == SASL_STEP_FAILED) == (sasl_server_failure(s) != SASL_FAIL_NONE));
    must(sasl_is_text(sasl_server_user(s)));
    if (step == SASL_STEP_DONE)
        must(sasl_is_text_up_to(sasl_server_login(s), SASL_NAME_MAX));
    sasl_server_del(&s);
    return 0;
}
