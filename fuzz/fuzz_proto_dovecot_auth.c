/* Dovecot's side of its protocol: any octets. The first says how long the pieces are that they come in. */
#include "base/mem.h"
#include "proto/dovecot_auth.h"
#include "proto/sasl_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct dovecot_event *e)
{
    must(e->why.n <= DOVECOT_WHY_MAX);
    must(e->kind != DOVECOT_BROKEN || e->why.n > 0);
    if (e->kind != DOVECOT_ANSWER)
        return;
    must(e->id != 0);
    must((e->verdict == DOVECOT_YES) == (e->user.n > 0));
    must(e->user.n == 0 || sasl_is_text_up_to(e->user, SASL_NAME_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct dovecot_auth *d = mem_must_new(struct dovecot_auth);
    dovecot_auth_init(d);
    size_t piece = (size_t)data[0] + 1;
    for (struct str in = str_of(data + 1, size - 1); in.n > 0 && !d->is_broken; in = str_skip(in, piece)) {
        piece = piece < in.n ? piece : in.n;
        struct str part = str_slice(in, 0, piece);
        bool was_ready = d->is_ready;
        struct dovecot_event e;
        do {
            e = dovecot_auth_feed(d, &part);
            check(&e);
            must(e.kind != DOVECOT_ANSWER || was_ready);
            was_ready = was_ready || e.kind == DOVECOT_READY;
        } while (e.kind != DOVECOT_MORE && e.kind != DOVECOT_BROKEN);
        must(part.n == 0 || d->is_broken);
    }
    mem_free(d);
    return 0;
}
