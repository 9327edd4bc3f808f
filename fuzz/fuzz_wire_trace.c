/* Trace fields from hostile names, and the small codes: status codes, queue ids, xtext. */
#include "wire/address.h"
#include "base/queue_id.h"
#include "wire/esc.h"
#include "wire/header.h"
#include "wire/received.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_received(struct str helo, struct str name, struct str rcpt, bool utf8)
{
    static const struct netaddr client = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 1}};
    struct received r = {.helo = helo,
                         .client = &client,
                         .client_name = name,
                         .by = STR("mail.example.org"),
                         .with = received_with(true, false, false, false, utf8),
                         .for_rcpt = rcpt};
    char mem[8192];
    struct buf b;
    struct header_walk w;
    struct header_field f;
    buf_init_fixed(&b, mem, sizeof mem);
    received_format(&r, &b);
    must(!b.failed);
    header_walk_init(&w, buf_str(&b));
    must(header_walk_next(&w, &f) && str_eq(f.raw, buf_str(&b)) && str_eq(f.name, STR("Received")));
    must(str_find(f.raw, STR("\n\r")) == STR_NPOS && (utf8 ? utf8_is_valid(f.raw) : str_is_ascii(f.raw)));
}

static void check_codes(struct str in)
{
    struct esc e;
    struct str rest;
    uint64_t id;
    struct buf b, c;
    buf_init(&b, 4 * in.n + 64);
    buf_init(&c, 4 * in.n + 64);
    if (esc_parse(in, &e, &rest)) {
        esc_format(e, &b);
        must(str_starts(in, buf_str(&b)) && (b.n == in.n || in.p[b.n] == ' '));
    }
    if (queue_id_parse(in, &id)) {
        uint64_t again;
        buf_reset(&b);
        queue_id_format(id, &b);
        must(b.n == QUEUE_ID_TEXT && queue_id_parse(buf_str(&b), &again) && again == id);
    }
    buf_reset(&b);
    xtext_encode(in, &b);
    must(!b.failed && xtext_decode(buf_str(&b), &c) && str_eq(buf_str(&c), in));
    buf_reset(&b);
    if (!xtext_decode(in, &b))
        must(b.n == 0);
    buf_fini(&b);
    buf_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    check_codes(in);
    struct str helo = str_cut(&in, '\n');
    struct str name = str_cut(&in, '\n');
    check_received(helo, name, in, false);
    check_received(helo, name, in, true);
    return 0;
}
