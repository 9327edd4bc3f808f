/* Names and records: what decodes, encodes to the same octets but for the case. */
#include "base/limits.h"
#include "wire/dnsrr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), rest;
    char text_mem[DNS_NAME_MAX], wire_mem[DNS_NAME_MAX];
    struct buf text, wire;
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    buf_init_fixed(&wire, wire_mem, sizeof wire_mem);
    if (dnsname_decode(in, &text, &rest)) {
        must(text.n > 0 && !str_has_ctl(buf_str(&text)) && str_is_ascii(buf_str(&text)));
        must(dnsname_encode(buf_str(&text), &wire));
        must(wire.n == in.n - rest.n && str_ieq(buf_str(&wire), str_slice(in, 0, wire.n)));
    } else {
        must(text.n == 0);
    }
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    buf_init_fixed(&wire, wire_mem, sizeof wire_mem);
    if (dnsname_encode(in, &wire))
        must(dnsname_decode(buf_str(&wire), &text, &rest) && rest.n == 0);
    uint16_t preference;
    struct netaddr a;
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    must(dnsrr_mx(in, &preference, &text) == (text.n > 0));
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    must(dnsrr_txt(in, &text) ? text.n < in.n : text.n == 0);
    must(!dnsrr_address(DNS_A, in, &a) || (in.n == 4 && a.kind == NETADDR_IP4));
    must(!dnsrr_address(DNS_AAAA, in, &a) || (in.n == 16 && a.kind != NETADDR_NONE));
    return 0;
}
