/* tests/sasl/sasl_peer.c: one end of a SASL exchange on stdin and stdout, a line of base64 for each message.
 *
 * Usage: sasl_peer server MECHANISM USER VERIFIER [EXPORTER]     begins with the client's first message
 *        sasl_peer client MECHANISM USER PASSWORD [EXPORTER]     begins with its own
 * EXPORTER is the channel binding in base64. The last line is "done NAME" or "failed WHY". The line "*" is
 * sent, and understood, as a cancellation.
 */
#include "base/base64.h"
#include "base/limits.h"
#include "crypto/verifier.h"
#include "proto/sasl_client.h"
#include "proto/sasl_server.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

struct peer {
    struct crypto *crypto;
    enum sasl_mechanism mechanism;
    struct str user, secret, exporter;
    uint8_t nonce[SASL_SERVER_NONCE];
    char exporter_mem[256], line[BASE64_SIZE(SASL_RESPONSE_MAX) + 2], octets[SASL_RESPONSE_MAX];
};

static void say(struct str message)
{
    static char mem[BASE64_SIZE(SASL_RESPONSE_MAX)];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    must(base64_put(&b, message));
    (void)printf("%.*s\n", STR_FMT(buf_str(&b)));
    (void)fflush(stdout);
}

static bool hear(struct peer *p, struct str *message)
{
    struct buf b;
    if (fgets(p->line, sizeof p->line, stdin) == NULL)
        return false;
    struct str text = str_from_c(p->line);
    text = str_cut(&text, '\n');
    buf_init_fixed(&b, p->octets, sizeof p->octets);
    bool ok = base64_take(text, &b);
    *message = buf_str(&b);
    return ok;
}

static enum sasl_step answer(struct peer *p, const struct verifier *v, struct sasl_server *s)
{
    const struct sasl_question *q = sasl_server_question(s);
    uint8_t signature[SCRAM_KEY_MAX];
    struct sasl_answer a = {.verdict = SASL_BAD};
    bool ok = false;
    enum err e = ERR_OK;
    bool is_known = str_eq(q->user, p->user);
    if (q->kind == SASL_ASK_PASSWORD) {
        e = verifier_check(p->crypto, v, q->password, &ok);
    } else if (q->kind == SASL_ASK_SCRAM_FIRST && v->has_scram[q->hash]) {
        a.salt = str_of(v->scram[q->hash].salt, v->scram[q->hash].n_salt);
        a.iterations = v->scram[q->hash].iterations;
        ok = true;
    } else if (q->kind == SASL_ASK_SCRAM_FINAL) {
        e = verifier_check_proof(p->crypto, v, q->hash, q->auth_message, q->proof, &ok, signature);
        a.signature = str_of(signature, scram_size(q->hash));
    } else if (q->kind == SASL_ASK_EXTERNAL) {
        ok = true;
        a.login = p->user;
    }
    a.verdict = e != ERR_OK                                        ? SASL_TEMPORARY
                : ok && (is_known || q->kind == SASL_ASK_EXTERNAL) ? SASL_OK
                                                                   : SASL_BAD;
    return sasl_server_answer(s, &a);
}

static void serve(struct peer *p, const struct verifier *v)
{
    struct sasl_server_conf conf = {.mechanisms = SASL_ALL,
                                    .tls_exporter = p->exporter,
                                    .client_identity = p->user,
                                    .nonce = str_of(p->nonce, sizeof p->nonce)};
    struct sasl_server *s = sasl_server_new(&conf);
    struct str heard = STR_NIL;
    must(s != NULL);
    bool has_initial = p->mechanism != SASL_LOGIN && hear(p, &heard);
    enum sasl_step step = sasl_server_start(s, sasl_name(p->mechanism), has_initial ? &heard : NULL);
    while (step == SASL_STEP_CHALLENGE || step == SASL_STEP_QUESTION) {
        if (step == SASL_STEP_QUESTION) {
            step = answer(p, v, s);
            continue;
        }
        say(sasl_server_challenge(s));
        step = hear(p, &heard) ? sasl_server_feed(s, heard) : sasl_server_cancel(s);
    }
    if (step == SASL_STEP_DONE)
        (void)printf("done %.*s\n", STR_FMT(sasl_server_login(s)));
    else
        (void)printf("failed %s\n", sasl_failure_text(sasl_server_failure(s)));
    sasl_server_del(&s);
}

static void ask(struct peer *p)
{
    struct sasl_client_conf conf = {.crypto = p->crypto,
                                    .user = p->user,
                                    .password = p->secret,
                                    .is_encrypted = true,
                                    .has_certificate = true,
                                    .tls_exporter = p->exporter};
    unsigned offered = SASL_BIT(p->mechanism);
    must(sasl_client_choose(&conf, offered) == p->mechanism);
    struct sasl_client *c = sasl_client_new(&conf, p->mechanism, offered, str_of(p->nonce, sizeof p->nonce));
    struct str heard, response;
    must(c != NULL);
    if (sasl_client_initial(c, &response))
        say(response);
    bool goes_on = true;
    while (goes_on && hear(p, &heard)) { /* until the other end has no more to say */
        goes_on = sasl_client_feed(c, heard, &response) == SASL_CLIENT_RESPONSE;
        if (goes_on)
            say(response);
        else
            (void)printf("*\n");
    }
    if (sasl_client_succeeded(c))
        (void)printf("done %.*s\n", STR_FMT(p->user));
    else
        (void)printf("failed %s\n", sasl_failure_text(sasl_client_failure(c)));
    sasl_client_del(&c);
}

int main(int argc, char **argv)
{
    static struct peer p;
    struct verifier v;
    struct buf b;
    if (argc < 5) {
        (void)fprintf(stderr, "usage: sasl_peer server|client MECHANISM USER SECRET [EXPORTER]\n");
        return 64;
    }
    bool is_server = strcmp(argv[1], "server") == 0;
    p.mechanism = sasl_of_name(str_from_c(argv[2]));
    p.user = str_from_c(argv[3]);
    p.secret = str_from_c(argv[4]);
    buf_init_fixed(&b, p.exporter_mem, sizeof p.exporter_mem);
    if (argc > 5 && !base64_take(str_from_c(argv[5]), &b))
        return 64;
    p.exporter = buf_str(&b);
    const char *why = is_server ? verifier_parse(p.secret, &v) : NULL;
    if (why != NULL || p.mechanism == SASL_NONE || crypto_new(&p.crypto) != ERR_OK ||
        getrandom(p.nonce, sizeof p.nonce, 0) != (ssize_t)sizeof p.nonce) {
        (void)fprintf(stderr, "%s\n", why != NULL ? why : "no such mechanism, or no memory");
        return 1;
    }
    if (is_server)
        serve(&p, &v);
    else
        ask(&p);
    crypto_del(&p.crypto);
    return 0;
}
