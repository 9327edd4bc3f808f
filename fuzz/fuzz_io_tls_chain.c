/* Octets as the file of a certificate: a context, or a text that says what is wrong. */
#include "base/world_tls.h"
#include "io/world_io.h"

#include "base/buf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct io_world *io;

static void tear_down(void)
{
    io_world_del(&io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct log quiet = {.min = LOG_ERROR};
    char text[300];
    struct buf why;
    if (io == NULL) {
        io = io_world_new(&quiet, NULL);
        must(io != NULL && atexit(tear_down) == 0);
    }
    buf_init_fixed(&why, text, sizeof text);
    struct tls_certificate c = {str_of(data, n), 0};
    struct tls_server_conf server = {.certificates = &c, .n_certificates = 1};
    struct tls_context *t = world_tls_server(io_world_base(io), &server, &why);
    must((t == NULL) == (why.n > 0));
    tls_context_release(&t);
    buf_reset(&why);
    struct tls_client_conf client = {.ca = c.chain};
    t = world_tls_client(io_world_base(io), &client, &why);
    must((t == NULL) == (why.n > 0));
    tls_context_release(&t);
    return 0;
}
