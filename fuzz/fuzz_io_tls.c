/* Octets as the other side of a handshake that then says no more: it ends, with a text for people. The first
 * octet says which side we are. */
#include "base/world_tls.h"
#include "io/world_io.h"

#include "base/buf.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct io_world *io;
static struct tls_context *contexts[2]; /* of a client, of a server */
static unsigned n_ended;

static void on_sign(void *arg, const struct tls_sign *s)
{
    UNUSED(arg);
    world_tls_signed(io_world_base(io), s->token, s->octets.p[0] % 8 == 0 ? ERR_RESET : ERR_OK,
                     STR("no signature, but we are not the one who looks at it"));
}

static void on_end(void *arg, struct conn *c, enum err err, struct str why)
{
    UNUSED(arg);
    must((err == ERR_OK) == (why.n == 0) && (err == ERR_OK) == (conn_tls(c) != NULL));
    for (size_t i = 0; i < why.n; i++)
        must(why.p[i] >= ' ' && why.p[i] <= '~');
    n_ended++;
    io_stop(io);
}

/* A certificate of nobody. */
static void make_pem(struct buf *out)
{
    char *p;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x = X509_new();
    BIO *b = BIO_new(BIO_s_mem());
    must(key != NULL && x != NULL && b != NULL);
    must(X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL &&
         X509_gmtime_adj(X509_getm_notAfter(x), 86400) != NULL);
    must(X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0 &&
         PEM_write_bio_X509(b, x) == 1);
    long n = BIO_get_mem_data(b, &p);
    must(buf_put(out, str_of(p, (size_t)n)));
    BIO_free(b);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void tear_down(void)
{
    tls_context_release(&contexts[0]);
    tls_context_release(&contexts[1]);
    io_world_del(&io);
}

static void set_up(void)
{
    static const struct log quiet = {.min = LOG_ERROR};
    struct buf pem, why;
    buf_init(&pem, 1 << 16);
    buf_init(&why, 1000);
    io = io_world_new(&quiet, NULL);
    must(io != NULL);
    struct world *w = io_world_base(io);
    make_pem(&pem);
    struct tls_certificate c = {buf_str(&pem), 0};
    struct tls_client_conf client = {.ca = buf_str(&pem)};
    struct tls_server_conf server = {.certificates = &c, .n_certificates = 1, .alpn = STR("smtp")};
    server.ask_certificate = true;
    contexts[0] = world_tls_client(w, &client, &why);
    contexts[1] = world_tls_server(w, &server, &why);
    must(contexts[0] != NULL && contexts[1] != NULL);
    must(tls_context_prove(contexts[1], STR("mx.example.org"),
                           (const unsigned char *)"of a key authorization, 32 octet") == ERR_OK);
    world_tls_set_signer(w, &(struct tls_signer){NULL, on_sign});
    buf_fini(&pem);
    buf_fini(&why);
    must(atexit(tear_down) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int fds[2];
    if (n < 1 || n > 60000)
        return 0;
    if (io == NULL)
        set_up();
    bool is_server = data[0] % 2 == 1;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    struct conn *c = io_adopt_conn(io, fds[0]);
    must(c != NULL);
    struct str name = STR("mx.example.org");
    struct tls_start s = {.context = contexts[is_server],
                          .deadline_ms = world_now_ms(io_world_base(io)) + 60000,
                          .server_name = name,
                          .check = data[0] % 4 < 2 ? TLS_CHECK_NONE : TLS_CHECK_PKIX,
                          .names = &name,
                          .n_names = 1};
    n_ended = 0;
    must(n == 1 || send(fds[1], data + 1, n - 1, MSG_NOSIGNAL) == (ssize_t)(n - 1));
    must(shutdown(fds[1], SHUT_WR) == 0 && conn_tls_start(c, is_server, &s, on_end, NULL) == ERR_OK);
    io_run(io);
    must(n_ended == 1);
    must(close(fds[1]) == 0);
    conn_close(c);
    return 0;
}
